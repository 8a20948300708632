"""Every threat and fault that can be tried from outside, over HTTP; the names carry the rows of the threat table.

B1 parameters, B2 authentication, B3 decryption, B4 XML, B5 handlers and duplicates, B6 HTTP and operations.
"""

import base64
import gzip
import hashlib
import hmac
import itertools
import logging
import os
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import servers
import werkzeug.serving
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from wechat import GH_ID, TIMEOUT, HttpAnswer, Letter, WeChat, event, packet, sign, text

from wx_mp_svr import (
    Article,
    ConfigError,
    EmptyRspMsg,
    EventReqMsg,
    ImageReqMsg,
    ImageRspMsg,
    LocationReqMsg,
    MusicRspMsg,
    NewsRspMsg,
    ReqMsg,
    TextReqMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceRspMsg,
    WxMpServer,
)

TOKEN = "Xq7ThreatsToken9"
AES_KEY = "kWxyzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345"
AES_KEY_OLD = "oldzzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345"
APPID = "wx0123456789abcdef"
KEY = base64.b64decode(AES_KEY + "=")
SECRETS = (TOKEN, AES_KEY, AES_KEY_OLD)
ERROR_TEXT = "抱歉，出错了，请稍后再试。"
LOG = "wx_mp_svr"


# -- a server in a thread, and WeChat in front of it -------------------------------------------------------------------


class Live:
    """A server with a handler that keeps what it gets; text comes back as it came, the rest gets ``ok``."""

    def __init__(self, answer: Callable[[Any], Any] | None = None, **settings: Any) -> None:
        self.calls: list[Any] = []
        self._answer = answer or (lambda req: req.content if isinstance(req, TextReqMsg) else "ok")
        account = {"token": TOKEN, "appid": APPID, "mode": "safe"} | settings
        if account["mode"] != "plain":
            account = {"aes_key": AES_KEY} | account
        self.mode = account["mode"]
        self.account = account
        self.server = WxMpServer(on_message=self._hear, on_event=self._hear, **account)

    def _hear(self, req: Any) -> Any:
        self.calls.append(req)
        return self._answer(req)

    @contextmanager
    def serving(self) -> Iterator["Live"]:
        with servers.in_thread(self.server) as origin:
            self.wechat = self.sender(origin + servers.CALLBACK)
            yield self

    def sender(self, url: str, **changes: str) -> WeChat:
        account = {"token": TOKEN, "aes_key": self.account.get("aes_key", AES_KEY), "appid": APPID, "mode": self.mode}
        return WeChat(url, **{**account, **changes})

    @property
    def last(self) -> Any:
        return self.calls[-1]

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What happens inside reaches no handler, and WeChat is answered right after."""
        before = len(self.calls)
        yield
        assert len(self.calls) == before
        assert self.wechat.ask(text("still there"))["Content"] == "still there"

    def refuses(self, query: Any, body: bytes = b"", honest: str | None = None) -> HttpAnswer:
        """Post what must be refused; *honest* is the packet that was tampered with, whose original still arrives after."""
        with self.untouched():
            answer = self.wechat.post(query, body)
            assert_refused(answer)
        if honest is not None:
            before = len(self.calls)
            assert self.wechat.ask(honest) is not None
            assert len(self.calls) == before + 1
        return answer

    def refuses_get(self, query: Any) -> HttpAnswer:
        answer = self.wechat.get(query)
        assert_refused(answer)
        return answer


def assert_refused(answer: HttpAnswer) -> None:
    assert (answer.status, answer.body) == (403, b"forbidden")
    assert (answer.header("Content-Type") or "").startswith("text/plain")


def assert_ack(answer: HttpAnswer) -> None:
    assert (answer.status, answer.body) == (200, b"success")
    assert (answer.header("Content-Type") or "").startswith("text/plain")


@pytest.fixture(scope="module", autouse=True)
def _clean_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("WX_MP_"):
                patch.delenv(name)
        patch.setenv("WX_MP_STORE", "memory:")  # each server here is alone
        yield


@pytest.fixture(scope="module")
def plain() -> Iterator[Live]:
    with Live(mode="plain").serving() as live:
        yield live


@pytest.fixture(scope="module")
def compatible() -> Iterator[Live]:
    with Live(mode="compatible").serving() as live:
        yield live


@pytest.fixture(scope="module")
def safe() -> Iterator[Live]:
    with Live(mode="safe").serving() as live:
        yield live


@pytest.fixture(params=["plain", "compatible", "safe"])
def live(request: pytest.FixtureRequest) -> Live:
    return request.getfixturevalue(request.param)


@contextmanager
def fresh(answer: Callable[[Any], Any] | None = None, **settings: Any) -> Iterator[Live]:
    with Live(answer, **settings).serving() as live:
        yield live


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith(LOG) and r.levelno == logging.WARNING]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith(LOG)]


def raw(url: str, request: bytes, *, shut: bool = False) -> bytes:
    """Send bytes as they are and return the response; b"" when the server only hangs up."""
    target = urllib.parse.urlsplit(url)
    with socket.create_connection((target.hostname, target.port), TIMEOUT) as connection:
        received = b""
        try:
            connection.sendall(request)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            # Werkzeug's server does not hang up after answering as long as it hopes for the rest of a body.
            while not is_whole(received) and (chunk := connection.recv(65536)):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        return received


def is_whole(response: bytes) -> bool:
    head, blank, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(blank and length) and len(body) >= int(length[1])


def status_of(response: bytes) -> int | None:
    return int(response.split(b" ", 2)[1]) if response else None


# -- B1 URL verification and parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "echostr", ["4375120948345356249", "a-b_c", "0", "with blank", "你好", "a+b/c=", "x" * 2000], ids=ascii
)
def test_b01_a_good_get_is_echoed(live, echostr):
    answer = live.wechat.verify(echostr)
    assert (answer.status, answer.body) == (200, echostr.encode())
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert answer.header("X-Content-Type-Options") == "nosniff"


def test_b01_bytes_that_are_no_text_come_back_as_they_came(safe):
    query = urllib.parse.urlencode(safe.wechat.stamp())
    assert safe.wechat.get(f"{query}&echostr=%FF%FEabc").body == b"\xff\xfeabc"


def test_b01_is_told_in_the_log(caplog):
    caplog.set_level(logging.INFO, LOG)
    with fresh() as live:
        live.wechat.verify()
    assert any(r.levelno == logging.INFO and "verified" in r.getMessage() for r in caplog.records)


def wrong_signatures(timestamp: str, nonce: str) -> dict[str, str]:
    good = sign(TOKEN, timestamp, nonce)
    return {
        "zeros": "0" * 40,
        "other-token": sign("AnotherToken1", timestamp, nonce),
        "lower-token": sign(TOKEN.lower(), timestamp, nonce),
        "empty-token": sign("", timestamp, nonce),
        "none-token": sign("None", timestamp, nonce),
        "unsorted": hashlib.sha1("".join((TOKEN, timestamp, nonce)).encode()).hexdigest(),
        "sha256": hashlib.sha256("".join(sorted((TOKEN, timestamp, nonce))).encode()).hexdigest(),
        "hmac": hmac.new(TOKEN.encode(), (timestamp + nonce).encode(), "sha1").hexdigest(),
        "truncated": good[:-1],
        "half": good[:20],
        "extended": good + "0",
        "newline": good + "\n",
        "blank-before": " " + good,
        "reversed": good[::-1],
        "none": "None",
        "true": "true",
    }


@pytest.mark.parametrize("kind", sorted(wrong_signatures("1", "2")))
def test_b02_a_wrong_signature_is_refused(live, kind):
    stamp = live.wechat.stamp()
    wrong = {**stamp, "signature": wrong_signatures(stamp["timestamp"], stamp["nonce"])[kind]}
    live.refuses_get({**wrong, "echostr": "4711"})
    if live.mode == "plain":
        xml = text("forged")
        live.refuses(wrong, xml.encode(), honest=xml)


def test_b02_the_log_says_why(caplog):
    with fresh() as live:
        live.wechat.get({**live.wechat.stamp(), "signature": "0" * 40, "echostr": "1"})
    assert [line for line in warnings_of(caplog) if line.startswith("refused reason=signature remote=127.0.0.1")]


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce"])
@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_b03_a_missing_or_empty_parameter_is_refused(live, name, empty):
    letter = live.wechat.letter(xml := text("incomplete"))
    query = {key: value for key, value in letter.query.items() if key != name} | ({name: ""} if empty else {})
    live.refuses_get({**query, "echostr": "4711"})
    if live.mode != "safe" and not (live.mode == "compatible" and name == "signature") and name != "signature":
        live.refuses(query, letter.body, honest=xml)
    if live.mode == "safe" and name != "signature":  # B29 is about the signature
        live.refuses(query, letter.body, honest=xml)
    if live.mode == "plain":
        live.refuses(query, letter.body)


def test_b03_no_parameter_at_all_is_refused_for_a_push(live):
    live.refuses("", text("nothing").encode())
    live.refuses("", live.wechat.letter(text("nothing")).body)


def test_b04_a_get_without_echostr_is_refused(live):
    live.refuses_get(live.wechat.stamp())
    live.refuses_get({**live.wechat.stamp(), "echostr": ""})


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce", "msg_signature", "encrypt_type"])
@pytest.mark.parametrize("other", ["good", "bad-after", "bad-before", "empty-after"])
def test_b05_a_parameter_given_twice_is_refused(live, name, other):
    """Also twice the same: two readers could take two different ones."""
    letter = live.wechat.letter(xml := text("twice"))
    value = letter.query.get(name, "aes")
    second = {"good": value, "empty-after": ""}.get(other, value[::-1] + "0")
    pairs = [*letter.query.items()]
    if name not in letter.query:
        pairs.append((name, value))
    pairs = [(name, second), *pairs] if other == "bad-before" else [*pairs, (name, second)]
    live.refuses(pairs, letter.body, honest=xml)
    live.refuses_get([*pairs, ("echostr", "4711")])


def test_b05_a_second_one_with_an_escaped_name_is_refused(live):
    letter = live.wechat.letter(text("twice"))
    query = urllib.parse.urlencode(letter.query)
    live.refuses(query + "&%74imestamp=1", letter.body)


@pytest.mark.parametrize(
    "value",
    ["%E4%BD%A0%E5%A5%BD", "%FF%FE", "%00", "%ED%A0%80", "%EF%BC%90" * 40, "%80" * 40, "%F4%90%80%80", "%zz", "%"],
)
def test_b06_a_signature_that_is_no_ascii_is_refused(live, value):
    stamp = live.wechat.stamp()
    rest = urllib.parse.urlencode({key: stamp[key] for key in ("timestamp", "nonce")})
    live.refuses_get(f"signature={value}&{rest}&echostr=4711")
    letter = live.wechat.letter(xml := text("odd"))
    name = "signature" if live.mode == "plain" else "msg_signature"
    rest = urllib.parse.urlencode({key: letter.query[key] for key in letter.query if key != name})
    live.refuses(f"{rest}&{name}={value}", letter.body, honest=xml)


def test_b06_raw_bytes_in_the_query_are_refused(live):
    stamp = live.wechat.stamp()
    query = (
        f"timestamp={stamp['timestamp']}&nonce={stamp['nonce']}&echostr=4711&signature=".encode() + b"\xe4\xbd\xa0\xff"
    )
    with live.untouched():
        response = raw(live.wechat.url, b"GET /wx_mp_cb?" + query + b" HTTP/1.0\r\n\r\n")
    assert status_of(response) in (400, 403)


@pytest.mark.parametrize("digits", ["１２３４５６７８９０", "۱۲۳۴۵۶۷۸۹۰", "²²²²²²²²²²", "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗𝟎"])
def test_b07_digits_of_other_scripts_are_refused(live, digits):
    """Although the signature over them is right."""
    now = str(int(time.time()))
    for timestamp, nonce in ((digits, "123"), (now, digits), (now[:-1] + digits[0], "123")):
        letter = live.wechat.letter(text("digits"), timestamp=timestamp, nonce=nonce)
        live.refuses(letter.query, letter.body)
        live.refuses_get({**live.wechat.stamp(timestamp, nonce), "echostr": "4711"})


@pytest.mark.parametrize(
    "timestamp",
    ["170000000", "17000000000", "-170000000", "+170000000", " 1700000000", "1700000000\n", "1.7e900000", "0x6553f100"],
)
def test_b07_a_timestamp_is_ten_digits(timestamp):
    with fresh(window=0) as live:
        letter = live.wechat.letter(text("digits"), timestamp=timestamp, nonce="123")
        live.refuses(letter.query, letter.body)
        live.refuses_get({**live.wechat.stamp(timestamp, "123"), "echostr": "4711"})


@pytest.mark.parametrize("nonce", ["n" * 129, "a b", "a\tb", "a\x7fb", "你好", "a\x00b", "a\nb"], ids=ascii)
def test_b07_a_nonce_is_128_printable_characters_at_most(live, nonce):
    letter = live.wechat.letter(text("nonce"), nonce=nonce)
    live.refuses(letter.query, letter.body)
    live.refuses_get({**live.wechat.stamp(nonce=nonce), "echostr": "4711"})


def test_b07_a_nonce_of_128_characters_is_accepted(live):
    letter = live.wechat.letter(xml := text("long nonce"), nonce="n" * 128)
    assert live.wechat.open(live.wechat.post(letter.query, letter.body), xml)["Content"] == "long nonce"


@pytest.mark.parametrize("name", ["signature[]", "SIGNATURE", "Signature", "signature ", "msg_signature", "sign"])
def test_b08_a_signature_under_another_name_is_refused(plain, safe, name):
    for live in (plain, safe):
        stamp = live.wechat.stamp()
        good = stamp.pop("signature")
        live.refuses_get({**stamp, name: good, "echostr": "4711"})
        if live is plain:
            live.refuses({**stamp, name: good}, text("renamed").encode())


def test_b09_upper_case_hex_does_no_harm(live):
    stamp = live.wechat.stamp()
    assert live.wechat.get({**stamp, "signature": stamp["signature"].upper(), "echostr": "4711"}).status in (200, 403)


@pytest.mark.parametrize(
    "echostr", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "<?xml?><x/>"]
)
def test_b10_nothing_that_is_echoed_is_html(live, echostr):
    good = live.wechat.verify(echostr)
    assert good.body == echostr.encode()
    bad = live.wechat.get({**live.wechat.stamp(), "signature": echostr, "echostr": echostr})
    assert_refused(bad)
    for answer in (good, bad):
        assert (answer.header("Content-Type") or "").startswith("text/plain")
        assert answer.header("X-Content-Type-Options") == "nosniff"


def test_b10_the_page_for_visitors_shows_nothing_of_the_request(live):
    answer = live.wechat.get("x=<script>alert(1)</script>")
    assert answer.status < 500
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert b"script" not in answer.body


@pytest.mark.parametrize("crlf", ["\r\n", "\n", "\r", "\u2028"], ids=ascii)
def test_b11_a_line_end_makes_no_header(live, crlf):
    evil = f"1{crlf}Set-Cookie: a=b{crlf}{crlf}<html>"
    answer = live.wechat.verify(evil)
    assert answer.status < 500
    assert answer.header("Set-Cookie") is None
    if answer.status == 200:
        assert answer.body == evil.encode()
    refused = live.refuses_get({**live.wechat.stamp(nonce=evil), "echostr": "4711"})
    assert refused.header("Set-Cookie") is None


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("signature=" + "a" * 61_000, id="60kB"),
        pytest.param("signature=" + "a" * 200_000, id="200kB"),
        pytest.param("&".join(f"signature={n}" for n in range(500)), id="500-times-the-same"),
        pytest.param("&" * 5000 + "signature=1", id="5000-separators"),
        pytest.param("&".join(f"%73ignature{n}=%41" for n in range(2000)) + "&nonce=1", id="2000-names"),
    ],
)
def test_b12_an_enormous_query_is_refused_or_cut_off(live, query):
    with live.untouched():
        for method in (b"GET", b"POST"):
            head = b" HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
            status = status_of(raw(live.wechat.url, method + b" /wx_mp_cb?" + query.encode() + head))
            assert status is None or 400 <= status < 500


def test_b12_500_parameters_of_others_do_no_harm(live):
    letter = live.wechat.letter(xml := text("many"))
    query = {**letter.query, **{f"p{n}": "1" for n in range(500)}}
    assert live.wechat.open(live.wechat.post(query, letter.body), xml)["Content"] == "many"


def test_b13_digits_cannot_move_between_timestamp_and_nonce(live):
    """The signature would not notice, since nothing separates the parts."""
    now, nonce = str(int(time.time())), "1234567890123"
    assert now + nonce  # in this order on both sides of the comparison below
    for moved_timestamp, moved_nonce in ((now + nonce[0], nonce[1:]), (now[:-1], now[-1] + nonce)):
        stamp = live.wechat.stamp(now, nonce) | {"timestamp": moved_timestamp, "nonce": moved_nonce}
        live.refuses_get({**stamp, "echostr": "4711"})
        if live.mode == "plain":
            live.refuses(stamp, text("moved").encode())


def test_b13_swapping_timestamp_and_nonce_is_bounded_by_the_window(live):
    now, nonce = str(int(time.time())), "9999999999"
    assert sign(TOKEN, now, nonce) == sign(TOKEN, nonce, now)
    stamp = live.wechat.stamp(now, nonce) | {"timestamp": nonce, "nonce": now}
    live.refuses_get({**stamp, "echostr": "4711"})
    if live.mode == "plain":
        live.refuses(stamp, text("swapped").encode())


# -- B2 message authentication, downgrade, replay ----------------------------------------------------------------------


@pytest.fixture(params=["compatible", "safe"])
def aes(request: pytest.FixtureRequest) -> Live:
    """The two modes with AES."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("wrong", ["0" * 40, "reversed", "upper", "truncated", "extended", "signature"])
