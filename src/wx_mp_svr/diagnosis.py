"""Why WeChat says 「token 验证失败」: looks at the settings and at a URL as WeChat would, and names cause and fix.

Settings and a URL in, findings out, one for each check, in Chinese. `FakeWeChat` signs, seals and judges; here are the
words for what came back, as tables. Knows nothing of Flask or of the terminal.
"""

import ipaddress
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from . import config
from .config import Settings
from .errors import ConfigError
from .exchange import HELLO
from .testing import DEADLINE_SECONDS, FakeWeChat, Mode, Result, Try
from .workers import in_thread

SETTINGS_WRONG, BOT_WRONG, NOT_REACHABLE = 2, 3, 4  # exit codes; 0 when all is well
SKEW_WARNING, SKEW_ERROR = 30, 300  # seconds; a server's `window` is 300
CERTIFICATE_DAYS = 14
_PORTS = {"http": 80, "https": 443}
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|div|script)", re.IGNORECASE)
HELLO_BOT = "wx-mp-svr check"  # what the bot under test is asked

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """What one check found."""

    level: Level  # warning: it works, but should not stay so
    name: str
    cause: str = ""
    fix: str = ""
    exit_code: int = BOT_WRONG  # if it is an error


def exit_code(findings: list[Finding]) -> int:
    """Return the exit code that sums up *findings*: the first cause in the order in which one would mend them."""
    codes = {finding.exit_code for finding in findings if finding.level == "error"}
    return next((code for code in (SETTINGS_WRONG, NOT_REACHABLE, BOT_WRONG) if code in codes), 0)


