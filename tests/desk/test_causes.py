"""Causes that people really had, each reproduced: what `check` says of it, and that it raises no alarm without one."""

import io
import socket
import ssl
import threading
import time
import urllib.parse
from contextlib import contextmanager

import flask
import pytest
import servers
from certificates import certify
from servers import always

from wx_mp_svr import WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.desk import diagnosis, reaching
from wx_mp_svr.desk.findings import cut, exit_code

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OTHER_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"
TOKEN, APPID = "Diagnosis7", "wx2c2769f8efd9abc2"
SAFE = {"token": TOKEN, "appid": APPID, "aes_key": KEY}
ENV = {"WX_MP_TOKEN": TOKEN, "WX_MP_APPID": APPID, "WX_MP_AES_KEY": KEY}
GET, POST = "接入验证（GET）", "加密消息（POST）"


def bot(on_message=lambda req: "好", **changed):
    return WxMpServer(on_message=on_message, store="memory:", **{**SAFE, **changed})


def settings_of(env=ENV):
    settings, findings = diagnosis.read_settings(env)
    assert settings is not None, findings
    return settings


def check(base, scale=1.0):
    return list(diagnosis.check(settings_of(), base + "/wx_mp_cb", time_scale=scale))


def said(findings, name):
    """The one finding of that name, in one line; without secrets."""
    [found] = [finding for finding in findings if finding.name == name]
    assert not any(secret in str(findings) for secret in (TOKEN, KEY, "signature="))
    return found.level, f"{found.cause} -> {found.fix}"


def response(status, body=b"", *headers):
    return always(body, status, headers, kind="text/html")


def only(method, app, right):
    """*app* answers *method*, *right* all else."""
    return lambda environ, start: (app if environ["REQUEST_METHOD"] == method else right)(environ, start)


# -- somebody in front ---------------------------------------------------------------------------------------------------

BEIAN = "<html><body>该网站暂时无法访问：网站未备案或未接入备案</body></html>"
FOOTER = "<html><body>Not Found <a>京ICP备12345678号-1</a></body></html>"
FRONTS = {
    # name: (what stands in front, what the line says, what it must not say)
    "block page": (response("403 Forbidden", BEIAN.encode()), "被云厂商拦截：域名多半没有备案", "Token"),
    "block page in GBK": (response("403 Forbidden", BEIAN.encode("gbk")), "被云厂商拦截", "Token"),
    "block page as 200": (response("200 OK", BEIAN.encode()), "被云厂商拦截", "网站而不是程序"),
    "block server": (response("403 Forbidden", b"", ("Server", "Beaver")), "被云厂商拦截", "Token"),
    "block place": (
        response("302 Found", b"", ("Location", "https://dnspod.example/webblock.html?d=x")),
        "被云厂商拦截",
        "跳转",
    ),
    "a site's own number": (response("404 Not Found", FOOTER.encode()), "路径不存在", "拦截"),
    "default site": (response("404 Not Found", b"<html>nginx</html>"), "server_name 与域名不一致", "WX_MP_TOKEN"),
    "403 of a WAF": (
        response("403 Forbidden", b"<h1>Request blocked</h1>", ("Server", "waf/2")),
        "GET 被服务前面的程序拒绝（HTTP 403，waf/2），它说 'Request blocked'",
        "WX_MP_TOKEN",
    ),
    "403 without a word": (response("403 Forbidden"), "GET 被服务前面的程序拒绝（HTTP 403", "WX_MP_TOKEN"),
    "our words as HTML": (response("403 Forbidden", b"forbidden"), "GET 被服务前面的程序拒绝", "WX_MP_TOKEN"),
    "400": (response("400 Bad Request", b"Bad Request"), "GET 被服务前面的程序拒绝（HTTP 400", "WX_MP_TOKEN"),
    "401": (response("401 Unauthorized", b"", ("WWW-Authenticate", "Basic")), "要求先登录", "WX_MP_TOKEN"),
    "CSRF": (response("400 Bad Request", b"The CSRF token is missing."), "被 CSRF 保护拒绝", "WX_MP_TOKEN"),
    "413": (response("413 Too Large"), "client_max_body_size", "返回 200"),
    "426": (response("426 Upgrade Required"), "HTTP/1.0", "返回 200"),
    "429": (response("429 Too Many Requests"), "限流", "返回 200"),
    "CDN 521": (response("521 Down"), "CDN 连不上源站（HTTP 521）", "返回 200"),
    "CDN 530": (response("530 Down"), "CDN 连不上源站（HTTP 530）", "返回 200"),
    "ngrok is down": (
        response("404 Not Found", b"", ("Ngrok-Error-Code", "ERR_NGROK_3200")),
        "ngrok 的隧道没有运行",
        "路径",
    ),
    "ngrok without bot": (response("502 Bad Gateway", b"ERR_NGROK_8012"), "ngrok 连不上程序", "nginx"),
    "ngrok's page": (response("200 OK", b"<html>ERR_NGROK_6024</html>"), "ngrok 的提示页", "网站而不是程序"),
}


