"""Ordinary messages, and what may stand in any push: every packet becomes a message, or says why not."""

import dataclasses
from pathlib import Path

import pytest

from wx_mp_svr import events, req_msg
from wx_mp_svr.errors import BadXml
from wx_mp_svr.messages import read_msg
from wx_mp_svr.req_msg import (
    KINDS,
    EventReqMsg,
    FileReqMsg,
    ImageReqMsg,
    LinkReqMsg,
    LocationReqMsg,
    MiniProgramPageReqMsg,
    ReqMsg,
    ShortVideoReqMsg,
    TextReqMsg,
    VideoReqMsg,
    VoiceReqMsg,
    bind_session,
)
from wx_mp_svr.wire import xmlio

SAMPLES = Path(__file__).parent / "samples"
WHO = {"ToUserName": "gh_1", "FromUserName": "o_1", "CreateTime": "1700000000"}

# The official samples hold `xxxx` where the ids of an article belong.
FROM_ARTICLE = {"msg_id": "1234567890123456", "msg_data_id": "xxxx", "idx": None}
NOT_FROM_ARTICLE = {"msg_data_id": "", "idx": None}

MESSAGES = [
    ("req-text", TextReqMsg, {"content": "this is a test", "bizmsgmenuid": "", **FROM_ARTICLE}),
    (
        "req-text-bizmsgmenuid",
        TextReqMsg,
        {"content": "满意", "bizmsgmenuid": "101", "msg_id": "1234567890123456", **NOT_FROM_ARTICLE},
    ),
    (
        "req-text-unsupported",
        TextReqMsg,
        {
            "content": "【收到不支持的消息类型，暂无法显示】",
            "bizmsgmenuid": "",
            "msg_id": "24801004976846051",
            "create_time": 1732329909,
            **NOT_FROM_ARTICLE,
        },
    ),
    ("req-image", ImageReqMsg, {"pic_url": "this is a url", "media_id": "media_id", **FROM_ARTICLE}),
    (
        "req-voice",
        VoiceReqMsg,
        {"media_id": "media_id", "format": "Format", "media_id_16k": "media_id_16k", "recognition": "", **FROM_ARTICLE},
    ),
    ("req-video", VideoReqMsg, {"media_id": "media_id", "thumb_media_id": "thumb_media_id", **FROM_ARTICLE}),
    ("req-shortvideo", ShortVideoReqMsg, {"media_id": "media_id", "thumb_media_id": "thumb_media_id", **FROM_ARTICLE}),
    (
        "req-location",
        LocationReqMsg,
        {"location_x": 23.134521, "location_y": 113.358803, "scale": 20, "label": "位置信息", **FROM_ARTICLE},
    ),
    (
        "req-link",
        LinkReqMsg,
        {"title": "公众平台官网链接", "description": "公众平台官网链接", "url": "url", **FROM_ARTICLE},
    ),
    # The control character is gone, the user's leading blank is not.
    ("bad/req-text-control-char", TextReqMsg, {"content": " c", "bizmsgmenuid": "", **NOT_FROM_ARTICLE}),
]

NOTICES = [
    ("info-component_verify_ticket", "component_verify_ticket", 1436881222),
    ("info-authorized", "authorized", 1413192760),
    ("info-unauthorized", "unauthorized", 1436876196),
]


def read_sample(name):
    return read_msg(xmlio.load((SAMPLES / f"{name}.xml").read_bytes(), authentic=True))


def own_fields(cls, general):
    return {f.name for f in dataclasses.fields(cls)} - {f.name for f in dataclasses.fields(general)}


def text_msg(**fields):
    return read_msg({**WHO, "MsgType": "text", **fields})


def location_msg(**fields):
    return read_msg({**WHO, "MsgType": "location", **fields})


# -- WeChat's own samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "cls", "expected"), MESSAGES, ids=[row[0] for row in MESSAGES])
def test_a_sample_becomes_its_class_with_every_field(name, cls, expected):
    """The tables name each field of the class, so that none goes untested."""
    req = read_sample(name)
    assert type(req) is cls
    assert own_fields(cls, ReqMsg) <= expected.keys()
    assert {field: getattr(req, field) for field in expected} == expected