def test_b20_a_wrong_msg_signature_is_refused_although_signature_holds(aes, wrong):
    letter = aes.wechat.letter(xml := text("forged"))
    good = letter.query["msg_signature"]
    changed = {"reversed": good[::-1], "truncated": good[:-1], "extended": good + "0", "upper": good.upper() + "X"}
    changed["signature"] = letter.query["signature"]
    aes.refuses({**letter.query, "msg_signature": changed.get(wrong, wrong)}, letter.body, honest=xml)


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_b21_a_missing_msg_signature_is_refused_although_signature_holds(aes, empty):
    letter = aes.wechat.letter(xml := text("unsigned"))
    del letter.query["msg_signature"]
    aes.refuses(letter.query | ({"msg_signature": ""} if empty else {}), letter.body, honest=xml)


@pytest.mark.parametrize("encrypt_type", [None, "raw", "", "aes", "AES ", "AES", "aes ", "none"])
def test_b22_a_safe_server_refuses_plain_bodies(safe, encrypt_type):
    xml = text("downgraded")
    query = safe.wechat.letter(xml, "plain").query | ({} if encrypt_type is None else {"encrypt_type": encrypt_type})
    answer = safe.refuses(query, xml.encode(), honest=xml)
    assert b"downgraded" not in answer.body
    safe.refuses({**query, "msg_signature": query["signature"]}, xml.encode())


def test_b22_the_log_says_why(caplog):
    with fresh() as live:
        letter = live.wechat.letter(text("downgraded"), "plain")
        live.wechat.post(letter.query, letter.body)
    assert [line for line in warnings_of(caplog) if line.startswith("refused reason=downgrade remote=127.0.0.1")]


@pytest.mark.parametrize(
    "encrypt",
    [
        "",
        "<Encrypt></Encrypt>",
        "<Encrypt/>",
        "<Encrypt><![CDATA[]]></Encrypt>",
        "<Encrypt> \n\t </Encrypt>",
        "<Encrypt><![CDATA[   ]]></Encrypt>",
        "<Encrypt><a/></Encrypt>",
        "<Encrypt a='b'/>",
        "<Encrypt/><Encrypt/>",
        "<Encrypt>\x01</Encrypt>",
        "<encrypt/>",
    ],
)
@pytest.mark.parametrize("complete", [False, True], ids=["bare", "with-plain-fields"])
def test_b23_an_empty_ciphertext_is_refused_although_its_msg_signature_holds(aes, encrypt, complete):
    """With nothing as fourth part, msg_signature is signature, which stands in every access log."""
    stamp = aes.wechat.stamp()
    query = {**stamp, "msg_signature": stamp["signature"], "encrypt_type": "aes"}
    body = text("empty").replace("</xml>", encrypt + "</xml>") if complete else f"<xml>{encrypt}</xml>"
    aes.refuses(query, body.encode())


def test_b24_a_msg_signature_of_another_ciphertext_is_refused(aes):
    stamp = {"timestamp": str(int(time.time())), "nonce": "24"}
    letter = aes.wechat.letter(xml := text("mine"), **stamp)
    other = aes.wechat.letter(text("another"), **stamp)
    aes.refuses(other.query, letter.body, honest=xml)


@pytest.mark.parametrize("position", [0, 21, 43, 100, -3])
def test_b24_a_changed_ciphertext_is_refused(aes, position):
    letter = aes.wechat.letter(xml := text("bits"))
    head, encrypt, tail = re.fullmatch(rb"(.*<Encrypt><!\[CDATA\[)(.*)(\]\]></Encrypt>.*)", letter.body, re.S).groups()
    sealed = bytearray(base64.b64decode(encrypt))
    sealed[position] ^= 1
    aes.refuses(letter.query, head + base64.b64encode(sealed) + tail, honest=xml)


@pytest.mark.parametrize("signed_first", [True, False], ids=["signed-first", "signed-last"])
@pytest.mark.parametrize("second", ["<Encrypt><![CDATA[QUFBQQ==]]></Encrypt>", "<Encrypt/>", "same"])
def test_b25_two_ciphertexts_are_refused(aes, signed_first, second):
    letter = aes.wechat.letter(xml := text("two"))
    own = re.search(rb"<Encrypt>.*</Encrypt>", letter.body)[0]
    second = own if second == "same" else second.encode()
    aes.refuses(letter.query, letter.body.replace(own, own + second if signed_first else second + own), honest=xml)


def test_b26_of_a_compatible_body_only_the_decrypted_fields_count(aes):
    """The plain copies lie outside of the signature."""
    xml = text("signed", FromUserName="oSigned")
    letter = aes.wechat.letter(xml, "compatible")
    body = letter.body.replace(b"oSigned", b"oForged").replace(b"signed", b"forged").replace(b"text", b"event")
    reply = aes.wechat.open(aes.wechat.post(letter.query, body), xml)
    assert (reply["Content"], reply["ToUserName"]) == ("signed", "oSigned")
    assert (aes.last.content, aes.last.from_user_name, aes.last.msg_type) == ("signed", "oSigned", "text")


@pytest.mark.parametrize("encrypt_type", [None, "raw", ""])
def test_b27_a_compatible_body_that_calls_itself_raw_is_refused_by_a_safe_server(safe, encrypt_type):
    letter = safe.wechat.letter(xml := text("raw"), "compatible")
    del letter.query["encrypt_type"]
    query = letter.query | ({} if encrypt_type is None else {"encrypt_type": encrypt_type})
    safe.refuses(query, letter.body, honest=xml)
    del query["msg_signature"]
    safe.refuses(query, letter.body)


@pytest.mark.parametrize("sign_of_aes", ["encrypt_type", "msg_signature", "Encrypt"])
def test_b27_a_compatible_server_never_falls_back_to_plain(compatible, sign_of_aes):
    """Any sign of AES means AES only."""
    letter = compatible.wechat.letter(xml := text("fall back"), "plain")
    assert compatible.wechat.open(compatible.wechat.post(letter.query, letter.body), xml, "plain") is not None
    letter = compatible.wechat.letter(xml := text("fall back"), "plain")
    if sign_of_aes == "encrypt_type":
        letter.query["encrypt_type"] = "aes"
    elif sign_of_aes == "msg_signature":
        letter.query["msg_signature"] = letter.query["signature"]
    else:
        letter.body = letter.body.replace(b"</xml>", b"<Encrypt><![CDATA[QUFBQQ==]]></Encrypt></xml>")
    compatible.refuses(letter.query, letter.body, honest=xml)


def test_b28_aes_to_a_server_without_a_key_is_refused_and_said(caplog):
    with fresh(mode="plain") as live:
        for mode in ("safe", "compatible"):
            letter = live.wechat.letter(text("no key"), mode)
            live.refuses(letter.query, letter.body)
    assert [line for line in warnings_of(caplog) if "reason=downgrade" in line and "EncodingAESKey" in line]


def test_b29_a_missing_signature_does_no_harm_where_msg_signature_holds(aes):
    letter = aes.wechat.letter(text("only msg_signature"))
    del letter.query["signature"]
    assert aes.wechat.post(letter.query, letter.body).status in (200, 403)


@pytest.mark.parametrize("skew", [-3600, -86_400, 86_400, 3600, -302, 305, -1_000_000_000])
def test_b30_an_old_or_future_request_is_refused(live, skew):
    letter = live.wechat.letter(text("old"), timestamp=str(int(time.time()) + skew))
    live.refuses(letter.query, letter.body)
    live.refuses_get({**live.wechat.stamp(letter.query["timestamp"]), "echostr": "4711"})


def test_b30_the_log_holds_the_measured_skew(caplog):
    """So that a server's own wrong clock can be found."""
    with fresh() as live:
        letter = live.wechat.letter(text("old"), timestamp=str(int(time.time()) - 3600))
        live.wechat.post(letter.query, letter.body)
    (line,) = [line for line in warnings_of(caplog) if "reason=clock" in line]
    assert -3605 <= int(re.search(r"skew=([+-]\d+)s", line)[1]) <= -3600


@pytest.mark.parametrize(("window", "skew", "status"), [(0, -500_000_000, 200), (60, -90, 403), (3600, -3000, 200)])
def test_b30_the_window_is_a_setting(window, skew, status):
    with fresh(window=window) as live:
        letter = live.wechat.letter(text("window"), timestamp=str(int(time.time()) + skew))
        assert live.wechat.post(letter.query, letter.body).status == status
        stamp = live.wechat.stamp(letter.query["timestamp"])
        assert live.wechat.get({**stamp, "echostr": "4711"}).status == status


@pytest.mark.parametrize("skew", [-240, 120, -20, 0])
def test_b31_an_honest_skew_is_accepted(live, skew):
    letter = live.wechat.letter(xml := text("honest"), timestamp=str(int(time.time()) + skew))
    assert live.wechat.open(live.wechat.post(letter.query, letter.body), xml)["Content"] == "honest"


def test_b32_the_same_bytes_again_get_the_kept_reply(live):
    letter = live.wechat.letter(xml := text("again"))
    before = len(live.calls)
    replies = [live.wechat.open(live.wechat.post(letter.query, letter.body), xml) for _ in range(4)]
    assert [reply["Content"] for reply in replies] == ["again"] * 4
    assert len(live.calls) == before + 1


def test_b32_b86_a_duplicate_is_told_in_the_log(caplog):
    caplog.set_level(logging.DEBUG, LOG)
    with fresh() as live:
        letter = live.wechat.letter(text("again"))
        for _ in range(2):
            live.wechat.post(letter.query, letter.body)
    assert any(r.levelno == logging.DEBUG and "duplicate" in r.getMessage() for r in caplog.records if r.name == LOG)


