"""One thread at a time: who runs next is drawn from a seed, and time jumps to the next deadline when everybody waits.

The baton changes hands only in a clock and in the verbs of a store, so that a seed replays exactly. A `Stage` has the
threads; each process lives by a `BatonClock` of its own on it, and dies with all threads that this clock has started.
They are greenlets: of a system's threads, whose baton costs a hundred times as much, a test can play a few seeds only.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from wx_mp_svr.clock import Clock, Signal
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.values import dump, load

EPOCH = 1_700_000_000.0
MAX_STEPS = 1_000_000  # of one schedule


class StuckError(AssertionError):
    """Everybody waits, and nobody ever comes."""


class Actor:
    """One thread on the stage."""

    def __init__(self, number: int, name: str, clock: "BatonClock | None", call: Callable[[], object]) -> None:
        self.number = number
        self.name = name
        self.clock = clock
        self.thread = greenlet(call)
        self.rest = 0  # which of its rests it is in; an older deadline does not wake it


class Stage:
    """All threads of one schedule.

    Args:
        seed: Whence all choices come.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.time = 0.0
        self.story: list[str] = []
        self._ready: list[Actor] = []
        self._deadlines: list[tuple[float, int, Actor, int]] = []
        self._order = 0
        self._actors: list[Actor] = []
        self._me: Actor | None = None
        self._foreground = 0
        self.over = False
        self.failure: BaseException | None = None

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.time:9.3f}  {line}")

    @property
    def me(self) -> Actor:
        assert self._me is not None
        return self._me

    def start(self, call: Callable[[], object], name: str, clock: "BatonClock | None", *, foreground: bool) -> None:
        """Put one more thread on the stage; it runs when it is drawn."""

        def run() -> None:
            try:
                call()
            except GreenletExit:  # its process was killed, or the schedule is over
                return
            except BaseException as exc:  # a bug of the simulation or of what it simulates
                self.failure = self.failure or exc
            self._foreground -= foreground

        actor = Actor(len(self._actors), name, clock, run)
        self._actors.append(actor)
        self._foreground += foreground
        self._ready.append(actor)

    def run(self) -> None:
        """Play until everybody in the foreground has come to an end."""
        self._stage = getcurrent()
        steps = 0
        while self._foreground > 0 and self.failure is None and steps < MAX_STEPS:
            steps += 1
            self._me = self._draw()
            self._me.thread.parent = self._stage
            self._me.thread.switch()
        self.over = True
        for actor in self._actors:
            self._me = actor
            actor.thread.throw()
        if self.failure is not None:
            raise self.failure
        if steps == MAX_STEPS:
            raise StuckError("the schedule does not end")

    def switch(self) -> None:
        """Let somebody else run, perhaps."""
        if not self.over:
            self._ready.append(self.me)
            self._stage.switch()

    def rest(self, deadline: float | None) -> None:
        """Wait until woken, or until *deadline*."""
        if self.over:
            raise GreenletExit
        me = self.me
        me.rest += 1
        if deadline is not None:
            self._order += 1
            heapq.heappush(self._deadlines, (deadline, self._order, me, me.rest))
        self._stage.switch()

    def wake(self, actor: Actor) -> None:
        """Let one who rests run again."""
        actor.rest += 1
        if actor.clock is None or not actor.clock.dead:
            self._ready.append(actor)

    def kill(self, clock: "BatonClock") -> None:
        """End a process: none of its threads is ever drawn again."""
        clock.dead = True
        self._ready = [actor for actor in self._ready if actor.clock is not clock]

    def _draw(self) -> Actor:
        while not self._ready:
            if not self._deadlines:
                raise StuckError("everybody waits for ever")
            deadline, _, actor, rest = heapq.heappop(self._deadlines)
            if actor.rest == rest and not (actor.clock is not None and actor.clock.dead):
                self.time = max(self.time, deadline)
                self.wake(actor)
        self._ready.sort(key=lambda actor: actor.number)
        return self._ready.pop(self.random.randrange(len(self._ready)))


