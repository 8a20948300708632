"""Several workers and several machines: one run per push, wherever its copies land."""

import itertools
import os
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import servers
from waiting import until

from wx_mp_svr.clock import REAL
from wx_mp_svr.testing import FakeWeChat
from wx_mp_svr.testing.judge import Judge, Try
from wx_mp_svr.testing.line import HttpTarget, Line

ACCOUNT = {"appid": "wx0123456789abcdef", "token": "ManyToken1", "aes_key": "m" * 43}
BOTS = Path(__file__).parent.parent / "bots"


@contextmanager
def gunicorn(directory, *, workers=2, threads=32, **settings):
    """The slow bot; its runs are written into ``directory/runs``."""
    directory.mkdir(parents=True, exist_ok=True)
    port = servers.free_port()
    options = ["--workers", str(workers), "--threads", str(threads), "-k", "gthread", "--graceful-timeout", "20"]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "--chdir", str(BOTS)]
    account = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}
    env = servers.environment(directory, {"RUNS": str(directory / "runs"), **account, **settings})
    command += ["--access-logfile", str(directory / "access"), "--access-logformat", "%(p)s %(s)s %(q)s"]
    with servers.running([*command, "slow_bot:server"], env, directory) as process:
        running = servers.answering(f"http://127.0.0.1:{port}/wx_mp_cb", process, directory)
        yield running.url, process


@contextmanager
def store_of(kind, directory):
    """Settings of a store that two servers share."""
    if kind == "sqlite":
        yield {"WX_MP_STORE": f"sqlite:{directory / 'shared.db'}"}
        return
    (directory / "redis").mkdir()
    with servers.redis(directory / "redis") as redis:
        yield {"WX_MP_STORE": redis.patient_url}


def runs_of(*directories):
    """Return (pid, name) of every run."""
    texts = [(directory / "runs").read_text() for directory in directories if (directory / "runs").exists()]
    return [tuple(line.split()) for text in texts for line in text.splitlines()]


def answered_by(directory, attempt):
    """Return the pid of the worker whose answer a try got; its line is written a moment after the answer."""

    def logged():
        for line in (directory / "access").read_text().splitlines():
            pid, *answer = line.split()
            if answer == ["200", attempt.query]:  # the tries before have the same query, but not this status
                return pid.strip("<>")
        return None

    return until(logged, lambda: f"no worker has logged {attempt.query}")


def wechat_for(*urls, openid="o-1"):
    """A WeChat whose tries go to each of *urls* in turn."""
    wechat = FakeWeChat(urls[0], **ACCOUNT, openid=openid)
    targets = itertools.cycle([HttpTarget(url) for url in urls])
    wechat._post = lambda *args: next(targets)(*args)
    return wechat


def push(url, query, body, xml):
    """Make one delivery and return the text of its reply."""
    line = Line(REAL)
    HttpTarget(url)("POST", query, body, line)
    attempt = Try(1, 0.0, status=line.status, reply=line.reply)
    judge = FakeWeChat(url, **ACCOUNT)
    fields = Judge(ACCOUNT["token"], judge._cipher, xml).look(attempt)
    assert attempt.good, attempt
    return fields.get("Content", "")


def push_copies(urls, messages, copies):
    """Push every message *copies* times at once, the copies to different *urls*; return the replies by message."""
    wechat = FakeWeChat(urls[0], **ACCOUNT)
    sealed = []
    for n in range(messages):
        xml = wechat.build("text", {"Content": f"1 user{n}", "MsgId": 1000 + n}, openid=f"o{n}")
        sealed.append((*wechat.seal(xml), xml, n))
    # First copies first, half of them for each server.
    jobs = [(urls[(push[3] + copy) % len(urls)], *push) for copy in range(copies) for push in sealed]
    with ThreadPoolExecutor(len(jobs)) as pool:
        replies = list(pool.map(lambda job: (job[4], push(*job[:4])), jobs))
    return replies


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_20_messages_with_3_copies_each_at_once_over_two_processes(tmp_path, kind):
    """20 runs, 60 right answers: the copies join the run wherever it is; through Redis nothing else is shared.

    Of two claims at once one wins (B92, B95).
    """
    first, second = tmp_path / "1", tmp_path / "2"
    with (
        store_of(kind, tmp_path) as store,
        gunicorn(first, workers=1, **store) as (one, _),
        gunicorn(second, workers=1, **store) as (two, _),
    ):
        for url in (one, two):  # the first push opens the store; from then on neither has a head start
            FakeWeChat(url, **ACCOUNT).send_text("0 first")
        replies = push_copies([one, two], 20, 3)
    ran = Counter(name for _, name in runs_of(first, second))
    assert ran == Counter(["first", "first", *(f"user{n}" for n in range(20))])
    assert len(replies) == 60
    assert all(reply.startswith(f"你好user{n}，") for n, reply in replies)


