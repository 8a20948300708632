"""What users see on a bad day: ``python tests/chaos/run.py`` prints a row for each (``--quick``, ``--only redis-stop``).

A real bot at the shipped configuration (gunicorn, two workers), real stores, an own WeChat with its three tries of 5 s, and
users who tap their links until there is nothing more to tap. Pushes of 0, 2, 8, 13 and 20 s and streams come evenly for
30 s; 8 s after the first one the store is struck, for 10 s. Exits with 1 if a user has seen the fault notice or "expired",
got another answer than the one asked for, or a handler ran twice later than a second after the strike, where it must not.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "src")]

import servers  # noqa: E402

from wx_mp_svr.testing import FakeWeChat, Result  # noqa: E402

ACCOUNT = {
    "WX_MP_TOKEN": "Chaos0Token",
    "WX_MP_APPID": "wx0123456789abcdef",
    "WX_MP_AES_KEY": "chaoschaoschaoschaoschaoschaoschaoschaoscha",
}
KINDS = ("slow 0", "slow 0", "slow 2", "slow 8", "slow 13", "slow 20", "stream 30 0.4", "stream 60 0.2")
LONG = ("stream 1000 0.015",)  # 30 pages
COUNTING = ("count 20",)  # twenty messages of one user, each counted in the session
SPAN_SECONDS = 30.0  # in which the pushes come
STRIKE_AFTER, STRIKE_SECONDS = 8.0, 10.0
TOLD_SECONDS = 1.0  # in which processes may not know yet that the store is down
END_SECONDS = 120.0  # when users have tapped long enough
QUICK_SECONDS = 1.5  # of the 99th of 100 quick answers
SENTENCE = "这是第{}句，不长也不短，说给微信那边的人听。"
EXPIRED = "过期"
SLOW = "这个问题需要多想一会儿"

BOT = f"""
import os, time
from wx_mp_svr import WxMpServer

server = WxMpServer()