@pytest.mark.parametrize(("name", "info_type", "create_time"), NOTICES, ids=[row[0] for row in NOTICES])
def test_a_component_notice_is_a_general_event_named_by_its_info_type(name, info_type, create_time):
    """It has no MsgType and no sender; its elements are in `raw`."""
    req = read_sample(name)
    assert type(req) is EventReqMsg
    assert (req.event, req.create_time, req.openid, req.msg_type) == (info_type, create_time, "", "")
    assert req.raw["InfoType"] == info_type


def test_every_sample_of_a_message_or_a_notice_has_a_row():
    """The samples of events have theirs in test_events; replies and ciphertexts are read elsewhere."""
    rows = {name for name, *_ in [*MESSAGES, *NOTICES]}
    there = {str(path.relative_to(SAMPLES).with_suffix("")) for path in SAMPLES.rglob("*.xml")}
    elsewhere = {name for name in there if name.startswith(("rsp-", "event-"))}
    assert there - elsewhere - {"req-compat-encrypt", "req-safe-encrypt"} == rows


def test_a_file_message_is_read_although_wechat_does_not_list_it():
    """Captured in 2018."""
    fields = {"Title": "a.txt", "Description": "说明", "FileKey": "k", "FileMd5": "0f", "FileTotalLen": "4096"}
    req = read_msg({**WHO, "MsgType": "file", **fields})
    assert req == FileReqMsg(
        to_user_name="gh_1",
        from_user_name="o_1",
        create_time=1700000000,
        msg_type="file",
        title="a.txt",
        description="说明",
        file_key="k",
        file_md5="0f",
        file_total_len=4096,
        raw={**WHO, "MsgType": "file", **fields},
    )


def test_a_mini_program_card_is_a_message():
    """Not in WeChat's list for accounts either."""
    fields = {"Title": "t", "AppId": "wx1", "PagePath": "p", "ThumbUrl": "http://t", "ThumbMediaId": "m"}
    req = read_msg({**WHO, "MsgType": "miniprogrampage", **fields})
    assert type(req) is MiniProgramPageReqMsg
    told = (req.title, req.app_id, req.page_path, req.thumb_url, req.thumb_media_id)
    assert told == ("t", "wx1", "p", "http://t", "m")


# -- numbers, times, decimals ----------------------------------------------------------------------------------------

UNREADABLE = [
    "",
    " ",
    "xxxx",
    "过期时间",
    "1.5",
    "９",
    "٣",
    "²",
    "9" * 5000,
    "1e3",
    "0x1",
    "1_000",
    "+",
    "-",
    "1 2",
    "+5",
]


@pytest.mark.parametrize("unreadable", [*UNREADABLE, "-5"])
def test_an_unreadable_create_time_is_none_and_stays_in_raw(unreadable):
    """WeChat's own samples hold placeholders; the message still arrives."""
    req = text_msg(CreateTime=unreadable)
    assert (req.create_time, req.raw["CreateTime"]) == (None, unreadable)


@pytest.mark.parametrize("unreadable", UNREADABLE)
def test_an_unreadable_whole_number_is_none_and_stays_in_raw(unreadable):
    """Nothing explodes later, in the handler."""
    req = location_msg(Scale=unreadable)
    assert (req.scale, req.raw["Scale"]) == (None, unreadable)


@pytest.mark.parametrize(
    ("written", "value"), [("0", 0), ("-5", -5), ("007", 7), (" 15\n", 15), ("9223372036854775807", 2**63 - 1)]
)
def test_a_whole_number_is_an_int(written, value):
    assert location_msg(Scale=written).scale == value
    assert text_msg(Idx=written).idx == value


@pytest.mark.parametrize(
    "unreadable",
    [
        "",
        " ",
        "xxxx",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e999",
        "1e5",
        "1,5",
        "23°",
        "９",
        "9" * 5000,
        ".",
        "-",
    ],
)
def test_an_unreadable_decimal_is_none_and_stays_in_raw(unreadable):
    """Neither infinite nor not a number: such a value would poison every sum, and is no JSON."""
    req = location_msg(Location_X=unreadable)
    assert (req.location_x, req.raw["Location_X"]) == (None, unreadable)


