"""What users read is so: examples and commands run, tables are those of the code, links lead somewhere."""

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import servers
from documents import BENCH, DEPLOY, DOCUMENTS, EVERYTHING, EXAMPLES, README, RECIPES, ROOT
from waiting import until

import wx_mp_svr
from wx_mp_svr import errors, exchange, rsp_msg
from wx_mp_svr.config import NAMES as SETTINGS
from wx_mp_svr.config import Settings
from wx_mp_svr.desk import cli
from wx_mp_svr.events import EVENTS
from wx_mp_svr.handling.handlers import NAMES as HANDLERS
from wx_mp_svr.handling.registry import Hooks
from wx_mp_svr.req_msg import KINDS, EventReqMsg, ReqMsg

ENVIRONMENT = {
    "WX_MP_APPID": "wx0123456789abcdef",
    "WX_MP_TOKEN": "ReadmeToken",
    "WX_MP_AES_KEY": "r" * 43,
    "WX_MP_STORE": "memory:",
    "WX2_TOKEN": "ReadmeToken2",
    "WX2_STORE": "memory:",
    "WX3_STORE": "memory:",
}

# How a command begins that is not run here, and why.
NOT_RUN = {
    "git clone": "it needs a repository to clone from",
    "cd ": "there is no clone",
    "python3 -m venv": "the reader has the environment of these tests",
    "pip install": "it downloads; that the extras exist is tested",
    "sudo": "it needs root and a server of one's own; tests/test_deploy.py starts the files that it installs",
    "/opt/wx-bot/venv/bin/": "it is there on such a server only; its options are tested",
    "sed ": "tests/test_deploy.py sees what it writes",
    "install -m": "it is a step on the way to the image",
    "wx-mp-svr keygen --env | tee": "it writes into the repository",
    "journalctl": "it needs systemd",
    "curl": "it asks the service that systemd has started",
    "docker": "it needs a Docker engine; tests/test_deploy.py runs what the image would",
    "python -m pytest": "that is what is running",
}
SERVERS = ("python ", "gunicorn ", "wx-mp-svr dev", "wx-mp-svr demo")  # which a reader leaves running
CONFIGURED = (DEPLOY, BENCH)  # in which the account stands in the environment already
DEMO_ACCOUNT = servers.DEMO_ACCOUNT
MOST_LINES = 400  # of the README, beside what is folded

PARTS = [(document, title) for document in DOCUMENTS for title in document.sections]
DEMOS = [(re.search(r"\[(.*?)\]", cells[0])[1], cells[2].strip("`")) for cells in RECIPES.rows("\n## 例子")]


# -- what runs ---------------------------------------------------------------------------------------------------------


class Model(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that streams."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for content, finish in (("你好，", None), ("我是模型。", None), ("", "stop")):
            choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args):
        pass


