"""Threats B6: HTTP, operations and secrets."""

import base64
import gzip
import logging
import re
import socket
import struct
import sys
import time
import urllib.parse
from typing import Any

import pytest
import servers
import werkzeug.serving
from live import (
    AES_KEY,
    AES_KEY_OLD,
    APPID,
    KEY,
    LOG,
    SECRETS,
    TOKEN,
    Live,
    assert_ack,
    assert_refused,
    fresh,
    lines_of,
    raw,
    status_of,
    warnings_of,
)
from strange_input import BOMBS, FORGERIES, NO_PACKETS, RAISERS, noise
from wechat import TIMEOUT, HttpAnswer, Letter, WeChat, event, packet, text

from wx_mp_svr import ConfigError, ImageReqMsg, WxMpServer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO"])
def test_b110_other_methods_are_not_allowed(safe, method):
    letter = safe.wechat.letter(text("method"))
    with safe.untouched():
        path = f"{servers.CALLBACK}?{urllib.parse.urlencode(letter.query)}"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(letter.body)}\r\n\r\n"
        status = status_of(raw(safe.wechat.url, head.encode() + letter.body))
        assert status in ((405, 501) if method == "CONNECT" else (405,))


def test_b111_head_and_options_do_no_harm(safe):
    with safe.untouched():
        query = {**safe.wechat.stamp(), "echostr": "4711"}
        head = safe.wechat.request("HEAD", query)
        assert (head.status, head.body) in ((200, b""), (405, b""))
        assert safe.wechat.request("OPTIONS", query).status in (200, 204, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/wx",
        "/wx_mp_cb/x",
        "/wx_mp_cb/../etc/passwd",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/app.js",
        "/static/../demo.py",
        "/.env",
        "/.git/config",
        "/wx_mp_cb.php",
        "/WX_MP_CB",
        "/wx_mp_cb%00",
        "/x//wx_mp_cb",
        "/favicon.ico",
        "/console",
        "/wx_mp_cb%2f..%2f",
        "/wx_mp_cb;a=b",
    ],
)
def test_b112_other_paths_are_not_there(safe, path):
    query = {**safe.wechat.stamp(), "echostr": "4711"}
    assert safe.wechat.request("GET", query, path=path).status == 404
    letter = safe.wechat.letter(text("path"))
    with safe.untouched():
        assert safe.wechat.request("POST", letter.query, letter.body, path=path).status == 404


@pytest.mark.parametrize("path", ["/wx_mp_cb", "/wx_mp_cb/"])
def test_b112_the_path_works_with_and_without_slash(safe, path):
    assert safe.wechat.request("GET", {**safe.wechat.stamp(), "echostr": "4711"}, path=path).body == b"4711"
    letter = safe.wechat.letter(xml := text("slash"))
    answer = safe.wechat.request("POST", letter.query, letter.body, path=path)
    assert safe.wechat.open(answer, xml)["Content"] == "slash"


@pytest.mark.parametrize("path", ["//wx_mp_cb", "/wx_mp_cb//", "/./wx_mp_cb"])
def test_b112_nothing_is_redirected(safe, path):
    """WeChat does not follow."""
    assert safe.wechat.request("GET", {**safe.wechat.stamp(), "echostr": "4711"}, path=path).status in (200, 404)


def padded(live: Live, size: int, mode: str | None = None) -> Letter:
    """A good push whose body has *size* bytes: white space after the packet."""
    letter = live.wechat.letter(text("size"), mode)
    letter.body += b"\n" * (size - len(letter.body))
    return letter


LIMIT = 128 * 1024


def test_b113_the_limit_is_128_kb(safe):
    letter = padded(safe, LIMIT)
    assert safe.wechat.post(letter.query, letter.body).status == 200
    with safe.untouched():
        letter = padded(safe, LIMIT + 1)
        assert safe.wechat.post(letter.query, letter.body).status == 413
        assert safe.wechat.post({}, letter.body).status == 413


@pytest.mark.parametrize("megabytes", [2, 20])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_b113_a_large_body_is_refused(safe, megabytes, signed):
    letter = padded(safe, megabytes * 1024 * 1024)
    query = urllib.parse.urlencode(letter.query if signed else {})
    with safe.untouched():
        head = f"POST {servers.CALLBACK}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        request = f"{head}Content-Length: {len(letter.body)}\r\n\r\n".encode() + letter.body
        assert status_of(raw(safe.wechat.url, request)) in (413, None)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_b113_a_declared_length_of_200_mb_is_not_waited_for(safe, signed):
    """A little over the limit is sent, and the answer comes without the rest."""
    letter = padded(safe, LIMIT + 5000)
    query = urllib.parse.urlencode(letter.query if signed else {})
    with safe.untouched():
        head = f"POST {servers.CALLBACK}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        response = raw(safe.wechat.url, f"{head}Content-Length: {200 * 1024 * 1024}\r\n\r\n".encode() + letter.body)
        assert status_of(response) in (413, None)


