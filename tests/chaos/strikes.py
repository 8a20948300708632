"""What happens to stores and bots: each begins when it is entered, and is over when it is left."""

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machines import Machine


@dataclass
class Stage:
    """Where a day is played.

    Attributes:
        folder: With bot.py in it.
        store: The database's path, or a `servers.RedisServer`.
        machines: The bots.
        wire: The second machine's way to the store.
        noted: What the first machine's workers held, on the way.
    """

    folder: Path
    store: Any = None
    machines: list[Machine] = field(default_factory=list)
    wire: "Wire | None" = None
    noted: list[str] = field(default_factory=list)

    def figures(self) -> str:
        """Tell what the first machine's workers hold, and how large the database is."""
        figures = [
            f"{memory} MB, {threads} threads, {files} files" for memory, threads, files in self.machines[0].figures()
        ]
        if isinstance(self.store, Path):
            figures.append(f"database {sum(file.stat().st_size for file in _files_of(self.store)) / 1e6:.1f} MB")
        return "; ".join(figures)


Strike = Callable[[Stage], AbstractContextManager[None]]


def _files_of(database: Path) -> list[Path]:
    files = [database.with_name(database.name + name) for name in ("", "-wal", "-shm")]
    return [file for file in files if file.exists()]


@contextmanager
def nothing(stage: Stage) -> Iterator[None]:
    yield


@contextmanager
def noted(stage: Stage) -> Iterator[None]:
    stage.noted.append(stage.figures())
    yield


# -- stores ------------------------------------------------------------------------------------------------------------


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    with closing(sqlite3.connect(stage.store, isolation_level=None, timeout=5)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def deleted(stage: Stage) -> Iterator[None]:
    for file in _files_of(stage.store):
        file.unlink(missing_ok=True)
    yield


@contextmanager
def full(stage: Stage) -> Iterator[None]:
    """Fill the file system that the database is on; see to it that it is a small one."""
    rest = stage.store.with_name("rest")
    with rest.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    yield
    rest.unlink()


@contextmanager
def immutable(stage: Stage) -> Iterator[None]:
    """Take the right to write away from the files, by the file system's own flag."""
    names = [str(stage.store.with_name(stage.store.name + name)) for name in ("", "-wal")]
    subprocess.run(["chattr", "+i", *names], check=True)
    yield
    subprocess.run(["chattr", "-i", *names], check=True)


@contextmanager
def slow(stage: Stage) -> Iterator[None]:
    """Let every write to the database take a tenth of a second, as on a disk that others keep busy: see slow_disk.c."""
    flag = stage.store.with_name("slow")
    flag.touch()
    yield
    flag.unlink()


@contextmanager
def stopped(stage: Stage) -> Iterator[None]:
    stage.store.pause()
    yield
    stage.store.resume()


@contextmanager
def killed(stage: Stage) -> Iterator[None]:
    stage.store.stop()
    yield
    stage.store.start()


def configured(before: list[str], after: list[str]) -> Strike:
    """Tell Redis something, and something else in the end."""

    @contextmanager
    def strike(stage: Stage) -> Iterator[None]:
        from redis import Redis

        with Redis(port=stage.store.port, single_connection_client=True) as redis:  # there may be no second one
            for line in before:
                redis.execute_command(*line.split())
            yield
            for line in after:
                redis.execute_command(*line.split())

    return strike


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


def cut(*ways: str) -> Strike:
    """Cut the second machine off."""

    @contextmanager
    def strike(stage: Stage) -> Iterator[None]:
        for way in ways:
            getattr(stage.wire, way).clear()
        yield
        for way in ways:
            getattr(stage.wire, way).set()

    return strike


# -- bots --------------------------------------------------------------------------------------------------------------


def reloads(times: int, apart: float) -> Strike:
    """What ``systemctl reload`` does, so many times."""

    @contextmanager
    def strike(stage: Stage) -> Iterator[None]:
        for _ in range(times):
            stage.machines[0].reload()
            time.sleep(apart)
        yield

    return strike


@contextmanager
def restart(stage: Stage) -> Iterator[None]:
    """``systemctl restart``, the socket kept."""
    stage.machines[0].stop()
    stage.machines[0].start()
    yield


@contextmanager
def kill_one(stage: Stage) -> Iterator[None]:
    os.kill(random.choice(stage.machines[0].workers()), signal.SIGKILL)
    yield


@contextmanager
def kill_both(stage: Stage) -> Iterator[None]:
    for worker in stage.machines[0].workers():
        os.kill(worker, signal.SIGKILL)
    yield


@contextmanager
def kill_all(stage: Stage) -> Iterator[None]:
    """Kill everything; it is started again when the strike is over."""
    stage.machines[0].kill()
    yield
    stage.machines[0].start()


# -- task queues -------------------------------------------------------------------------------------------------------


@contextmanager
def kill_queue_worker(stage: Stage) -> Iterator[None]:
    """Kill one of the two workers in the middle of its jobs."""
    stage.machines[0].kill_queue_worker()
    yield
    stage.machines[0].start_queue_worker()


@contextmanager
def no_queue_workers(stage: Stage) -> Iterator[None]:
    """Kill both; they are started again when the strike is over."""
    machine = stage.machines[0]
    while machine.queue_workers:
        machine.kill_queue_worker()
    yield
    for _ in range(2):
        machine.start_queue_worker()
