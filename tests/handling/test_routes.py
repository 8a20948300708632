"""Routes: the first one that matches, in the order of writing; one that never could is refused while it is written."""

import functools
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wx_mp_svr import ConfigError, WxMpServer
from wx_mp_svr.events import ClickEvent, LocationEvent, ScanEvent, SubscribeEvent
from wx_mp_svr.handling.registry import Hooks
from wx_mp_svr.handling.routes import Routes, place
from wx_mp_svr.req_msg import (
    ALIASES,
    EventReqMsg,
    FileReqMsg,
    ImageReqMsg,
    LinkReqMsg,
    LocationReqMsg,
    ReqMsg,
    ShortVideoReqMsg,
    TextReqMsg,
    VideoReqMsg,
    VoiceReqMsg,
)


def bot():
    """One route of each sort, and handlers for what is left."""
    hooks = Hooks()
    weather = re.compile(r"天气\s*(?P<city>\S+)?")
    for route, name in {
        hooks.text("帮助", "help", "?"): "help",
        hooks.text(weather, "阴晴"): "weather",
        hooks.text(re.compile("h")): "begins with h",
        hooks.image: "image",
        hooks.voice: "voice",
        hooks.video: "video",
        hooks.location: "location",
        hooks.link: "link",
        hooks.event("CLICK", key="V1001"): "first key",
        hooks.event("click", key="V1002"): "second key",
        hooks.event("Click"): "any key",
        hooks.event("brand_new"): "brand new",
        hooks.on_message: "on_message",
        hooks.on_subscribe: "on_subscribe",
        hooks.on_event: "on_event",
    }.items():

        def handler(req, city="nowhere"):
            return None

        handler.__qualname__ = name
        assert route(handler) is handler  # so that decorators can be stacked, and the function called
    return hooks


@pytest.mark.parametrize(
    ("req", "found", "groups"),
    [
        (TextReqMsg(content="帮助"), "help", {}),
        (TextReqMsg(content=" 帮助\n"), "help", {}),
        (TextReqMsg(content="?"), "help", {}),
        (TextReqMsg(content="help"), "help", {}),  # written before the pattern that matches, too
        (TextReqMsg(content="help me"), "begins with h", {}),
        (TextReqMsg(content="Help"), "help", {}),  # without regard to case
        (TextReqMsg(content=" ｈｅｌｐ "), "help", {}),  # and width
        (TextReqMsg(content="求帮助"), "on_message", {}),
        (TextReqMsg(content="天气 北京"), "weather", {"city": "北京"}),
        (TextReqMsg(content="  天气北京  "), "weather", {"city": "北京"}),
        (TextReqMsg(content="天气"), "weather", {"city": None}),
        (TextReqMsg(content="阴晴"), "weather", {}),
        (TextReqMsg(content="今天天气"), "on_message", {}),
        (TextReqMsg(content=""), "on_message", {}),
        (ImageReqMsg(), "image", {}),
        (VoiceReqMsg(), "voice", {}),
        (VideoReqMsg(), "video", {}),
        (ShortVideoReqMsg(), "video", {}),
        (LocationReqMsg(), "location", {}),
        (LinkReqMsg(), "link", {}),
        (FileReqMsg(), "on_message", {}),
        (ReqMsg(msg_type="new"), "on_message", {}),
        (ClickEvent(event="CLICK", event_key="V1001"), "first key", {}),
        (ClickEvent(event="click", event_key="V1002"), "second key", {}),
        (ClickEvent(event="CLICK", event_key="v1001"), "any key", {}),
        (ClickEvent(event="CLICK"), "any key", {}),
        (EventReqMsg(event="Brand_New"), "brand new", {}),
        (LocationEvent(event="LOCATION"), "on_event", {}),
        (ScanEvent(event="SCAN", event_key="V1001"), "on_event", {}),
        (SubscribeEvent(event="subscribe"), "on_subscribe", {}),
    ],
    ids=repr,
)
def test_the_first_route_that_matches_answers(req, found, groups):
    """Words as a whole, patterns from their beginning, both without the white space around; then everything else."""
    handler, given = bot()._handlers.find(req)
    assert (handler.__qualname__, given) == (found, groups)


