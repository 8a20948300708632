"""What the author of a bot gets to read when something is written wrongly: input and message, all in one place.

Each message names the thing, says what is wrong and what to do; where a newcomer must act, in Chinese, too. None holds a
secret.
"""

import asyncio
import re
import sys
from operator import attrgetter

import pytest
from flask import Flask

from wx_mp_svr import (
    Article,
    ConfigError,
    ImageRspMsg,
    MusicRspMsg,
    NewsRspMsg,
    TextReqMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceRspMsg,
    WxMpServer,
)
from wx_mp_svr.testing import FakeWeChat

TOKEN, APPID, KEY = "ErrorTexts1", "wx0123456789abcdef", "k" * 43
PLAIN = {"token": TOKEN, "store": "memory:"}
SAFE = {**PLAIN, "appid": APPID, "aes_key": KEY}
RANGE = "must be a whole number from {0} to {1} / 必须是 {0} 到 {1} 之间的整数".format
FULL_WIDTH = "holds full-width or Chinese characters; type it in half-width letters / 含有全角或中文字符：请改用半角"
BLANKS = "has blanks around it; remove them / 前后有空格或换行：请去掉"
QUOTES = "has quotation marks around it; remove them / 前后有引号：请去掉"
LENGTH = (
    "has {0} characters, or some that are not Base64; an EncodingAESKey has exactly 43 (A-Z a-z 0-9) / "
    "长度 {0} 或字符不对：EncodingAESKey 是 43 位字母或数字"
).format
HANG_UP = (
    "must come after WeChat's 5 seconds, hold and held_after before them (0 < held_after < hold < 5 < hang_up < 6) / "
    "必须晚于微信的 5 秒，hold 和 held_after 则必须早于 5 秒（0 < held_after < hold < 5 < hang_up < 6）"
)
EMPTY = "is set but empty; fill it in or remove it / 设置了但为空：请填写，或删除该变量"
PATH = "must begin with / and hold printable ASCII without ? # < > / 必须以 / 开头，由可打印的 ASCII 字符组成，不含 ? # < >"
ABOVE_0 = "must be a number above 0 / 必须是大于 0 的数字"
FETCH_WORDS = "must not be empty: a tap sends it / 不能为空：点击链接时用户会发出它"
STORE = (
    "must be memory:, sqlite:PATH or redis://HOST:PORT/DATABASE / 应为 memory:、sqlite:路径 或 redis://主机:端口/库号"
)

