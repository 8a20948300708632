"""What WeChat looks at in an answer, check by check with its words, and what the user gets to see of it."""

import pytest

from wx_mp_svr import Article
from wx_mp_svr.testing import Link, Result, Try
from wx_mp_svr.testing.judge import Check, Judge, is_chunked, split_links, without_links
from wx_mp_svr.wire.crypto import Cipher
from wx_mp_svr.wire.signature import sign

TOKEN, CIPHER = "JudgesToken", Cipher("k" * 43, "wx0a1b2c3d4e5f6a7b")
REQUEST = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o_1</FromUserName><MsgType>text</MsgType></xml>"
EVENT = REQUEST.replace("text", "Event")
HEAD = "<ToUserName>o_1</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>1700000000</CreateTime>"


def xml_of(kind, inner, head=HEAD):
    return f"<xml>{head}<MsgType>{kind}</MsgType>{inner}</xml>"


def text_of(content):
    return xml_of("text", f"<Content>{content}</Content>")


def looked(reply, *, cipher=None, request=REQUEST, status=200, headers=None):
    """Judge an answer: the try with its checks, and the elements that were read."""
    body = reply.encode() if isinstance(reply, str) else reply
    attempt = Try(1, 0.0, status=status, reply=body, headers=headers or {})
    return attempt, Judge(TOKEN, cipher, request).look(attempt)


def rows_of(attempt):
    return [(check.name, check.level, check.detail) for check in attempt.checks]


def faults(reply, **more):
    return [(name, level, detail) for name, level, detail in rows_of(looked(reply, **more)[0]) if level != "ok"]


FRAME = ["HTTP 200", "Content-Length", "no BOM", "no control characters", "well-formed XML"]
ROOT = ["not nested too deep", "root <xml>"]
REPLY = ["no element twice", "ToUserName", "FromUserName", "CreateTime", "MsgType"]


@pytest.mark.parametrize(
    ("kind", "inner", "own"),
    [
        ("text", "<Content>好</Content>", ["Content", "line ends", "Content <= 2047 bytes"]),
        ("image", "<Image><MediaId>m</MediaId></Image>", ["Image.MediaId"]),
        ("voice", "<Voice><MediaId>m</MediaId></Voice>", ["Voice.MediaId"]),
        ("video", "<Video><MediaId>m</MediaId></Video>", ["Video.MediaId"]),
        ("music", "<Music><ThumbMediaId>m</ThumbMediaId></Music>", ["Music.ThumbMediaId"]),
        (
            "news",
            "<ArticleCount>1</ArticleCount><Articles><item><Title>t</Title></item></Articles>",
            ["ArticleCount", "Articles", "ArticleCount", "at most 1 articles", "articles have a Title"],
        ),
        ("transfer_customer_service", "", []),
    ],
)
def test_all_that_is_looked_at_in_a_reply(kind, inner, own):
    attempt, fields = looked(xml_of(kind, inner))
    assert rows_of(attempt) == [(name, "ok", "") for name in FRAME + ROOT + REPLY + own]
    assert attempt.good
    assert (fields["MsgType"], fields["ToUserName"]) == (kind, "o_1")
    assert attempt.xml == xml_of(kind, inner)


def test_an_acknowledgement_is_the_end():
    for reply in ("", "success"):
        attempt, fields = looked(reply)
        assert rows_of(attempt) == [
            ("HTTP 200", "ok", ""),
            ("Content-Length", "ok", ""),
            ("success", "ok", "acknowledged, the user sees nothing"),
        ]
        assert (attempt.good, fields, attempt.xml) == (True, {}, "")