def test_all_text_may_have_a_route():
    """Behind those for certain texts, with or without parentheses."""
    for route in (lambda hooks: hooks.text, lambda hooks: hooks.text()):
        hooks = Hooks()
        hooks.text("a")(lambda req: "a")
        route(hooks)(lambda req: "text")
        hooks.on_message(lambda req: "on_message")
        assert [
            hooks._handlers.find(req).handler(req)
            for req in (TextReqMsg(content="a"), TextReqMsg(content="b"), ImageReqMsg())
        ] == ["a", "text", "on_message"]


def test_a_route_for_subscribe_goes_before_on_subscribe():
    hooks = Hooks()
    hooks.on_subscribe(lambda event: "on_subscribe")
    hooks.event("subscribe", key="qrscene_shop")(lambda event: "shop")
    events = [SubscribeEvent(event="subscribe", event_key=key) for key in ("qrscene_shop", "")]
    assert [hooks._handlers.find(event).handler(event) for event in events] == ["shop", "on_subscribe"]


@given(
    st.lists(st.sampled_from(["a", "ab", "b", "ba", "abc", "c"]), unique=True, min_size=1),
    st.lists(st.sampled_from(["a", "b$", "ab?$", ".c", "(?i)AB"]), unique=True),
    st.randoms(use_true_random=False),
    st.sampled_from(["a", "ab", "b", "ba", "abc", "c", "bc", "AB", "x"]),
)
def test_whatever_was_accepted_is_found_in_the_order_of_writing(words, patterns, order, content):
    """The law behind the quick look-up: the same as to try all routes one after the other."""
    written = [*words, *map(re.compile, patterns)]
    order.shuffle(written)
    routes, accepted = Routes(), []
    for rule in written:

        def handler(req, rule=rule):
            return rule

        try:
            routes.text((rule,), handler)
        except ConfigError:
            assert any(tried == rule if isinstance(tried, str) else tried.match(rule) for tried in accepted)
        else:
            accepted.append(rule)
    slow = next(
        (r for r in accepted if (r.casefold() == content.casefold() if isinstance(r, str) else r.match(content))), None
    )
    found = routes.find(TextReqMsg(content=content))
    assert (found.handler(None) if found else None) == slow


# -- what is refused while it is written -----------------------------------------------------------------------------


def hear(req):
    return None


def hear_more(req, city):
    return None


async def hear_async(req, *, city="here"):
    return None


class Deaf:
    def method(self):
        return None


def line_of(function):
    return f"{function.__qualname__} ({__file__}:{function.__code__.co_firstlineno})"


WEATHER = re.compile("天气(?P<city>.+)")
KEYED = re.compile("查(?P<req>.+)")

WRONG = [  # (routes, the last of which is wrong; what the message says)
    (["text 帮助 帮助"], "'帮助' has a route already"),
    (["text 帮助", "text 帮助"], "'帮助' has a route already"),
    (["text 天", ("text", WEATHER, hear_more), "text 天气预报"], "'天气预报' has a route already"),
    (
        [("text", WEATHER, hear_more), ("text", WEATHER, hear_more)],
        "re.compile('天气(?P<city>.+)') has a route already",
    ),
    (["all", "text 帮助"], "'帮助' comes after a route for all text"),
    (["all", "all"], "text has a route already"),
    ([("text", "", hear)], "'' is empty or has white space around it"),
    ([("text", "帮助 ", hear)], "'帮助 ' is empty or has white space around it"),
    (["image", "image"], "image has a route already"),
    (["video", "video"], "video has a route already"),
    (["CLICK", "click"], "click has a route already"),
    (["CLICK k", "click k"], "click with the key 'k' has a route already"),
    (["CLICK", "CLICK k"], "CLICK with the key 'k' has a route already"),
    (["subscribe 5"], "subscribe never has the key '5': a scene comes as qrscene_5 from a new follower"),
    (["SCAN qrscene_5"], """others; write @server.scan("5")"""),
]


def write(hooks, rule):
    if isinstance(rule, tuple):
        return hooks.text(rule[1])(rule[2])
    name, *rest = rule.split(" ")
    if name == "text":
        return hooks.text(*rest)(hear)
    if name == "all":
        return hooks.text(hear)
    if name in ("CLICK", "click", "SCAN", "subscribe"):
        return hooks.event(name, key=rest[0] if rest else None)(hear)
    return getattr(hooks, name)(hear)


