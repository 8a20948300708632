"""Threats B4: XML that is hostile, broken or odd."""

import logging
import re
import time
from collections.abc import Callable, Iterator

import pytest
import servers
from live import AES_KEY, APPID, LOG, TOKEN, Live, assert_ack, assert_refused, fresh, warnings_of
from strange_input import BOMBS, NO_PACKETS, bare
from wechat import Letter, WeChat, event, packet, text

from wx_mp_svr import EventReqMsg, LocationReqMsg, ReqMsg, WxMpServer

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


@pytest.mark.parametrize("name", list(BOMBS))
def test_b60_entities_are_refused_at_once(place, name):
    live, envelope = place
    letter = envelope(BOMBS[name])
    with live.untouched():
        started = time.monotonic()
        answer = live.wechat.post(letter.query, letter.body)
        assert time.monotonic() - started < 1
        assert_refused(answer)


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
def test_b73_a_text_cannot_break_out_of_its_element(content):
    """`WeChat.open` counts the elements, and knows whom the reply is for."""
    legal = re.sub("[\x00-\x08\ufffe\ud800]", "", content)
    with fresh(lambda req: content) as live:
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