class Noted:
    """Stands before a store and notes for how long what belongs to a push is kept."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.ttls: list[float] = []

    def add(self, key: str, value: Any, ttl: float) -> bool:
        self._note(key, ttl)
        return self._store.add(key, value, ttl)

    def add_late(self, key: str, value: Any, ttl: float) -> bool:
        self._note(key, ttl)
        return self._store.add_late(key, value, ttl)

    def set(self, key: str, value: Any, ttl: float) -> None:
        self._note(key, ttl)
        self._store.set(key, value, ttl)

    def _note(self, key: str, ttl: float) -> None:
        if ":p:" in key:
            self.ttls.append(ttl)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("window", [300, 3600])
def test_b33_a_push_is_known_for_as_long_as_the_window_lets_it_in(window):
    live = Live(window=window)
    ledger = live.server._exchange._tries._ledger
    ledger._store = noted = Noted(ledger._store)
    with live.serving():
        assert live.wechat.ask(text("kept")) is not None
    assert len(noted.ttls) == 2  # its claim and its page
    assert min(noted.ttls) >= 2 * window


def test_b34_plain_mode_is_warned_about_at_start(caplog):
    Live(mode="plain")
    assert [line for line in warnings_of(caplog) if "plain mode" in line]


@pytest.mark.parametrize("copy", ["unsigned", "other-appid", "other-key", "old", "no-parameters"])
def test_b35_a_refused_copy_leaves_no_trace(safe, copy):
    """Else anybody could use up a message before it arrives."""
    xml = text("mine")
    letter = safe.wechat.letter(xml)
    if copy == "unsigned":
        letter.query["msg_signature"] = "0" * 40
    elif copy == "other-appid":
        letter = safe.sender(safe.wechat.url, appid="wxfedcba9876543210").letter(xml)
    elif copy == "other-key":
        letter = safe.sender(safe.wechat.url, aes_key=AES_KEY_OLD).letter(xml)
    elif copy == "old":
        letter = safe.wechat.letter(xml, timestamp=str(int(time.time()) - 4000))
    else:
        letter.query = {}
    safe.refuses(letter.query, letter.body, honest=xml)


def test_b35_the_same_in_plain_mode(plain):
    xml = text("mine")
    plain.refuses({**plain.wechat.stamp(), "signature": "0" * 40}, xml.encode(), honest=xml)


@pytest.mark.parametrize("mode", ["compatible", "safe"])
def test_b36_a_push_under_the_previous_key_is_answered_under_it(mode, caplog):
    caplog.set_level(logging.INFO, LOG)
    with fresh(mode=mode, aes_key_old=AES_KEY_OLD) as live:
        old = live.sender(live.wechat.url, aes_key=AES_KEY_OLD)
        assert old.ask(text("previous"))["Content"] == "previous"
        assert live.wechat.ask(text("current"))["Content"] == "current"
        third = live.sender(live.wechat.url, aes_key=AES_KEY[::-1])
        letter = third.letter(text("third"))
        live.refuses(letter.query, letter.body)


def test_b36_the_use_of_the_previous_key_is_told(caplog):
    """So that one knows when it can go."""
    caplog.set_level(logging.INFO, LOG)
    with fresh(aes_key_old=AES_KEY_OLD) as live:
        live.sender(live.wechat.url, aes_key=AES_KEY_OLD).ask(text("previous"))
    assert any(r.levelno == logging.INFO and "previous" in r.getMessage() for r in caplog.records)


# -- B3 decryption -----------------------------------------------------------------------------------------------------


def cbc(plain: bytes, key: bytes = KEY) -> bytes:
    """AES-256-CBC without padding, by another library than the one under test."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def uncbc(sealed: bytes, key: bytes = KEY) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    return decryptor.update(sealed) + decryptor.finalize()


def pad(plain: bytes, block: int = 32) -> bytes:
    count = block - len(plain) % block
    return plain + bytes([count]) * count


FILLER = b"0123456789abcdef"
INNER = text("inside", MsgId=4711, FromUserName="oInside").encode()


def full(xml: bytes = INNER, *, length: bytes | None = None, appid: bytes = APPID.encode()) -> bytes:
    """What stands under the padding."""
    return FILLER + (struct.pack(">I", len(xml)) if length is None else length) + xml + appid


def noise(count: int) -> bytes:
    """Bytes without a pattern, the same in each run."""
    return b"".join(hashlib.sha256(b"noise%d" % n).digest() for n in range(count // 32 + 1))[:count]


def sealed(plain: bytes, key: bytes = KEY) -> str:
    return base64.b64encode(cbc(plain, key)).decode()


def long_pad(last: int) -> bytes:
    """A good message whose pad is longer than 32, every byte of it right."""
    body = full()
    body += b"x" * 0
    while (len(body) + last) % 16:
        body = full(INNER[:-6] + b" " * ((-len(full()) - last) % 16) + b"</xml>")
    return body + bytes([last]) * last


def spoilt_pad(position: int) -> bytes:
    """Padding of 32 whose byte at *position* is wrong."""
    body = full(INNER[:-6] + b" " * (-len(full()) % 32) + b"</xml>")
    whole = bytearray(pad(body))
    assert whole[-1] == 32
    whole[position] ^= 1
    return bytes(whole)


def aligned(count: int) -> bytes:
    """A good message, *count* bytes short of a full block, without its padding."""
    return full(INNER[:-6] + b" " * ((-len(full()) - count) % 32) + b"</xml>")


N = len(INNER)
GOOD = sealed(pad(full()))

FORGERIES: dict[str, str] = {
    # b40: no Base64
    "b40-exclamation-marks": "!!!!",
    "b40-not-ascii": "你好你好",
    "b40-full-width": "ＱＵＦＢ",
    "b40-one-character": "A",
    "b40-blanks-inside": GOOD[:40] + " " + GOOD[40:],
    "b40-newline-inside": GOOD[:40] + "\n" + GOOD[40:],
    "b40-no-padding": sealed(pad(full(INNER + b" "))).rstrip("=") + "A",
    "b40-only-padding": "====",
    "b40-data-after-padding": base64.b64encode(cbc(pad(full()))[:16]).decode() + "AAAA",
    "b40-url-alphabet": "-_-_" * 16,
    "b40-control-character": GOOD[:40] + "\x7f" + GOOD[40:],
    # b41: lengths
    **{f"b41-{count}-bytes": base64.b64encode(noise(count)).decode() for count in (1, 15, 16, 17, 31, 33, 47, 48, 320)},
    "b41-16-bytes-well-padded": sealed(bytes([16]) * 16),
    "b41-32-bytes-well-padded": sealed(FILLER + bytes([16]) * 16),
    "b41-one-byte-more": base64.b64encode(cbc(pad(full())) + b"x").decode(),
    "b41-one-byte-less": base64.b64encode(cbc(pad(full()))[:-1]).decode(),
    # b42: padding
    "b42-pad-0": sealed(aligned(0)[:-1] + b"\0"),
    "b42-pad-0-block": sealed(aligned(0) + bytes(32)),
    "b42-pad-33": sealed(long_pad(33)),
    "b42-pad-48": sealed(long_pad(48)),
    "b42-pad-255": sealed(long_pad(255)),
    "b42-last-byte-255": sealed(aligned(1) + b"\xff"),
    "b42-first-pad-byte": sealed(spoilt_pad(-32)),
    "b42-middle-pad-byte": sealed(spoilt_pad(-16)),
    "b42-second-last-pad-byte": sealed(spoilt_pad(-2)),
    "b42-longer-than-the-message": sealed(bytes([32]) * 16),
    "b42-all-padding": sealed(bytes([32]) * 32),
    "b42-padding-twice": sealed(bytes([32]) * 64),
    "b42-ansi-padding": sealed(aligned(5) + bytes(4) + b"\5"),
    "b42-iso-padding": sealed(aligned(5) + b"\x80" + bytes(4)),
    # b43: the length
    "b43-beyond-the-buffer": sealed(pad(full(length=struct.pack(">I", N + 1000)))),
    "b43-ffffffff": sealed(pad(full(length=b"\xff" * 4))),
    "b43-80000000": sealed(pad(full(length=b"\x80\0\0\0"))),
    "b43-fffffff0": sealed(pad(full(length=b"\xff\xff\xff\xf0"))),
    "b43-one-more": sealed(pad(full(length=struct.pack(">I", N + 1)))),
    "b43-one-less": sealed(pad(full(length=struct.pack(">I", N - 1)))),
    "b43-zero": sealed(pad(full(length=bytes(4)))),
    "b43-covers-the-appid": sealed(pad(full(length=struct.pack(">I", N + len(APPID))))),
    "b43-covers-the-padding": sealed(pad(full(length=struct.pack(">I", len(pad(full())) - 20)))),
    "b43-little-endian": sealed(pad(full(length=struct.pack("<I", N)))),
    "b43-in-characters": sealed(pad(full("<xml>你好</xml>".encode(), length=struct.pack(">I", 13)))),
    # b44: the AppID
    "b44-another": sealed(pad(full(appid=b"wxfedcba9876543210"))),
    "b44-empty": sealed(pad(full(appid=b""))),
    "b44-prefix": sealed(pad(full(appid=APPID[:-1].encode()))),
    "b44-suffix": sealed(pad(full(appid=APPID[1:].encode()))),
    "b44-longer": sealed(pad(full(appid=APPID.encode() + b"0"))),
    "b44-twice": sealed(pad(full(appid=APPID.encode() * 2))),
    "b44-upper-case": sealed(pad(full(appid=APPID.upper().encode()))),
    "b44-nul": sealed(pad(full(appid=APPID.encode() + b"\0"))),
    "b44-blank": sealed(pad(full(appid=APPID.encode() + b" "))),
    "b44-newline": sealed(pad(full(appid=APPID.encode() + b"\n"))),
    "b44-not-utf-8": sealed(pad(full(appid=b"\xff\xfe" + APPID.encode()[2:]))),
    "b44-account-id": sealed(pad(full(appid=GH_ID.encode()))),
    # b45: keys and blocks
    "b45-another-key": sealed(pad(full()), base64.b64decode(AES_KEY_OLD + "=")),
    "b45-zero-key": sealed(pad(full()), bytes(32)),
    **{f"b45-noise-{count}": base64.b64encode(noise(count)).decode() for count in (32, 64, 320, 4096)},
    "b45-first-block-missing": base64.b64encode(cbc(pad(full()))[16:]).decode(),
    "b45-last-block-missing": base64.b64encode(cbc(pad(full()))[:-16]).decode(),
    "b45-block-missing": base64.b64encode(cbc(pad(full()))[:32] + cbc(pad(full()))[48:]).decode(),
    "b45-last-block-twice": base64.b64encode(cbc(pad(full())) + cbc(pad(full()))[-16:]).decode(),
    "b45-not-encrypted": base64.b64encode(pad(full())).decode(),
    # b47: all is well but for the XML inside
    "b47-no-xml": sealed(pad(full(b"hello"))),
    "b47-empty": sealed(pad(full(b""))),
    "b47-blank": sealed(pad(full(b"  \n"))),
    "b47-truncated": sealed(pad(full(INNER[:-8]))),
    "b47-doctype": sealed(pad(full(b"<!DOCTYPE xml>" + INNER))),
    "b47-not-utf-8": sealed(pad(full(b"<xml><MsgType>\xff\xfe</MsgType></xml>"))),
    "b47-json": sealed(pad(full(b'{"MsgType":"text"}'))),
    "b47-two-users": sealed(pad(full(INNER.replace(b"</xml>", b"<FromUserName>o</FromUserName></xml>")))),
    "b47-deep": sealed(pad(full(b"<xml>" + b"<a>" * 500 + b"</a>" * 500 + b"</xml>"))),
}


@pytest.fixture(scope="module")
def refusal(safe: Live) -> HttpAnswer:
    """What a wrong msg_signature gets."""
    letter = safe.wechat.letter(text("reference"))
    answer = safe.wechat.post({**letter.query, "msg_signature": "0" * 40}, letter.body)
    assert_refused(answer)
    return answer


@pytest.mark.parametrize("name", list(FORGERIES))
def test_b46_no_failure_can_be_told_from_another(safe, refusal, name):
    """An oracle would decrypt messages byte by byte: status, headers and body are the same for all of them."""
    letter = safe.wechat.envelope(FORGERIES[name])
    answer = safe.refuses(letter.query, letter.body)
    assert answer.comparable == refusal.comparable


@pytest.mark.parametrize("name", list(FORGERIES))
def test_b46_nor_in_compatible_mode(compatible, refusal, name):
    letter = compatible.wechat.envelope(FORGERIES[name])
    answer = compatible.refuses(letter.query, letter.body)
    assert answer.comparable == refusal.comparable


def test_b46_the_ground_truth_is_accepted(safe):
    """What the forgeries are changed from is good, so each of them fails for its own reason alone."""
    for plain_bytes in (pad(full()), pad(aligned(0)), pad(aligned(5))):
        xml = plain_bytes[20 : 20 + struct.unpack(">I", plain_bytes[16:20])[0]].decode()
        letter = safe.wechat.envelope(sealed(plain_bytes))
        assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "inside"


def test_b46_the_log_has_one_word_for_all_of_them(caplog):
    with fresh() as live:
        for name in ("b40-one-character", "b41-17-bytes", "b42-pad-33", "b43-ffffffff", "b44-another"):
            letter = live.wechat.envelope(FORGERIES[name])
            live.wechat.post(letter.query, letter.body)
    refused = [line for line in warnings_of(caplog) if line.startswith("refused ") and "remote=" in line]
    assert len(refused) == 5
    assert len({line.split("; probably:")[0] for line in refused}) == 1  # the first one of a minute has a hint
    assert refused[0].startswith("refused reason=decrypt remote=127.0.0.1")


def test_b40_blanks_around_the_ciphertext_are_left_away(aes):
    """The signature is over the text without them."""
    xml = text("blanks")
    letter = aes.wechat.letter(xml, "safe")
    body = letter.body.replace(b"<Encrypt><![CDATA[", b"<Encrypt>\n  <![CDATA[ ").replace(b"]]></Enc", b" ]]>\n </Enc")
    assert aes.wechat.open(aes.wechat.post(letter.query, body), xml)["Content"] == "blanks"


def test_b48_nothing_is_decrypted_before_msg_signature_holds(caplog):
    """So that only somebody who knows the Token could measure how long decryption takes."""
    names = ["b40-one-character", "b42-pad-33", "b44-another", "b45-another-key", "b47-no-xml"]
    with fresh() as live:
        for name in names:
            letter = live.wechat.envelope(FORGERIES[name], msg_signature="0" * 40)
            live.refuses(letter.query, letter.body)
    refused = [line for line in warnings_of(caplog) if line.startswith("refused ") and "remote=" in line]
    assert len(refused) == len(names)
    assert all(line.startswith("refused reason=signature ") for line in refused)


def test_b49_every_pad_length_works(safe):
    seen = set()
    for count in range(1, 33):
        xml = text("p" * count, MsgId=4900 + count, FromUserName=f"oPad{count:02}")
        plain_bytes = pad(full(xml.encode()))
        seen.add(plain_bytes[-1])
        letter = safe.wechat.envelope(sealed(plain_bytes))
        assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "p" * count
    assert seen == set(range(1, 33))


@pytest.mark.parametrize(
    "filler",
    [bytes(16), b"\xff" * 16, noise(16), b"<xml>\0\xff\xfe</xml>\n\n"],
    ids=["zeros", "ones", "noise", "markup"],
)
def test_b49_the_filler_is_any_16_bytes(safe, filler):
    filler = filler[:16].ljust(16, b"\0")
    xml = text("filler", FromUserName="oFiller" + filler.hex())
    letter = safe.wechat.envelope(sealed(pad(filler + full(xml.encode())[16:])))
    assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "filler"


@pytest.mark.parametrize("content", ["hello", "我是中文", "😀", "x" * 31, "x" * 32, "x" * 33])
def test_b50_a_reply_is_sealed_as_wechat_prescribes(aes, content):
    letter = aes.wechat.letter(text(content))
    root = ET.fromstring(aes.wechat.post(letter.query, letter.body).body)
    fields = {element.tag: element.text or "" for element in root}
    assert sorted(fields) == ["Encrypt", "MsgSignature", "Nonce", "TimeStamp"]
    assert fields["MsgSignature"] == sign(TOKEN, fields["TimeStamp"], fields["Nonce"], fields["Encrypt"])
    assert abs(int(fields["TimeStamp"]) - time.time()) < 60
    ciphertext = base64.b64decode(fields["Encrypt"], validate=True)
    assert len(ciphertext) % 32 == 0
    plain_bytes = uncbc(ciphertext)
    count = plain_bytes[-1]
    assert 1 <= count <= 32
    assert plain_bytes.endswith(bytes([count]) * count)
    (length,) = struct.unpack(">I", plain_bytes[16:20])
    assert plain_bytes[20 + length : -count] == APPID.encode()
    assert ET.fromstring(plain_bytes[20 : 20 + length]).findtext("Content") == content


def test_b50_every_reply_has_a_filler_of_its_own(aes):
    """Under a fixed IV it is all that makes two equal replies differ."""
    letter = aes.wechat.letter(text("same"))
    answers = [aes.wechat.post(letter.query, letter.body).body for _ in range(20)]
    sealed_texts = [ET.fromstring(body).findtext("Encrypt") or "" for body in answers]
    fillers = {uncbc(base64.b64decode(value))[:16] for value in sealed_texts}
    assert len(fillers) == 20
    assert len({value[:22] for value in sealed_texts}) == 20


@pytest.mark.parametrize(
    "key",
    [
        "k" * 42,
        "k" * 44,
        "k" * 42 + "=",
        "k" * 43 + "=",
        "k" * 42 + "!",
        "k" * 42 + "你",
        " " + "k" * 42,
        "k" * 42 + "\n",
        "k",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["aes_key", "aes_key_old"])
def test_b51_a_key_that_is_none_is_a_config_error(key, name):
    with pytest.raises(ConfigError) as caught:
        Live(**{name: key})
    assert isinstance(caught.value, ValueError)
    assert f"WX_MP_{name.upper()}" in str(caught.value)
    assert len(key) < 3 or key not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "ab", "a" * 33, "with blank", "中文令牌", '"quoted"', "tok-en"])
def test_b51_a_token_that_is_none_is_a_config_error(token):
    with pytest.raises(ConfigError) as caught:
        Live(token=token)
    assert "WX_MP_TOKEN" in str(caught.value)
    assert len(token) < 3 or token not in str(caught.value)


def test_b51_no_token_at_all_is_a_config_error():
    with pytest.raises(ConfigError, match="WX_MP_TOKEN"):
        WxMpServer()


@pytest.mark.parametrize("last", "FGHE")
def test_b51_a_key_whose_last_bits_are_discarded_is_accepted(last):
    """The official sample key is one of these."""
    key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF" + last
    with fresh(aes_key=key) as live:
        assert live.wechat.ask(text("sample key"))["Content"] == "sample key"


# -- B4 XML ------------------------------------------------------------------------------------------------------------

PLACES = ["plain-body", "outer-body", "inside-aes"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, plain: Live, safe: Live) -> tuple[Live, Callable[[bytes], Letter]]:
    """Where XML is read: a plain body, an outer body before it is known to be authentic, and a decrypted body."""
    if request.param == "plain-body":
        return plain, lambda xml: plain.wechat.letter(xml, "plain")
    if request.param == "inside-aes":
        return safe, lambda xml: safe.wechat.letter(xml, "safe")
    query = {**safe.wechat.stamp(), "encrypt_type": "aes", "msg_signature": "0" * 40}
    return safe, lambda xml: Letter(query, xml)


def bare(inner: str, doctype: str = "") -> bytes:
    head = f"<ToUserName>{GH_ID}</ToUserName><FromUserName>oXml</FromUserName><CreateTime>1</CreateTime>"
    return f"{doctype}<xml>{head}<MsgType>text</MsgType><MsgId>1</MsgId>{inner}</xml>".encode()


def laughs(count: int, base: str = "lol") -> str:
    entities = [f'<!ENTITY a0 "{base}">']
    entities += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, count)]
    return f"<!DOCTYPE xml [{''.join(entities)}]>"


