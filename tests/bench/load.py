"""What holding users costs: ``python tests/bench/load.py`` prints a table (see ``--help``). Not a test, nothing asserts.

Part "load": 1,000 users write within 5 seconds to one gunicorn process whose handler takes 12 seconds. This process plays
WeChat (5 s a try with connecting, 3 tries of the same bytes, the next at once) and the users, who tap the link when they
get one. Meanwhile other users write, every 0.2 s, what takes 0.1 s to answer. What misses its goal is marked with a "!".

Part "memory": 100,000 messages through one process, whose resident memory has to become flat. The store's clock runs as if
there were 100 messages a second, so that what is over its time goes within the run.
"""

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "src")]

import servers  # noqa: E402

from wx_mp_svr import WxMpServer  # noqa: E402
from wx_mp_svr.clock import FastClock  # noqa: E402
from wx_mp_svr.store.memory import MemoryStore  # noqa: E402
from wx_mp_svr.store.sqlite import SQLiteStore  # noqa: E402
from wx_mp_svr.testing import FakeWeChat, Try  # noqa: E402
from wx_mp_svr.testing.judge import Judge, Link, split_links  # noqa: E402
from wx_mp_svr.testing.packets import new_msg_id  # noqa: E402
from wx_mp_svr.wire.crypto import Cipher  # noqa: E402

TOKEN, AES_KEY, APPID = "bench0token", "benchbenchbenchbenchbenchbenchbenchbenchben", "wxbench0000000000"
CALLBACK = "/wx_mp_cb"
TRY_SECONDS = 5.0  # WeChat's
TRIES = 3
SLOW_SECONDS = 12.0  # the handler's, in bots.py
LEAD_SECONDS = 3.0  # from building the packets to the first push
RUN_SECONDS = 240.0  # of one run at most
TICK = os.sysconf("SC_CLK_TCK")

RAISED = {"WX_MP_MAX_HELD": "5000", "WX_MP_MAX_JOBS": "5000", "WX_MP_BREAKER": "0"}

# -- WeChat -----------------------------------------------------------------------------------------------------------


@dataclass
class Push:
    """One message on its way to the bot, and what became of it."""

    openid: str
    xml: str
    request: bytes
    statuses: list[int | str] = field(default_factory=list)  # of each try; a word when there was no answer
    content: str = ""
    bad: str = ""  # what WeChat would not take in the answer
    seconds: float = 0.0

    @property
    def fault(self) -> bool:
        return not self.statuses or self.statuses[-1] != 200 or bool(self.bad)


