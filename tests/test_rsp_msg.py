"""Replies: the packets of WeChat's documentation, no way out of an element, and what is mended before it leaves."""

import dataclasses
from pathlib import Path

import pytest
import xmltodict

from wx_mp_svr import rsp_msg
from wx_mp_svr.errors import ReplyError
from wx_mp_svr.events import ClickEvent, SubscribeEvent, UnsubscribeEvent
from wx_mp_svr.req_msg import ImageReqMsg, LocationReqMsg, ReqMsg, TextReqMsg
from wx_mp_svr.rsp_msg import (
    Article,
    EmptyRspMsg,
    ImageRspMsg,
    MusicRspMsg,
    NewsRspMsg,
    RspMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceRspMsg,
    fit,
    render,
)

SAMPLES = Path(__file__).parent / "samples"

TEXT = TextReqMsg(to_user_name="gh_1", from_user_name="o_1", msg_type="text")
CLICK = ClickEvent(to_user_name="gh_1", from_user_name="o_1", msg_type="event", event="CLICK")

# -- the packets -----------------------------------------------------------------------------------------------------

PACKETS = [
    ("rsp-text", TextRspMsg("你好")),
    ("rsp-image", ImageRspMsg("media_id")),
    ("rsp-voice", VoiceRspMsg("media_id")),
    ("rsp-video", VideoRspMsg("media_id", "title", "description")),
    ("rsp-music", MusicRspMsg("media_id", "TITLE", "DESCRIPTION", "MUSIC_Url", "HQ_MUSIC_Url")),
    ("rsp-news", NewsRspMsg([Article("title1", "description1", "picurl", "url")])),
    ("rsp-transfer_customer_service", TransferCustomerServiceRspMsg()),
    ("rsp-transfer_customer_service-kf", TransferCustomerServiceRspMsg("test1@test")),
]


@pytest.mark.parametrize(("sample", "reply"), PACKETS, ids=[name for name, _ in PACKETS])
def test_each_reply_is_the_packet_of_wechats_documentation(sample, reply):
    """B85: element by element; To and From are those of the request, swapped."""
    expected = xmltodict.parse((SAMPLES / f"{sample}.xml").read_bytes())
    to, sender = expected["xml"]["ToUserName"], expected["xml"]["FromUserName"]
    req = TextReqMsg(to_user_name=sender, from_user_name=to, msg_type="text")
    packet = render(reply, req, now=int(expected["xml"]["CreateTime"]))
    assert xmltodict.parse(packet) == expected
    assert packet.startswith("<xml><ToUserName>")  # no declaration: WeChat's samples have none


def test_every_reply_type_is_in_the_table():
    """A new one needs a packet of WeChat's to be held against."""
    public = {cls for cls in vars(rsp_msg).values() if isinstance(cls, type) and issubclass(cls, RspMsg)}
    assert {type(reply) for _, reply in PACKETS} == public - {RspMsg, EmptyRspMsg}
    assert all(f"rsp-{reply.msg_type}" in name for name, reply in PACKETS)


@pytest.mark.parametrize(
    ("reply", "elements"),
    [
        (VideoRspMsg("m"), {"Video": {"MediaId": "m"}}),
        (VideoRspMsg(media_id="m", description="d"), {"Video": {"MediaId": "m", "Description": "d"}}),
        (MusicRspMsg("m"), {"Music": {"ThumbMediaId": "m"}}),
        (MusicRspMsg("m", music_url="u"), {"Music": {"MusicUrl": "u", "ThumbMediaId": "m"}}),
        (
            NewsRspMsg([Article("t")]),
            {
                "ArticleCount": "1",
                "Articles": {"item": {"Title": "t", "Description": None, "PicUrl": None, "Url": None}},
            },
        ),
        (
            NewsRspMsg([Article("1", "a", "b", "c"), Article("2", "d", "e", "f")]),
            {
                "ArticleCount": "2",
                "Articles": {
                    "item": [
                        {"Title": "1", "Description": "a", "PicUrl": "b", "Url": "c"},
                        {"Title": "2", "Description": "d", "PicUrl": "e", "Url": "f"},
                    ]
                },
            },
        ),
    ],
    ids=repr,
)
def test_optional_elements_are_left_out_and_required_ones_are_not(reply, elements):
    """All four of an article are required, and ArticleCount is the number of items."""
    fields = xmltodict.parse(render(reply, TEXT, now=1700000000))["xml"]
    head = {"ToUserName": "o_1", "FromUserName": "gh_1", "CreateTime": "1700000000", "MsgType": reply.msg_type}
    assert fields == head | elements


@pytest.mark.parametrize("silence", [EmptyRspMsg(), RspMsg()])
def test_silence_has_no_packet(silence):
    """An empty HTTP answer or `success`, never a packet without content."""
    assert render(silence, TEXT, now=1) == ""