def test_no_more_is_looked_at_without_a_status_of_200_or_a_length():
    refused, fields = looked(text_of("好"), status=500)
    assert rows_of(refused) == [("HTTP 200", "wrong", "status 500"), ("Content-Length", "ok", "")]
    assert fields == {}
    chunked, fields = looked("success", headers={"transfer-encoding": "gzip, Chunked"})
    assert rows_of(chunked)[1:] == [("Content-Length", "wrong", "sent in chunks, which HTTP/1.0 does not know")]
    assert fields == {}
    assert not is_chunked(Try(1, 0.0, headers={"content-encoding": "chunked"}))


NAMES = ["ToUserName", "FromUserName"]
DEEP = "<a>" * 15 + "</a>" * 15
FAULTS = [
    # an answer, the checks that it fails, with their words
    (text_of("a\x01b"), ["no control characters", "well-formed XML"]),
    (text_of("a") + "\x0c", ["no control characters", "well-formed XML"]),
    (text_of("a\ufffeb"), ["no control characters", "well-formed XML"]),
    ("\ufeff" + text_of("a"), ["no BOM"]),
    (text_of("a" + DEEP), ["not nested too deep"]),
    (xml_of("text", "<Content>a</Content><Content>b</Content>"), ["no element twice"]),
    (xml_of("text", "<Content>a</Content>", HEAD.replace("o_1", "o_2")), ["ToUserName"]),
    (xml_of("text", "<Content>a</Content>", HEAD.replace("gh_1", "")), ["FromUserName"]),
    (text_of("a").replace("1700000000", "1" * 14), ["CreateTime"]),
    (text_of("a").replace("1700000000", "-1"), ["CreateTime"]),
    (xml_of("event", ""), ["MsgType"]),
    (xml_of("text", ""), ["Content"]),
    (xml_of("image", "<Image>m</Image>"), ["Image.MediaId"]),
    (text_of("a" * 2048), ["Content <= 2047 bytes"]),
]


@pytest.mark.parametrize(("reply", "names"), FAULTS)
def test_a_fault_is_wrong_and_has_words(reply, names):
    found = faults(reply)
    assert [name for name, _, _ in found] == names
    assert all(level == "wrong" and detail for _, level, detail in found)


@pytest.mark.parametrize(
    "reply",
    [
        text_of("a" * 2047),
        text_of("a").replace("1700000000", "1" * 13),
        text_of("a\t\n\r 好\ud7ff\ue000\ufffd😁"),
        xml_of("image", f"<Image><MediaId>{'<a>' * 13}m{'</a>' * 13}</MediaId></Image>"),
    ],
)
def test_what_is_at_the_edge_is_right(reply):
    assert faults(reply) == []


def test_the_words_say_what_was_found():
    assert faults(text_of("a").replace("o_1", "o_2")) == [("ToUserName", "wrong", "is 'o_2', should be 'o_1'")]
    assert faults(text_of("a").replace("1700000000", "now")) == [
        ("CreateTime", "wrong", "is 'now', should be Unix seconds")
    ]
    assert faults(text_of("a").replace("<CreateTime>1700000000</CreateTime>", "")) == [
        ("CreateTime", "wrong", "is '', should be Unix seconds")
    ]
    assert faults(xml_of("", "")) == [("MsgType", "wrong", "'' is no reply type")]
    assert faults(f"<xml>{HEAD}</xml>") == [("MsgType", "wrong", "'' is no reply type")]
    assert faults(text_of("a").replace("o_1", ""))[0] == ("ToUserName", "wrong", "is '', should be 'o_1'")
    assert faults("<reply/>")[0] == ("root <xml>", "wrong", "the root is <reply>")
    assert faults(text_of("好" * 683)) == [("Content <= 2047 bytes", "wrong", "2049 bytes")]
    [(name, level, detail)] = faults("x" * 100)
    assert (name, level) == ("well-formed XML", "wrong")
    assert detail.endswith(f"; begins {b'x' * 60!r}")
    assert faults(xml_of("text", "<B/><A/><B/><A/><Content>a</Content>")) == [
        ("no element twice", "wrong", "['A', 'B']")
    ]