class WeChat:
    """Pushes over real connections, 1,000 at once from one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cipher = Cipher(AES_KEY, APPID)

    def build(self, openid: str, text: str, when: float, bizmsgmenuid: str = "") -> Push:
        """Build a push as it will go out at *when* (Unix seconds)."""
        wechat = FakeWeChat(
            "http://127.0.0.1",
            token=TOKEN,
            appid=APPID,
            aes_key=AES_KEY,
            openid=openid,
            clock=FastClock(wall=lambda: when),
        )
        more = {"bizmsgmenuid": bizmsgmenuid} if bizmsgmenuid else {}
        xml = wechat.build("text", {"Content": text, **more, "MsgId": new_msg_id()})
        query, body = wechat.seal(xml)
        head = (
            f"POST {CALLBACK}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/4.0\r\n"
            f"Content-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return Push(openid, xml, head.encode() + body)

    async def send(self, push: Push) -> Push:
        """Try three times at most, 5 seconds each; what is not a good 200 is tried again at once."""
        begun = time.monotonic()
        for _ in range(TRIES):
            try:
                status, body = await asyncio.wait_for(self._post(push.request), TRY_SECONDS)
            except (TimeoutError, asyncio.TimeoutError):
                push.statuses.append("timeout")
                continue
            except (OSError, ValueError, IndexError) as exc:
                push.statuses.append(type(exc).__name__)
                continue
            push.statuses.append(status)
            if status == 200:
                push.seconds = time.monotonic() - begun
                self._read(push, body)
                break
        push.seconds = time.monotonic() - begun
        return push

    async def _post(self, request: bytes) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            answer = b""
            while len(answer) < 65536 and (chunk := await reader.read(65536)):
                answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), body
        finally:
            writer.close()

    def _read(self, push: Push, body: bytes) -> None:
        attempt = Try(len(push.statuses), 0.0, status=200, reply=body)
        reply = Judge(TOKEN, self._cipher, push.xml).look(attempt)
        push.content = str(reply.get("Content", ""))
        push.bad = "" if attempt.good else ", ".join(check.name for check in attempt.checks if check.level == "wrong")


@dataclass
class User:
    """What one of the 1,000 sees."""

    text: str
    pushes: list[Push] = field(default_factory=list)
    end: str = ""
    taps: int = 0
    again: int = 0


async def live(user: User, wechat: WeChat, push: Push, begin: float, options: argparse.Namespace) -> None:
    """Write; tap the link as long as it leads to "later"; write again when the bot is busy. Both are bounded."""
    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    while True:
        user.pushes.append(await wechat.send(push))
        links = links_of(push)
        user.end = _seen(user.text, push, links)
        if user.end == "slow text" and user.taps < options.max_taps:
            await asyncio.sleep(options.tap_after)
            user.taps += 1
            push = wechat.build(push.openid, links[-1].words, time.time(), links[-1].menu_id)
        elif user.end == "busy text" and user.again < options.again:
            await asyncio.sleep(options.tap_after)
            user.again += 1
            user.taps, user.text = 0, f"{user.text} again"
            push = wechat.build(push.openid, user.text, time.time())
        else:
            return


def links_of(push: Push) -> "list[Link]":
    """Return the links that send something when they are tapped."""
    return [part for part in split_links(push.content) if isinstance(part, Link) and part.words]


def _seen(text: str, push: Push, links: "list[Link]") -> str:
    if push.fault:
        return "fault notice"
    if push.content.partition("\n")[0] == f"answer to {text}":  # behind it an earlier answer may be mentioned
        return "answer"
    if push.content.startswith("answer to"):
        return "somebody else's answer"
    if links:
        return "slow text"
    return "busy text" if "有点忙" in push.content else "nothing" if not push.content else push.content


# -- the server, looked at from outside --------------------------------------------------------------------------------


@dataclass
class Look:
    """One look at the server's process."""

    at: float
    cpu: float
    rss: float
    threads: int


class Meter:
    """Looks at the workers of a gunicorn twice a second."""

    def __init__(self, master: int) -> None:
        self._pids = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
        self._looks: list[Look] = []
        self.lag = 0.0  # of this process's own loop: what it was late itself is not the server's delay

    @property
    def pids(self) -> list[int]:
        return self._pids

    async def run(self) -> None:
        with contextlib.suppress(OSError):  # a worker that ended
            for count in range(int(RUN_SECONDS * 20)):
                if count % 10 == 0:
                    self._looks.append(self._look())
                before = time.monotonic()
                await asyncio.sleep(0.05)
                self.lag = max(self.lag, time.monotonic() - before - 0.05)

    def _look(self) -> Look:
        cpu, rss, threads = 0.0, 0.0, 0
        for pid in self._pids:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(stat[11]) + int(stat[12])) / TICK
            threads += int(stat[17])
            rss += resident(pid)
        return Look(time.monotonic(), cpu, rss, threads)

    def cpu(self, begin: float, end: float) -> float:
        """Return the CPU time between two moments, in % of one core."""
        first, last = (min(self._looks, key=lambda look: abs(look.at - at)) for at in (begin, end))
        return 100 * (last.cpu - first.cpu) / max(0.5, last.at - first.at)

    @property
    def peak(self) -> Look:
        return max(self._looks, key=lambda look: look.rss)


def resident(pid: int | str = "self") -> float:
    """Return the resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def gunicorn(
    directory: Path, store: str, handler: str, options: argparse.Namespace, *, defaults: bool
) -> Iterator[tuple[int, Meter]]:
    """Start the bot; gives its port and a meter on its workers."""
    port = servers.free_port()
    settings = {
        "WX_MP_TOKEN": TOKEN,
        "WX_MP_AES_KEY": AES_KEY,
        "WX_MP_APPID": APPID,
        "WX_MP_STORE": store,
        "WX_MP_GRACE": "1",
        "BENCH_RUNS": f"{directory}/runs.txt",
        "PYTHONPATH": str(HERE.parent.parent / "src"),
        **({} if defaults else RAISED),
    }
    command = [sys.executable, "-m", "gunicorn", *line(options), "--bind", f"127.0.0.1:{port}"]
    command += ["--graceful-timeout", "1", "--chdir", str(HERE), f"bots:bot({handler!r})"]
    env = servers.environment(directory, settings)
    with servers.running(command, env, directory) as process:
        servers.answering(f"http://127.0.0.1:{port}{CALLBACK}", process, directory)
        meter = Meter(process.pid)
        try:
            yield port, meter
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            for pid in meter.pids:  # gone with their master, unless it had to be killed
                if Path(f"/proc/{pid}").exists() and str(HERE) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)


def line(options: argparse.Namespace) -> list[str]:
    """Return gunicorn's options for so many held connections."""
    connections = ["--worker-connections", str(options.threads + 800), "--backlog", "2048"]
    if options.worker_class == "gevent":
        return ["--workers", str(options.workers), "-k", "gevent", *connections]
    return ["--workers", str(options.workers), "-k", "gthread", "--threads", str(options.threads), *connections]


