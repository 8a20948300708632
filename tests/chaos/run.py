"""What users see on a bad day: ``python tests/chaos/run.py`` prints a row for each (see ``--help``).

A real bot at the shipped configuration, real stores, an own WeChat with its three tries of 5 s, and users who tap their
links until there is nothing more to tap; `days.py` has the days. Exits with 1 if a user has seen the fault notice,
"expired", "busy" or "lost", got another answer than the one asked for, or a handler ran twice where it must not.
"""

import argparse
import multiprocessing
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "src")]

import servers  # noqa: E402
from days import DAYS, GROUPS, QUICK, Day  # noqa: E402
from machines import ACCOUNT, BOT, ROOT, Machine  # noqa: E402
from strikes import Stage, Wire, full, nothing, slow  # noqa: E402
from users import Seen, talk  # noqa: E402

from wx_mp_svr.testing import FakeWeChat  # noqa: E402

CLIENTS = 4  # processes that play WeChat: 1,000 threads of one would wait for each other
END_SECONDS = 240.0  # after the last push, when users have tapped long enough
QUICK_SECONDS = 1.5  # of the 99th of 100 quick answers


def play(day: Day, folder: Path) -> Seen:
    """Let one day happen."""
    runs = folder / "runs"
    (folder / "bot.py").write_text(BOT, "utf-8")
    with ExitStack() as stack:
        stage = Stage(folder)
        urls = [_store(day, stage, stack)]
        if day.machines == 2:
            stage.wire = Wire(stage.store.port)
            urls.append(f"redis://127.0.0.1:{stage.wire.port}/0")
        for number, url in enumerate(urls):
            settings = {"WX_MP_STORE": url, "CHAOS_RUNS": str(runs), **day.settings}
            if day.strike is slow:
                settings |= {"LD_PRELOAD": _built(folder), "SLOW_DISK": str(stage.store.parent)}
            machine = Machine(folder / f"machine{number}", day.server, settings, day.queue)
            stack.callback(machine.close)
            stage.machines.append(machine)
        url = _front(stage, stack) if day.nginx or day.machines == 2 else stage.machines[0].url
        begun, struck_at = time.monotonic() + 1.0, time.time() + 1.0 + day.after
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(CLIENTS, fork) as clients:
            theirs = replace(day, strike=nothing)  # a strike is no concern of users, and cannot be pickled
            parts = [clients.submit(users_of, theirs, url, part, begun) for part in range(CLIENTS)]
            with _struck(day, stage, begun):
                seen = sum((part.result() for part in parts), Seen())
        seen.doubles = _doubles(runs, struck_at)
        seen.figures = " → ".join([*stage.noted, stage.figures()])
        shutil.copy(stage.machines[0].folder / "log.txt", Path(tempfile.gettempdir()) / "wx-mp-svr-chaos.log")
    return seen


def _store(day: Day, stage: Stage, stack: ExitStack) -> str:
    if day.store == "redis":
        stage.store = stack.enter_context(servers.redis(stage.folder))
        return str(stage.store.url)
    place = stage.folder / "small"
    place.mkdir()
    if day.strike is full:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], check=True)
        stack.callback(subprocess.run, ["umount", "-l", str(place)])
    stage.store = place / "bot.sqlite3"
    return f"sqlite:{stage.store}"


def _built(folder: Path) -> str:
    """Build what makes a disk slow."""
    library = folder / "slow_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(HERE / "slow_disk.c"), "-ldl"], check=True)
    return str(library)


def _front(stage: Stage, stack: ExitStack) -> str:
    """Put nginx in front, with the rules of the file that is shipped."""
    shipped = (ROOT / "demo" / "deploy" / "nginx.conf").read_text("utf-8")
    rules = "".join(re.findall(r"^ +proxy_(?:next_upstream|connect|read).*;", shipped, flags=re.MULTILINE))
    addresses = [f"127.0.0.1:{machine.port}" for machine in stage.machines]
    backends = "".join(f"server {address} max_fails=0;" for address in addresses * (3 - len(addresses)))
    block = f"location / {{ proxy_pass http://bots; {rules} }}"
    ports, process = stack.enter_context(
        servers.nginx_of(stage.folder, {"front": block}, f"upstream bots {{ {backends} }}")
    )
    return servers.answering(f"http://127.0.0.1:{ports['front']}/wx_mp_cb", process, stage.folder).url


def users_of(day: Day, url: str, part: int, begun: float) -> Seen:
    """Let one client's part of the users write when their time has come."""
    seen = Seen()
    account = {name.removeprefix("WX_MP_").lower(): value for name, value in ACCOUNT.items()}
    users = []
    for number in range(part, day.pushes, CLIENTS):
        words = f"{day.kinds[number % len(day.kinds)]} #{number}"
        wechat = FakeWeChat(url, **account, faults=day.faults[number % len(day.faults)])
        openid = "oUser" if number < day.of_one_user else f"oUser{number}"
        until = begun + day.span + END_SECONDS
        users.append(threading.Thread(target=talk, args=(wechat, words, openid, seen, until, day.pause), daemon=True))
    for number, user in zip(range(part, day.pushes, CLIENTS), users, strict=True):
        time.sleep(max(0.0, begun + number * day.span / day.pushes - time.monotonic()))
        user.start()
    for user in users:
        user.join(END_SECONDS + 60)
    return seen


@contextmanager
def _struck(day: Day, stage: Stage, begun: float) -> Iterator[None]:
    """Strike when the time has come, beside what goes on."""

    def strike() -> None:
        time.sleep(max(0.0, begun + day.after - time.monotonic()))
        with day.strike(stage):
            time.sleep(day.seconds)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    yield
    thread.join()


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


def row(name: str, day: Day, seen: Seen) -> tuple[str, bool]:
    """Return the row of the table, and whether users saw nothing bad."""
    twice = f"{seen.late_doubles} ({len(seen.doubles) - seen.late_doubles})"
    told = (
        f"{len(seen.notices)} | {seen.expired} | {seen.lost} | {seen.busy} | {len(seen.wrong)} | {len(seen.unanswered)}"
    )
    text = f"| {name}: {day.about} | {told} | {twice} | {seen.slowest:.2f} | {seen.figures} |"
    lost = 0 if day.forgets else seen.expired + seen.lost + len(seen.wrong) + len(seen.unanswered)
    twice_here = seen.late_doubles if day.machines == 1 and not day.reruns else 0
    too_slow = seen.slowest > QUICK_SECONDS and not day.queue  # whose workers may have been away
    busy = 0 if day.of_one_user else seen.busy
    return text, not (seen.notices or busy or lost or twice_here or too_slow)


def main() -> None:
    """Play the days that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"days or groups, with commas; groups: {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="fewer pushes, two days, in about a minute and a half")
    parser.add_argument("--times", type=int, default=1, help="each day so often")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked = options.only.split(",") if options.only else QUICK if options.quick else DAYS
    names = [name for word in asked for name in (GROUPS.get(word) or [word])]
    good = True
    print(
        "| day | notices | expired | lost | busy | wrong | no end | ran twice (in the strike) | quick p99, s | workers |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        day = replace(DAYS[name], pushes=48, span=14.0, seconds=4.0) if options.quick else DAYS[name]
        for _ in range(options.times):
            folder = Path(tempfile.mkdtemp())
            try:
                seen = play(day, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            text, fine = row(name, day, seen)
            print(text, *seen.notices[:3], *seen.wrong[:2], *seen.unanswered[:2], flush=True)
            good = good and fine
    sys.exit(not good)


if __name__ == "__main__":
    main()
