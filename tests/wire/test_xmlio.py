"""XML in: limits first, then what WeChat really sends, its quirks included. XML out: no text breaks out of its element."""

import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmltodict
from hypothesis import example, given
from hypothesis import strategies as st

from wx_mp_svr.errors import BadXml, Refused
from wx_mp_svr.wire import xmlio

SAMPLES = Path(__file__).parent.parent / "samples"


def packet(content, *, rest="<MsgId>1</MsgId>"):
    """A text message as WeChat writes it: nothing in the user's text is escaped."""
    return (
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<FromUserName><![CDATA[o_1]]></FromUserName>\n"
        "<CreateTime>1414387151</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n"
        f"<Content><![CDATA[{content}]]></Content>\n{rest}\n</xml>"
    ).encode()


def seconds_of_cpu(function, *args, **kwargs):
    """How long *function* computes, refused or not."""
    start = time.process_time()
    try:
        function(*args, **kwargs)
    except Refused:
        pass
    return time.process_time() - start


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.xml")), ids=lambda path: path.stem)
def test_every_sample_is_read(path):
    """Whatever an independent parser finds, we find: the same elements with the same text."""
    fields = xmlio.load(path.read_bytes())
    root = ElementTree.fromstring(path.read_text("utf-8"))
    assert set(fields) == {child.tag for child in root}
    for child in root:
        if not len(child) and not isinstance(fields[child.tag], list):
            assert fields[child.tag].strip() == (child.text or "").strip()


@pytest.mark.parametrize(
    ("inside", "fields"),
    [
        pytest.param("<A>1</A>", {"A": "1"}, id="text"),
        pytest.param("<A><![CDATA[1]]></A>", {"A": "1"}, id="CDATA"),
        pytest.param("<A/>", {"A": ""}, id="empty"),
        pytest.param("<A></A>", {"A": ""}, id="empty, long form"),
        pytest.param("<A><![CDATA[]]></A>", {"A": ""}, id="empty CDATA (quirk 3)"),
        pytest.param("<A>1</A><A>2</A>", {"A": ["1", "2"]}, id="repeated: a list"),
        pytest.param("<A/><A>2</A>", {"A": ["", "2"]}, id="repeated, one empty"),
        pytest.param("<A><B>1</B><C/></A>", {"A": {"B": "1", "C": ""}}, id="children: a dict"),
        pytest.param("<A>\n<B>1</B>\n</A>\n", {"A": {"B": "1"}}, id="white space between elements is nothing"),
        pytest.param("<A><i><B>1</B></i><i/></A>", {"A": {"i": [{"B": "1"}, ""]}}, id="lists of dicts"),
        pytest.param("<A> 1 </A>", {"A": " 1 "}, id="blanks are kept (B75)"),
        pytest.param("<A><![CDATA[  ]]></A>", {"A": "  "}, id="only blanks are kept"),
        pytest.param("<A><![CDATA[\n1\t]]></A>", {"A": "\n1\t"}, id="newline and tab are kept"),
        pytest.param("<A>&lt;&amp;&gt;&quot;&apos;</A>", {"A": "<&>\"'"}, id="XML's own entities"),
        pytest.param("<A>&#20320;&#x597D;</A>", {"A": "你好"}, id="character references"),
        pytest.param("<A><![CDATA[&lt;]]></A>", {"A": "&lt;"}, id="nothing is an entity inside CDATA"),
        pytest.param("<A><![CDATA[<B>]]></A>", {"A": "<B>"}, id="nor an element"),
        pytest.param("<A><![CDATA[a]]]]><![CDATA[>b]]></A>", {"A": "a]]>b"}, id="a split ]]>"),
        pytest.param("<A>a<!-- c -->b</A>", {"A": "ab"}, id="comments are nothing"),
        pytest.param("<A>👨‍👩‍👧\u2028\U0010fffd</A>", {"A": "👨‍👩‍👧\u2028\U0010fffd"}, id="beyond the BMP"),
        pytest.param('<A b="1">2</A>', {"A": {"@b": "1", "#text": "2"}}, id="attributes are harmless"),
        pytest.param("<class>1</class><self/><__class__/>", {"class": "1", "self": "", "__class__": ""}, id="names"),
    ],
)
def test_elements_become_fields(inside, fields):
    """Text is str, empty is "", children are a dict, repeated elements a list (B65, B72)."""
    assert xmlio.load(f"<xml>{inside}</xml>".encode()) == fields
    assert xmlio.load(f"<xml>\n{inside}\n</xml>\n".encode(), authentic=True) == fields


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbf<xml><A>\xe4\xbd\xa0</A></xml>", id="BOM (quirk 15)"),
        pytest.param("<?xml version='1.0'?><xml><A>你</A></xml>".encode(), id="XML declaration"),
        pytest.param("<?xml version='1.0' encoding='gb2312'?>\n<xml><A>你</A></xml>".encode(), id="gb2312 declared"),
        pytest.param(
            "<?xml version='1.0' encoding='bogus'?><xml><A>你</A></xml>".encode(), id="bogus encoding declared"
        ),
        pytest.param("<?xml version='1.0' encoding='UTF-16'?><xml><A>你</A></xml>".encode(), id="UTF-16 declared"),
        pytest.param("\n <xml><A>你</A></xml> \n".encode(), id="blanks around"),
        pytest.param("<xml ><A >你</A ></xml >".encode(), id="blanks in tags"),
    ],
)
def test_what_stands_around_the_root_does_not_matter(body):
    """WeChat sends UTF-8, whatever a declaration says (B71)."""
    assert xmlio.load(body) == {"A": "你"}