def test_replies_are_values():
    """Frozen, comparable, and without room for a misspelt field."""
    reply = TextRspMsg("a")
    assert reply == TextRspMsg(content="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.content = "b"
    with pytest.raises(TypeError):
        TextRspMsg("a", contents="b")


# -- no way out ------------------------------------------------------------------------------------------------------

INJECTION = "x]]></Content><ToUserName><![CDATA[o_2]]></ToUserName><Content><![CDATA[\0y&<"
HARMLESS = INJECTION.replace("\0", "")


def text_fields():
    for _, reply in PACKETS:
        if isinstance(reply, NewsRspMsg):
            for field in dataclasses.fields(Article):
                yield pytest.param(
                    NewsRspMsg([Article(**{"title": "t", field.name: INJECTION})]), id=f"Article.{field.name}"
                )
        else:
            for field in dataclasses.fields(reply):
                yield pytest.param(
                    dataclasses.replace(reply, **{field.name: INJECTION}), id=f"{type(reply).__name__}.{field.name}"
                )


def texts_of(node):
    if isinstance(node, dict):
        return [text for child in node.values() for text in texts_of(child)]
    if isinstance(node, list):
        return [text for child in node for text in texts_of(child)]
    return [node]


def shape_of(node):
    return {name: shape_of(child) for name, child in node.items()} if isinstance(node, dict) else None


@pytest.mark.parametrize("reply", list(text_fields()))
def test_no_text_of_a_reply_becomes_an_element(reply):
    """B73: an echo bot hands its user's text to us; WeChat's own SDKs fall for `]]>`."""
    assert fit(reply, TEXT, strict=True) == (
        dataclasses.replace(reply, articles=tuple(reply.articles)) if isinstance(reply, NewsRspMsg) else reply
    )
    packet = render(reply, TEXT, now=1700000000)
    fields = xmltodict.parse(packet)["xml"]
    assert (fields["ToUserName"], fields["FromUserName"]) == ("o_1", "gh_1")
    assert texts_of(fields).count(HARMLESS) == 1
    tame = {
        field.name: "tame" if getattr(reply, field.name) == INJECTION else getattr(reply, field.name)
        for field in dataclasses.fields(reply)
    }
    if isinstance(reply, NewsRspMsg):
        tame = {"articles": [Article("tame", "tame", "tame", "tame")]}
    assert shape_of(fields) == shape_of(xmltodict.parse(render(type(reply)(**tame), TEXT, now=1))["xml"])


@pytest.mark.parametrize("name", ["to_user_name", "from_user_name"])
def test_names_of_the_request_do_not_become_elements_either(name):
    """They are authentic, but came from outside."""
    req = dataclasses.replace(TEXT, **{name: "a]]></ToUserName><Evil>"})
    fields = xmltodict.parse(render(TextRspMsg("a"), req, now=1))["xml"]
    assert list(fields) == ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"]
    assert "a]]></ToUserName><Evil>" in fields.values()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\0b", "ab"),
        ("a\x0bb\x1f", "ab"),
        ("\ud800a\udfff", "a"),
        ("a\ufffe\uffffb", "ab"),
        ("你好\n\t👨‍👩‍👧\u2028", "你好\n\t👨‍👩‍👧\u2028"),
        ('<a href="https://a/?b=1&c=2">链接</a>', '<a href="https://a/?b=1&c=2">链接</a>'),
        (" blanks ", " blanks "),
    ],
)
def test_what_xml_does_not_allow_is_dropped_and_all_else_is_kept(text, sent):
    """B72, B76: one illegal character would cost the user the whole reply."""
    packet = render(fit(TextRspMsg(text), TEXT, strict=True), TEXT, now=1)
    assert xmltodict.parse(packet.encode(), strip_whitespace=False)["xml"]["Content"] == sent


# -- fit -------------------------------------------------------------------------------------------------------------


def news(count, kind=list):
    return NewsRspMsg(kind(Article(str(n)) for n in range(count)))


def same(reply):
    return reply


COMPLAINT = ReplyError

