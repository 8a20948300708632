"""Part "gunicorn": throughput, latency and the servers' CPU under full load, with wrk on the same machine.

All candidates run at once and get their load in turn, each time the same fresh messages. The load generator and the server
share the machine's cores, so look at the ratios.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import servers
from pushes import CALLBACK, Sender, Sent, check_answer, request_of
from tables import mark, quartiles, table

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
EMPTY = "empty"
CANDIDATES = {
    EMPTY: "empty Flask view",
    "safe": "ours, safe",
    "plain": "ours, plain",
    "wechatpy": "wechatpy, safe",
    "werobot": "WeRoBot, safe",
}
SHAPES = {"2 workers x 8 threads": (2, 8), "1 worker x 64 threads": (1, 64)}
THROUGHPUT_GOAL, P99_GOAL = 0.85, 1.3
RATE = 12_000  # messages a second that are made in advance; it has to be more than any candidate takes
SEPARATOR = b"\x1e"


@dataclass(frozen=True)
class Run:
    """What wrk has seen in one run, and what the server spent: a second, microseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float


def run(rounds: int, seconds: int = 3) -> str:
    """Measure, and return the tables."""
    if shutil.which("wrk") is None:
        return "wrk is not installed: apt-get install wrk\n"
    tables = []
    for shape, (workers, threads) in SHAPES.items():
        connections = workers * threads
        with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            field = {which: stack.enter_context(_gunicorn(folder, which, workers, threads)) for which in CANDIDATES}
            runs: dict[str, list[Run]] = {which: [] for which in CANDIDATES}
            for _ in range(rounds):
                files = _write(folder, seconds)
                for which in random.sample(list(field), len(field)):
                    runs[which].append(_load(*field[which], files[_mode(which)], connections, seconds))
        title = f"gunicorn -k gthread, {shape}; wrk with {connections} connections, {rounds} runs of {seconds} s.\n\n"
        tables.append(title + _table(runs))
    return "\n".join(tables)


@contextlib.contextmanager
def _gunicorn(folder: Path, which: str, workers: int, threads: int) -> Iterator[tuple[int, list[int]]]:
    """Serve a candidate; give its port and the process ids of its workers."""
    own = folder / which
    own.mkdir()
    port = servers.free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--workers", str(workers), "--threads", str(threads)]
    command += ["--bind", f"127.0.0.1:{port}", "--graceful-timeout", "1", "--chdir", str(HERE)]
    env = servers.environment(own, {"PYTHONPATH": str(HERE.parent.parent / "src")})
    with servers.running([*command, f"candidates:app({which!r})"], env, own) as process:
        servers.answering(f"http://127.0.0.1:{port}/ready", process, own)
        if which != EMPTY:
            _check(port, _mode(which))
        yield port, [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _mode(which: str) -> str:
    return "plain" if which == "plain" else "safe"


def _check(port: int, mode: str) -> None:
    push = Sender(mode).text("hello")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", f"{CALLBACK}?{push.query}", push.body, {"Content-Type": "text/xml"})
        answer = connection.getresponse()
        check_answer(Sent(0.0, {f"{answer.status} {answer.reason}"}, answer.read()), push, mode)
    finally:
        connection.close()


def _write(folder: Path, seconds: int) -> dict[str, Path]:
    """Write fresh messages for one run of each candidate."""
    files = {}
    for mode in ("safe", "plain"):
        files[mode] = folder / f"{mode}.requests"
        pushes = Sender(mode).texts(RATE * seconds)
        files[mode].write_bytes(SEPARATOR.join(request_of(push) for push in pushes))
    return files


def _load(port: int, pids: list[int], requests: Path, connections: int, seconds: int) -> Run:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "push.lua")]
    before = _cpu(pids)
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{CALLBACK}", "--", str(requests)], stdout=subprocess.PIPE, check=True
    )
    spent = _cpu(pids) - before
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["failed"] or seen["more"] <= 0:
        raise SystemExit(f"the load was not as it should be: {seen}")
    rate = seen["requests"] / seen["micros"] * 1e6
    return Run(rate, seen["p50"], seen["p99"], spent / seen["requests"] * 1e6)


def _cpu(pids: list[int]) -> float:
    """Return the CPU seconds that processes have spent so far."""
    spent = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(stat[11]) + int(stat[12])
    return spent / TICK


def _table(runs: dict[str, list[Run]]) -> str:
    rows = []
    for which, name in CANDIDATES.items():
        ours = which in ("safe", "plain")
        pairs = list(zip(runs[which], runs[EMPTY], strict=True))
        rate = quartiles([own.rate / base.rate for own, base in pairs])[1]
        p50, p99, cpu = (
            quartiles([getattr(own, figure) / getattr(base, figure) for own, base in pairs])[1]
            for figure in ("p50", "p99", "cpu")
        )
        per_second, millis, micros = (
            quartiles([getattr(run, figure) for run in runs[which]])[1] for figure in ("rate", "p99", "cpu")
        )
        missed = "!" if ours and rate * 1.05 < THROUGHPUT_GOAL else ""
        goal = f">= {THROUGHPUT_GOAL}, p99 <= {P99_GOAL}" if ours else ""
        latency = [f"{p50:.2f}", mark(p99, P99_GOAL if ours else None), f"{millis / 1000:.1f}"]
        rows.append([name, f"{per_second:.0f}", f"{rate:.2f}{missed}", *latency, f"{cpu:.2f}", f"{micros:.0f}", goal])
    head = ["", "requests/s", "x empty", "p50 x empty", "p99 x empty", "p99 ms", "CPU x empty", "CPU µs", "goal"]
    return table(head, rows)