BOMBS = {
    "billion-laughs": bare("<Content>&a9;</Content>", laughs(10)),
    "quadratic": bare(f"<Content>{'&a0;' * 8_000}</Content>", laughs(1, "x" * 10_000)),
    "cycle": bare("<Content>&a;</Content>", '<!DOCTYPE xml [<!ENTITY a "&b;"><!ENTITY b "&a;">]>'),
    "internal": bare("<Content>&a0;</Content>", laughs(1)),
    "internal-unused": bare("<Content>x</Content>", laughs(1)),
    "attribute-default": bare("<Content/>", '<!DOCTYPE xml [<!ATTLIST xml a CDATA "x">]>'),
    "undeclared": bare("<Content>&nothing;</Content>"),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_b60_entities_are_refused_at_once(place, name):
    live, envelope = place
    letter = envelope(BOMBS[name])
    with live.untouched():
        started = time.monotonic()
        answer = live.wechat.post(letter.query, letter.body)
        assert time.monotonic() - started < 1
        assert_refused(answer)


@pytest.fixture
def listener() -> Iterator[Callable[[], bool]]:
    """A port where a fetch would be noticed; gives its number and whether somebody called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def was_called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        was_called.url = f"http://127.0.0.1:{server.getsockname()[1]}/x"  # type: ignore[attr-defined]
        yield was_called


EXTERNAL = {
    "entity": ('<!DOCTYPE xml [<!ENTITY e SYSTEM "URL">]>', "<Content>&e;</Content>"),
    "public-entity": ('<!DOCTYPE xml [<!ENTITY e PUBLIC "x" "URL">]>', "<Content>&e;</Content>"),
    "parameter-entity": ('<!DOCTYPE xml [<!ENTITY % e SYSTEM "URL"> %e;]>', "<Content>x</Content>"),
    "dtd": ('<!DOCTYPE xml SYSTEM "URL">', "<Content>x</Content>"),
    "public-dtd": ('<!DOCTYPE xml PUBLIC "x" "URL">', "<Content>x</Content>"),
    "notation": ('<!DOCTYPE xml [<!NOTATION n SYSTEM "URL"><!ENTITY e SYSTEM "URL" NDATA n>]>', "<Content>x</Content>"),
    "stylesheet": ('<?xml-stylesheet href="URL" type="text/xsl"?>', "<Content>x</Content>"),
    "xinclude": (
        "",
        '<Content><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="URL" parse="text"/></Content>',
    ),
    "schema": (
        "",
        '<s xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="x URL"/><Content>x</Content>',
    ),
}


@pytest.mark.parametrize("name", list(EXTERNAL))
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_b61_nothing_outside_is_fetched_or_read(place, name, scheme, listener, tmp_path):
    live, envelope = place
    secret = tmp_path / "secret.txt"
    secret.write_text("TopSecretOfTheFileSystem")
    url = listener.url if scheme == "http" else secret.as_uri()
    doctype, inner = EXTERNAL[name]
    inner = inner.replace("</Content>", f"{name}{scheme}</Content>")  # each a push of its own
    letter = envelope(bare(inner.replace("URL", url) + f"<Url>{tmp_path}</Url>", doctype.replace("URL", url)))
    before = len(live.calls)
    answer = live.wechat.post(letter.query, letter.body)
    assert answer.status in (200, 403)
    assert answer.status == 403 or not doctype
    assert not listener()
    assert b"TopSecret" not in answer.body
    assert "TopSecret" not in repr([call.raw for call in live.calls[before:]])
    assert live.wechat.ask(text("still there"))["Content"] == "still there"


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE xml>",
        "<!DOCTYPE xml []>",
        "<!doctype xml>",
        "\n <!DOCTYPE xml>",
        "\ufeff<!DOCTYPE xml>",
        '<?xml version="1.0"?><!DOCTYPE xml>',
        '<?xml version="1.0"?>\n<!-- c --><!DOCTYPE xml>',
        "<!-- <xml> --><!DOCTYPE xml>",
        "<?p <xml> ?><!DOCTYPE xml>",
        "<!DOCTYPE\nxml>",
    ],
    ids=ascii,
)
def test_b62_any_doctype_is_refused(place, doctype):
    live, envelope = place
    letter = envelope(bare("<Content>x</Content>", doctype))
    live.refuses(letter.query, letter.body)


@pytest.mark.parametrize("content", ["<!DOCTYPE xml>", '<!DOCTYPE a [<!ENTITY b "c">]>&b;', "<!ENTITY a SYSTEM 'b'>"])
def test_b62_a_doctype_that_a_user_writes_is_text(live, content):
    assert live.wechat.ask(text(content))["Content"] == content


def heavy(name: str, scale: int) -> bytes:
    inner = {
        "deep": "<a>" * (50_000 // scale) + "</a>" * (50_000 // scale),
        "deep-and-broken": "<a>" * (100_000 // scale),
        "deep-with-attributes": '<a b="c">' * (30_000 // scale) + "</a>" * (30_000 // scale),
        "siblings": "<a/>" * (100_000 // scale),
        "siblings-of-many-names": "".join(f"<a{n}/>" for n in range(60_000 // scale)),
        "attributes": "<a " + " ".join(f'a{n}="x"' for n in range(20_000 // scale)) + "/>",
        "attributes-twice": '<a b="1" b="2"/>',
        "tag-name": f"<{'a' * (200_000 // scale)}/>",
        "namespaces": "<a " + " ".join(f'xmlns:n{n}="u"' for n in range(10_000 // scale)) + "/>",
        "quotes": "<a " + "\"'" * (100_000 // scale) + "/>",
        "brackets": "<" * (200_000 // scale),
        "cdata": "<![CDATA[" * (20_000 // scale),
        "cdata-ends": "<Content><![CDATA[" + "]]>" * (60_000 // scale) + "]]></Content>",
        "torn-contents": "<Content><![CDATA[ x]]>" * (8_000 // scale) + "\x00]]></Content>",
        "comments": "<!--" * (40_000 // scale),
        "instructions": "<?a " * (40_000 // scale),
        "character-references": "<Content>" + "&#65;" * (40_000 // scale) + "</Content>",
    }[name]
    return bare(inner)


HEAVY = [
    "deep", "deep-and-broken", "deep-with-attributes", "siblings", "siblings-of-many-names", "attributes",
    "attributes-twice", "tag-name", "namespaces", "quotes", "brackets", "cdata", "cdata-ends", "torn-contents", "comments",
    "instructions", "character-references",
]  # fmt: skip


@pytest.fixture(scope="module")
def roomy() -> Iterator[Live]:
    """A plain server that lets a megabyte in, so that the XML limits have to hold alone."""
    with Live(mode="plain", max_body=1024 * 1024).serving() as live:
        yield live


@pytest.mark.parametrize("name", HEAVY)
def test_b63_heavy_xml_is_answered_quickly(place, name):
    live, envelope = place
    letter = envelope(heavy(name, 8))
    started = time.monotonic()
    answer = live.wechat.post(letter.query, letter.body)
    assert time.monotonic() - started < 3
    assert answer.status < 500
    assert live.wechat.ask(text("still there"))["Content"] == "still there"


@pytest.mark.parametrize("name", HEAVY)
def test_b63_also_where_the_size_limit_is_out_of_the_way(roomy, name):
    letter = roomy.wechat.letter(heavy(name, 1))
    started = time.monotonic()
    answer = roomy.wechat.post(letter.query, letter.body)
    assert time.monotonic() - started < 3
    assert answer.status < 500
    assert roomy.wechat.ask(text("still there"))["Content"] == "still there"


@pytest.mark.parametrize(
    ("inner", "accepted"),
    [
        pytest.param("<a>" * 15 + "</a>" * 15, True, id="depth-16"),
        pytest.param("<a>" * 16 + "</a>" * 16, False, id="depth-17"),
        pytest.param("<a/>" * 1900, True, id="1900-elements"),
        pytest.param("<a/>" * 2000, False, id="2000-more-elements"),
        pytest.param("<a " + " ".join(f'b{n}="x"' for n in range(16)) + "/>", True, id="16-attributes"),
        pytest.param("<a " + " ".join(f'b{n}="x"' for n in range(17)) + "/>", False, id="17-attributes"),
        pytest.param("<a><![CDATA[" + "<a b='c'>" * 3000 + "]]></a>", True, id="tags-in-text"),
    ],
)
def test_b63_the_limits_are_what_they_are_said_to_be(plain, inner, accepted):
    xml = text("limits").replace("</xml>", inner + "</xml>")
    assert plain.wechat.push(xml).status == (200 if accepted else 403)


NO_PACKETS = {
    "empty": b"",
    "blank": b"  \n\t ",
    "json": b'{"ToUserName":"a","FromUserName":"b","MsgType":"text"}',
    "html": b"<html><body><p>hello</p></body></html>",
    "text": b"hello",
    "binary": noise(500),
    "nul": b"\0" * 100,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(32),
    "truncated": INNER[:-10],
    "truncated-in-tag": INNER[:30],
    "truncated-in-cdata": INNER[: INNER.index(b"inside") + 3],
    "wrong-root": INNER.replace(b"<xml>", b"<root>").replace(b"</xml>", b"</root>"),
    "capital-root": INNER.replace(b"<xml>", b"<XML>").replace(b"</xml>", b"</XML>"),
    "two-roots": bare("<Content>x</Content>") * 2,  # in CDATA it would be a torn text, see B72
    "text-after-root": INNER + b"more",
    "text-only-root": b"<xml>hello</xml>",
    "empty-root": b"<xml></xml>",
    "closed-root": b"<xml/>",
    "mismatched": INNER.replace(b"</MsgType>", b"</MsgTyp>"),
    "list-root": b"<xml><xml></xml></xml></xml>",
    "half-entity": bare("<Content>a & b</Content>"),
    "form": b"ToUserName=a&FromUserName=b",
}


@pytest.mark.parametrize("name", list(NO_PACKETS))
def test_b64_what_is_no_packet_is_refused(place, name):
    live, envelope = place
    letter = envelope(NO_PACKETS[name])
    live.refuses(letter.query, letter.body)


@pytest.mark.parametrize("name", ["MsgType", "FromUserName", "ToUserName"])
@pytest.mark.parametrize("second", ["other", "same", "empty", "children"])
def test_b65_two_identities_are_refused(live, name, second):
    xml = text("two")
    own = re.search(f"<{name}>.*?</{name}>", xml)[0]
    extra = {"same": own, "empty": f"<{name}/>", "children": f"<{name}><a>b</a></{name}>"}.get(
        second, f"<{name}>other</{name}>"
    )
    for doubled in (xml.replace(own, own + extra), xml.replace(own, extra + own)):
        letter = live.wechat.letter(doubled)
        live.refuses(letter.query, letter.body)


@pytest.mark.parametrize(
    ("inner", "content"),
    [
        ("<Content>first</Content><Content>second</Content>", "first"),
        ("<Content a='b'>attribute</Content>", "attribute"),
        ("<Content>before<a>child</a></Content>", "before"),
        ("<Content><a>child</a></Content>", ""),
        ("<Content/>", ""),
        ("<Content><![CDATA[one]]><![CDATA[two]]></Content>", "onetwo"),
        ("", ""),
    ],
)
def test_b65_other_elements_are_read_leniently(live, inner, content):
    xml = text("x").replace("<Content><![CDATA[x]]></Content>", inner)
    answer = live.wechat.push(xml)
    assert answer.status == 200
    assert live.last.content == content


@pytest.mark.parametrize("name", ["CreateTime", "MsgId", "MediaId", "PicUrl", "Event", "EventKey"])
@pytest.mark.parametrize(
    "odd", ["<{0}>1</{0}><{0}>2</{0}>", "<{0} a='b'>1</{0}>", "<{0}><a>1</a></{0}>", "<{0}> \n </{0}>"]
)
def test_b65_no_odd_element_breaks_anything(live, name, odd):
    for xml in (packet(MsgType="image", **{name: None}), event("CLICK", **{name: None})):
        answer = live.wechat.push(xml.replace("</xml>", odd.format(name) + "</xml>"))
        assert answer.status == 200


@pytest.mark.parametrize("name", ["MsgType", "FromUserName", "ToUserName"])
@pytest.mark.parametrize("value", [None, "", "  \n"], ids=["missing", "empty", "blank"])
def test_b66_a_message_that_does_not_say_who_to_whom_is_acknowledged(live, name, value):
    with live.untouched():
        assert_ack(live.wechat.push(text("nobody", **{name: value})))


@pytest.mark.parametrize("value", [None, "", " "], ids=["missing", "empty", "blank"])
def test_b66_an_event_without_a_name_is_a_plain_event(live, value):
    assert_ack_or_reply(live, packet(MsgType="event", Event=value))
    assert type(live.last) is EventReqMsg
    assert live.last.event == ""


def assert_ack_or_reply(live: Live, xml: str) -> None:
    live.wechat.open(live.wechat.push(xml), xml)


def test_b66_is_told_in_the_log(caplog):
    with fresh() as live:
        live.wechat.push(text("nobody", MsgType=None))
    assert [line for line in warnings_of(caplog) if "MsgType" in line]


@pytest.mark.parametrize("kind", ["hologram", "TEXT2", "class", "__class__", "device_text", "x" * 1000, "消息"])
def test_b67_an_unknown_message_is_a_general_one(live, kind):
    xml = packet(MsgType=kind, Something="new")
    assert live.wechat.ask(xml)["Content"] == "ok"
    assert type(live.last) is ReqMsg
    assert live.last.raw["Something"] == "new"


@pytest.mark.parametrize("name", ["event_of_next_year", "__init__", "x" * 1000, "事件", "text"])
def test_b67_an_unknown_event_is_a_general_one(live, name):
    xml = event(name, Something="new")
    live.wechat.open(live.wechat.push(xml), xml)
    assert type(live.last) is EventReqMsg
    assert (live.last.event, live.last.raw["Something"]) == (name, "new")


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "self",
        "__class__",
        "__dict__",
        "raw",
        "msg_type",
        "from_user_name",
        "openid",
        "answerable",
        "None",
        "content",
        "a.b",
    ],
)
def test_b67_no_element_name_is_dangerous(live, name):
    reply = live.wechat.ask(packet(**{"Content": "fine", name: "evil"}))
    assert reply["Content"] == "fine"
    assert (live.last.msg_type, live.last.content, live.last.raw[name]) == ("text", "fine", "evil")


def test_b67_without_a_handler_everything_is_acknowledged(caplog):
    caplog.set_level(logging.INFO, LOG)
    server = WxMpServer(token=TOKEN, mode="plain")
    with servers.in_thread(server) as origin:
        wechat = WeChat(origin + servers.CALLBACK, TOKEN, AES_KEY, APPID, "plain")
        for xml in (text("x"), event("subscribe"), event("new"), packet(MsgType="new")):
            assert_ack(wechat.push(xml))
    assert any("new" in r.getMessage() for r in caplog.records if r.name == LOG and r.levelno == logging.INFO)


@pytest.mark.parametrize(
    "value",
    [
        "xxxx",
        "1.5",
        "-1",
        "9" * 40,
        "9" * 5000,
        "１７０００００００００",
        "",
        " ",
        None,
        "0x10",
        "1e9",
        "１",
        "²",
        "1_000",
        "NaN",
    ],
    ids=lambda value: repr(value)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_b68_an_unreadable_create_time_stays_in_raw(live, value):
    reply = live.wechat.ask(text("when", CreateTime=value))
    assert reply["Content"] == "when"
    assert live.last.create_time in (None, 0)
    assert live.last.raw.get("CreateTime") == value


@pytest.mark.parametrize(
    "value",
    [
        str(2**63),
        str(2**64),
        str(2**64 + 1),
        "-1",
        "xxxx",
        "",
        None,
        "9" * 5000,
        "1.5",
        "１２",
        "0",
        "'; DROP TABLE x;--",
        "\U0001f600",
    ],
    ids=lambda value: repr(value)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_b69_a_msg_id_is_text(live, value):
    before = len(live.calls)
    xml = text("id", MsgId=value)
    for _ in range(2):
        assert live.wechat.ask(xml)["Content"] == "id"
    assert len(live.calls) == before + 1
    assert live.last.msg_id == (value or "")


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "1e999", "", "x", "１", "0x1", "1" * 400, "1,5", None], ids=ascii
)
def test_b70_an_unreadable_number_is_none(live, value):
    xml = packet(MsgType="location", Location_X=value, Location_Y=value, Scale=value, Label="somewhere")
    assert live.wechat.ask(xml)["Content"] == "ok"
    assert isinstance(live.last, LocationReqMsg)
    assert (live.last.location_x, live.last.location_y, live.last.scale) == (None, None, None)
    assert live.last.raw.get("Location_X") == value


def test_b70_a_negative_scale_is_a_number(live):
    live.wechat.ask(packet(MsgType="location", Location_X="-23.134521", Location_Y="113.358803", Scale="-5"))
    assert (live.last.location_x, live.last.location_y, live.last.scale) == (-23.134521, 113.358803, -5)


def test_b71_a_bom_is_accepted(live):
    xml = text("bom")
    letter = live.wechat.letter("\ufeff" + xml)
    assert live.wechat.open(live.wechat.post(letter.query, letter.body), xml)["Content"] == "bom"
    outer = live.wechat.letter(xml2 := text("outer bom"))
    answer = live.wechat.post(outer.query, b"\xef\xbb\xbf" + outer.body)
    assert live.wechat.open(answer, xml2)["Content"] == "outer bom"


CHINESE = "汉字编码"

ENCODINGS = {
    "utf-16": lambda xml: xml.encode("utf-16"),
    "utf-16-le": lambda xml: xml.encode("utf-16-le"),
    "utf-16-declared": lambda xml: ('<?xml version="1.0" encoding="utf-16"?>' + xml).encode("utf-16"),
    "utf-32": lambda xml: xml.encode("utf-32"),
    "gbk": lambda xml: xml.encode("gbk"),
    "gbk-declared": lambda xml: ('<?xml version="1.0" encoding="gb2312"?>' + xml).encode("gbk"),
    "invalid": lambda xml: xml.encode().replace("汉".encode(), b"\xff\xfe"),
    "cut-character": lambda xml: xml.encode().replace("汉".encode(), "汉".encode()[:2]),
    "overlong": lambda xml: xml.encode().replace("汉".encode(), b"\xc0\xbc"),
    "lone-surrogate": lambda xml: xml.encode().replace("汉".encode(), b"\xed\xa0\x80"),
    "beyond-unicode": lambda xml: xml.encode().replace("汉".encode(), b"\xf4\x90\x80\x80"),
    "declared-gb2312": lambda xml: ('<?xml version="1.0" encoding="gb2312"?>' + xml).encode(),
    "declared-latin-1": lambda xml: ('<?xml version="1.0" encoding="iso-8859-1"?>' + xml).encode(),
    "declared-bogus": lambda xml: ('<?xml version="1.0" encoding="bogus"?>' + xml).encode(),
    "declared-utf-8": lambda xml: ('<?xml version="1.0" encoding="UTF-8"?>\n' + xml).encode(),
    "two-boms": lambda xml: ("\ufeff\ufeff" + xml).encode(),
    "xml-1.1": lambda xml: ('<?xml version="1.1"?>' + xml).encode(),
}


@pytest.mark.parametrize("name", list(ENCODINGS))
def test_b71_another_encoding_is_refused_or_read_rightly(live, name):
    """Never mojibake in a reply."""
    xml = text(CHINESE)
    before = len(live.calls)
    answer = live.wechat.push(ENCODINGS[name](xml), "plain" if live.mode == "plain" else "safe")
    assert answer.status in (200, 403)
    if answer.status == 200:
        assert live.wechat.open(answer, xml)["Content"] == CHINESE
    else:
        assert_refused(answer)
        assert len(live.calls) == before
    assert live.wechat.ask(text("still there"))["Content"] == "still there"


@pytest.mark.parametrize("odd", ["\x00", "\x01", "\x08", "\x0b", "\x1d", "\x1f", "\ufffe", "\uffff"], ids=ascii)
def test_b71_control_characters_are_dropped(live, odd):
    """WeChat passes on what users type, and no XML parser would read it."""
    xml = text("a" + odd + "b")
    answer = live.wechat.push(xml)
    assert live.wechat.open(answer, text("", FromUserName=live.last.openid))["Content"] == "ab"
    assert live.last.content == "ab"


@pytest.mark.parametrize("odd", ["&#0;", "&#1;", "&#xFFFE;", "&#xD800;", "&#1114112;", "&#x110000;", "&#-1;", "&#x;"])
def test_b71_references_to_illegal_characters_are_refused(live, odd):
    xml = text("x").replace("<![CDATA[x]]>", f"a{odd}b")
    assert_refused(live.wechat.push(xml, "plain" if live.mode == "plain" else "safe"))


CONTENTS = [
    "]]>",
    "a]]>b",
    "]]]]>>",
    "]]",
    "]",
    "<![CDATA[",
    "<![CDATA[x]]>",
    "]]]]><![CDATA[>",
    "&",
    "<",
    ">",
    "&amp;",
    "&lt;b&gt;",
    "&#65;",
    "<b>bold</b>",
    "\"quoted\" 'twice'",
    "😀",
    "👩‍❤️‍👨",
    "a\nb\n\nc",
    "a\tb",
    "a\u2028b\u2029c",
    "\U0010ffff",
    "\u200b\u200d\ufeff",
    "e\u0301",
    "עברית \u202e",
    "\x7f\x80\x9f",
    "<!-- c -->",
    "<?pi?>",
    "%s %d {0} ${x}",
    "\\n\\u0041",
    "</xml>",
    "字" * 680,
]


@pytest.mark.parametrize("content", CONTENTS, ids=ascii)
def test_b72_text_survives_the_round_trip(live, content):
    assert live.wechat.ask(text(content))["Content"] == content
    assert live.last.content == content


@pytest.mark.parametrize("content", ["a]]>b", "]]>", "x]]></b>", "a]]>]]>b", "if (a[b[0]]>1) return;"])
def test_b72_text_with_the_end_of_cdata_that_wechat_does_not_escape(live, content):
    """Such a packet is torn; the user's text is read all the same."""
    answer = live.wechat.push(text("TORN").replace("TORN", content), "plain" if live.mode == "plain" else "safe")
    assert answer.status == 200
    assert live.last.content == content


INJECTIONS = [
    "x]]></Content><ToUserName><![CDATA[oVictim]]></ToUserName><Content><![CDATA[y",
    "]]></Content></xml><xml><ToUserName><![CDATA[oVictim]]></ToUserName><Content><![CDATA[",
    "]]></Content><MsgType><![CDATA[image]]></MsgType><Content><![CDATA[",
    "]]]]><![CDATA[></Content><ToUserName>oVictim</ToUserName><Content>",
    "]]\x00></Content><ToUserName>oVictim</ToUserName><Content><![CDATA[",
    "]\x01]\x02></Content><ToUserName>oVictim</ToUserName><Content><![CDATA[",
    "]]\ufffe></Content><ToUserName>oVictim</ToUserName><Content><![CDATA[",
    "]]\ud800></Content><ToUserName>oVictim</ToUserName><Content><![CDATA[",
]


@pytest.mark.parametrize("content", INJECTIONS, ids=range(len(INJECTIONS)))
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b73_a_text_cannot_break_out_of_its_element(mode, content):
    """`WeChat.open` counts the elements, and knows whom the reply is for."""
    legal = re.sub("[\x00-\x08\ufffe\ud800]", "", content)
    with fresh(lambda req: content, mode=mode) as live:
        reply = live.wechat.ask(text("inject", FromUserName="oAttacker"))
    assert reply.names == ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"]
    assert (reply["ToUserName"], reply["Content"]) == ("oAttacker", legal)


@pytest.mark.parametrize("content", INJECTIONS[:4], ids=range(4))
def test_b73_nor_as_an_echo(live, content):
    reply = live.wechat.ask(text(content))
    assert reply["Content"] == content


def test_b73_nor_can_a_user_name(live):
    xml = text("x", FromUserName="o]]></ToUserName><Evil>1</Evil><ToUserName><![CDATA[", ToUserName="gh_]]><b/>")
    assert live.wechat.ask(xml).names == ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"]


def test_b73_what_was_torn_inside_stays_inside(live):
    """A user's `]]>` tears the packet; the elements that follow in the text must not become WeChat's."""
    evil = "x]]></Content><FromUserName><![CDATA[oVictim]]></FromUserName><Content><![CDATA[y"
    xml = text("TORN", FromUserName="oAttacker").replace("TORN", evil)
    answer = live.wechat.push(xml, "plain" if live.mode == "plain" else "safe")
    assert answer.status in (200, 403)
    assert not [call for call in live.calls if call.from_user_name == "oVictim"]


@pytest.mark.parametrize("nonce", ["]]></Nonce><Encrypt>x</Encrypt>", "<a>", "&amp;", "]]>", "a]]]]><![CDATA[>"])
def test_b74_a_nonce_cannot_break_out_of_the_envelope(aes, nonce):
    letter = aes.wechat.letter(xml := text("nonce"), nonce=nonce)
    answer = aes.wechat.post(letter.query, letter.body)
    if answer.status == 200:
        reply = aes.wechat.open(answer, xml)  # counts the elements of the envelope
        assert (reply["Content"], reply.nonce) == ("nonce", nonce)
    else:
        assert_refused(answer)


@pytest.mark.parametrize("timestamp", ["]]></Nonce>", "1700000000]]>", "<a>1700000"])
def test_b74_nor_a_timestamp(aes, timestamp):
    letter = aes.wechat.letter(text("timestamp"), timestamp=timestamp)
    aes.refuses(letter.query, letter.body)


@pytest.mark.parametrize("content", ["  leading", "trailing  ", "\n\nlines\n", " \t both \t ", "　全角　"], ids=ascii)
def test_b75_blanks_are_the_users_own(live, content):
    assert live.wechat.ask(text(content))["Content"] == content
    assert live.last.content == content


@pytest.mark.parametrize("content", [" ", "   ", "\n", "\t \n"], ids=ascii)
def test_b75_a_text_of_blanks_reaches_the_handler(live, content):
    live.wechat.push(text(content))
    assert live.last.content == content


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("a\x00b", "ab"),
        ("a\x0bb", "ab"),
        ("a\ud800b", "ab"),
        ("a\x1bb\x07", "ab"),
        ("\ufffea\uffff", "a"),
        ("a\udc80", "a"),
    ],
    ids=ascii,
)
def test_b76_what_xml_has_no_place_for_is_dropped_from_a_reply(said, heard, caplog):
    for mode in ("plain", "safe"):
        with fresh(lambda req: said, mode=mode) as live:
            assert live.wechat.ask(text("say it"))["Content"] == heard
    assert [line for line in warnings_of(caplog) if "dropped" in line]