@pytest.mark.parametrize(
    "illegal", [*map(chr, [*range(9), 0xB, 0xC, *range(0xE, 0x20)]), "\ufffe", "\uffff"], ids=ascii
)
def test_characters_that_xml_does_not_allow_are_dropped(illegal):
    """Quirk 1: WeChat passes on what users type, and every strict parser fails."""
    assert xmlio.load(packet(f"a{illegal}b"))["Content"] == "ab"
    assert xmlio.load(packet(f"a{illegal}b"), authentic=True)["Content"] == "ab"


def test_the_captured_packet_with_a_control_character_is_read():
    """As published in WeRoBot's issue 420."""
    fields = xmlio.load((SAMPLES / "bad/req-text-control-char.xml").read_bytes())
    assert (fields["Content"], fields["MsgId"]) == (" c", "22211872600753510")


def test_characters_that_xml_allows_are_kept():
    """The neighbours of the illegal ones."""
    allowed = "\t\n\x20\x7f\x80\x85\xa0\ud7ff\ue000\ufeff\ufffd\U00010000\U0010ffff"
    assert xmlio.load(packet(allowed))["Content"] == allowed


@pytest.mark.parametrize(
    ("written", "content"),
    [
        (" <![CDATA[ hi ]]>\n", " hi "),
        ("\n\t<![CDATA[hi]]>", "hi"),
        (" <![CDATA[]]> ", ""),
        ("<![CDATA[ hi\n]]>", " hi\n"),
        (" <![CDATA[ a]]]]><![CDATA[>b ]]> ", " a]]>b "),
        ("\r\n<![CDATA[hi]]>\r\n", "hi"),  # one character each to a parser
        (" a <![CDATA[b]]> ", " a b "),
    ],
)
def test_white_space_around_the_cdata_of_content_is_not_the_users(written, content):
    """Quirk 4: what stands outside is WeChat's, leading blanks inside are real."""
    assert xmlio.load(f"<xml><Content>{written}</Content></xml>".encode(), authentic=True)["Content"] == content


# -- refusing --------------------------------------------------------------------------------------------------------

LAUGHS = (
    "<!DOCTYPE xml [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
    + "]><xml><A>&a9;</A></xml>"
)

