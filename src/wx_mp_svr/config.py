"""The settings: read once from arguments, ``app.config`` and environment, checked at once, frozen.

One table, `Settings`, lists every setting with its default, its unit and what it is for. All mistakes are reported
together, each with its cure, in English and Chinese; no message holds the value of a secret.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, NamedTuple

from .crypto import key_of
from .envelope import Mode
from .errors import ConfigError

DEMO_TOKEN = "xxx"  # noqa: S105 (the article's demo value, known to everybody)
DEMO_AES_KEY = "x" * 43
DEMO_APPID = "wx0000000000000000"

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Problem(NamedTuple):
    """One mistake in the settings: which, what to do, and the same in Chinese."""

    setting: str
    english: str
    chinese: str


def _text(value: str) -> str:
    return value


def _optional(value: str) -> str | None:
    return value or None  # an empty text means: acknowledge instead of saying something


def _whole(value: str) -> int:
    return int(value)


def _decimal(value: str) -> float:
    return float(value)


def _flag(value: str) -> bool:
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[
        value.lower()
    ]


KINDS = {
    _text: ("text, in quotation marks", "文本（加引号的字符串）"),
    _optional: ("text, in quotation marks", "文本（加引号的字符串）"),
    _whole: ("a whole number", "整数"),
    _decimal: ("a number", "数字"),
    _flag: ("1 or 0", "1 或 0"),
}


def setting(
    default: Any, about: str, *, read: Callable[[str], Any] = _text, unit: str = "", secret: bool = False
) -> Any:
    """Declare a setting.

    Args:
        default: What holds when nobody says otherwise.
        about: What it is for, in Chinese (the README's table shows it).
        read: How the environment's text becomes the value.
        unit: What it is counted in.
        secret: Never shown.
    """
    return field(default=default, metadata={"about": about, "read": read, "unit": unit, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Every setting. The environment name is ``WX_MP_`` and the name in capitals."""

    appid: str = setting("", "公众号的 AppID（开发者ID），加密模式必填")
    token: str = setting("", "服务器配置里的 Token（令牌），3-32 位字母或数字，必填", secret=True)
    aes_key: str = setting("", "EncodingAESKey（消息加解密密钥），43 位", secret=True)
    aes_key_old: str = setting("", "更换密钥期间保留的上一个 EncodingAESKey", secret=True)
    mode: Mode = setting("", "消息加解密方式：plain、compatible 或 safe；有 aes_key 时默认 safe，否则 plain")
    path: str = setting("/wx_mp_cb", "回调路径")
    host: str = setting("127.0.0.1", "run() 监听的地址")
    port: int = setting(5001, "run() 监听的端口", read=_whole)
    window: int = setting(300, "允许的时钟误差，0 为不检查", read=_whole, unit="秒")
    max_body: int = setting(64 * 1024, "请求体上限", read=_whole, unit="字节")
    store: Any = setting("", "去重与回复的存放处：memory:、sqlite:路径、redis://…；默认为 SQLite 文件")
    hold: float = setting(4.3, "一次推送内等待处理函数的时间（微信 5 秒后断开）", read=_decimal, unit="秒")
    hang_up: float = setting(5.2, "还没有答案时挂断的时间，须晚于微信的 5 秒", read=_decimal, unit="秒")
    tries: int = setting(3, "微信推送同一条消息的次数", read=_whole, unit="次")
    held_after: float = setting(1.0, "等待超过此时间算作占用", read=_decimal, unit="秒")
    max_held: int = setting(64, "每个进程同时占用的请求数，超过后立即回复 slow_text", read=_whole)
    max_jobs: int = setting(64, "每个进程同时运行的处理函数数", read=_whole)
    max_queued: int = setting(256, "排队等待运行的消息数，超过后回复 busy_text", read=_whole)
    breaker: int = setting(100, "5 分钟内允许拖过 5 秒的推送数，超过后首次推送就回复 slow_text，0 为不限", read=_whole)
    rerun_lost: bool = setting(True, "进程崩溃后由下一次推送重新运行处理函数；否则回复 lost_text", read=_flag)
    grace: float = setting(25.0, "退出时等待处理函数结束的时间", read=_decimal, unit="秒")
    keep_answers: float = setting(86400.0, "链接后的回复保留的时间", read=_decimal, unit="秒")
    time_scale: float = setting(1.0, "测试用：以上时间整体缩放的倍数", read=_decimal)
    error_text: str | None = setting("抱歉，出错了，请稍后再试。", "处理函数出错时的回复，空为不回复", read=_optional)
    slow_text: str | None = setting(
        "这个问题需要多想一会儿，请稍后点击：", "来不及回答时的回复，后接链接，空为不回复", read=_optional
    )
    busy_text: str | None = setting("现在有点忙，请稍后再发一次。", "排队已满时的回复，空为不回复", read=_optional)
    lost_text: str | None = setting(
        "刚才的消息没有处理完，请再发一次。", "处理中断又不重新运行时的回复，空为不回复", read=_optional
    )
    expired_text: str | None = setting("这条回复已经过期，请重新提问。", "链接过期时的回复，空为不回复", read=_optional)
    ready_text: str = setting("您之前的问题有回复了：", "附在下一条回复后的提醒，后接链接")
    end_text: str = setting("（全文完）", "下一页没有更多内容时的回复")
    fetch_words: str = setting("查看回复", "点击链接时用户发出的文字，后接编号")
    fetch_label: str = setting("查看回复", "取回复的链接文字")
    next_label: str = setting("下一页", "翻页的链接文字")

    @property
    def keep_seconds(self) -> float:
        """How long a push is known: a replayed one must be known or too old, and it is let in a window before and after."""
        return max(600.0, 2.0 * self.window)

    @property
    def beat(self) -> float:
        """Seconds between two heartbeats; not scaled down to where a busy machine would look dead."""
        return max(0.25, self.time_scale)

    def scaled(self) -> "Settings":
        """Return the settings with `time_scale` applied to the times of one push."""
        scale = self.time_scale
        return replace(
            self,
            hold=self.hold * scale,
            hang_up=self.hang_up * scale,
            held_after=self.held_after * scale,
            grace=self.grace * scale,
        )

    def __repr__(self) -> str:
        """Show every setting but the secrets."""
        shown = (
            f"{f.name}={'***' if f.metadata['secret'] and getattr(self, f.name) else repr(getattr(self, f.name))}"
            for f in fields(self)
        )
        return f"Settings({', '.join(shown)})"

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
        name = prefix + f.name.upper()
        read = f.metadata["read"]
        value: Any = arguments.get(f.name)
        if value is None and f.name in arguments and read is _optional:
            values[f.name] = None  # given: say nothing
            continue
        if value is None:
            value = app_config.get(name)
        if value is None:
            value = environ.get(name)
            if value == "" and read is not _optional:
                problems.append(
                    Problem(name, "is set but empty; fill it in or remove it", "设置了但为空：请填写，或删除该变量")
                )
                continue
        if value is None:
            continue
        try:
            values[f.name] = read(value) if isinstance(value, str) else _typed(f, value)
        except (KeyError, ValueError):
            english, chinese = KINDS[read]
            problems.append(Problem(name, f"must be {english}", f"必须是{chinese}"))
    if values.get("mode") == "plain":  # whoever asks for plain mode may leave the key empty, as in WX_MP_AES_KEY=
        problems = [problem for problem in problems if problem.setting != prefix + "AES_KEY"]
    settings = _completed(Settings(**values))
    named = {problem.setting for problem in problems}
    problems += [problem for problem in check(settings, prefix) if problem.setting not in named]
    if problems:
        raise ConfigError(explain(problems))
    return settings


def _typed(f: "Field[Any]", value: Any) -> Any:
    """Take a value that is not text, as arguments and ``app.config`` may hold; of the wrong kind it is a ValueError."""
    read = f.metadata["read"]
    if read is _flag and not isinstance(value, bool):
        raise ValueError
    if read in (_text, _optional) and f.name != "store":
        raise ValueError
    return value


def _completed(settings: Settings) -> Settings:
    mode: Any = settings.mode or ("safe" if settings.aes_key else "plain")
    path = settings.path.rstrip("/") or settings.path[:1]
    return replace(settings, mode=mode, path=path)


def warnings(settings: Settings) -> list[str]:
    """Return what should be said, loudly, at start."""
    found = []
    if settings.demo_values:
        found.append(
            "the demo's Token, AES key or AppID are in use: anybody can forge messages; set your own before you go live / "
            "正在使用演示用的 Token、AES_KEY 或 AppID，任何人都能伪造消息：上线前请换成自己的"
        )
    if settings.mode == "plain":
        found.append(
            "plain mode: the signature does not cover the message, so one leaked URL forges any; safe mode (WX_MP_AES_KEY) "
            "does not have this / 明文模式：签名不保护消息内容，建议在公众平台改用安全模式并设置 WX_MP_AES_KEY"
        )
    return found


def explain(problems: list[Problem]) -> str:
    """Write the message of a `ConfigError`: all problems at once."""
    lines = [f"wx-mp-svr has {len(problems)} wrong setting(s) / 配置有 {len(problems)} 处错误:"]
    lines += [f"  {problem.setting} {problem.english}\n    {problem.chinese}" for problem in problems]
    return "\n".join(lines)


def check(settings: Settings, prefix: str = "WX_MP_") -> list[Problem]:
    """Return what is wrong with the settings. No problem holds a value."""
    found = [
        ("appid", _check_appid(settings)),
        ("token", _check_token(settings)),
        ("aes_key", _check_aes_key(settings.aes_key)),
        ("aes_key_old", _check_aes_key_old(settings)),
        ("mode", _check_mode(settings)),
        ("path", _check_path(settings.path)),
        ("store", _check_store(settings.store)),
        ("port", _between(settings.port, 0, 65535)),
        ("window", _between(settings.window, 0, 86400)),
        ("max_body", _between(settings.max_body, 1024, 16 * 1024 * 1024)),
        ("tries", _between(settings.tries, 1, 4)),
        *((name, _between(getattr(settings, name), 1, 100_000)) for name in ("max_held", "max_jobs", "max_queued")),
        ("breaker", _between(settings.breaker, 0, 1_000_000)),
        *((name, _positive(getattr(settings, name))) for name in POSITIVE),
        ("hang_up", _check_times(settings)),
    ]
    return [Problem(prefix + name.upper(), *words) for name, words in found if words]


POSITIVE = ("hold", "hang_up", "held_after", "grace", "keep_answers", "time_scale")

Words = tuple[str, str] | None
"""What is wrong, in English and in Chinese; None for nothing."""


def _check_pasted(value: str) -> Words:
    """Find what goes wrong when a value is copied from a web page or a chat."""
    if value != value.strip():
        return "has blanks around it; remove them", "前后有空格或换行：请去掉"
    if value[:1] in "\"'“”‘’" or value[-1:] in "\"'“”‘’":
        return "has quotation marks around it; remove them", "前后有引号：请去掉"
    if not value.isascii():
        return "holds full-width or Chinese characters; type it in half-width letters", "含有全角或中文字符：请改用半角"
    return None


def _check_appid(settings: Settings) -> Words:
    appid = settings.appid
    if not appid:
        if settings.aes_key:
            return (
                "is missing; it is needed with an EncodingAESKey (the settings page shows it as AppID)",
                "缺少 AppID：使用 EncodingAESKey 时必填，见公众平台「设置与开发 → 基本配置」的开发者ID(AppID)",
            )
        return None
    if words := _check_pasted(appid):
        return words
    if appid.startswith("gh_"):
        return (
            "is the account's original ID (gh_...); the AppID begins with wx",
            "这是原始ID（gh_ 开头），AppID 以 wx 开头",
        )
    if re.fullmatch(r"[0-9a-fA-F]{32}", appid):
        return (
            "looks like the AppSecret; the AppID begins with wx",
            "这像是 AppSecret，AppID 以 wx 开头；AppSecret 请勿外泄",
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", appid):
        return "holds characters that no AppID has", "含有 AppID 不会有的字符"
    return None


def _check_token(settings: Settings) -> Words:
    token = settings.token
    if not token:
        return (
            "is missing; take the Token of the account's server settings, or make one up there",
            "缺少 Token：请填写公众平台「服务器配置」里的令牌(Token)",
        )
    if words := _check_pasted(token):
        return words
    if not re.fullmatch(r"[A-Za-z0-9]{3,32}", token):
        return "must be 3 to 32 letters and digits", "必须是 3-32 位字母或数字"
    return None


def _check_aes_key(key: str) -> Words:
    if not key:
        return None
    if words := _check_pasted(key):
        return words
    if len(key) == 44 and key.endswith("="):
        return "has 44 characters; leave out the = at its end", "有 44 个字符：请去掉末尾的 ="
    try:
        key_of(key)
    except ConfigError:
        return (
            f"has {len(key)} characters, or some that are not Base64; an EncodingAESKey has exactly 43 (A-Z a-z 0-9)",
            f"长度 {len(key)} 或字符不对：EncodingAESKey 是 43 位字母或数字",
        )
    return None


def _check_aes_key_old(settings: Settings) -> Words:
    if settings.aes_key_old and not settings.aes_key:
        return "is set, but AES_KEY is missing: the old key only helps out a new one", "设置了旧密钥，却缺少 AES_KEY"
    return _check_aes_key(settings.aes_key_old)


def _check_mode(settings: Settings) -> Words:
    if settings.mode not in ("plain", "compatible", "safe"):
        return "must be plain, compatible or safe", "必须是 plain（明文）、compatible（兼容）或 safe（安全）"
    if settings.mode == "plain" and settings.aes_key:
        return (
            "is plain, but an AES key is set; remove one of the two",
            "是 plain（明文），却设置了 AES_KEY：请去掉其中一个",
        )
    if settings.mode != "plain" and not settings.aes_key:
        return f"is {settings.mode}, but AES_KEY is missing", f"是 {settings.mode}，但缺少 AES_KEY（EncodingAESKey）"
    return None


def _check_path(path: str) -> Words:
    if not re.fullmatch(r"/[!-~]*", path) or any(mark in path for mark in "?#<>"):
        return "must begin with / and hold neither ? nor #", "必须以 / 开头，不含 ? 和 #"
    return None


def _check_store(store: Any) -> Words:
    if isinstance(store, str) and store and not re.match(r"memory:|sqlite:.|rediss?://.|unix://.", store):
        return (
            "must be memory:, sqlite:PATH or redis://HOST:PORT/DATABASE",
            "应为 memory:、sqlite:路径 或 redis://主机:端口/库号",
        )
    return None


def _check_times(settings: Settings) -> Words:
    if all(isinstance(value, int | float) for value in (settings.hold, settings.hang_up)) and (
        not 0 < settings.hold < 5 < settings.hang_up < 6
    ):
        return (
            "must come after WeChat's 5 seconds, and hold before them (hold < 5 < hang_up < 6)",
            "必须晚于微信的 5 秒，hold 则必须早于 5 秒（hold < 5 < hang_up < 6）",
        )
    return None


def _positive(value: Any) -> Words:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return "must be a number above 0", "必须是大于 0 的数字"
    return None


def _between(value: Any, low: int, high: int) -> Words:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        return f"must be a whole number from {low} to {high}", f"必须是 {low} 到 {high} 之间的整数"
    return None