def test_whom_a_request_does_not_name_nobody_looks_for():
    assert faults(text_of("a").replace("o_1", "o_2"), request="<xml/>") == []


def news_of(titles, count=None):
    items = "".join(f"<item><Title>{title}</Title></item>" for title in titles)
    return xml_of(
        "news", f"<ArticleCount>{len(titles) if count is None else count}</ArticleCount><Articles>{items}</Articles>"
    )


@pytest.mark.parametrize(("request_", "most"), [(REQUEST, 1), (EVENT, 8)])
def test_articles_are_counted(request_, most):
    assert faults(news_of(["t"] * most), request=request_) == []
    assert faults(news_of(["t"] * (most + 1)), request=request_) == [
        (f"at most {most} articles", "harmful", f"{most + 1}, the rest is dropped")
    ]
    assert faults(news_of(["t"] * most, most + 1), request=request_) == [
        ("ArticleCount", "wrong", f"is not the number of items, {most}")
    ]


def test_an_article_without_a_title_is_harmful_and_none_at_all_is_wrong():
    assert faults(news_of([""])) == [("articles have a Title", "harmful", "an article without a title")]
    no_item = xml_of("news", "<ArticleCount>1</ArticleCount><Articles><item>t</item></Articles>")
    assert [name for name, _, _ in faults(no_item)] == ["articles have a Title"]
    for inside in ("t", "<Title>t</Title>"):
        assert faults(xml_of("news", f"<ArticleCount>0</ArticleCount><Articles>{inside}</Articles>")) == []
    assert [name for name, _, _ in faults(news_of([]))] == ["Articles"]


def test_a_backslash_and_an_n_are_harmful():
    assert faults(text_of(r"a\nb")) == [("line ends", "harmful", "a backslash and an n, which users see as that")]


# -- the envelope ------------------------------------------------------------------------------------------------------


def sealed(xml, **changes):
    encrypt = CIPHER.encrypt(xml.encode() if isinstance(xml, str) else xml)
    fields = {"Encrypt": encrypt, "MsgSignature": sign(TOKEN, "1", "n", encrypt), "TimeStamp": "1", "Nonce": "n"}
    return "<xml>" + "".join(f"<{name}>{value}</{name}>" for name, value in {**fields, **changes}.items()) + "</xml>"


def test_all_that_is_looked_at_in_a_sealed_reply():
    attempt, fields = looked(sealed(text_of("好")), cipher=CIPHER)
    envelope = [*FRAME, *ROOT, "encrypted reply", "MsgSignature", "decrypt", *FRAME[3:], *ROOT]
    own = ["Content", "line ends", "Content <= 2047 bytes"]
    assert rows_of(attempt) == [(name, "ok", "") for name in envelope + REPLY + own]
    assert (attempt.xml, fields["Content"]) == (text_of("好"), "好")


@pytest.mark.parametrize(
    ("reply", "cipher", "fault"),
    [
        (text_of("a"), CIPHER, ("encrypted reply", "Encrypt, MsgSignature, TimeStamp, Nonce")),
        (sealed("a", Nonce=""), CIPHER, ("encrypted reply", "missing, repeated or empty: Nonce")),
        (sealed("a", TimeStamp="2"), CIPHER, ("MsgSignature", "not the signature of Token")),
        (sealed("a").replace("<Nonce>n", "<Nonce>m"), CIPHER, ("MsgSignature", "not the signature of Token")),
        (sealed("a"), Cipher("j" * 43, "wx1"), ("decrypt", "cannot be decrypted")),
        (sealed("a"), None, ("plain reply", "an encrypted reply in plain mode")),
    ],
)
def test_a_fault_of_the_envelope_ends_it(reply, cipher, fault):
    attempt, fields = looked(reply, cipher=cipher)
    name, level, detail = rows_of(attempt)[-1]
    assert (name, level, fault[1] in detail) == (fault[0], "wrong", True), detail
    assert (fields, attempt.xml) == ({}, "")