HOSTILE = {
    # DOCTYPE and entities (B60-B62)
    "DOCTYPE": "<!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE in lower case": "<!doctype xml><xml><A>1</A></xml>",
    "DOCTYPE after a declaration": "<?xml version='1.0'?><!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE after a BOM": "\ufeff<!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE after a comment": "<!-- c --><!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE after an instruction": "<?a b?><!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE inside": "<xml><!DOCTYPE xml><A>1</A></xml>",
    "DOCTYPE behind": "<xml><A>1</A></xml><!DOCTYPE xml>",
    "DOCTYPE with control characters": "<!DOC\x01TYPE xml [<!ENTITY a 'b'>]><xml><A>&a;</A></xml>",
    "billion laughs": LAUGHS,
    "quadratic blowup": f"<!DOCTYPE xml [<!ENTITY a '{'x' * 5000}'>]><xml><A>{'&a;' * 5000}</A></xml>",
    "entity cycle": "<!DOCTYPE xml [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><xml><A>&a;</A></xml>",
    "internal entity": "<!DOCTYPE xml [<!ENTITY a 'b'>]><xml><A>&a;</A></xml>",
    "external entity": "<!DOCTYPE xml [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><xml><A>&a;</A></xml>",
    "parameter entity": "<!DOCTYPE xml [<!ENTITY % a SYSTEM 'http://127.0.0.1:9/'> %a;]><xml><A>1</A></xml>",
    "external DTD": "<!DOCTYPE xml SYSTEM 'http://127.0.0.1:9/a.dtd'><xml><A>1</A></xml>",
    "entity inside": "<xml><!ENTITY a 'b'><A>&a;</A></xml>",
    "undefined entity": "<xml><A>&a;</A></xml>",
    "HTML entity": "<xml><A>&nbsp;</A></xml>",
    "reference to NUL": "<xml><A>&#0;</A></xml>",
    "reference to a surrogate": "<xml><A>&#xD800;</A></xml>",
    "reference beyond Unicode": "<xml><A>&#x110000;</A></xml>",
    # not XML (B64)
    "nothing": "",
    "blanks": " \n",
    "only a BOM": "\ufeff",
    "text": "success",
    "JSON": '{"ToUserName":"gh_1"}',
    "form": "a=1&b=2",
    "HTML": "<html><body>1</body></html>",
    "another root": "<wml><A>1</A></wml>",
    "root in capitals": "<XML><A>1</A></XML>",
    "root with a prefix": "<a:xml xmlns:a='b'><A>1</A></a:xml>",
    "root of another name that begins so": "<xmlish><A>1</A></xmlish>",
    "truncated": "<xml><A>1</A>",
    "truncated in a tag": "<xml><A>1</A",
    "truncated in CDATA": "<xml><A><![CDATA[1",
    "two roots": "<xml><A>1</A></xml><xml><A>2</A></xml>",
    "text behind": "<xml><A>1</A></xml>2",
    "a wide blank behind": "<xml><A>1</A></xml>\u3000",
    "root without elements": "<xml></xml>",
    "root in short form": "<xml />",
    "root with text only": "<xml>1</xml>",
    "closed by another": "<xml><A>1</B></xml>",
    "crossed": "<xml><A><B></A></B></xml>",
    "not closed": "<xml><A></xml>",
    "an attribute twice": "<xml><A b='1' b='2'/></xml>",
    "a bare <": "<xml><A>1 < 2</A></xml>",
    "a bare &": "<xml><A>1 & 2</A></xml>",
    "a bare ]]>": "<xml><A>]]></A></xml>",
    "a name with a digit first": "<xml><1>1</1></xml>",
    "an instruction named xml": "<xml><?xml version='1.0'?><A/></xml>",
}


@pytest.mark.parametrize("authentic", [False, True])
@pytest.mark.parametrize("xml", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_packet_of_wechat_is_refused(xml, authentic):
    """Fast, with our own error, and not read any further even when the sender knows the Token."""
    start = time.process_time()
    with pytest.raises(BadXml) as refusal:
        xmlio.load(xml.encode(), authentic=authentic)
    assert time.process_time() - start < 1
    assert (refusal.value.http_status, refusal.value.wx_code, refusal.value.reason) == (403, -40002, "xml")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<xml><A>你</A></xml>".encode("gbk"), id="GBK"),
        pytest.param("<?xml version='1.0' encoding='gbk'?><xml><A>你</A></xml>".encode("gbk"), id="GBK, declared"),
        pytest.param("<xml><A>你</A></xml>".encode("utf-16"), id="UTF-16 with BOM"),
        pytest.param("<xml><A>你</A></xml>".encode("utf-16-le"), id="UTF-16"),
        pytest.param("<xml><A>你</A></xml>".encode("utf-32"), id="UTF-32"),
        pytest.param(b"<xml><A>\xff</A></xml>", id="invalid byte"),
        pytest.param(b"<xml><A>\xc0\xbc</A></xml>", id="overlong"),
        pytest.param(b"<xml><A>\xed\xa0\x80</A></xml>", id="lone surrogate"),
        pytest.param(b"<xml><A>\xf4\x90\x80\x80</A></xml>", id="beyond Unicode"),
        pytest.param(b"<xml><A>\xe4\xbd</A></xml>", id="cut character"),
        pytest.param(bytes(range(256)), id="binary"),
        pytest.param(b"\x1f\x8b\x08" + bytes(100), id="gzip"),
    ],
)
def test_other_encodings_are_refused(body):
    """Never a guess, never mojibake in an answer (B71)."""
    with pytest.raises(BadXml):
        xmlio.load(body)