class Reader:
    """Somebody who types what the README says, in an empty folder beside a copy of demo/.

    What is changed, and nothing else: the port 5001, the simulator's port, that it opens no browser, and the model.
    """

    def __init__(self, directory: Path, model_url: str, account: Mapping[str, str]) -> None:
        self.directory = directory
        self.model_url = model_url
        self.port = servers.free_port()
        self.account = account
        self.servers = 0

    def environment(self, directory: Path) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        own = {"WX_MP_PORT": str(self.port), "PATH": bin_folder + os.pathsep + os.environ["PATH"], "NO_PROXY": "*"}
        return servers.environment(directory, {**own, **self.account})

    def folder(self) -> Path:
        """Make a folder for one terminal."""
        self.servers += 1
        folder = self.directory / str(self.servers)
        shutil.copytree(servers.DEMO, folder / "demo", ignore=shutil.ignore_patterns("__pycache__", "*.db", "instance"))
        (folder / "bot.py").write_text(README.examples[0], "utf-8")
        return folder

    @contextmanager
    def terminal(self, lines: list[str]) -> Iterator[dict[str, str]]:
        """Type the lines one after the other; servers among them run until the end. Gives the environment."""
        folder = self.folder()
        env = self.environment(folder)
        with ExitStack() as stack:
            for line in lines:
                if any(line.startswith(begin) for begin in NOT_RUN):
                    continue
                line = line.replace("127.0.0.1:5001", f"127.0.0.1:{self.port}")
                line = line.replace("https://api.deepseek.com", self.model_url)
                words = shlex.split(line, comments=True)
                exported = words[0] == "export"
                while words and re.match(r"export$|[A-Z_0-9]+=", words[0]):
                    name, mark, value = words.pop(0).partition("=")
                    env |= {name: value} if mark else {}
                if exported or not words:
                    assert not words
                elif " ".join(words).startswith(SERVERS):
                    stack.enter_context(self.server(words, env, folder))
                else:
                    done = subprocess.run(words, env=env, cwd=folder, capture_output=True, timeout=60)
                    assert done.returncode == 0, f"{line}: {done.stdout.decode()}{done.stderr.decode()}"
            yield env

    @contextmanager
    def server(self, words: list[str], env: Mapping[str, str], folder: Path) -> Iterator[None]:
        page = f"http://127.0.0.1:{servers.free_port()}/"
        simulator = words[0] == "wx-mp-svr"
        if simulator:
            words = [*words, "--no-browser", "--port", page.strip("/").rpartition(":")[2]]
        with servers.running(words, env, folder) as process:
            if simulator:
                self.page(page, process, folder)
            servers.answering(f"http://127.0.0.1:{self.port}{servers.CALLBACK}", process, folder)
            yield

    def page(self, page: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        """Open the page whose address the simulator prints."""

        def log() -> str:
            return (folder / "log.txt").read_text(errors="replace")

        found = until(lambda: re.search(re.escape(page) + r"\S+", log()), log, servers.START_SECONDS)
        assert servers.answers(found[0])

    def send(self, env: Mapping[str, str]) -> None:
        """Send a text, and see that there is a bubble with an answer, and not the text for errors."""
        send = ["wx-mp-svr", "send", "--text", "你好"]
        done = subprocess.run(send, env=env, capture_output=True, text=True, encoding="utf-8", timeout=60)
        assert done.returncode == 0 and "┌" in done.stdout, done.stdout + done.stderr
        assert "抱歉" not in done.stdout


def is_bot(line: str) -> bool:
    return line.startswith(SERVERS) and not line.startswith(tuple(NOT_RUN))


def follow(reader: Reader, blocks: list[list[str]]) -> None:
    """Type a section's blocks, each into a terminal of its own, and talk to each bot that runs."""
    with ExitStack() as stack:
        for block in blocks:
            env = stack.enter_context(reader.terminal(block))
            if any(is_bot(line) for line in block):
                reader.send({**reader.environment(reader.folder()), "WX_MP_STORE": env.get("WX_MP_STORE", "memory:")})


def try_demo(reader: Reader, run: str) -> None:
    model = [f"export OPENAI_BASE_URL={reader.model_url} OPENAI_MODEL=m OPENAI_API_KEY=k"]
    with reader.terminal([*(model if "llm" in run else []), run]):
        mode = {"WX_MP_MODE": "plain"} if "keyword" in run else {}
        reader.send({**reader.environment(reader.folder()), **mode})


# Runs each example as a module, in one process since starting takes longest, and asks each bot in it.
DRIVER = """
import json, runpy, sys, traceback
from wx_mp_svr import WxMpServer

said = []
for path in sys.argv[1:]:
    try:
        for bot in [value for value in runpy.run_path(path, run_name="bot").values() if isinstance(value, WxMpServer)]:
            answer = bot.test_client(time_scale=0.5).send_text("天气上海")
            assert answer.type == "text" and "抱歉" not in answer.content, answer
        said.append("")
    except BaseException:
        said.append(traceback.format_exc())
print(json.dumps(said))
"""


def run_examples(directory: Path) -> list[str]:
    """Return the traceback of each example, "" of one that ran."""
    programs = [directory / f"example_{number}.py" for number in range(len(EXAMPLES))]
    for program, example in zip(programs, EXAMPLES, strict=True):
        program.write_text(example, "utf-8")
    command = [sys.executable, "-W", "error", "-c", DRIVER, *programs]
    env = servers.environment(directory, ENVIRONMENT)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All that runs, three at a time: most of it is waiting for processes to start."""
    model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{model.server_port}"

    def reader(document=None):
        account = DEMO_ACCOUNT if document in CONFIGURED else {}
        return Reader(tmp_path_factory.mktemp("reader"), url, account)

    with ThreadPoolExecutor(3) as pool:
        started = {part: pool.submit(follow, reader(part[0]), part[0].sections[part[1]]) for part in PARTS}
        started |= {name: pool.submit(try_demo, reader(), run) for name, run in DEMOS}
        started["examples"] = pool.submit(run_examples, tmp_path_factory.mktemp("examples"))
        yield started
    model.shutdown()
    model.server_close()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_runs_and_answers(number, outcomes):
    said = outcomes["examples"].result()[number]
    assert said == "", said


@pytest.mark.parametrize(("document", "title"), PARTS, ids=lambda value: getattr(value, "path", value))
def test_every_command_runs(document, title, outcomes):
    outcomes[document, title].result()


@pytest.mark.parametrize("name", [name for name, _ in DEMOS])
def test_every_demo_answers_in_the_simulator(name, outcomes):
    outcomes[name].result()


def test_every_demo_is_in_the_table():
    programs = [path.name for path in servers.DEMO.glob("*.py") if "server.run()" in path.read_text("utf-8")]
    assert sorted(name for name, _ in DEMOS) == sorted(programs)


def test_what_is_not_run_is_there():
    """Files in the repository, extras, and each reason for not running is still needed."""
    for path in re.findall(r"(?<![\w/.-])(?:demo|tests|images|src)/[\w./-]*\w", EVERYTHING):
        assert (ROOT / path).exists() or path.endswith(".env"), path  # which the reader makes
    project = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1]
    extras = re.findall(r"^(\w+) = \[", project.split("\n[")[0], re.MULTILINE)
    assert set(re.findall(r"\.\[(\w+)\]", EVERYTHING)) <= set(extras)
    commands = [command for document in DOCUMENTS for command in document.commands]
    assert [begin for begin in NOT_RUN if not any(command.startswith(begin) for command in commands)] == []


def test_every_option_of_the_command_line_is_there():
    said = [line for document in DOCUMENTS for line in [*re.findall("`.*?`", document.prose), *document.commands]]
    found = re.findall(r"(?<=[`/ ])wx-mp-svr ([a-z]+)([^`\n|]*)", "\n".join(said))
    assert {command for command, _ in found} == set(cli.group.commands)
    for command, rest in found:
        options = {option for parameter in cli.group.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, (command, rest)
    send = next(cells for cells in README.rows("<summary>全部命令") if cells[0].startswith("wx-mp-svr send"))
    options = {option for parameter in cli.group.commands["send"].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z]+", " ".join(send))) <= options


def test_the_screen_of_commands_for_going_live_is_that_of_the_whole():
    """Word for word and in the same order; the whole has more."""
    whole = iter(DEPLOY.commands)
    assert [line for line in README.sections["上线"][0] if line not in whole] == []


# -- the tables --------------------------------------------------------------------------------------------------------


def shown(field):
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    default = str(int(field.default)) if isinstance(field.default, bool) else default
    return f"{default} {field.metadata['unit']}".strip()


def test_the_table_of_settings_is_that_of_the_code():
    table = {cells[0]: cells[1:] for cells in README.rows("<summary>全部设置")}
    assert list(table) == [field.name for field in fields(Settings)]
    for field in fields(Settings):
        variable, default, about = table[field.name]
        assert variable == f"WX_MP_{field.name.upper()}"
        assert about == field.metadata["about"]
        if field.name not in ("mode", "store") and field.default != "":
            assert default == shown(field)


def test_the_table_of_events_is_that_of_the_code():
    answerable = {"yes": "能", "no": "不能", "?": "未说明"}
    expected = [
        [name, cls.__name__, cls.__doc__.split(".")[0], answerable[cls.answerable]] for name, cls in EVENTS.items()
    ]
    assert README.rows("<summary>全部事件") == expected


def test_the_table_of_messages_is_that_of_the_code():
    table = README.rows("<summary>全部消息")
    assert [(cells[0], cells[1]) for cells in table] == [(kind, cls.__name__) for kind, cls in KINDS.items()]
    for kind, _, described in table:
        names = re.findall(r"[a-z_0-9]+", re.sub(r"（.*?）", "", described))
        assert set(names) <= {field.name for field in fields(KINDS[kind])}


def test_the_table_of_replies_is_that_of_the_code():
    cells = "\n".join(cells[0] for cells in README.rows("\n## 返回什么"))
    found = {name: re.findall(r"\w+", arguments) for name, arguments in re.findall(r"([A-Z]\w+)\((.*?)\)", cells)}
    replies = [rsp_msg.Article, *rsp_msg.RspMsg.__subclasses__()]
    assert found == {cls.__name__: [field.name for field in fields(cls)] for cls in replies}


def test_the_table_of_handlers_is_that_of_the_code():
    table = README.rows("\n## 谁来回答")
    names = {
        name for cells in table for name in re.findall(r"@server\.(\w+)|`\.(\w+)`", f"`{cells[0]}`") for name in name
    }
    routes = {name for name, value in vars(Hooks).items() if inspect.isfunction(value) and name[0] != "_"}
    assert names - {""} == routes
    for name, arguments in HANDLERS.items():
        if len(arguments) > 1:
            assert any(f"@server.{name}`，参数 `({', '.join(arguments)})" in cells[0] for cells in table)


def test_the_table_of_limits_is_that_of_the_code():
    for about, default, _ in README.rows("各有上限"):
        names = re.findall(r"`?(max_\w+|breaker)`?", about)
        assert names and default.removeprefix("每进程 ").split(" / ") == [
            str(getattr(Settings(), name)) for name in names
        ]


def attributes(*classes):
    return {name for cls in classes for name in dir(cls)}


REQUESTS = attributes(*KINDS.values(), ReqMsg, EventReqMsg)
OWNERS = {
    "server": attributes(wx_mp_svr.WxMpServer) | {"app", "settings"},
    "req": REQUESTS,
    "event": REQUESTS,
    "re": {"compile"},
    "dataclasses": {"replace"},
    "logging": {"basicConfig", "INFO"},
    "app": {"config", "debug", "testing", "wsgi_app"},
}


def test_what_an_old_program_becomes_is_there():
    """The right column of the table of migration, word for word."""
    known = {*wx_mp_svr.__all__, *SETTINGS, *REQUESTS, *OWNERS, "None", "case"}
    known |= {field.name for cls in (rsp_msg.Article, *rsp_msg.RspMsg.__subclasses__()) for field in fields(cls)}
    known |= {f"WX_MP_{name.upper()}" for name in SETTINGS} | {"qrscene_", *inspect.signature(Hooks.event).parameters}
    table = RECIPES.rows("\n## 从别的库迁移", strip="")
    assert len(table) > 20
    for _, new in table:
        for code in re.findall(r"`([^`]*)`", new):
            code = re.sub(r'"[^"]*"', "", code)
            for owner, name in re.findall(r"(\w+)\.(\w+)", code):
                assert name in OWNERS[owner], code
            for word in re.findall(r"(?<![\w.])[A-Za-z_]\w*", code, re.ASCII):
                assert word in known, (word, code)


def test_every_name_in_the_text_is_there():
    prose = "\n".join(document.prose.split("\n## 从别的库迁移")[0] for document in DOCUMENTS)
    for owner, name in re.findall(r"`[^`\n]*?\b(server|req|event)\.(\w+)", prose):
        assert name in OWNERS[owner], f"{owner}.{name}"
    for variable in re.findall(r"WX_MP_([A-Z_]*[A-Z])\b", EVERYTHING):
        assert variable.lower() in SETTINGS
    for name in re.findall(r"`([A-Z][a-z]+\w*(?:ReqMsg|RspMsg|Event))\b", prose):
        assert name in wx_mp_svr.__all__, name
    client = re.search(r"它还有 (.*?)。", README.text, re.DOTALL)[1]
    testing = wx_mp_svr.testing
    members = attributes(testing.FakeWeChat) | {f.name for f in fields(testing.Result)} | attributes(testing.Result)
    assert set(re.findall(r"`\.?(\w+)`", client)) <= members


def test_what_the_program_says_is_what_the_text_quotes():
    said = (ROOT / "src/wx_mp_svr/desk/cli.py").read_text("utf-8") + exchange.HELLO
    for quoted in ("没有发现错误", "微信公众号服务运行正常"):
        assert f"「{quoted}」" in README.text and quoted in said
    reasons = {error.reason for error in errors.Refused.__subclasses__()}
    told = next(cells[1] for cells in README.rows("\n## 常见问题") if cells[0].startswith("日志里 `refused"))
    assert set(re.findall(r"`(\w+)`：", told)) | {"clock"} <= reasons


# -- the links, and the length ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.path)
def test_every_link_leads_somewhere(document):
    """A file, a heading of this document or of another one."""
    others = {(ROOT / other.path).resolve(): other for other in DOCUMENTS}
    for target in re.findall(r"\]\(([^)\s]+)\)", document.prose):
        if not re.match(r"https?:", target):
            path, _, anchor = target.partition("#")
            file = ((ROOT / document.path).parent / unquote(path)).resolve() if path else ROOT / document.path
            assert file.exists(), target
            assert not anchor or anchor in others[file].anchors, target


def test_what_the_program_refers_to_is_there():
    """「...」 of the README, or of another one that is named before it, is a heading or what is folded there."""
    found = 0
    for file in (ROOT / "src").rglob("*.py"):
        for path, title in re.findall(r"((?:demo/)?README)(?:\.md)?(?: 的)?「(.+?)」", file.read_text("utf-8")):
            document = RECIPES if path.startswith("demo/") else README
            assert re.search(rf"^#+ {title}$|<summary>{title}</summary>", document.text, re.MULTILINE), (file, title)
            found += 1
    assert found >= 5


def test_the_readme_can_be_read_in_one_go():
    shown = re.sub(r"<details>.*?</details>", "", README.text, flags=re.DOTALL)
    assert len(shown.splitlines()) <= MOST_LINES


def test_every_example_is_tidy():
    """At most 120 columns, as everywhere."""
    assert all(len(line) <= 120 for example in EXAMPLES for line in example.splitlines())
    assert all(ast.parse(example) for example in EXAMPLES)
