"""The recipes for accounts at run time and for ASGI, word for word, over real HTTP."""

import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import servers
from documents import RECIPES

from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"token": "Recipes1", "appid": "wx0e2d1c0b9a8f7e6d", "aes_key": "r" * 43}
MANY = 200


def recipe(words):
    (found,) = [example for example in RECIPES.examples if words in example]
    return found


# -- accounts at run time ----------------------------------------------------------------------------------------------


def account(number, token="Token"):
    return {"appid": f"wx{number:016}", "token": f"{token}{number}", "aes_key": f"{number:043}"}


def keep(database, *accounts):
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS accounts (appid TEXT PRIMARY KEY, token TEXT, aes_key TEXT)")
        db.executemany("INSERT OR REPLACE INTO accounts VALUES (:appid, :token, :aes_key)", accounts)


def wechat_of(url, own):
    return FakeWeChat(f"{url}/wx/{own['appid']}", **own)


@pytest.fixture
def many(tmp_path, monkeypatch):
    """The recipe in a folder of its own, served; the database has two hundred accounts."""
    monkeypatch.chdir(tmp_path)
    keep("accounts.db", *map(account, range(MANY)))
    program = {"__name__": "recipe"}
    exec(recipe("server_of"), program)
    with servers.in_thread(program["app"]) as url:
        yield url


def test_two_hundred_accounts_come_and_go_while_the_app_runs(many):
    """Each has its own keys; they share the store's files, and an account costs one more: the lock that says who lives."""
    before = len(os.listdir("/proc/self/fd"))

    def ask(number):
        own = account(number)
        return wechat_of(many, own).verify_url().good and wechat_of(many, own).send_text("在吗").content

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, range(MANY))) == [f"这里是 {account(number)['appid']}" for number in range(MANY)]
    assert len(os.listdir("/proc/self/fd")) - before < MANY + 50

    new, changed = account(MANY), account(0, "Changed")
    assert {attempt.status for attempt in wechat_of(many, new).send_text("在吗").tries} == {404}
    keep("accounts.db", new, changed)
    assert wechat_of(many, new).send_text("在吗").content == f"这里是 {new['appid']}"
    assert wechat_of(many, changed).send_text("在吗").content == f"这里是 {changed['appid']}"
    for stranger in (account(0), {**account(1), "token": "Token2"}):
        assert {attempt.status for attempt in wechat_of(many, stranger).send_text("在吗").tries} == {403}


# -- ASGI --------------------------------------------------------------------------------------------------------------

SLOW = """
def slow(req):
    import time

    time.sleep(7 if req.content == "慢" else 0)
    return f"你说：{req.content}"


server = WxMpServer(on_message=slow)"""


@contextmanager
def uvicorn(directory):
    """The recipe, but its handler takes seven seconds for 「慢」."""
    line = 'server = WxMpServer(on_message=lambda req: f"你说：{req.content}")'
    program = recipe("WSGIMiddleware")
    assert line in program
    (directory / "bot.py").write_text(program.replace(line, SLOW.lstrip()), "utf-8")
    port = servers.free_port()
    env = servers.environment(directory, {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()})
    command = [sys.executable, "-m", "uvicorn", "bot:app", "--port", str(port), "--log-level", "warning"]
    with servers.running(command, env, directory) as process:
        yield servers.answering(f"http://127.0.0.1:{port}{servers.CALLBACK}", process, directory)


def test_in_a_fastapi_app_slow_messages_hold_up_nobody(tmp_path):
    """Twenty are held, twice as many as a2wsgi has threads by itself; the app's own pages stay its own."""
    with uvicorn(tmp_path) as bot, ThreadPoolExecutor(20) as pool:
        wechats = [FakeWeChat(bot.url, **ACCOUNT, openid=f"oAsgi{number:023}") for number in range(21)]
        assert wechats[-1].verify_url().good
        held = []
        for wechat in wechats[:-1]:
            held.append(pool.submit(wechat.send_text, "慢"))
            time.sleep(0.1)  # or they would arrive late on a busy machine, and get their links at once
        quick = wechats[-1].send_text("快")
        assert (quick.content, len(quick.tries), quick.elapsed < 2) == ("你说：快", 1, True)
        assert servers.answers(bot.url.replace(servers.CALLBACK, "/hello"))
        assert not servers.answers(bot.url.replace(servers.CALLBACK, "/nowhere"))
        assert {(result.result().content, len(result.result().tries)) for result in held} == {("你说：慢", 2)}
        broken = FakeWeChat(bot.url, **{**ACCOUNT, "token": "Another1"}).send_text("嘿")
        assert [attempt.status for attempt in broken.tries] == [403] * 3
    assert "Traceback" not in bot.log_text()
