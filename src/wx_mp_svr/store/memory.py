"""The store inside one process: forgotten when it ends, and not shared with other workers."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..forking import ForkAware

SWEEP_EVERY = 5000  # writes


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
        self._items: dict[str, tuple[Any, float]] = {}  # value, when it ends
        self._writes = 0  # since the last sweep
        self._soonest = math.inf  # no item ends before

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            now = self._clock()
            if now >= self._soonest:
                self._sweep(now)
            return len(self._items)

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        value, end = self._items.get(key, (None, 0.0))
        return value if end > self._clock() else None

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
            if key in self._items and self._items[key][1] > now:
                return False
            self._put(key, value, now + ttl, now)
            return True

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        with self._lock:
            value, end = self._items.get(key, (0, 0.0))
            now = self._clock()
            if end <= now:
                value, end = 0, now + ttl
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
            return [(key, value, end - now) for key, (value, end) in self._items.items() if end > now]

    def _put(self, key: str, value: Any, end: float, now: float) -> None:
        self._items[key] = (value, end)
        if end < self._soonest:
            self._soonest = end
        self._writes += 1
        if len(self._items) > self._max_keys or self._writes >= SWEEP_EVERY:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Drop what has ended; if that is not enough, what ends soonest, so that there is room for a while."""
        self._writes = 0
        lasting = {key: item for key, item in self._items.items() if item[1] > now}
        if len(lasting) > self._max_keys:
            soonest = sorted(lasting, key=lambda key: lasting[key][1])
            for key in soonest[: len(lasting) - self._max_keys * 9 // 10]:
                del lasting[key]
        self._items = lasting
        self._soonest = min((end for _, end in lasting.values()), default=math.inf)
