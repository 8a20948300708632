"""Time as an argument: whatever in the core looks at a clock, waits, or starts a thread that will, does so through one.

`Clock` is the real one. `FastClock` is for tests and the simulator: it runs faster, and may jump when everybody waits.
Knows nothing of pushes, nor of stores, whose own I/O timeouts are real.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any


class Signal:
    """Set once, by anybody; waited for by one thread or one coroutine."""

    __slots__ = ("_gate", "_wake")

    def __init__(self) -> None:
        self._gate = threading.Lock()  # a lock is the cheapest hand-off there is
        self._gate.acquire()
        self._wake: Callable[[], object] | None = None

    def set(self) -> None:
        """Let the waiting one go on; whoever waits later does not wait."""
        with suppress(RuntimeError):  # it was set before
            self._gate.release()
        if self._wake is not None:
            self._wake()

    def wait(self, timeout: float) -> bool:
        """Wait in this thread; false when *timeout* seconds are over first. May be called again after that."""
        return self._gate.acquire(timeout=max(0.0, timeout))

    async def wait_async(self, timeout: float) -> bool:
        """Wait in an event loop."""
        import asyncio  # not at the top: it takes a fifth of our own start, and many bots have no async handler

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not woken.done():
                woken.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # that loop has ended meanwhile
                loop.call_soon_threadsafe(finish)

        self._wake = wake  # first said, then looked: `set` does it the other way round
        if not self._gate.acquire(blocking=False):
            # Not wait_for: it cancels what it waits for, and before Python 3.12 may swallow that we are cancelled.
            await asyncio.wait([woken], timeout=max(0.0, timeout))
            return self._gate.acquire(blocking=False)
        return True


class Clock:
    """The real clock."""

    now: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds that never jump, for waiting."""

    wall: Callable[[], float] = staticmethod(time.time)
    """Unix seconds, for timestamps."""

    def sleep(self, seconds: float) -> None:
        """Sleep in this thread."""
        time.sleep(max(0.0, seconds))

    async def sleep_async(self, seconds: float) -> None:
        """Sleep in an event loop."""
        import asyncio

        await asyncio.sleep(max(0.0, seconds))

    def signal(self) -> Signal:
        """Return a new signal."""
        return Signal()

    lock: Callable[[], AbstractContextManager[Any]] = staticmethod(threading.RLock)
    """Makes a reentrant lock that may be held while the store is asked."""

    def start(self, call: Callable[[], object], name: str) -> None:
        """Call in a daemon thread of its own.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        threading.Thread(target=call, name=name, daemon=True).start()

    def enter(self) -> None:
        """Say that a coroutine has work to do, before it is handed to its loop; a clock that jumps waits for it."""

    def leave(self) -> None:
        """Say that a coroutine's work is done."""

    def foreground(self) -> AbstractContextManager[None]:
        """Return a context for one who waits for the answer: a clock jumps only for such a one."""
        return _nothing()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


REAL = Clock()