@pytest.mark.parametrize(
    ("written", "value"), [("23.134521", 23.134521), ("-0.5", -0.5), ("+7", 7.0), ("113", 113.0), (" 1.50 ", 1.5)]
)
def test_a_decimal_is_a_float(written, value):
    assert location_msg(Location_X=written).location_x == value


def test_what_was_said_is_read_where_wechat_has_understood_it():
    assert read_msg({**WHO, "MsgType": "voice", "Recognition": "你好"}).recognition == "你好"


def test_what_is_absent_is_none_or_empty():
    req = read_msg({"ToUserName": "gh_1", "FromUserName": "o_1", "MsgType": "location"})
    assert (req.create_time, req.location_x, req.scale, req.idx) == (None, None, None, None)
    assert (req.label, req.msg_id, req.msg_data_id) == ("", "", "")


@pytest.mark.parametrize(
    "placeholder",
    [{"Idx": "xxxx", "CreateTime": "xxxx", "MsgDataId": "xxxx"}, {"Idx": "", "CreateTime": " ", "MsgDataId": ""}],
)
def test_placeholders_do_not_stop_a_message(placeholder):
    req = text_msg(Content="hi", **placeholder)
    assert (req.content, req.idx, req.create_time) == ("hi", None, None)
    assert req.msg_data_id == placeholder["MsgDataId"]


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["MsgId", "MsgID"])
def test_the_message_id_is_found_in_both_spellings(written):
    """Messages say MsgId, results of sending say MsgID."""
    assert text_msg(**{written: "7"}).msg_id == "7"


@pytest.mark.parametrize("msg_id", ["6054768590064713728", "9" * 5000, "-1", "0", "007", "abc", "１", ""])
def test_a_message_id_is_kept_as_text(msg_id):
    """JSON and JavaScript would round it; 007 and 7 are two ids."""
    assert text_msg(MsgId=msg_id).msg_id == msg_id


def test_the_users_blanks_are_kept_and_all_others_are_not():
    """Card events have white space around their CDATA."""
    req = text_msg(Content="  a\n b ", MsgId=" 7\n", bizmsgmenuid=" 1 ")
    assert (req.content, req.msg_id, req.bizmsgmenuid) == ("  a\n b ", "7", "1")


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("", ""),
        ([], ""),
        (["a", "b"], "a"),
        ([{"#text": "a"}], "a"),
        ({"b": "x"}, ""),
        ({"@a": "1", "#text": "t"}, "t"),
    ],
)
def test_text_of_any_shape_is_str(content, read):
    """Repeated, with children, with attributes."""
    assert text_msg(Content=content).content == read


# -- which class -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("msg_type", ["text", "Text", "TEXT", " text\n"])
def test_the_case_of_a_message_type_does_not_matter(msg_type):
    """Test tools write `Text` and `Event`."""
    req = read_msg({**WHO, "MsgType": msg_type, "Content": "hi"})
    assert (type(req), req.msg_type, req.content) == (TextReqMsg, "text", "hi")


@pytest.mark.parametrize("msg_type", ["event", "Event", "EVENT"])
@pytest.mark.parametrize("event", ["subscribe", "Subscribe", "SUBSCRIBE", " subscribe\n"])
def test_the_case_of_an_event_does_not_matter(msg_type, event):
    req = read_msg({**WHO, "MsgType": msg_type, "Event": event})
    assert (type(req), req.event) == (events.SubscribeEvent, event.strip())


