"""The way to a URL, with resolver and connector held still: which words each way to fail has."""

import errno
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest
from certificates import certify

from wx_mp_svr.desk import reaching
from wx_mp_svr.desk.findings import NOT_REACHABLE, Finding

URL = "http://bot.example/wx"


def resolver(*addresses):
    """Give these to whoever asks, and note what was asked."""

    def resolve(host, port, family, kind):
        resolve.asked.append((host, port, family, kind))
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    resolve.asked = []
    return resolve


def failing(exc):
    def fail(*_, **__):
        raise exc

    return fail


def reached(connect, resolve=None, url=URL):
    return reaching.reach(url, 2.0, resolve=resolve or resolver("8.8.8.8"), connect=connect)


def test_a_port_that_can_be_connected_to():
    resolve, dialled = resolver("8.8.8.8", "8.8.4.4", "8.8.8.8"), []

    def connect(address, timeout):
        dialled.append((address, timeout))
        return socket.socket()

    assert reached(connect, resolve) == Finding("ok", "连接 bot.example:80", "端口可以连接")
    assert resolve.asked == [("bot.example", 80, socket.AF_INET, socket.SOCK_STREAM)]
    assert dialled == [(("8.8.4.4", 80), 2.0)]


def test_a_name_of_this_machine_is_asked_for_in_both_families():
    resolve = resolver("fe80::1%eth0")
    dialled = []

    def connect(address, timeout):
        dialled.append(address)
        return socket.socket()

    assert reached(connect, resolve, "http://localhost:5001/").name == "连接 localhost:5001"
    assert resolve.asked[0][:3] == ("localhost", 5001, socket.AF_UNSPEC)
    assert dialled == [("fe80::1", 5001)]


def no(number):
    return OSError(number, os.strerror(number))


WAYS_TO_FAIL = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "没有程序在监听这个端口", "先启动 nginx"),
    (TimeoutError("timed out"), "连接超时", "防火墙"),
    (no(errno.ENETUNREACH), "到不了这个地址", "检查网络和地址"),
    (no(errno.EHOSTUNREACH), "到不了这个地址", "检查网络和地址"),
    (OSError(errno.EHOSTUNREACH * 10, "other"), f"连接失败（[Errno {errno.EHOSTUNREACH}0] other）", "检查网络和地址"),
    (no(errno.EACCES), "连接失败（[Errno 13] Permission denied）", "检查网络和地址"),
]


@pytest.mark.parametrize(("exc", "cause", "fix"), WAYS_TO_FAIL)
def test_why_nobody_could_be_connected_to(exc, cause, fix):
    found = reached(failing(exc))
    assert (found.level, found.name, found.cause) == ("error", "连接 bot.example:80", cause)
    assert fix in found.fix
    assert found.exit_code == NOT_REACHABLE


def test_on_this_machine_one_is_told_to_start_the_program():
    refused = failing(ConnectionRefusedError())
    assert "python bot.py" in reached(refused, url="http://127.0.0.1:5001/").fix
    assert "python bot.py" not in reached(refused).fix


@pytest.mark.parametrize(
    ("exc", "cause"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "域名解析失败"),
        (UnicodeError("label too long"), "域名解析失败"),
        (OSError(errno.EIO, "odd"), "域名解析失败"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "DNS 没有回答"),
        (TimeoutError(), "DNS 没有回答"),
    ],
)
def test_why_a_name_has_no_address(exc, cause):
    found = reached(failing(AssertionError("nobody is dialled")), failing(exc))
    assert (found.level, found.name, found.cause) == ("error", "连接 bot.example:80", cause)
    assert found.exit_code == NOT_REACHABLE
    [public] = reaching.public_address(URL, resolve=failing(exc))
    assert (public.level, public.name, public.cause, public.exit_code) == ("error", "域名解析", cause, NOT_REACHABLE)
    assert public.fix == found.fix


def test_what_another_client_says_of_a_name_is_understood():
    assert reaching.unreachable("gaierror: [Errno -2] unknown", URL)[0] == "域名解析失败"
    assert reaching.unreachable("BadStatusLine: gaierror", URL) is None


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:5001/", True),
        ("https://localhost/", True),
        ("http://[::1]/", True),
        (URL, False),
        ("http://127.0.0.2/", False),
    ],
)
def test_what_is_for_this_machine_only(url, local):
    assert reaching.is_local(url) is local


PROBLEMS = {
    "http://[::1/": "格式不对",
    "http://a:99999/": "格式不对",
    "ftp://a/": "必须以 http:// 或 https:// 开头",
    "https://": "必须以 http:// 或 https:// 开头",
    "http://a/ b": "不能含有空格、中文或 #",
    "http://a/#b": "不能含有空格、中文或 #",
    "http://a:0/": "端口不对",
}


@pytest.mark.parametrize(("url", "words"), PROBLEMS.items())
def test_what_is_wrong_with_the_writing_of_a_url(url, words):
    assert words in reaching.url_problem(url)


def public(url, *addresses):
    resolve = resolver(*addresses)
    found = list(reaching.public_address(url, resolve=resolve))
    assert resolve.asked[0][2] == socket.AF_UNSPEC
    return [(finding.level, finding.name, finding.cause) for finding in found]


