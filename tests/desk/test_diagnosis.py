"""Broken servers and wrong settings: every cause is named rightly. And what the server itself says about a refused push."""

import email.utils
import gzip
import io
import json
import logging
import re
import socket
import ssl
import threading
import time
import urllib.parse
from contextlib import contextmanager

import pytest
import servers
from certificates import certify
from servers import always

from wx_mp_svr import WxMpServer, errors
from wx_mp_svr.clock import FastClock
from wx_mp_svr.config import Settings
from wx_mp_svr.desk import diagnosis, reaching
from wx_mp_svr.desk.findings import Finding, exit_code
from wx_mp_svr.exchange import FORBIDDEN, HELLO
from wx_mp_svr.testing import FakeWeChat, Faults

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OTHER_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
TOKEN, APPID = "Diagnosis7", "wx2c2769f8efd9abc2"
SAFE = {"token": TOKEN, "appid": APPID, "aes_key": KEY}
PLAIN = {"token": TOKEN}
ENV = {"WX_MP_TOKEN": TOKEN, "WX_MP_APPID": APPID, "WX_MP_AES_KEY": KEY}

# -- bots, good and broken ---------------------------------------------------------------------------------------------


def bot(account=SAFE, on_message=lambda req: "好", **more):
    """A bot that works, at /wx_mp_cb."""
    return WxMpServer(on_message=on_message, store="memory:", **account, **more)


def echostr(environ):
    return urllib.parse.parse_qs(environ["QUERY_STRING"]).get("echostr", [""])[0].encode()


def get(body, status="200 OK", headers=()):
    """A working bot, whose answer to the GET of a verification is *body* instead."""
    return by_method(always(body, status, headers), bot())


def post(body, status="200 OK", headers=(), **account):
    """A working bot, whose answer to messages is *body* instead."""
    return by_method(bot(**account), always(body, status, headers))


def by_method(for_get, for_post):
    return lambda environ, start: (for_get if environ["REQUEST_METHOD"] == "GET" else for_post)(environ, start)


def sent_on(app, change):
    """A proxy in front of *app* that changes the WSGI environment."""

    def proxy(environ, start_response):
        change(environ)
        return app(environ, start_response)

    return proxy


def redirecting(location):
    return get(b"", "302 Found", [("Location", location)])


def hanging(environ, start_response):
    threading.Event().wait(2)  # four times as long as WeChat waits here
    return always(b"")(environ, start_response)


def gzipped(body):
    return lambda environ: gzip.compress(body(environ))


def open_to_all(environ, start_response):
    """Echoes whatever it is asked, and answers whatever it gets, in safe mode: only the signatures are not looked at."""
    if environ["REQUEST_METHOD"] == "GET":
        return always(echostr)(environ, start_response)
    parts = urllib.parse.parse_qs(environ["QUERY_STRING"])
    xml = b"<xml><ToUserName>o</ToUserName></xml>" if parts else b""
    return always(xml)(environ, start_response)


def dated(skew):
    def date(environ):
        return echostr(environ)

    def app(environ, start_response):
        when = email.utils.formatdate(time.time() + skew, usegmt=True)
        return get(date, headers=[("Date", when)])(environ, start_response)

    return app


def slash_only(environ, start_response):
    if environ["PATH_INFO"] == "/wx_mp_cb/":
        return bot()(environ, start_response)
    return always(b"not found", "404 Not Found")(environ, start_response)


def misnamed(environ):
    return b"<xml><encrypt>a</encrypt><MsgSignature>b</MsgSignature><TimeStamp>1</TimeStamp><Nonce>2</Nonce></xml>"


def text_reply(environ):
    return (
        b"<xml><ToUserName>o</ToUserName><FromUserName>g</FromUserName><CreateTime>1</CreateTime>"
        b"<MsgType>text</MsgType><Content>x</Content></xml>"
    )


def newer_http_only(environ, start_response):
    app = always(b"", "400 Bad Request") if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else bot()
    return app(environ, start_response)


