"""Waiting for other processes, and being waited for.

`Watcher` asks the store for all keys that somebody in this process waits for, at once: a held request costs nothing by
itself. `Heartbeat` says that this process is alive, so that nobody waits for a dead one. Knows nothing of messages.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from .forking import ForkAware
from .store import Store

log = logging.getLogger("wx_mp_svr")

LOST: Final = object()
"""What a wait ends with when the process that was waited for is gone."""

IDLE_SECONDS = 60.0  # after which the heart stops, until there is work again
MEMORY_SECONDS = 10.0


def alive_key(process: str) -> str:
    """Return the key that lives as long as *process* does."""
    return f"alive:{process}"


class Heartbeat(ForkAware):
    """Keeps this process's key alive while it has work.

    Args:
        store: Shared with those who wait.
        beat: Seconds between two beats; four missed ones mean death.
        busy: Whether there is work.
    """

    def __init__(self, store: Store, beat: float, busy: Callable[[], bool]) -> None:
        self._store = store
        self._beat = beat
        self._busy = busy
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self.process = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = threading.Lock()
        self._running = False
        self._stopped = threading.Event()

    def wake(self) -> None:
        """There is work. The first beat may come a second later; who waits allows for it."""
        if self._running:
            return
        with self._lock:
            if not self._running and not self._stopped.is_set():
                threading.Thread(target=self._run, name="wx-mp-heartbeat", daemon=True).start()
                self._running = True

    def stop(self) -> None:
        """Give up: whoever waits for this process takes over its work."""
        self._stopped.set()
        self._store.delete(alive_key(self.process))

    def _run(self) -> None:
        idle_since = time.monotonic()
        while not self._stopped.is_set():
            if self._busy():
                idle_since = time.monotonic()
                try:
                    self._store.set(alive_key(self.process), 1, self._beat * 4)
                    if self._stopped.is_set():  # meanwhile: a beat must not outlive the end
                        self._store.delete(alive_key(self.process))
                except Exception:
                    log.exception("a heartbeat failed")
            elif time.monotonic() - idle_since > IDLE_SECONDS:
                with self._lock:
                    # First said, then looked: whoever has work looks at it the other way round. One of us sees the other.
                    self._running = False
                    self._running = self._busy()
                    if not self._running:
                        return
            self._stopped.wait(self._beat)


class _Wait:
    def __init__(self, key: str, process: str) -> None:
        self.key = key
        self.process = process
        self.ready = threading.Event()
        self.outcome: Any = None


class Watcher(ForkAware):
    """One thread that asks the store on behalf of all who wait.

    Args:
        store: Where the awaited keys will appear.
        interval: Seconds between two questions.
        beat: The heartbeat's; a process counts as dead when its key is missing for one and a half of them, since its
            first beat may come that late.
    """

    def __init__(self, store: Store, interval: float, beat: float) -> None:
        self._store = store
        self._interval = interval
        self._patience = beat * 1.5
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._waits: set[_Wait] = set()
        self._running = False
        # By awaited key and process: since when the process is missing, and when that was last seen. One try of WeChat's is
        # shorter than our patience may be; the next goes on where it left off.
        self._missing: dict[tuple[str, str], tuple[float, float]] = {}

    def wait(self, key: str, process: str, timeout: float) -> Any:
        """Wait until *key* is there.

        Args:
            key: What is awaited.
            process: Who will write it.
            timeout: Seconds.

        Returns:
            Its value, None when the time is over, `LOST` when *process* is gone without having written it.
        """
        wait = _Wait(key, process)
        with self._lock:
            if not self._running:
                threading.Thread(target=self._run, name="wx-mp-watcher", daemon=True).start()
                self._running = True
            self._waits.add(wait)  # after it: there may be no thread to be had
        wait.ready.wait(timeout)
        with self._lock:
            self._waits.discard(wait)
        return wait.outcome

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
                log.exception("the store failed; looking again")  # whoever waits still has a deadline
            time.sleep(self._interval)

    def _look(self, waits: list[_Wait]) -> None:
        keys = {wait.key for wait in waits} | {alive_key(wait.process) for wait in waits}
        found = self._store.get_many(sorted(keys))
        now = time.monotonic()
        for wait in waits:
            if wait.key in found:
                wait.outcome = found[wait.key]
                wait.ready.set()
            elif alive_key(wait.process) in found:
                self._missing.pop((wait.key, wait.process), None)
            else:
                since, seen = self._missing.get((wait.key, wait.process), (now, now))
                if now - seen > MEMORY_SECONDS:
                    since = now
                self._missing[wait.key, wait.process] = (since, now)
                if now - since > self._patience:
                    wait.outcome = LOST
                    wait.ready.set()
        if len(self._missing) > 2 * len(waits) + 100:
            self._missing = {key: times for key, times in self._missing.items() if now - times[1] <= MEMORY_SECONDS}