class FastClock(Clock):
    """A clock that runs faster, and may jump to the next deadline when everybody waits.

    "Everybody" are the threads that `start` has started, coroutines between `enter` and `leave`, and those in
    `foreground`. As long as one of them works, time only flows; and without somebody in the foreground it never jumps, or
    what beats in the background would race ahead for ever.

    Args:
        rate: Its seconds per real second.
        jumps: Whether it may jump.
        wall: Unix seconds, where they are not its own: timestamps for a program that keeps real time.
    """

    def __init__(self, rate: float = 1.0, *, jumps: bool = False, wall: Callable[[], float] | None = None) -> None:
        self.rate = rate
        self._jumps = jumps
        self._begun = time.monotonic()
        self._ahead = 0.0  # by how much it has jumped
        self._lock = threading.Lock()
        self._working = 0
        self._foreground = 0
        self._resting: list[tuple[float, int, _FastSignal]] = []  # a heap, by deadline
        self._order = itertools.count()
        self._mine = threading.local()
        self.now = self._now
        began = time.time()
        self.wall = wall or (lambda: began + self._now())

    def _now(self) -> float:
        return self._ahead + (time.monotonic() - self._begun) * self.rate

    def sleep(self, seconds: float) -> None:
        """Sleep in this thread. A test itself that sleeps does not want to wait."""
        with _nothing() if getattr(self._mine, "counts", False) else self.foreground():
            self.signal().wait(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Sleep in an event loop."""
        await self.signal().wait_async(seconds)

    def signal(self) -> Signal:
        """Return a new signal."""
        return _FastSignal(self)

    def start(self, call: Callable[[], object], name: str) -> None:
        """Call in a daemon thread of its own."""

        def work() -> None:
            self._mine.counts = True
            try:
                call()
            finally:
                self.leave()

        self.enter()
        try:
            super().start(work, name)
        except BaseException:
            self.leave()
            raise

    def enter(self) -> None:
        """Count one more who works."""
        with self._lock:
            self._working += 1

    def leave(self) -> None:
        """Count one less; when nobody works any more, time jumps."""
        with self._lock:
            self._working -= 1
            self._jump()

    @contextmanager
    def foreground(self) -> Iterator[None]:
        """Count the caller, for whom time may jump."""
        with self._lock:
            self._foreground += 1
        counted = getattr(self._mine, "counts", False)
        if not counted:
            self._mine.counts = True
            self.enter()
        try:
            yield
        finally:
            with self._lock:
                self._foreground -= 1
            if not counted:
                self._mine.counts = False
                self.leave()

    def rest(self, signal: "_FastSignal", deadline: float, *, counts: bool | None = None) -> None:
        """Note that somebody begins to wait. Called with the lock held."""
        signal.counts = getattr(self._mine, "counts", False) if counts is None else counts
        signal.rests, signal.ahead = True, self._ahead
        heapq.heappush(self._resting, (deadline, next(self._order), signal))
        if signal.counts:
            self._working -= 1
            self._jump()

    def rise(self, signal: "_FastSignal") -> None:
        """Note that it waits no more: at once, not when its thread comes to run. Called with the lock held."""
        if signal.rests:
            signal.rests = False
            self._working += signal.counts
            self._look_at_next()

    def _jump(self) -> None:
        self._look_at_next()
        if self._jumps and self._working == 0 and self._foreground and self._resting:
            deadline, _, signal = heapq.heappop(self._resting)
            self._ahead += max(0.0, deadline - self._now())
            self.rise(signal)
            signal.let_go()

    def _look_at_next(self) -> None:
        """Have the one whose deadline is next wait anew if time has jumped since it began to: it would come too late."""
        while self._resting and not self._resting[0][2].rests:
            heapq.heappop(self._resting)
        if self._resting and self._resting[0][2].ahead != self._ahead:
            self._resting[0][2].let_go()

    def left(self, signal: "_FastSignal", deadline: float) -> float | None:
        """Return how many real seconds of a wait are left, as far as the clock has jumped by now; None once it is over."""
        with self._lock:
            signal.ahead = self._ahead
            seconds = deadline - self._now()
            if signal.rests and seconds > 0:
                return seconds / self.rate
            self.rise(signal)
            return None


class _FastSignal(Signal):
    __slots__ = ("_clock", "_set", "ahead", "counts", "rests")

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        self._set = False
        self.ahead = 0.0  # by how much the clock had jumped when what is left was last worked out
        self.rests = False
        self.counts = False

    def set(self) -> None:
        with self._clock._lock:
            self._set = True
            self._clock.rise(self)
        self.let_go()

    def let_go(self) -> None:
        super().set()

    def wait(self, timeout: float) -> bool:
        deadline = self._rest(timeout)
        while (seconds := self._clock.left(self, deadline)) is not None:
            super().wait(seconds)
        return self._set

    async def wait_async(self, timeout: float) -> bool:
        deadline = self._rest(timeout, counts=True)
        try:
            while (seconds := self._clock.left(self, deadline)) is not None:
                await super().wait_async(seconds)
        except BaseException:  # cancelled: whoever waited goes on at once
            with self._clock._lock:
                self._clock.rise(self)
            raise
        return self._set

    def _rest(self, timeout: float, *, counts: bool | None = None) -> float:
        clock = self._clock
        with clock._lock:
            deadline = clock.now() + max(0.0, timeout)
            if not self._set:
                self._gate.acquire(blocking=False)  # a jump came when the last wait was over already
                clock.rest(self, deadline, counts=counts)
        return deadline
