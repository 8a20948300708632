"""The first minutes with a bot of one's own: nothing is set, and what is written wrongly is said for people."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
import servers
from waiting import until

from wx_mp_svr import ConfigError, WxMpServer
from wx_mp_svr.config import DEMO_AES_KEY, DEMO_APPID, DEMO_TOKEN
from wx_mp_svr.testing import FakeWeChat

DEMO = {"token": DEMO_TOKEN, "appid": DEMO_APPID, "aes_key": DEMO_AES_KEY}
ECHO = """
from wx_mp_svr import WxMpServer

server = WxMpServer()


@server.on_message
def echo(req):
    return req.content


server.run({arguments})
"""


@contextmanager
def script(folder, arguments="", program=ECHO, before="", **settings):
    """``python bot.py`` with nothing set but a port."""
    port = servers.free_port()
    (folder / "bot.py").write_text(before + program.format(arguments=arguments), "utf-8")
    env = servers.environment(folder, {"WX_MP_PORT": str(port), "PYTHONUTF8": "1", **settings})
    with servers.running([sys.executable, "bot.py"], env, folder) as process:
        yield servers.answering(f"http://127.0.0.1:{port}/wx_mp_cb", process, folder)


def run(folder, program, **settings):
    """Run a program that ends by itself; return what it printed to stderr."""
    (folder / "bot.py").write_text(program, "utf-8")
    env = servers.environment(folder, {"PYTHONUTF8": "1", **settings})
    done = subprocess.run(
        [sys.executable, "bot.py"], env=env, cwd=folder, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as exc:
        return exc.code


FOREIGN = [
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP", "Forwarded", "Via"),
    *("CF-Connecting-IP", "True-Client-IP", "Origin"),
]


# -- nothing is set ----------------------------------------------------------------------------------------------------


def test_with_nothing_set_a_script_answers_this_machine_as_the_demo_account(tmp_path):
    with script(tmp_path) as bot:
        assert FakeWeChat(bot.url, **DEMO).send_text("你好").content == "你好"
        said = bot.log_text()
        assert said.count("正在使用演示账号") == 1
        assert status(bot.url) == 200
        assert "refused" not in said
        for header in FOREIGN:
            assert status(bot.url, **{header: "1"}) == 403, header
        assert status(bot.url, **{"Sec-Fetch-Site": "cross-site"}) == 403  # a page of somebody else's in this browser
        assert status(bot.url, **{"Sec-Fetch-Site": "none"}) == 200
        assert status(bot.url, Host="bot.example.com") == 403
        assert status(bot.url, Host="localhost:80") == 200
        assert until(bot.log_text).count("演示账号只应答本机的请求") == 1


@pytest.mark.parametrize("peer", ["10.0.0.1", "", "unix:", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("mounted", [False, True])
def test_with_the_demo_account_nobody_else_is_answered(peer, mounted):
    """Whatever serves it."""
    from flask import Flask

    app = Flask(__name__)
    app.before_request(lambda: None)  # so that it is an ordinary view
    server = WxMpServer(**DEMO, store="memory:", **({"app": app} if mounted else {}))
    client = server.app.test_client()
    assert client.get("/wx_mp_cb", environ_overrides={"REMOTE_ADDR": peer}).status_code == 403
    assert client.get("/wx_mp_cb", environ_overrides={"REMOTE_ADDR": "127.0.0.9"}).status_code == 200
    assert (
        client.get("/wx_mp_cb", environ_overrides={"REMOTE_ADDR": "::1"}, base_url="http://[::1]:5/").status_code == 200
    )


def test_under_a_waitress_that_we_did_not_start_the_demo_account_answers_nobody():
    """It takes away what proxies write, and nobody could tell."""
    client = WxMpServer(**DEMO, store="memory:").app.test_client()
    assert client.get("/wx_mp_cb", environ_overrides={"SERVER_SOFTWARE": "waitress"}).status_code == 403


def test_in_processes_that_a_script_spawns_it_is_the_demo_account_too(tmp_path):
    program = (
        "import multiprocessing as mp\nfrom wx_mp_svr import WxMpServer\nserver = WxMpServer()\n"
        "def double(n): return 2 * n\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n"
        "        raise SystemExit(f'got {pool.apply_async(double, (4,)).get(30)}')\n"
    )
    assert "got 8" in run(tmp_path, program)


def test_in_a_module_nothing_set_is_an_error_as_ever(tmp_path):
    """gunicorn, flask and pytest import the bot; what serves others must have an account of its own."""
    (tmp_path / "mine.py").write_text("from wx_mp_svr import WxMpServer\nserver = WxMpServer()\n")
    assert "缺少 Token" in run(tmp_path, "import mine\n")


@pytest.mark.parametrize("given", [{"appid": "wx0123456789abcdef"}, {"aes_key": "k" * 43}, {"token": ""}])
def test_who_has_set_something_has_an_account_of_their_own(given, tmp_path):
    said = run(tmp_path, f"from wx_mp_svr import WxMpServer\nserver = WxMpServer(**{given!r})\n")
    assert "WX_MP_TOKEN 缺少 Token" in said
    said = run(
        tmp_path,
        "from wx_mp_svr import WxMpServer\nserver = WxMpServer()\n",
        **{f"WX_MP_{name.upper()}": value for name, value in given.items()},
    )
    assert "WX_MP_TOKEN" in said


# -- what is wrong, for people -----------------------------------------------------------------------------------------


def test_a_config_error_of_a_script_is_shown_without_a_traceback(tmp_path):
    said = run(tmp_path, "from wx_mp_svr import WxMpServer\n\nserver = WxMpServer(token='a b', appid='gh_1')\n")
    assert "Traceback" not in said
    head, *rest = said.splitlines()
    assert re.fullmatch(r"wx-mp-svr：设置有 2 处错误（.*bot\.py:3）", head)
    assert next(line for line in rest if line).startswith("  WX_MP_APPID 这是原始ID")
    assert "  WX_MP_TOKEN 必须是 3-32 位字母或数字" in rest


def test_other_exceptions_keep_their_traceback(tmp_path):
    program = "from wx_mp_svr import WxMpServer\nserver = WxMpServer()\n{}[1]\n"
    assert "Traceback" in run(tmp_path, program)
    hooked = "import sys\nsys.excepthook = lambda *rest: print('mine', file=sys.stderr)\n"
    assert "mine" in run(tmp_path, hooked + program)
    assert "mine" not in run(tmp_path, hooked + program.replace("{}[1]", "server.image(lambda: 1)"))


def test_a_route_that_is_wrong_is_shown_with_its_line(tmp_path):
    program = "from wx_mp_svr import WxMpServer\nserver = WxMpServer()\n\n@server.image\ndef image():\n    return 'x'\n"
    said = run(tmp_path, program)
    assert "Traceback" not in said
    assert re.search(r"不能启动（.*bot\.py:\d", said)
    assert "处理函数的参数不对" in said


def test_decorators_may_have_parentheses(tmp_path):
    server = WxMpServer(token="FirstSteps1", store="memory:")
    for name in ("text", "image", "voice", "video", "location", "link", "on_message", "on_subscribe", "on_event"):

        def handler(req, name=name):
            return name

        assert getattr(server, name)()(handler) is handler
    wechat = server.test_client()
    assert [wechat.send_text("x").content, wechat.send_image().content, wechat.subscribe().content] == [
        *("text", "image", "on_subscribe")
    ]
    assert wechat.send_shortvideo().content == "video"


def test_decorators_of_a_subclass_may_have_parentheses_too():
    class Bot(WxMpServer):
        def on_message(self, req):
            return "a"

    server = Bot(token="FirstSteps1", store="memory:")
    with pytest.raises(ConfigError, match="given twice"):
        server.on_message()(lambda req: "b")


# -- listening ---------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said(tmp_path):
    with servers.in_thread(lambda environ, start_response: []) as taken:
        port = taken.rpartition(":")[2]
        said = run(tmp_path, ECHO.format(arguments=f"port={port}"))
    assert f"127.0.0.1:{port} 已被占用" in said
    assert "Traceback" not in said
    assert "正在监听" not in said


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "坏" * 70])
def test_a_host_that_is_not_this_machine_is_said(host, tmp_path):
    own = {"WX_MP_TOKEN": "FirstSteps1"}
    assert "不是本机的地址" in run(tmp_path, ECHO.format(arguments=f"host={host!r}"), **own)


def test_a_port_of_roots_is_said(tmp_path):
    """As another user than root."""
    if not hasattr(os, "setuid"):
        pytest.skip("no users")
    program = (
        "import encodings.idna, os\n"  # all that it needs is loaded
        "from wx_mp_svr import complaints, serve\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "complaints.show_plainly()\n"
        "serve._try_to_listen('127.0.0.1', 80)\n"
    )
    said = run(tmp_path, program)
    assert "没有权限监听" in said or "已被占用" in said


@pytest.mark.parametrize("before", ["", "import sys\nsys.modules['waitress'] = None\n"], ids=["waitress", "flask"])
def test_the_terminal_shows_no_signature_and_no_banner(before, tmp_path):
    """And that it listens once it does, last."""
    with script(tmp_path, before=before) as bot:
        *_, ready, asked = bot.log_text().splitlines()
        assert re.search(r"listening on http://127\.0\.0\.1:\d+/wx_mp_cb", ready)
        assert "GET" in asked  # by `answering`
        FakeWeChat(bot.url, **DEMO).send_text("你好")
        said = bot.log_text()
    assert not re.search("signature=|nonce=|development server|Press CTRL", said)


def test_a_program_that_is_saved_is_loaded_anew(tmp_path):
    """The reloader's child listens on its parent's port, which is no other program's."""
    with script(tmp_path, "debug=True") as bot:
        wechat = FakeWeChat(bot.url, **DEMO)
        assert wechat.send_text("你好").content == "你好"
        program = tmp_path / "bot.py"
        changed = program.read_text("utf-8").replace("return req.content", "return f'new {server.app.debug}'")
        program.write_text(changed, "utf-8")
        until(lambda: servers.answers(bot.url) and wechat.send_text("你好").content == "new True", bot.log_text)
        said = bot.log_text()
    assert "已被占用" not in said
    assert "只有一个线程" not in said
    assert said.count(f"listening on {bot.url} / ") == 2  # once by each version


def test_who_opens_the_address_without_a_path_is_told_where_they_are():
    """In an app of our own, as long as its author shows nothing else there."""
    server = WxMpServer(token="FirstSteps1", store="memory:")
    client = server.app.test_client()
    answer = client.get("/")
    assert (answer.status_code, "回调地址是 /wx_mp_cb" in answer.text) == (404, True)
    assert "回调地址" not in client.get("/other").text
    server = WxMpServer(token="FirstSteps1", store="memory:")
    server.app.add_url_rule("/", "home", lambda: "我的主页")
    assert server.app.test_client().get("/").text == "我的主页"