@pytest.mark.parametrize(
    ("fields", "cls"),
    [
        ({"MsgType": "hologram"}, ReqMsg),
        ({"MsgType": "no_such_kind", "Title": "x"}, ReqMsg),
        ({"MsgType": "device_event", "Event": "subscribe"}, ReqMsg),  # hardware: an Event, but not an event
        ({"MsgType": "text", "Event": "subscribe"}, TextReqMsg),
        ({"MsgType": "event"}, EventReqMsg),
        ({"MsgType": "event", "Event": ""}, EventReqMsg),
        ({"MsgType": "event", "Event": "no_such_event"}, EventReqMsg),
        ({"MsgType": "event", "Event": ["subscribe", "unsubscribe"]}, events.SubscribeEvent),
        ({"MsgType": "event", "Event": {"subscribe": "1"}}, EventReqMsg),
        ({"MsgType": "class"}, ReqMsg),
    ],
)
def test_an_unknown_kind_is_a_general_message_and_never_an_error(fields, cls):
    req = read_msg({**WHO, **fields})
    assert type(req) is cls
    assert req.raw == {**WHO, **fields}
    assert (req.openid, req.create_time) == ("o_1", 1700000000)


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"InfoType": "notify_third_fasteregister", "info": {"name": "x"}}, "notify_third_fasteregister"),
        ({"InfoType": "no_such_notice"}, "no_such_notice"),
        ({"InfoType": ""}, ""),
    ],
)
def test_a_notice_without_a_message_type_is_a_general_event(fields, event):
    req = read_msg(fields)
    assert (type(req), req.event, req.openid, req.raw) == (EventReqMsg, event, "", fields)


@pytest.mark.parametrize(
    "name", ["class", "self", "__class__", "cls", "fields", "raw", "answerable", "openid", "extra"]
)
def test_an_element_with_a_name_of_pythons_is_left_alone(name):
    """Strangers cannot reach a constructor through the names of their elements."""
    req = text_msg(Content="hi", **{name: "evil"})
    assert (type(req), req.content, req.openid, req.answerable) == (TextReqMsg, "hi", "o_1", "yes")
    assert req.raw[name] == "evil"


@pytest.mark.parametrize("name", ["publishjobfinish", "FREEPUBLISHJOBFINISH"])
def test_an_event_that_wechats_pages_spell_in_two_ways_is_one(name):
    assert type(read_msg({**WHO, "MsgType": "event", "Event": name})) is events.PublishJobFinishEvent


def test_every_kind_in_the_table_is_spelled_in_lower_case_and_reachable():
    for msg_type, cls in KINDS.items():
        assert msg_type == msg_type.lower()
        assert type(read_msg({**WHO, "MsgType": msg_type})) is cls
    for event, cls in events.EVENTS.items():
        assert event == event.lower()
        assert type(read_msg({**WHO, "MsgType": "event", "Event": event})) is cls


# -- who writes to whom ----------------------------------------------------------------------------------------------

IDENTITY = ["MsgType", "FromUserName", "ToUserName"]
COMPLETE = {**WHO, "MsgType": "text", "Content": "hi"}


@pytest.mark.parametrize("element", IDENTITY)
@pytest.mark.parametrize("blank", ["", " ", "\n\t", None])
def test_a_push_without_sender_receiver_or_type_is_none(element, blank):
    """None stands for an absent element here. Nobody could be answered."""
    fields = {name: value for name, value in COMPLETE.items() if name != element}
    assert read_msg(fields if blank is None else {**fields, element: blank}) is None


def test_an_empty_push_is_none():
    assert read_msg({}) is None


@pytest.mark.parametrize("element", IDENTITY)
@pytest.mark.parametrize("value", [["a", "b"], [], {"b": "x"}, {"@a": "1", "#text": "o_1"}, [{"b": "x"}]])
def test_a_repeated_or_nested_identity_is_refused(element, value):
    """Two readers of such a packet could see two different users."""
    with pytest.raises(BadXml):
        read_msg({**COMPLETE, element: value})


def test_a_repeated_sender_is_refused_in_a_notice_too():
    with pytest.raises(BadXml):
        read_msg({"InfoType": "authorized", "FromUserName": ["a", "b"]})


