"""Faults that the first version had, each told as what is true now."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import servers
from flask import Flask
from waiting import until

from wx_mp_svr import ConfigError, ImageRspMsg, WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.delivery.push import push_key
from wx_mp_svr.messages import read_msg
from wx_mp_svr.testing import FakeWeChat
from wx_mp_svr.wire import xmlio

ACCOUNT = {"token": "Mended1", "appid": "wx0123456789abcdef", "aes_key": "m" * 43}


def fast(server, store, clock=None):
    """A copy for which time jumps; of two, the second lives by the clock of the first."""
    return server.with_clock(clock or FastClock(jumps=True), store=store)


def test_a_try_that_ends_does_not_write_over_the_claim_of_the_queues_worker(tmp_path):
    """After a minute a tap said that the message was lost, and its answer could never be fetched."""
    store, jobs = f"sqlite:{tmp_path / 'a.db'}", []
    web = fast(WxMpServer(**ACCOUNT, store=store, on_message=lambda req: "never here", runner=jobs.append), store)
    worker = WxMpServer(**ACCOUNT, store=store, on_message=lambda req: web.clock.sleep(20) or "doch")
    worker = fast(worker, store, web.clock)
    wechat = FakeWeChat(web, **ACCOUNT, clock=web.clock)

    def on_try(result, attempt):
        if attempt.number == 2:
            web.clock.start(lambda: worker.run_job(json.loads(json.dumps(jobs[0]))), "worker")

    wechat.on_try = on_try
    slow = wechat.send_text("x")
    assert slow.links
    push = push_key(read_msg(xmlio.load(slow.xml.encode())), b"")
    assert web._arrivals._ledger.look(push, 1).claim.owner == worker._runs.alive.process
    while slow.links:
        slow = wechat.tap(slow)
    assert slow.content == "doch"


def streams_and_raises(req):
    yield "先说一半。"
    raise ValueError("and then")


async def streams_and_raises_async(req):
    yield "先说一半。"
    raise ValueError("and then")


@pytest.mark.parametrize("handler", [streams_and_raises, streams_and_raises_async])
@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({"error_text": None}, ["先说一半。"]),
        ({}, ["先说一半。\n\n抱歉，出错了，请稍后再试。"]),
        ({"on_error": lambda exc, req: None}, ["先说一半。"]),
        ({"on_error": lambda exc, req: ImageRspMsg("m")}, ["先说一半。", "image"]),
    ],
    ids=["no error text", "error text", "silent on_error", "picture"],
)
def test_what_a_handler_streamed_before_it_raised_is_kept(handler, settings, read):
    given = {name: settings[name] for name in settings if name == "on_error"}
    server = WxMpServer(**ACCOUNT, store="memory:", on_message=handler, **given)
    wechat = server.test_client(raise_errors=False, **{name: settings[name] for name in settings if name not in given})
    result = wechat.send_text("x")
    found = [result.content.split("\n\n<a")[0]]
    while result.links:
        result = wechat.tap(result)
        found.append(result.content or result.type)
    assert found == read


def plain(req):
    return "x"


def generator(req):
    yield "x"


async def coroutine(req):
    return "x"


async def asynchronous_generator(req):
    yield "x"


def wrapped(req):
    return coroutine(req)


def fails(req):
    raise ValueError


async def fails_async(req):
    raise ValueError


@pytest.mark.parametrize(
    "handler",
    [plain, generator, coroutine, asynchronous_generator, wrapped, fails, fails_async],
    ids=lambda handler: handler.__name__,
)
@pytest.mark.parametrize("hook", [False, True])
def test_an_app_context_is_torn_down_once_per_push(handler, hook):
    """Whatever kind of function it is, and whether `on_error` takes over."""
    hooks = {"on_error": lambda exc, req: "sorry"} if hook else {}
    server, torn = WxMpServer(**ACCOUNT, store="memory:", on_message=handler, **hooks), []
    server.app.teardown_appcontext(torn.append)
    wechat = server.test_client(raise_errors=False)
    for n in range(4):
        wechat.send_text(str(n))
    until(lambda: not wechat.server.stats()["running"])
    assert len(torn) == 4


def test_a_teardown_that_raises_does_not_cost_the_answer(caplog):
    server = WxMpServer(**ACCOUNT, store="memory:", on_message=lambda req: req.content)

    @server.app.teardown_appcontext
    def broken(exc):
        raise ZeroDivisionError

    wechat = server.test_client(raise_errors=False)
    assert [wechat.send_text(words).content for words in ("one", "two")] == ["one", "two"]
    until(lambda: caplog.text.count("teardown raised") == 2)


GRACE = """
import sys, threading, time
from wx_mp_svr import WxMpServer
from wx_mp_svr.testing import FakeWeChat