@pytest.mark.parametrize("said", ["\x00", "\ud800\x01", "\x0b "], ids=ascii)
def test_b76_a_reply_of_nothing_else_is_an_acknowledgement(said):
    with fresh(lambda req: said) as live:
        assert_ack(live.wechat.push(text("say it")))


# -- B5 handlers, replies, duplicates ----------------------------------------------------------------------------------


def raiser(exc: BaseException) -> Callable[[Any], Any]:
    def handler(req: Any) -> Any:
        raise exc

    return handler


async def async_raiser(req: Any) -> Any:
    raise RuntimeError("InnermostSecret async")


RAISERS = {
    "error": raiser(RuntimeError("InnermostSecret")),
    "unicode": raiser(ValueError("InnermostSecret \ud800")),
    "exit": raiser(SystemExit("InnermostSecret")),
    "interrupt": raiser(KeyboardInterrupt()),
    "generator-exit": raiser(GeneratorExit()),
    "stop-iteration": raiser(StopIteration()),
    "recursion": raiser(RecursionError("InnermostSecret")),
    "memory": raiser(MemoryError()),
    "async": async_raiser,
}


@pytest.mark.parametrize("name", list(RAISERS))
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b80_a_handler_that_raises_gives_the_error_text(mode, name, caplog):
    with fresh(RAISERS[name], mode=mode) as live:
        xml = text("raise")
        answer = live.wechat.push(xml)
        assert live.wechat.open(answer, xml)["Content"] == ERROR_TEXT
        again = live.wechat.push(xml)
        assert live.wechat.open(again, xml)["Content"] == ERROR_TEXT
        assert len(live.calls) == 1
    assert b"InnermostSecret" not in answer.body
    errors = [r for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]
    assert errors
    assert errors[0].exc_info
    assert not any(secret in caplog.text for secret in SECRETS)


