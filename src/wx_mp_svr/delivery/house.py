"""What is known of the house beyond one try: who waits, and how many tries have failed.

Numbers in, a judgement out; time is an argument. Knows nothing of pushes, answers or stores.
"""

import logging
import math
import threading
from collections import deque

from ..forking import ForkAware
from .rules import Patience

log = logging.getLogger("wx_mp_svr")

SHORT_LOOKS = 8  # tries of a full house that wait a second all the same, and not a blink only
LATE_SECONDS = 2.0  # in a backlog, and the house counts as full
LATE_REST_SECONDS = 10.0  # for so long
TELL_SECONDS = 60.0


class House(ForkAware):
    """Counts who waits in the requests' threads of this process, for one account.

    Args:
        max_held: How many may.
    """

    def __init__(self, max_held: int) -> None:
        self._max_held = max_held
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._held = 0
        self._short = 0
        self._late_until = -math.inf
        self._turned_away = 0
        self._tell_after = -math.inf

    def enter(self, now: float) -> Patience:
        """Ask for a place; give it back by `leave`.

        Returns:
            How long the try may be kept: FULL, SHORT or BLINK.
        """
        with self._lock:
            late = now < self._late_until
            if self._held < self._max_held and not late:
                self._held += 1
                return Patience.FULL
            self._turned_away += 1
            tell = now > self._tell_after
            if tell:
                self._tell_after = now + TELL_SECONDS
            # Not while tries arrive late: there may be one thread in all.
            patience = Patience.SHORT if self._short < SHORT_LOOKS and not late else Patience.BLINK
            self._short += patience is Patience.SHORT
        if tell:
            log.warning(
                "the house is full (max_held=%d tries wait, or tries arrive late): slow ones get their link at once / "
                "等待的请求已满，来不及回答的消息会立即得到链接",
                self._max_held,
            )
        return patience

    def leave(self, patience: Patience) -> None:
        """Give back the place that `enter` gave."""
        with self._lock:
            self._held -= patience is Patience.FULL
            self._short -= patience is Patience.SHORT

    def arrived_late(self, seconds: float, now: float) -> None:
        """Note how long a try has waited in a backlog: whoever waits for a thread there must not wait for us, too."""
        if seconds > LATE_SECONDS:
            self._late_until = now + LATE_REST_SECONDS

    def stats(self) -> dict[str, int]:
        """Return how many tries wait, and how many were not kept because the house was full."""
        return {"held": self._held, "full": self._turned_away}


class Breaker(ForkAware):
    """Limits how many tries may run past WeChat's 5 seconds: after too many failures it stops pushing for a minute.

    Opens on a share, so that a mildly busy bot with a slow handler keeps its three tries: at least *limit* tries without an
    answer in five minutes, and more than a third of all pushes of that time.

    Args:
        limit: 0 for none. Once open, it takes half of them to pass until tries are admitted again.
    """

    SECONDS = 300.0
    SHARE = 3  # one in so many

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._failures: deque[float] = deque()
        self._pushes: dict[int, int] = {}  # by second, how many
        self._open = False

    def pushed(self, now: float) -> None:
        """Count a push. Without a lock: one that is lost to another thread does not matter for a share."""
        second = int(now)
        if second not in self._pushes:
            with self._lock:
                self._forget(now)
        self._pushes[second] = self._pushes.get(second, 0) + 1

    def admits(self, now: float) -> bool:
        """Count one more try that will fail; false when it must be answered instead."""
        with self._lock:
            self._look(now)
            if not self._open:
                self._failures.append(now)
            return not self._open

    def stats(self, now: float) -> dict[str, int]:
        """Return the count and whether the breaker is open."""
        with self._lock:
            self._look(now)
            return {"hung_up": len(self._failures), "breaker_open": int(self._open)}

    def _forget(self, now: float) -> None:
        while self._failures and self._failures[0] < now - self.SECONDS:
            self._failures.popleft()
        for second in [second for second in list(self._pushes) if second < now - self.SECONDS]:
            del self._pushes[second]

    def _look(self, now: float) -> None:
        self._forget(now)
        if not self._limit:
            return
        failed = len(self._failures)
        if self._open:
            self._open = failed * 2 >= self._limit
        elif failed >= self._limit and failed * self.SHARE > sum(self._pushes.values()):
            self._open = True
            log.warning(
                "the breaker is open: %d of %d pushes in 5 minutes had no answer in time / "
                "太多消息来不及回答，为免微信暂停推送，先用链接回复",
                *(failed, sum(self._pushes.values())),
            )