begun = threading.Semaphore(0)

def slow(req):
    begun.release()
    time.sleep(60)

for n in range(5):
    server = WxMpServer(token=f"Grace{n}", store="memory:", grace=2, on_message=slow)
    threading.Thread(target=FakeWeChat(server, token=f"Grace{n}").send_text, args=("x",), daemon=True).start()
for _ in range(5):
    assert begun.acquire(timeout=20)
print(time.time(), flush=True)
"""


def test_grace_is_spent_once_for_all_accounts(tmp_path):
    """Not one after the other: a service manager would kill the rest."""
    done = subprocess.run(
        [sys.executable, "-c", GRACE],
        env=servers.environment(tmp_path, {}),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert 2 <= time.time() - float(done.stdout) < 8  # and not 10


def test_late_is_what_the_ledger_says_and_not_what_two_clocks_say(tmp_path):
    """A worker whose clock is 40 s ahead called every answer late, and a bot that delivers late ones answered twice."""
    store, jobs, late = f"sqlite:{tmp_path / 'a.db'}", [], []
    web = fast(WxMpServer(**ACCOUNT, store=store, on_message=lambda req: "never here", runner=jobs.append), store)
    worker = WxMpServer(
        **ACCOUNT, store=store, on_message=lambda req: "pünktlich", on_late_reply=lambda req, rsp: late.append(rsp)
    ).with_clock(FastClock(wall=lambda: web.clock.wall() + 40), store=store)
    web.runner = lambda job: web.clock.start(lambda: worker.run_job(job), "worker")
    assert FakeWeChat(web, **ACCOUNT, clock=web.clock).send_text("x").content == "pünktlich"
    assert late == []


@pytest.mark.parametrize("words", ["查看回复1", "查看回复12-3"])
def test_a_route_for_what_a_tap_sends_is_refused_whenever_it_is_written(words):
    server = WxMpServer(token="Mended1", store="memory:")
    with pytest.raises(ConfigError, match="fetch_words"):
        server.text(words)(plain)
    late = WxMpServer(token="Mended1", store="memory:", app=None)
    late.text(words)(plain)
    with pytest.raises(ConfigError, match="fetch_words"):
        late.init_app(Flask(__name__))
    WxMpServer(token="Mended1", store="memory:", fetch_words="取").text(words)(plain)


def test_with_gevent_a_def_may_touch_its_session_while_an_async_def_runs(tmp_path):
    """Asyncio's running loop belongs to the thread, which all greenlets share: every `def` was taken for a coroutine."""
    bots = Path(__file__).resolve().parent.parent / "bots"
    bind = f"127.0.0.1:{servers.free_port()}"
    account = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}
    env = servers.environment(tmp_path, {**account, "NOTES": str(tmp_path), "WX_MP_STORE": "memory:"})
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--bind", bind, "--chdir", str(bots)]
    with servers.running([*command, "session_bot:server"], env, tmp_path) as process:
        url = servers.answering(f"http://{bind}/wx_mp_cb", process, tmp_path).url
        wechat = FakeWeChat(url, **ACCOUNT)
        counted = Counter()
        for number in range(1, 7):
            result = wechat.subscribe(str(number)) if number % 2 else wechat.send_text("count")
            counted[result.content.split()[0]] += 1
    assert counted == Counter(map(str, range(1, 7)))