def test_which_addresses_wechat_gets_at():
    port = ("ok", "端口", "80")
    assert public(URL, "8.8.8.8", "::1") == [("ok", "公网地址", "8.8.8.8"), port]
    assert public(URL, "2001:4860::1")[0] == (
        *("error", "公网地址"),
        "域名只有 IPv6 地址（AAAA 记录），微信只用 IPv4",
    )
    assert public("http://[2001:4860::1]/", "2001:4860::1")[0][2] == "这是 IPv6 地址，微信只用 IPv4"
    assert public(URL, "10.0.0.1", "10.0.0.2")[0] == ("error", "公网地址", "10.0.0.1 是内网地址，微信访问不到")
    assert public(URL, "10.0.0.1", "8.8.8.8")[0] == (
        *("warning", "公网地址"),
        "域名也解析到内网地址 10.0.0.1，微信可能连到它",
    )
    assert public("http://127.0.0.5/", "127.0.0.5")[0] == ("error", "公网地址", "127.0.0.5 是内网地址，微信访问不到")
    for address, whose in {"198.18.0.1": "假地址", "198.19.255.255": "假地址", "127.0.0.5": "hosts 文件"}.items():
        level, _, cause = public(URL, address)[0]
        assert (level, cause.startswith(f"这里解析到 {address}，是"), whose in cause) == ("warning", True, True)
    assert public(URL, "198.20.0.1")[0][0] == "ok"


@pytest.mark.parametrize(
    ("url", "level", "cause", "fix"),
    [
        (URL, "ok", "80", ""),
        ("https://bot.example/", "ok", "443", ""),
        ("https://bot.example:80/", "error", "https 只能用 443 端口，不是 80", "公众平台的 URL 去掉 :80"),
        ("http://bot.example:443/", "error", "http 只能用 80 端口，不是 443", "公众平台的 URL 去掉 :443"),
        ("http://bot.example:81/", "error", "微信只访问 80（http）和 443（https）端口，不是 81", "用 nginx 转发"),
    ],
)
def test_which_ports_wechat_gets_at(url, level, cause, fix):
    assert list(reaching.public_address(url, resolve=resolver("8.8.8.8")))[1] == Finding(level, "端口", cause, fix)


def unverified(message):
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_message = message
    return exc


def handshake(reason):
    exc = ssl.SSLError(1, "failed")
    exc.reason = reason
    return exc


CERTIFICATES = [
    (unverified("certificate has expired"), "证书已过期（certificate has expired）"),
    (unverified("Hostname mismatch"), "证书不是这个域名的（Hostname mismatch）"),
    (unverified("IP address is not valid for"), "证书不是这个域名的（"),
    (unverified("self-signed certificate"), "证书是自签名的（"),
    (unverified("self signed certificate in chain"), "证书是自签名的（"),
    (unverified("certificate is not yet valid"), "证书还没有生效（"),
    (unverified("unable to get local issuer"), "证书链不完整（"),
    (unverified("bad"), "证书无效（bad）"),
    *(
        (handshake(reason), "这个端口上多半是 HTTP，不是 HTTPS")
        for reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")
    ),
    *(
        (handshake(reason), "服务器只支持 TLS 1.1 或更旧的版本")
        for reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")
    ),
    (handshake("OTHER"), "TLS 握手失败（SSLError）"),
    (ConnectionResetError(), "TLS 握手失败（ConnectionResetError）"),
]


@pytest.mark.parametrize(("exc", "cause"), CERTIFICATES)
def test_why_a_certificate_is_not_taken(exc, cause):
    found = reaching.certificate("https://bot.example/", resolve=resolver("8.8.8.8"), connect=failing(exc))
    assert (found.level, found.name) == ("error", "HTTPS 证书")
    assert found.cause.startswith(cause)
    assert found.fix


def test_without_an_address_there_is_no_certificate_to_look_at():
    found = reaching.certificate("https://bot.example/", resolve=failing(socket.gaierror(socket.EAI_NONAME, "no")))
    assert found.cause == "TLS 握手失败（_LookUpError）"


@contextmanager
def https(folder, **how):
    """Listen once with a certificate for 127.0.0.1; gives the URL."""
    certify(folder, "127.0.0.1", **how)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as sock, suppress(OSError):
                context.wrap_socket(sock, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(10)


@pytest.mark.parametrize(
    ("days", "level", "fix"),
    [(90, "ok", ""), (14.1, "ok", ""), (13.9, "warning", "续期证书"), (1, "warning", "续期证书")],
)
def test_a_certificate_that_ends_within_two_weeks_is_a_warning(days, level, fix, tmp_path, monkeypatch):
    dialled = []

    def connect(address, timeout):
        dialled.append(timeout)
        return socket.create_connection(address, timeout)

    with https(tmp_path, days=days) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        found = reaching.certificate(url, 4.0, connect=connect)
    assert found == Finding(level, "HTTPS 证书", f"证书还有 {days:.0f} 天过期", fix)
    assert dialled == [4.0]