SETTINGS = [
    ({**PLAIN, "token": ""}, "TOKEN is missing; wx-mp-svr keygen makes one, the same is entered in the account's server "
     "settings / 缺少 Token：用 wx-mp-svr keygen 生成，与公众平台「服务器配置」里的令牌(Token)一致"),
    ({**PLAIN, "token": "ab"}, "TOKEN must be 3 to 32 letters and digits / 必须是 3-32 位字母或数字"),
    ({**PLAIN, "token": "a b c"}, "TOKEN must be 3 to 32 letters and digits / 必须是 3-32 位字母或数字"),
    ({**PLAIN, "token": f" {TOKEN}"}, f"TOKEN {BLANKS}"),
    ({**PLAIN, "token": f"'{TOKEN}'"}, f"TOKEN {QUOTES}"),
    ({**PLAIN, "token": f"“{TOKEN}”"}, f"TOKEN {QUOTES}"),
    ({**PLAIN, "token": "ａｂｃ"}, f"TOKEN {FULL_WIDTH}"),
    ({**PLAIN, "aes_key": KEY}, "APPID is missing; it is needed with an EncodingAESKey (the settings page shows it as "
     "AppID) / 缺少 AppID：使用 EncodingAESKey 时必填，见公众平台「设置与开发 → 基本配置」的开发者ID(AppID)"),
    ({**SAFE, "appid": "gh_0123456789ab"}, "APPID is the account's original ID (gh_...); the AppID begins with wx "
     "/ 这是原始ID（gh_ 开头），AppID 以 wx 开头"),
    ({**SAFE, "appid": "0" * 32}, "APPID looks like the AppSecret; the AppID begins with wx "
     "/ 这像是 AppSecret，AppID 以 wx 开头；AppSecret 请勿外泄"),
    ({**SAFE, "appid": "wx 1"}, "APPID holds characters that no AppID has / 含有 AppID 不会有的字符"),
    ({**SAFE, "aes_key": KEY[1:]}, f"AES_KEY {LENGTH(42)}"),
    ({**SAFE, "aes_key": KEY + "="}, "AES_KEY has 44 characters; leave out the = at its end / "
     "有 44 个字符：请去掉末尾的 ="),
    ({**SAFE, "aes_key": KEY + "\n"}, f"AES_KEY {BLANKS}"),
    ({**SAFE, "aes_key": KEY[1:] + "。"}, f"AES_KEY {FULL_WIDTH}"),
    ({**SAFE, "aes_key_old": "k"}, f"AES_KEY_OLD {LENGTH(1)}"),
    ({**PLAIN, "aes_key_old": KEY}, "AES_KEY_OLD is set, but AES_KEY is missing: the old key only helps out a new one "
     "/ 设置了旧密钥，却缺少 AES_KEY"),
    ({**PLAIN, "mode": "secure"}, "MODE must be plain, compatible or safe "
     "/ 必须是 plain（明文）、compatible（兼容）或 safe（安全）"),
    ({**PLAIN, "mode": "safe"}, "MODE is safe, but AES_KEY is missing / 是 safe，但缺少 AES_KEY（EncodingAESKey）"),
    ({**SAFE, "mode": "plain"}, "MODE is plain, but an AES key is set; remove one of the two "
     "/ 是 plain（明文），却设置了 AES_KEY：请去掉其中一个"),
    ({**PLAIN, "path": "wx"}, f"PATH {PATH}"),
    ({**PLAIN, "path": ""}, f"PATH {PATH}"),
    ({**PLAIN, "path": "/wx?a=1"}, f"PATH {PATH}"),
    ({**PLAIN, "path": "/微信"}, f"PATH {PATH}"),
    ({**PLAIN, "path": "/<name>"}, f"PATH {PATH}"),
    ({**PLAIN, "store": "mysql://x"}, f"STORE {STORE}"),
    ({**PLAIN, "store": "redis:6379"}, f"STORE {STORE}"),
    ({**PLAIN, "port": "x"}, "PORT must be a whole number / 必须是整数"),
    ({**PLAIN, "port": 70_000}, f"PORT {RANGE(0, 65535)}"),
    ({**PLAIN, "window": -1}, f"WINDOW {RANGE(0, 86400)}"),
    ({**PLAIN, "max_body": 1}, f"MAX_BODY {RANGE(1024, 16777216)}"),
    ({**PLAIN, "tries": 9}, f"TRIES {RANGE(1, 4)}"),
    ({**PLAIN, "hold": 6}, f"HANG_UP {HANG_UP}"),
    ({**PLAIN, "hang_up": 4}, f"HANG_UP {HANG_UP}"),
    ({**PLAIN, "held_after": 9}, f"HANG_UP {HANG_UP}"),
    ({**PLAIN, "store": 5}, "STORE must be a URL, or an object with get, get_many, set, add, incr, delete / "
     "应为地址字符串，或带有 get, get_many, set, add, incr, delete 的对象"),
    ({**PLAIN, "max_held": 0}, f"MAX_HELD {RANGE(1, 100000)}"),
    ({**PLAIN, "max_jobs": 0}, f"MAX_JOBS {RANGE(1, 100000)}"),
    ({**PLAIN, "max_queued": 0}, f"MAX_QUEUED {RANGE(1, 100000)}"),
    ({**PLAIN, "breaker": -1}, f"BREAKER {RANGE(0, 1000000)}"),
    ({**PLAIN, "grace": -1}, f"GRACE {ABOVE_0}"),
    ({**PLAIN, "grace": 1e9}, f"GRACE {ABOVE_0}"),
    ({**PLAIN, "session_wait": "soon"}, "SESSION_WAIT must be a number / 必须是数字"),
    ({**PLAIN, "rerun_lost": "maybe"}, "RERUN_LOST must be 1 or 0 / 必须是 1 或 0"),
    ({**PLAIN, "error_text": 5}, "ERROR_TEXT must be text, in quotation marks / 必须是文本（加引号的字符串）"),
    ({**PLAIN, "fetch_words": ""}, f"FETCH_WORDS {FETCH_WORDS}"),
    ({**PLAIN, "fetch_words": " \u3000"}, f"FETCH_WORDS {FETCH_WORDS}"),
]  # fmt: skip


