"""Which handler answers what, and what a handler may return."""

import functools
import logging
import re
from dataclasses import dataclass

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.errors import ConfigError, ReplyError
from wx_mp_svr.events import ClickEvent, ScanEvent, SubscribeEvent, UnsubscribeEvent, ViewEvent
from wx_mp_svr.handling.handlers import NAMES, Handlers, as_reply, kind_of
from wx_mp_svr.handling.routes import title
from wx_mp_svr.req_msg import EventReqMsg, ImageReqMsg, ReqMsg, TextReqMsg
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
)


def answer(req):
    return None


def other(req):
    return None


class Bot:
    def on_message(self, req):
        return None

    def __call__(self, req):
        return None


class Words(str):
    __slots__ = ()


ARTICLE = Article("title", "description", "pic", "url")

# -- what a handler may return ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "reply"),
    [
        (None, EmptyRspMsg()),
        ("", EmptyRspMsg()),
        (Words(""), EmptyRspMsg()),
        ("你好", TextRspMsg("你好")),
        (" ", TextRspMsg(" ")),  # `fit` knows what to do about it
        (Words("sub"), TextRspMsg("sub")),
        (ARTICLE, NewsRspMsg([ARTICLE])),
        ([ARTICLE], NewsRspMsg((ARTICLE,))),
        ((ARTICLE, ARTICLE), NewsRspMsg((ARTICLE, ARTICLE))),
        *(
            (reply, reply)
            for reply in (
                EmptyRspMsg(),
                TextRspMsg("a"),
                ImageRspMsg("m"),
                VoiceRspMsg("m"),
                VideoRspMsg("m"),
                MusicRspMsg("m"),
                NewsRspMsg([ARTICLE]),
                TransferCustomerServiceRspMsg(),
            )
        ),
    ],
    ids=repr,
)
def test_what_a_handler_may_return_becomes_a_reply(result, reply):
    """B81, B82: a reply object as it is, str is text, articles are news, nothing is silence."""
    made = as_reply(result, answer)
    assert type(made) is type(reply)
    if isinstance(made, NewsRspMsg):
        assert list(made.articles) == list(reply.articles)
    else:
        assert made == reply


class Rude:
    """Its comparison is not a bool, like that of an array."""

    def __eq__(self, other):
        return []

    __hash__ = None


@pytest.mark.parametrize(
    ("nonsense", "name"),
    [
        (0, "int"),
        (1, "int"),
        (False, "bool"),
        (True, "bool"),
        (1.5, "float"),
        (b"", "bytes"),
        (b"bytes", "bytes"),
        ([], "list"),
        ((), "tuple"),
        ({}, "dict"),
        ({"content": "a"}, "dict"),
        (["a", "b"], "list"),
        ([ARTICLE, "a"], "list"),
        ([None], "list"),
        ({ARTICLE}, "set"),
        (("text", 200), "tuple"),
        (object(), "object"),
        (Rude(), "Rude"),
        (TextRspMsg, "type"),
        (Article, "type"),
        (answer, "function"),
        (Ellipsis, "ellipsis"),
        (ValueError("a"), "ValueError"),
        (TextReqMsg(), "TextReqMsg"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_named_with_its_handler(nonsense, name):
    """B83: the author of the handler reads which function returned what, and what to return instead."""
    with pytest.raises(ReplyError) as error:
        as_reply(nonsense, answer)
    assert f"answer returned {name};" in str(error.value)
    for hint in ("TextRspMsg", "str", "Article", "None"):
        assert hint in str(error.value)


def test_the_error_holds_the_type_and_not_the_value():
    """What a handler returns may be a user's text."""
    with pytest.raises(ReplyError) as error:
        as_reply({"content": "private"}, answer)
    assert "private" not in str(error.value)


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (answer, "answer"),
        (Bot().on_message, "Bot.on_message"),
        (Bot(), "Bot"),
        (functools.partial(answer), "partial"),
        (len, "len"),
    ],
)
def test_every_callable_has_a_title(handler, name):
    """Functions and methods by their own name, other callables by their class."""
    assert title(handler) == name


# -- giving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("on_message", "(req)"),
        ("on_subscribe", "(event)"),
        ("on_event", "(event)"),
        ("on_error", "(exc, req)"),
        ("on_late_reply", "(req, reply)"),
    ],
)
def test_who_takes_nothing_is_told_what_it_will_be_called_with(name, called):
    with pytest.raises(ConfigError, match=re.escape(f"will be called with {called}")):
        Handlers().give(name, lambda: None)


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_given_twice_is_a_mistake(name):
    """Of two only one could answer. Both are named; the first stays."""
    answer, other = (lambda *args: None), (lambda *args: None)
    handlers = Handlers()
    handlers.give(name, answer)
    with pytest.raises(ConfigError, match=f"{name} is given twice") as error:
        handlers.give(name, other)
    assert str(error.value).count(f"{__file__}:{answer.__code__.co_firstlineno}") == 4  # in both languages
    with pytest.raises(ConfigError):
        handlers.give(name, answer)