def test_b113_through_gunicorn_and_nginx_too(front):
    letter = front.letter(xml := text("size"))
    for size in (LIMIT + 5000, 2 * 1024 * 1024):
        request = post_head(front, letter, f"Content-Length: {size}") + letter.body.ljust(size, b"\n")
        assert status_of(raw(front.url, request)) in (413, None)
    assert front.open(front.post(letter.query, letter.body), xml)["Content"] == "size"


def test_b113_is_told_in_the_log(caplog):
    with fresh() as live:
        letter = padded(live, LIMIT + 1)
        live.wechat.post(letter.query, letter.body)
    assert [line for line in warnings_of(caplog) if line.startswith("refused reason=size remote=127.0.0.1")]


def test_b114_a_compressed_body_is_not_inflated(safe):
    headers = {"Content-Type": "text/xml", "Content-Encoding": "gzip"}
    letter = safe.wechat.letter(text("compressed"))
    with safe.untouched():
        assert_refused(safe.wechat.post(letter.query, gzip.compress(letter.body), headers))
        bomb = gzip.compress(b"<xml>" + b"a" * 20_000_000)
        assert len(bomb) < LIMIT
        started = time.monotonic()
        assert_refused(safe.wechat.post(letter.query, bomb, headers))
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/xml",
        "application/xml; charset=gbk",
        "application/octet-stream",
        "application/json",
        "x",
        "你好".encode().decode("latin-1"),
    ],
    ids=ascii,
)
def test_b115_the_content_type_does_not_matter(safe, content_type):
    letter = safe.wechat.letter(xml := text("类型"))
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert safe.wechat.open(safe.wechat.post(letter.query, letter.body, headers), xml)["Content"] == "类型"


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", "multipart/mixed"],
)
def test_b116_not_even_that_of_a_form(safe, content_type):
    letter = safe.wechat.letter(xml := text("表单=&"))
    answer = safe.wechat.post(letter.query, letter.body, {"Content-Type": content_type})
    assert answer.status in (200, 415)
    if answer.status == 200:
        assert safe.wechat.open(answer, xml)["Content"] == "表单=&"


def post_head(wechat: WeChat, letter: Letter, *lines: str) -> bytes:
    head = [
        f"POST {servers.CALLBACK}?{urllib.parse.urlencode(letter.query)} HTTP/1.1",
        "Host: x",
        "Connection: close",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def chunked(body: bytes, size: int) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def abuse_connections(wechat: WeChat) -> None:
    """All that a broken or evil client does to a connection; the server lives on after each."""
    target = urllib.parse.urlsplit(wechat.url)
    address = (target.hostname, target.port)

    def alive() -> None:
        assert wechat.ask(text("alive"))["Content"] == "alive"

    letter = wechat.letter(text("chunks"))
    status = status_of(
        raw(wechat.url, post_head(wechat, letter, "Transfer-Encoding: chunked") + chunked(letter.body, 100))
    )
    assert status in (200, 400, 411, 501)
    alive()
    short = raw(
        wechat.url, post_head(wechat, letter, f"Content-Length: {len(letter.body) + 100}") + letter.body, shut=True
    )
    assert status_of(short) is None or status_of(short) < 500
    alive()
    for lie in ("Content-Length: -1", "Content-Length: x", "Content-Length: 99999999999999999999"):
        with socket.create_connection(address, TIMEOUT) as connection:
            connection.sendall(post_head(wechat, letter, lie))
    alive()
    for sent in (b"", b"POST ", post_head(wechat, letter, f"Content-Length: {len(letter.body)}") + letter.body[:50]):
        with socket.create_connection(address, TIMEOUT) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
            connection.sendall(sent)
    alive()
    idle = [socket.create_connection(address, TIMEOUT) for _ in range(8)]
    try:
        alive()
    finally:
        for connection in idle:
            connection.close()
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"\r\n\r\n\r\n", noise(300) + b"\r\n\r\n"):
        raw(wechat.url, junk, shut=True)
    alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the development server's threads
def test_b117_broken_connections_do_no_harm(safe):
    abuse_connections(safe.wechat)


def test_b117_nor_to_waitress_gunicorn_and_nginx(front):
    abuse_connections(front)


