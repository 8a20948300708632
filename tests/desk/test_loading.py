"""`wx-mp-svr dev` finds the server in a program, or says what is wrong with the program."""

import pickle
import sys

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk.loading import LoadError, module_of, run
from wx_mp_svr.testing import FakeWeChat


def load(target):
    """Return what would be served: the server, and its name in the program."""
    served = []
    run(target, lambda server, name: served.append((server, name, sys.modules["__main__"])))
    ((server, name, main),) = served
    assert main.__name__ == "__main__"
    return server, name


HEAD = "from wx_mp_svr import WxMpServer\n"
ECHO = "class Echo(WxMpServer):\n    def on_message(self, req):\n        return req.content\n"


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    """In a folder of its own, with nothing set; `load` is the last that a process does with its path and arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("WX_MP_STORE", "memory:")


def write(program, name="bot.py"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(program)


GOOD = [
    ("named, no run", f"{HEAD}{ECHO}server = Echo()\n", "bot.py"),
    ("run at the end", f"{HEAD}{ECHO}server = Echo()\nserver.run()\nprint('the end')\n", "bot.py"),
    ("run without a name", f"{HEAD}{ECHO}Echo().run()\n", "bot.py"),
    ("run of main", f"{HEAD}{ECHO}if __name__ == '__main__':\n    Echo().run(debug=True)\n", "bot.py"),
    ("run that catches", f"{HEAD}{ECHO}try:\n    Echo().run()\nexcept Exception:\n    pass\n", "bot.py"),
    ("a run of its own", f"{HEAD}{ECHO}    def run(self):\n        super().run(port=1)\nEcho().run()\n", "bot.py"),
    ("of two, the one that runs", f"{HEAD}{ECHO}a = WxMpServer()\nb = Echo()\nb.run()\n", "bot.py"),
    ("of two, the one that is named", f"{HEAD}{ECHO}a = WxMpServer()\nb = Echo()\n", "bot.py:b"),
    ("not the one that runs, but that is named", f"{HEAD}{ECHO}a = WxMpServer()\nb = Echo()\na.run()\n", "bot.py:b"),
    (
        "a run in a thread",
        f"import threading\n{HEAD}{ECHO}server = Echo()\nt = threading.Thread(target=server.run)\nt.start()\nt.join()\n",
        "bot.py",
    ),
    ("twice the same", f"{HEAD}{ECHO}server = application = Echo()\n", "bot.py"),
    (
        "mounted",
        f"from flask import Flask\n{HEAD}{ECHO}app = Flask('host')\nEcho(app=app)\napp.run(port=80)\n",
        "bot.py",
    ),
    ("a module", f"{HEAD}{ECHO}server = Echo()\n", "bot:server"),
    ("a module that runs", f"{HEAD}{ECHO}Echo().run()\n", "bot"),
    ("of two that run, the first", f"{HEAD}{ECHO}Echo().run()\nWxMpServer().run()\n", "bot.py"),
    ("the one that is named, where it runs", f"{HEAD}{ECHO}b = Echo()\nb.run()\ndel b\n", "bot.py:b"),
    ("one that runs before its name is there", f"{HEAD}{ECHO}Echo().run()\nb = 1\n", "bot.py:b"),
    ("a named app", f"from flask import Flask\n{HEAD}{ECHO}app = Flask('host')\nEcho(app=app)\n", "bot.py:app"),
    ("what it imports", f"{HEAD}{ECHO}import words\nserver = Echo()\n", "bot.py"),
]


@pytest.mark.parametrize(("title", "program", "target"), GOOD, ids=[row[0] for row in GOOD])
def test_the_server_is_found(title, program, target, tmp_path):
    write(program)
    write("", "words.py")
    server, name = load(target)
    assert sys.path[0] == str(tmp_path)
    assert name == {"run without a name": "", "a run of its own": "", "a module": "server"}.get(title, name)
    assert isinstance(server, WxMpServer)
    assert server.settings.demo_values
    account = {name: getattr(server.settings, name) for name in ("token", "appid", "aes_key")}
    assert FakeWeChat(server, **account).send_text("你好").content == "你好"
    assert WxMpServer.run.__module__ == "wx_mp_svr.server"


WRONG = [
    ("no server", HEAD, "bot.py", "bot.py 里没有 WxMpServer：写 server = WxMpServer()"),
    ("a class, but no server", f"{HEAD}{ECHO}", "bot.py", "或在文件末尾写 Bot().run()"),
    (
        "two",
        f"{HEAD}a, b = WxMpServer(), WxMpServer()\n",
        "bot.py",
        "有 2 个 WxMpServer，指明要哪一个：bot.py:a、bot.py:b",
    ),
    ("no such name", f"{HEAD}a = WxMpServer()\n", "bot.py:b", "bot.py 里没有 b"),
    ("another thing", f"{HEAD}a = WxMpServer()\n", "bot.py:WxMpServer", "bot.py 里的 WxMpServer 不是 WxMpServer"),
    ("a syntax error", f"{HEAD}def f(:\n", "bot.py", "语法错误（bot.py:2）\n\nFile "),
    ("a setting", f"{HEAD}a = WxMpServer(tokn=1)\n", "bot.py", "（bot.py:2）\n\n  没有 tokn 这个设置，是不是 token？"),
    ("a bug", f"{HEAD}a = {{}}['b']\n", "bot.py", "加载时出错：KeyError: 'b'"),
    ("an exit", "raise SystemExit('缺少密钥')", "bot.py", "没有运行 WxMpServer 就结束了：缺少密钥"),
    ("a package", "import no_such_package", "bot.py", "缺少 no_such_package 这个包：pip install no_such_package"),
    ("a package of another name", "import dotenv_x as dotenv; import yaml_", "bot.py", "缺少 dotenv_x 这个包"),
    ("a module of a package", "from . import words", "bot.py", "写 wx-mp-svr dev 包名.模块名"),
    ("no such module", "", "nothing:server", "没有 nothing 这个模块"),
    ("no such module of a package", "", "no.thing", "例如 wx-mp-svr dev no/thing.py"),
    (
        "an app without a server",
        "from flask import Flask\napp = Flask('host')\napp.run()\n",
        "bot.py",
        "bot.py 里没有 WxMpServer",
    ),
    (
        "an app with two",
        f"from flask import Flask\n{HEAD}app = Flask('host')\n"
        "a, b = WxMpServer(app=app), WxMpServer(app=app, path='/b')\n",
        "bot.py:app",
        "有 2 个 WxMpServer，指明要哪一个：bot.py:名字",
    ),
    ("not UTF-8", "x = '你好'".encode("gbk"), "bot.py", "请另存为 UTF-8"),
]


@pytest.mark.parametrize(("program", "target", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_said(program, target, words, tmp_path):
    if isinstance(program, bytes):
        (tmp_path / "bot.py").write_bytes(program)
    else:
        write(program)
    with pytest.raises(LoadError) as error:
        load(target)
    assert words in str(error.value)
    assert "runpy" not in str(error.value)
    assert "wx_mp_svr/desk" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "package"), [("dotenv", "python-dotenv"), ("yaml", "pyyaml"), ("PIL", "pillow"), ("bs4", "beautifulsoup4")]
)
def test_a_package_that_is_missing_has_the_name_by_which_it_is_installed(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    write(f"import {name}")
    with pytest.raises(LoadError, match=f"缺少 {name} 这个包：pip install {package}（"):
        load("bot.py")


def test_a_file_that_is_not_there_and_one_that_the_program_misses():
    with pytest.raises(LoadError, match=r"^没有 bot\.py 这个文件$"):
        load("bot.py")
    write("open('data.txt')")
    with pytest.raises(LoadError, match=r"^加载时出错：FileNotFoundError: "):
        load("bot.py")


def test_whoever_interrupts_the_loading_has_interrupted_it():
    write("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("bot.py")


def test_the_program_is_main_while_it_is_served(tmp_path):
    """So that what it pickles is found, and resources around `run` are open."""
    write(
        f"import pickle\n{HEAD}{ECHO}class State: pass\n"
        "class Open:\n    closed = False\n    def __enter__(self): return self\n"
        "    def __exit__(self, *_): self.closed = True\n"
        "with Open() as resource:\n    Echo().run()\n"
    )
    seen = []

    def serve(server, name):
        main = sys.modules["__main__"]
        seen.append((pickle.loads(pickle.dumps(main.State())).__class__ is main.State, main.resource.closed))

    run("bot.py", serve)
    assert seen == [(True, False)]


def test_what_a_program_raises_after_it_was_served_is_its_own():
    write(f"{HEAD}{ECHO}Echo().run()\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load("bot.py")


@pytest.mark.parametrize(
    ("target", "module"),
    [
        ("bot.py", "bot"),
        ("C:/bots/bot.py", "bot"),
        ("C:/bots/bot.py:server", "bot"),
        ("a/bot.py:b", "bot"),
        ("我的 bot.py", ""),
        ("pkg.bot:b", "pkg.bot"),
        ("my-bot.py", ""),
    ],
)
def test_the_module_that_a_test_imports(target, module):
    assert module_of(target) == module
