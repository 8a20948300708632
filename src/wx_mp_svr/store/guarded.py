"""A store that is never down: what cannot reach the real one is remembered in this process meanwhile."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..forking import ForkAware
from . import Store
from .memory import MemoryStore

log = logging.getLogger("wx_mp_svr")

REST_SECONDS = 5.0  # between two questions to a store that did not answer
TELL_SECONDS = 60.0  # between two lines in the log

T = TypeVar("T")


class GuardedStore(ForkAware):
    """Asks *store*, and a memory store while that one is down.

    Pushes are then run once per process instead of once at all, which is better than a fault notice.

    Args:
        store: The real one.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._meanwhile = MemoryStore(clock=clock)
        self._clock = clock
        self.watch_forks()
        self._rest_until = 0.0
        self._tell_after = 0.0
        self.down = False

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        kept = self._meanwhile.get(key) if len(self._meanwhile) else None
        return kept if kept is not None else self._ask(lambda store: store.get(key))

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        found = self._ask(lambda store: store.get_many(keys))
        return {**found, **self._meanwhile.get_many(keys)} if len(self._meanwhile) else found

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        if len(self._meanwhile):
            self._meanwhile.delete(key)
        self._ask(lambda store: store.set(key, value, ttl))

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers that reach the same store."""
        if len(self._meanwhile) and self._meanwhile.get(key) is not None:
            return False
        return self._ask(lambda store: store.add(key, value, ttl))

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        return self._ask(lambda store: store.incr(key, ttl))

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        self._meanwhile.delete(*keys)
        self._ask(lambda store: store.delete(*keys))

    def _ask(self, question: Callable[[Store], T]) -> T:
        was_down = self.down
        if was_down and not self._may_try():
            return question(self._meanwhile)
        try:
            answer = question(self._store)
        except Exception as exc:  # a store of the user's own may raise anything
            self._fell(exc)
            return question(self._meanwhile)
        if was_down and self.down:  # and not for those who asked before it fell
            self.down = False
            log.warning("the store answers again")
        return answer

    def _may_try(self) -> bool:
        """Of many callers one tries a store that is down, now and then, so that not all of them wait for it."""
        with self._lock:
            if self._clock() < self._rest_until:
                return False
            self._rest_until = self._clock() + REST_SECONDS
            return True

    def _fell(self, exc: Exception) -> None:
        with self._lock:
            self.down = True
            self._rest_until = self._clock() + REST_SECONDS
            tell = self._clock() >= self._tell_after
            if tell:
                self._tell_after = self._clock() + TELL_SECONDS
        if tell:
            log.error("the store is down, pushes are remembered in this process only: %s", exc)
