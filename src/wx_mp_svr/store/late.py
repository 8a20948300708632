"""A store in front of which some writes wait for a moment, to go many in one transaction.

A commit costs as much as all else that a message needs. What waits here this process sees at once, and others when it is
written: with an `add` that finds many waiting, or when `write_late` is called, which `guarded` does several times a second
and at the end. A process that is killed before takes it along. So it is for what others can do without, and never for what
decides who may do something. Knows nothing of what the keys mean.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ..forking import ForkAware
from . import Store

MANY = 50  # so many are written in half a millisecond


class TransactingStore(Store, Protocol):
    """A store that writes many at once for the price of one."""

    def add_all(self, items: Sequence[tuple[str, Any, float]]) -> bool:
        """Add each of (key, value, ttl) of which there is none; true if that was so of the last one."""


class LateStore(ForkAware):
    """Asks *store*, and beside it what waits to be written.

    Args:
        store: Where everything goes in the end.
    """

    def __init__(self, store: TransactingStore) -> None:
        self._store = store
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork: what waits is the parent's to write."""
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Any, float]] = {}  # value and ttl
        self._leaving: list[dict[str, tuple[Any, float]]] = []  # what somebody is writing now

    def add_late(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* if there is none; others see it when it is written."""
        with self._lock:
            self._waiting.setdefault(key, (value, ttl))

    def write_late(self) -> None:
        """Write what waits; if that fails, it goes on waiting."""
        if self._waiting or self._leaving:
            # What others are writing, too: who calls this at the end of a process must not be faster than they are.
            self._write(with_theirs=True)

    def _write(self, *last: tuple[str, Any, float], with_theirs: bool = False) -> bool:
        with self._lock:
            theirs = list(self._leaving) if with_theirs else []
            leaving = self._waiting
            self._leaving.append(leaving)  # first here, then not there any more: a reader looks the other way round
            self._waiting = {}
        items = [(key, value, ttl) for batch in (*theirs, leaving) for key, (value, ttl) in batch.items()]
        try:
            won = self._store.add_all([*items, *last])
        except BaseException:
            with self._lock:
                self._waiting = {**leaving, **self._waiting}
            raise
        finally:
            self._leaving.remove(leaving)
        return won

    def _late(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for batch in (self._waiting, *self._leaving):
            yield from [(key, batch[key][0]) for key in keys if key in batch]

    # -- the verbs ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        for _, value in self._late([key]):
            return value
        return self._store.get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        late = dict(self._late(keys))  # before the store is asked: it goes from here to there
        return {**self._store.get_many(keys), **late}

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        self._forget(key)
        self._store.set(key, value, ttl)

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers. If much waits, that is written with it."""
        return self._write((key, value, ttl)) if len(self._waiting) >= MANY else self._store.add(key, value, ttl)

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        return self._store.incr(key, ttl)

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        self._forget(*keys)
        self._store.delete(*keys)

    def _forget(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._waiting.pop(key, None)
