"""The settings: read once from arguments, ``app.config`` and environment, checked at once, frozen.

One table, `Settings`, lists every setting with its default, its unit and what it is for. All mistakes are reported
together, each with its cure, in English and Chinese; no message holds the value of a secret.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, TypedDict

from .errors import ConfigError
from .mistakes import Words, mistakes
from .wire import Mode

DEMO_TOKEN = "xxx"  # noqa: S105 (the article's demo value, known to everybody)
DEMO_AES_KEY = "x" * 43
DEMO_APPID = "wx0000000000000000"

CREDENTIALS = ("token", "appid", "aes_key", "aes_key_old")

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
    # In compatible mode 10,000 Chinese characters travel twice, once as Base64.
    max_body: int = setting(128 * 1024, "请求体上限", unit="字节", limits=(1024, 16 * 1024 * 1024))
    store: Any = setting("", "去重与回复的存放处：memory:、sqlite:路径、redis://…；默认为 SQLite 文件", secret=True)
    hold: float = setting(4.3, "一次推送内等待处理函数的时间（微信 5 秒后断开）", unit="秒")
    hang_up: float = setting(5.2, "还没有答案时挂断的时间，须晚于微信的 5 秒", unit="秒")
    tries: int = setting(3, "微信推送同一条消息的次数", unit="次", limits=(1, 4))
    held_after: float = setting(1.0, "等待已满时，少数推送仍可等待的时间", unit="秒")
    max_held: int = setting(
        240, "每个进程同时等待的推送数，超过后立即回复 slow_text；线程数至少再多 16", limits=(1, 100_000)
    )
    max_jobs: int = setting(64, "每个进程同时运行的处理函数数", limits=(1, 100_000))
    max_queued: int = setting(
        2000, "排队等待运行的消息数，超过后回复 busy_text（async def 最多 5000）", limits=(1, 100_000)
    )
    breaker: int = setting(
        100,
        "5 分钟内拖过 5 秒的推送达到此数、且超过三分之一时，首次推送就回复 slow_text，0 为不限",
        limits=(0, 1_000_000),
    )
    rerun_lost: bool = setting(True, "进程崩溃后由下一次推送或点击链接重新运行处理函数；否则回复 lost_text")
    grace: float = setting(25.0, "退出时等待处理函数结束的时间", unit="秒")
    keep_answers: float = setting(86400.0, "链接后的回复保留的时间", unit="秒")
    keep_sessions: float = setting(604800.0, "req.session 在最后一次写入后保留的时间", unit="秒")
    session_wait: float = setting(30.0, "等待同一用户的 req.session 的时间，超过后回复 busy_text", unit="秒")
    error_text: str | None = setting("抱歉，出错了，请稍后再试。", "处理函数出错时的回复，空为不回复")
    slow_link: bool = setting(True, "slow_text 后是否附上取回复的链接；总能用客服消息补发的账号可关掉")
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

    @cached_property
    def demo_values(self) -> bool:
        """Whether these are the demo's credentials, which anybody can look up."""
        return DEMO_TOKEN == self.token or DEMO_AES_KEY == self.aes_key or DEMO_APPID == self.appid


class GivenSettings(TypedDict, total=False):
    """The same as arguments, for editors and type checkers; None counts as not given. A test holds it to `Settings`."""

    appid: str | None
    token: str | None
    aes_key: str | None
    aes_key_old: str | None
    mode: Mode | None
    path: str | None
    host: str | None
    port: int | None
    window: int | None
    max_body: int | None
    store: Any
    hold: float | None
    hang_up: float | None
    tries: int | None
    held_after: float | None
    max_held: int | None
    max_jobs: int | None
    max_queued: int | None
    breaker: int | None
    rerun_lost: bool | None
    grace: float | None
    keep_answers: float | None
    keep_sessions: float | None
    session_wait: float | None
    error_text: str | None
    slow_link: bool | None
    slow_text: str | None
    busy_text: str | None
    lost_text: str | None
    expired_text: str | None
    ready_text: str | None
    end_text: str | None
    fetch_words: str | None
    fetch_label: str | None
    next_label: str | None


NAMES = frozenset(f.name for f in fields(Settings))