def test_of_any_other_repeated_element_the_first_counts_and_raw_keeps_all():
    twice = b"<Content>a</Content><Content>b</Content><MsgId>1</MsgId><MsgId>2</MsgId>"
    who = b"<ToUserName>gh_1</ToUserName><FromUserName>o_1</FromUserName><MsgType>text</MsgType>"
    req = read_msg(xmlio.load(b"<xml>" + who + twice + b"</xml>"))
    assert (req.content, req.msg_id) == ("a", "1")
    assert (req.raw["Content"], req.raw["MsgId"]) == (["a", "b"], ["1", "2"])


def test_the_identity_is_read_without_the_white_space_around_it():
    req = read_msg({"ToUserName": "\n gh_1 ", "FromUserName": " o_1\n", "MsgType": " text "})
    assert (req.to_user_name, req.from_user_name, req.openid, req.msg_type) == ("gh_1", "o_1", "o_1", "text")


# -- how a message feels ---------------------------------------------------------------------------------------------


def describe(req):
    match req:
        case TextReqMsg(content=content, openid=openid):
            return f"{openid} says {content}"
        case ImageReqMsg(media_id=media_id) | VoiceReqMsg(media_id=media_id):
            return f"media {media_id}"
        case events.SubscribeEvent(scene=scene):
            return f"follows by {scene}"
        case EventReqMsg(event=event):
            return f"event {event}"
        case _:
            return f"something else: {req.msg_type}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"MsgType": "text", "Content": "hi"}, "o_1 says hi"),
        ({"MsgType": "image", "MediaId": "m"}, "media m"),
        ({"MsgType": "voice", "MediaId": "v"}, "media v"),
        ({"MsgType": "event", "Event": "subscribe", "EventKey": "qrscene_7"}, "follows by 7"),
        ({"MsgType": "event", "Event": "VIEW"}, "event VIEW"),
        ({"MsgType": "link"}, "something else: link"),
    ],
)
def test_messages_work_with_match(fields, said):
    assert describe(read_msg({**WHO, **fields})) == said


def test_a_message_cannot_be_changed_and_takes_no_further_attributes():
    req = text_msg(Content="hi")
    with pytest.raises(dataclasses.FrozenInstanceError):
        req.content = "ho"
    with pytest.raises((AttributeError, TypeError)):  # Python 3.10 and 3.11 raise the one or the other for slots
        req.colour = "red"
    assert not hasattr(req, "__dict__")


def test_messages_are_values():
    """Equal when all that came is equal; usable in sets, although `raw` is a dict."""
    assert text_msg(Content="hi") == text_msg(Content="hi") != text_msg(Content="ho")
    assert len({text_msg(Content="hi"), text_msg(Content="hi"), text_msg(Content="ho")}) == 2


def test_what_a_user_wrote_shows_in_repr_only_once():
    """`raw` would say everything twice."""
    assert repr(text_msg(Content="hello there")).count("hello there") == 1


def test_reading_leaves_the_fields_as_they_are():
    fields = {**WHO, "MsgType": "text", "Content": ["a", "b"]}
    read_msg(fields)
    assert fields == {**WHO, "MsgType": "text", "Content": ["a", "b"]}


def test_every_ordinary_message_may_be_answered():
    assert {cls.answerable for cls in KINDS.values()} == {"yes"}
    assert EventReqMsg.answerable == "?"


# -- a message that a user's own test makes ----------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"raw": {"Content": "hi"}}])
def test_it_needs_no_raw_and_can_have_a_session(more):
    req, session = TextReqMsg(content="hi", **more), object()
    assert req.raw == more.get("raw", {})
    with pytest.raises(RuntimeError, match="in handlers only"):
        print(req.session)
    bind_session(req, session)
    assert req.session is session
    assert req.raw == more.get("raw", {})
    assert dataclasses.replace(req, content="ho").session is session
    assert TextReqMsg().raw == {}


def test_every_public_class_has_a_docstring():
    classes = [value for name, value in vars(req_msg).items() if isinstance(value, type) and not name.startswith("_")]
    undocumented = [
        cls.__name__ for cls in classes if issubclass(cls, ReqMsg) and (cls.__doc__ or "(").startswith(cls.__name__)
    ]
    assert undocumented == []
