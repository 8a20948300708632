"""Threats B1: the verification of the address, and the parameters of a query."""

import hashlib
import hmac
import logging
import time
import urllib.parse

import pytest
from live import LOG, TOKEN, assert_refused, fresh, raw, status_of, warnings_of
from wechat import sign, text


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