def test_at_full_length_a_slow_answer_arrives_with_a_retry_that_lands_on_either_worker(tmp_path):
    """Not scaled: 6 and 11 seconds, SQLite, two workers; the run goes on when WeChat hangs up (B90, B92, B93)."""
    with gunicorn(tmp_path) as (url, _), ThreadPoolExecutor(12) as pool:

        def send(name, seconds):
            result = FakeWeChat(url, **ACCOUNT, openid=f"o-{name}").send_text(f"{seconds} {name}")
            greeting, _, pid = result.content.partition("，")
            assert greeting == f"你好{name}", result
            assert [attempt.status for attempt in result.tries] == [*([None] * (seconds // 5)), 200]
            assert result.elapsed == pytest.approx(seconds, abs=1.0)
            return answered_by(tmp_path, result.tries[-1]) == pid

        names = [f"{letter}{seconds}" for seconds in (6, 11) for letter in "abcdef"]
        at_home = set(pool.map(send, names, [int(name[1:]) for name in names]))
        while at_home != {True, False}:  # it is the kernel that chooses one of two workers
            assert len(names) < 84  # more would open the breaker
            more = [f"more{n}" for n in range(len(names), len(names) + 12)]
            at_home |= set(pool.map(send, more, [6] * len(more)))
            names += more
    assert Counter(name for _, name in runs_of(tmp_path)) == Counter(names)


def test_run_holds_as_many_as_max_held_says(tmp_path):
    """Waitress by itself would take a hundred connections and no more (B89, B102)."""
    account = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}
    limits = {"WX_MP_MAX_HELD": "150", "WX_MP_MAX_JOBS": "150", "WX_MP_PORT": str(servers.free_port())}
    own = {"RUNS": str(tmp_path / "runs"), "WX_MP_STORE": "memory:"}
    env = servers.environment(tmp_path, {**account, **limits, **own})
    command = [sys.executable, "-c", "import slow_bot; slow_bot.server.run()"]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(BOTS), env.get("PYTHONPATH")]))
    with servers.running(command, env, tmp_path) as process, ThreadPoolExecutor(130) as pool:
        url = servers.answering(f"http://127.0.0.1:{limits['WX_MP_PORT']}/wx_mp_cb", process, tmp_path).url
        wechat = FakeWeChat(url, **ACCOUNT)
        results = list(pool.map(lambda n: wechat.send_text(f"3 user{n}", openid=f"o{n}"), range(130)))
    assert [len(result.tries) for result in results] == [1] * 130


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_one_machine_began_the_other_delivers(tmp_path, kind):
    """Reply, slow text and link, from whichever the try lands on (B90, B91, B92, B93)."""
    first, second = tmp_path / "1", tmp_path / "2"
    with (
        store_of(kind, tmp_path) as store,
        gunicorn(first, workers=1, **store) as (one, _),
        gunicorn(second, workers=1, **store) as (two, _),
        ThreadPoolExecutor(2) as pool,
    ):

        def held():
            result = wechat_for(one, two).send_text("7 held")
            assert [attempt.status for attempt in result.tries] == [None, 200]
            assert result.content.startswith("你好held，")

        def late():
            wechat = wechat_for(one, two, openid="o-2")
            result = wechat.send_text("17 late")
            assert result.links[0].words == "查看回复1"
            assert wechat.tap(result).content.startswith("你好late，")
            assert wechat.tap(result).content.startswith("你好late，")

        for told in [pool.submit(held), pool.submit(late)]:  # two users, who wait at the same time
            told.result()
    assert len(runs_of(first, second)) == 2


def test_when_a_worker_is_killed_the_next_retry_runs_the_handler_again(tmp_path):
    """The process's heartbeat is gone; the second run ends in the other worker (B94)."""
    with gunicorn(tmp_path) as (url, _), ThreadPoolExecutor(1) as pool:
        wechat = FakeWeChat(url, **ACCOUNT)
        future = pool.submit(wechat.send_text, "2 victim")
        until(lambda: runs_of(tmp_path))
        os.kill(int(runs_of(tmp_path)[0][0]), signal.SIGKILL)
        result = future.result()
    assert result.content.startswith("你好victim，")
    assert len(runs_of(tmp_path)) == 2
    assert len({pid for pid, _ in runs_of(tmp_path)}) == 2


def test_on_sigterm_a_running_handler_comes_to_its_end(tmp_path):
    """The try that waits for it gets its answer, and so does a retry that reaches another machine (B92, B93)."""
    first, second = tmp_path / "1", tmp_path / "2"
    store = {"WX_MP_STORE": f"sqlite:{tmp_path / 'shared.db'}"}
    with (
        gunicorn(first, workers=1, **store) as (one, process),
        gunicorn(second, workers=1, **store) as (two, _),
        ThreadPoolExecutor(1) as pool,
    ):
        future = pool.submit(wechat_for(one, two, two).send_text, "7 patient")
        until(lambda: runs_of(first))
        process.terminate()
        result = future.result()
        process.wait(30)
    assert result.content.startswith("你好patient，")
    assert len(runs_of(first, second)) == 1


def test_what_outlives_its_grace_is_given_up_at_once(tmp_path):
    """The retry runs it elsewhere, as after a crash (B94)."""
    first, second = tmp_path / "1", tmp_path / "2"
    store = {"WX_MP_STORE": f"sqlite:{tmp_path / 'shared.db'}"}
    with (
        gunicorn(first, workers=1, **store, WX_MP_GRACE="0.1") as (one, process),
        gunicorn(second, workers=1, **store) as (two, _),
        ThreadPoolExecutor(1) as pool,
    ):
        future = pool.submit(wechat_for(one, two, two).send_text, "6 given")
        until(lambda: runs_of(first))
        process.terminate()
        result = future.result()
        # Nobody can tell how many tries were lost with it: the one that found it out is taken for the last.
        while result.links:
            result = wechat_for(two).tap(result)
    assert result.content.startswith("你好given，")
    assert len(runs_of(second)) == 1
