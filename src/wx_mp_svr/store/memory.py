"""The store inside one process: forgotten when it ends, and not shared with other workers."""

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from ..forking import ForkAware

AT_ONCE = 20  # so many that have ended go with one write

Item = tuple[float, int, str, Any]
"""When it ends, a number that no other has, the key, the value."""


class MemoryStore(ForkAware):
    """A dict with times to live and an upper bound.

    Args:
        max_keys: Over it, what has ended is dropped first, then what ends soonest: a session outlives the pushes of a busy
            hour.
        clock: Seconds; monotonic, since the system's clock may jump.
    """

    def __init__(self, max_keys: int = 30_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self.watch_forks()
        self._items: dict[str, Item] = {}
        self._ends: list[Item] = []  # a heap: what ends soonest stands first
        self._count = count()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._drop(self._clock(), len(self._ends))
            return len(self._items)

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        item = self._items.get(key)
        return item[3] if item is not None and item[0] > self._clock() else None

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        found = {key: self.get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        with self._lock:
            now = self._clock()
            self._put(key, value, now + ttl, now)

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers."""
        with self._lock:
            now = self._clock()
            item = self._items.get(key)
            if item is not None and item[0] > now:
                return False
            self._put(key, value, now + ttl, now)
            return True

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        with self._lock:
            now = self._clock()
            item = self._items.get(key)
            value, end = (item[3], item[0]) if item is not None and item[0] > now else (0, now + ttl)
            self._put(key, value + 1, end, now)
            return int(value) + 1

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        with self._lock:
            for key in keys:
                self._items.pop(key, None)

    def add_late(self, key: str, value: Any, ttl: float) -> bool:
        """Add: there is nothing to gain by putting it off."""
        return self.add(key, value, ttl)

    def add_all(self, items: Sequence[tuple[str, Any, float]]) -> bool:
        """Add each of (key, value, ttl) of which there is none; true if that was so of the last one."""
        return [self.add(key, value, ttl) for key, value, ttl in items][-1:] == [True]

    def items(self) -> list[tuple[str, Any, float]]:
        """Return all that there is: key, value, and the seconds that it has left."""
        with self._lock:
            now = self._clock()
            return [(key, value, end - now) for end, _, key, value in self._items.values() if end > now]

    def _put(self, key: str, value: Any, end: float, now: float) -> None:
        self._items[key] = item = (end, next(self._count), key, value)
        heappush(self._ends, item)
        if self._ends[0][0] <= now or len(self._items) > self._max_keys or len(self._ends) > 2 * self._max_keys:
            self._drop(now, AT_ONCE)

    def _drop(self, now: float, at_most: int) -> None:
        """Drop what has ended, and over the bound what ends soonest: a few at each write, so that nobody waits."""
        if len(self._ends) > 2 * self._max_keys:  # what was written again or deleted still stands there
            self._ends = list(self._items.values())
            heapify(self._ends)
        while at_most and self._ends and (self._ends[0][0] <= now or len(self._items) > self._max_keys):
            item = heappop(self._ends)
            at_most -= 1
            if self._items.get(item[2]) is item:
                del self._items[item[2]]