def test_what_is_sealed_need_not_be_text():
    attempt, fields = looked(sealed(b"<xml>\xff</xml>"), cipher=CIPHER)
    assert (rows_of(attempt)[-1][0], attempt.xml, fields) == ("well-formed XML", "<xml>\ufffd</xml>", {})


# -- what the user sees ------------------------------------------------------------------------------------------------


def test_a_try_is_good_with_a_status_and_without_a_wrong_check():
    harmful, wrong = Check("a", "harmful"), Check("b", "wrong")
    assert not Try(1, 0.0).good
    assert Try(1, 0.0, status=200).good
    assert Try(1, 0.0, status=200, checks=[harmful]).good
    assert not Try(1, 0.0, status=200, checks=[harmful, wrong]).good


def test_a_result_without_tries_shows_nothing():
    result = Result("<xml/>")
    assert (result.tries, result.type, result.content, result.fields, result.elapsed) == ([], "", "", {}, 0.0)
    assert (result.checks, result.links, result.articles, result.media_id) == ([], [], [], "")
    assert repr(result) == "<Result: nothing after 0 of WeChat's tries, 0.00 s>"


def test_a_result_shows_what_came_last():
    first, last = Try(1, 0.0, checks=[Check("a", "ok")]), Try(2, 5.0, checks=[Check("b", "ok")])
    result = Result("<xml/>", [first, last], "text", "好", {}, 5.126)
    assert result.checks == [Check("b", "ok")]
    assert repr(result) == "<Result: text '好' after 2 of WeChat's tries, 5.13 s>"


def test_articles_have_all_their_texts():
    items = [{"Title": "t", "Description": "d", "PicUrl": "p", "Url": "u"}, {"Title": None}]
    result = Result("", [], "news", "", {"Articles": {"item": items}})
    assert result.articles == [Article("t", "d", "p", "u"), Article("")]
    assert Result("", [], "news", "", {"Articles": ""}).articles == []


@pytest.mark.parametrize(
    ("kind", "fields", "media_id"),
    [
        ("image", {"Image": {"MediaId": "m"}}, "m"),
        ("voice", {"Voice": {"MediaId": "m"}}, "m"),
        ("video", {"Video": {"MediaId": "m"}}, "m"),
        ("video", {"Video": {"Title": "t"}}, ""),
        ("image", {"Image": "m"}, ""),
        ("image", {}, ""),
        ("fault", {}, ""),
    ],
)
def test_the_media_id_of_a_reply(kind, fields, media_id):
    assert Result("", [], kind, "", fields).media_id == media_id


MENU = "weixin://bizmsgmenu?msgmenucontent={}&msgmenuid={}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ('<a href="u">b</a>', [Link("b", "u")]),
        ("<a\nid=1 href='u' >b\nc</a>d", [Link("b\nc", "u"), "d"]),
        ('<a href="u">a</a><a href="v">&lt;b&gt;</a>', [Link("a", "u"), Link("<b>", "v")]),
        (
            f'<a href="{MENU.format("a%3D%26b=c", "7%2D")}">x</a>',
            [Link("x", MENU.format("a%3D%26b=c", "7%2D"), "a=&b=c", "7-")],
        ),
        ('<a href="weixin://bizmsgmenu?x">x</a>', [Link("x", "weixin://bizmsgmenu?x", "", "")]),
        ('<a href="weixin://bizmsgmenu">x</a>', [Link("x", "weixin://bizmsgmenu")]),
        ("<a href=u>b</a>", ["<a href=u>b</a>"]),
        ("<A href='u'>b</A>", ["<A href='u'>b</A>"]),
    ],
)
def test_links_are_cut_out_of_their_text(text, parts):
    assert split_links(text) == parts
    assert without_links(text) == "".join(part if isinstance(part, str) else part.label for part in parts)
