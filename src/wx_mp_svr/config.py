"""The settings: read once from arguments, ``app.config`` and environment, checked at once, frozen.

One table, `Settings`, lists every setting with its default, its unit and what it is for. All mistakes are reported
together, each with its cure, in English and Chinese; no message holds the value of a secret.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from .envelope import Mode
from .errors import ConfigError

DEMO_TOKEN = "xxx"  # noqa: S105 (the article's demo value, known to everybody)
DEMO_AES_KEY = "x" * 43
DEMO_APPID = "wx0000000000000000"

_VERBS = ("get", "get_many", "set", "add", "incr", "delete")  # of a store
LOOPBACK = ("127.0.0.1", "::1", "localhost")

_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_KINDS: dict[type, tuple[Any, str, str]] = {
    # of a default: (how the environment's text becomes such a value, what it has to be, in Chinese)
    str: (str, "text, in quotation marks", "文本（加引号的字符串）"),
    int: (int, "a whole number", "整数"),
    float: (float, "a number", "数字"),
    bool: (lambda text: _FLAGS[text.lower()], "1 or 0", " 1 或 0"),
}


class Problem(NamedTuple):
    """One mistake in the settings: which, what to do, and the same in Chinese."""

    setting: str
    english: str
    chinese: str


def setting(
    default: Any, about: str, *, unit: str = "", limits: tuple[float, float] | None = None, secret: bool = False
) -> Any:
    """Declare a setting.

    Args:
        default: What holds when nobody says otherwise.
        about: What it is for, in Chinese (the README's table shows it).
        unit: What it is counted in.
        limits: The least and the most that it may be.
        secret: Never shown, not even that it is there.
    """
    return field(default=default, repr=not secret, metadata={"about": about, "unit": unit, "limits": limits})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting. The environment name is ``WX_MP_`` and the name in capitals."""

    appid: str = setting("", "公众号的 AppID（开发者ID），加密模式必填")
    token: str = setting("", "服务器配置里的 Token（令牌），3-32 位字母或数字，必填", secret=True)
    aes_key: str = setting("", "EncodingAESKey（消息加解密密钥），43 位", secret=True)
    aes_key_old: str = setting("", "更换密钥期间保留的上一个 EncodingAESKey", secret=True)
    mode: Mode = setting("", "消息加解密方式：plain、compatible 或 safe；有 aes_key 时默认 safe，否则 plain")
    path: str = setting("/wx_mp_cb", "回调路径")
    host: str = setting("127.0.0.1", "run() 监听的地址")
    port: int = setting(5001, "run() 监听的端口", limits=(0, 65535))
    window: int = setting(300, "允许的时钟误差，0 为不检查", unit="秒", limits=(0, 86400))
    max_body: int = setting(64 * 1024, "请求体上限", unit="字节", limits=(1024, 16 * 1024 * 1024))
    store: Any = setting("", "去重与回复的存放处：memory:、sqlite:路径、redis://…；默认为 SQLite 文件", secret=True)
    hold: float = setting(4.3, "一次推送内等待处理函数的时间（微信 5 秒后断开）", unit="秒")
    hang_up: float = setting(5.2, "还没有答案时挂断的时间，须晚于微信的 5 秒", unit="秒")
    tries: int = setting(3, "微信推送同一条消息的次数", unit="次", limits=(1, 4))
    held_after: float = setting(1.0, "等待超过此时间算作占用", unit="秒")
    max_held: int = setting(64, "每个进程同时占用的请求数，超过后立即回复 slow_text", limits=(1, 100_000))
    max_jobs: int = setting(64, "每个进程同时运行的处理函数数", limits=(1, 100_000))
    max_queued: int = setting(256, "排队等待运行的消息数，超过后回复 busy_text", limits=(1, 100_000))
    breaker: int = setting(
        100, "5 分钟内允许拖过 5 秒的推送数，超过后首次推送就回复 slow_text，0 为不限", limits=(0, 1_000_000)
    )
    rerun_lost: bool = setting(True, "进程崩溃后由下一次推送重新运行处理函数；否则回复 lost_text")
    grace: float = setting(25.0, "退出时等待处理函数结束的时间", unit="秒")
    keep_answers: float = setting(86400.0, "链接后的回复保留的时间", unit="秒")
    keep_sessions: float = setting(604800.0, "req.session 在最后一次写入后保留的时间", unit="秒")
    session_wait: float = setting(30.0, "等待同一用户的 req.session 的时间，超过后回复 busy_text", unit="秒")
    time_scale: float = setting(1.0, "测试用：以上时间整体缩放的倍数")
    error_text: str | None = setting("抱歉，出错了，请稍后再试。", "处理函数出错时的回复，空为不回复")
    slow_text: str | None = setting("这个问题需要多想一会儿，请稍后点击：", "来不及回答时的回复，后接链接，空为不回复")
    busy_text: str | None = setting("现在有点忙，请稍后再发一次。", "排队已满时的回复，空为不回复")
    lost_text: str | None = setting("刚才的消息没有处理完，请再发一次。", "处理中断又不重新运行时的回复，空为不回复")
    expired_text: str | None = setting("这条回复已经过期，请重新提问。", "链接过期时的回复，空为不回复")
    ready_text: str = setting("您之前的问题有回复了：", "附在下一条回复后的提醒，后接链接")
    end_text: str = setting("（全文完）", "下一页没有更多内容时的回复")
    fetch_words: str = setting("查看回复", "点击链接时用户发出的文字，后接编号")
    fetch_label: str = setting("查看回复", "取回复的链接文字")
    next_label: str = setting("下一页", "翻页的链接文字")

    @cached_property
    def keep_seconds(self) -> float:
        """How long a push is known: a replayed one must be known or too old, and it is let in a window before and after."""
        return max(600.0, 2.0 * self.window)

    @property
    def beat(self) -> float:
        """Seconds between two heartbeats; not scaled down to where a busy machine would look dead."""
        return max(0.25, self.time_scale)

    def scaled(self) -> "Settings":
        """Return the settings with `time_scale` applied to the times of one push."""
        times = ("hold", "hang_up", "held_after", "grace", "session_wait")
        return replace(self, **{name: getattr(self, name) * self.time_scale for name in times})

    @property
    def demo_values(self) -> bool:
        """Whether these are the demo's credentials, which anybody can look up."""
        return DEMO_TOKEN == self.token or DEMO_AES_KEY == self.aes_key or DEMO_APPID == self.appid


NAMES = frozenset(f.name for f in fields(Settings))


def load(
    arguments: Mapping[str, Any], app_config: Mapping[str, Any], environ: Mapping[str, str], prefix: str = "WX_MP_"
) -> Settings:
    """Read and check the settings: an argument goes before ``app.config``, that before the environment.

    Args:
        arguments: What the constructor was given, by our names; None counts as not given.
        app_config: Flask's configuration, by environment names.
        environ: The environment.
        prefix: Of the environment names; another one for a second account.

    Raises:
        ConfigError: One message for all mistakes together.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for f in fields(Settings):
        name, optional = prefix + f.name.upper(), f.type == (str | None)
        sources = (arguments.get(f.name), app_config.get(name), environ.get(name))
        value = next((value for value in sources if value is not None), None)
        if optional and (value == "" or (f.name in arguments and sources[0] is None)):
            values[f.name] = None  # acknowledge instead of saying something
        elif value == "" and sources[:2] == (None, None):
            problems.append(
                Problem(name, "is set but empty; fill it in or remove it", "设置了但为空：请填写，或删除该变量")
            )
        elif value is not None:
            try:
                values[f.name] = _read(f, value)
            except (KeyError, ValueError):
                _, english, chinese = _KINDS[type(f.default)]
                problems.append(Problem(name, f"must be {english}", f"必须是{chinese}"))
    if values.get("mode") == "plain":  # whoever asks for plain mode may leave the key empty, as in WX_MP_AES_KEY=
        problems = [problem for problem in problems if problem.setting != prefix + "AES_KEY"]
    settings = Settings(**values)
    mode: Any = settings.mode or ("safe" if settings.aes_key else "plain")
    settings = replace(settings, mode=mode, path=settings.path.rstrip("/") or settings.path[:1])
    named = {problem.setting for problem in problems}
    problems += [problem for problem in check(settings, prefix) if problem.setting not in named]
    if problems:
        lines = [f"wx-mp-svr has {len(problems)} wrong setting(s) / 配置有 {len(problems)} 处错误:"]
        lines += [f"  {problem.setting} {problem.english}\n    {problem.chinese}" for problem in problems]
        raise ConfigError("\n".join(lines), problems)
    return settings


def _read(f: "Field[Any]", value: Any) -> Any:
    """Return a value of the setting's kind; a KeyError or ValueError where it is of another."""
    kind = type(f.default)
    if isinstance(value, str):
        return _KINDS[kind][0](value)
    fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not fits and f.type is not Any:
        raise ValueError
    return value


def warnings(settings: Settings) -> Iterator[str]:
    """Yield what should be said, loudly, at start."""
    if settings.demo_values:
        yield (
            "the demo's Token, AES key or AppID are in use: anybody can forge messages; set your own before you go live / "
            "正在使用演示用的 Token、AES_KEY 或 AppID，任何人都能伪造消息：上线前请换成自己的"
        )
    if settings.mode == "plain":
        yield (
            "plain mode: the signature does not cover the message, so one leaked URL forges any; safe mode (WX_MP_AES_KEY) "
            "does not have this / 明文模式：签名不保护消息内容，建议在公众平台改用安全模式并设置 WX_MP_AES_KEY"
        )


def near(name: str) -> str:
    """Return the setting that somebody may have meant by *name*, "" for none."""
    return next(iter(difflib.get_close_matches(name.lower(), NAMES, 1)), "")


def misspelt(names: Iterable[str], prefix: str) -> Iterator[str]:
    """Say of which names that look like ours are not: nobody reads them."""
    for name in names:
        own = name[len(prefix) :].lower()
        if name.startswith(prefix) and own not in NAMES and (ours := prefix + near(own).upper()) != prefix:
            yield f"{name} is not read; did you mean {ours}? / 没有 {name} 这个设置，是不是 {ours}？"


def check(settings: Settings, prefix: str = "WX_MP_") -> list[Problem]:
    """Return what is wrong with the settings: of each one the first cause. No problem holds a value."""
    found: dict[str, Problem] = {}
    for name, english, chinese in chain(_mistakes(settings), _over_limits(settings)):
        found.setdefault(name, Problem(prefix + name.upper(), english, chinese))
    return list(found.values())


_Words = Iterator[tuple[str, str, str]]
"""Of each mistake the setting, what to do, and the same in Chinese."""


def _mistakes(s: Settings) -> _Words:
    if s.aes_key and not s.appid:
        english = "is missing; it is needed with an EncodingAESKey (the settings page shows it as AppID)"
        chinese = "缺少 AppID：使用 EncodingAESKey 时必填，见公众平台「设置与开发 → 基本配置」的开发者ID(AppID)"
        yield "appid", english, chinese
    yield from _pasted("appid", s.appid)
    if s.appid.startswith("gh_"):
        english = "is the account's original ID (gh_...); the AppID begins with wx"
        yield "appid", english, "这是原始ID（gh_ 开头），AppID 以 wx 开头"
    if re.fullmatch(r"[0-9a-fA-F]{32}", s.appid):
        english = "looks like the AppSecret; the AppID begins with wx"
        yield "appid", english, "这像是 AppSecret，AppID 以 wx 开头；AppSecret 请勿外泄"
    if re.search(r"[^\w-]", s.appid, re.ASCII):
        yield "appid", "holds characters that no AppID has", "含有 AppID 不会有的字符"
    if not s.token:
        english = "is missing; wx-mp-svr keygen makes one, the same is entered in the account's server settings"
        yield "token", english, "缺少 Token：用 wx-mp-svr keygen 生成，与公众平台「服务器配置」里的令牌(Token)一致"
    yield from _pasted("token", s.token)
    if not re.fullmatch(r"[A-Za-z0-9]{3,32}", s.token):
        yield "token", "must be 3 to 32 letters and digits", "必须是 3-32 位字母或数字"
    yield from _mistakes_in_key("aes_key", s.aes_key)
    if s.aes_key_old and not s.aes_key:
        english = "is set, but AES_KEY is missing: the old key only helps out a new one"
        yield "aes_key_old", english, "设置了旧密钥，却缺少 AES_KEY"
    yield from _mistakes_in_key("aes_key_old", s.aes_key_old)
    if s.mode not in ("plain", "compatible", "safe"):
        chinese = "必须是 plain（明文）、compatible（兼容）或 safe（安全）"
        yield "mode", "must be plain, compatible or safe", chinese
    if s.mode == "plain" and s.aes_key:
        chinese = "是 plain（明文），却设置了 AES_KEY：请去掉其中一个"
        yield "mode", "is plain, but an AES key is set; remove one of the two", chinese
    if s.mode != "plain" and not s.aes_key:
        yield "mode", f"is {s.mode}, but AES_KEY is missing", f"是 {s.mode}，但缺少 AES_KEY（EncodingAESKey）"
    if not re.fullmatch(r"/[!-~]*", s.path) or re.search("[?#<>]", s.path):
        yield (
            "path",
            "must begin with / and hold printable ASCII without ? # < >",
            "必须以 / 开头，由可打印的 ASCII 字符组成，不含 ? # < >",
        )
    if isinstance(s.store, str) and s.store and not re.match(r"memory:|sqlite:.|rediss?://.|unix://.", s.store):
        english = "must be memory:, sqlite:PATH or redis://HOST:PORT/DATABASE"
        yield "store", english, "应为 memory:、sqlite:路径 或 redis://主机:端口/库号"
    if not isinstance(s.store, str) and not all(hasattr(s.store, verb) for verb in _VERBS):
        verbs = ", ".join(_VERBS)
        yield "store", f"must be a URL, or an object with {verbs}", f"应为地址字符串，或带有 {verbs} 的对象"
    if not s.fetch_words.strip():
        yield "fetch_words", "must not be empty: a tap sends it", "不能为空：点击链接时用户会发出它"
    if not 0 < s.held_after < s.hold < 5 < s.hang_up < 6:
        rule = "0 < held_after < hold < 5 < hang_up < 6"
        english = f"must come after WeChat's 5 seconds, hold and held_after before them ({rule})"
        yield "hang_up", english, f"必须晚于微信的 5 秒，hold 和 held_after 则必须早于 5 秒（{rule}）"


def _pasted(name: str, value: str) -> _Words:
    """Find what goes wrong when a value is copied from a web page or a chat."""
    if value != value.strip():
        yield name, "has blanks around it; remove them", "前后有空格或换行：请去掉"
    if value != value.strip("\"'“”‘’"):
        yield name, "has quotation marks around it; remove them", "前后有引号：请去掉"
    if not value.isascii():
        english = "holds full-width or Chinese characters; type it in half-width letters"
        yield name, english, "含有全角或中文字符：请改用半角"


def _mistakes_in_key(name: str, key: str) -> _Words:
    yield from _pasted(name, key)
    if len(key) == 44 and key.endswith("="):
        yield name, "has 44 characters; leave out the = at its end", "有 44 个字符：请去掉末尾的 ="
    if key and not re.fullmatch(r"[A-Za-z0-9+/]{43}", key):
        english = (
            f"has {len(key)} characters, or some that are not Base64; an EncodingAESKey has exactly 43 (A-Z a-z 0-9)"
        )
        yield name, english, f"长度 {len(key)} 或字符不对：EncodingAESKey 是 43 位字母或数字"


def _over_limits(settings: Settings) -> _Words:
    """Look at every number, all of which have limits; times are above 0."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        low, high = f.metadata["limits"] or (0, 0)
        if high and not low <= value <= high:
            yield f.name, f"must be a whole number from {low} to {high}", f"必须是 {low} 到 {high} 之间的整数"
        elif type(f.default) is float and not 0 < value < 1e9:
            yield f.name, "must be a number above 0", "必须是大于 0 的数字"
