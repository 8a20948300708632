"""Why WeChat says 「token 验证失败」: looks at the settings and at a URL as WeChat would, and names cause and fix.

Settings and a URL in, findings out, one for each check, in Chinese. `FakeWeChat` signs, seals and judges; `reaching` looks
at the way there, `answers` has the words for what came back. Knows nothing of Flask or of the terminal.
"""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from .. import config
from ..clock import REAL
from ..config import Settings
from ..errors import ConfigError
from ..testing import DEADLINE_SECONDS, FakeWeChat, Result, Try
from ..testing.line import HttpTarget, Line
from ..testing.packets import new_msg_id
from . import envfile
from .answers import SKEW_ERROR, Asked, Texts, is_ours, message, verification
from .findings import NOT_REACHABLE, SETTINGS_WRONG, Finding, Level
from .reaching import certificate, is_local, public_address, reach

SKEW_WARNING = 30  # seconds
VERIFICATIONS = 4  # one of two instances, a cache or a cold start does not show at the first
HELLO_BOT = "wx-mp-svr check"  # what the bot under test is asked


def read_settings(environ: Mapping[str, str], prefix: str = "WX_MP_") -> tuple[Settings | None, list[Finding]]:
    """Read the settings from the environment and say what is wrong with them, or should not stay so.

    Args:
        environ: The environment, or what a file of settings holds.
        prefix: Of the names.
    """
    odd = [Finding("warning", "环境变量", words.split(" / ")[-1]) for words in config.misspelt(sorted(environ), prefix)]
    try:
        settings = config.load({}, {}, environ, prefix)
    except ConfigError as exc:
        wrong = [Finding("error", name, cause, "改好后重启服务", SETTINGS_WRONG) for name, _, cause in exc.problems]
        wanted = (f"{prefix}APPID", f"{prefix}AES_KEY") if environ.get(f"{prefix}MODE") != "plain" else ()
        unset = [Finding("warning", name, "没有设置，安全模式需要它") for name in wanted if name not in environ]
        named = {found.name for found in wrong}
        return None, [*wrong, *(finding for finding in unset if finding.name not in named), *odd]
    if settings.appid and not re.fullmatch(r"wx[0-9a-z]{16}", settings.appid):
        odd.append(
            Finding("warning", f"{prefix}APPID", "AppID 多半不对：应是 wx 加 16 位小写字母或数字", "从公众平台重新复制")
        )
    encrypted = f"，AppID {settings.appid}，EncodingAESKey {len(settings.aes_key)} 位" if settings.aes_key else ""
    found = f"{settings.mode} 模式，Token {len(settings.token)} 位{encrypted}"
    said = [warning.split(" / ")[-1] for warning in config.warnings(settings)]
    return settings, [
        Finding("ok", "环境变量", found),
        *(Finding("warning", "环境变量", words) for words in said),
        *odd,
    ]


def unread_files(folder: Path, prefix: str = "WX_MP_") -> Iterator[str]:
    """Yield where settings stand that nobody has loaded, and how to load them.

    Args:
        folder: Where the command was started.
        prefix: Of the names.
    """
    for file in (folder / ".env", folder / "wx-mp-svr.env", Path("/etc/wx-mp-svr.env")):
        with suppress(OSError, UnicodeDecodeError):  # systemd's own may be for root only
            if any(name.startswith(prefix) for name in envfile.read(file.read_text("utf-8-sig"))):
                only = "只有 flask 命令会读它" if file.name == ".env" else "只有 systemd 会读它"
                yield f"{file} 里有 {prefix}… 的设置，但这里没有读：{only}；检查它用 wx-mp-svr check --env-file {file}"


def clock_skew(attempt: Try, now: float) -> float | None:
    """Return how many seconds the server's clock is ahead by its Date header; None where it has none."""
    try:
        return parsedate_to_datetime(attempt.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError, OverflowError):  # whatever a stranger calls a date
        return None