def nested(depth):
    return f"<xml>{'<a>' * (depth - 1)}1{'</a>' * (depth - 1)}</xml>"


@pytest.mark.parametrize(
    ("within", "over"),
    [
        pytest.param(nested(16), nested(17), id="depth 16"),
        pytest.param(
            f"<xml>{'<b/>' * 40}{'<a>' * 14}<b/>{'</a>' * 14}</xml>",
            f"<xml>{'<b/>' * 40}{'<a>' * 16}<b/>{'</a>' * 16}</xml>",
            id="depth with short forms beside",
        ),
        pytest.param(
            f"<xml>{'<b></b>' * 40}{'<a>' * 15}{'</a>' * 15}</xml>",
            f"<xml>{'<b></b>' * 40}{'<a>' * 16}{'</a>' * 16}</xml>",
            id="depth 16 with long forms beside",
        ),
        pytest.param(f"<xml>{'<a/>' * 1999}</xml>", f"<xml>{'<a/>' * 2000}</xml>", id="2000 elements"),
        pytest.param(f"<xml>{'<a></a>' * 1999}</xml>", f"<xml>{'<a></a>' * 2000}</xml>", id="2000 elements, long form"),
        pytest.param(
            "<xml><a " + " ".join(f'b{n}="1"' for n in range(16)) + "/></xml>",
            "<xml><a " + " ".join(f'b{n}="1"' for n in range(17)) + "/></xml>",
            id="16 attributes",
        ),
        pytest.param(
            "<xml " + " ".join(f"b{n} = '1'" for n in range(16)) + "><a/></xml>",
            "<xml " + " ".join(f"b{n} = '1'" for n in range(17)) + "><a/></xml>",
            id="16 attributes of the root, spaced",
        ),
        pytest.param(
            "<xml>" + '<a b="1"/>' * 999 + "</xml>",
            "<xml>" + '<a b="1"/>' * 1000 + "</xml>",
            id="elements and attributes",
        ),
        pytest.param(f"<xml><a/>{'<!---->' * 2000}</xml>", f"<xml><a/>{'<!---->' * 2001}</xml>", id="2000 comments"),
        pytest.param(f"<xml><a/>{'<?b?>' * 2000}</xml>", f"<xml><a/>{'<?b?>' * 2001}</xml>", id="2000 instructions"),
    ],
)
def test_the_limits_hold_to_the_unit(within, over):
    """Exactly at the limit is read, one over is refused, before a parser sees it (B63)."""
    assert xmlio.load(within.encode(), authentic=True)
    with pytest.raises(BadXml):
        xmlio.load(over.encode())
    with pytest.raises(BadXml):
        xmlio.load(over.encode(), authentic=True)


def test_many_elements_under_the_depth_limit_are_no_depth():
    """Siblings are not nested."""
    assert xmlio.load(f"<xml>{'<a>1</a>' * 300}</xml>".encode()) == {"a": ["1"] * 300}


@pytest.mark.parametrize("piece", ["<a/>", "<a></a>", "<!-- a -->"])
def test_a_stranger_gets_a_fifth_of_the_elements(piece):
    """Whoever has not signed may not make us work; around an Encrypt there stands a push at most."""
    few, many = (f"<xml><b/>{piece * n}</xml>".encode() for n in (398, 401))
    assert xmlio.load(few)
    assert xmlio.load(many, authentic=True)
    with pytest.raises(BadXml):
        xmlio.load(many)


def test_what_looks_like_tags_inside_text_does_not_count():
    """A user may paste a long document."""
    pasted = "<a>\n" * 3000 + "<b " + 'c="1" ' * 100 + ">"
    assert xmlio.load(packet(pasted))["Content"] == pasted
    assert xmlio.load(packet(pasted).replace(b"<MsgId>", b"<!-- by the parser --><MsgId>"))["Content"] == pasted
    assert xmlio.load(packet("").replace(b"<MsgId>", f"<!--{pasted}--><MsgId>".encode()))["MsgId"] == "1"


def hidden_in(wrapping):
    return f"<xml>{wrapping}{'<a>' * 40}1{'</a>' * 40}</xml>"


