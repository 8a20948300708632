"""The store inside one process: forgotten when it ends, and not shared with other workers."""

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from ..forking import ForkAware

AT_ONCE = 20  # so many that have ended go with one write


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
        self._items: dict[str, tuple[float, int, Any]] = {}  # when it ends, which write it was, the value
        self._ends: list[tuple[float, int, str]] = []  # a heap: what ends soonest stands first
        self._written = 0

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._drop_ended(self._clock(), len(self._ends))
            return len(self._items)

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        item = self._items.get(key)
        return item[2] if item is not None and item[0] > self._clock() else None

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
            value, end = (item[2], item[0]) if item is not None and item[0] > now else (0, now + ttl)
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
            return [(key, value, end - now) for key, (end, _, value) in self._items.items() if end > now]

    def _put(self, key: str, value: Any, end: float, now: float) -> None:
        self._written += 1
        self._items[key] = (end, self._written, value)
        heappush(self._ends, (end, self._written, key))
        if self._ends[0][0] <= now:
            self._drop_ended(now, AT_ONCE)
        if len(self._items) > self._max_keys:
            self._make_room()
        if len(self._ends) > 2 * self._max_keys:  # what was written again or deleted still stands there
            self._ends = [(end, number, key) for key, (end, number, _) in self._items.items()]
            heapify(self._ends)

    def _drop_ended(self, now: float, at_most: int) -> None:
        """Drop what has ended, a few with each write, so that nobody waits."""
        while at_most and self._ends and self._ends[0][0] <= now:
            self._forget(heappop(self._ends))
            at_most -= 1

    def _make_room(self) -> None:
        """Drop what ends soonest, a tenth at once.

        What was written last stays: it may be the claim of a push among sessions and answers that all live longer.
        """
        last = self._written - self._max_keys // 10
        kept = []
        while len(self._items) > self._max_keys * 9 // 10 and self._ends:
            entry = heappop(self._ends)
            if entry[1] > last:
                kept.append(entry)
            else:
                self._forget(entry)
        for entry in kept:
            heappush(self._ends, entry)

    def _forget(self, entry: tuple[float, int, str]) -> None:
        _, number, key = entry
        if key in self._items and self._items[key][1] == number:  # else it was written again, or deleted
            del self._items[key]