@contextlib.contextmanager
def opened(store: str, directory: Path) -> Iterator[str]:
    """Give the URL of a new, empty store; for Redis with a server of its own."""
    if store == "memory":
        yield "memory:"
    elif store == "sqlite":
        yield f"sqlite:{directory}/bench.sqlite3"
    else:
        port = servers.free_port()
        program = shutil.which("redis-server") or "/usr/bin/redis-server"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        place = directory / "redis"
        place.mkdir()
        with servers.running(command, dict(os.environ), place):
            time.sleep(0.5)
            yield f"redis://127.0.0.1:{port}/0"


# -- part "load" ------------------------------------------------------------------------------------------------------


def load(store: str, handler: str, options: argparse.Namespace, *, defaults: bool) -> dict[str, str]:
    """Play one run and return its column of the table."""
    with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        url = stack.enter_context(opened(store, directory))
        port, meter = stack.enter_context(gunicorn(directory, url, handler, options, defaults=defaults))
        print(f"# {store} {handler}{' defaults' if defaults else ''}: worker {meter.pids}", flush=True)
        play = Play(port, meter, options)
        try:
            asyncio.run(asyncio.wait_for(play.run(), RUN_SECONDS))
        except (TimeoutError, asyncio.TimeoutError):
            print(f"! the run did not end within {RUN_SECONDS:.0f} s", flush=True)
        log = (directory / "log.txt").read_text(errors="replace")
        runs = (directory / "runs.txt").read_text().splitlines()
        figures = play.figures(log, runs, goal=30 if store == "memory" else 50)
        notable = Counter(text[:150] for text in log.splitlines() if _notable(text))
        for text, count in notable.most_common(12):
            print(f"#   log: {count} x {text}")
        return figures


def _notable(text: str) -> bool:
    return not text.startswith("[") or any(word in text for word in ("ERROR", "WARNING", "CRITICAL"))