def break_chunks(wechat: WeChat) -> None:
    letter = wechat.letter(xml := text("chunks"))
    head = post_head(wechat, letter, "Transfer-Encoding: chunked")
    for junk in (b"zz\r\nhello\r\n", b"5\r\nhel", b"-5\r\nhello\r\n", b"\r\n"):
        status = status_of(raw(wechat.url, head + junk, shut=True))
        assert status is None or 400 <= status < 500, junk
    assert wechat.open(wechat.post(letter.query, letter.body), xml)["Content"] == "chunks"


def test_b117_b123_chunks_that_are_none_are_the_senders_fault(safe, caplog):
    break_chunks(safe.wechat)
    assert "Traceback" not in caplog.text


def test_b117_nor_are_they_a_fault_behind_waitress_gunicorn_and_nginx(front):
    break_chunks(front)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_b117_a_chunked_body_is_a_body(safe, chunk):
    letter = safe.wechat.letter(xml := text("chunks"))
    response = raw(
        safe.wechat.url, post_head(safe.wechat, letter, "Transfer-Encoding: chunked") + chunked(letter.body, chunk)
    )
    assert status_of(response) in (200, 400, 411, 501)
    if status_of(response) == 200:
        answer = HttpAnswer(200, [("Content-Type", "text/xml")], response.partition(b"\r\n\r\n")[2])
        assert safe.wechat.open(answer, xml)["Content"] == "chunks"


def test_b117_a_large_chunked_body_is_refused(safe):
    letter = padded(safe, 1024 * 1024)
    head = post_head(safe.wechat, letter, "Transfer-Encoding: chunked")
    with safe.untouched():
        status = status_of(raw(safe.wechat.url, head + chunked(letter.body, 60_000)))
        assert status in (413, 411, 501, None)


TRACES = (b"Traceback", b"werkzeug.debug", b"__debugger__", b"EVALEX", b"site-packages", b"InnermostSecret", b".py")


@pytest.mark.parametrize("flag", [None, "debug", "testing"])
def test_b119_no_answer_holds_a_traceback(flag):
    live = Live(RAISERS["error"])
    if flag:
        setattr(live.server.app, flag, True)
    with live.serving():
        wechat = live.wechat
        stamp = wechat.stamp()
        answers = [
            wechat.push(text("raise")),
            wechat.push("<xml>"),
            wechat.post({}, b"x"),
            wechat.get({**stamp, "signature": "你好", "echostr": "1"}),
            wechat.get("__debugger__=yes&cmd=resource&f=debugger.js"),
            wechat.get({"__debugger__": "yes", "cmd": "pinauth", "pin": "1", "s": "x"}),
            wechat.request("GET", path="/console"),
            wechat.request("PUT", path="/nowhere"),
            wechat.request("FOO"),
        ]
    for answer in answers:
        assert answer.status != 500
        assert not [trace for trace in TRACES if trace in answer.body]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.10", "example.com"])
def test_b119_debugging_in_public_is_refused(host):
    with pytest.raises(ConfigError, match="debug"):
        Live().server.run(debug=True, host=host)
    with pytest.raises(ConfigError, match="debug"):
        Live(host=host or "0.0.0.0").server.run(debug=True)