@pytest.mark.parametrize("error_text", [None, ""], ids=["none", "empty"])
@pytest.mark.parametrize("answer", [RAISERS["error"], lambda req: object()], ids=["b80-raises", "b83-wrong-type"])
def test_b80_b83_without_an_error_text_a_failure_is_acknowledged(answer, error_text):
    with fresh(answer, error_text=error_text) as live:
        assert_ack(live.wechat.push(text("raise")))


def test_b80_the_error_text_is_a_setting():
    with fresh(RAISERS["error"], error_text="稍后再来") as live:
        assert live.wechat.ask(text("raise"))["Content"] == "稍后再来"


def test_b80_a_failing_on_error_gives_the_error_text_too():
    live = Live(RAISERS["error"])
    fail = raiser(RuntimeError("on_error, too"))
    live.server.on_error(lambda exc, req: fail(req))
    with live.serving():
        assert live.wechat.ask(text("raise"))["Content"] == ERROR_TEXT


@pytest.mark.parametrize("said", [None, "", EmptyRspMsg()], ids=["none", "empty-str", "empty-reply"])
@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_b81_silence_is_an_acknowledgement_in_clear(mode, said):
    with fresh(lambda req: said, mode=mode) as live:
        assert_ack(live.wechat.push(text("silence")))


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_b82_a_str_is_a_text(mode):
    with fresh(lambda req: "你好", mode=mode) as live:
        reply = live.wechat.ask(text("hi"))
        assert (reply["MsgType"], reply["Content"]) == ("text", "你好")


class Strange:
    def __str__(self) -> str:
        return "InnermostSecret"

    __repr__ = __str__