GET, POST, STRANGERS, CLOCK = "接入验证（GET）", "加密消息（POST）", "拒绝错误的签名", "服务器时钟"
PLAIN_POST = "明文消息（POST）"
BROKEN = {
    # name: (application, which check finds it, cause)
    "JSON": (get(lambda e: json.dumps(echostr(e).decode()).encode()), GET, "带了引号（JSON）"),
    "JSON and a newline": (get(lambda e: b'"%b"\n' % echostr(e)), GET, "带了引号（JSON）"),
    "HTML": (get(b"<!DOCTYPE html><html><body>Welcome to nginx!</body></html>"), GET, "HTML 网页"),
    "BOM": (get(lambda e: b"\xef\xbb\xbf" + echostr(e)), GET, "BOM"),
    "newline": (get(lambda e: echostr(e) + b"\n"), GET, "多了换行或空格"),
    "debug output": (get(lambda e: b"checking... " + echostr(e)), GET, "前后多了别的内容"),
    "gzip": (get(gzipped(echostr), headers=[("Content-Encoding", "gzip")]), GET, "被压缩了"),
    "gzip unannounced": (get(gzipped(echostr)), GET, "被压缩了"),
    "empty": (get(b""), GET, "空的"),
    "success": (get(b"success"), GET, "success 而不是 echostr"),
    "something else": (get(b"signature error"), GET, "'signature error'"),
    "500": (get(b"oops", "500 Internal Server Error"), GET, "HTTP 500"),
    "502": (get(b"", "502 Bad Gateway"), GET, "代理连不上程序"),
    "404": (get(b"", "404 Not Found"), GET, "路径不存在"),
    "405": (get(b"", "405 Method Not Allowed"), GET, "HTTP 405"),
    "400 to HTTP/1.0": (newer_http_only, GET, "拒绝 HTTP/1.0 的请求，HTTP/1.1 的可以"),
    "201": (get(echostr, "201 Created"), GET, "HTTP 状态是 201"),
    "hanging": (hanging, GET, "5 秒内没有回答"),
    "to https": (redirecting("https://127.0.0.1/wx_mp_cb?x=1"), GET, "http 被重定向到 https"),
    "to the slash": (redirecting("/wx_mp_cb/?x=1"), GET, "差一个斜杠"),
    "to a login": (redirecting("https://login.example.com/?next=secret"), GET, "'https://login.example.com/'"),
    "to nowhere": (get(b"", "302 Found"), GET, "不跟随跳转"),
    "slash missing": (slash_only, GET, "斜杠"),
    "wrong Token": (bot({**SAFE, "token": "another"}), GET, "Token 与这里的 WX_MP_TOKEN 不一致"),
    "query lost": (sent_on(bot(), lambda environ: environ.update(QUERY_STRING="")), GET, "查询参数丢了"),
    "an hour fast": (dated(3600), CLOCK, "比本机快 3"),
    "an hour slow": (dated(-3600), CLOCK, "比本机慢 36"),
    "signature unchecked in GET": (by_method(always(echostr), bot()), STRANGERS, "没有检查签名"),
    "signature unchecked": (open_to_all, STRANGERS, "没有检查签名"),
    "signature of messages unchecked": (post(text_reply), STRANGERS, "任何人都能冒充微信"),
    "wrong AES key": (bot({**SAFE, "aes_key": OTHER_KEY}), POST, "EncodingAESKey 或 AppID 与这里的不一致"),
    "wrong AppID": (bot({**SAFE, "appid": "wx0"}), POST, "EncodingAESKey 或 AppID 与这里的不一致"),
    "no AES key": (bot(PLAIN), POST, "没有启用加密"),
    "plain reply in safe mode": (post(text_reply), POST, "回复了明文"),
    "misnamed envelope": (post(misnamed), POST, "密文的格式不对"),
    "garbage XML": (post(b"<xml><a></xml>"), POST, "不是合格的 XML"),
    "JSON reply": (post(b'"success"'), POST, "JSON"),
    "HTML reply": (post(b"<html>error</html>"), POST, "HTML 网页"),
    "gzip reply": (post(gzipped(text_reply)), POST, "被压缩了"),
    "BOM in the reply": (post(b"\xef\xbb\xbf<xml></xml>"), POST, "BOM"),
    "500 to messages": (post(b"oops", "500 Internal Server Error"), POST, "HTTP 500"),
    "405 to messages": (post(b"", "405 Method Not Allowed"), POST, "同时接受 GET 和 POST"),
}


def settings_of(env=ENV):
    settings, findings = diagnosis.read_settings(env)
    assert settings is not None, findings
    return settings