@pytest.mark.parametrize(("app", "words", "never"), FRONTS.values(), ids=FRONTS.keys())
def test_who_refuses_the_get_is_named(app, words, never):
    """Not the Token, which nobody has looked at."""
    with servers.in_thread(app) as base:
        findings = check(base)
    level, line = said(findings, GET)
    assert (level, words in line, never in line) == ("error", True, False), line
    assert exit_code(findings) == 3


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (response("403 Forbidden", b"<h1>blocked</h1>"), "POST 被服务前面的程序拒绝（HTTP 403"),
        (response("400 Bad Request", b"The CSRF token is missing."), "被 CSRF 保护拒绝"),
        (response("401 Unauthorized"), "要求先登录"),
        (response("413 Too Large"), "client_max_body_size"),
        (response("200 OK", BEIAN.encode()), "被云厂商拦截"),
    ],
)
def test_who_refuses_the_post_is_named(app, words):
    """Not the key; the GET was fine."""
    with servers.in_thread(only("POST", app, bot())) as base:
        findings = check(base)
    level, line = said(findings, POST)
    assert (level, words in line, "EncodingAESKey" in line) == ("error", True, False), line
    assert said(findings, GET)[0] == "ok"


def test_a_hook_of_the_users_app_is_somebody_in_front():
    """Flask's own 403 page is not our refusal."""
    app = flask.Flask("hooked")
    app.before_request(lambda: flask.abort(403))
    WxMpServer(app=app, on_message=lambda req: "好", store="memory:", **SAFE)
    with servers.in_thread(app) as base:
        assert "GET 被服务前面的程序拒绝" in said(check(base), GET)[1]


NGINX = {
    # name: (inside of `location /`, which check, what it says)
    "deny all": ("deny all;", GET, "GET 被服务前面的程序拒绝（HTTP 403，nginx"),
    "POST denied": ("limit_except GET { deny all; }", POST, "POST 被服务前面的程序拒绝（HTTP 403，nginx"),
    "HTTP/1.0 dropped": (
        'if ($server_protocol = "HTTP/1.0") { return 444; }',
        GET,
        "拒绝 HTTP/1.0 的请求",
    ),
    "HTTP/1.0 426": (
        'if ($server_protocol = "HTTP/1.0") { return 426; }',
        GET,
        "拒绝 HTTP/1.0 的请求",
    ),
    "444 to all": ("return 444;", GET, "对方马上断开"),
    "body too large": ("client_max_body_size 10;", POST, "client_max_body_size"),
    "cached": ("proxy_cache echo; proxy_cache_key $uri; proxy_cache_valid 1m;", GET, "得到的是以前的 echostr"),
    "default site": ("return 404;", GET, "server_name 与域名不一致"),
    "query lost": ("rewrite ^ /wx_mp_cb? break;", GET, "查询参数丢了"),
}


def test_nginx_with_a_real_misconfiguration(tmp_path):
    """One nginx with a port for each; the last one is right, and nothing is said of it."""
    with servers.in_thread(bot()) as base:
        blocks = {name: f"location / {{ {inside} proxy_pass {base}; }}" for name, (inside, *_) in NGINX.items()}
        blocks["right"] = f"location / {{ proxy_pass {base}; }}"
        zone = f"proxy_cache_path {tmp_path}/cache keys_zone=echo:1m;"
        with servers.nginx_of(tmp_path, blocks, zone) as (ports, _):
            lines = {name: check(f"http://127.0.0.1:{port}") for name, port in ports.items()}
    assert {finding.level for finding in lines.pop("right")} == {"ok"}
    for name, (_, finding, words) in NGINX.items():
        level, line = said(lines[name], finding)
        assert (level, words in line) == ("error", True), (name, line)


SECONDS = {
    "other Token": ({"token": "another"}, GET, "4 次中有 2 次失败：被服务器拒绝"),
    "other key": ({"aes_key": OTHER_KEY}, POST, "2 次推送中有 1 次失败：请求被服务器拒绝（HTTP 403）"),
}