WRONG = {
    "object": Strange(),
    "int": 5,
    "true": True,
    "false": False,
    "zero": 0,
    "bytes": b"bytes",
    "dict": {"a": 1},
    "tuple": ("text", 200),
    "empty-list": [],
    "list-of-str": ["a"],
    "class": TextRspMsg,
    "content-int": TextRspMsg(5),  # type: ignore[arg-type]
    "media-none": ImageRspMsg(None),  # type: ignore[arg-type]
    "articles-str": NewsRspMsg(["a"]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", list(WRONG))
@pytest.mark.parametrize("testing", [False, True], ids=["production", "development"])
def test_b83_anything_else_is_a_programming_error(name, testing, caplog):
    """The user gets the error text, not the fault notice; the log names the type."""
    live = Live(lambda req: WRONG[name])
    live.server.app.testing = testing
    with live.serving():
        xml = text("wrong type")
        answer = live.wechat.push(xml)
        assert live.wechat.open(answer, xml)["Content"] == ERROR_TEXT
    errors = [r.getMessage() for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]
    assert len(errors) == 1
    value = WRONG[name]
    assert type(value).__name__ in errors[0]
    assert "InnermostSecret" not in caplog.text + answer.body.decode()


MENDED = {
    "two-articles": (NewsRspMsg([Article("a"), Article("b")]), "news"),
    "empty-text": (TextRspMsg(""), None),
    "blank-text": (TextRspMsg("  \n"), None),
    "no-articles": (NewsRspMsg([]), None),
}


@pytest.mark.parametrize("name", list(MENDED))
def test_b83_what_production_mends_development_complains_about(name, caplog):
    said, expected = MENDED[name]
    with fresh(lambda req: said) as live:
        reply = live.wechat.ask(text("mend"))
        assert (reply["MsgType"] if reply else None) == expected
        if expected:
            assert (reply["ArticleCount"], len(reply.root.findall("Articles/item"))) == ("1", 1)
    assert not [r for r in caplog.records if r.name == LOG and r.levelno >= logging.ERROR]
    live = Live(lambda req: said)
    live.server.app.testing = True
    with live.serving():
        assert live.wechat.ask(text("complain"))["Content"] == ERROR_TEXT
    assert [r for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]


@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b84_an_empty_text_is_an_acknowledgement(mode):
    with fresh(lambda req: TextRspMsg(""), mode=mode) as live:
        assert_ack(live.wechat.push(text("empty")))


ARTICLE = Article("标题 <b>", "描述 ]]>", "http://x/p.png?a=1&b=2", "http://x/?a=1&b=2")

REPLIES = {
    "text": (TextRspMsg("内容"), {"Content": "内容"}),
    "image": (ImageRspMsg("m"), {"Image/MediaId": "m"}),
    "voice": (VoiceRspMsg("m"), {"Voice/MediaId": "m"}),
    "video": (
        VideoRspMsg("m", "t", "d"),
        {"Video/MediaId": "m", "Video/Title": "t", "Video/Description": "d"},
    ),
    "music": (
        MusicRspMsg("thumb", "t", "d", "http://x/", "http://x/hq"),
        {
            "Music/ThumbMediaId": "thumb",
            "Music/Title": "t",
            "Music/Description": "d",
            "Music/MusicUrl": "http://x/",
            "Music/HQMusicUrl": "http://x/hq",
        },
    ),
    "news": (
        NewsRspMsg([ARTICLE]),
        {
            "ArticleCount": "1",
            "Articles/item/Title": ARTICLE.title,
            "Articles/item/Description": ARTICLE.description,
            "Articles/item/PicUrl": ARTICLE.pic_url,
            "Articles/item/Url": ARTICLE.url,
        },
    ),
    "transfer_customer_service": (TransferCustomerServiceRspMsg("a@b"), {"TransInfo/KfAccount": "a@b"}),
}


@pytest.mark.parametrize("kind", list(REPLIES))
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b85_replies_have_the_structure_that_wechat_wants(mode, kind):
    said, expected = REPLIES[kind]
    with fresh(lambda req: said, mode=mode) as live:
        reply = live.wechat.ask(text("reply"))  # To and From swapped, CreateTime: judged there
    assert reply["MsgType"] == kind
    assert {path: reply[path] for path in expected} == expected
    assert set(reply.names) == {"ToUserName", "FromUserName", "CreateTime", "MsgType"} | {
        path.split("/")[0] for path in [*expected, *(["Articles"] if kind == "news" else [])]
    }


@pytest.mark.parametrize("count", [1, 2, 8, 9])
def test_b85_after_an_event_up_to_eight_articles_are_sent(count):
    with fresh(lambda req: [Article(f"t{n}") for n in range(count)]) as live:
        reply = live.wechat.ask(event("CLICK", EventKey="k"))
    items = [item.findtext("Title") for item in reply.root.findall("Articles/item")]
    assert items == [f"t{n}" for n in range(min(count, 8))]
    assert reply["ArticleCount"] == str(len(items))


@pytest.mark.parametrize(
    "said", [MusicRspMsg(""), ImageRspMsg(""), VoiceRspMsg(""), VideoRspMsg("")], ids=lambda said: said.msg_type
)
def test_b85_a_reply_that_lacks_what_wechat_requires_becomes_the_error_text(said, caplog):
    with fresh(lambda req: said) as live:
        assert live.wechat.ask(text("incomplete"))["Content"] == ERROR_TEXT
    assert [
        r
        for r in caplog.records
        if r.name == LOG and r.levelno == logging.ERROR and type(said).__name__ in r.getMessage()
    ]


def test_b86_a_message_three_times_in_a_row_runs_once(live):
    letter = live.wechat.letter(xml := text("thrice"))
    before = len(live.calls)
    answers = [live.wechat.post(letter.query, letter.body) for _ in range(3)]
    assert [live.wechat.open(answer, xml)["Content"] for answer in answers] == ["thrice"] * 3
    assert len(live.calls) == before + 1
    if live.mode != "plain":
        assert len({answer.body for answer in answers}) == 3  # sealed anew each time


def test_b86_a_retry_under_another_nonce_is_the_same_message(live):
    xml = text("another nonce")
    before = len(live.calls)
    assert [live.wechat.ask(xml)["Content"] for _ in range(3)] == ["another nonce"] * 3
    assert len(live.calls) == before + 1


@pytest.mark.parametrize(("messages", "copies"), [(1, 5), (20, 3)])
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b86_parallel_copies_run_once_and_all_get_the_reply(mode, messages, copies):
    """The handler waits until every copy is on its way, so that they do overlap."""
    numbers = itertools.count()
    arrived = threading.Barrier(messages * copies)

    def answer(req: Any) -> str:
        return f"{req.content} {next(numbers)}"

    def push(xml: str) -> str:
        letter = live.wechat.letter(xml)
        arrived.wait(TIMEOUT)
        return live.wechat.open(live.wechat.post(letter.query, letter.body), xml)["Content"]

    with fresh(answer, mode=mode) as live:
        xmls = [text(f"message {n}") for n in range(messages)]
        with ThreadPoolExecutor(messages * copies) as pool:
            replies = list(pool.map(push, xmls * copies))
        assert len(live.calls) == messages
    for n in range(messages):
        mine = {reply for reply in replies if reply.startswith(f"message {n} ")}
        assert len(mine) == 1
        assert replies.count(mine.pop()) == copies


def test_b86_copies_that_come_while_the_handler_runs_join_it():
    release = threading.Event()
    started = threading.Event()

    def answer(req: Any) -> str:
        started.set()
        assert release.wait(TIMEOUT)
        return "joined"

    with fresh(answer) as live, ThreadPoolExecutor(5) as pool:
        xml = text("slow")
        first = pool.submit(live.wechat.ask, xml)
        assert started.wait(TIMEOUT)
        others = [pool.submit(live.wechat.ask, xml) for _ in range(4)]
        release.set()
        assert [f.result(TIMEOUT)["Content"] for f in (first, *others)] == ["joined"] * 5
        assert len(live.calls) == 1


def test_b87_the_same_msg_id_from_another_user_is_another_message(live):
    before = len(live.calls)
    for user in ("oAnna", "oBert", "oCleo"):
        unique = f"{user}{before}"
        reply = live.wechat.ask(text(f"from {user}", FromUserName=unique, MsgId=8700, CreateTime=1_700_000_000))
        assert (reply["Content"], reply["ToUserName"]) == (f"from {user}", unique)
    assert len(live.calls) == before + 3


def test_b88_a_repeated_event_is_heard_once(live):
    xml = event("CLICK", EventKey="k")
    before = len(live.calls)
    for _ in range(3):
        live.wechat.open(live.wechat.push(xml), xml)
    assert len(live.calls) == before + 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"Event": "CLICK", "EventKey": "two"}, id="another-key"),
        pytest.param({"Event": "VIEW", "EventKey": "one"}, id="another-event"),
        pytest.param({"Event": "CLICK", "EventKey": "one", "UserCardCode": "2"}, id="another-code"),
        pytest.param({"Event": "CLICK", "EventKey": "one", "trace_id": "2"}, id="another-trace"),
        pytest.param({"MsgType": "text", "Content": "x", "MsgId": 1}, id="a-text"),
    ],
)
def test_b88_two_things_in_one_second_are_both_heard(live, other):
    user = {"FromUserName": f"oQuick{len(live.calls)}{live.mode}", "CreateTime": int(time.time())}
    before = len(live.calls)
    for xml in (event("CLICK", EventKey="one", **user), packet(**{"MsgType": "event", **user, **other})):
        live.wechat.open(live.wechat.push(xml), xml)
    assert len(live.calls) == before + 2


@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b101_200_messages_at_once_get_their_own_replies(mode):
    def push(n: int) -> tuple[str | None, str | None]:
        reply = live.wechat.ask(text(f"message {n}", FromUserName=f"oCrowd{n}"))
        return reply["ToUserName"], reply["Content"]

    with fresh(lambda req: f"{req.openid}: {req.content}", mode=mode) as live, ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(push, range(200)))
        assert len(live.calls) == 200
    assert replies == [(f"oCrowd{n}", f"oCrowd{n}: message {n}") for n in range(200)]


def test_b101_through_gunicorn_and_nginx_too(wechat):
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda n: wechat.ask(text(f"message {n}"))["Content"], range(200)))
    assert replies == [f"message {n}" for n in range(200)]


# -- B6 HTTP, operations, secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO"])
def test_b110_other_methods_are_not_allowed(live, method):
    letter = live.wechat.letter(text("method"))
    with live.untouched():
        path = f"{servers.CALLBACK}?{urllib.parse.urlencode(letter.query)}"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(letter.body)}\r\n\r\n"
        status = status_of(raw(live.wechat.url, head.encode() + letter.body))
        assert status in ((405, 501) if method == "CONNECT" else (405,))


def test_b111_head_and_options_do_no_harm(live):
    with live.untouched():
        query = {**live.wechat.stamp(), "echostr": "4711"}
        head = live.wechat.request("HEAD", query)
        assert (head.status, head.body) in ((200, b""), (405, b""))
        assert live.wechat.request("OPTIONS", query).status in (200, 204, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/wx",
        "/wx_mp_cb/x",
        "/wx_mp_cb/../etc/passwd",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/app.js",
        "/static/../demo.py",
        "/.env",
        "/.git/config",
        "/wx_mp_cb.php",
        "/WX_MP_CB",
        "/wx_mp_cb%00",
        "/x//wx_mp_cb",
        "/favicon.ico",
        "/console",
        "/wx_mp_cb%2f..%2f",
        "/wx_mp_cb;a=b",
    ],
)
def test_b112_other_paths_are_not_there(live, path):
    query = {**live.wechat.stamp(), "echostr": "4711"}
    assert live.wechat.request("GET", query, path=path).status == 404
    letter = live.wechat.letter(text("path"))
    with live.untouched():
        assert live.wechat.request("POST", letter.query, letter.body, path=path).status == 404


@pytest.mark.parametrize("path", ["/wx_mp_cb", "/wx_mp_cb/"])
def test_b112_the_path_works_with_and_without_slash(live, path):
    assert live.wechat.request("GET", {**live.wechat.stamp(), "echostr": "4711"}, path=path).body == b"4711"
    letter = live.wechat.letter(xml := text("slash"))
    answer = live.wechat.request("POST", letter.query, letter.body, path=path)
    assert live.wechat.open(answer, xml)["Content"] == "slash"


@pytest.mark.parametrize("path", ["//wx_mp_cb", "/wx_mp_cb//", "/./wx_mp_cb"])
def test_b112_nothing_is_redirected(live, path):
    """WeChat does not follow."""
    assert live.wechat.request("GET", {**live.wechat.stamp(), "echostr": "4711"}, path=path).status in (200, 404)


def padded(live: Live, size: int, mode: str | None = None) -> Letter:
    """A good push whose body has *size* bytes: white space after the packet."""
    letter = live.wechat.letter(text("size"), mode)
    letter.body += b"\n" * (size - len(letter.body))
    return letter


LIMIT = 128 * 1024


def test_b113_the_limit_is_128_kb(live):
    letter = padded(live, LIMIT)
    assert live.wechat.post(letter.query, letter.body).status == 200
    with live.untouched():
        letter = padded(live, LIMIT + 1)
        assert live.wechat.post(letter.query, letter.body).status == 413
        assert live.wechat.post({}, letter.body).status == 413


@pytest.mark.parametrize("megabytes", [2, 20])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_b113_a_large_body_is_refused(live, megabytes, signed):
    letter = padded(live, megabytes * 1024 * 1024)
    query = urllib.parse.urlencode(letter.query if signed else {})
    with live.untouched():
        head = f"POST {servers.CALLBACK}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        request = f"{head}Content-Length: {len(letter.body)}\r\n\r\n".encode() + letter.body
        assert status_of(raw(live.wechat.url, request)) in (413, None)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_b113_a_declared_length_of_200_mb_is_not_waited_for(live, signed):
    """A little over the limit is sent, and the answer comes without the rest."""
    letter = padded(live, LIMIT + 5000)
    query = urllib.parse.urlencode(letter.query if signed else {})
    with live.untouched():
        head = f"POST {servers.CALLBACK}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        response = raw(live.wechat.url, f"{head}Content-Length: {200 * 1024 * 1024}\r\n\r\n".encode() + letter.body)
        assert status_of(response) in (413, None)


def test_b113_through_gunicorn_and_nginx_too(wechat):
    letter = wechat.letter(xml := text("size"))
    for size in (LIMIT + 5000, 2 * 1024 * 1024):
        request = post_head(wechat, letter, f"Content-Length: {size}") + letter.body.ljust(size, b"\n")
        assert status_of(raw(wechat.url, request)) in (413, None)
    assert wechat.open(wechat.post(letter.query, letter.body), xml)["Content"] == "size"


def test_b113_is_told_in_the_log(caplog):
    with fresh() as live:
        letter = padded(live, LIMIT + 1)
        live.wechat.post(letter.query, letter.body)
    assert [line for line in warnings_of(caplog) if line.startswith("refused reason=size remote=127.0.0.1")]


def test_b114_a_compressed_body_is_not_inflated(live):
    headers = {"Content-Type": "text/xml", "Content-Encoding": "gzip"}
    letter = live.wechat.letter(text("compressed"))
    with live.untouched():
        assert_refused(live.wechat.post(letter.query, gzip.compress(letter.body), headers))
        bomb = gzip.compress(b"<xml>" + b"a" * 20_000_000)
        assert len(bomb) < LIMIT
        started = time.monotonic()
        assert_refused(live.wechat.post(letter.query, bomb, headers))
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/xml",
        "application/xml; charset=gbk",
        "application/octet-stream",
        "application/json",
        "x",
        "你好".encode().decode("latin-1"),
    ],
    ids=ascii,
)
def test_b115_the_content_type_does_not_matter(live, content_type):
    letter = live.wechat.letter(xml := text("类型"))
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert live.wechat.open(live.wechat.post(letter.query, letter.body, headers), xml)["Content"] == "类型"


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", "multipart/mixed"],
)
def test_b116_not_even_that_of_a_form(live, content_type):
    letter = live.wechat.letter(xml := text("表单=&"))
    answer = live.wechat.post(letter.query, letter.body, {"Content-Type": content_type})
    assert answer.status in (200, 415)
    if answer.status == 200:
        assert live.wechat.open(answer, xml)["Content"] == "表单=&"


def post_head(wechat: WeChat, letter: Letter, *lines: str) -> bytes:
    head = [
        f"POST {servers.CALLBACK}?{urllib.parse.urlencode(letter.query)} HTTP/1.1",
        "Host: x",
        "Connection: close",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def chunked(body: bytes, size: int) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def abuse_connections(wechat: WeChat) -> None:
    """All that a broken or evil client does to a connection; the server lives on after each."""
    target = urllib.parse.urlsplit(wechat.url)
    address = (target.hostname, target.port)

    def alive() -> None:
        assert wechat.ask(text("alive"))["Content"] == "alive"

    letter = wechat.letter(text("chunks"))
    status = status_of(
        raw(wechat.url, post_head(wechat, letter, "Transfer-Encoding: chunked") + chunked(letter.body, 100))
    )
    assert status in (200, 400, 411, 501)
    alive()
    short = raw(
        wechat.url, post_head(wechat, letter, f"Content-Length: {len(letter.body) + 100}") + letter.body, shut=True
    )
    assert status_of(short) is None or status_of(short) < 500
    alive()
    for lie in ("Content-Length: -1", "Content-Length: x", "Content-Length: 99999999999999999999"):
        with socket.create_connection(address, TIMEOUT) as connection:
            connection.sendall(post_head(wechat, letter, lie))
    alive()
    for sent in (b"", b"POST ", post_head(wechat, letter, f"Content-Length: {len(letter.body)}") + letter.body[:50]):
        with socket.create_connection(address, TIMEOUT) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
            connection.sendall(sent)
    alive()
    idle = [socket.create_connection(address, TIMEOUT) for _ in range(8)]
    try:
        alive()
    finally:
        for connection in idle:
            connection.close()
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"\r\n\r\n\r\n", noise(300) + b"\r\n\r\n"):
        raw(wechat.url, junk, shut=True)
    alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the development server's threads
