"""The way to a URL as WeChat goes it: name, address, port, connection, certificate.

A URL in, findings out. Resolver and connector are arguments, so that a test can hold them still. Says nothing of HTTP.
"""

import errno
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any
from urllib.parse import urlsplit

from .. import config
from ..handling.workers import in_thread
from ..testing import DEADLINE_SECONDS
from ..testing.line import PORTS, dial, family_of, place_of
from .findings import NOT_REACHABLE, Finding, Level, Words

CERTIFICATE_DAYS = 14

Resolve = Callable[..., list[Any]]  # as socket.getaddrinfo
Connect = Callable[..., socket.socket]  # as socket.create_connection


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


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what *call* returns; resolving a name cannot be given a deadline in any other way."""
    try:
        return in_thread(call, "diagnosis").result(seconds)
    except futures.TimeoutError:  # another one than the builtin until Python 3.11
        raise TimeoutError from None


class _LookUpError(Exception):
    """A name has no address."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.words: Words = cause, fix


_NO_SUCH_NAME = ("域名解析失败", "检查域名拼写和 DNS 解析记录")


def _look_up(url: str, family: int, seconds: float, resolve: Resolve) -> list[str]:
    host, port = place_of(urlsplit(url))
    try:
        rows = _within(seconds, lambda: resolve(host, port, family, socket.SOCK_STREAM))
    except (OSError, UnicodeError) as exc:  # UnicodeError: a name that no DNS can hold
        if isinstance(exc, TimeoutError) or getattr(exc, "errno", None) == socket.EAI_AGAIN:
            raise _LookUpError("DNS 没有回答", "检查本机的网络和 DNS 设置，以及域名的 DNS 服务商") from exc
        raise _LookUpError(*_NO_SUCH_NAME) from exc
    return sorted({str(row[4][0]).split("%")[0] for row in rows})


def _connected(url: str, seconds: float, resolve: Resolve, connect: Connect) -> socket.socket:
    """Connect as WeChat does, to one IPv4 address after the other; looking up and connecting have a deadline each."""
    host, port = place_of(urlsplit(url))
    found = _look_up(url, family_of(host), seconds, resolve)
    sock: socket.socket = _within(seconds, lambda: dial(found, port, seconds, connect))
    return sock


def reach(
    url: str,
    seconds: float = DEADLINE_SECONDS,
    *,
    resolve: Resolve = socket.getaddrinfo,
    connect: Connect = socket.create_connection,
) -> Finding:
    """Try to connect."""
    host, port = place_of(urlsplit(url))
    name = f"连接 {host}:{port}"
    try:
        _connected(url, seconds, resolve, connect).close()
    except _LookUpError as exc:
        return Finding("error", name, *exc.words, NOT_REACHABLE)
    except OSError as exc:
        words = unreachable(f"{type(exc).__name__}: {exc}", url) or (f"连接失败（{exc}）", "检查网络和地址")
        return Finding("error", name, *words, NOT_REACHABLE)
    return Finding("ok", name, "端口可以连接")


_NOBODY = "没有程序在监听这个端口"
_UNREACHABLE = (
    # what Python says, kind and words; cause, fix
    ("^ConnectionRefusedError", _NOBODY, "先启动 nginx 和服务，并核对端口"),
    ("^TimeoutError", "连接超时", "检查防火墙和云服务器的安全组是否放行这个端口"),
    (rf"Errno ({errno.ENETUNREACH}|{errno.EHOSTUNREACH})\b", "到不了这个地址", "检查网络和地址"),
    ("^gaierror", *_NO_SUCH_NAME),
)
_REFUSED_HERE = ("^ConnectionRefusedError", _NOBODY, "先启动服务（python bot.py 或 wx-mp-svr demo），并核对端口")


def unreachable(error: str, url: str) -> Words | None:
    """Name why nobody could be connected to; None where that was not it.

    Args:
        error: An exception's kind and words.
        url: Who was asked.
    """
    return _row((_REFUSED_HERE, *_UNREACHABLE) if is_local(url) else _UNREACHABLE, error)


# Addresses that a name has only on this machine: (network, whose address it is).
_ONLY_HERE = (
    (ipaddress.ip_network("198.18.0.0/15"), "代理软件的假地址（例如 Clash 的 fake-ip）"),
    (ipaddress.ip_network("127.0.0.0/8"), "本机 hosts 文件里的地址"),
)