def clock(skew: float) -> Finding:
    """Judge a clock: its skew counts against the window of +-300 s."""
    if abs(skew) <= SKEW_WARNING:
        return Finding("ok", "服务器时钟", f"相差 {abs(skew):.0f} 秒")
    level: Level = "error" if abs(skew) > SKEW_ERROR else "warning"
    cause = f"比本机{'快' if skew > 0 else '慢'} {abs(skew):.0f} 秒"
    return Finding(level, "服务器时钟", cause, "校准服务器（或本机）的时钟：timedatectl set-ntp true")


def account(settings: Settings) -> dict[str, Any]:
    """Return what WeChat and the bot both know."""
    return {name: getattr(settings, name) for name in ("token", "appid", "aes_key", "mode")}


def wechat_of(settings: Settings, url: str, **changed: Any) -> FakeWeChat:
    """Return a WeChat for the account of *settings*."""
    return FakeWeChat(url, **{**account(settings), **changed})


def new_echostr() -> str:
    """Return an echostr as WeChat makes them."""
    return str(10**18 + secrets.randbelow(10**18))


def strangers(wechat: FakeWeChat) -> Finding:
    """Ask and push with a wrong Token: whoever gets an answer can play WeChat."""
    stranger = replace(wechat, token=secrets.token_hex(16), tries=1)
    name, fix = "拒绝错误的签名", "先验证 signature / msg_signature，不对就返回 403"
    echostr = new_echostr()
    if echostr.encode() in stranger.verify_url(echostr).reply:
        return Finding("error", name, "签名错误的 GET 也得到了 echostr：没有检查签名", fix)
    if b"<xml" in stranger.send_text(HELLO_BOT).tries[-1].reply:
        return Finding("error", name, "签名错误的消息也得到了回复：任何人都能冒充微信", fix)
    return Finding("ok", name, "服务器日志里会因此有 refused reason=signature，属正常")


def _verify(wechat: FakeWeChat) -> list[Asked]:
    """Ask several times, each time for another echostr; two failures say enough."""
    asked: list[Asked] = []
    while len(asked) < VERIFICATIONS and [one.attempt.good for one in asked] != [False, False]:
        echostr = new_echostr()
        asked.append(Asked(wechat.verify_url(echostr), echostr))
    return asked


def check(settings: Settings, url: str, *, time_scale: float = 1.0) -> Iterator[Finding]:
    """Ask *url* as WeChat would and yield what each check finds; stops where the rest could not be asked."""
    seconds = DEADLINE_SECONDS * time_scale
    for found in _way(url, seconds):
        yield found
    if found.level == "error":
        return
    wechat = wechat_of(settings, url, time_scale=time_scale)
    asked = _verify(wechat)
    first = asked[0].attempt
    skew = clock_skew(first, time.time())
    verified = verification(asked, url, skew)
    if verified.level == "error" and not any(one.attempt.good for one in asked):
        verified = _second_look(wechat, asked[0], verified)
    yield verified
    if skew is not None:
        yield clock(skew)
    if not any(one.attempt.status == 200 and one.echostr.encode() in one.attempt.reply for one in asked):
        return  # the rest would fail for the same reason
    yield strangers(wechat)
    yield _message(wechat, settings, url)


def _way(url: str, seconds: float) -> Iterator[Finding]:
    """Yield what is found on the way to *url*; the last one tells whether one gets there."""
    if not is_local(url):
        for found in public_address(url, seconds):
            yield found
            if found.exit_code == NOT_REACHABLE:
                return
    yield (found := reach(url, seconds))
    if found.level == "ok" and url.startswith("https:"):
        yield certificate(url, seconds)


def _message(wechat: FakeWeChat, settings: Settings, url: str) -> Finding:
    xml = wechat.build("text", {"Content": HELLO_BOT, "MsgId": new_msg_id()})
    sealed = wechat.seal(xml)
    results = [wechat.send_xml(xml, sealed=sealed)]
    if results[0].tries[0].good:
        # As a retry of WeChat's, which another instance may get. A bot that knows WeChat does not run again.
        results.append(replace(wechat, tries=1).send_xml(xml, sealed=sealed))
    plain = replace(wechat, mode="plain", tries=1)
    return message(results, settings.mode, url, lambda: plain.send_text(HELLO_BOT).type != "fault", texts_of(settings))