@pytest.mark.parametrize(("rules", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_route_that_can_never_match_is_refused_and_names_the_line(rules, message):
    hooks = Hooks()
    for rule in rules[:-1]:
        write(hooks, rule)
    with pytest.raises(ConfigError, match=r"this route can never match: .* / .*这个路由永远轮不到：") as error:
        write(hooks, rules[-1])
    assert message in str(error.value)
    handler = rules[-1][2] if isinstance(rules[-1], tuple) else hear
    assert str(error.value).startswith(line_of(handler))
    if "already" in message or "comes after" in message:
        taken = rules[-2:][0]
        assert f": {line_of(taken[2] if isinstance(taken, tuple) else hear)} / " in str(error.value)


@pytest.mark.parametrize("routes_first", [False, True])
def test_words_that_a_tap_sends_are_no_route(routes_first):
    """Whichever is known first: the routes, or how the words of links begin."""
    routes = Routes()
    with pytest.raises(ConfigError) as error:
        if not routes_first:
            routes.leave_taps("查看回复1".__eq__)
        routes.text(("帮助", "查看回复1"), hear)
        routes.leave_taps("查看回复1".__eq__)
    assert str(error.value) == (
        f"{line_of(hear)}: this route can never match: '查看回复1' is what a tap on a link sends (fetch_words) / "
        f"{line_of(hear)}：这个路由永远轮不到：「查看回复1」是点击链接时发出的文字（fetch_words）"
    )


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_event_of_two_names_is_heard_by_either(alias, name):
    for route in (alias, name.upper()):
        routes = Routes()
        routes.event(route, None, hear)
        for pushed in (alias, alias.upper(), name, name.upper()):
            assert routes.find(EventReqMsg(event=pushed)).handler is hear


@pytest.mark.parametrize(
    ("event", "key"),
    [("SCAN", "a\nb"), ("subscribe", "qrscene_a\nb"), ("subscribe", "last_trade_no_1\n"), ("SCAN", "")],
)
def test_a_scene_may_hold_any_text(event, key):
    assert Hooks().event(event, key=key)(hear) is hear


def test_what_has_no_line_is_named_alone():
    assert (place(print), place(hear)) == ("print", line_of(hear))


def test_routes_that_differ_may_stand_in_any_order():
    for rules in itertools.permutations(["CLICK k", "click K", "VIEW", "scan", "image", "voice"], 3):
        hooks = Hooks()
        for rule in rules:
            if rule in ("VIEW", "scan"):
                hooks.event(rule)(hear)
            else:
                write(hooks, rule)


@pytest.mark.parametrize(
    ("rule", "handler", "called"),
    [
        ("帮助", lambda: None, "(req)"),
        ("帮助", hear_more, "(req)"),
        ("帮助", Deaf().method, "(req)"),
        (WEATHER, hear, "(req, city=...)"),
        (WEATHER, lambda req, town: None, "(req, city=...)"),
        (KEYED, hear, "(req, req=...)"),
        (WEATHER, functools.partial(hear_more, None), "(req, city=...)"),
    ],
)
def test_a_handler_with_other_arguments_is_refused(rule, handler, called):
    with pytest.raises(ConfigError) as error:
        Hooks().text(rule)(handler)
    assert f"will be called with {called}" in str(error.value)
    assert "处理函数的参数不对" in str(error.value)
    if hasattr(handler, "__code__"):
        assert line_of(handler) in str(error.value)


@pytest.mark.parametrize(
    ("write", "called", "cure"),
    [
        (lambda hooks: hooks.image, "(req)", "def hear_nothing(req)"),
        (lambda hooks: hooks.text, "(req)", "def hear_nothing(req)"),
        (lambda hooks: hooks.text("帮助"), "(req)", "def hear_nothing(req)"),
        (lambda hooks: hooks.text(WEATHER), "(req, city=...)", "def hear_nothing(req, city)"),
        (lambda hooks: hooks.event("CLICK"), "(event)", "def hear_nothing(event)"),
        (lambda hooks: hooks.on_error, "(exc, req)", "def hear_nothing(exc, req)"),
        (lambda hooks: hooks.text(re.compile("(.)(.)")), "(req)", "把 (.+) 写成 (?P<city>.+)"),
    ],
)
def test_how_a_handler_is_called_and_what_to_write_stands_in_its_error(write, called, cure):
    def hear_nothing():
        return None

    with pytest.raises(ConfigError) as error:
        write(Hooks())(hear_nothing)
    assert f"but will be called with {called}: " in str(error.value)
    assert cure in str(error.value)
    if "?P" in cure:
        told = "too many positional arguments; only named groups are given, like (?P<city>.+) / "
        assert told in str(error.value)


@pytest.mark.parametrize(
    "handler", [hear_async, hear_more, lambda req, **groups: None, max, functools.partial(hear_more)]
)
def test_a_handler_that_takes_what_it_gets_is_accepted(handler):
    Hooks().text(WEATHER)(handler)


@pytest.mark.parametrize("name", ["on_message", "on_subscribe", "on_event", "on_error", "on_late_reply"])
def test_the_handlers_without_a_route_are_looked_at_too(name):
    """By argument, by decorator and by subclass."""
    account = {"token": "RoutesToken", "store": "memory:"}
    server = WxMpServer(**account)
    makers = (
        lambda: WxMpServer(**account, **{name: Deaf.method if name in ("on_error", "on_late_reply") else lambda: None}),
        lambda: getattr(server, name)(lambda a, b, c: None),
        lambda: type("Bot", (WxMpServer,), {name: lambda self, a, b, c: None})(**account),
    )
    for make in makers:
        with pytest.raises(
            ConfigError, match=f"{name}: .*{re.escape(__file__)}:[0-9]+.* is written with the arguments"
        ):
            make()


@pytest.mark.parametrize("word", [1, None, b"bytes", re.compile(b"bytes"), ["list"]])
def test_a_text_route_is_a_word_or_a_pattern(word):
    with pytest.raises(ConfigError, match=r"a text route is a str or re.compile\(...\)"):
        Hooks().text(word)(hear)


@pytest.mark.parametrize("make", [lambda hooks: hooks.event(hear), lambda hooks: hooks.event("CLICK", key=1)])
def test_an_event_route_names_its_event(make):
    with pytest.raises(ConfigError, match=r'@server.event\("CLICK", key="V1001"\)'):
        make(Hooks())


@pytest.mark.parametrize("given", ["text", 1, object()])
def test_what_cannot_be_called_is_no_handler(given):
    with pytest.raises(ConfigError, match=f"the route for image must be a function, not {type(given).__name__}"):
        Hooks().image(given)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("CLIKC", " that we know; did you mean 'click'?", "没听说过这个事件，是不是 'click'？"),
        ("masssendjobfinsh", " that we know; did you mean 'masssendjobfinish'?", "是不是 'masssendjobfinish'？"),
        ("zzz", " that we know", "没听说过这个事件"),
    ],
)
def test_an_event_that_wechat_does_not_have_is_a_warning(name, english, chinese, caplog):
    """No error: new ones come without asking."""
    Hooks().event(name)(hear)
    assert line_of(hear) in caplog.text
    said = caplog.messages[0].split(" / ")
    assert said[0].endswith(f"WeChat has no event {name!r}{english}")
    assert said[1].endswith(chinese)


# -- all the way -----------------------------------------------------------------------------------------------------


def test_routes_answer_pushes():
    """Words, groups, media, events; async and streaming handlers, too."""
    server = WxMpServer(token="RoutesToken", store="memory:")

    @server.text(WEATHER)
    async def weather(req, city):
        return f"{city}：晴"

    @server.text("背诗")
    def poem(req):
        yield "床前明月光，"
        yield "疑是地上霜。"

    @server.image
    @server.voice
    def media(req):
        return req.msg_type

    @server.event("CLICK", key="V1001")
    def menu(event):
        return "菜单"

    @server.event("subscribe")
    def welcome(event):
        return "欢迎"

    @server.on_message
    def rest(req):
        return "其他"

    wechat = server.test_client()
    assert wechat.send_text("天气北京").content == "北京：晴"
    assert wechat.send_text("背诗").content == "床前明月光，疑是地上霜。"
    assert [wechat.send_image("m").content, wechat.send_voice("m").content] == ["image", "voice"]
    assert [wechat.send_event("CLICK", {"EventKey": key}).content for key in ("V1001", "V1002")] == ["菜单", ""]
    assert wechat.subscribe().content == "欢迎"
    assert wechat.send_text("天").content == "其他"
