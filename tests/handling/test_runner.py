"""Handlers in the workers of a task queue: huey, Celery and RQ, real ones, on a real Redis behind a real gunicorn."""

import asyncio
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers
from redis import Redis
from waiting import until

from wx_mp_svr import ConfigError, WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.testing import FakeWeChat, Result

BOTS = Path(__file__).resolve().parent.parent / "bots"
TRY = 5.0  # seconds from one try of WeChat's to the next
PATIENCE = 40  # seconds until something that must happen counts as not happening

ACCOUNT = {"token": "Runner7", "appid": "wx1a2b3c4d5e6f7a8b", "aes_key": "kWxyzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345"}
SETTINGS = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}


@dataclass(frozen=True)
class Queue:
    """One of the three: how a worker is started, the words with which it says that it works, where its jobs wait."""

    name: str
    worker: list[str]
    ready: str
    jobs: str


BIN = Path(sys.executable).parent
QUEUES = [
    Queue("huey", ["huey_consumer", "huey_bot.huey", "-w", "2"], "Huey consumer started", "huey.redis.huey"),
    Queue(
        "celery",
        ["celery", "-A", "celery_bot", "worker", "--pool", "threads", "--concurrency", "2", "-l", "INFO"],
        " ready.",
        "celery",
    ),
    Queue("rq", ["rq", "worker", "--config", "rq_bot"], "Listening on", "rq:queue:default"),
]


# -- through real queues -----------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """A gunicorn with a bot, the Redis behind it, and as many workers as are started."""

    queue: Queue
    url: str
    store: str
    redis: Redis
    directory: Path
    processes: ExitStack
    users: int = 0
    started: list[Any] = field(default_factory=list)

    def wechat(self, **settings: Any) -> FakeWeChat:
        """Another user's WeChat."""
        self.users += 1
        return FakeWeChat(self.url, **ACCOUNT, openid=f"oUser{self.users}", **settings)

    def start_workers(self, count: int = 5) -> None:
        logs = []
        for _ in range(count):
            directory = self.directory / f"worker{len(self.started)}"
            directory.mkdir()
            command = [str(BIN / self.queue.worker[0]), *self.queue.worker[1:]]
            if self.queue.name == "celery":
                command += ["-n", directory.name]
            self.started.append(self.processes.enter_context(running(command, self.store, directory)))
            logs.append(directory / "log.txt")
        wait_until(lambda: all(self.queue.ready in log.read_text(errors="replace") for log in logs), *logs)

    def runs(self, words: str) -> int:
        """How often the handler ran for these words."""
        return int(self.redis.llen(f"runs:{words}"))

    def waiting(self) -> int:
        """How many jobs no worker has taken up."""
        return int(self.redis.llen(self.queue.jobs))


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.port


@pytest.fixture(scope="module", params=enumerate(QUEUES), ids=[queue.name for queue in QUEUES])
def stage(request: Any, redis_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    number, queue = request.param
    with staged(queue, f"redis://127.0.0.1:{redis_port}/{number}", tmp_path_factory.mktemp(queue.name)) as stage:
        stage.start_workers()
        yield stage


@pytest.fixture(params=enumerate(QUEUES, 3), ids=[queue.name for queue in QUEUES])
def lonely_stage(request: Any, redis_port: int, tmp_path: Path) -> Iterator[Stage]:
    """One without workers."""
    number, queue = request.param
    with staged(queue, f"redis://127.0.0.1:{redis_port}/{number}", tmp_path) as stage:
        yield stage


@contextmanager
def staged(queue: Queue, store: str, directory: Path) -> Iterator[Stage]:
    address = f"127.0.0.1:{servers.free_port()}"
    options = ["--workers", "2", "--threads", "8", "-k", "gthread", "--bind", address, "--graceful-timeout", "2"]
    command = [sys.executable, "-m", "gunicorn", *options, f"{queue.name}_bot:server"]
    (directory / "web").mkdir()
    with ExitStack() as processes, Redis.from_url(store) as redis:
        web = processes.enter_context(running(command, store, directory / "web"))
        url = servers.answering(f"http://{address}{servers.CALLBACK}", web, directory / "web").url
        yield Stage(queue, url, store, redis, directory, processes)


def running(command: list[str], store: str, directory: Path) -> Any:
    settings = {**SETTINGS, "WX_MP_STORE": servers.patient(store), "BROKER": store}
    env = servers.environment(directory, settings)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(BOTS), env.get("PYTHONPATH")]))
    return servers.running(command, env, directory)


