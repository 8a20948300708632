"""The store inside one process: forgotten when it ends, and not shared with other workers."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..forking import ForkAware


class MemoryStore(ForkAware):
    """A dict with times to live and an upper bound.

    Args:
        max_keys: Over it, the oldest are dropped first.
        clock: Seconds; monotonic, since the system's clock may jump.
    """

    def __init__(self, max_keys: int = 30_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self.watch_forks()
        self._items: OrderedDict[str, tuple[Any, float]] = OrderedDict()  # value, when it ends; oldest first

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
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

    def _put(self, key: str, value: Any, end: float, now: float) -> None:
        items = self._items
        items[key] = (value, end)
        items.move_to_end(key)
        # Two steps a write: what is over goes, at the pace at which it came, and never more than the bound stays.
        for _ in (1, 2):
            oldest = next(iter(items))
            if (items[oldest][1] > now and len(items) <= self._max_keys) or len(items) == 1:
                break
            del items[oldest]