def without_values(settings):
    return " ".join(f"{name}={value!r}" for name, value in settings.items() if PLAIN.get(name) != value)


def only_one(error):
    """Return what is said of the only wrong setting, in both languages."""
    head, english, chinese = str(error).split("\n")
    assert head == "wx-mp-svr has 1 wrong setting(s) / 设置有 1 处错误:"
    return f"{english.strip()} / {chinese.strip()}"


@pytest.mark.parametrize(("settings", "message"), SETTINGS, ids=[without_values(settings) for settings, _ in SETTINGS])
def test_a_wrong_setting(settings, message):
    """One setting, one message, by argument and by environment name."""
    with pytest.raises(ConfigError) as error:
        WxMpServer(**settings, env_prefix="WX2_")
    assert only_one(error.value) == f"WX2_{message}"
    for secret in (settings["token"], settings.get("aes_key", ""), settings.get("aes_key_old", "")):
        assert len(secret) < 3 or secret not in str(error.value)


ENVIRONMENT = [
    ("TOKEN", "", f"TOKEN {EMPTY}"),
    ("APPID", "", f"APPID {EMPTY}"),
    ("AES_KEY", "", f"AES_KEY {EMPTY}"),
    ("AES_KEY_OLD", "", f"AES_KEY_OLD {EMPTY}"),
    ("MODE", "", f"MODE {EMPTY}"),
    ("PATH", "", f"PATH {EMPTY}"),
    ("STORE", "", f"STORE {EMPTY}"),
    ("HOST", "", f"HOST {EMPTY}"),
    ("PORT", "", f"PORT {EMPTY}"),
    ("HOLD", "", f"HOLD {EMPTY}"),
    ("RERUN_LOST", "", f"RERUN_LOST {EMPTY}"),
    ("FETCH_WORDS", "", f"FETCH_WORDS {EMPTY}"),
    ("READY_TEXT", "", f"READY_TEXT {EMPTY}"),
    ("TOKEN", " ", f"TOKEN {BLANKS}"),
    ("STORE", " ", f"STORE {STORE}"),
    ("PORT", " ", "PORT must be a whole number / 必须是整数"),
    ("PORT", "5001 # ours", "PORT must be a whole number / 必须是整数"),
    ("HOLD", "4.3s", "HOLD must be a number / 必须是数字"),
    ("RERUN_LOST", "2", "RERUN_LOST must be 1 or 0 / 必须是 1 或 0"),
    ("FETCH_WORDS", " ", f"FETCH_WORDS {FETCH_WORDS}"),
]


@pytest.mark.parametrize(("name", "value", "message"), ENVIRONMENT, ids=[f"{row[0]}={row[1]!r}" for row in ENVIRONMENT])
def test_a_wrong_setting_in_the_environment(name, value, message, monkeypatch):
    """Set but empty is most often a line that was left over, or a secret that did not arrive."""
    for each, given in {**{each.upper(): given for each, given in PLAIN.items()}, name: value}.items():
        monkeypatch.setenv(f"WX2_{each}", given)
    with pytest.raises(ConfigError) as error:
        WxMpServer(env_prefix="WX2_")
    assert only_one(error.value) == f"WX2_{message}"


def test_all_wrong_settings_at_once():
    with pytest.raises(ConfigError) as error:
        WxMpServer(token="", port="x", mode="safe")
    assert re.findall(r"  (WX_MP_\w+) ", str(error.value)) == ["WX_MP_PORT", "WX_MP_TOKEN", "WX_MP_MODE"]


def handler(req):
    return None


def build(**settings):
    return WxMpServer(**{**PLAIN, **settings})


def mounted_twice():
    server = WxMpServer(app=None, **PLAIN)
    server.init_app(Flask("one"))
    server.init_app(Flask("two"))


def path_taken():
    app = Flask("host")
    app.add_url_rule("/wx_mp_cb", "page", handler)
    WxMpServer(app=app, **PLAIN)