def test_b117_broken_connections_do_no_harm(live):
    abuse_connections(live.wechat)


def test_b117_nor_to_waitress_gunicorn_and_nginx(wechat):
    abuse_connections(wechat)


def break_chunks(wechat: WeChat) -> None:
    letter = wechat.letter(xml := text("chunks"))
    head = post_head(wechat, letter, "Transfer-Encoding: chunked")
    for junk in (b"zz\r\nhello\r\n", b"5\r\nhel", b"-5\r\nhello\r\n", b"\r\n"):
        status = status_of(raw(wechat.url, head + junk, shut=True))
        assert status is None or 400 <= status < 500, junk
    assert wechat.open(wechat.post(letter.query, letter.body), xml)["Content"] == "chunks"


def test_b117_b123_chunks_that_are_none_are_the_senders_fault(live, caplog):
    break_chunks(live.wechat)
    assert "Traceback" not in caplog.text


def test_b117_nor_are_they_a_fault_behind_waitress_gunicorn_and_nginx(wechat):
    break_chunks(wechat)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_b117_a_chunked_body_is_a_body(live, chunk):
    letter = live.wechat.letter(xml := text("chunks"))
    response = raw(
        live.wechat.url, post_head(live.wechat, letter, "Transfer-Encoding: chunked") + chunked(letter.body, chunk)
    )
    assert status_of(response) in (200, 400, 411, 501)
    if status_of(response) == 200:
        answer = HttpAnswer(200, [("Content-Type", "text/xml")], response.partition(b"\r\n\r\n")[2])
        assert live.wechat.open(answer, xml)["Content"] == "chunks"


def test_b117_a_large_chunked_body_is_refused(live):
    letter = padded(live, 1024 * 1024)
    head = post_head(live.wechat, letter, "Transfer-Encoding: chunked")
    with live.untouched():
        status = status_of(raw(live.wechat.url, head + chunked(letter.body, 60_000)))
        assert status in (413, 411, 501, None)


TRACES = (b"Traceback", b"werkzeug.debug", b"__debugger__", b"EVALEX", b"site-packages", b"InnermostSecret", b".py")


@pytest.mark.parametrize("flag", [None, "debug", "testing"])
def test_b119_no_answer_holds_a_traceback(flag):
    live = Live(RAISERS["error"])
    if flag:
        setattr(live.server.app, flag, True)
    with live.serving():
        wechat = live.wechat
        stamp = wechat.stamp()
        answers = [
            wechat.push(text("raise")),
            wechat.push("<xml>"),
            wechat.post({}, b"x"),
            wechat.get({**stamp, "signature": "你好", "echostr": "1"}),
            wechat.get("__debugger__=yes&cmd=resource&f=debugger.js"),
            wechat.get({"__debugger__": "yes", "cmd": "pinauth", "pin": "1", "s": "x"}),
            wechat.request("GET", path="/console"),
            wechat.request("PUT", path="/nowhere"),
            wechat.request("FOO"),
        ]
    for answer in answers:
        assert answer.status != 500
        assert not [trace for trace in TRACES if trace in answer.body]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.10", "example.com"])
def test_b119_debugging_in_public_is_refused(host):
    with pytest.raises(ConfigError, match="debug"):
        Live().server.run(debug=True, host=host)
    with pytest.raises(ConfigError, match="debug"):
        Live(host=host or "0.0.0.0").server.run(debug=True)


def test_b119_debugging_on_loopback_has_no_debugger(monkeypatch):
    """It reloads; what runs is Flask's own server, without its console. tests/test_first_steps.py really starts it."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(
        "wx_mp_svr.serve.run_simple", lambda host, port, app, **rest: told.update(host=host, app=app, **rest)
    )
    live = Live(port=servers.free_port())
    live.server.run(debug=True)
    assert (told["host"], told["app"].debug, told["use_reloader"]) == ("127.0.0.1", True, True)
    assert not told.get("use_debugger")


def mixed_bag(live: Live) -> list[HttpAnswer]:
    """Good and bad requests of every sort."""
    wechat = live.wechat
    good = wechat.letter(text("good"))
    answers = [wechat.verify(), wechat.push(text("hello")), wechat.push(text("boom")), wechat.push(text("wrong type"))]
    answers += [wechat.post(good.query, good.body) for _ in range(2)]
    answers += [wechat.push(event("new_event")), wechat.push(text("", MsgType=None)), wechat.push("<xml>broken")]
    answers += [wechat.get(query) for query in ("", "signature=1", {**wechat.stamp(), "nonce": "x", "echostr": "1"})]
    answers += [
        wechat.post({**good.query, name: "0" * 40}, good.body) for name in ("signature", "msg_signature", "nonce")
    ]
    answers += [
        wechat.post(good.query, b"x" * 70_000),
        wechat.post({}, b""),
        wechat.request("PUT"),
        wechat.request("FOO"),
    ]
    answers += [wechat.push(BOMBS["billion-laughs"])]
    old = wechat.letter(text("old"), timestamp="1600000000")
    answers += [wechat.post(old.query, old.body), wechat.request("GET", path="/nowhere")]
    for name in ("b40-one-character", "b42-pad-33", "b44-another", "b47-no-xml"):
        letter = wechat.envelope(FORGERIES[name])
        answers.append(wechat.post(letter.query, letter.body))
    return answers


def moody(req: Any) -> Any:
    content = getattr(req, "content", "")
    if content == "boom":
        raise RuntimeError("boom")
    return object() if content == "wrong type" else content


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
def test_b120_no_secret_ever_shows(mode, debug, caplog):
    """Not in answers, logs, repr, or the messages of errors."""
    caplog.set_level(logging.DEBUG)
    keys = {} if mode == "plain" else {"aes_key_old": AES_KEY_OLD}
    live = Live(moody, mode=mode, **keys)
    live.server.app.debug = debug
    with live.serving():
        answers = mixed_bag(live)
    shown = [answer.body.decode("utf-8", "replace") + repr(answer.headers) for answer in answers]
    shown += [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    shown += [
        repr(live.server),
        str(live.server),
        f"{live.server}",
        repr(live.server.settings),
        str(live.server.settings),
    ]
    everything = "\n".join(shown)
    for secret in (*SECRETS, KEY.hex(), repr(KEY)[2:-1], base64.b64encode(KEY).decode()):
        assert secret not in everything
    assert "port=" in repr(live.server)


def test_b120_nor_in_the_message_of_a_config_error():
    wrong = {
        "token": "Bad-Token-Secret",
        "aes_key": "SecretKey" * 4,
        "aes_key_old": "OldSecret!" * 4,
        "mode": "SecretMode",
    }
    with pytest.raises(ConfigError) as caught:
        WxMpServer(**wrong, appid="")
    message = str(caught.value) + repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    for value in wrong.values():
        assert value not in message


def test_b121_our_own_log_holds_nothing_of_the_query(caplog):
    """What gunicorn and nginx log is theirs; the deployment page says so."""
    caplog.set_level(logging.DEBUG, LOG)
    with fresh(moody) as live:
        letter = live.wechat.letter(text("log"))
        live.wechat.post(letter.query, letter.body)
        live.wechat.post({**letter.query, "msg_signature": "ab" * 20}, letter.body)
        live.wechat.post({**letter.query, "timestamp": "1600000000"}, letter.body)
        mixed_bag(live)
    lines = "\n".join(lines_of(caplog))
    for value in (
        letter.query["signature"],
        letter.query["msg_signature"],
        letter.query["nonce"],
        "ab" * 20,
        "oNotSigned",
    ):
        assert value not in lines


EVIL = [
    "\nWARNING forged line",
    "\r\nforged",
    "\x1b[31mred\x1b[0m",
    "\u2028forged",
    "\x85forged",
    "\x00",
    "\x9b31m",
    "%s%s%n",
]


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b122_nobody_writes_lines_into_the_log(mode, evil, caplog):
    caplog.set_level(logging.DEBUG, LOG)
    server = WxMpServer(token=TOKEN, appid=APPID, **({"mode": "plain"} if mode == "plain" else {"aes_key": AES_KEY}))
    word = "EvilWord" + evil
    with servers.in_thread(server) as origin:
        wechat = WeChat(origin + servers.CALLBACK, TOKEN, AES_KEY, APPID, mode)
        wechat.push(event(word, EventKey=word))
        wechat.push(packet(MsgType=word))
        wechat.push(packet(MsgType="event", Event=word, FromUserName=word, ToUserName=word))
        wechat.push(text(word, FromUserName=word))
        wechat.push(packet(**{"InfoType": word, "MsgType": None, "AppId": word}))
        wechat.get({**wechat.stamp(), "signature": word, "echostr": word})
        wechat.get({**wechat.stamp(nonce=word), "echostr": word})
        wechat.post({**wechat.stamp(), "encrypt_type": word, "msg_signature": word, word: word}, word.encode())
    lines = [line for line in lines_of(caplog) if "EvilWord" in line]
    for line in lines:
        assert evil not in line or evil == "%s%s%n"
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", line)
        assert not re.search(r"^(WARNING )?forged", line, re.MULTILINE)


def test_b122_not_even_with_a_handler_that_fails(caplog):
    with fresh(RAISERS["error"], mode="plain") as live:
        live.wechat.push(text("x\nforged line", FromUserName="o\nforged line"))
    assert not any("\nforged" in line for line in lines_of(caplog))


def test_b123_bad_input_does_not_flood_the_log(caplog):
    with fresh() as live:
        for n in range(200):
            live.wechat.get(
                {"signature": "0" * 40, "timestamp": str(int(time.time())), "nonce": str(n), "echostr": "1"}
            )
    records = [r for r in caplog.records if r.name == LOG]
    assert 1 <= len(records) <= 20
    assert not any(r.exc_info for r in records)


def test_b123_nor_does_any_bad_input_leave_a_traceback(caplog):
    caplog.set_level(logging.DEBUG, LOG)
    with fresh() as live:
        for name in ("empty", "binary", "truncated", "two-roots"):
            letter = live.wechat.letter(NO_PACKETS[name])
            live.wechat.post(letter.query, letter.body)
            live.wechat.post(letter.query, NO_PACKETS[name])
        for forgery in FORGERIES.values():
            letter = live.wechat.envelope(forgery)
            live.wechat.post(letter.query, letter.body)
    assert not any(r.exc_info or "Traceback" in r.getMessage() for r in caplog.records if r.name == LOG)


DEMO_VALUES = [
    {"token": "xxx"},
    {"aes_key": "x" * 43},
    {"appid": "wx0000000000000000"},
    {"token": "xxx", "aes_key": "x" * 43, "appid": "wx0000000000000000"},
]


@pytest.mark.parametrize("values", DEMO_VALUES, ids=lambda values: "-".join(values))
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", ""])
def test_b124_demo_values_are_for_loopback_only(values, host, caplog):
    server = Live(**values).server
    assert [line for line in warnings_of(caplog) if "demo" in line]
    with pytest.raises(ConfigError, match="demo"):
        server.run(host=host)


@pytest.mark.parametrize(
    "name", ["WX_MP_TOKEN", "WX_MP_AES_KEY", "WX_MP_APPID", "WX_MP_MODE", "WX_MP_PORT", "WX_MP_PATH"]
)
def test_b124_an_empty_variable_is_a_config_error(name, monkeypatch):
    for key, value in {"WX_MP_TOKEN": TOKEN, "WX_MP_AES_KEY": AES_KEY, "WX_MP_APPID": APPID, name: ""}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=name):
        WxMpServer()


@pytest.mark.parametrize("kind", ["image", "link", "video"])
def test_b125_no_address_in_a_message_is_fetched(live, kind, listener):
    url = listener.url
    reply = live.wechat.ask(packet(MsgType=kind, PicUrl=url, Url=url, MediaId="m", Title="t", ThumbUrl=url))
    assert reply["Content"] == "ok"
    assert not listener()
    if kind == "image":
        assert isinstance(live.last, ImageReqMsg)
        assert live.last.pic_url == url


def test_b126_the_development_server_in_public_is_warned_about(caplog, monkeypatch):
    """Only where waitress is not installed is it used at all."""
    monkeypatch.setitem(sys.modules, "waitress", None)
    monkeypatch.setattr(werkzeug.serving.BaseWSGIServer, "serve_forever", lambda self, *_: self.server_close())
    Live(port=servers.free_port()).server.run(host="0.0.0.0")
    assert [line for line in warnings_of(caplog) if "development server" in line]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "X-Forwarded-Host"])
def test_b127_forwarded_addresses_are_not_believed(header, caplog):
    with fresh() as live:
        query = {**live.wechat.stamp(), "signature": "0" * 40, "echostr": "1"}
        live.wechat.request("GET", query, headers={header: "6.6.6.6, for=6.6.6.6"})
    assert [line for line in warnings_of(caplog) if "remote=127.0.0.1" in line]
    assert "6.6.6.6" not in caplog.text


PROBES = {"xml": b"<xml><action>CheckContainerPath</action></xml>", "json": b'{"action":"CheckContainerPath"}'}


@pytest.mark.parametrize("kind", list(PROBES))
def test_b128_the_container_probe_does_no_harm(live, kind):
    with live.untouched():
        assert live.wechat.post("", PROBES[kind], {"Content-Type": f"application/{kind}"}).status in (200, 403)
    letter = live.wechat.letter(PROBES[kind], "plain" if live.mode == "plain" else "safe")
    answer = live.wechat.post(letter.query, letter.body)
    if kind == "xml":
        assert_ack(answer)  # a push without MsgType, which nobody hears
    else:
        assert answer.status in (200, 403)
