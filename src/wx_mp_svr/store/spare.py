"""What takes the place of a store that is down, for all processes of this machine: a local file, and the verdict beside it.

Who finds the store down, or back, says so here, and the others look here before they claim. Knows nothing of pushes, nor of
the store whose place it takes.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .memory import MemoryStore
from .sqlite import SQLiteStore

log = logging.getLogger("wx_mp_svr")

BUSY_SECONDS = 2.0  # when a store goes down, all processes come here at the same moment

T = TypeVar("T")


class Spare:
    """One store's understudy.

    Args:
        path: The file; None where processes of this machine have no folder to meet in, so that each has its own memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._store: MemoryStore | SQLiteStore = (
            MemoryStore() if path is None else SQLiteStore(path, busy_seconds=BUSY_SECONDS)
        )
        self._mark = path and f"{path}-down"
        self._down, self._until = False, 0.0

    @property
    def shared(self) -> bool:
        """Whether other processes see it."""
        return self._mark is not None

    @property
    def down(self) -> bool:
        """Whether anybody on this machine has found the store down, and nobody yet that it is back."""
        # Asked before each claim: not os.path.exists, which costs an exception when there is no such file.
        return self._down if self._mark is None else os.access(self._mark, os.F_OK)

    @property
    def until(self) -> float:
        """Before when (Unix seconds) nobody need look whether the store is back."""
        try:
            return self._until if self._mark is None else os.stat(self._mark).st_mtime
        except OSError:
            return 0.0

    def say_down(self, until: float) -> None:
        """Say for all that the store is down, and until when nobody need look whether it is back."""
        self._down, self._until = True, until
        if self._mark is None:
            return
        try:
            Path(self._mark).touch(mode=0o600)
            os.utime(self._mark, (until, until))
        except OSError as exc:
            self._give_up(exc)

    def say_up(self) -> None:
        """Say for all that it is back."""
        self._down = False
        if self._mark is not None:
            with contextlib.suppress(OSError):
                Path(self._mark).unlink()

    def ask(self, question: Callable[[MemoryStore | SQLiteStore], T]) -> T:
        """Ask the file, twice if need be; the process's memory from the moment on that the file fails, too."""
        with contextlib.suppress(Exception):  # it was busy: all processes come to it at the same moment
            return question(self._store)
        try:
            return question(self._store)
        except Exception as exc:
            self._give_up(exc)
            return question(self._store)

    def _give_up(self, exc: Exception) -> None:
        if self._mark is None:
            return
        log.error(
            "the local file fails, too: pushes are remembered in this process only: %s / "
            "本机的备用文件也不能用，消息去重只在本进程内有效",
            exc,
        )
        self._mark, self._store = None, MemoryStore()
