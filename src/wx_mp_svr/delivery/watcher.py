"""Waiting for pages that other processes write.

One thread asks the store for all keys that are waited for in this process, at once: a held request costs nothing by itself.
Knows nothing of messages, tries or texts.
"""

import logging
import threading
from typing import Any

from ..clock import Clock
from ..forking import ForkAware
from ..store import Store
from ..store.alive import Alive

log = logging.getLogger("wx_mp_svr")

LOOK_SECONDS = 0.1  # between two questions


class _Wait:
    def __init__(self, key: str, process: str, clock: Clock) -> None:
        self.key = key
        self.process = process
        self.over = clock.signal()


class Watcher(ForkAware):
    """Asks the store on behalf of all who wait.

    Args:
        store: Where the awaited keys will appear.
        alive: Who is gone.
        clock: For waiting.
    """

    def __init__(self, store: Store, alive: Alive, clock: Clock) -> None:
        self._store = store
        self._alive = alive
        self._clock = clock
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._waits: set[_Wait] = set()
        self._running = False

    def wait(self, key: str, process: str, until: float) -> None:
        """Wait until *key* is there, *process*, which will write it, is gone, or the time is over.

        Which of the three it is the caller finds out by looking again.

        Args:
            key: What is awaited.
            process: Who will write it.
            until: By the clock.
        """
        wait = _Wait(key, process, self._clock)
        with self._lock:
            if not self._running:
                self._clock.start(self._run, "wx-mp-watcher")
                self._running = True
            self._waits.add(wait)  # after it: there may be no thread to be had
        wait.over.wait(until - self._clock.now())
        with self._lock:
            self._waits.discard(wait)

    def _run(self) -> None:
        while True:
            with self._lock:
                waits = list(self._waits)
                if not waits:
                    self._running = False
                    return
            try:
                self._look(waits)
            except Exception:
                log.exception("the store failed; looking again")  # each wait still has its end
            self._clock.sleep(LOOK_SECONDS)

    def _look(self, waits: list[_Wait]) -> None:
        processes = {wait.process for wait in waits}
        keys = {wait.key for wait in waits} | set(self._alive.keys(processes))
        found: dict[str, Any] = self._store.get_many(sorted(keys))
        lost = self._alive.lost(processes, found)
        for wait in waits:
            if wait.key in found or wait.process in lost:
                wait.over.set()
