"""Where handlers run: a bounded pool of threads, and one event loop per process.

Not concurrent.futures: its threads are joined at exit, and a process that was told to stop could not give up the work
that is left. Both start with their first task, in whichever process that is. Knows nothing of messages or stores.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from .forking import ForkAware

log = logging.getLogger("wx_mp_svr")

Task = Callable[[], None]


class Workers(ForkAware):
    """Daemon threads that take tasks from a bounded queue.

    Args:
        max_running: Threads at most.
        max_queued: Tasks that may wait for one.
    """

    def __init__(self, max_running: int, max_queued: int) -> None:
        self._max_running = max_running
        self._max_queued = max_queued
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._tasks: SimpleQueue[Task] = SimpleQueue()  # a third cheaper than a deque and a condition
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # idle threads less the tasks that wait for one

    def submit(self, task: Task) -> bool:
        """Run *task* soon; false when the queue is full."""
        with self._lock:
            if self._free <= 0 and self._threads < self._max_running:
                threading.Thread(target=self._run, args=(task,), name="wx-mp-worker", daemon=True).start()
                self._threads += 1  # after it: there may be no thread to be had
                return True
            if self._free <= -self._max_queued:
                return False
            self._free -= 1
        self._tasks.put(task)
        return True

    @property
    def queued(self) -> int:
        """How many tasks wait for a thread."""
        return self._tasks.qsize()

    def _run(self, task: Task) -> None:
        while True:
            try:
                task()
            except BaseException:
                log.exception("a bug of wx-mp-svr")  # which must not cost a thread
            with self._lock:
                self._free += 1
            task = self._tasks.get()


class Loop(ForkAware):
    """One asyncio loop in a thread of its own: users share async clients, and those belong to one loop."""

    def __init__(self) -> None:
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = False

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, started with the first call."""
        with self._lock:
            self._loop = self._loop or asyncio.new_event_loop()
            if not self._running:
                threading.Thread(target=self._loop.run_forever, name="wx-mp-loop", daemon=True).start()
                self._running = True  # after it: there may be no thread to be had
            return self._loop


def in_thread(call: Callable[[], Any], name: str) -> "Future[Any]":
    """Call in a daemon thread of its own; an executor would refuse it at exit, and wait for it there."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
