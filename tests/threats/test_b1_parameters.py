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
def test_b01_a_good_get_is_echoed(safe, echostr):
    answer = safe.wechat.verify(echostr)
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
def test_b03_a_missing_or_empty_parameter_is_refused(each_mode, name, empty):
    letter = each_mode.wechat.letter(xml := text("incomplete"))
    query = {key: value for key, value in letter.query.items() if key != name} | ({name: ""} if empty else {})
    each_mode.refuses_get({**query, "echostr": "4711"})
    if name != "signature":  # B29 is about that one
        each_mode.refuses(query, letter.body, honest=xml)
    elif each_mode.mode == "plain":
        each_mode.refuses(query, letter.body)


def test_b03_no_parameter_at_all_is_refused_for_a_push(each_mode):
    each_mode.refuses("", text("nothing").encode())
    each_mode.refuses("", each_mode.wechat.letter(text("nothing")).body)


def test_b04_a_get_without_echostr_is_refused(safe):
    safe.refuses_get(safe.wechat.stamp())
    safe.refuses_get({**safe.wechat.stamp(), "echostr": ""})


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce", "msg_signature", "encrypt_type"])
@pytest.mark.parametrize("other", ["good", "bad-after", "bad-before", "empty-after"])
def test_b05_a_parameter_given_twice_is_refused(safe, name, other):
    """Also twice the same: two readers could take two different ones."""
    letter = safe.wechat.letter(xml := text("twice"))
    value = letter.query.get(name, "aes")
    second = {"good": value, "empty-after": ""}.get(other, value[::-1] + "0")
    pairs = [*letter.query.items()]
    if name not in letter.query:
        pairs.append((name, value))
    pairs = [(name, second), *pairs] if other == "bad-before" else [*pairs, (name, second)]
    safe.refuses(pairs, letter.body, honest=xml)
    safe.refuses_get([*pairs, ("echostr", "4711")])


def test_b05_a_second_one_with_an_escaped_name_is_refused(safe):
    letter = safe.wechat.letter(text("twice"))
    query = urllib.parse.urlencode(letter.query)
    safe.refuses(query + "&%74imestamp=1", letter.body)


@pytest.mark.parametrize(
    "value",
    ["%E4%BD%A0%E5%A5%BD", "%FF%FE", "%00", "%ED%A0%80", "%EF%BC%90" * 40, "%80" * 40, "%F4%90%80%80", "%zz", "%"],
)
def test_b06_a_signature_that_is_no_ascii_is_refused(each_mode, value):
    stamp = each_mode.wechat.stamp()
    rest = urllib.parse.urlencode({key: stamp[key] for key in ("timestamp", "nonce")})
    each_mode.refuses_get(f"signature={value}&{rest}&echostr=4711")
    letter = each_mode.wechat.letter(xml := text("odd"))
    name = "signature" if each_mode.mode == "plain" else "msg_signature"
    rest = urllib.parse.urlencode({key: letter.query[key] for key in letter.query if key != name})
    each_mode.refuses(f"{rest}&{name}={value}", letter.body, honest=xml)


def test_b06_raw_bytes_in_the_query_are_refused(each_mode):
    stamp = each_mode.wechat.stamp()
    query = (
        f"timestamp={stamp['timestamp']}&nonce={stamp['nonce']}&echostr=4711&signature=".encode() + b"\xe4\xbd\xa0\xff"
    )
    with each_mode.untouched():
        response = raw(each_mode.wechat.url, b"GET /wx_mp_cb?" + query + b" HTTP/1.0\r\n\r\n")
    assert status_of(response) in (400, 403)


@pytest.mark.parametrize("digits", ["１２３４５６７８９０", "۱۲۳۴۵۶۷۸۹۰", "²²²²²²²²²²", "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗𝟎"])
def test_b07_digits_of_other_scripts_are_refused(safe, digits):
    """Although the signature over them is right."""
    now = str(int(time.time()))
    for timestamp, nonce in ((digits, "123"), (now, digits), (now[:-1] + digits[0], "123")):
        letter = safe.wechat.letter(text("digits"), timestamp=timestamp, nonce=nonce)
        safe.refuses(letter.query, letter.body)
        safe.refuses_get({**safe.wechat.stamp(timestamp, nonce), "echostr": "4711"})


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
def test_b07_a_nonce_is_128_printable_characters_at_most(safe, nonce):
    letter = safe.wechat.letter(text("nonce"), nonce=nonce)
    safe.refuses(letter.query, letter.body)
    safe.refuses_get({**safe.wechat.stamp(nonce=nonce), "echostr": "4711"})


def test_b07_a_nonce_of_128_characters_is_accepted(safe):
    letter = safe.wechat.letter(xml := text("long nonce"), nonce="n" * 128)
    assert safe.wechat.open(safe.wechat.post(letter.query, letter.body), xml)["Content"] == "long nonce"


@pytest.mark.parametrize("name", ["signature[]", "SIGNATURE", "Signature", "signature ", "msg_signature", "sign"])
def test_b08_a_signature_under_another_name_is_refused(plain, safe, name):
    for live in (plain, safe):
        stamp = live.wechat.stamp()
        good = stamp.pop("signature")
        live.refuses_get({**stamp, name: good, "echostr": "4711"})
        if live is plain:
            live.refuses({**stamp, name: good}, text("renamed").encode())


def test_b09_upper_case_hex_does_no_harm(safe):
    stamp = safe.wechat.stamp()
    assert safe.wechat.get({**stamp, "signature": stamp["signature"].upper(), "echostr": "4711"}).status in (200, 403)


@pytest.mark.parametrize(
    "echostr", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "<?xml?><x/>"]
)
def test_b10_nothing_that_is_echoed_is_html(safe, echostr):
    good = safe.wechat.verify(echostr)
    assert good.body == echostr.encode()
    bad = safe.wechat.get({**safe.wechat.stamp(), "signature": echostr, "echostr": echostr})
    assert_refused(bad)
    for answer in (good, bad):
        assert (answer.header("Content-Type") or "").startswith("text/plain")
        assert answer.header("X-Content-Type-Options") == "nosniff"


def test_b10_the_page_for_visitors_shows_nothing_of_the_request(safe):
    answer = safe.wechat.get("x=<script>alert(1)</script>")
    assert answer.status < 500
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert b"script" not in answer.body


@pytest.mark.parametrize("crlf", ["\r\n", "\n", "\r", "\u2028"], ids=ascii)
def test_b11_a_line_end_makes_no_header(safe, crlf):
    evil = f"1{crlf}Set-Cookie: a=b{crlf}{crlf}<html>"
    answer = safe.wechat.verify(evil)
    assert answer.status < 500
    assert answer.header("Set-Cookie") is None
    if answer.status == 200:
        assert answer.body == evil.encode()
    refused = safe.refuses_get({**safe.wechat.stamp(nonce=evil), "echostr": "4711"})
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
def test_b12_an_enormous_query_is_refused_or_cut_off(safe, query):
    with safe.untouched():
        for method in (b"GET", b"POST"):
            head = b" HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
            status = status_of(raw(safe.wechat.url, method + b" /wx_mp_cb?" + query.encode() + head))
            assert status is None or 400 <= status < 500


def test_b12_500_parameters_of_others_do_no_harm(safe):
    letter = safe.wechat.letter(xml := text("many"))
    query = {**letter.query, **{f"p{n}": "1" for n in range(500)}}
    assert safe.wechat.open(safe.wechat.post(query, letter.body), xml)["Content"] == "many"


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