def twice():
    build(on_message=handler).on_message(handler)


def without_redis_py():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "redis", None)
        patch.delitem(sys.modules, "wx_mp_svr.store.redis", raising=False)
        build(store="redis://127.0.0.1:6379/0")


HERE = re.escape(__file__)
OPENED = (
    "the store must be memory:, sqlite:PATH, or like redis://127.0.0.1:6379/0 or redis://:PASSWORD@HOST:6379/0 with "
    "special characters percent-encoded / 应为 memory:、sqlite:路径，或 redis://主机:端口/库号，密码中的特殊字符须百分号编码"
)
NO_APP = r"this server has no app yet; call init_app\(app\) first / 还没有应用：先调用 init_app\(app\)"
EVENT = (
    r'an event route is written like @server.event\("CLICK", key="V1001"\) / '
    r'事件路由写成 @server.event\("CLICK", key="V1001"\)'
)
PROGRAMS = [
    (lambda: build(tokn="x"), r"there is no setting tokn; did you mean token\? / 没有 tokn 这个设置，是不是 token？"),
    (lambda: build(zzz="x"), "there is no setting zzz; the README's table 全部设置 has them all / "
     "没有 zzz 这个设置，见 README 的「全部设置」"),
    (lambda: build(store="redis://:s3cret@host:x/0"), OPENED),
    (lambda: build(store="redis://:s3cret/a@host:6379/0"), OPENED),
    (lambda: build(store="redis://127.0.0.1:6379/0?nonsense=1"), OPENED),
    (lambda: build(store="memory:x"), OPENED),
    (lambda: build(store="sqlite:/"), OPENED),
    (without_redis_py, r"the store is on Redis, but redis-py is missing: pip install redis / "
     "缺少 redis 库：pip install redis"),
    (lambda: build(runner=print), "a runner needs a store that its workers share: WX_MP_STORE=sqlite:PATH or redis://... "
     "/ 使用任务队列时，WX_MP_STORE 须为 sqlite: 或 redis://"),
    (lambda: build(token="xxx").run(host="0.0.0.0"), "the demo's Token, AES key or AppID are known to everybody, and "
     "0.0.0.0 can be reached by others; set your own, or listen on 127.0.0.1 / "
     "演示账号的 .*只能监听 127.0.0.1：请换成自己的"),
    (lambda: build().run(host="0.0.0.0", debug=True), "debug=True is for your own machine, and 0.0.0.0 can be reached by "
     "others / debug=True 只能用在本机：0.0.0.0 是别人也能访问的地址"),
    (lambda: WxMpServer(app=None).run(), NO_APP),
    (lambda: WxMpServer(app=None).stats(), NO_APP),
    (lambda: WxMpServer(app=None).test_client(), NO_APP),
    (lambda: WxMpServer(app=None).run_job({}), NO_APP),
    (mounted_twice, "this server is mounted already; make one WxMpServer for each app and account / "
     "这个 WxMpServer 已经挂好了：每个应用、每个公众号各用一个"),
    (path_taken, "WX_MP_PATH: /wx_mp_cb is taken by 'page' of this app; choose another path for one of the two / "
     "这个路径已被占用，请换一个"),
    (twice, rf"on_message is given twice, keep one: (handler \({HERE}:\d+\)), \1 / on_message 写了两次，只留一个：\1, \1"),
    (lambda: build(on_message="text"), "on_message must be a function, not str / on_message：要的是函数，不是 str.*"),
    (lambda: build(on_message=lambda: None), rf"on_message: <lambda>.<locals>.<lambda> \({HERE}:\d+\) is "
     r"written with the arguments \(\), "
     r"but will be called with \(req\): too many positional arguments / .*处理函数的参数不对，应写成 def <lambda>\(req\)"),
    (lambda: build(on_error=handler), rf"on_error: handler \({HERE}:\d+\) is written with the arguments \(req\), "
     r"but will be called with \(exc, req\): too many positional arguments / .*"
     r"处理函数的参数不对，应写成 def handler\(exc, req\)"),
    (lambda: build().text(re.compile("天气(?P<city>.+)"))(handler), r"the route for re.compile\('天气\(\?P<city>.+\)'\): "
     rf"handler \({HERE}:\d+\) is written with the arguments \(req\), but will be called with \(req, city=...\): "
     r"got an unexpected keyword argument 'city' / .*处理函数的参数不对，应写成 def handler\(req, city\)"),
    (lambda: build().text(re.compile("天气(.+)"))(earlier_positional), r".*missing a required argument: 'city'; "
     r"only named groups are given, like \(\?P<city>.\+\) / .*只有命名的组会传给函数：把 \(.\+\) 写成 \(\?P<city>.\+\)"),
    (lambda: build().text(5)(handler), rf"handler \({HERE}:\d+\): a text route is a str or re.compile\(...\), "
     "not 5 / .*不能是 5"),
    (lambda: build().text(re.compile(b"a"))(handler), rf"handler \({HERE}:\d+\): a text route is a str or "
     r"re.compile\(...\), not re.compile\(b'a'\) / .*不能是 re.compile\(b'a'\)"),
    (lambda: build().image("帮助"), "the route for image must be a function, not str / "
     "the route for image：要的是函数，不是 str.*"),
    (lambda: build().event(handler), EVENT),
    (lambda: build().event("CLICK", key=1), EVENT),
    (lambda: FakeWeChat("http://127.0.0.1/wx_mp_cb", token=TOKEN, appid=APPID, aes_key=KEY[1:]),
     "an EncodingAESKey has exactly 43 characters from A-Z a-z 0-9 / EncodingAESKey 是 43 位字母或数字"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "message"), PROGRAMS, ids=[message[:40] for _, message in PROGRAMS])
