"""Threats B7: what attack has found, each row with its right behaviour."""

import http.client
import json
import logging
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import servers
from click.testing import CliRunner
from documents import README
from waiting import until

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk import cli
from wx_mp_svr.store.sqlite import SWEEP_EVERY, SQLiteStore
from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"token": "Strangers1", "appid": "wx0123456789abcdef", "aes_key": "s" * 43}


@pytest.mark.parametrize(("mode", "word"), [("plain", "明文"), ("compatible", "兼容")])
def test_b131_a_mode_whose_signature_does_not_cover_the_message_is_warned_about_at_start(mode, word, caplog):
    """Compatible is as forgeable as plain: from a leaked log line of an AES push comes a plain one of another user."""
    account = {**ACCOUNT, "aes_key": ""} if mode == "plain" else ACCOUNT
    WxMpServer(**{name: value for name, value in account.items() if value}, store="memory:", mode=mode)
    (line,) = [record.getMessage() for record in caplog.records if "does not cover" in record.getMessage()]
    assert f"{word}模式" in line
    assert "读取别人等待中的回复" in line


def test_b131_safe_mode_is_not_warned_about(caplog):
    WxMpServer(**ACCOUNT, store="memory:")
    assert "does not cover" not in caplog.text


def test_b141_window_0_and_one_token_for_two_are_warned_about(caplog):
    first = WxMpServer(token="TheSame1", store="memory:", window=0)
    assert "旧请求永远有效" in caplog.text
    second = WxMpServer(token="TheSame1", store="memory:")
    assert "两个公众号用了同一个 Token" in caplog.text
    caplog.clear()
    WxMpServer(token="Another1", store="memory:")
    assert "同一个 Token" not in caplog.text
    assert first is not second


@pytest.fixture
def waitress_url(tmp_path):
    """A bot that calls `run()`."""
    pytest.importorskip("waitress")
    port = servers.free_port()
    settings = f"token='Strangers1', store='memory:', port={port}, max_held=4, on_message=lambda req: req.content"
    script = f"from wx_mp_svr import WxMpServer; WxMpServer({settings}).run()"
    with servers.running([sys.executable, "-c", script], servers.environment(tmp_path, {}), tmp_path) as process:
        yield servers.answering(f"http://127.0.0.1:{port}/wx_mp_cb", process, tmp_path).url


def ask(url, head, body=b"", *, seconds=10):
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        return connection.recv(65536).split(b"\r\n")[0]


def test_b132_run_refuses_what_is_too_large_at_once(waitress_url):
    """By itself waitress takes a gigabyte to the disk first."""
    declared = f"POST /wx_mp_cb?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {200 * 1024 * 1024}".encode()
    begun = time.monotonic()
    assert ask(waitress_url, declared, b"x" * 200_000).split()[1] == b"413"
    assert ask(waitress_url, b"GET /wx_mp_cb?" + b"a" * 170_000 + b" HTTP/1.1\r\nHost: x").split()[1] == b"431"
    assert time.monotonic() - begun < 5
    wechat = FakeWeChat(waitress_url, token="Strangers1")
    assert wechat.send_text("还在").content == "还在"


def test_b118_b132_a_hundred_half_requests_do_not_stop_an_honest_one(waitress_url):
    host, port = waitress_url.removeprefix("http://").split("/")[0].split(":")
    half = [socket.create_connection((host, int(port)), timeout=5) for _ in range(100)]
    try:
        for connection in half:
            connection.sendall(b"POST /wx_mp_cb HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<xml>")
        assert FakeWeChat(waitress_url, token="Strangers1").send_text("我是好人").content == "我是好人"
    finally:
        for connection in half:
            connection.close()


def test_b132_a_query_over_4_kb_is_refused_before_it_is_split(caplog):
    server = WxMpServer(**ACCOUNT, store="memory:")
    client = server.app.test_client()
    begun = time.process_time()
    for _ in range(20):
        answer = client.post("/wx_mp_cb", query_string="a=1&" * 60_000, data="<xml/>")
        assert (answer.status_code, answer.data) == (403, b"forbidden")
    assert "the query is over 4096 bytes" in caplog.text
    assert time.process_time() - begun < 1


# -- the log that a newcomer reads -------------------------------------------------------------------------------------