def findings_of(app, env=ENV, path="/wx_mp_cb", scale=1.0):
    with servers.in_thread(app) as base:
        return list(diagnosis.check(settings_of(env), base + path, time_scale=scale))


def errors_in(findings):
    return [finding for finding in findings if finding.level == "error"]


@pytest.mark.parametrize(("app", "name", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_every_cause_is_named(app, name, cause):
    """By the right check, with something to do, and the exit code of a bot that is wrong."""
    findings = findings_of(app, scale=0.1 if app is BROKEN["hanging"][0] else 1.0)
    found = [finding for finding in errors_in(findings) if finding.name == name]
    assert len(found) == 1, findings
    assert cause in found[0].cause + found[0].fix
    assert found[0].fix
    # Nothing that works is blamed; but several of these bots also answer strangers, which is said.
    assert {error.name for error in errors_in(findings)} <= {name, STRANGERS, *([POST] if name == STRANGERS else [])}
    assert exit_code(findings) == 3
    assert not any(secret in str(findings) for secret in (TOKEN, KEY, "signature=", "secret"))


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_all_is_well_with_a_right_bot(mode):
    """One line for each check, exit code 0."""
    account = PLAIN if mode == "plain" else {**SAFE, "mode": mode}
    env = {"WX_MP_TOKEN": TOKEN} if mode == "plain" else {**ENV, "WX_MP_MODE": mode}
    findings = findings_of(bot(account), env, scale=1)
    assert {finding.level for finding in findings} == {"ok"}
    names = [finding.name.split()[0] for finding in findings]
    assert names == ["连接", GET, CLOCK, STRANGERS, PLAIN_POST if mode == "plain" else POST]
    assert exit_code(findings) == 0


def test_a_url_with_a_query_of_its_own_is_fine():
    """WeChat appends to it."""
    assert errors_in(findings_of(bot(), path="/wx_mp_cb?a=1", scale=1)) == []


def test_a_bot_that_says_nothing_is_a_warning():
    """An acknowledgement is right, but seldom what somebody wants who asks."""
    last = findings_of(bot(on_message=lambda req: None), scale=1)[-1]
    assert (last.level, last.cause) == ("warning", "收到了，但没有回复内容")


def test_a_plain_push_to_a_safe_bot():
    """The settings here lack the key."""
    findings = findings_of(bot(), {"WX_MP_TOKEN": TOKEN})
    assert [(f.name, f.cause) for f in errors_in(findings)] == [
        (PLAIN_POST, "明文消息被拒绝：服务器多半用的是安全模式")
    ]


def test_a_clock_that_is_off_explains_the_refusal():
    """Not the Token."""
    app = get(b"forbidden", "403 Forbidden", [("Date", email.utils.formatdate(time.time() - 900, usegmt=True))])
    causes = [finding.cause for finding in errors_in(findings_of(app))]
    assert causes[0] == "请求被拒绝：时钟相差太大，时间戳过期"
    assert re.fullmatch(r"比本机慢 (899|900|901) 秒", causes[1])


@pytest.mark.parametrize(
    ("skew", "level"), [(0, "ok"), (-30, "ok"), (31, "warning"), (300, "warning"), (-301, "error")]
)
def test_a_clock_is_judged_by_the_window_of_pushes(skew, level):
    """Five minutes either way."""
    assert diagnosis.clock(skew).level == level


def test_what_a_bot_is_asked():
    """A message, its retry, and in the safe mode nothing else: strangers and plain messages do not get so far."""
    asked = []
    findings_of(bot(on_message=lambda req: asked.append(req.content)))
    assert asked == ["wx-mp-svr check"]


def test_a_message_comes_again_as_the_very_same_request():
    """As a retry of WeChat's does."""
    pushed = []

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            pushed.append((environ["QUERY_STRING"], body))
            environ["wsgi.input"] = io.BytesIO(body)
        return good(environ, start_response)

    good = bot()
    assert errors_in(findings_of(app)) == []
    *_, first, second = pushed
    assert first == second


def test_a_server_that_hangs_is_asked_twice():
    """And not in another way besides: that would be five seconds more."""
    asked = []

    def app(environ, start_response):
        asked.append(environ["QUERY_STRING"])
        return hanging(environ, start_response)

    [error] = errors_in(findings_of(app, scale=0.1))
    assert "5 秒内没有回答" in error.cause
    assert len(asked) == len(set(asked)) == 2


# -- one push of a talk ------------------------------------------------------------------------------------------------


def refusing(environ):
    return FORBIDDEN.body


SLOW = [("Date", email.utils.formatdate(time.time() - 9000, usegmt=True))]
PUSHES = {
    # name: (application, faults, level, check, cause)
    "well": (bot(), Faults(), "ok", POST, "得到文本回复"),
    "wrong Token": (bot({**SAFE, "token": "another"}), Faults(), "error", GET, "Token 与这里的 WX_MP_TOKEN 不一致"),
    "wrong AES key": (bot({**SAFE, "aes_key": OTHER_KEY}), Faults(), "error", POST, "EncodingAESKey 或 AppID 与这里的"),
    "WeChat's clock": (bot(), Faults(skew=900), "error", GET, "时钟相差太大"),
    "the server's clock": (always(refusing, "403 Forbidden", SLOW), Faults(), "error", GET, "时钟相差太大"),
    "refused, and no echo": (
        by_method(always(lambda e: b'"%b"' % echostr(e)), always(refusing, "403 Forbidden")),
        *(Faults(), "error", GET, "带了引号（JSON）"),
    ),
    "forbidden by others": (post(b"Denied", "403 Forbidden"), Faults(), "error", POST, "被服务前面的程序拒绝"),
}


@pytest.mark.parametrize(("app", "faults", "level", "name", "cause"), PUSHES.values(), ids=PUSHES.keys())
def test_what_became_of_a_push(app, faults, level, name, cause):
    """Where it is refused the URL is verified, since the cause may be one that shows there."""
    wechat = FakeWeChat(app, **SAFE, faults=faults)
    found = diagnosis.of_push(wechat, wechat.send_text("好"), "http://127.0.0.1/wx", diagnosis.texts_of(Settings()))
    assert (found.level, found.name) == (level, name), found
    assert cause in found.cause


def test_the_texts_of_a_bot_are_known_and_the_defaults_as_well():
    """The server may have been given others than are seen here."""
    own = {"error_text": "错", "lost_text": "丢", "busy_text": "忙", "slow_text": "想"}
    texts = diagnosis.texts_of(Settings(**own))
    assert texts.faults == {"错", "丢", "忙", Settings.error_text, Settings.lost_text, Settings.busy_text}
    assert set(texts.slow) == {"想", Settings.slow_text}


# -- the way there -----------------------------------------------------------------------------------------------------


def test_nobody_listens():
    """Exit code 4."""
    findings = list(diagnosis.check(settings_of(), f"http://127.0.0.1:{servers.free_port()}/wx_mp_cb"))
    assert [(f.level, f.cause) for f in findings] == [("error", "没有程序在监听这个端口")]
    assert exit_code(findings) == 4


def test_a_name_that_no_dns_can_hold():
    """Never asked of a real DNS."""
    findings = list(diagnosis.check(settings_of(), f"http://{'a' * 70}.invalid/wx_mp_cb"))
    assert findings[-1].cause == "域名解析失败"
    assert exit_code(findings) == 4


def test_a_port_that_speaks_no_http():
    """It is reached, but there is no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def slam():
            for _ in range(4):  # `reach`, two GETs, one of HTTP/1.1
                listener.accept()[0].close()

        thread = threading.Thread(target=slam)
        thread.start()
        port = listener.getsockname()[1]
        findings = list(diagnosis.check(settings_of(), f"http://127.0.0.1:{port}/wx_mp_cb"))
        thread.join(5)
    assert "马上断开" in findings[-1].cause
    assert exit_code(findings) == 3


def test_a_private_address_and_a_port_of_its_own_are_nothing_for_wechat():
    """127.0.0.2 stands for what is neither this machine's usual name nor the Internet."""
    url = f"http://127.0.0.2:{servers.free_port()}/wx_mp_cb"
    causes = [finding.cause for finding in reaching.public_address(url)]
    assert causes[0] == "127.0.0.2 是内网地址，微信访问不到"
    assert causes[1].startswith("微信只访问 80（http）和 443（https）端口")


@pytest.mark.parametrize("url", ["http://8.8.8.8/wx", "https://8.8.8.8/wx", "https://8.8.8.8:443/wx"])
def test_a_public_address_at_wechats_ports_is_fine(url):
    """Numbers need no DNS, and nothing is asked."""
    assert [finding.level for finding in reaching.public_address(url)] == ["ok", "ok"]


@pytest.mark.parametrize(
    "url",
    "|example.com/wx|ftp://a/b|http://|http:///x|http://a b/|http://a:99999/|http://a:x/|http://a:0/|http://例子/"
    "|http://a/#b|http://[::1/".split("|"),
)
def test_a_url_that_is_none(url):
    """Said before anything is asked."""
    assert reaching.url_problem(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:5001/wx_mp_cb", "https://a.example/?x=1", "http://[::1]:80/"])
def test_a_url_that_is_one(url):
    assert reaching.url_problem(url) == ""


@contextmanager
def https(tmp_path, *names, **how):
    """Listen with a certificate; gives the URL, and the file that makes it trusted."""
    certify(tmp_path, *names, **how)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock = listener.accept()[0]
            try:
                context.wrap_socket(sock, server_side=True).close()
            except OSError:
                sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/wx_mp_cb", tmp_path / "root.pem"
        thread.join(5)


CERTIFICATES = {
    "self-signed": (False, {"days": 90}, "error", "自签名"),
    "good": (True, {"days": 90}, "ok", "还有 90 天过期"),
    "ends soon": (True, {"days": 5}, "warning", "还有 5 天过期"),
    "expired": (True, {"days": -1, "since": -99}, "error", "已过期"),
    "begins later": (True, {"days": 90, "since": 1}, "error", "还没有生效"),
    "chain": (True, {"days": 90, "chain": True}, "ok", "还有 90 天过期"),
    "half a chain": (True, {"days": 90, "chain": True, "whole": False}, "error", "证书链不完整"),
}


@pytest.mark.parametrize(("trusted", "how", "level", "cause"), CERTIFICATES.values(), ids=CERTIFICATES.keys())
def test_the_certificate(trusted, how, level, cause, tmp_path, monkeypatch):
    """As any client looks at it."""
    with https(tmp_path, **how) as (url, root):
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(root))
        found = reaching.certificate(url)
    assert (found.level, cause in found.cause) == (level, True), found


def test_the_certificate_of_somebody_else(tmp_path, monkeypatch):
    with https(tmp_path, "127.0.0.9", days=90) as (url, root):
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        found = reaching.certificate(url)
    assert (found.level, "不是这个域名的" in found.cause) == ("error", True), found


def test_https_to_a_port_that_speaks_http():
    """Reached, but it is no TLS."""
    with servers.in_thread(bot()) as base:
        findings = list(diagnosis.check(settings_of(), base.replace("http:", "https:") + "/wx_mp_cb"))
    assert "多半是 HTTP，不是 HTTPS" in findings[-1].cause
    assert exit_code(findings) == 3


# -- settings ----------------------------------------------------------------------------------------------------------

SETTINGS = {
    "none": ({}, "WX_MP_TOKEN", "缺少 Token"),
    "empty": ({**ENV, "WX_MP_AES_KEY": ""}, "WX_MP_AES_KEY", "设置了但为空"),
    "blanks": ({**ENV, "WX_MP_TOKEN": f"{TOKEN} "}, "WX_MP_TOKEN", "前后有空格"),
    "newline": ({**ENV, "WX_MP_AES_KEY": f"{KEY}\n"}, "WX_MP_AES_KEY", "前后有空格或换行"),
    "quotes": ({**ENV, "WX_MP_TOKEN": f'"{TOKEN}"'}, "WX_MP_TOKEN", "引号"),
    "Chinese quotes": ({**ENV, "WX_MP_AES_KEY": f"“{KEY}”"}, "WX_MP_AES_KEY", "引号"),
    "full-width": ({**ENV, "WX_MP_TOKEN": "Ｄiagnosis7"}, "WX_MP_TOKEN", "全角"),
    "AppSecret": ({**ENV, "WX_MP_APPID": "f00dface" * 4}, "WX_MP_APPID", "AppSecret"),
    "original id": ({**ENV, "WX_MP_APPID": "gh_97417a04a28d"}, "WX_MP_APPID", "原始ID"),
    "no AppID": ({"WX_MP_TOKEN": TOKEN, "WX_MP_AES_KEY": KEY}, "WX_MP_APPID", "缺少 AppID"),
    "44 characters": ({**ENV, "WX_MP_AES_KEY": f"{KEY}="}, "WX_MP_AES_KEY", "44 个字符"),
    "42 characters": ({**ENV, "WX_MP_AES_KEY": KEY[:-1]}, "WX_MP_AES_KEY", "43 位"),
    "port": ({**ENV, "WX_MP_PORT": "http"}, "WX_MP_PORT", "整数"),
    "mode": ({**ENV, "WX_MP_MODE": "secure"}, "WX_MP_MODE", "safe（安全）"),
}


@pytest.mark.parametrize(("env", "variable", "cause"), SETTINGS.values(), ids=SETTINGS.keys())
def test_every_mistake_in_the_settings_is_a_line(env, variable, cause):
    """In the words of `config.check`, and without the value; what safe mode needs besides is said, too."""
    settings, findings = diagnosis.read_settings(env)
    assert settings is None
    assert [f.name for f in findings if f.level == "error"] == [variable]
    assert cause in findings[0].cause
    unset = {"WX_MP_APPID", "WX_MP_AES_KEY"} - env.keys() - {variable}
    assert {f.name for f in findings if f.level == "warning"} == unset
    assert exit_code(findings) == 2
    assert not any(secret in str(findings) for secret in (TOKEN, KEY[:-1], "f00dface"))


def test_several_mistakes_are_several_lines():
    """All at once."""
    env = {"WX_MP_TOKEN": "a", "WX_MP_AES_KEY": KEY, "WX_MP_PORT": "-1"}
    assert {f.name for f in diagnosis.read_settings(env)[1]} == {"WX_MP_TOKEN", "WX_MP_APPID", "WX_MP_PORT"}


def test_what_works_but_should_not_stay():
    """Demo values, plain mode: warnings."""
    findings = diagnosis.read_settings({"WX_MP_TOKEN": "xxx"})[1]
    assert [finding.level for finding in findings] == ["ok", "warning", "warning"]
    said = [finding.cause for finding in findings]
    assert said[0] == "plain 模式，Token 3 位"
    assert "演示账号" in said[1]
    assert "明文模式" in said[2]
    assert not any(" / " in words for words in said)  # in Chinese only


def test_what_nobody_reads_is_said_in_chinese():
    [found] = [found for found in diagnosis.read_settings({**ENV, "WX_MP_TOKN": "x"})[1] if found.level != "ok"]
    assert (found.level, found.name, found.cause) == (
        *("warning", "环境变量", "没有 WX_MP_TOKN 这个设置，是不是 WX_MP_TOKEN？"),
    )


def test_an_appid_that_looks_like_none_is_a_warning():
    """Test accounts have such, too, so that it is no more than that."""
    for appid, odd in (("wx2c2769f8efd9abc2", False), ("wx2c2769f8efd9abc", True), ("wx2C2769f8efd9abc2", True)):
        settings, findings = diagnosis.read_settings({**ENV, "WX_MP_APPID": appid})
        assert settings.appid == appid
        assert ["WX_MP_APPID" in found.name for found in findings] == [False, *([True] if odd else [])]


FILES = [
    (".env", "WX_MP_TOKEN=a\n", "只有 flask 命令会读它"),
    (".env", "\ufeffWX_MP_TOKEN=a\n", "只有 flask 命令会读它"),
    ("wx-mp-svr.env", "# 公众号\nWX_MP_TOKEN=a\n", "只有 systemd 会读它"),
    ("wx-mp-svr.env", "WX2_TOKEN=a\n", None),
    ("wx-mp-svr.env", "", None),
    ("other.env", "WX_MP_TOKEN=a\n", None),
]


@pytest.mark.parametrize(("name", "text", "words"), FILES)
def test_a_file_that_nobody_has_loaded_is_named(name, text, words, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    told = [line for line in diagnosis.unread_files(tmp_path) if str(tmp_path) in line]
    file = tmp_path / name
    assert told == (
        []
        if words is None
        else [f"{file} 里有 WX_MP_… 的设置，但这里没有读：{words}；检查它用 wx-mp-svr check --env-file {file}"]
    )


def test_a_file_of_other_things_is_passed_over(tmp_path):
    (tmp_path / ".env").write_bytes("WX_MP_TOKEN=令牌".encode("gbk"))
    (tmp_path / "wx-mp-svr.env").mkdir()
    assert [line for line in diagnosis.unread_files(tmp_path) if str(tmp_path) in line] == []


def test_the_first_thing_to_mend_gives_the_exit_code():
    """Settings, then the connection, then the bot; warnings do not count."""
    codes = [
        [Finding(level, "", exit_code=code) for level, code in row]
        for row in (
            [],
            [("ok", 3), ("warning", 2)],
            [("error", 3)],
            [("error", 3), ("error", 4)],
            [("error", 4), ("error", 2)],
        )
    ]
    assert [exit_code(row) for row in codes] == [0, 0, 3, 4, 2]


# -- what the server says itself ---------------------------------------------------------------------------------------

NOW = 1_700_000_000 // 60 * 60


class At:
    """A server and a WeChat at a given time."""

    def __init__(self, account=SAFE, wechat=SAFE, mode=None, now=NOW):
        self.server = bot(account)
        self.wechat = FakeWeChat(self.server, **wechat, mode=mode, clock=FastClock(wall=lambda: now))

    def push(self, now=NOW, query=None):
        sealed = self.wechat.seal(self.wechat.build("text", {"Content": "hi", "MsgId": "1"}))
        return self.server._exchange.answer(sealed[0] if query is None else query, sealed[1], now=now)

    def verify(self, now=NOW):
        query = f"{self.wechat.seal('<xml></xml>')[0]}&echostr=1"
        return self.server._exchange.verify_url(query, now=now)


HINTS = {
    "Token": ({"wechat": {**SAFE, "token": "another"}}, {}, "Token 与公众平台填写的不一致，或请求不是微信发来的"),
    "slow clock": ({}, {"now": NOW - 3600}, "服务器时钟慢了 3600 秒：请校准服务器时钟"),
    "fast clock": ({}, {"now": NOW + 900}, "服务器时钟快了 900 秒：请校准服务器时钟"),
    "AES to plain": ({"account": PLAIN}, {}, "收到密文，请设置 WX_MP_AES_KEY"),
    "plain to safe": ({"mode": "plain"}, {}, "请把公众平台改成安全模式，或设置 WX_MP_MODE=compatible"),
    "AES key": ({"wechat": {**SAFE, "aes_key": OTHER_KEY}}, {}, "EncodingAESKey 或 AppID 与公众平台的不一致"),
    "AppID": ({"wechat": {**SAFE, "appid": "wx0"}}, {}, "EncodingAESKey 或 AppID 与公众平台的不一致"),
    "query lost": ({}, {"query": ""}, "反向代理丢了查询参数？"),
}


@pytest.mark.parametrize(("setup", "push", "hint"), HINTS.values(), ids=HINTS.keys())
def test_a_refused_push_says_what_is_probably_wrong(setup, push, hint, caplog):
    """In both languages, once a minute; without secrets."""
    at = At(**setup)
    caplog.clear()
    for _ in range(3):
        assert at.push(**push).status == 403
    assert caplog.text.count(hint) == 1
    refused = [line for line in caplog.messages if line.startswith("refused reason=")]
    assert re.search(r"; probably: [ -~]+ / \S", refused[0])
    assert all(record.levelno == logging.WARNING and "\n" not in record.getMessage() for record in caplog.records)
    assert not any(secret in caplog.text for secret in (TOKEN, KEY, OTHER_KEY, "another"))


def test_the_hint_comes_again_in_the_next_minute(caplog):
    """And for the GET, too, which is where it is needed first."""
    at = At(wechat={**SAFE, "token": "another"})
    caplog.clear()
    hints = []
    for second in (0, 1, 59, 60, 61, 120):
        assert at.verify(now=NOW + second).status == 403
        hints.append(caplog.text.count("Token 与公众平台填写的不一致"))
    assert hints == [1, 1, 1, 2, 2, 3]


def test_every_refusal_has_a_hint():
    """A new leaf of the tree needs one."""
    for leaf in errors.Refused.__subclasses__():
        error = leaf(1) if leaf is errors.ClockSkew else leaf("x")
        assert " / " in error.hint, leaf


def test_the_page_of_a_lost_query_is_recognized():
    """It is the server's own."""
    assert HELLO.startswith("微信公众号服务运行正常")