@pytest.mark.parametrize(("changed", "name", "words"), SECONDS.values(), ids=SECONDS.keys())
def test_one_of_two_instances_has_other_settings(changed, name, words, tmp_path):
    """Every try counts: an upstream of two gives every second request to the other one."""
    with servers.in_thread(bot()) as one, servers.in_thread(bot(**changed)) as two:
        findings = behind(tmp_path, one, two)
    level, line = said(findings, name)
    assert (level, words in line, "几个实例" in line) == ("error", True, True), line


def test_one_of_two_instances_is_down(tmp_path):
    """Where nginx does not ask the other one instead."""
    with servers.in_thread(bot()) as one:
        findings = behind(tmp_path, one, f"http://127.0.0.1:{servers.free_port()}")
    assert "次失败：代理连不上程序（HTTP 502）" in said(findings, GET)[1]


def test_two_good_instances_are_fine(tmp_path):
    with servers.in_thread(bot()) as one, servers.in_thread(bot()) as two:
        assert {finding.level for finding in behind(tmp_path, one, two)} == {"ok"}


def behind(directory, *bases):
    hosts = " ".join(f"server {base.removeprefix('http://')} max_fails=0;" for base in bases)
    block = "location / { proxy_pass http://bots; proxy_next_upstream off; }"
    with servers.nginx_of(directory, {"all": block}, f"upstream bots {{ {hosts} }}") as (ports, _):
        return check(f"http://127.0.0.1:{ports['all']}")


# -- on the way ------------------------------------------------------------------------------------------------------


def changing(change):
    """A proxy in front of a good bot that changes POSTs."""
    server = bot()

    def proxy(environ, start):
        if environ["REQUEST_METHOD"] == "POST":
            change(environ)
        return server(environ, start)

    return proxy


def drop(name):
    def change(environ):
        pairs = urllib.parse.parse_qsl(environ["QUERY_STRING"])
        environ["QUERY_STRING"] = urllib.parse.urlencode([pair for pair in pairs if pair[0] != name])

    return change


def as_get(environ):
    """As some proxies do when they follow a redirect."""
    environ.update(REQUEST_METHOD="GET", CONTENT_LENGTH="0", **{"wsgi.input": io.BytesIO()})


def as_form(environ):
    """Whoever takes the body for a form makes blanks of each +."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body.replace(b"+", b" ").replace(b"/", b" "))


CHANGES = {
    "POST becomes GET": as_get,
    "+ becomes a blank": as_form,
    "body lost": lambda environ: environ.update(CONTENT_LENGTH="0"),
    "msg_signature dropped": drop("msg_signature"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_was_changed_on_the_way_is_not_called_a_wrong_key(change):
    """It is only likely; the log tells which."""
    with servers.in_thread(changing(change)) as base:
        level, line = said(check(base), POST)
    assert level == "error"
    assert "EncodingAESKey" not in line or ("多半" in line and "refused reason=" in line), line


def behind_the_time():
    """A bot on a machine whose clock is 1,000 s slow; the Date is that of the server in front of it."""
    return bot().with_clock(FastClock(wall=lambda: time.time() - 1000))


@pytest.mark.parametrize("make", [lambda: bot(token="another"), behind_the_time], ids=["Token", "clock"])
def test_a_refused_get_is_only_likely_the_token(make):
    """A clock behind a proxy with a Date of its own looks the same from here; the log tells which."""
    with servers.in_thread(make()) as base:
        level, line = said(check(base), GET)
    assert (level, "多半" in line, "reason=signature" in line, "clock" in line) == ("error", True, True, True)


@contextmanager
def raw(*answers):
    """Take connections one after the other and answer the n-th request with the n-th of *answers* (the last one stays)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve():
            count = 0
            while not done.is_set():
                connection = listener.accept()[0]
                with connection:
                    asked = connection.recv(65536)
                    if asked:  # not only looked whether somebody is here
                        answers[min(count, len(answers) - 1)](connection, asked)
                        count += 1

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            done.set()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            thread.join(10)


def reset(connection, asked):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST instead of FIN


def chunked(connection, asked):
    query = urllib.parse.urlsplit(asked.split()[1].decode()).query
    echostr = urllib.parse.parse_qs(query).get("echostr", [""])[0].encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(echostr), echostr))


def forwards_to_nobody(connection, asked):
    """A proxy of ports, as Docker's and frp's: it takes the connection first and dials then."""
    try:
        socket.create_connection(("127.0.0.1", servers.free_port()), timeout=5).close()
    except ConnectionRefusedError:
        reset(connection, asked)


def test_a_port_that_accepts_and_resets():
    """Docker's or frp's, whose target refuses: no word of HTTP."""
    with raw(forwards_to_nobody) as base:
        level, line = said(check(base), GET)
    assert (level, "WX_MP_HOST=0.0.0.0" in line, "确认是 HTTP" in line) == ("error", True, False), line