def public_address(
    url: str, seconds: float = DEADLINE_SECONDS, *, resolve: Resolve = socket.getaddrinfo
) -> Iterator[Finding]:
    """Say whether WeChat can get at *url* at all: from the Internet, over IPv4, at its only two ports."""
    parts = urlsplit(url)
    host, port = place_of(parts)
    try:
        found = _look_up(url, socket.AF_UNSPEC, seconds, resolve)
    except _LookUpError as exc:
        yield Finding("error", "域名解析", *exc.words, NOT_REACHABLE)
        return
    yield _address(host, [address for address in found if ":" not in address])
    if port == PORTS[parts.scheme]:
        yield Finding("ok", "端口", str(port))
    elif port in PORTS.values():
        fix = f"公众平台的 URL 去掉 :{port}"
        yield Finding("error", "端口", f"{parts.scheme} 只能用 {PORTS[parts.scheme]} 端口，不是 {port}", fix)
    else:
        yield Finding("error", "端口", f"微信只访问 80（http）和 443（https）端口，不是 {port}", "用 nginx 转发")


def _address(host: str, found: list[str]) -> Finding:
    name = "公网地址"
    if not found:
        cause = "这是 IPv6 地址" if ":" in host else "域名只有 IPv6 地址（AAAA 记录）"
        return Finding("error", name, f"{cause}，微信只用 IPv4", "给域名加一条指向公网 IPv4 的 A 记录")
    private = [address for address in found if not ipaddress.ip_address(address).is_global]
    if not private:
        return Finding("ok", name, found[0])
    whose = [words for network, words in _ONLY_HERE if ipaddress.ip_address(private[0]) in network]
    if whose and host not in found:
        cause = f"这里解析到 {private[0]}，是{whose[0]}，看不到微信会得到的地址"
        return Finding("warning", name, cause, "换一台机器检查，或核对域名在公网 DNS 上的 A 记录")
    if len(private) < len(found):
        cause = f"域名也解析到内网地址 {private[0]}，微信可能连到它"
        return Finding("warning", name, cause, "核对 A 记录，公网 DNS 上只留公网地址")
    return Finding("error", name, f"{private[0]} 是内网地址，微信访问不到", "换成公网域名，或用内网穿透")


_CERTIFICATES = (
    # OpenSSL's words, cause, fix
    ("expired", "证书已过期", "续期证书后重启 nginx"),
    ("mismatch|not valid for", "证书不是这个域名的", "换成这个域名的证书"),
    ("self.signed", "证书是自签名的", "换成受信任的证书（例如 Let's Encrypt）"),
    ("not yet valid", "证书还没有生效", "核对本机的时钟；时钟若准，换一张已生效的证书"),
    ("unable to get", "证书链不完整", "在 nginx 中使用含中间证书的 fullchain"),
)
_HANDSHAKES = (
    # OpenSSL's reason, cause, fix
    (
        "WRONG_VERSION_NUMBER|HTTP_REQUEST|UNEXPECTED_MESSAGE",
        "这个端口上多半是 HTTP，不是 HTTPS",
        "nginx 写 listen 443 ssl; 并配好证书",
    ),
    (
        "UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION",
        "服务器只支持 TLS 1.1 或更旧的版本",
        "nginx：ssl_protocols TLSv1.2 TLSv1.3;",
    ),
)


def certificate(
    url: str,
    seconds: float = DEADLINE_SECONDS,
    *,
    resolve: Resolve = socket.getaddrinfo,
    connect: Connect = socket.create_connection,
) -> Finding:
    """Look at the certificate as any client does."""
    host, _ = place_of(urlsplit(url))

    def shake() -> float:
        context = ssl.create_default_context()
        with (
            _connected(url, seconds, resolve, connect) as sock,
            context.wrap_socket(sock, server_hostname=host) as safe,
        ):
            return ssl.cert_time_to_seconds(str((safe.getpeercert() or {})["notAfter"]))

    name = "HTTPS 证书"
    try:
        days = (_within(seconds, shake) - time.time()) / 86400
    except ssl.SSLCertVerificationError as exc:
        cause, fix = _row(_CERTIFICATES, exc.verify_message.lower()) or ("证书无效", "换成受信任的证书")
        return Finding("error", name, f"{cause}（{exc.verify_message}）", fix)
    except (OSError, _LookUpError) as exc:
        other = f"TLS 握手失败（{type(exc).__name__}）", "确认这个端口上是 HTTPS 服务"
        return Finding("error", name, *(_row(_HANDSHAKES, str(getattr(exc, "reason", ""))) or other))
    level: Level = "warning" if days < CERTIFICATE_DAYS else "ok"
    return Finding(level, name, f"证书还有 {days:.0f} 天过期", "续期证书" if level == "warning" else "")


def _row(table: tuple[tuple[str, str, str], ...], words: str) -> Words | None:
    return next(((cause, fix) for mark, cause, fix in table if re.search(mark, words)), None)