def note(word):
    file = os.open(os.environ["CHAOS_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{{time.time()}} {{word}}\\n".encode())
    os.close(file)

@server.on_message
def answer(req):
    kind, *rest = req.content.split()
    if kind == "count":
        req.session["n"] = req.session.get("n", 0) + 1
        return f"{{req.session['n']}}"
    note(req.content)
    if kind == "stream":
        return stream(int(rest[0]), float(rest[1]))
    time.sleep(float(rest[0]))
    return "答：" + req.content

def stream(pieces, pause):
    for n in range(pieces):
        time.sleep(pause)
        yield {SENTENCE!r}.format(n)
"""


@dataclass
class Seen:
    """What became of one experiment."""

    notices: int = 0
    expired: int = 0
    wrong: list[str] = field(default_factory=list)
    unanswered: int = 0
    doubles: list[float] = field(default_factory=list)  # of a second run, how long after the strike
    quick: list[float] = field(default_factory=list)

    @property
    def late_doubles(self) -> int:
        return len([seconds for seconds in self.doubles if not 0.0 <= seconds <= TOLD_SECONDS])

    @property
    def slowest(self) -> float:
        return sorted(self.quick)[max(0, int(len(self.quick) * 0.99) - 1)] if self.quick else 0.0


# -- strikes: each begins when it is entered, and is over when it is left ----------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def deleted(path: Path) -> Iterator[None]:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    yield


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Fill the file system that the database is on; see to it that it is a small one."""
    rest = path.with_name("rest")
    with rest.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    yield
    rest.unlink()


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Take the right to write away from the files, by the file system's own flag."""
    names = [str(path.with_name(path.name + name)) for name in ("", "-wal")]
    subprocess.run(["chattr", "+i", *names], check=True)
    yield
    subprocess.run(["chattr", "-i", *names], check=True)


@contextmanager
def slow(path: Path) -> Iterator[None]:
    """Let every write of the bot's processes take a tenth of a second, as on a disk that others keep busy."""
    found = subprocess.run(["pgrep", "-f", str(path.parent.parent)], capture_output=True, text=True, check=True)
    pids = [pid for pid in found.stdout.split() if int(pid) != os.getpid()]
    options = ["-f", "-qq", "-o", os.devnull, "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=100000"]
    with subprocess.Popen(["strace", *options, *(word for pid in pids for word in ("-p", pid))]) as tracer:
        yield
        tracer.terminate()


@contextmanager
def stopped(server: servers.RedisServer) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextmanager
def killed(server: servers.RedisServer) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextmanager
def configured(server: servers.RedisServer, before: list[str], after: list[str]) -> Iterator[None]:
    def tell(words: list[str]) -> None:
        from redis import Redis

        with Redis(port=server.port) as redis:
            for line in words:
                redis.execute_command(*line.split())

    tell(before)
    yield
    tell(after)


class Wire:
    """The way from one machine to the store: cut in both directions, or only the answers'."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.to, self.back = threading.Event(), threading.Event()
        self.to.set()
        self.back.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            here, _ = self._listener.accept()
            there = socket.create_connection(("127.0.0.1", self._target))
            for source, target, way in ((here, there, self.to), (there, here, self.back)):
                threading.Thread(target=self._carry, args=(source, target, way), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, way: threading.Event) -> None:
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(65536):
                way.wait()  # what is on its way arrives late, as after a cut of a real network
                target.sendall(data)


@contextmanager
def cut(server: Any, *ways: str) -> Iterator[None]:
    """Cut the second machine off."""
    for way in ways:
        getattr(server.wire, way).clear()
    yield
    for way in ways:
        getattr(server.wire, way).set()


@dataclass
class Day:
    """One experiment.

    Attributes:
        store: "sqlite" or "redis".
        strike: From where the store is makes what begins when it is entered, and is over when it is left.
        forgets: Whether what only the store held is lost: then answers of before may be, too.
        kinds: What is pushed, in turn.
        pushes: How many users write.
        span: Seconds in which they come.
        seconds: How long the strike lasts.
        workers: How many processes answer, on each machine.
        machines: How many there are, behind one nginx; between them handlers may run twice.
    """

    store: str
    strike: Callable[[Any], AbstractContextManager[None]]
    forgets: bool = False
    kinds: Sequence[str] = KINDS
    pushes: int = 300
    span: float = SPAN_SECONDS
    seconds: float = STRIKE_SECONDS
    workers: int = 2
    machines: int = 1


DAYS = {
    "redis-stop": Day("redis", stopped),
    "redis-kill": Day("redis", killed, forgets=True),
    "redis-maxmemory": Day(
        "redis",
        lambda server: configured(
            server, ["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]
        ),
    ),
    "redis-readonly": Day("redis", lambda server: configured(server, ["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"])),
    "redis-maxclients": Day(
        "redis",
        lambda server: configured(
            server, ["CONFIG SET maxclients 1", "CLIENT KILL TYPE normal SKIPME yes"], ["CONFIG SET maxclients 10000"]
        ),
    ),
    "redis-flush": Day("redis", lambda server: configured(server, ["FLUSHALL"], ["PING"]), forgets=True),
    "sqlite-locked": Day("sqlite", locked),
    "sqlite-full": Day("sqlite", full),
    "sqlite-immutable": Day("sqlite", immutable),
    "sqlite-slow": Day("sqlite", slow),
    "sqlite-deleted": Day("sqlite", deleted, forgets=True),
    "redis-cut-off": Day("redis", lambda server: cut(server, "to", "back"), machines=2),
    "redis-answers-cut-off": Day("redis", lambda server: cut(server, "back"), machines=2),
    "redis-hiccup": Day("redis", stopped, kinds=LONG, pushes=40, span=6.0, seconds=0.5),
    "sqlite-hiccup": Day("sqlite", locked, kinds=LONG, pushes=40, span=6.0, seconds=0.8),
    "redis-sessions": Day("redis", stopped, kinds=COUNTING, pushes=200, span=6.0, seconds=5.0, workers=3),
    "sqlite-sessions": Day("sqlite", locked, kinds=COUNTING, pushes=200, span=6.0, seconds=5.0, workers=3),
}
QUICK = ["redis-stop", "sqlite-locked"]


# -- WeChat and its users ----------------------------------------------------------------------------------------------


def whole(words: str) -> str:
    kind, *rest = words.split()
    if kind == "stream":
        return "".join(SENTENCE.format(n) for n in range(int(rest[0])))
    return "答：" + words


def plain(text: str) -> str:
    return re.sub(r"\s", "", text)


def count(wechat: FakeWeChat, words: str, openid: str, seen: Seen) -> None:
    """Write so many messages, one after the other; the bot counts them."""
    for number in range(1, int(words.split()[1]) + 1):
        result = wechat.send_text(f"count {number}", openid=openid)
        while result.content.startswith(SLOW):
            time.sleep(0.5)
            result = wechat.tap(result.links[-1], openid=openid)
        seen.notices += result.type == "fault"
        if result.content.split("\n\n")[0] != str(number):  # behind it an earlier answer may be mentioned
            seen.wrong.append(f"message {number} of {openid} was answered {result.content[:60]!r}")
            return
        time.sleep(0.8)


def talk(wechat: FakeWeChat, words: str, openid: str, seen: Seen, until: float) -> None:
    """Write one message, and tap until there is nothing more to tap."""
    if words.startswith("count"):
        count(wechat, words, openid, seen)
        return
    pages = []
    result: Result = wechat.send_text(words, openid=openid)
    if words.startswith("slow 0 "):
        seen.quick.append(result.elapsed)
    while True:
        if result.type == "fault":
            seen.notices += 1
            return
        if EXPIRED in result.content:
            seen.expired += 1
            return
        shown = result.content.split("\n\n您之前的问题有回复了：")[0]
        links = [link for link in result.links if link.label in ("查看回复", "下一页")]
        if not shown.startswith(SLOW):
            pages.append(re.sub(r'\n\n<a href="weixin:.*', "", shown, flags=re.DOTALL))
        if not links or links[-1].href not in shown:
            break
        if time.monotonic() > until:
            seen.unanswered += 1
            return
        time.sleep(1.0)
        result = wechat.tap(links[-1], openid=openid)
    read = plain("".join(page for page in pages if page != "（全文完）"))
    if read != plain(whole(words)):
        seen.wrong.append(f"{words!r} was answered {read[:60]!r}")


@contextmanager
def machine(folder: Path, number: int, workers: int, url: str) -> Iterator[servers.Running]:
    """A bot on a machine of its own: only its processes see its runtime directory."""
    place = folder / f"machine{number}"
    (place / "runtime").mkdir(parents=True)
    settings = {"WX_MP_STORE": url, "CHAOS_RUNS": str(folder / "runs"), "RUNTIME_DIRECTORY": str(place / "runtime")}
    port = servers.free_port()
    options = ["--workers", str(workers), "--threads", "256", "-k", "gthread", "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "gunicorn", *options, "--chdir", str(folder), "bot:server"]
    environment = servers.environment(place, {**ACCOUNT, **settings})
    environment["PYTHONPATH"] = str(HERE.parent.parent / "src")
    with servers.running(command, environment, place) as process:
        yield servers.answering(f"http://127.0.0.1:{port}/wx_mp_cb", process, place)


def play(day: Day, folder: Path) -> Seen:
    """Let one day happen."""
    seen, runs = Seen(), folder / "runs"
    (folder / "bot.py").write_text(BOT, "utf-8")
    with ExitStack() as stack:
        place: Any
        if day.store == "redis":
            place = stack.enter_context(servers.redis(folder))
            url = place.url
        else:
            (folder / "small").mkdir()
            if day.strike is full:
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder / "small")], check=True)
                stack.callback(subprocess.run, ["umount", "-l", str(folder / "small")])
            place = folder / "small" / "bot.sqlite3"
            url = f"sqlite:{place}"
        urls = [url]
        if day.machines == 2:
            place.wire = Wire(place.port)
            urls.append(f"redis://127.0.0.1:{place.wire.port}/0")
        bots = [stack.enter_context(machine(folder, number, day.workers, url)) for number, url in enumerate(urls)]
        bot = bots[0]
        if day.machines == 2:
            backends = "".join(f"server {each.url.split('/')[2]};" for each in bots)
            blocks = {"both": "location / { proxy_pass http://bots; }"}
            http = f"upstream bots {{ {backends} }}"
            ports, process = stack.enter_context(servers.nginx_of(folder, blocks, http))
            bot = servers.answering(f"http://127.0.0.1:{ports['both']}/wx_mp_cb", process, folder)
        account = {name.removeprefix("WX_MP_").lower(): value for name, value in ACCOUNT.items()}
        begun = time.monotonic()
        users = []
        for number in range(day.pushes):
            words = f"{day.kinds[number % len(day.kinds)]} #{number}"
            wechat = FakeWeChat(bot.url, **account)
            users.append(
                threading.Thread(
                    target=talk, args=(wechat, words, f"oUser{number}", seen, begun + END_SECONDS), daemon=True
                )
            )
        strike = threading.Thread(target=_strike, args=(day.strike(place), day.seconds), daemon=True)
        struck_at = time.time() + STRIKE_AFTER
        strike.start()
        for number, user in enumerate(users):
            time.sleep(max(0.0, begun + number * day.span / day.pushes - time.monotonic()))
            user.start()
        for user in users:
            user.join(END_SECONDS + 60)
        strike.join()
        seen.doubles = _doubles(runs, struck_at)
        shutil.copy(folder / "machine0" / "log.txt", Path(tempfile.gettempdir()) / "wx-mp-svr-chaos.log")
    return seen


def _strike(strike: AbstractContextManager[None], seconds: float) -> None:
    time.sleep(STRIKE_AFTER)
    with strike:
        time.sleep(seconds)


def _doubles(runs: Path, struck_at: float) -> list[float]:
    """Of each run that was one too many, how many seconds after the strike it began."""
    count: Counter[str] = Counter()
    doubles = []
    for line in runs.read_text("utf-8").splitlines() if runs.exists() else ():
        moment, _, words = line.partition(" ")
        count[words] += 1
        if count[words] > 1:
            doubles.append(float(moment) - struck_at)
    return doubles


def main() -> None:
    """Play the days that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one day, or several with commas")
    parser.add_argument("--quick", action="store_true", help="fewer pushes, two days, in about a minute and a half")
    parser.add_argument("--times", type=int, default=1, help="each day so often")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = options.only.split(",") if options.only else QUICK if options.quick else list(DAYS)
    bad = False
    print("| day | notices | expired | wrong | unanswered | ran twice (within the second) | quick p99, s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        for _ in range(options.times):
            folder = Path(tempfile.mkdtemp())
            try:
                day = replace(DAYS[name], pushes=48, span=14.0, seconds=4.0) if options.quick else DAYS[name]
                seen = play(day, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            figures = f"{seen.notices} | {seen.expired} | {len(seen.wrong)} | {seen.unanswered}"
            twice = f"{seen.late_doubles} ({len(seen.doubles) - seen.late_doubles})"
            print(f"| {name} | {figures} | {twice} | {seen.slowest:.2f} |", *seen.wrong[:2], flush=True)
            lost = 0 if day.forgets else seen.expired + len(seen.wrong) + seen.unanswered
            twice_here = seen.late_doubles if day.machines == 1 else 0
            bad = bad or bool(seen.notices or twice_here or lost) or seen.slowest > QUICK_SECONDS
    sys.exit(bad)


if __name__ == "__main__":
    main()
