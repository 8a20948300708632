"""Where handlers run: threads that cannot be had, tasks that break, and what is at work while the process ends."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
import servers
from waiting import until

from wx_mp_svr import WxMpServer
from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.handling.workers import Loop, Pool, frame_of, in_thread
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.sqlite import SQLiteStore
from wx_mp_svr.testing import FakeWeChat

TOKEN = "WorkersToken"


@pytest.fixture
def no_thread_once(monkeypatch):
    """Give a function that lets the next thread of a name be refused, as a system does that is short of memory."""
    start, names = threading.Thread.start, set()

    def start_or_raise(thread):
        if thread.name in names:
            names.remove(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_raise)
    yield names.add
    gc.collect()  # what was begun in vain is closed: here a warning is an error


def quick(req):
    return "在"


async def quick_async(req):
    return "在"


# -- threads that cannot be had --------------------------------------------------------------------------------------


def test_a_worker_that_could_not_start_takes_no_place(no_thread_once):
    workers, done = Pool(1, 1, REAL), threading.Event()
    no_thread_once("wx-mp-worker")
    with pytest.raises(RuntimeError, match="new thread"):
        workers.submit(done.set)
    assert workers.submit(done.set)
    assert done.wait(10)


def test_a_loop_that_could_not_start_is_started_by_the_next_one(no_thread_once):
    loop, done = Loop(REAL), threading.Event()

    async def work():
        done.set()

    no_thread_once("wx-mp-loop")
    with pytest.raises(RuntimeError, match="new thread"):
        loop.submit(work)
    loop.submit(work)
    assert done.wait(10)
    assert loop.run(quick_async(None)) == "在"


def test_a_full_pool_takes_no_more():
    pool, gate = Pool(1, 1, REAL), threading.Event()
    assert [pool.submit(lambda: gate.wait(10)) for _ in range(3)] == [True, True, False]
    assert pool.queued == 1
    gate.set()


def test_who_asks_in_the_loop_is_inside_it():
    """By its own thread: with gevent, asyncio would take every greenlet for it."""
    loop = Loop(REAL)

    async def ask():
        return loop.inside(), await loop.aside(loop.inside)

    assert (loop.run(ask()), loop.inside()) == ((True, False), False)
    assert loop._thread.daemon  # no process waits for it


def test_what_is_done_aside_may_raise():
    loop = Loop(REAL)

    async def fail():
        await loop.aside(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        loop.run(fail())


def test_what_is_done_aside_takes_thirty_two_threads_at_most():
    """However many coroutines wait for a store: the others' turn comes."""
    loop, gate = Loop(REAL), threading.Event()

    async def forty():
        calls = asyncio.gather(*(loop.aside(gate.wait, 20) for _ in range(40)))
        await asyncio.sleep(0)
        wait = loop._aside.queued
        gate.set()
        return wait, await calls

    assert loop.run(forty()) == (8, [True] * 40)


@pytest.mark.parametrize(
    ("handler", "hooks", "thread"),
    [
        (quick, (), "wx-mp-worker"),
        (quick_async, (), "wx-mp-loop"),
        (quick, (), "wx-mp-alive"),
        (quick_async, ("on_late_reply",), "wx-mp-aside"),
    ],
)
def test_a_thread_that_cannot_be_had_costs_one_answer_at_most(handler, hooks, thread, no_thread_once):
    """The user gets the error text, if not the answer; whoever comes next an answer, and no run stays behind."""
    server = WxMpServer(token=TOKEN, store="memory:", on_message=handler, **dict.fromkeys(hooks, lambda *args: None))
    wechat = server.test_client(time_scale=0.1, max_jobs=1)
    no_thread_once(thread)
    results = [wechat.send_text("在吗") for _ in range(3)]
    assert results[0].content in (server.settings.error_text, "在")
    assert [result.content for result in results[1:]] == ["在", "在"]
    assert [len(result.tries) for result in results] == [1, 1, 1]
    assert server.stats()["running"] == 0


# -- tasks that break ------------------------------------------------------------------------------------------------


def test_a_task_that_raises_costs_no_thread(caplog):
    """There would be one fewer for ever."""
    workers, done = Pool(1, 2, REAL), threading.Event()

    def broken():
        raise SystemExit("a bug")

    assert workers.submit(broken)
    assert workers.submit(done.set)
    assert done.wait(10)
    assert "a bug of wx-mp-svr" in caplog.text


def test_what_goes_on_in_a_thread_tells_how_it_ended():
    assert in_thread(lambda: threading.current_thread().name, "own").result(10) == "own"
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 / 0, "own").result(10)
    assert in_thread(lambda: threading.current_thread().daemon, "own").result(10)  # no process waits for it


# -- while the process ends ------------------------------------------------------------------------------------------

# The packet is pushed by the process itself, which ends as soon as the handler has begun.
ENDING = """
import asyncio, sys, threading
from wx_mp_svr import WxMpServer
from wx_mp_svr.testing import FakeWeChat

token, store, hook, xml = sys.argv[1:]
begun = threading.Event()

async def slow(req):
    begun.set()
    await asyncio.sleep(0.5)
    return "到底"

server = WxMpServer(token=token, store=store, grace=100, on_message=slow, **{hook: lambda *args: None})
threading.Thread(target=FakeWeChat(server, token=token).send_xml, args=(xml,), daemon=True).start()
sys.exit(not begun.wait(20))
"""


