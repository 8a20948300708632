"""Who lives: a process says so while it has work, and finds out about others.

By a locked file, where all processes share a folder (that of a database): death is known at once and never by mistake. By
beats in the store, where they are on several machines (Redis); there the locked files of this machine know better than the
beats. A process that hangs is never taken for dead on its own machine; gunicorn's timeout ends it. Knows nothing of pushes
or sessions.
"""

import logging
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..clock import Clock
from ..forking import ForkAware
from . import Store, is_down
from .locks import Locks

log = logging.getLogger("wx_mp_svr")

BEAT_SECONDS = 1.0
STALE_SECONDS = 4 * BEAT_SECONDS
PATIENCE_SECONDS = 1.5 * BEAT_SECONDS  # a store that forgot everything has the next beat by then
IDLE_SECONDS = 60.0  # after which the beats stop, until there is work again
MEMORY_SECONDS = 10.0


QUEUE = "queue-"  # how names begin that are no processes but places in a task queue: the store alone knows of them


def beat_key(process: str) -> str:
    """Return the key that lives as long as *process* does."""
    return f"alive:{process}"


def is_beat(key: str) -> bool:
    """Whether a key only says that somebody lives."""
    return key.startswith("alive:")


class Alive(ForkAware):
    """Says that this process lives, and tells which others do not.

    Args:
        store: Shared with the others.
        clock: For the beats.
        busy: Whether there is work.
        locks: The locked files of this machine's processes, where there are any.
        alone: Whether there are no other machines, so that who has no file here is gone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        busy: Callable[[], bool],
        *,
        locks: Locks | None = None,
        alone: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._busy = busy
        self._locks = locks
        self._alone = alone
        self._file: int | None = None
        self._each_beat: list[Callable[[], None]] = []
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        if self._file is not None:  # the parent's: closing our copy does not let go of its lock
            os.close(self._file)
            self._file = None
        self.process = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = self._clock.lock()  # the store is asked under it
        self._beating = False
        self._stopped = self._clock.signal()
        self._ended = False
        self._missing: dict[str, tuple[float, float]] = {}  # by process: since when, and when that was last seen

    def at_each_beat(self, call: Callable[[], None]) -> None:
        """Have *call* called once a beat while there is work."""
        self._each_beat.append(call)

    # -- this process ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Say it before the first claim of a time of work: who finds a claim may then look for its process at once."""
        if self._beating:
            return
        with self._lock:
            if not self._beating and not self._ended:
                if self._locks is not None and self._file is None:
                    self._file = self._locks.take(self.process)
                self._beat()
                try:
                    self._clock.start(self._run, "wx-mp-alive")
                    self._beating = True
                except (
                    RuntimeError
                ):  # no thread to be had: this beat counts for a while, and the next claim tries again
                    log.warning("no thread for heartbeats")

    def stop(self) -> None:
        """Give up: others may take over what this process has claimed."""
        self._ended = True
        self._stopped.set()
        with self._lock:
            if self._locks is not None and self._file is not None:
                self._locks.give_up(self.process, self._file)
                self._file = None
        if not self._by_file:
            self._store.delete(beat_key(self.process))

    def vouch(self, name: str, seconds: float) -> None:
        """Let *name* count as a living process for so long; a task queue cannot beat."""
        self._store.set(beat_key(name), 1, seconds)

    def _run(self) -> None:
        idle_since = self._clock.now()
        while not self._stopped.wait(BEAT_SECONDS):
            if self._busy():
                idle_since = self._clock.now()
                self._beat()
            elif self._clock.now() - idle_since > IDLE_SECONDS:
                with self._lock:
                    # First said, then looked; who has work does it the other way round, and one of the two sees the other.
                    self._beating = False
                    self._beating = self._busy()
                    if not self._beating:
                        return

    def _beat(self) -> None:
        for call in (self._say, *self._each_beat):
            try:
                call()
            except Exception:
                log.exception("a heartbeat failed")

    @property
    def _by_file(self) -> bool:
        """Whether nobody needs our beats."""
        return self._alone and self._file is not None

    def _say(self) -> None:
        if self._by_file:
            return
        self._store.set(beat_key(self.process), 1, STALE_SECONDS)
        if self._ended:  # meanwhile: a beat must not outlive the end
            self._store.delete(beat_key(self.process))

    # -- others ------------------------------------------------------------------------------------------------------

    def is_lost(self, process: str) -> bool:
        """Whether *process* is gone; at most one question to the store."""
        return process in self.lost([process], self._store.get_many(self.keys([process])))

    def keys(self, processes: Collection[str]) -> list[str]:
        """Return what to ask the store for, to find out about *processes*."""
        return [beat_key(process) for process in processes if not self._has_file(process)]

    def _has_file(self, process: str) -> bool:
        """Whether only its file tells about a process."""
        return self._alone and self._file is not None and not process.startswith(QUEUE)

    def suspects(self, process: str) -> bool:
        """Whether beats of *process* are missing, but not for long enough to call it lost."""
        return process in self._missing

    def lost(self, processes: Collection[str], found: Mapping[str, Any]) -> set[str]:
        """Return those of *processes* that are gone.

        Args:
            processes: Names of processes.
            found: What the store has for their `beat_key`, among other things.
        """
        now, gone = self._clock.now(), set()
        for process in processes:
            held = self._locks.is_held(process) if self._locks is not None else None
            if process == self.process or held or (held is None and beat_key(process) in found):
                self._missing.pop(process, None)
                continue
            if held is False or self._has_file(process):
                gone.add(process)
                continue
            if is_down(self._store):  # what is missing now may be where nobody can read
                self._missing.pop(process, None)
                continue
            since, seen = self._missing.get(process, (now, now))
            if now - seen > MEMORY_SECONDS:
                since = now
            self._missing[process] = (since, now)
            if now - since >= PATIENCE_SECONDS:
                gone.add(process)
        if len(self._missing) > 2 * len(processes) + 100:
            self._missing = {name: times for name, times in self._missing.items() if now - times[1] <= MEMORY_SECONDS}
        return gone