def texts_of(settings: Settings) -> Texts:
    """Return the texts of these settings and the defaults: the server may have been given others than we see."""

    def of(*names: str) -> set[str]:
        return {text for s in (settings, Settings()) for name in names if (text := getattr(s, name))}

    return Texts(frozenset(of("error_text", "lost_text", "busy_text")), tuple(of("slow_text")))


def of_push(wechat: FakeWeChat, result: Result, url: str, texts: Texts) -> Finding:
    """Say what became of one push, of a talk with a bot that nobody has checked before.

    Where it was refused the URL is verified: a wrong Token or a wrong clock is refused there, too, a wrong key is not.
    """
    if is_ours(result.tries[-1]):
        echostr = new_echostr()
        asked = Asked(wechat.verify_url(echostr), echostr)
        if not asked.attempt.good:
            skew = wechat.faults.skew or clock_skew(asked.attempt, time.time())
            return verification([asked], url, skew)
    return message([result], wechat.mode or "plain", url, lambda: False, texts)


def _second_look(wechat: FakeWeChat, one: Asked, found: Finding) -> Finding:
    """Ask a little differently where that tells more."""
    attempt = one.attempt
    if attempt.status == 404 and (better := _other_slash(wechat)):
        return found._replace(cause="URL 末尾多了或少了斜杠（HTTP 404）", fix=f"公众平台的 URL 改成 {better}")
    refused = attempt.error != "timeout" if attempt.status is None else attempt.status >= 400 and not is_ours(attempt)
    if refused and _newer_http_works(wechat, one):
        return found._replace(
            cause="拒绝 HTTP/1.0 的请求，HTTP/1.1 的可以；微信用的是 HTTP/1.0",
            fix="在 nginx、CDN 或 WAF 中放行 HTTP/1.0（例如去掉对它的 return 444 或 426）",
        )
    return found


def _newer_http_works(wechat: FakeWeChat, one: Asked) -> bool:
    line = Line(REAL)
    try:
        HttpTarget(wechat.target, "1.1")("GET", one.attempt.query, b"", line)
    except Exception:  # whatever a server may do instead of answering
        return False
    return line.status == 200 and line.reply == one.echostr.encode()


def _other_slash(wechat: FakeWeChat) -> str:
    """Return the URL with a slash more or less at its end if that one is right."""
    head, mark, query = wechat.target.partition("?")
    other = (head.removesuffix("/") if head.endswith("/") else head + "/") + mark + query
    return other if replace(wechat, target=other).verify_url().good else ""


_MODES = {"plain": "明文模式", "compatible": "兼容模式", "safe": "安全模式"}


def unseen(settings: Settings, url: str) -> Iterator[str]:
    """Yield what no check can see, to compare it on WeChat's settings page: of secrets the length and the last two."""

    def told(name: str, value: str) -> str:
        return f"{name} {len(value)} 位" + (f"，末两位 {value[-2:]}" if len(value) >= 8 else "")

    values = [f"URL {url}", told("Token", settings.token)]
    if settings.mode != "plain":
        values += [told("EncodingAESKey", settings.aes_key), f"AppID {settings.appid}"]
    yield "check 看不到公众平台：请核对那里的「服务器配置」是否与下面一致，并且已点「启用」"
    yield "  " + "；".join([*values, _MODES[settings.mode], "数据格式 XML"])
    if is_local(url):
        yield "  上面是本机地址：公众平台要填公网的 URL，请用它再检查一次"
    yield (
        "check 看不到微信的网络：若仍失败，提交时看服务器日志。没有新的一行 = 请求没有到达（备案、安全组、WAF）；"
        "refused reason= 后面就是原因"
    )