FIT = [
    # reply, request, in production, in development
    pytest.param(TextRspMsg("a"), TEXT, same, same, id="text"),
    pytest.param(TextRspMsg("你" * 5000), TEXT, same, same, id="long text is somebody else's matter"),
    *(
        pytest.param(TextRspMsg(text), TEXT, EmptyRspMsg(), COMPLAINT, id=f"empty text {text!r} (B84)")
        for text in ("", " ", "\n\t", "\u3000", "\0", " \x0b ", "\ud800")
    ),
    pytest.param(EmptyRspMsg(), TEXT, same, same, id="silence"),
    pytest.param(ImageRspMsg("m"), TEXT, same, same, id="image"),
    pytest.param(VideoRspMsg("m"), TEXT, same, same, id="video without its optional texts"),
    pytest.param(MusicRspMsg("m"), TEXT, same, same, id="music with a cover only"),
    pytest.param(TransferCustomerServiceRspMsg(), TEXT, same, same, id="hand-over to anybody"),
    *(
        pytest.param(reply, TEXT, COMPLAINT, COMPLAINT, id=f"{type(reply).__name__} without what it needs")
        for reply in (ImageRspMsg(""), VoiceRspMsg(""), VideoRspMsg("", "t", "d"), MusicRspMsg("", "t", "d", "u", "h"))
    ),
    pytest.param(news(1), TEXT, news(1, tuple), news(1, tuple), id="one article"),
    pytest.param(news(1, tuple), TEXT, same, same, id="one article in a tuple"),
    pytest.param(news(2), TEXT, news(1, tuple), COMPLAINT, id="two articles to a message: the first"),
    pytest.param(news(2), ImageReqMsg(), news(1, tuple), COMPLAINT, id="two articles to an image"),
    pytest.param(news(2), LocationReqMsg(), news(1, tuple), COMPLAINT, id="two articles to a place"),
    pytest.param(news(2), ReqMsg(msg_type="new"), news(1, tuple), COMPLAINT, id="two articles to a new kind"),
    pytest.param(news(8), CLICK, news(8, tuple), news(8, tuple), id="eight articles to an event"),
    pytest.param(news(8), SubscribeEvent(), news(8, tuple), news(8, tuple), id="eight articles to a new follower"),
    pytest.param(news(9), CLICK, news(8, tuple), COMPLAINT, id="nine articles to an event: the first eight"),
    pytest.param(news(0), TEXT, EmptyRspMsg(), COMPLAINT, id="no article"),
    pytest.param(news(0), CLICK, EmptyRspMsg(), COMPLAINT, id="no article to an event"),
    # what is not text
    *(
        pytest.param(reply, TEXT, COMPLAINT, COMPLAINT, id=f"not text: {number}: {type(reply).__name__}")
        for number, reply in enumerate(
            (
                TextRspMsg(None),
                TextRspMsg(1),
                TextRspMsg(b"a"),
                TextRspMsg(["a"]),
                ImageRspMsg(None),
                ImageRspMsg(7),
                VideoRspMsg("m", None),
                MusicRspMsg("m", music_url=1),
                TransferCustomerServiceRspMsg(None),
                NewsRspMsg([Article(None)]),
                NewsRspMsg([Article("t", url=1)]),
                NewsRspMsg(["a"]),
                NewsRspMsg("a"),
                NewsRspMsg(None),
                NewsRspMsg(Article("t")),
                NewsRspMsg({"title": "t"}),
                NewsRspMsg([Article("t"), None]),
                NewsRspMsg(Article("t") for _ in range(1)),
            )
        )
    ),
]


@pytest.mark.parametrize(("reply", "req", "production", "development"), FIT)
def test_a_reply_is_checked_before_it_leaves(reply, req, production, development):
    """In production what can be mended is mended; in development its author is told. The rest nobody can mend."""
    for strict, expected in ((False, production), (True, development)):
        if expected is COMPLAINT:
            with pytest.raises(ReplyError) as error:
                fit(reply, req, strict=strict)
            assert type(reply).__name__ in str(error.value) or "Article" in str(error.value)
        else:
            fitted = fit(reply, req, strict=strict)
            assert fitted == (reply if expected is same else expected)
            render(fitted, req, now=1)


UNSUBSCRIBE = UnsubscribeEvent(to_user_name="gh_1", from_user_name="o_1", msg_type="event", event="unsubscribe")


@pytest.mark.parametrize(
    ("reply", "req", "said"),
    [
        (TextRspMsg("a"), UNSUBSCRIBE, "a reply to unsubscribe: nobody sees it"),
        (ImageRspMsg("m"), UNSUBSCRIBE, "a reply to unsubscribe: nobody sees it"),
        (EmptyRspMsg(), UNSUBSCRIBE, ""),
        (TextRspMsg("a"), CLICK, ""),
        (TextRspMsg(r"a\nb"), TEXT, "a text holds"),
        (TextRspMsg("a\nb"), TEXT, ""),
        (VideoRspMsg("m", r"a\nb"), TEXT, ""),
    ],
)
def test_what_its_author_hardly_meant_is_said_in_development(reply, req, said, caplog):
    fit(reply, req, strict=False)
    assert caplog.messages == []
    fit(reply, req, strict=True)
    assert [message[: len(said)] for message in caplog.messages] == ([said] if said else [])


def test_the_word_of_an_acknowledgement_is_no_text_for_users():
    assert fit(TextRspMsg("success"), TEXT, strict=False) == TextRspMsg("success")
    with pytest.raises(ReplyError, match="return None to acknowledge"):
        fit(TextRspMsg("success"), TEXT, strict=True)


def test_the_complaint_names_the_field_that_is_missing():
    """And what WeChat would do."""
    with pytest.raises(ReplyError, match="MusicRspMsg needs thumb_media_id"):
        fit(MusicRspMsg(""), TEXT, strict=False)
    with pytest.raises(ReplyError, match=r"TextRspMsg\.content must be text \(str\), not int"):
        fit(TextRspMsg(1), TEXT, strict=False)