@pytest.mark.parametrize("given", ["text", 1, object(), ["answer"]])
def test_what_cannot_be_called_is_no_handler(given):
    """Noticed at start; the message names the type."""
    with pytest.raises(ConfigError) as error:
        Handlers().give("on_message", given)
    assert "on_message" in str(error.value)
    assert type(given).__name__ in str(error.value)


def test_on_error_is_what_was_given():
    """None until then."""
    handlers = Handlers()
    assert handlers.get("on_error") is None
    handlers.give("on_error", print)
    assert handlers.get("on_error") is print


# -- finding ---------------------------------------------------------------------------------------------------------

ALL = ("on_message", "on_subscribe", "on_event")


@pytest.mark.parametrize(
    ("given", "req", "found"),
    [
        (ALL, TextReqMsg(), "on_message"),
        (ALL, ImageReqMsg(), "on_message"),
        (ALL, ReqMsg(msg_type="new_kind"), "on_message"),
        (ALL, SubscribeEvent(event="subscribe"), "on_subscribe"),
        (ALL, UnsubscribeEvent(), "on_event"),
        (ALL, ClickEvent(), "on_event"),
        (ALL, ScanEvent(), "on_event"),
        (ALL, EventReqMsg(event="new_event"), "on_event"),
        (("on_message", "on_event"), SubscribeEvent(event="subscribe"), "on_event"),
        (("on_message",), SubscribeEvent(event="subscribe"), None),
        (("on_message",), ClickEvent(), None),
        (("on_subscribe", "on_event"), TextReqMsg(), None),
        (("on_subscribe",), ClickEvent(), None),
        ((), TextReqMsg(), None),
        (("on_error",), TextReqMsg(), None),
    ],
)
def test_each_kind_has_its_handler(given, req, found):
    """Messages, new followers, all other events; None where nobody wants it."""
    handlers, functions = Handlers(), {}
    for name in given:
        functions[name] = lambda *args: None
        handlers.give(name, functions[name])
    assert handlers.find(req) == (None if found is None else (functions[found], {}))


def test_an_event_that_nobody_handles_shows_once_how_to_hear_it(caplog):
    """A handler ready to paste, once per kind; it compiles."""
    caplog.set_level(logging.INFO, "wx_mp_svr")
    handlers = Handlers()
    handlers.give("on_message", answer)
    for _ in range(3):
        handlers.find(ClickEvent(event="CLICK"))
    assert len(caplog.messages) == 1
    message = caplog.messages[0]
    for line in ("the event 'CLICK', acknowledged", "@server.event('CLICK')", "def on_click(req):"):
        assert line in message
    compile("\n".join(line[4:] for line in message.splitlines() if line.startswith("    ")), "hint", "exec")
    handlers.find(ViewEvent(event="VIEW"))
    assert len(caplog.messages) == 2


def test_a_message_that_nobody_handles_shows_once_how_to_hear_it(caplog):
    """A misspelt `on_mesage` in a subclass would be silent."""
    caplog.set_level(logging.INFO, "wx_mp_svr")
    handlers = Handlers()
    for _ in range(3):
        handlers.find(TextReqMsg(content="hi"))
    assert len(caplog.messages) == 1
    assert "no handler for TextReqMsg" in caplog.text and "@server.on_message" in caplog.text


