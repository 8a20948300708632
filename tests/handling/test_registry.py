"""What a user writes: handlers by overriding or decorating, routes by decorating; which of them a message finds."""

import re

import pytest

from wx_mp_svr.errors import ConfigError
from wx_mp_svr.events import ClickEvent, ScanEvent, SubscribeEvent
from wx_mp_svr.handling.registry import Hooks
from wx_mp_svr.req_msg import (
    ImageReqMsg,
    LinkReqMsg,
    LocationReqMsg,
    ShortVideoReqMsg,
    TextReqMsg,
    VideoReqMsg,
    VoiceReqMsg,
)


def handler(req, **groups):
    return "x"


def found(hooks, req):
    return (hooks._handlers.find(req) or (None, {}))[0]


ROUTES = [
    # how it is written, what it hears, what it does not hear
    (lambda hooks: hooks.text, [TextReqMsg(content="hi")], [ImageReqMsg()]),
    (lambda hooks: hooks.text(), [TextReqMsg(content="hi")], [ImageReqMsg()]),
    (lambda hooks: hooks.text("帮助", "?"), [TextReqMsg(content=text) for text in "帮助 ？".split()], [TextReqMsg()]),
    (lambda hooks: hooks.text(re.compile("天气.")), [TextReqMsg(content="天气好")], [TextReqMsg(content="天气")]),
    (lambda hooks: hooks.image, [ImageReqMsg()], [TextReqMsg()]),
    (lambda hooks: hooks.image(), [ImageReqMsg()], [TextReqMsg()]),
    (lambda hooks: hooks.voice, [VoiceReqMsg()], [VideoReqMsg()]),
    (lambda hooks: hooks.voice(), [VoiceReqMsg()], [VideoReqMsg()]),
    (lambda hooks: hooks.video, [VideoReqMsg(), ShortVideoReqMsg()], [VoiceReqMsg()]),
    (lambda hooks: hooks.video(), [VideoReqMsg(), ShortVideoReqMsg()], [VoiceReqMsg()]),
    (lambda hooks: hooks.location, [LocationReqMsg()], [LinkReqMsg()]),
    (lambda hooks: hooks.location(), [LocationReqMsg()], [LinkReqMsg()]),
    (lambda hooks: hooks.link, [LinkReqMsg()], [LocationReqMsg()]),
    (lambda hooks: hooks.link(), [LinkReqMsg()], [LocationReqMsg()]),
    (lambda hooks: hooks.event("click"), [ClickEvent(event="CLICK", event_key="a")], [ScanEvent(event="SCAN")]),
    (
        lambda hooks: hooks.event("CLICK", key="a"),
        [ClickEvent(event="CLICK", event_key="a")],
        [ClickEvent(event="CLICK", event_key="b")],
    ),
    (
        lambda hooks: hooks.scan("5"),
        [ScanEvent(event="SCAN", event_key="5"), SubscribeEvent(event="subscribe", event_key="qrscene_5")],
        [ScanEvent(event="SCAN", event_key="6"), SubscribeEvent(event="subscribe", event_key="qrscene_6")],
    ),
    (
        lambda hooks: hooks.scan(5),
        [ScanEvent(event="SCAN", event_key="5"), SubscribeEvent(event="subscribe", event_key="qrscene_5")],
        [SubscribeEvent(event="subscribe")],
    ),
    (lambda hooks: hooks.on_message, [TextReqMsg(), ImageReqMsg()], [ClickEvent(event="CLICK")]),
    (lambda hooks: hooks.on_message(), [TextReqMsg(), ImageReqMsg()], [ClickEvent(event="CLICK")]),
    (lambda hooks: hooks.on_event, [ClickEvent(event="CLICK"), SubscribeEvent(event="subscribe")], [TextReqMsg()]),
    (lambda hooks: hooks.on_subscribe(), [SubscribeEvent(event="subscribe")], [ClickEvent(event="CLICK")]),
]


@pytest.mark.parametrize(("write", "heard", "unheard"), ROUTES, ids=range(len(ROUTES)))
def test_a_decorated_function_hears_what_it_is_written_for_and_stays_what_it_was(write, heard, unheard):
    hooks = Hooks()
    assert write(hooks)(handler) is handler
    assert [found(hooks, req) for req in heard] == [handler] * len(heard)
    assert [found(hooks, req) for req in unheard] == [None] * len(unheard)


@pytest.mark.parametrize("name", ["on_error", "on_late_reply"])
@pytest.mark.parametrize("parentheses", [False, True])
def test_the_hooks_that_hear_of_other_things_are_decorators_too(name, parentheses):
    def hook(first, second):
        return "x"

    hooks = Hooks()
    decorate = getattr(hooks, name)
    assert (decorate() if parentheses else decorate)(hook) is hook
    assert hooks._handlers.get(name) is hook


class Bot(Hooks):
    def on_message(self, req):
        return f"{req.content}！"

    def on_error(self, exc, req):
        return f"{exc} {req.content}"


def test_an_overridden_method_is_the_handler_and_may_still_be_called():
    bot = Bot()
    assert found(bot, TextReqMsg())(TextReqMsg(content="a")) == "a！"
    assert bot.on_message(TextReqMsg(content="b")) == "b！"
    assert bot.on_error(ValueError("c"), TextReqMsg(content="d")) == "c d"
    assert found(bot, ClickEvent(event="CLICK")) is None


@pytest.mark.parametrize("decorate", [lambda bot: bot.on_message, lambda bot: bot.on_message()])
def test_a_method_and_a_decorated_function_for_the_same_are_one_too_many(decorate):
    with pytest.raises(ConfigError, match="on_message is given twice"):
        decorate(Bot())(handler)


@pytest.mark.parametrize("name", ["on_message", "on_subscribe", "on_event"])
def test_what_is_not_overridden_acknowledges_when_it_is_called(name):
    """`super().on_message(req)` in a subclass."""
    assert getattr(Hooks(), name)(TextReqMsg()) is None


def test_the_hooks_that_are_not_overridden_may_be_called_with_all_they_get():
    assert Hooks().on_error(ValueError(), TextReqMsg()) is None
    assert Hooks().on_late_reply(TextReqMsg(), None) is None


@pytest.mark.parametrize("scene", [True, "", None, 1.5, re.compile("x")])
def test_a_scene_is_a_number_or_a_text(scene):
    with pytest.raises(ConfigError, match="a scene is a number or a text"):
        Hooks().scan(scene)


@pytest.mark.parametrize(("name", "key"), [(5, None), ("CLICK", 5)])
def test_an_event_and_its_key_are_texts(name, key):
    with pytest.raises(ConfigError, match="an event route is written like"):
        Hooks().event(name, key=key)
