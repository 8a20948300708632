"""Threats B2: is it from WeChat, for us, now, and for the first time?"""

import base64
import logging
import re
import time
from typing import Any

import pytest
from live import AES_KEY, AES_KEY_OLD, LOG, Live, fresh, warnings_of
from wechat import text


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
def test_b30_an_old_or_future_request_is_refused(safe, skew):
    letter = safe.wechat.letter(text("old"), timestamp=str(int(time.time()) + skew))
    safe.refuses(letter.query, letter.body)
    safe.refuses_get({**safe.wechat.stamp(letter.query["timestamp"]), "echostr": "4711"})


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
def test_b31_an_honest_skew_is_accepted(safe, skew):
    letter = safe.wechat.letter(xml := text("honest"), timestamp=str(int(time.time()) + skew))
    assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "honest"


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
    ledger = live.server._exchange._arrivals._ledger
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