def test_the_hint_stands_on_the_closing_line_too(caplog):
    """The first line may have been a stranger's, long before WeChat came."""
    server = WxMpServer(token="Strangers1", store="memory:")
    other = FakeWeChat(server, token="AnotherToken")
    for _ in range(9):
        other.verify_url()
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused")]
    assert len(lines) == 6
    assert [line.count("Token 与公众平台填写的不一致") for line in lines] == [1, 0, 0, 0, 0, 1]


def test_an_empty_body_is_not_called_a_wrong_data_format(caplog):
    wechat = FakeWeChat(WxMpServer(token="Strangers1", store="memory:"), token="Strangers1", tries=1)
    wechat.send_xml("<xml/>", sealed=(wechat.seal("<xml/>")[0], b""))
    assert "请求体是空的" in caplog.text
    assert "数据格式" not in caplog.text


def test_only_a_get_without_any_query_gets_the_hello_page_and_is_logged(caplog):
    caplog.set_level(logging.INFO, "wx_mp_svr")
    client = WxMpServer(token="Strangers1", store="memory:").app.test_client()
    assert "运行正常" in client.get("/wx_mp_cb").text
    assert "收到不带参数的 GET" in caplog.text
    assert client.get("/wx_mp_cb?c_id=21").status_code == http.client.FORBIDDEN
    assert "查询参数缺失" in caplog.text


# -- B133, B139: users among themselves, and what is kept of them ------------------------------------------------------


def test_b133_seventy_slow_messages_of_one_user_hold_up_nobody_else():
    """Eight of them are at work, the others of that user get the busy text; events do not count."""
    ran = []

    def on_message(req):
        ran.append(req.openid)
        wechat.sleep(12 if req.openid == "oGreedy" else 1)
        return "好"

    server = WxMpServer(**ACCOUNT, store="memory:", on_message=on_message, on_event=lambda event: "看到了")
    wechat = server.test_client()
    with ThreadPoolExecutor(72) as pool, wechat.clock.foreground():
        greedy = [pool.submit(wechat.send_text, f"{n}", openid="oGreedy") for n in range(70)]
        until(lambda: wechat.server.stats()["busy_users"] == 62)
        other = [pool.submit(wechat.send_text, "你好", openid=f"oOther{n}") for n in range(2)]
        seen = pool.submit(wechat.send_event, "CLICK", "k", openid="oGreedy")
    answers = [one.result() for one in greedy]
    assert sorted({answer.content for answer in answers}) == sorted({"好", server.settings.busy_text})
    assert sum(answer.content == "好" for answer in answers) == ran.count("oGreedy") == 8
    assert [(one.result().content, len(one.result().tries)) for one in other] == [("好", 1)] * 2
    assert seen.result().content == "看到了"


def test_b139_what_is_over_is_gone_from_the_file_in_time(tmp_path):
    """The README says how long texts are kept; rows that are over go with the writes that follow."""
    now = [0.0]
    store = SQLiteStore(tmp_path / "bot.db", clock=lambda: now[0])
    for number in range(100):
        store.set(f"old{number}", "a user's words", 24 * 3600)
    now[0] += 24 * 3600 + 1
    for number in range(SWEEP_EVERY * 2):
        store.set(f"new{number}", "other words", 60)
    with closing(sqlite3.connect(tmp_path / "bot.db")) as database:
        assert database.execute("SELECT count(*) FROM item WHERE key LIKE 'old%'").fetchone() == (0,)
    assert "最多 24 小时，会话 7 天" in README.text
    assert "文件不会擦除" in README.text


# -- B135: whoever shares the machine ----------------------------------------------------------------------------------


def command_lines_as_nobody():
    """What another user of this machine sees of all processes."""
    script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
    return subprocess.run(["sh", "-c", script], user="nobody", capture_output=True, timeout=20).stdout.decode()