def wait_until(happened: Callable[[], bool], *logs: Path) -> None:
    until(happened, lambda: "\n".join(log.read_text(errors="replace") for log in logs), PATIENCE)


def text_of(result: Result) -> str:
    """What the handler said, without our link."""
    return re.sub(r"\n\n<a .*", "", result.content)


def fetched(wechat: FakeWeChat, result: Result, *, taps: int) -> str:
    """What the user has in the end, who taps as long as a link is offered."""
    for _ in range(taps):
        if not result.links:
            break
        result = wechat.tap(result)
    return result.content


def test_a_fast_handler_is_answered_at_the_first_try(stage):
    result = stage.wechat().send_text("say 你好")
    assert (result.content, len(result.tries)) == ("done: say 你好", 1)
    assert stage.runs("say 你好") == 1


def slow_answer_comes_with_the_second_try(stage):
    words = f"sleep {1.4 * TRY}"
    result = stage.wechat().send_text(words)
    assert (result.content, len(result.tries)) == (f"done: {words}", 2)
    assert stage.runs(words) == 1


def very_slow_answer_waits_behind_a_link(stage):
    words = f"sleep {3.2 * TRY}"
    wechat = stage.wechat()
    slow = wechat.send_text(words)
    assert (len(slow.tries), [link.label for link in slow.links]) == (3, ["查看回复"])
    assert wechat.tap(slow).content == f"done: {words}"
    assert stage.runs(words) == 1


def full_page_of_a_stream_goes_out_at_once(stage, verb):
    """30 sentences are more than a page and come at once; the others take their time."""
    words = f"{verb} 33 {0.3 * TRY} 30"
    wechat = stage.wechat()
    pages = [wechat.send_text(words)]
    while pages[-1].links and len(pages) < 9:
        pages.append(wechat.tap(pages[-1]))
    assert len(pages[0].tries) == 1
    assert [link.label for link in pages[0].links] == ["下一页"]
    assert written("".join(map(text_of, pages))) == list(range(33))
    assert stage.runs(words) == 1


def last_try_shows_what_a_slow_stream_has_said(stage):
    words = f"write 17 {TRY / 5}"
    wechat = stage.wechat()
    pages = [wechat.send_text(words)]
    while pages[-1].links and len(pages) < 9:
        pages.append(wechat.tap(pages[-1]))
    assert len(pages[0].tries) == 3
    assert 5 < len(written(pages[0].content)) < 17
    assert written("".join(map(text_of, pages))) == list(range(17))
    assert stage.runs(words) == 1


def test_slow_answers_arrive_as_they_do_without_a_queue(stage):
    """Four stories that mostly wait, told at once: with a retry, behind a link, page by page, and as far as they are."""
    stories = [
        partial(slow_answer_comes_with_the_second_try, stage),
        partial(very_slow_answer_waits_behind_a_link, stage),
        partial(full_page_of_a_stream_goes_out_at_once, stage, "write"),
        partial(full_page_of_a_stream_goes_out_at_once, stage, "awrite"),
        partial(last_try_shows_what_a_slow_stream_has_said, stage),
    ]
    with ThreadPoolExecutor(len(stories)) as pool:
        for told in [pool.submit(story) for story in stories]:
            told.result(90)


def written(text: str) -> list[int]:
    """The numbers of the sentences in a text."""
    return [int(number) for number in re.findall(r"第 (\d+) 句，字{30}。", text)]


def test_an_async_handler_is_answered(stage):
    result = stage.wechat().subscribe("4711")
    assert (result.content, len(result.tries)) == ("welcome qrscene_4711", 1)
    assert stage.runs("qrscene_4711") == 1


def test_a_handler_that_raises_gives_the_error_text(stage):
    result = stage.wechat().send_text("raise")
    assert (result.content, len(result.tries)) == ("抱歉，出错了，请稍后再试。", 1)
    assert stage.runs("raise") == 1


def test_what_a_killed_worker_left_is_enqueued_again(stage):
    words = f"hang {20 * TRY}"
    wechat = stage.wechat()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(wechat.send_text, words)
        wait_until(lambda: stage.runs(words) == 1)
        os.kill(int(stage.redis.lindex(f"runs:{words}", 0)), signal.SIGKILL)
        answer = result.result(PATIENCE)
    assert fetched(wechat, answer, taps=2) == f"done: {words}"
    assert stage.runs(words) == 2
    if any(worker.poll() is not None for worker in stage.started):
        stage.start_workers(1)