class BatonClock(Clock):
    """The clock of one process, or of everybody else.

    Args:
        stage: Where its threads play.
        skew: By how much its wall clock is off, in seconds.
    """

    def __init__(self, stage: Stage, skew: float = 0.0) -> None:
        self.stage = stage
        self.skew = skew
        self.dead = False
        self.now = lambda: self.stage.time
        self.wall = lambda: EPOCH + self.stage.time + self.skew

    def sleep(self, seconds: float) -> None:
        """Sleep; a little longer than asked, as everywhere."""
        self.stage.rest(self.stage.time + max(0.0, seconds) + 1e-6)

    def signal(self) -> Signal:
        """Return a signal whose waiting is drawn."""
        return _BatonSignal(self.stage)

    def lock(self) -> Any:
        """Return a lock that may be held while the baton changes hands."""
        return _BatonLock(self.stage)

    def start(self, call: Callable[[], object], name: str) -> None:
        """Start a thread of this process."""
        self.stage.start(call, name, self, foreground=False)


class _BatonSignal(Signal):
    __slots__ = ("_is_set", "_stage", "_waits")

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._is_set = False
        self._waits: Actor | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waits is not None:
            waits, self._waits = self._waits, None
            self._stage.wake(waits)

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            self._waits = self._stage.me
            self._stage.rest(self._stage.time + max(0.0, timeout) + 1e-6)
            self._waits = None
        return self._is_set


class _BatonLock:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._owner: Actor | None = None
        self._depth = 0
        self._waits: list[Actor] = []

    def __enter__(self) -> "_BatonLock":
        me = self._stage.me
        while self._owner is not None and self._owner is not me:
            self._waits.append(me)
            self._stage.rest(None)
        self._owner = me
        self._depth += 1
        return self

    def __exit__(self, *_: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            if self._waits:
                self._stage.wake(self._waits.pop(0))


class SharedStore(MemoryStore):
    """What several processes see keeps JSON: a tuple comes back as a list."""

    def _put(self, key: str, value: Any, end: float, now: float) -> None:
        super()._put(key, load(dump(value)), end, now)


VERBS = ("get", "get_many", "set", "add", "add_all", "incr", "delete")


class BatonStore:
    """A store in front of each of whose verbs the baton may change hands."""

    def __init__(self, store: Any, stage: Stage) -> None:
        def verb(call: Callable[..., Any]) -> Callable[..., Any]:
            def gated(*args: Any) -> Any:
                stage.switch()
                return call(*args)

            return gated

        for name in VERBS:
            setattr(self, name, verb(getattr(store, name)))


READS = ("get", "get_many")


class FailingStore(BatonStore):
    """What one process sees of a store that may be down.

    Args:
        store: The store that all processes share.
        clock: The process's.
        fault: Tells which fault it has for this process at the moment, "" for none.
    """

    def __init__(self, store: Any, clock: BatonClock, fault: Callable[[], str]) -> None:
        super().__init__(store, clock.stage)

        def verb(name: str) -> Callable[..., Any]:
            call = getattr(self, name)

            def ask(*args: Any) -> Any:
                match "" if clock.stage.over else fault():  # then nobody can wait for it any more
                    case "down":
                        clock.sleep(0.3)
                        raise StoreError("down")
                    case "full" if name not in READS:
                        clock.sleep(0.5)
                        raise StoreError("full")
                    case "deaf":
                        call(*args)
                        clock.sleep(0.3)
                        raise StoreError("it did it, but its answer was lost")
                    case "slow":
                        clock.sleep(0.05)
                return call(*args)

            return ask

        for name in VERBS:
            setattr(self, name, verb(name))


class BatonSpare:
    """What takes a store's place, for all processes of one machine."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._store = SharedStore(clock=lambda: stage.time)
        self.shared = True
        self.down = False
        self.until = 0.0
        self.fell: list[float] = []  # when

    def say_down(self, until: float) -> None:
        """Give a verdict for all."""
        self._stage.switch()
        self.fell.append(self._stage.time)
        self._stage.tell("the store counts as down")
        self.down, self.until = True, until

    def say_up(self) -> None:
        """Take it back."""
        self._stage.switch()
        self._stage.tell("the store counts as up")
        self.down = False

    def ask(self, question: Callable[[SharedStore], Any]) -> Any:
        """Ask it."""
        self._stage.switch()
        return question(self._store)


@contextmanager
def nothing() -> Iterator[None]:
    """The application context of a simulated process."""
    yield