class Play:
    """One run: the users, those who write meanwhile, and the meter."""

    def __init__(self, port: int, meter: Meter, options: argparse.Namespace) -> None:
        self._port = port
        self._meter = meter
        self._options = options
        self._wechat = WeChat(port)
        self._users: list[User] = []
        self._quick: list[tuple[str, Push]] = []
        self._begin = self._end = self._cpu = 0.0
        self._held = 0

    async def run(self) -> None:
        options, count = self._options, self._options.users
        # Built before the first goes out, so that this process does not stand in its own way.
        offset = time.time() - time.monotonic()
        self._begin = begin = time.monotonic() + LEAD_SECONDS + count / 2000
        moments = [begin + options.spread * n / count for n in range(count)]
        self._users = [User(f"slow {n}") for n in range(count)]
        pushes = [
            self._wechat.build(f"oSlowUser{n:04d}", user.text, offset + moments[n])
            for n, user in enumerate(self._users)
        ]
        quick = [
            (begin + 0.2 * n, self._wechat.build(f"oQuickUser{n:04d}", f"quick {n}", offset + begin + 0.2 * n))
            for n in range(int((options.spread + SLOW_SECONDS) * 5))
        ]
        lives = [live(*each, options) for each in zip(self._users, [self._wechat] * count, pushes, moments)]  # noqa: B905
        meter = asyncio.create_task(self._meter.run())
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(max(0.0, begin - time.monotonic() - 0.5))
        self._cpu = time.process_time()
        await asyncio.gather(*lives, *(self._write(n, *each) for n, each in enumerate(quick)))
        self._end = time.monotonic()
        self._cpu = (time.process_time() - self._cpu) / (self._end - begin)
        await asyncio.sleep(1)
        watch.cancel()
        meter.cancel()

    async def _write(self, number: int, moment: float, push: Push) -> None:
        await asyncio.sleep(max(0.0, moment - time.monotonic()))
        await self._wechat.send(push)
        self._quick.append((f"quick {number}", push))

    async def _watch(self) -> None:
        for _ in range(int(RUN_SECONDS)):
            with contextlib.suppress(OSError, ValueError):
                self._held = max(self._held, (await asyncio.to_thread(self._ask))["held"])
            await asyncio.sleep(2)

    def _ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/bench", timeout=10) as response:
            return dict(json.load(response))

    def figures(self, log: str, runs: list[str], goal: float) -> dict[str, str]:
        """Return what the run has shown."""
        users, begin, spread = self._users, self._begin, self._options.spread
        count = len(users)
        ends = Counter(user.end or "not over" for user in users)
        answered = [user for user in users if user.end == "answer"]
        by_try = Counter(len(user.pushes[-1].statuses) for user in answered if not user.taps)
        by_tap = Counter(user.taps for user in answered if user.taps)
        others = {end: n for end, n in ends.items() if end not in ("answer", "busy text", "fault notice")}
        faults = ends["fault notice"] + sum(push.fault for user in users for push in user.pushes[:-1])
        faults_quick = sum(push.fault for _, push in self._quick)
        quick = [(_seen(text, push, links_of(push)), push.seconds) for text, push in self._quick]
        waits = sorted(seconds for kind, seconds in quick if kind == "answer")
        kinds = Counter(kind for kind, _ in quick)
        tries = Counter(str(status) for user in users for push in user.pushes for status in push.statuses)
        outcomes = (tries["200"], tries["timeout"], sum(tries.values()) - tries["200"] - tries["timeout"])
        holding = self._meter.cpu(begin + spread, begin + SLOW_SECONDS)
        peak = self._meter.peak
        down = log.count("the store is down")
        median, worst = (statistics.median(waits), waits[-1]) if waits else (0.0, 0.0)
        return {
            "fault notices": mark(faults + faults_quick, 0),
            "answers by try 1/2/3": "/".join(str(by_try[n]) for n in (1, 2, 3)),
            "answers by tap 1/2/3+": f"{by_tap[1]}/{by_tap[2]}/{sum(by_tap.values()) - by_tap[1] - by_tap[2]}",
            "busy in the end": str(ends["busy text"]),
            "busy texts in all": str(sum(user.again for user in users) + ends["busy text"]),
            "nothing of these": ", ".join(f"{n} {end}" for end, n in others.items()) or "0",
            "answered": f"{len(answered)} of {count}",
            "all over after s": f"{self._end - begin:.1f}" if self._end else "stopped",
            "tries: 200/timeout/else": "/".join(str(n) for n in outcomes),
            "handler ran again": mark(len(runs) - len(set(runs)), 0),
            "held at most, a worker": str(self._held),
            "CPU % while held": mark(holding, goal),
            "CPU % arriving": f"{self._meter.cpu(begin, begin + spread):.0f}",
            "CPU % answering": f"{self._meter.cpu(begin + SLOW_SECONDS, begin + SLOW_SECONDS + spread):.0f}",
            "quick ones answered": f"{len(waits)} of {len(self._quick)}",
            "quick ones: what else": ", ".join(f"{n} {kind}" for kind, n in kinds.items() if kind != "answer") or "-",
            "quick ones: median s": mark(median, 0.3),
            "quick ones: worst s": mark(worst, 2.0),
            "store is down (lines)": mark(down, 0),
            "log lines": str(len(log.splitlines())),
            "tracebacks in the log": mark(log.count("Traceback"), 0),
            "RSS MB, threads": f"{peak.rss:.0f}, {peak.threads}",
            "this client: CPU %, lag s": f"{100 * self._cpu:.0f}, {self._meter.lag:.2f}",
        }


def mark(value: float, goal: float) -> str:
    """Write a figure, with a "!" when it misses its goal."""
    text = str(value) if isinstance(value, int) else f"{value:.2f}" if goal < 10 else f"{value:.0f}"
    return text + ("" if value <= goal else "!")


# -- part "memory" ----------------------------------------------------------------------------------------------------