def test_b119_debugging_on_loopback_has_no_debugger(monkeypatch):
    """It reloads; what runs is Flask's own server, without its console. tests/test_first_steps.py really starts it."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(
        "wx_mp_svr.serve.run_simple", lambda host, port, app, **rest: told.update(host=host, app=app, **rest)
    )
    live = Live(port=servers.free_port())
    live.server.run(debug=True)
    assert (told["host"], told["app"].debug, told["use_reloader"]) == ("127.0.0.1", True, True)
    assert not told.get("use_debugger")


def mixed_bag(live: Live) -> list[HttpAnswer]:
    """Good and bad requests of every sort."""
    wechat = live.wechat
    good = wechat.letter(text("good"))
    answers = [wechat.verify(), wechat.push(text("hello")), wechat.push(text("boom")), wechat.push(text("wrong type"))]
    answers += [wechat.post(good.query, good.body) for _ in range(2)]
    answers += [wechat.push(event("new_event")), wechat.push(text("", MsgType=None)), wechat.push("<xml>broken")]
    answers += [wechat.get(query) for query in ("", "signature=1", {**wechat.stamp(), "nonce": "x", "echostr": "1"})]
    answers += [
        wechat.post({**good.query, name: "0" * 40}, good.body) for name in ("signature", "msg_signature", "nonce")
    ]
    answers += [
        wechat.post(good.query, b"x" * 70_000),
        wechat.post({}, b""),
        wechat.request("PUT"),
        wechat.request("FOO"),
    ]
    answers += [wechat.push(BOMBS["billion-laughs"])]
    old = wechat.letter(text("old"), timestamp="1600000000")
    answers += [wechat.post(old.query, old.body), wechat.request("GET", path="/nowhere")]
    for name in ("b40-one-character", "b42-pad-33", "b44-another", "b47-no-xml"):
        letter = wechat.envelope(FORGERIES[name])
        answers.append(wechat.post(letter.query, letter.body))
    return answers


def moody(req: Any) -> Any:
    content = getattr(req, "content", "")
    if content == "boom":
        raise RuntimeError("boom")
    return object() if content == "wrong type" else content


@pytest.mark.parametrize("mode", ["plain", "safe"])
@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
def test_b120_no_secret_ever_shows(mode, debug, caplog):
    """Not in answers, logs, repr, or the messages of errors."""
    caplog.set_level(logging.DEBUG)
    keys = {} if mode == "plain" else {"aes_key_old": AES_KEY_OLD}
    live = Live(moody, mode=mode, **keys)
    live.server.app.debug = debug
    with live.serving():
        answers = mixed_bag(live)
    shown = [answer.body.decode("utf-8", "replace") + repr(answer.headers) for answer in answers]
    shown += [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    shown += [
        repr(live.server),
        str(live.server),
        f"{live.server}",
        repr(live.server.settings),
        str(live.server.settings),
    ]
    everything = "\n".join(shown)
    for secret in (*SECRETS, KEY.hex(), repr(KEY)[2:-1], base64.b64encode(KEY).decode()):
        assert secret not in everything
    assert "port=" in repr(live.server)


def test_b120_nor_in_the_message_of_a_config_error():
    wrong = {
        "token": "Bad-Token-Secret",
        "aes_key": "SecretKey" * 4,
        "aes_key_old": "OldSecret!" * 4,
        "mode": "SecretMode",
    }
    with pytest.raises(ConfigError) as caught:
        WxMpServer(**wrong, appid="")
    message = str(caught.value) + repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    for value in wrong.values():
        assert value not in message


def test_b121_our_own_log_holds_nothing_of_the_query(caplog):
    """What gunicorn and nginx log is theirs; the deployment page says so."""
    caplog.set_level(logging.DEBUG, LOG)
    with fresh(moody) as live:
        letter = live.wechat.letter(text("log"))
        live.wechat.post(letter.query, letter.body)
        live.wechat.post({**letter.query, "msg_signature": "ab" * 20}, letter.body)
        live.wechat.post({**letter.query, "timestamp": "1600000000"}, letter.body)
        mixed_bag(live)
    lines = "\n".join(lines_of(caplog))
    for value in (
        letter.query["signature"],
        letter.query["msg_signature"],
        letter.query["nonce"],
        "ab" * 20,
        "oNotSigned",
    ):
        assert value not in lines


EVIL = [
    "\nWARNING forged line",
    "\r\nforged",
    "\x1b[31mred\x1b[0m",
    "\u2028forged",
    "\x85forged",
    "\x00",
    "\x9b31m",
    "%s%s%n",
]


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_b122_nobody_writes_lines_into_the_log(mode, evil, caplog):
    caplog.set_level(logging.DEBUG, LOG)
    server = WxMpServer(token=TOKEN, appid=APPID, **({"mode": "plain"} if mode == "plain" else {"aes_key": AES_KEY}))
    word = "EvilWord" + evil
    with servers.in_thread(server) as origin:
        wechat = WeChat(origin + servers.CALLBACK, TOKEN, AES_KEY, APPID, mode)
        wechat.push(event(word, EventKey=word))
        wechat.push(packet(MsgType=word))
        wechat.push(packet(MsgType="event", Event=word, FromUserName=word, ToUserName=word))
        wechat.push(text(word, FromUserName=word))
        wechat.push(packet(**{"InfoType": word, "MsgType": None, "AppId": word}))
        wechat.get({**wechat.stamp(), "signature": word, "echostr": word})
        wechat.get({**wechat.stamp(nonce=word), "echostr": word})
        wechat.post({**wechat.stamp(), "encrypt_type": word, "msg_signature": word, word: word}, word.encode())
    lines = [line for line in lines_of(caplog) if "EvilWord" in line]
    for line in lines:
        assert evil not in line or evil == "%s%s%n"
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", line)
        assert not re.search(r"^(WARNING )?forged", line, re.MULTILINE)


def test_b122_not_even_with_a_handler_that_fails(caplog):
    with fresh(RAISERS["error"], mode="plain") as live:
        live.wechat.push(text("x\nforged line", FromUserName="o\nforged line"))
    assert not any("\nforged" in line for line in lines_of(caplog))


def test_b123_bad_input_does_not_flood_the_log(caplog):
    with fresh() as live:
        for n in range(200):
            live.wechat.get(
                {"signature": "0" * 40, "timestamp": str(int(time.time())), "nonce": str(n), "echostr": "1"}
            )
    records = [r for r in caplog.records if r.name == LOG]
    assert 1 <= len(records) <= 20
    assert not any(r.exc_info for r in records)


def test_b123_nor_does_any_bad_input_leave_a_traceback(caplog):
    caplog.set_level(logging.DEBUG, LOG)
    with fresh() as live:
        for name in ("empty", "binary", "truncated", "two-roots"):
            letter = live.wechat.letter(NO_PACKETS[name])
            live.wechat.post(letter.query, letter.body)
            live.wechat.post(letter.query, NO_PACKETS[name])
        for forgery in FORGERIES.values():
            letter = live.wechat.envelope(forgery)
            live.wechat.post(letter.query, letter.body)
    assert not any(r.exc_info or "Traceback" in r.getMessage() for r in caplog.records if r.name == LOG)


DEMO_VALUES = [
    {"token": "xxx"},
    {"aes_key": "x" * 43},
    {"appid": "wx0000000000000000"},
    {"token": "xxx", "aes_key": "x" * 43, "appid": "wx0000000000000000"},
]


@pytest.mark.parametrize("values", DEMO_VALUES, ids=lambda values: "-".join(values))
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", ""])
def test_b124_demo_values_are_for_loopback_only(values, host, caplog):
    server = Live(**values).server
    assert [line for line in warnings_of(caplog) if "demo" in line]
    with pytest.raises(ConfigError, match="demo"):
        server.run(host=host)


@pytest.mark.parametrize(
    "name", ["WX_MP_TOKEN", "WX_MP_AES_KEY", "WX_MP_APPID", "WX_MP_MODE", "WX_MP_PORT", "WX_MP_PATH"]
)
def test_b124_an_empty_variable_is_a_config_error(name, monkeypatch):
    for key, value in {"WX_MP_TOKEN": TOKEN, "WX_MP_AES_KEY": AES_KEY, "WX_MP_APPID": APPID, name: ""}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=name):
        WxMpServer()


@pytest.mark.parametrize("kind", ["image", "link", "video"])
def test_b125_no_address_in_a_message_is_fetched(live, kind, listener):
    url = listener.url
    reply = live.wechat.ask(packet(MsgType=kind, PicUrl=url, Url=url, MediaId="m", Title="t", ThumbUrl=url))
    assert reply["Content"] == "ok"
    assert not listener()
    if kind == "image":
        assert isinstance(live.last, ImageReqMsg)
        assert live.last.pic_url == url


def test_b126_the_development_server_in_public_is_warned_about(caplog, monkeypatch):
    """Only where waitress is not installed is it used at all."""
    monkeypatch.setitem(sys.modules, "waitress", None)
    monkeypatch.setattr(werkzeug.serving.BaseWSGIServer, "serve_forever", lambda self, *_: self.server_close())
    Live(port=servers.free_port()).server.run(host="0.0.0.0")
    assert [line for line in warnings_of(caplog) if "development server" in line]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "X-Forwarded-Host"])
def test_b127_forwarded_addresses_are_not_believed(header, caplog):
    with fresh() as live:
        query = {**live.wechat.stamp(), "signature": "0" * 40, "echostr": "1"}
        live.wechat.request("GET", query, headers={header: "6.6.6.6, for=6.6.6.6"})
    assert [line for line in warnings_of(caplog) if "remote=127.0.0.1" in line]
    assert "6.6.6.6" not in caplog.text


PROBES = {"xml": b"<xml><action>CheckContainerPath</action></xml>", "json": b'{"action":"CheckContainerPath"}'}


@pytest.mark.parametrize("kind", list(PROBES))
def test_b128_the_container_probe_does_no_harm(live, kind):
    with live.untouched():
        assert live.wechat.post("", PROBES[kind], {"Content-Type": f"application/{kind}"}).status in (200, 403)
    letter = live.wechat.letter(PROBES[kind], "plain" if live.mode == "plain" else "safe")
    answer = live.wechat.post(letter.query, letter.body)
    if kind == "xml":
        assert_ack(answer)  # a push without MsgType, which nobody hears
    else:
        assert answer.status in (200, 403)