@pytest.mark.parametrize("hook", ["on_event", "on_late_reply", "on_error"])
def test_an_async_handler_may_end_while_its_process_does(hook, tmp_path):
    """With hooks that may block it ends in a thread; one of an executor could not be had any more, and all would wait."""
    store = f"sqlite:{tmp_path / 'ending.db'}"
    elsewhere = FakeWeChat(WxMpServer(token=TOKEN, store=store, on_message=lambda req: "noch einmal"), token=TOKEN)
    xml = elsewhere.build("text", {"Content": "x", "MsgId": 1})
    command = [sys.executable, "-c", ENDING, TOKEN, store, hook, xml]
    done = subprocess.run(command, env=servers.environment(tmp_path, {}), cwd=tmp_path, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    assert elsewhere.send_xml(xml).content == "到底"  # a retry gets it from the store


# -- where a thread is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_it_is_looked_where_a_thread_is(collects, monkeypatch):
    """That could stop the process for ever; and whoever has turned it off does not get it back by this."""
    frames, told = sys._current_frames, []
    monkeypatch.setattr(sys, "_current_frames", lambda: told.append(gc.isenabled()) or frames())
    if not collects:
        gc.disable()
    try:
        frame = frame_of(threading.get_ident())
        assert (told, gc.isenabled()) == ([False], collects)
        monkeypatch.setattr(sys, "_current_frames", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            frame_of(0)
        assert gc.isenabled() == collects
    finally:
        gc.enable()
    assert frame.f_code.co_filename == __file__


# -- one who blocks the loop -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("briefly", [False, True])
def test_who_blocks_the_loop_is_named_with_file_and_line(briefly, caplog):
    """All other handlers wait for it, without a word before; here at fifty times the speed."""
    loop, looks = Loop(FastClock(50)), []

    async def blocks():
        helper()

    def helper():
        until(lambda: looks if briefly else lines())

    def lines():
        return [record.getMessage() for record in caplog.records if "卡住了事件循环" in record.getMessage()]

    def look(where=loop._where):
        looks.append(where())
        return looks[-1]

    loop._where = look
    loop.submit(blocks)
    until(lines)
    loop.run(asyncio.sleep(0))  # it goes on
    (line,) = lines()
    assert line.startswith(f"blocks ({__file__}:{blocks.__code__.co_firstlineno + 1}) has blocked the event loop for ")
    until(lambda: not loop._watched)


def test_one_watchdog_looks_after_all_coroutines_and_ends_with_them():
    loop = Loop(FastClock(50))
    earlier = set(threading.enumerate())

    def watchdogs():
        return [thread for thread in set(threading.enumerate()) - earlier if thread.name == "wx-mp-watchdog"]

    for _ in range(2):
        go_on = asyncio.Event()
        for _ in range(3):
            loop.submit(go_on.wait)
        until(lambda: len(loop._coroutines) == 3)
        assert len(watchdogs()) == 1
        loop._get().call_soon_threadsafe(go_on.set)
        until(lambda: not watchdogs())
        assert not loop._watched


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/a.db"])
def test_who_waits_as_one_should_is_accused_of_nothing(store, caplog, tmp_path):
    """Nor is the store, which is never asked in the loop's thread."""
    threads = set()

    class Noted(MemoryStore):
        def _note(self):
            threads.add(threading.current_thread().name)

        def get(self, key):
            self._note()
            return super().get(key)

        def set(self, *args):
            self._note()
            super().set(*args)

        def add(self, *args):
            self._note()
            return super().add(*args)

        def delete(self, *keys):
            self._note()
            super().delete(*keys)

    async def patient(req):
        for _ in range(40):
            await wechat.sleep(0.3)
            yield "一句话。" * 40
        async with req.session as session:
            session["n"] = 1

    given = Noted() if store == "memory:" else store.format(tmp_path)
    server = WxMpServer(token=TOKEN, store=given, on_message=patient)
    wechat = server.test_client(store=given)
    result = wechat.send_text("x")
    while result.links:
        result = wechat.tap(result)
    wechat.sleep(3)
    assert "卡住了事件循环" not in caplog.text
    assert "wx-mp-loop" not in threads


class SixVerbs:
    """A store that notes in whose thread it is asked."""

    def __init__(self, store):
        self.threads = set()
        for verb in ("get", "get_many", "set", "add", "incr", "delete"):
            setattr(self, verb, partial(self._ask, getattr(store, verb)))

    def _ask(self, verb, *args):
        self.threads.add(threading.current_thread().name)
        return verb(*args)


class NotedSQLiteStore(SixVerbs, SQLiteStore):
    """One that can put writes off."""

    def __init__(self, path):
        SQLiteStore.__init__(self, path)
        self.add_all = partial(self._ask, self.add_all)
        SixVerbs.__init__(self, self)


@pytest.mark.parametrize("kind", ["of the user's own", "sqlite"])
def test_the_quick_reply_of_a_coroutine_does_not_ask_the_store_in_the_loop(kind, tmp_path):
    """It is put off there, or takes the way through a thread; and each time it is there for the next copy."""
    store = NotedSQLiteStore(tmp_path / "store") if kind == "sqlite" else SixVerbs(MemoryStore())
    ran = 0

    async def count(req):
        nonlocal ran
        ran += 1
        return "在"

    wechat = FakeWeChat(WxMpServer(token=TOKEN, store=store, on_message=count), token=TOKEN)
    for number in range(12):
        sealed = wechat.seal(wechat.build("text", {"Content": "在吗", "MsgId": str(number)}))
        assert [wechat.send_xml("", sealed=sealed).content for _ in range(2)] == ["在", "在"]
        time.sleep(0.1)  # over the second in which nobody looks for offers
    assert ran == 12
    assert store.threads
    assert "wx-mp-loop" not in store.threads