@pytest.mark.parametrize(
    "wrapping",
    [
        "<b c='>'/>",
        "<b c=\"'\"/><d e='\"'/>",
        "<b c='<!--'/>",
        "<!-- <![CDATA[ -->",
        "<![CDATA[<!--]]>",
        "<?a <!-- ?>",
        "<?a <![CDATA[ ?>",
        '<!-- " -->',
        "<b c='/'/>",
        '<b c="]]>"/>',
    ],
)
def test_no_trick_hides_depth_from_the_limits(wrapping):
    """The limits and the parser agree about what is a tag."""
    with pytest.raises(BadXml):
        xmlio.load(hidden_in(wrapping).encode())


@pytest.mark.parametrize("closed", ["<b></b>", "<b/>", "<b><c></c></b>"])
def test_what_is_closed_on_each_level_does_not_hide_how_deep_the_levels_are(closed):
    assert xmlio.load(f"<xml>{f'<a>{closed}' * 10}{'</a>' * 10}</xml>".encode())
    with pytest.raises(BadXml, match="too deep"):
        xmlio.load(f"<xml>{f'<a>{closed}' * 17}{'</a>' * 17}</xml>".encode())


KB64 = 64 * 1024
SLOW = {
    "depth 50,000": "<xml>" + "<a>" * 50_000,
    "100,000 siblings": "<xml>" + "<a/>" * 100_000 + "</xml>",
    "20,000 attributes": "<xml " + " ".join(f'a{n}="1"' for n in range(20_000)) + "/>",
    "20,000 attributes without values": "<xml " + "a " * 20_000 + "/>",
    "tag name of 200 kB": f"<xml><{'a' * 200_000}/></xml>",
    "attribute of 200 kB": f"<xml a='{'b' * 200_000}'><A/></xml>",
    "unclosed CDATA": "<xml>" + "<![CDATA[" * 7000,
    "unclosed CDATA in Content": "<xml>" + "<Content><![CDATA[" * 3500,
    "unclosed comments": "<xml>" + "<!--" * 15_000,
    "unclosed instructions": "<xml>" + "<?" * 30_000,
    "a comment of dashes": "<xml><!--" + "-" * KB64,
    "CDATA of brackets": "<xml><A><![CDATA[" + "]" * KB64,
    "CDATA ends": "<xml><Content><![CDATA[" + "]]>" * (KB64 // 3) + "</Content></xml>",
    "double quotes": "<xml " + '"' * KB64,
    "single quotes": "<xml " + "'" * KB64,
    "odd quotes": "<xml " + '"' * (KB64 - 1) + ">",
    "mixed quotes": "<xml " + "\"'" * (KB64 // 2),
    "tags with a quote": "<xml>" + "<a '" * (KB64 // 4),
    "tags with quotes": "<xml>" + "<a \"b' " * (KB64 // 7),
    "equals signs": "<xml " + "=" * KB64 + ">",
    "equals sign and blanks": "<xml a=" + " " * KB64 + ">",
    "equals signs and blanks": "<xml " + ("=" + " " * 200) * 320 + ">",
    "less-than signs": "<xml>" + "<" * KB64,
    "greater-than signs": "<xml>" + ">" * KB64,
    "blanks before": " " * KB64,
    "blanks before the declaration": " " * KB64 + "<?xml ",
    "blanks in the declaration": "<?xml" + " " * KB64,
    "a declaration that never ends": "<?xml " + "a" * KB64,
    "declarations": "<?xml ?>" * (KB64 // 8),
    "ends of Content": "<xml><Content><![CDATA[" + "]]></Content>" * (KB64 // 13),
    "ends of Content with blanks": "<xml><Content> <![CDATA[ " + "]]>\n</Content >" * (KB64 // 16) + " </xml>",
    "blanks after CDATA": "<xml><Content> <![CDATA[a]]>" + " " * KB64 + "</Content></xml>",
    "starts of each user text": "<xml>" + "<Title><![CDATA[<Label><![CDATA[<EventKey><![CDATA[" * (KB64 // 51),
    "starts and ends of user texts": "<xml>" + "<Title><![CDATA[]]></Title>]]>" * (KB64 // 30),
    "control characters": "<xml><A>" + "\x01" * KB64 + "</A></xml>",
    "unclosed Content in a comment": "<xml><!--" + "<Content><![CDATA[" * 3500 + "--><Content> a</Content></xml>",
}


@pytest.mark.parametrize("authentic", [False, True])
@pytest.mark.parametrize("xml", SLOW.values(), ids=SLOW.keys())
def test_no_body_costs_much_time(xml, authentic):
    """Before authentication anybody may post: every search takes linear time."""
    assert seconds_of_cpu(xmlio.load, xml.encode(), authentic=authentic) < 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(body):
    """No exception of Python's own, whatever strangers send."""
    try:
        assert isinstance(xmlio.load(body), dict)
    except BadXml:
        pass


_PIECES = ["<", ">", "/", "a", "xml", "=", '"', "'", "<a>", "</a>", "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>"]
_PIECES += ["<Content>", "</Content>", "<Title>", "</Title>", "&", ";", "&lt;", " ", "\n", "\x01", "你", "<!DOCTYPE"]


@given(st.lists(st.sampled_from(_PIECES), max_size=30).map("".join), st.booleans())
def test_any_markup_is_read_or_refused_and_nothing_else(inside, authentic):
    """Also for documents that are nearly right."""
    try:
        assert isinstance(xmlio.load(f"<xml>{inside}</xml>".encode(), authentic=authentic), dict)
    except BadXml:
        pass


# -- torn text (quirk 2) ---------------------------------------------------------------------------------------------

PASTED = packet("inner").decode()

TORN = [
    pytest.param("a]]>b", id="in the middle"),
    pytest.param("]]>", id="alone"),
    pytest.param("]]>]]>", id="twice"),
    pytest.param("]]>a", id="in front"),
    pytest.param("a]]]>b", id="after a bracket"),
    pytest.param("a]]>b<c>d]]>e", id="with an open tag"),
    pytest.param("a]]></Content>b", id="with our own end"),
    pytest.param("a]]></xml>b", id="with the root's end"),
    pytest.param("if (a[b[0]]>1 && c<2) { return; }", id="program text"),
    pytest.param("]]>&nbsp;", id="with an entity"),
    pytest.param("]]><!DOCTYPE a>", id="with a DOCTYPE, which is text here"),
    pytest.param("]]><!DOCTYPE a [<!ENTITY b 'c'>]>&b;", id="with an entity of its own"),
    pytest.param("]]><!-- ", id="with an open comment"),
    pytest.param("<![CDATA[a]]>", id="a CDATA section"),
    pytest.param("<Content><![CDATA[a]]></Content>", id="a Content"),
    pytest.param("]]></Content><FromUserName><![CDATA[o_2]]></FromUserName><Content>", id="a sender, unbalanced"),
    pytest.param("x]]></Content><MsgType><![CDATA[event]]></MsgType>]]>", id="a type, unbalanced"),
    pytest.param(PASTED, id="a whole packet of WeChat"),
    pytest.param(f"看看这个：\n{PASTED}\n什么意思？", id="a whole packet and words around it"),
    pytest.param(PASTED * 2, id="two packets"),
    pytest.param("a]]>b\x02c", id="and a control character"),
]


@pytest.mark.parametrize("text", TORN)
def test_a_torn_text_arrives_whole_and_nothing_in_it_becomes_an_element(text):
    """WeChat does not escape `]]>`; whatever tags follow it are the user's words."""
    assert xmlio.load(packet(text), authentic=True) == {
        "ToUserName": "gh_1",
        "FromUserName": "o_1",
        "CreateTime": "1414387151",
        "MsgType": "text",
        "Content": text.replace("\x02", ""),
        "MsgId": "1",
    }


@pytest.mark.parametrize("text", TORN)
def test_a_torn_text_is_refused_when_it_is_not_authentic(text):
    """Strangers get no second chance: the outer packet of AES mode, for one."""
    with pytest.raises(BadXml):
        xmlio.load(packet(text))


@pytest.mark.parametrize("element", ["Content", "Recognition", "Title", "Description", "Label", "EventKey"])
def test_every_element_whose_text_users_write_is_mended(element):
    """Voice recognition, shared links, places and menu keys as well."""
    xml = f"<xml><A>1</A><{element}><![CDATA[a]]><b>c]]></{element}><Z>2</Z></xml>"
    assert xmlio.load(xml.encode(), authentic=True) == {"A": "1", element: "a]]><b>c", "Z": "2"}


def test_two_torn_texts_are_mended_each():
    """A shared link has a title and a description."""
    xml = "<xml><Title><![CDATA[a]]>b]]></Title><Description><![CDATA[c]]><d]]></Description><Url>u</Url></xml>"
    fields = xmlio.load(xml.encode(), authentic=True)
    assert fields == {"Title": "a]]>b", "Description": "c]]><d", "Url": "u"}


def test_an_empty_title_is_not_its_descriptions_beginning():
    xml = "<xml><Title><![CDATA[]]></Title><Description><![CDATA[a]]></Title>b]]></Description><Url>u</Url></xml>"
    fields = xmlio.load(xml.encode(), authentic=True)
    assert fields == {"Title": "", "Description": "a]]></Title>b", "Url": "u"}


def test_a_title_with_a_description_in_it_is_a_title():
    """It looks as if the description began there; what is left then is the title's last end."""
    title = "a<Description><![CDATA[b]]></Title>c"
    xml = f"<xml><Title><![CDATA[{title}]]></Title><Url>u</Url></xml>"
    assert xmlio.load(xml.encode(), authentic=True) == {"Title": title, "Url": "u"}


def test_a_description_with_a_titles_end_in_it_injects_nothing():
    """The title ends before the next known element; what stands in the description stays there, or all is refused."""
    description = "a]]></Title><Url><![CDATA[http://evil]]></Url><Description><![CDATA[b"
    xml = (
        "<xml><Title><![CDATA[t]]></Title>"
        f"<Description><![CDATA[{description}]]></Description><Url><![CDATA[http://good]]></Url></xml>"
    )
    try:
        fields = xmlio.load(xml.encode(), authentic=True)
    except BadXml:
        return
    assert fields["Url"] == "http://good"


@pytest.mark.parametrize(
    "xml",
    [
        pytest.param("<!DOCTYPE xml><xml><Content><![CDATA[a]]>b]]></Content></xml>", id="DOCTYPE"),
        pytest.param(f"<xml><Content><![CDATA[a]]>b]]></Content>{'<a/>' * 2000}</xml>", id="too many elements"),
        pytest.param(f"<xml>{'<a>' * 20}<Content><![CDATA[a]]>b]]></Content>", id="too deep"),
        pytest.param("<xml><Content><![CDATA[a]]>b]]></Content><A>&nbsp;</A></xml>", id="an entity outside the text"),
        pytest.param("<xml><Content><![CDATA[a]]>b]]></Content><A></xml>", id="torn elsewhere, too"),
        pytest.param("<xml><Other><![CDATA[a]]>b]]></Other></xml>", id="an element that no user writes"),
        pytest.param("<xml><ToUserName><![CDATA[a]]>b]]></ToUserName></xml>", id="an identity"),
        pytest.param("<xml><Content>a]]>b</Content></xml>", id="no CDATA"),
        pytest.param("<xml><Content><![CDATA[a]]>b<c></Content></xml>", id="no end of CDATA"),
        pytest.param("<xml><Content><![CDATA[a]]>b]]></Content>", id="truncated"),
    ],
)
def test_nothing_else_is_mended(xml):
    """A refusal for DOCTYPE, entity or limit is final, authentic or not."""
    with pytest.raises(BadXml):
        xmlio.load(xml.encode(), authentic=True)


# -- writing ---------------------------------------------------------------------------------------------------------


def reread(fields):
    return xmltodict.parse(f"<xml>{xmlio.dump(fields)}</xml>", strip_whitespace=False)["xml"]


def test_fields_become_elements():
    """Text in CDATA, numbers bare, mappings as children, lists repeated, in order."""
    fields = {"A": "x", "N": 12, "M": {"B": "y", "K": 3}, "L": {"item": [{"C": "1"}, {"C": "2"}]}, "E": ""}
    assert xmlio.dump(fields) == (
        "<A><![CDATA[x]]></A><N>12</N><M><B><![CDATA[y]]></B><K>3</K></M>"
        "<L><item><C><![CDATA[1]]></C></item><item><C><![CDATA[2]]></C></item></L><E><![CDATA[]]></E>"
    )


INJECTIONS = [
    "x]]></Content><ToUserName><![CDATA[o_2]]></ToUserName><Content><![CDATA[y",
    "]]>",
    "]]",
    "]",
    "]]]]>>",
    "]]]]><![CDATA[>",
    "<![CDATA[",
    "<![CDATA[x]]>",
    "</Content></xml>",
    "]]\x00>",  # becomes ]]> once the NUL is dropped
    "]\x0b]\ud800>",
    "&lt;&amp;&#0;",
    "<!DOCTYPE xml [<!ENTITY a 'b'>]>&a;",
    "\u2028\u2029\U0010ffff👨‍👩‍👧",
    " leading and trailing ",
    "\n\t",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_breaks_out_of_its_element(text):
    """B72, B73: it comes back as it went in, and nothing else does."""
    read = reread({"ToUserName": "o_1", "Content": text})
    assert list(read) == ["ToUserName", "Content"]
    assert read == {"ToUserName": "o_1", "Content": text.translate({0: None, 0xB: None, 0xD800: None})}


@pytest.mark.parametrize("illegal", ["\0", "\x0b", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"], ids=ascii)
def test_illegal_characters_are_dropped_with_a_word_in_the_log(illegal, caplog):
    """B76: one of them would cost the user the whole reply. The log says how many, not which text."""
    assert reread({"A": f"secret{illegal}{illegal}b"}) == {"A": "secretb"}
    assert "2 characters" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "written"),
    [("a\r\nb", "a\nb"), ("a\rb", "a\nb"), ("\r\r\n\n\r", "\n\n\n\n"), ("a\u3000\tb", "a\u3000\tb")],
)
def test_a_line_ends_once_whoever_wrote_it(text, written, caplog):
    """WeChat shows CR LF as two; and what ends a line is no character to warn of."""
    assert xmlio.cdata(text) == f"<![CDATA[{written}]]>"
    assert caplog.text == ""


@given(st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from("]>&<![CDATA\r\n\t \0")), max_size=80))
@example("a\r\nb\rc")
def test_any_text_comes_back_without_what_xml_does_not_allow(text):
    """Written with `dump`, read with `load`. XML parsers turn CR LF and CR into LF."""
    legal = "".join(
        c for c in text if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )
    xml = f"<xml>{xmlio.dump({'ToUserName': 'o_1', 'Content': text, 'N': 1})}</xml>"
    read = xmlio.load(xml.encode())
    assert read == {"ToUserName": "o_1", "Content": legal.replace("\r\n", "\n").replace("\r", "\n"), "N": "1"}
    root = ElementTree.fromstring(xml)
    assert [child.tag for child in root] == ["ToUserName", "Content", "N"]


# -- the short way for plain packets -----------------------------------------------------------------------------------

PIECES = [
    "<a>",
    "</a>",
    "<b>",
    "</b>",
    "<![CDATA[",
    "]]>",
    "]",
    "x",
    "&amp;",
    "&",
    "<",
    ">",
    " ",
    "\n",
    "\r",
    "\t",
    "<a/>",
    "é",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("<a><![CDATA[x]]></a>")
@example("<a><![CDATA[x]]]></a>")
@example("<a>1</a>\n<b></b>")
@example("<a><![CDATA[x]]></a><a>2</a>")
@example("<a><![CDATA[]]>x]]></a>")
@example("<a>\r\n</a>")
def test_what_is_read_without_a_parser_is_what_the_parser_reads(inner):
    """Or it is left to the parser; never does the short way see something else."""
    xml = f"<xml>{inner}</xml>"
    plainly = xmlio._read_plainly(xml)
    if plainly is not None:
        assert plainly == xmlio._tidy(xmlio._parse(xml))


@pytest.mark.parametrize("text", ["", " a ", "aXx", "a]b]]c", "</a>", "<!-- -->", "&amp;", "\u2028", "😁"])
def test_a_plain_packet_needs_no_parser(text):
    xml = f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<Content><![CDATA[{text}]]></Content>\n</xml>\n"
    assert xmlio._read_plainly(xml) == {"ToUserName": "gh_1", "Content": text}
    assert xmlio._read_plainly(f"<xml><Content><![CDATA[{text}]]></Content></xml>") == {"Content": text}


@pytest.mark.parametrize("xml", ["<xml>", " <xml> ", "<xml></", "</xml>"])
def test_a_root_alone_is_no_packet(xml):
    with pytest.raises(BadXml):
        xmlio.load(xml.encode())


@pytest.mark.parametrize("behind", ["X", "x", "]", "<a/>", "</xml>"])
def test_nothing_stands_behind_the_root(behind):
    with pytest.raises(BadXml):
        xmlio.load(f"<xml><a>1</a></xml>{behind}".encode())


def test_the_parser_itself_knows_no_entities():
    """No DOCTYPE comes so far; and if one did, it could not make text out of nothing."""
    with pytest.raises(ValueError, match="entit"):
        xmlio._parse('<!DOCTYPE xml [<!ENTITY a "x">]><xml><b>&a;</b></xml>')