def demo_account(
    arguments: Mapping[str, Any], app_config: Mapping[str, Any], environ: Mapping[str, str], prefix: str = "WX_MP_"
) -> dict[str, str]:
    """Return the demo's account by environment names; nothing where a credential is given: then it is one's own.

    Takes what `load` takes.
    """

    def given(name: str) -> Any:
        return _first(_sources(name, arguments, app_config, environ, prefix))

    plain = given("mode") == "plain"  # an empty key is no key
    if any(given(name) is not None and not (plain and given(name) == "") for name in CREDENTIALS):
        return {}
    values = {"TOKEN": DEMO_TOKEN, "APPID": DEMO_APPID, **({} if plain else {"AES_KEY": DEMO_AES_KEY})}
    return {prefix + name: value for name, value in values.items()}


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
        sources = _sources(f.name, arguments, app_config, environ, prefix)
        value = _first(sources)
        if optional and (value == "" or (f.name in arguments and sources[0] is None)):
            values[f.name] = None  # acknowledge instead of saying something
        elif value == "" and sources[:2] == (None, None):
            problems.append(
                Problem(name, "is set but empty; fill it in or remove it", "设置了但为空：请填写，或删除该变量")
            )
        elif value is not None:
            if f.name.endswith("_text") and sources[:2] == (None, None):
                value = value.replace("\\n", "\n")  # an environment file has no other way to write a line end
            try:
                values[f.name] = _read(f, value)
            except (KeyError, ValueError):
                _, english, chinese = _KINDS[type(f.default)]
                problems.append(Problem(name, f"must be {english}", f"必须是{chinese}"))
    if arguments.get("mode") == "plain" and arguments.get("aes_key") is None:
        # In a demo that says plain, the code wins over a key of the environment.
        values.pop("aes_key", None)
        values.pop("aes_key_old", None)
    if values.get("mode") == "plain":  # whoever asks for plain mode may leave the key empty, as in WX_MP_AES_KEY=
        problems = [problem for problem in problems if problem.setting != prefix + "AES_KEY"]
    settings = Settings(**values)
    mode: Any = settings.mode or ("safe" if settings.aes_key else "plain")
    settings = replace(settings, mode=mode, path=settings.path.rstrip("/") or settings.path[:1])
    named = {problem.setting for problem in problems}
    problems += [problem for problem in check(settings, prefix) if problem.setting not in named]
    if problems:
        lines = [f"wx-mp-svr has {len(problems)} wrong setting(s) / 设置有 {len(problems)} 处错误:"]
        lines += [f"  {problem.setting} {problem.english}\n    {problem.chinese}" for problem in problems]
        raise ConfigError("\n".join(lines), problems)
    return settings


def _sources(
    name: str, arguments: Mapping[str, Any], app_config: Mapping[str, Any], environ: Mapping[str, str], prefix: str
) -> tuple[Any, Any, Any]:
    """Return what each of the three says of a setting, in the order in which they go."""
    variable = prefix + name.upper()
    return arguments.get(name), app_config.get(variable), environ.get(variable)


def _first(sources: tuple[Any, ...]) -> Any:
    return next((value for value in sources if value is not None), None)


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
            "the demo's account is in use, which anybody knows: only this machine is answered (a proxy here that hides "
            "where requests come from cannot be told); set your own before you go live / "
            "正在使用演示账号，它的 Token、EncodingAESKey 人人皆知：只应答本机的请求"
            "（本机上不写 X-Forwarded-For 的代理分辨不出来），上线前请设置自己的"
        )
    if settings.mode != "safe":
        chinese = {"plain": "明文", "compatible": "兼容"}[settings.mode]
        yield (
            f"{settings.mode} mode: the signature does not cover the message, so one leaked URL forges any for five "
            "minutes, and reads what waits for other users; safe mode (WX_MP_AES_KEY) does not have this / "
            f"{chinese}模式：签名不保护消息内容，泄露的一个网址能在五分钟内伪造消息、读取别人等待中的回复。"
            "建议在公众平台改用安全模式并设置 WX_MP_AES_KEY"
        )
    if settings.window == 0:
        yield (
            "window=0: an old request that somebody has recorded is accepted for ever / "
            "window=0：不检查时间，被人录下的旧请求永远有效"
        )


def near(name: str) -> str:
    """Return the setting that somebody may have meant by *name*, "" for none."""
    return next(iter(difflib.get_close_matches(name.lower(), NAMES, 1)), "")


def misspelt(names: Iterable[str], prefix: str) -> Iterator[str]:
    """Say of which names that look like ours are not: nobody reads them."""
    for name in names:
        own = name[len(prefix) :].lower()
        account, _, rest = own.partition("_")
        if rest in NAMES and (len(account) <= 2 or account[-1].isdigit()):
            continue  # of a second account: env_prefix="WX_MP_2_"
        if name.startswith(prefix) and own not in NAMES and (ours := prefix + near(own).upper()) != prefix:
            yield f"{name} is not read; did you mean {ours}? / 没有 {name} 这个设置，是不是 {ours}？"


def check(settings: Settings, prefix: str = "WX_MP_") -> list[Problem]:
    """Return what is wrong with the settings: of each one the first cause. No problem holds a value."""
    found: dict[str, Problem] = {}
    for name, english, chinese in chain(mistakes(settings), _over_limits(settings)):
        found.setdefault(name, Problem(prefix + name.upper(), english, chinese))
    return list(found.values())


def _over_limits(settings: Settings) -> Words:
    """Look at every number, all of which have limits; times are above 0."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        low, high = f.metadata["limits"] or (0, 0)
        if high and not low <= value <= high:
            yield f.name, f"must be a whole number from {low} to {high}", f"必须是 {low} 到 {high} 之间的整数"
        elif type(f.default) is float and not 0 < value < 1e9:
            yield f.name, "must be a number above 0", "必须是大于 0 的数字"
