"""`wx-mp-svr dev`: the whole of it, as somebody has it on their desk. tests/desk/test_loading.py has the programs."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest
import servers
from waiting import until

from wx_mp_svr import WxMpServer
from wx_mp_svr.config import DEMO_AES_KEY, DEMO_APPID, DEMO_TOKEN
from wx_mp_svr.testing import FakeWeChat

DEMO = {"token": DEMO_TOKEN, "appid": DEMO_APPID, "aes_key": DEMO_AES_KEY}
BOT = """
import logging
import time

from wx_mp_svr import WxMpServer

server = WxMpServer()
log = logging.getLogger("mine")


@server.text("慢")
def slow(req):
    time.sleep(60)


@server.text("次数")
def count(req):
    req.session["n"] = req.session.get("n", 0) + 1
    return str(req.session["n"])


@server.text
def hello(req):
    log.info("hearing %s", req.content)
    return {"你好": "好"}[req.content]


server.run()
"""


class Desk:
    """A terminal with `dev` in it, and what its page gets to know."""

    def __init__(self, folder, process, page_port, bot_port):
        self.program, self.process = folder / "bot.py", process
        self.bot_url = f"http://127.0.0.1:{bot_port}/wx_mp_cb"
        self.log = lambda: (folder / "log.txt").read_text(errors="replace")
        pattern = re.compile(rf"http://127\.0\.0\.1:{page_port}/[\w-]+/")
        self.url = until(lambda: pattern.search(self.log()), self.log).group()

    def save(self, program):
        self.program.write_text(program, "utf-8")

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def look(self):
        """Return what a page that connects now is told. Like a page it connects again while a process ends."""
        return until(self._look, self.log)

    def _look(self):
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(self.url + "events", timeout=30) as stream,
        ):
            for line in stream:
                if line.startswith(b"data: "):
                    return json.loads(line[6:])
        return None

    def say(self, text):
        """Send a text and wait until its push is over."""
        (number,) = json.loads(self.ask("push", {"msg_type": "text", "elements": {"Content": text}}))["ids"]
        return until(lambda: self.over(number), self.log)

    def over(self, number):
        (push,) = [push for push in self.look()["pushes"] if push["id"] == number]
        return None if push["running"] else push


@contextlib.contextmanager
def desk(folder, program=BOT, *options, command=("dev", "bot.py"), **settings):
    (folder / "bot.py").write_text(program, "utf-8")
    page, bot = servers.free_port(), servers.free_port()
    ports = ["--no-browser", "--port", str(page), "--bot-port", str(bot)]
    env = servers.environment(folder, {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **settings})
    whole = [sys.executable, "-m", "wx_mp_svr", *command, *ports, *options]
    with servers.running(whole, env, folder) as process:
        try:
            yield Desk(folder, process, page, bot)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0, (folder / "log.txt").read_text()


def test_a_bot_of_ones_own_with_nothing_set(tmp_path):
    """Page and bot answer; each line of the terminal is there once, the address last."""
    with desk(tmp_path) as mine:
        *_, last = mine.log().splitlines()
        assert mine.url in last
        push = mine.say("你好")
        assert push["reply"]["content"] == "好"
        assert FakeWeChat(mine.bot_url, **DEMO).send_text("你好").content == "好"
        lines = mine.log().splitlines()
        assert lines.count("hearing 你好") == 2
        assert len([line for line in lines if re.fullmatch(r"文本 → hello\(\) · \d+ ms", line)]) == 2
        assert mine.log().count("演示账号") == 1
        assert not re.search("signature=|development server|Restarting", mine.log())
    assert "Traceback" not in mine.log()


def test_the_page_knows_the_bots_side(tmp_path):
    with desk(tmp_path) as mine:
        good, bad = mine.say("你好")["bot"], mine.say("再见")["bot"]
        assert good["handler"] == "hello (bot.py:22)"
        assert good["failed"] is False
        assert good["took"] < 1
        assert good["lines"][0]["text"] == "hearing 你好"
        assert bad["failed"] is True
        trace = bad["lines"][-1]["text"]
        assert trace.endswith("KeyError: '再见'")
        assert "wx_mp_svr" not in trace.split("Traceback")[1]
        saved = json.loads(mine.ask("talk.json"))
        assert [push["id"] for push in saved["pushes"]] == [1, 2]
        assert not any("bot" in push for push in saved["pushes"])  # nothing of this machine


def test_what_is_copied_as_pytest_runs_beside_the_bot(tmp_path):
    """With nothing set, as the bot does."""
    program = BOT.replace("server.run()", "if __name__ == '__main__':\n    server.run()")
    with desk(tmp_path, program) as mine:
        number = mine.say("你好")["id"]
        (tmp_path / "test_copied.py").write_text(mine.ask(f"push/{number}/pytest"), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_copied.py"]
    env = servers.environment(tmp_path, {"PYTHONUTF8": "1"})
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", timeout=60)
    assert "1 passed" in done.stdout, done.stdout


def test_saving_reloads_and_the_talk_stays(tmp_path):
    """So does what the bot remembers of its users."""
    with desk(tmp_path) as mine:
        assert mine.say("次数")["reply"]["content"] == "1"
        users = mine.look()["state"]["users"]
        mine.save(BOT.replace('"好"', '"您好"'))
        until(lambda: "已重新加载 bot.py" in mine.log(), mine.log)
        assert mine.say("你好")["reply"]["content"] == "您好"
        assert mine.say("次数")["reply"]["content"] == "2"
        told = mine.look()
        assert [push["reply"]["content"] for push in told["pushes"]] == ["1", "您好", "2"]
        assert told["state"]["users"] == users
        assert mine.log().count("演示账号") == 1


def test_what_nobody_had_answered_is_pushed_to_the_next_version(tmp_path):
    with desk(tmp_path) as mine:
        mine.ask("push", {"msg_type": "text", "elements": {"Content": "慢"}})
        until(lambda: mine.look()["pushes"][0]["running"], mine.log)
        mine.save(BOT.replace("time.sleep(60)", 'return "快"'))
        until(lambda: (push := mine.look()["pushes"][-1])["reply"] and push["reply"]["content"] == "快", mine.log)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("def broken(:\n", "语法错误（bot.py:28）"), ("WxMpServer(tokn=1)\n", "没有 tokn 这个设置，是不是 token？")],
)
def test_a_mistake_is_survived_and_said(wrong, words, tmp_path):
    """In the terminal and on the page; nothing is pushed meanwhile. The next save mends it."""
    with desk(tmp_path) as mine:
        mine.say("你好")
        mine.save(BOT.replace("server.run()", wrong))
        until(lambda: words in mine.log(), mine.log)
        told = until(lambda: (told := mine.look())["state"]["broken"] and told, mine.log)
        assert words in told["state"]["problem"]
        assert len(told["pushes"]) == 1
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            mine.ask("push", {"msg_type": "text", "elements": {"Content": "你好"}})
        assert "改好后存盘" in json.loads(refused.value.read())["error"]
        refused.value.close()
        mine.save(BOT)
        until(lambda: not mine.look()["state"]["broken"], mine.log)
        assert mine.say("你好")["reply"]["content"] == "好"
        assert [push["reply"]["content"] for push in mine.look()["pushes"]] == ["好", "好"]


def test_a_bot_that_is_broken_at_the_start_is_waited_for(tmp_path):
    with desk(tmp_path, "import nonsense_\n") as mine:
        assert "缺少 nonsense_ 这个包" in mine.look()["state"]["problem"]
        mine.save(BOT)
        until(lambda: not mine.look()["state"]["broken"], mine.log)
        assert mine.say("你好")["reply"]["content"] == "好"


THREAD = "import threading\nthreading.Thread(target=lambda: time.sleep(600)).start()\nserver.run()"


def test_a_thread_that_does_not_end_holds_nothing_up(tmp_path):
    """Neither does a program that was saved while the one before was being loaded."""
    with desk(tmp_path, BOT.replace("server.run()", THREAD)) as mine:
        assert mine.say("你好")["reply"]["content"] == "好"
        mine.save(BOT.replace('"好"', '"慢"').replace("import time\n", "import time\ntime.sleep(3)\n"))
        until(lambda: not servers.answers(mine.bot_url), mine.log)
        mine.save(BOT.replace('"好"', '"新"'))
        until(lambda: "已重新加载" in mine.log(), mine.log)
        assert mine.say("你好")["reply"]["content"] == "新"


def test_a_program_that_goes_away_and_comes_back(tmp_path):
    """As in a checkout of something else, with a module of the same size and second in it."""
    helper = tmp_path / "words.py"

    def write(word, when):
        helper.write_text(f"WORD = '{word}'\n")
        os.utime(helper, (when, when))

    write("好", 1_700_000_000.25)
    program = BOT.replace("import logging", "import logging\nfrom words import WORD").replace('"好"', "WORD")
    with desk(tmp_path, program, PYTHONDONTWRITEBYTECODE="") as mine:
        assert mine.say("你好")["reply"]["content"] == "好"
        mine.program.rename(tmp_path / "away")
        write("嗨", 1_700_000_000.75)
        told = until(lambda: (told := mine.look())["state"]["broken"] and told, mine.log)
        assert "没有 bot.py 这个文件" in told["state"]["problem"]
        (tmp_path / "away").rename(mine.program)
        until(lambda: not mine.look()["state"]["broken"], mine.log)
        assert mine.say("你好")["reply"]["content"] == "嗨"
        assert len(mine.look()["pushes"]) == 2


def test_a_program_that_turns_logging_off_is_heard_all_the_same(tmp_path):
    off = "import logging.config\nlogging.config.dictConfig({'version': 1})\nserver.run()"
    with desk(tmp_path, BOT.replace("server.run()", off)) as mine:
        assert mine.say("再见")["bot"]["failed"] is True


def test_a_program_that_does_not_end_is_said_and_begun_anew_when_it_is_saved(tmp_path):
    """As one that serves in a way that `dev` cannot take over; the page's address is not there yet."""
    (tmp_path / "bot.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    page, bot = servers.free_port(), servers.free_port()
    command = ["dev", "bot.py", "--no-browser", "--port", str(page), "--bot-port", str(bot)]
    env = servers.environment(tmp_path, {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"})
    with servers.running([sys.executable, "-m", "wx_mp_svr", *command], env, tmp_path) as process:
        log = (tmp_path / "log.txt").read_text
        until(lambda: "停在 bot.py:3：在这里启动服务要用 run()" in log("utf-8"), log)
        (tmp_path / "bot.py").write_text(BOT, "utf-8")
        mine = Desk(tmp_path, process, page, bot)
        assert mine.say("你好")["reply"]["content"] == "好"


def test_the_bots_clock_runs_with_the_pages(tmp_path):
    """A handler's own sleep is real time; what the bot does by the clock is quicker with the page."""
    slow = BOT.replace("time.sleep(60)", "time.sleep(3); return '久等'")
    with desk(tmp_path, slow) as mine:
        mine.ask("state", {"scale": 0.3})
        push = mine.say("慢")
        assert push["scale"] == 0.3
        assert [attempt["outcome"] for attempt in push["tries"]][-1] in ("answered", "harmful")
        assert len(push["tries"]) in (2, 3)
        assert push["bot"]["took"] > 5  # seconds of WeChat's


def test_a_taken_port_and_a_missing_file_are_said(tmp_path):
    with servers.in_thread(lambda environ, start_response: []) as taken:
        env = servers.environment(tmp_path, {"PYTHONUTF8": "1"})
        port = str(urlsplit(taken).port)
        (tmp_path / "bot.py").write_text(BOT, "utf-8")

        def said(*arguments):
            with servers.running([sys.executable, "-m", "wx_mp_svr", *arguments], env, tmp_path) as process:
                assert process.wait(30) == 2
            return (tmp_path / "log.txt").read_text()

        assert f"端口 {port} 已被占用" in said("dev", "bot.py", "--no-browser", "--port", port)
        assert "没有 mine.py 这个文件" in said("dev", "mine.py", "--no-browser")
        with desk(tmp_path, BOT, "--bot-port", port) as mine:
            assert "机器人的端口已被占用" in mine.log()
            assert mine.say("你好")["reply"]["content"] == "好"


def test_the_demo_is_dev_with_the_echo_bot(tmp_path):
    with desk(tmp_path, command=("demo",)) as mine:
        assert mine.say("再见")["reply"]["content"] == "再见"
        assert mine.look()["state"]["name"] == "回声公众号"
        assert FakeWeChat(mine.bot_url, **DEMO).send_image("m").media_id == "m"


# -- on the page -------------------------------------------------------------------------------------------------------


def test_a_failed_handler_and_a_mistake_in_the_browser(tmp_path, chromium):
    """The red mark leads to the traceback; the banner comes and goes; what is said stays."""
    context = chromium.new_context(locale="zh-CN")
    try:
        with desk(tmp_path) as mine:
            page = context.new_page()
            page.set_default_timeout(15000)
            page.goto(mine.url)
            page.wait_for_selector("#menu button", state="attached")
            for text in ("再见", "你好"):
                page.fill("#input", text)
                page.press("#input", "Enter")
                page.wait_for_selector(f"#log .user .bubble:text-is('{text}')")
            page.wait_for_selector("#log .bot .bubble:text-is('好')")
            assert page.locator("#log .failed-mark").count() == 1
            assert page.locator("#timeline .push[data-level=error]").count() == 1
            assert "hello (bot.py:22)" in page.inner_text("#detail .bot-side")
            page.click("#log .failed-mark")
            page.wait_for_selector("#detail .bot-side.failed")
            assert "KeyError: '再见'" in page.inner_text("#detail .bot-side")
            mine.save(BOT.replace("server.run()", "def broken(:"))
            page.wait_for_selector("#toolbar .broken")
            assert "语法错误（bot.py:28）" in page.inner_text("#toolbar .broken")
            assert "KeyError: '再见'" in page.inner_text("#detail .bot-side")  # it stays chosen
            mine.save(BOT)
            page.wait_for_selector("#toolbar .broken", state="detached")
            assert page.locator("#log .user .bubble").count() == 2
    finally:
        context.close()


def test_the_bots_side_is_shown_under_dev_only():
    """A simulator beside a bot elsewhere, or in a test, shows what WeChat sees."""
    from wx_mp_svr.desk.simulator import make_app

    server = WxMpServer(token="DevTests1", store="memory:", on_message=lambda req: "好")
    app = make_app(server, token="DevTests1", key="k")
    client = app.test_client()
    body = {"msg_type": "text", "elements": {"Content": "你好"}}
    assert client.post("/k/push", json=body, base_url="http://127.0.0.1:80").status_code == 200
    until(lambda: not any(push["running"] for push in app.config["TALK"]._pushes.values()))
    assert all("bot" not in push for push in app.config["TALK"]._pushes.values())