def grow(store: str, path: str, options: argparse.Namespace) -> None:
    """Send all messages, in this process, and print what it holds at every tenth of them."""
    sent = 0

    def clock() -> float:
        return sent / options.rate  # as if there were so many messages a second

    kept: Any = MemoryStore(clock=clock) if store == "memory" else SQLiteStore(path, clock=clock)
    server = WxMpServer(on_message=lambda req: f"answer to {req.content}", token=TOKEN, store=kept)
    wechat = FakeWeChat(server, token=TOKEN)
    push = _pusher(server)
    begun = time.monotonic()
    print(f"\n{store}: {'messages':>9} {'RSS MB':>8} {'items':>8} {'file MB':>8} {'seconds':>8}", flush=True)
    for sent in range(1, options.messages + 1):
        xml = wechat.build("text", {"Content": f"quick {sent}", "MsgId": sent}, openid=f"oUser{sent}")
        push(*wechat.seal(xml))
        if sent == 1 or sent % max(1, options.messages // 10) == 0:
            items = len(kept) if store == "memory" else _rows(path)
            files = [Path(path + end) for end in ("", "-wal", "-shm")] if store != "memory" else []
            size = sum(file.stat().st_size for file in files if file.exists()) / 1e6
            spent = time.monotonic() - begun
            print(f"{'':>{len(store)}}  {sent:>9} {resident():>8.1f} {items:>8} {size:>8.1f} {spent:>8.1f}", flush=True)
            if spent > options.seconds:
                print(f"! stopped after {spent:.0f} s")
                return


def _rows(path: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM item").fetchone()[0])


def _pusher(app: Callable[..., Any]) -> Callable[[str, bytes], None]:
    """Return what makes a request to a WSGI application in this thread (FakeWeChat starts one for each)."""
    statuses: list[str] = []

    def push(query: str, body: bytes) -> None:
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": CALLBACK,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "text/xml",
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
        }
        statuses.clear()
        answer = app(environ, lambda status, headers, exc_info=None: statuses.append(status))
        body = b"".join(answer)
        if statuses != ["200 OK"] or b"answer to" not in body:
            raise SystemExit(f"the server answered {statuses} {body[:200]!r}")

    return push


# -- the command line -------------------------------------------------------------------------------------------------


def table(columns: dict[str, dict[str, str]]) -> str:
    """Write the runs side by side."""
    rows = list(next(iter(columns.values())))
    widths = {name: max(len(name), *(len(column[row]) for row in rows)) for name, column in columns.items()}
    head = " " * 26 + "  ".join(f"{name:>{width}}" for name, width in widths.items())
    lines = [
        f"{row:<26}" + "  ".join(f"{column[row]:>{widths[name]}}" for name, column in columns.items()) for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Read the options and play the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", choices=("load", "memory"), help="only this part")
    add("--store", nargs="+", choices=("memory", "sqlite", "redis"), default=["memory", "sqlite", "redis"])
    add("--handler", nargs="+", choices=("def", "async"), default=["def", "async"])
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--defaults", action="store_true", help="only with the default limits")
    limits.add_argument("--raised", action="store_true", help="only with the raised ones")
    add("--users", type=int, default=1000)
    add("--spread", type=float, default=5.0, help="seconds over which the first pushes come")
    add("--tap-after", type=float, default=75.0, help="seconds from a slow text to the tap on its link")
    add("--max-taps", type=int, default=6)
    add("--again", type=int, default=0, help="how often a user who got the busy text writes again (after --tap-after)")
    add("--worker-class", choices=("gthread", "gevent"), default="gthread")
    add("--workers", type=int, default=1)
    add("--threads", type=int, default=1200)
    add("--messages", type=int, default=100_000, help='of part "memory"')
    add("--rate", type=float, default=100.0, help='messages a second by the store\'s clock, in part "memory"')
    add("--seconds", type=float, default=600.0, help='of part "memory" at most, for each store')
    options = parser.parse_args()
    if options.part != "memory":
        columns = {}
        for defaults in [False, True]:
            if (options.raised and defaults) or (options.defaults and not defaults):
                continue
            for handler in options.handler:
                for store in options.store:
                    name = f"{store}/{handler}" + ("/defaults" if defaults else "")
                    columns[name] = load(store, handler, options, defaults=defaults)
                    print(table({name: columns[name]}), flush=True)
        print(f"\ngunicorn {' '.join(line(options))} MODULE:server")
        print(f"{options.users} users, first pushes within {options.spread:g} s, a handler of {SLOW_SECONDS:g} s\n")
        print(table(columns))
    if options.part != "load":
        for store in options.store:
            if store == "redis":  # not in our process
                continue
            with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as directory:
                target = f"{directory}/bench.sqlite3"
                child = multiprocessing.get_context("spawn").Process(target=grow, args=(store, target, options))
                child.start()
                child.join(options.seconds + 60)
                if child.is_alive():
                    child.kill()
                    child.join()


if __name__ == "__main__":
    main()
