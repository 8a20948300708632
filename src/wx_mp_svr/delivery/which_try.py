"""Which of WeChat's tries a request is: by its age, by the count of its copies, and by what may have been lost.

A push comes up to three times, five seconds apart, and no request says which time it is. Whoever takes the last try for an
earlier one lets the user wait for nothing; whoever takes an earlier one for the last gives a link too soon.
"""

import math
import threading
from collections import deque
from typing import NamedTuple

from ..clock import Clock
from ..forking import ForkAware
from .ledger import Ledger
from .rules import Times

LOOK_SECONDS = 1.0  # between two looks at what other processes know
NORMAL_SECONDS = 10.0  # between two notes of the usual age of a first try


class Age(NamedTuple):
    """What the age of a request tells.

    Attributes:
        number: Which of WeChat's tries it is, from 1.
        backlog: Seconds that it has waited before it came to us, at most; 0 when perhaps not at all.
    """

    number: int
    backlog: float


FIRST = Age(1, 0.0)


class Ages:
    """Tells from its age which try a request is, for when the count was lost.

    A server's clock that is off must not make every try the last: ages are taken against the youngest of the last five
    pushes that came for the first time. Not against their median: of those, some may be retries whose first try was lost.
    What comes within six seconds counts as one: a crowd that waits for its threads is no clock.

    Attributes:
        normal: The age of that youngest one, None as long as there was none.
    """

    PUSH_SECONDS = 5.0  # from one try of WeChat's to the next
    GRAIN = 1.0  # timestamps are whole seconds
    SURE = 3  # first tries that agree
    IN_DOUBT = 3  # a link is better than a fault notice
    SLOT_SECONDS = 6.0
    LIMIT = 30.0  # older is a clock, or an old request, and no retry

    def __init__(self) -> None:
        self._first: deque[float] = deque(maxlen=5)
        self._odd: deque[float] = deque(maxlen=5)
        self._slot_ends = self._odd_after = -math.inf
        self.normal: float | None = None

    def judge(self, age: float, now: float) -> Age:
        """Judge a request.

        Args:
            age: Our clock minus the request's timestamp, in seconds.
            now: By the clock.
        """
        normal = self.normal or 0.0
        relative = age - normal
        if -self.GRAIN <= relative < self.GRAIN and (normal >= -self.GRAIN or len(self._first) >= self.SURE):
            return FIRST  # nearly always
        if len(self._first) < self.SURE:  # what was learned may come from a retry whose first try was lost
            if self.GRAIN <= relative < age < self.LIMIT:
                relative = age  # believe the clock, too
            if normal < -self.GRAIN <= relative:  # it cannot be believed
                return Age(self.IN_DOUBT, 0.0)
        if relative >= self.LIMIT:
            return Age(1, 0.0)
        if relative < -self.GRAIN:
            # Younger than a first try can be: a clock was set, or what was learned came from a retry. Nothing can be told.
            self.learn(age, 1, now)
            return Age(self.IN_DOUBT, 0.0)
        relative = max(0.0, relative)
        number = 1 + int((relative + self.GRAIN) / self.PUSH_SECONDS)
        late = relative - (number - 1) * self.PUSH_SECONDS
        return Age(number, late if late > self.GRAIN else 0.0)

    def learn(self, age: float, number: int, now: float) -> None:
        """Note the age of a push that came for the first time.

        Args:
            age: Our clock minus its timestamp.
            number: What `judge` took it for. What looks like a retry whose first try was lost is believed to be a first try
                only when five in a row look like that: then it is our clock that was set. Where it could be both, for half
                a minute: a network may lose all first tries for a while.
            now: By the clock.
        """
        if number == 1 and now < self._slot_ends and age >= self._first[-1] and not self._odd:
            return  # nothing new, as nearly always
        normal = self.normal or 0.0
        in_doubt = normal < -self.GRAIN and age - normal < self.PUSH_SECONDS - self.GRAIN
        if number == 1 or age < normal or in_doubt:
            self._odd.clear()
            if now < self._slot_ends:
                self._first[-1] = min(age, self._first[-1])
            else:
                self._slot_ends = now + self.SLOT_SECONDS
                self._first.append(age)
        elif now >= self._odd_after:
            self._odd.append(age)
            if self._looks_like_retry(age):
                self._odd_after = now + self.SLOT_SECONDS
            if len(self._odd) == self._odd.maxlen:
                self._first.clear()
                self._first.extend(self._odd)
                self._odd.clear()
        self.normal = min(self._first, default=None)

    def _looks_like_retry(self, age: float) -> bool:
        return (age - (self.normal or 0.0) + self.GRAIN) % self.PUSH_SECONDS <= 2 * self.GRAIN

    def begin(self, normal: float, now: float) -> None:
        """Begin where another process was."""
        if not self._first:
            self.learn(normal, 1, now)