def read_settings(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Read the settings from the environment and say what is wrong with them, or should not stay so."""
    try:
        settings = config.load({}, {}, environ)
    except ConfigError as exc:
        wrong = [Finding("error", name, cause, "改好后重启服务", SETTINGS_WRONG) for name, _, cause in exc.problems]
        wanted = ("WX_MP_APPID", "WX_MP_AES_KEY") if environ.get("WX_MP_MODE") != "plain" else ()
        unset = [Finding("warning", name, "没有设置，安全模式需要它") for name in wanted if name not in environ]
        return None, wrong + [finding for finding in unset if finding.name not in {found.name for found in wrong}]
    encrypted = f"，AppID {settings.appid}，EncodingAESKey {len(settings.aes_key)} 位" if settings.aes_key else ""
    found = f"{settings.mode} 模式，Token {len(settings.token)} 位{encrypted}"
    said = [warning.split(" / ")[-1] for warning in config.warnings(settings)]
    return settings, [Finding("ok", "环境变量", found), *(Finding("warning", "环境变量", words) for words in said)]


def url_problem(url: str) -> str:
    """Return what is wrong with the writing of *url*, in Chinese; "" for nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "URL 格式不对"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "URL 必须以 http:// 或 https:// 开头，后接域名或 IP"
    if not re.fullmatch(r"[!-~]+", url) or parts.fragment:
        return "URL 不能含有空格、中文或 #"
    return "URL 的端口不对" if port == 0 else ""


def is_local(url: str) -> bool:
    """Whether *url* is for trying things on this machine, not for WeChat."""
    return urlsplit(url).hostname in config.LOOPBACK


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what *call* returns; resolving a name cannot be given a deadline in any other way."""
    try:
        return in_thread(call, "diagnosis").result(seconds)
    except futures.TimeoutError:  # another one than the builtin until Python 3.11
        raise TimeoutError from None


def reach(url: str, seconds: float = DEADLINE_SECONDS) -> Finding:
    """Try to connect."""
    host, port = _place(url)
    name = f"连接 {host}:{port}"
    try:
        _within(seconds, lambda: socket.create_connection((host, port), timeout=seconds).close())
    except (OSError, UnicodeError) as exc:  # UnicodeError: a name that no DNS can hold
        return Finding("error", name, *_unreachable(exc, is_local(url)), NOT_REACHABLE)
    return Finding("ok", name, "端口可以连接")


def _unreachable(exc: Exception, local: bool) -> tuple[str, str]:
    if isinstance(exc, socket.gaierror | UnicodeError):
        return "域名解析失败", "检查域名拼写和 DNS 解析记录"
    if isinstance(exc, ConnectionRefusedError):
        what = "服务（python bot.py 或 wx-mp-svr demo）" if local else "nginx 和服务"
        return "没有程序在监听这个端口", f"先启动{what}，并核对端口"
    if isinstance(exc, TimeoutError):
        return "连接超时", "检查防火墙和云服务器的安全组是否放行这个端口"
    return f"连接失败（{exc}）", "检查网络和地址"


def public_address(url: str, seconds: float = DEADLINE_SECONDS) -> Iterator[Finding]:
    """Say whether WeChat can get at *url* at all: from the Internet, at its only two ports."""
    host, port = _place(url)
    try:
        found = _within(seconds, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        addresses = sorted({str(row[4][0]).split("%")[0] for row in found})
    except (OSError, UnicodeError):
        return  # `reach` says so
    if private := [address for address in addresses if not ipaddress.ip_address(address).is_global]:
        yield Finding("error", "公网地址", f"{private[0]} 是内网地址，微信访问不到", "换成公网域名，或用内网穿透")
    else:
        yield Finding("ok", "公网地址", addresses[0])
    wrong = "" if port == _PORTS[urlsplit(url).scheme] else f"微信只访问 80（http）和 443（https）端口，不是 {port}"
    yield Finding("error", "端口", wrong, "用 nginx 转发") if wrong else Finding("ok", "端口", str(port))


_CERTIFICATES = (
    # OpenSSL's words, cause, fix
    ("expired", "证书已过期", "续期证书后重启 nginx"),
    ("mismatch|not valid for", "证书不是这个域名的", "换成这个域名的证书"),
    ("self.signed", "证书是自签名的", "换成受信任的证书（例如 Let's Encrypt）"),
    ("unable to get", "证书链不完整", "在 nginx 中使用含中间证书的 fullchain"),
)


def certificate(url: str, seconds: float = DEADLINE_SECONDS) -> Finding:
    """Look at the certificate as any client does."""
    host, port = _place(url)

    def shake() -> float:
        context = ssl.create_default_context()
        with (
            socket.create_connection((host, port), timeout=seconds) as sock,
            context.wrap_socket(sock, server_hostname=host) as safe,
        ):
            return ssl.cert_time_to_seconds(str((safe.getpeercert() or {})["notAfter"]))

    try:
        days = (_within(seconds, shake) - time.time()) / 86400
    except ssl.SSLCertVerificationError as exc:
        words = exc.verify_message.lower()
        found = ((cause, fix) for mark, cause, fix in _CERTIFICATES if re.search(mark, words))
        cause, fix = next(found, ("证书无效", "换成受信任的证书"))
        return Finding("error", "HTTPS 证书", f"{cause}（{exc.verify_message}）", fix)
    except (OSError, UnicodeError) as exc:
        return Finding("error", "HTTPS 证书", f"TLS 握手失败（{type(exc).__name__}）", "确认这个端口上是 HTTPS 服务")
    level: Level = "warning" if days < CERTIFICATE_DAYS else "ok"
    return Finding(level, "HTTPS 证书", f"证书还有 {days:.0f} 天过期", "续期证书" if level == "warning" else "")


# -- what came back ----------------------------------------------------------------------------------------------------

Words = tuple[str, str]  # cause and fix

_ECHO_BACK = "原样返回 echostr：HTTP 200、text/plain，前后不加任何内容"
_STATUSES: dict[int, Words] = {
    403: ("请求被拒绝（HTTP 403）", "核对两边的 Token、EncodingAESKey、AppID 和加解密方式；原因见服务器日志"),
    404: ("这个路径不存在（HTTP 404）", "核对 URL 的路径（默认 /wx_mp_cb）和 nginx 的 location"),
    405: ("不接受这种请求方法（HTTP 405）", "让这个路径同时接受 GET 和 POST"),
    500: ("程序出错（HTTP 500）", "看服务器日志中的错误堆栈"),
    502: ("代理连不上程序（HTTP 502）", "启动服务，核对 nginx 的 proxy_pass 端口"),
    503: ("服务不可用（HTTP 503）", "看服务器日志；服务是否过载或正在重启"),
    504: ("代理等不到程序的回答（HTTP 504）", "把 nginx 的 proxy_read_timeout 设为 10s，并看服务器日志"),
}


def _no_answer(attempt: Try, url: str) -> Words | None:
    """Name what is wrong when there is no HTTP 200."""
    if attempt.status is None and attempt.error == "timeout":
        return "5 秒内没有回答", "看程序是否卡住；单线程的服务请用 gunicorn -k gthread --threads 64"
    if attempt.status is None:
        return f"连上了，但没有得到 HTTP 回答（{attempt.error}）", "确认这个端口上是 HTTP 服务，并看服务器日志"
    if 300 <= attempt.status < 400:
        return _redirect(url, attempt.headers.get("location", ""))
    if attempt.status != 200:
        return _STATUSES.get(attempt.status, (f"HTTP 状态是 {attempt.status}，微信只认 200", "让这个地址返回 200"))
    return None


def _redirect(url: str, location: str) -> Words:
    # Never shown whole: it may repeat the signed query.
    target, asked = urlsplit(location), urlsplit(url)
    same_host = not target.hostname or target.hostname == asked.hostname
    if same_host and target.scheme == "https" and asked.scheme == "http":
        return "http 被重定向到 https，微信不跟随跳转", "公众平台的 URL 改成 https:// 开头"
    if same_host and target.path != asked.path and target.path.rstrip("/") == asked.path.rstrip("/"):
        return f"被重定向到 {target.path!r}（差一个斜杠），微信不跟随跳转", f"公众平台的 URL 路径改成 {target.path}"
    shown = f"{target.scheme}://{target.netloc}{target.path}" if target.netloc else target.path
    return f"被重定向到 {shown[:80]!r}，微信不跟随跳转", "让这个地址直接回答（不要跳转到登录页或别的域名）"


def _compressed(attempt: Try) -> bool:
    return attempt.reply[:2] == b"\x1f\x8b" or attempt.headers.get("content-encoding", "identity") != "identity"


def _begins(reply: bytes) -> str:
    return repr(reply[:60].decode(errors="replace"))  # never a control character


# In this order: the first that is true names the fault.
_ECHOES: tuple[tuple[Callable[[Try, bytes], bool], str, str], ...] = (
    (lambda t, e: _compressed(t), "回答被压缩了（gzip），微信不解压", "对这个地址关闭压缩（nginx：gzip off）"),
    (lambda t, e: not t.reply, "返回的内容是空的", _ECHO_BACK + "（处理 GET 的函数要 return echostr）"),
    (lambda t, e: t.reply == b"\xef\xbb\xbf" + e, "内容前面有 BOM", "把源文件存为「UTF-8 无 BOM」，" + _ECHO_BACK),
    (lambda t, e: t.reply.strip() == b'"%b"' % e, "内容带了引号（JSON）", "不要用 jsonify 或返回 JSON，" + _ECHO_BACK),
    (lambda t, e: t.reply.strip() == e, "内容前后多了换行或空格", _ECHO_BACK + "（不要用 print 或 echo 输出）"),
    (lambda t, e: HELLO.encode() == t.reply, "查询参数丢了：程序没有收到 signature 等参数", "让反向代理保留查询参数"),
    (lambda t, e: t.reply == b"success", "返回了 success 而不是 echostr", _ECHO_BACK),
    (
        lambda t, e: bool(_HTML.match(t.reply)),
        "返回的是 HTML 网页",
        "这个地址是网站而不是程序：核对路径和 nginx 的 location",
    ),
    (lambda t, e: e in t.reply, "echostr 前后多了别的内容", _ECHO_BACK),
)


def verification(attempt: Try, echostr: str, url: str, skew: float | None = None) -> Finding:
    """Say how the GET went with which WeChat verifies a URL."""
    name = "接入验证（GET）"
    if attempt.good:
        return Finding("ok", name, f"{attempt.elapsed:.1f} 秒内原样返回 echostr")
    words = _no_answer(attempt, url)
    if attempt.status == 403 and skew is not None and abs(skew) > SKEW_ERROR:
        words = "请求被拒绝：时钟相差太大，时间戳过期", "校准服务器时钟（timedatectl set-ntp true）"
    elif attempt.status == 403:
        fix = "两边和公众平台填同一个 Token，重启服务；若一致，再查防火墙和 nginx 的访问限制"
        words = "请求被拒绝（HTTP 403）：服务器上的 Token 与这里的 WX_MP_TOKEN 不一致", fix
    elif words is None:
        other = (f"返回的不是 echostr，而是 {_begins(attempt.reply)}", "核对两边的 Token；" + _ECHO_BACK)
        words = next(((cause, fix) for look, cause, fix in _ECHOES if look(attempt, echostr.encode())), other)
    return Finding("error", name, *words)


_CHECKS: dict[str, Words] = {
    # by the names that the judge gives to its checks
    "no BOM": ("回复前面有 BOM", "把源文件存为「UTF-8 无 BOM」"),
    "no control characters": ("回复中有 XML 不允许的控制字符", "回复前去掉控制字符"),
    "root <xml>": ("回复的根元素不是 <xml>", "按微信的格式回复"),
    "plain reply": ("明文模式下回复了密文", "两边用同一种加解密方式"),
    "MsgSignature": ("回复的 MsgSignature 不对", "核对 Token；签名用的是 Token、TimeStamp、Nonce、Encrypt"),
    "decrypt": ("回复解不开：EncodingAESKey 或 AppID 与这里的不一致", "两边填同一个 EncodingAESKey 和 AppID"),
    "ToUserName": ("ToUserName 不是发消息的用户", "回复时交换 ToUserName 和 FromUserName"),
    "FromUserName": ("FromUserName 不是公众号", "回复时交换 ToUserName 和 FromUserName"),
    "CreateTime": ("CreateTime 不是秒数", "填整数秒，例如 int(time.time())"),
    "MsgType": ("MsgType 不是回复类型", "用 text、image、voice、video、music 或 news"),
}


def _bad_reply(attempt: Try) -> Words:
    """Name what is wrong with an answer of HTTP 200 that WeChat would not take."""
    reply, check = attempt.reply, next(check for check in attempt.checks if check.level == "wrong")
    if _compressed(attempt):
        return "回复被压缩了（gzip），微信不解压", "对这个地址关闭压缩（nginx：gzip off）"
    if _HTML.match(reply):
        return "回复的是 HTML 网页", "看服务器日志；核对 nginx 的 location 和程序的 POST 处理"
    if check.name == "encrypted reply" and b"<MsgType>" in reply:
        return "安全模式下回复了明文", "回复也要加密：给服务器设置 WX_MP_AES_KEY"
    if check.name == "encrypted reply":
        return f"密文的格式不对（{check.detail}）", "元素名是 Encrypt、MsgSignature、TimeStamp、Nonce"
    if reply.lstrip()[:1] in (b'"', b"{", b"["):
        return f"回复的是 JSON：{_begins(reply)}", "回复 XML，或原样返回 success（不带引号）"
    if check.name == "well-formed XML":
        return f"回复不是合格的 XML：{_begins(reply)}", "按微信的格式回复 XML，或返回 success"
    return _CHECKS.get(check.name, (f"{check.name}：{check.detail}", "按微信的格式回复"))


def try_words(attempt: Try, url: str) -> Words:
    """Name what is wrong with one delivery of a push."""
    return _no_answer(attempt, url) or _bad_reply(attempt)


def message(result: Result, mode: Mode, url: str, plain_works: Callable[[], bool]) -> Finding:
    """Say whether a message came back right; *plain_works* is asked when an encrypted one did not."""
    name = "明文消息（POST）" if mode == "plain" else "加密消息（POST）"
    last = result.tries[-1]
    harmful = [check for check in last.checks if check.level == "harmful"]
    if last.good and not result.type:
        return Finding("warning", name, "收到了，但没有回复内容", "若处理函数应当回复，请看服务器日志")
    if last.good and harmful:
        return Finding("warning", name, f"{harmful[0].name}：{harmful[0].detail}", "按微信的限制回复")
    if last.good:
        return Finding("ok", name, f"{result.elapsed:.1f} 秒内得到 {result.type} 回复")
    refused = last.status in (400, 401, 403)
    if refused and mode == "plain":
        return Finding("error", name, "明文消息被拒绝：服务器用的是安全模式", "这里也设置 WX_MP_AES_KEY 和 WX_MP_APPID")
    if mode != "plain" and last.status is not None and plain_works():
        fix = "给服务器设置 WX_MP_AES_KEY 和 WX_MP_APPID 后重启"
        return Finding("error", name, "服务器只懂明文：没有启用加密", fix)
    if refused:
        cause = "Token 正确，但密文被拒绝：服务器上的 EncodingAESKey 或 AppID 与这里的不一致"
        return Finding("error", name, cause, "两边和公众平台填同样的值，重启服务")
    return Finding("error", name, *try_words(last, url))


def clock_skew(attempt: Try, now: float) -> float | None:
    """Return how many seconds the server's clock is ahead by its Date header; None where it has none."""
    try:
        return parsedate_to_datetime(attempt.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
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


def strangers(wechat: FakeWeChat) -> Finding:
    """Ask and push with a wrong Token: whoever gets an answer can play WeChat."""
    stranger = replace(wechat, token=secrets.token_hex(16), tries=1)
    name, fix = "拒绝错误的签名", "先验证 signature / msg_signature，不对就返回 403"
    echostr = str(10**18 + secrets.randbelow(10**18))
    if echostr.encode() in stranger.verify_url(echostr).reply:
        return Finding("error", name, "签名错误的 GET 也得到了 echostr：没有检查签名", fix)
    if b"<xml" in stranger.send_text(HELLO_BOT).tries[-1].reply:
        return Finding("error", name, "签名错误的消息也得到了回复：任何人都能冒充微信", fix)
    return Finding("ok", name, "服务器日志里会因此有 refused reason=signature，属正常")


def check(settings: Settings, url: str, *, time_scale: float = 1.0) -> Iterator[Finding]:
    """Ask *url* as WeChat would and yield what each check finds; stops where the rest could not be asked."""
    seconds = DEADLINE_SECONDS * time_scale
    if not is_local(url):
        yield from public_address(url, seconds)
    for look in [reach, *([certificate] if url.startswith("https:") else [])]:
        found = look(url, seconds)
        yield found
        if found.level == "error":
            return
    wechat = wechat_of(settings, url, time_scale=time_scale)
    echostr = str(10**18 + secrets.randbelow(10**18))
    attempt = wechat.verify_url(echostr)
    skew = clock_skew(attempt, time.time())
    verified = verification(attempt, echostr, url, skew)
    if attempt.status == 404 and (better := _other_slash(wechat)):
        verified = verified._replace(cause="URL 末尾多了或少了斜杠（HTTP 404）", fix=f"公众平台的 URL 改成 {better}")
    yield verified
    if skew is not None:
        yield clock(skew)
    if attempt.status != 200 or echostr.encode() not in attempt.reply:
        return  # the rest would fail for the same reason
    yield strangers(wechat)
    plain = replace(wechat, mode="plain", tries=1)
    yield message(wechat.send_text(HELLO_BOT), settings.mode, url, lambda: plain.send_text(HELLO_BOT).type != "fault")


def _other_slash(wechat: FakeWeChat) -> str:
    """Return the URL with a slash more or less at its end if that one is right."""
    head, mark, query = wechat.target.partition("?")
    other = (head.removesuffix("/") if head.endswith("/") else head + "/") + mark + query
    return other if replace(wechat, target=other).verify_url().good else ""