def test_a_retry_does_not_enqueue_again_and_a_job_delivered_twice_runs_once(lonely_stage):
    """The worker is down at first; and when it comes, its queue has doubled what it held."""
    stage, words, twice = lonely_stage, "say once", threading.Event()
    wechat = stage.wechat(on_try=lambda result, attempt: twice.set() if attempt.number == 2 else None)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(wechat.send_text, words)
        assert twice.wait(PATIENCE)
        assert stage.waiting() == 1
        stage.redis.rpush(stage.queue.jobs, *stage.redis.lrange(stage.queue.jobs, 0, -1))
        stage.start_workers(1)
        answer = result.result(PATIENCE)
    assert fetched(wechat, answer, taps=2) == f"done: {words}"
    assert wechat.send_text("say the copy is through").content == "done: say the copy is through"
    assert (stage.waiting(), stage.runs(words)) == (0, 1)


# -- what a runner gets, and what it needs -----------------------------------------------------------------------------


def server_on(store: str, **handlers: Any) -> WxMpServer:
    """A server for which time jumps."""
    return WxMpServer(store=store, **ACCOUNT, **handlers).with_clock(FastClock(jumps=True), store=store)


def wechat_for(server: WxMpServer) -> FakeWeChat:
    return FakeWeChat(server, **ACCOUNT, clock=server.clock)


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'store.sqlite3'}"


def test_a_job_is_json_with_four_documented_keys(sqlite):
    jobs: list[dict[str, Any]] = []
    server = server_on(sqlite, on_message=lambda req: "never in this process", runner=jobs.append)
    before = server.clock.wall()
    slow = wechat_for(server).send_text("你好")
    (job,) = jobs  # three tries, one job
    assert len(slow.tries) == 3
    assert json.loads(json.dumps(job)) == job
    assert sorted(job) == ["arrived", "fields", "key", "run"]
    assert (job["run"], job["fields"]["Content"], job["fields"]["MsgType"]) == (1, "你好", "text")
    assert before <= job["arrived"] <= server.clock.wall()


def test_a_job_that_another_process_did_answers_the_push(sqlite):
    """Another server on the same store stands for the worker's process."""
    worker = server_on(sqlite, on_message=lambda req: req.content * 2)
    server = server_on(sqlite, on_message=lambda req: "never in this process")
    server.runner = lambda job: worker.run_job(json.loads(json.dumps(job)))
    assert wechat_for(server).send_text("好").content == "好好"


def test_a_job_done_twice_runs_once(sqlite):
    jobs: list[dict[str, Any]] = []
    seen: list[str] = []
    server = server_on(sqlite, on_message=lambda req: seen.append(req.content))
    server.runner = jobs.append
    wechat_for(server).send_text("hi")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(server.run_job, jobs * 4))
    assert seen == ["hi"]


def test_a_job_returns_only_when_all_of_it_is_done(sqlite):
    """RQ ends the process as soon as the job's function has returned: nothing may still be going on in the event loop."""
    jobs: list[dict[str, Any]] = []
    heard: list[str] = []

    async def on_error(exc: Exception, req: Any) -> str:
        await asyncio.sleep(0.05)
        heard.append("error")
        return "sorry"

    async def on_late_reply(req: Any, reply: Any) -> None:
        await asyncio.sleep(0.05)
        heard.append(f"late: {reply.content}")

    server = server_on(sqlite, on_message=lambda req: 1 / 0, on_error=on_error, on_late_reply=on_late_reply)
    server.runner = jobs.append
    wechat_for(server).send_text("hi")  # its three tries are over
    server.run_job(jobs[0])
    assert heard == ["error", "late: sorry"]


def test_a_runner_that_raises_gives_the_error_text(sqlite, caplog):
    def broken(job: dict[str, Any]) -> None:
        raise ConnectionError("no queue")

    result = wechat_for(server_on(sqlite, on_message=lambda req: "hi", runner=broken)).send_text("hi")
    assert (result.content, len(result.tries)) == ("抱歉，出错了，请稍后再试。", 1)
    assert "the runner raised" in caplog.text


def test_a_runner_on_a_store_in_memory_is_a_config_error():
    """Its workers would look for the push in their own memory."""
    with pytest.raises(ConfigError, match="WX_MP_STORE"):
        server_on("memory:", runner=print)
    server = server_on("memory:")
    with pytest.raises(ConfigError, match="WX_MP_STORE"):
        server.runner = print
    assert server.runner is None