def test_a_wrong_program(program, message, monkeypatch):
    """Said at start."""
    for name, value in PLAIN.items():
        monkeypatch.setenv(f"WX_MP_{name.upper()}", value)
    with pytest.raises(ConfigError) as error:
        program()
    assert re.fullmatch(message, str(error.value), re.DOTALL), str(error.value)
    assert "s3cret" not in str(error.value)


def earlier_positional(req, city):
    return None


def earlier(req, city=None):
    return None


def at(function):
    return f"{function.__qualname__} ({__file__}:{function.__code__.co_firstlineno})"


HAS_ONE = f"has a route already: {at(earlier)}"
AFTER_ALL = f"comes after a route for all text: {at(earlier)}"
BLANK = "is empty or has white space around it, which is taken off a message"

# The routes that were written before, the one that can never match, and why.
NEVER = [
    ([], lambda server: server.text(""), f"'' {BLANK}"),
    ([], lambda server: server.text(" \u3000"), f"' \\u3000' {BLANK}"),
    ([], lambda server: server.text("帮助 "), f"'帮助 ' {BLANK}"),
    ([], lambda server: server.text("?", "帮助", "?"), f"'?' has a route already: {at(handler)}"),
    ([lambda server: server.text("帮助")], lambda server: server.text("?", "帮助"), f"'帮助' {HAS_ONE}"),
    ([lambda server: server.text(re.compile("天气"))], lambda server: server.text("天气预报"), f"'天气预报' {HAS_ONE}"),
    ([lambda server: server.text(re.compile("天气(?P<city>.*)"))],
     lambda server: server.text(re.compile("天气(?P<city>.*)")), f"re.compile('天气(?P<city>.*)') {HAS_ONE}"),
    ([attrgetter("text")], lambda server: server.text("帮助"), f"'帮助' {AFTER_ALL}"),
    ([attrgetter("text")], lambda server: server.text(re.compile("天气")), f"re.compile('天气') {AFTER_ALL}"),
    ([attrgetter("text")], attrgetter("text"), f"text {HAS_ONE}"),
    ([lambda server: server.text("帮助"), lambda server: server.text()], attrgetter("text"), f"text {HAS_ONE}"),
    *(
        ([attrgetter(kind)], attrgetter(kind), f"{kind} {HAS_ONE}")
        for kind in ("image", "voice", "video", "location", "link")
    ),
    ([lambda server: server.event("CLICK")], lambda server: server.event("click"), f"click {HAS_ONE}"),
    ([lambda server: server.event("CLICK", key="V1")], lambda server: server.event("click", key="V1"),
     f"click with the key 'V1' {HAS_ONE}"),
    ([lambda server: server.event("CLICK")], lambda server: server.event("CLICK", key="V1"),
     f"CLICK with the key 'V1' {HAS_ONE}"),
    ([lambda server: server.event("CLICK")], lambda server: server.event("CLICK", key=""),
     f"CLICK with the key '' {HAS_ONE}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "route", "why"), NEVER, ids=[f"{len(before)} before, {why}".split(":")[0] for before, _, why in NEVER]
)
def test_a_route_that_can_never_match(before, route, why):
    """Said while it is written, with the lines of both."""
    server = build()
    for each in before:
        each(server)(earlier)
    with pytest.raises(ConfigError) as error:
        route(server)(handler)
    english, _, chinese = str(error.value).partition(" / ")
    assert english == f"{at(handler)}: this route can never match: {why}"
    assert chinese.startswith(f"{at(handler)}：这个路由永远轮不到：")


def raises(req):
    raise ZeroDivisionError


def exits(req):
    raise SystemExit


def stream(req):
    yield 1


async def async_stream(req):
    yield 1


async def bare_touch(req):
    return req.session["n"]


async def bare_with(req):
    with req.session as session:
        return session["n"]


async def bare_stream(req):
    req.session["n"] = 1
    yield "好的"


async def late_touch(req):
    async with req.session as session:
        await asyncio.sleep(0)
    session["n"] = 1


def not_json(req):
    req.session["when"] = object()


def number_as_key(req):
    req.session[1] = 1


CANNOT = ") cannot be sent:"  # after name (file:line)
RETURNED = (
    "<lambda> returned {0}; return a reply object (TextRspMsg, ...), a str, an Article or a list of Article, or None to "
    "acknowledge"
).format
NO_CONTENT = 'TextRspMsg needs content; return None or "" to acknowledge without a reply'
COUNT = "NewsRspMsg has {0} articles; WeChat takes 1 after an ordinary message, 1 to 8 after an event".format
NO_ASYNC_WITH = "RuntimeError: an async def must not block all others: use `async with req.session as session:`"
HANDLERS = [
    (raises, f"the handler {at(raises)} raised"),
    (exits, f"the handler {at(exits)} raised"),
    (lambda req: 5, f"{CANNOT} {RETURNED('int')}"),
    (lambda req: {"content": "a"}, f"{CANNOT} {RETURNED('dict')}"),
    (lambda req: b"a", f"{CANNOT} {RETURNED('bytes')}"),
    (lambda req: [], f"{CANNOT} {RETURNED('list')}"),
    (lambda req: ["a", "b"], f"{CANNOT} {RETURNED('list')}"),
    (lambda req: [Article("a"), "b"], f"{CANNOT} {RETURNED('list')}"),
    (lambda req: ("text", 200), f"{CANNOT} {RETURNED('tuple')}"),
    (lambda req: TextRspMsg, f"{CANNOT} {RETURNED('type')}"),
    (lambda req: req, f"{CANNOT} {RETURNED('TextReqMsg')}"),
    (lambda req: ImageRspMsg(""), f"{CANNOT} ImageRspMsg needs media_id: WeChat shows its fault notice without it"),
    (lambda req: VoiceRspMsg(""), f"{CANNOT} VoiceRspMsg needs media_id: WeChat shows its fault notice without it"),
    (lambda req: VideoRspMsg("", "t"), f"{CANNOT} VideoRspMsg needs media_id: WeChat shows its fault notice without it"),
    (lambda req: MusicRspMsg("", music_url="http://a/"), f"{CANNOT} MusicRspMsg needs thumb_media_id: WeChat shows its "
     "fault notice without it"),
    (lambda req: TextRspMsg(""), f"{CANNOT} {NO_CONTENT}"),
    (lambda req: TextRspMsg(" \n\0"), f"{CANNOT} {NO_CONTENT}"),
    (lambda req: "\u3000", f"{CANNOT} {NO_CONTENT}"),
    (lambda req: NewsRspMsg([]), f"{CANNOT} {COUNT(0)}"),
    (lambda req: NewsRspMsg([Article("a"), Article("b")]), f"{CANNOT} {COUNT(2)}"),
    (lambda req: [Article("a"), Article("b")], f"{CANNOT} {COUNT(2)}"),
    (lambda req: NewsRspMsg(Article("a")), f"{CANNOT} NewsRspMsg.articles must be a list of Article"),
    (lambda req: NewsRspMsg(Article(n) for n in "ab"), f"{CANNOT} NewsRspMsg.articles must be a list of Article"),
    (lambda req: NewsRspMsg("ab"), f"{CANNOT} NewsRspMsg.articles must be a list of Article"),
    (lambda req: NewsRspMsg([{"title": "a"}]), f"{CANNOT} NewsRspMsg.articles must be a list of Article"),
    (lambda req: NewsRspMsg([Article("a"), None]), f"{CANNOT} NewsRspMsg.articles must be a list of Article"),
    (lambda req: Article(5), f"{CANNOT} Article.title must be text (str), not int"),
    (lambda req: Article("a", url=None), f"{CANNOT} Article.url must be text (str), not NoneType"),
    (lambda req: TextRspMsg(None), f"{CANNOT} TextRspMsg.content must be text (str), not NoneType"),
    (lambda req: TextRspMsg(["a"]), f"{CANNOT} TextRspMsg.content must be text (str), not list"),
    (lambda req: ImageRspMsg(None), f"{CANNOT} ImageRspMsg.media_id must be text (str), not NoneType"),
    (lambda req: VoiceRspMsg(7), f"{CANNOT} VoiceRspMsg.media_id must be text (str), not int"),
    (lambda req: VideoRspMsg("m", title=7), f"{CANNOT} VideoRspMsg.title must be text (str), not int"),
    (lambda req: MusicRspMsg("m", music_url=b"u"), f"{CANNOT} MusicRspMsg.music_url must be text (str), not bytes"),
    (lambda req: TransferCustomerServiceRspMsg(1), f"{CANNOT} TransferCustomerServiceRspMsg.kf_account must be text (str), "
     "not int"),
    (stream, f"the reply of {at(stream)} cannot be sent: stream yielded int; a streaming handler yields str"),
    (async_stream, f"the reply of {at(async_stream)} cannot be sent: "
     "async_stream yielded int; a streaming handler yields str"),
    (bare_touch, NO_ASYNC_WITH),
    (bare_with, NO_ASYNC_WITH),
    (bare_stream, NO_ASYNC_WITH),
    (late_touch, NO_ASYNC_WITH),
    (not_json, "TypeError: req.session holds what JSON does not have: Object of type object is not JSON serializable"),
    (number_as_key, "TypeError: a key of req.session is a str, not int"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), HANDLERS, ids=[message[-40:] for _, message in HANDLERS])
def test_a_wrong_handler(wrong, message, caplog):
    """Said in the log, once; the user gets the error text, and WeChat no reason to try again."""
    wechat = WxMpServer(on_message=wrong, **PLAIN).test_client(raise_errors=False)
    result = wechat.send_text("你好")
    assert (result.content, len(result.tries)) == ("抱歉，出错了，请稍后再试。", 1)
    assert message in caplog.text
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


@pytest.mark.parametrize("count", [0, 9])
def test_too_few_or_too_many_articles_after_an_event(count, caplog):
    """One is the limit after a message, eight after an event; the text is the same."""
    wechat = WxMpServer(on_event=lambda event: [Article("a")] * 8, **PLAIN).test_client()
    assert wechat.subscribe().type == "news"
    wechat = WxMpServer(on_event=lambda event: NewsRspMsg([Article("a")] * count), **PLAIN).test_client(
        raise_errors=False
    )
    assert wechat.subscribe().content == "抱歉，出错了，请稍后再试。"
    assert f"{CANNOT} {COUNT(count)} / " in caplog.messages[-1]


def test_the_session_outside_of_a_handler():
    with pytest.raises(RuntimeError, match=r"^req.session is there in handlers only$"):
        TextReqMsg(content="hi").session  # noqa: B018


def test_the_session_after_its_handler():
    """Whoever keeps the message and goes on in a thread of his own."""
    kept = []
    WxMpServer(on_message=kept.append, **PLAIN).test_client().send_text("你好")
    with pytest.raises(RuntimeError, match=r"^the handler has returned; use `with req.session:` here$"):
        kept[0].session["n"] = 1
    with kept[0].session as session:
        session["n"] = 1