@pytest.fixture
def simulator(tmp_path):
    """The simulator and a browser that only stands there; gives the address in the terminal, and the browser's."""
    browser = tmp_path / "browser"
    browser.write_text(f"#!{sys.executable}\nimport sys, time\ntime.sleep(60)\n")
    browser.chmod(0o755)
    port = servers.free_port()
    command = [sys.executable, "-u", "-m", "wx_mp_svr", "simulate", "--port", str(port)]
    env = servers.environment(tmp_path, {"BROWSER": f"{browser} %s &", "PYTHONUTF8": "1"})
    here = f"http://127.0.0.1:{port}/"
    with servers.running(command, env, tmp_path):
        log = tmp_path / "log.txt"
        shown = until(lambda: re.search(re.escape(here) + r"\S+", log.read_text("utf-8")), log.read_text)[0]
        seen = until(lambda: re.search(re.escape(here) + r"\S+", command_lines_as_nobody()), command_lines_as_nobody)[0]
        yield shown, seen
        subprocess.run(["pkill", "-f", str(browser)], timeout=10)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def test_b135_the_key_is_in_no_command_line_and_what_is_there_is_good_once(simulator):
    """When two have come with it, one may be a stranger: both stay outside, and the terminal's address is the way in."""
    shown, seen = simulator
    key = shown.split("/")[3]
    assert key not in command_lines_as_nobody()
    assert key not in seen
    status, page = get(seen)
    assert status == 200
    assert page.split("/")[3] not in (key, "open")
    assert get(page)[0] == 200
    status, words = get(seen)
    assert (status, "只能用一次" in words, "终端里打印的网址" in words) == (403, True, True)
    assert get(page)[0] == 403
    assert get(shown)[0] == 200
    assert get(f"{seen}x")[0] == 403


# -- B137: hostile servers and files, and a developer's tools ----------------------------------------------------------


def hostile(body=b"success", **headers):
    def app(environ, start_response):
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        start_response("200 OK", [("Content-Length", str(len(body))), *named])
        return [body]

    return app


DEEP = b"<xml>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</xml>"
HOSTILE = {
    "a Date beyond all years": hostile(Date="Fri, 31 Dec 99999999999 23:59:59 GMT"),
    "a Date that is none": hostile(Date="yesterday"),
    "deep": hostile(DEEP),
    "wide": hostile(b"<xml>" + b"<a/>" * 100_000 + b"</xml>"),
    "an entity bomb": hostile(b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><xml>&b;</xml>'),
    "endless": hostile(b"x" * 3_000_000),
    "binary": hostile(bytes(range(256)) * 100),
}


@pytest.mark.parametrize("command", ["check", "send"])
@pytest.mark.parametrize("app", HOSTILE.values(), ids=HOSTILE.keys())
def test_b137_a_hostile_server_gets_one_line_and_never_a_traceback(app, command, monkeypatch):
    """Of the command line, in seconds."""
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(f"WX_MP_{name.upper()}", value)
    with servers.in_thread(app) as base:
        begun = time.process_time()
        result = CliRunner().invoke(cli.group, [command, "--url", f"{base}/wx_mp_cb"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert time.process_time() - begun < 10
    assert len(max(result.output.splitlines(), key=len)) < 2000


PACKET = "<xml><ToUserName>gh</ToUserName><FromUserName>o</FromUserName><MsgType>text</MsgType>{}</xml>"
PUSH = {"xml": PACKET.format("<Content>好</Content>"), "reply": None}
FILES = {
    "CreateTime, ninety thousand times": (PACKET.format("<CreateTime>" * 90_000), 2),
    "CreateTime, each closed": (PACKET.format("<CreateTime>1</CreateTime>" * 9000), 0),
    "nested": ("<xml>" * 50_000 + "</xml>" * 50_000, 2),
    "a list": ("[1, 2]", 2),
    "null": ("null", 2),
    "pushes of null": ('{"pushes": [null]}', 2),
    "an object for a list": ('{"pushes": {"xml": "<xml/>"}}', 2),
    "a reply of another shape": (json.dumps({"pushes": [{**PUSH, "reply": {"parts": [None, 1, {}], "type": []}}]}), 2),
    "fields of another shape": (json.dumps({"pushes": [{**PUSH, "reply": {"type": "news", "fields": [1]}}]}), 2),
    "a copy of nobody": (json.dumps({"pushes": [{**PUSH, "copy_of": [1], "id": {}}]}), 2),
    "nested JSON": ("[" * 100_000, 2),
}


@pytest.mark.parametrize("name", FILES)
def test_b137_a_strangers_file_is_refused_whole_or_replayed(name, tmp_path, monkeypatch):
    """In time that grows with the file and no faster."""
    text, code = FILES[name]
    file = tmp_path / "talk.json"
    file.write_text(text, "utf-8")
    for key, value in ACCOUNT.items():
        monkeypatch.setenv(f"WX_MP_{key.upper()}", value)
    server = WxMpServer(**ACCOUNT, store="memory:", on_message=lambda req: "好")
    with servers.in_thread(server) as base:
        begun = time.process_time()
        result = CliRunner().invoke(cli.group, ["replay", "--check", str(file), "--url", f"{base}/wx_mp_cb"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in ((2,) if code == 2 else (0, 1, 2)), result.output
    assert time.process_time() - begun < 10