def test_an_echostr_in_chunks():
    """HTTP/1.0 knows none."""
    with raw(chunked) as base:
        level, line = said(check(base), GET)
    assert (level, "chunked" in line, "Content-Length" in line) == ("error", True, True), line


# -- the bot ---------------------------------------------------------------------------------------------------------


def fails(req):
    raise ValueError("a fault of the handler")


@pytest.mark.parametrize(
    ("handler", "level", "words"),
    [
        (fails, "error", "处理函数多半出错了，用户看到：抱歉，出错了"),
        (lambda req: object(), "error", "处理函数多半出错了"),
        (lambda req: "好", "ok", "得到文本回复：好"),
    ],
)
def test_the_reply_is_shown_and_known(handler, level, words):
    """A handler's fault arrives as a text, too."""
    with servers.in_thread(bot(handler)) as base:
        found = said(check(base), POST)
    assert (found[0], words in found[1]) == (level, True), found


def test_an_answer_only_at_the_third_try_is_a_warning():
    """The user has waited long."""
    server, slow = bot(), [2.0, 2.0]

    def app(environ, start):
        answer = server(environ, start)
        if environ["REQUEST_METHOD"] == "POST" and b"forbidden" not in answer and slow:  # not to the stranger
            time.sleep(slow.pop())
        return answer

    with servers.in_thread(app) as base:
        level, line = said(check(base, scale=0.2), POST)
    assert (level, "第 3 次推送才有回复" in line, "用户看到：好" in line) == ("warning", True, True), line


def test_a_link_instead_of_the_answer_is_a_warning():
    """What the user got is shown."""
    ready = threading.Event()
    try:
        with servers.in_thread(bot(lambda req: ready.wait(20) and "好")) as base:
            level, line = said(check(base), POST)
    finally:
        ready.set()
    assert (level, "没有在 5 秒内完成" in line, "稍后点击" in line) == ("warning", True, True), line


def test_a_cold_start():
    """The first answer takes too long, all others are quick."""
    server, slow = bot(), [2.0]

    def app(environ, start):
        time.sleep(slow.pop() if slow else 0)
        return server(environ, start)

    with servers.in_thread(app) as base:
        level, line = said(check(base, scale=0.2), GET)
    assert (level, "冷启动" in line) == ("warning", True), line


# -- names and addresses -------------------------------------------------------------------------------------------------