class WhichTry(ForkAware):
    """Tells which of WeChat's tries a request is, as far as this process and the ledger know.

    Args:
        ledger: What is known of pushes.
        times: Of WeChat's tries.
        clock: For ages.
        fresh: Whether this process begins now; else it has been there for ever, as in a test.
    """

    def __init__(self, ledger: Ledger, times: Times, clock: Clock, *, fresh: bool) -> None:
        self._ledger = ledger
        self._tries = times.tries
        self._clock = clock
        self._fresh = fresh
        self._ages = Ages()
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()  # around the ages
        self._turned = self._clock.wall() if self._fresh else -math.inf  # when a process last began or died
        self._told_turn = not self._fresh
        self._look_at = -math.inf  # when to look what other processes know
        self._tell_normal_at = -math.inf

    def judge(self, timestamp: int) -> Age:
        """Tell which try a request is, as far as its age says; a count may know better.

        Args:
            timestamp: That of WeChat's request, in Unix seconds.
        """
        now = self._clock.now()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look_around(now)
        with self._lock:
            age = self._ages.judge(self._clock.wall() - timestamp, now)
        return self._after_turn(age, timestamp)

    def first(self, push: str, age: Age, timestamp: int) -> Age:
        """Judge the request by which a push came to us for the first time, and learn from its age."""
        now = self._clock.now()
        with self._lock:
            self._ages.learn(self._clock.wall() - timestamp, age.number, now)
        if now >= self._tell_normal_at and self._ages.normal is not None:
            self._tell_normal_at = now + NORMAL_SECONDS
            self._ledger.tell_normal(self._ages.normal)
        age = self._after_turn(age, timestamp)
        if age.number > 1:  # the tries before it were lost: count them, for the copies that may still come
            self._count(push, age.number, before=1)
        return age

    def again(self, push: str, age: Age, timestamp: int, *, before: int) -> Age:
        """Judge one more copy of a push.

        Args:
            push: Its key.
            age: What `judge` said.
            timestamp: That of WeChat's request, in Unix seconds.
            before: How many copies were not counted: the one that claimed it.
        """
        return self._after_turn(age._replace(number=self._count(push, age.number, before=before)), timestamp)

    def _count(self, push: str, by_age: int, *, before: int) -> int:
        """Count one more try of a push; return which one it is.

        What its age says is counted, too: a clock may be thought right or wrong by the time the next copy comes.
        """
        number = before + self._ledger.count_try(push)
        while number < min(by_age, self._tries):
            number = before + self._ledger.count_try(push)
        return max(number, by_age)

    # -- what may have been lost -------------------------------------------------------------------------------------

    def _after_turn(self, age: Age, timestamp: int) -> Age:
        """Take for the last one a try before which others may have been lost: it must not cost the user the answer.

        With a process that has died, or uncounted while the store was down.
        """
        if timestamp + (self._ages.normal or 0.0) <= self._turned:
            return age._replace(number=max(age.number, self._tries))
        return age

    def turned(self) -> None:
        """Note that from here on what was counted before cannot be relied on."""
        self._turned = max(self._turned, self._clock.wall())

    def process_gone(self) -> None:
        """Note that a process has died, and with it perhaps tries that nobody has counted; tell the other processes."""
        self.turned()
        self._ledger.turned(self._turned)

    def _look_around(self, now: float) -> None:
        if not self._told_turn:
            self._told_turn = True
            self._ledger.turned(self._turned)
        turned, normal = self._ledger.told()
        if turned is not None and self._fresh:
            self._turned = max(self._turned, turned)
        if normal is not None:
            with self._lock:
                self._ages.begin(normal, now)