def test_the_hint_is_silent_where_somebody_listens(caplog):
    """And for new followers, to whom not every account has something to say."""
    caplog.set_level(logging.INFO, "wx_mp_svr")
    Handlers().find(SubscribeEvent(event="subscribe"))
    heard = Handlers()
    heard.give("on_event", answer)
    heard.give("on_message", answer)
    heard.find(TextReqMsg())
    heard.find(ClickEvent(event="CLICK"))
    assert not caplog.messages


@pytest.mark.parametrize("event", ["a\nWARNING forged line", "\x1b[31mred", "x" * 10_000, "\r\n\r\n"])
def test_a_strangers_event_name_cannot_forge_a_log_line(event, caplog):
    """B122: escaped, and not of any length."""
    caplog.set_level(logging.INFO, "wx_mp_svr")
    Handlers().find(EventReqMsg(event=event))
    first = caplog.messages[0].split("\n")[0]
    assert "acknowledged" in first
    assert len(re.search(r"def (\w+)\(req\)", caplog.messages[0])[1]) <= 40
    assert "\x1b" not in caplog.text
    assert "\nWARNING forged" not in caplog.text
    assert len(caplog.messages[0]) < 500


@pytest.mark.parametrize(
    ("req", "kind"),
    [
        (TextReqMsg(msg_type="text"), "文本"),
        (ReqMsg(msg_type="image"), "图片"),
        (ReqMsg(msg_type="voice"), "语音"),
        (ReqMsg(msg_type="video"), "视频"),
        (ReqMsg(msg_type="shortvideo"), "小视频"),
        (ReqMsg(msg_type="location"), "位置"),
        (ReqMsg(msg_type="link"), "链接"),
        (ReqMsg(msg_type="file"), "文件"),
        (ReqMsg(msg_type="miniprogrampage"), "小程序"),
        (ReqMsg(msg_type="new kind\n" + "x" * 100), "new?kind?" + "x" * 31),
        (ClickEvent(event="CLICK"), "事件 CLICK"),
        (EventReqMsg(event="a b\x1b" + "x" * 100), "事件 a?b?" + "x" * 36),
    ],
)
def test_a_kind_has_a_name_in_which_nothing_else_of_a_stranger_is(req, kind):
    """It stands in a line of the log."""
    assert kind_of(req) == kind


def test_the_general_reply_is_silence():
    """An RspMsg of no kind has nothing to say."""
    assert as_reply(RspMsg(), answer) == RspMsg()


# -- all the way -----------------------------------------------------------------------------------------------------


def ran(req, self, run, handler):
    return f"{self}/{run}/{handler}"


async def ran_async(req, self, run, handler):
    return f"{self}/{run}/{handler}"


@pytest.mark.parametrize("handler", [ran, ran_async])
def test_a_group_may_be_named_like_an_argument_of_ours(handler):
    """What calls handlers has arguments of its own; and a thread that such a call ended would be missing for ever."""
    server = WxMpServer(token="HandlersToken", store="memory:", on_message=lambda req: "其他")
    server.text(re.compile(r"(?P<self>.)跑(?P<run>\d+)公里(?P<handler>.*)"))(handler)
    wechat = server.test_client(time_scale=0.1, max_jobs=1)
    replies = [wechat.send_text(text).content for text in ("我跑5公里", "他跑6公里吗", "跑")]
    assert replies == ["我/5/", "他/6/吗", "其他"]


@dataclass
class Echo:
    """Compared by value, hence without a hash."""

    prefix: str

    def __call__(self, req):
        return f"{self.prefix}{req.content}"


@dataclass
class AsyncEcho(Echo):
    async def __call__(self, req):
        return f"{self.prefix}{req.content}"


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_a_handler_need_not_be_hashable(kind):
    """Whatever can be called is one. The second message takes another way: by then it is known to be quick."""
    wechat = WxMpServer(token="HandlersToken", store="memory:", on_message=kind("回")).test_client(time_scale=0.1)
    assert [wechat.send_text(text).content for text in ("一", "二")] == ["回一", "回二"]