def resolver(*addresses):
    """Give these addresses to whoever asks, of the family that is asked for."""

    def resolve(host, port, family, kind):
        rows = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in addresses]
        found = [(af, kind, 6, "", (address, port)) for af, address in rows if family in (af, socket.AF_UNSPEC)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return found

    return resolve


ADDRESSES = {
    "public": (["8.8.8.8"], "ok", "8.8.8.8"),
    "public, IPv6 too": (["8.8.8.8", "2001:4860:4860::8888"], "ok", "8.8.8.8"),
    "IPv6 only": (["2001:4860:4860::8888"], "error", "域名只有 IPv6"),
    "private": (["10.0.0.7"], "error", "内网地址"),
    "private and public": (["10.0.0.7", "8.8.8.8"], "warning", "也解析到内网地址 10.0.0.7"),
    "fake-ip": (["198.18.0.12"], "warning", "Clash"),
    "own hosts file": (["127.0.1.1"], "warning", "hosts 文件"),
}


@pytest.mark.parametrize(("addresses", "level", "words"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_the_address_as_wechat_sees_it(addresses, level, words):
    """Over IPv4; what only this machine sees is no error."""
    found, port = reaching.public_address("https://bot.example/wx", resolve=resolver(*addresses))
    assert (found.level, words in found.cause) == (level, True), found
    assert port.level == "ok"


PORTS = {
    "https://bot.example:80/": "https 只能用 443 端口，不是 80",
    "http://bot.example:443/": "http 只能用 80 端口，不是 443",
    "http://bot.example:8080/": "微信只访问 80（http）和 443（https）端口，不是 8080",
}


@pytest.mark.parametrize(("url", "cause"), PORTS.items())
def test_the_port_belongs_to_the_scheme(url, cause):
    assert list(reaching.public_address(url, resolve=resolver("8.8.8.8")))[1].cause == cause


def silent(*_):
    time.sleep(1)
    raise socket.gaierror(socket.EAI_AGAIN, "try again")


def unwilling(*_):
    raise socket.gaierror(socket.EAI_AGAIN, "try again")


@pytest.mark.parametrize("resolve", [silent, unwilling])
def test_a_dns_that_does_not_answer_is_no_firewall(resolve):
    """Timed apart from the connection."""
    begun = time.monotonic()
    found = reaching.reach("http://bot.example/", 0.2, resolve=resolve)
    [same] = reaching.public_address("http://bot.example/", 0.2, resolve=resolve)
    assert (found.cause, same.cause, exit_code([found])) == ("DNS 没有回答", "DNS 没有回答", 4)
    assert time.monotonic() - begun < 0.9


def test_a_public_name_is_tried_over_ipv4_only_each_address_in_turn():
    """The second one answers."""
    tried = []

    def connect(address, timeout):
        tried.append(address)
        if address[0] == "8.8.4.4":
            raise ConnectionRefusedError
        return socket.socket()

    resolve = resolver("8.8.4.4", "8.8.8.8", "2001:4860:4860::8888")
    assert reaching.reach("http://bot.example/", resolve=resolve, connect=connect).level == "ok"
    assert tried == [("8.8.4.4", 80), ("8.8.8.8", 80)]


# -- TLS -------------------------------------------------------------------------------------------------------------


def test_a_server_that_knows_only_old_tls(tmp_path):
    """TLS 1.1, in earnest."""
    certify(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as sock, pytest.raises(ssl.SSLError):
                context.wrap_socket(sock, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        found = reaching.certificate(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(10)
    assert (found.level, "TLS 1.1 或更旧" in found.cause) == ("error", True), found


def test_plain_http_on_the_port_of_https():
    with servers.in_thread(bot()) as base:
        found = reaching.certificate(base.replace("http:", "https:"))
    assert (found.level, "多半是 HTTP，不是 HTTPS" in found.cause) == ("error", True), found


# -- settings, and what nobody sees from here ------------------------------------------------------------------------------


def test_a_misspelt_variable_is_named():
    """On both sides the same mistake works, without encryption."""
    _, findings = diagnosis.read_settings({"WX_MP_TOKEN": TOKEN, "WX_MP_AESKEY": KEY})
    assert any("WX_MP_AESKEY" in finding.cause and "WX_MP_AES_KEY" in finding.cause for finding in findings)


@pytest.mark.parametrize("appid", ["wx123", "wx2c2769f8efd9abc2a", "ab2c2769f8efd9abc2"])
def test_an_appid_of_another_shape_is_a_warning(appid):
    _, findings = diagnosis.read_settings({**ENV, "WX_MP_APPID": appid})
    assert [(f.level, f.name) for f in findings if "多半不对" in f.cause] == [("warning", "WX_MP_APPID")]


WRONG = {
    "swapped": ({"WX_MP_TOKEN": KEY, "WX_MP_AES_KEY": TOKEN}, "填反了"),
    "zero width": ({"WX_MP_TOKEN": f"{TOKEN[:4]}\u200b{TOKEN[4:]}"}, "看不见的字符"),
    "BOM": ({"WX_MP_AES_KEY": f"\ufeff{KEY}"}, "看不见的字符"),
}


@pytest.mark.parametrize(("changed", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_seen_in_a_value(changed, words):
    settings, findings = diagnosis.read_settings({**ENV, **changed})
    assert settings is None
    assert words in findings[0].cause
    assert not any(secret in str(findings) for secret in (TOKEN, KEY))


def test_the_last_lines_say_what_check_cannot_see():
    """Of secrets the length and the last two characters, of a short one not even these."""
    first, values, *_, last = diagnosis.unseen(settings_of(), "https://bot.example/wx_mp_cb")
    assert first.startswith("check 看不到公众平台")
    assert last.startswith("check 看不到")
    assert "Token 10 位，末两位 s7；EncodingAESKey 43 位，末两位 FG；" in values
    assert all(word in values for word in ("https://bot.example/wx_mp_cb", APPID, "安全模式", "数据格式 XML"))
    assert all(word in last for word in ("备案", "安全组", "WAF", "refused reason="))
    for token, said in (("abc", "3 位"), ("abcdefg", "7 位"), ("abcdefgh", "8 位，末两位 gh")):
        assert f"Token {said}；" in list(diagnosis.unseen(settings_of({"WX_MP_TOKEN": token}), "http://a/"))[1]


def test_a_secret_is_never_cut_in_two():
    """Whoever prints knows only whole ones; a server that echoed the key got 27 of its 43 characters shown."""
    for offset in range(70):
        shown = cut("." * offset + KEY + " and more, and more, and more, and more")
        assert KEY in shown or not any(part in shown for part in (KEY[:4], KEY[-4:]))
