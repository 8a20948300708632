"""A store that is never down: what cannot be asked of the real one is asked of a spare that this machine's processes share.

While it is down all claims are made in the spare, and what the store still lets be read counts as well. When it is back,
what the spare holds is copied into it. Knows nothing of what the keys mean.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..clock import REAL, Clock
from ..forking import ForkAware
from . import PROBE, Store
from .alive import is_beat
from .late import LateStore
from .spare import Spare
from .values import dump, load

log = logging.getLogger("wx_mp_svr")

LOOK_SECONDS = 0.2  # between two looks at what other processes have found out
REST_SECONDS = 1.0  # between two tries whether the store is back
MAX_REST_SECONDS = 16.0
CALM_SECONDS = 30.0  # after which a fall is the first one again
TELL_SECONDS = 60.0  # between two lines in the log
LATELY_SECONDS = 20.0  # WeChat asks for a push again within 15 s
MAX_LATELY = 10_000
FEW_ITEMS = 10  # are copied so fast that nobody misses them

T = TypeVar("T")


class GuardedStore(ForkAware):
    """Asks *store*, and the spare while that one is down.

    Args:
        store: The real one.
        clock: For what is over, and for looking whether the store is back.
        spare: What takes its place; this process's memory if left out.
    """

    def __init__(self, store: Store, clock: Clock = REAL, spare: Spare | None = None) -> None:
        self._store = store
        self._late = store if isinstance(store, LateStore) else None
        self._clock = clock
        self._spare = spare or Spare()
        self._at_turn: list[Callable[[], None]] = []
        self._tell_after = self._fell_at = -math.inf
        self._rest = REST_SECONDS
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._turning = self._clock.lock()  # the spare is asked under it
        self._down = False  # as far as this process knows
        self._try_at: float  # while it is down, when to see next whether it is back
        self._answers: bool  # and whether it can be read; a locked file and a full disk can
        self._watched = False
        # What this process wrote in the last seconds: key, value, when it ends, when it was written.
        self._lately: deque[tuple[str, Any, float, float]] = deque(maxlen=MAX_LATELY)

    def at_turn(self, call: Callable[[], None]) -> None:
        """Have *call* called when the store has gone down, and when it is back."""
        self._at_turn.append(call)

    @property
    def down(self) -> bool:
        """Whether the store is down: nobody can tell then that a key is nowhere."""
        if not self._down and self._spare.down:  # another process has found it out
            self._go_down(found_out=False)
        return self._down

    # -- the verbs ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        if not self._down:
            try:
                return self._store.get(key)
            except Exception as exc:  # a store of the user's own may raise anything
                self._fall(exc, readable=False)
        kept = self._spare.ask(lambda spare: spare.get(key))
        return kept if kept is not None else self._read(lambda store: store.get(key), None)

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        if not self._down:
            try:
                return self._store.get_many(keys)
            except Exception as exc:
                self._fall(exc, readable=False)
        nothing: dict[str, Any] = {}
        return {
            **self._read(lambda store: store.get_many(keys), nothing),
            **self._spare.ask(lambda spare: spare.get_many(keys)),
        }

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        if not self._down:
            try:
                self._store.set(key, value, ttl)
                self._note(key, value, ttl)
                return
            except Exception as exc:
                self._fall(exc)
        self._spare.ask(lambda spare: spare.set(key, value, ttl))
        if self._came_back():  # and what was copied meanwhile may not have this
            self.set(key, value, ttl)
            if not self._down:
                self._spare.ask(lambda spare: spare.delete(key))

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers that reach the same store."""
        if not self.down:
            won = self._add(key, value, ttl)
            if won is not None:
                return won
        if not self._watched:
            self._watch()
        if self._read(lambda store: store.get(key), None) is not None:
            return False
        won = self._spare.ask(lambda spare: spare.add(key, value, ttl))
        if won and self._came_back():  # perhaps it was copied as ours, perhaps somebody was first in the store
            in_store = None if self._down else self._add(key, value, ttl)
            if in_store is not None:
                self._spare.ask(lambda spare: spare.delete(key))
                return in_store or self._is_ours(key, self.get(key), value)
            # Down again already, and what was copied has left the spare: perhaps somebody was first there since.
            won = self._spare.ask(lambda spare: spare.add(key, value, ttl)) or self._is_ours(
                key, self._spare.ask(lambda spare: spare.get(key)), value
            )
        if won:
            self._note(key, value, ttl)
        return won

    def add_late(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none, for others to see a moment later; false where nothing can be put off."""
        if self._down or self._late is None:
            return False
        self._late.add_late(key, value, ttl)
        self._note(key, value, ttl)  # so that the spare has it if the store goes down first
        return True

    def write_late(self) -> None:
        """Write what was put off. While the store is down it goes on waiting."""
        if self._late is not None and not self._down:
            try:
                self._late.write_late()
            except Exception as exc:
                self._fall(exc)

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        if not self._down:
            try:
                count = self._store.incr(key, ttl)
                self._note(key, count, ttl)
                return count
            except Exception as exc:
                self._fall(exc)
        return self._spare.ask(lambda spare: spare.incr(key, ttl))

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        for key in keys:
            self._note(key, None, 0.0)
        if not self._down:
            try:
                return self._store.delete(*keys)
            except Exception as exc:
                self._fall(exc)
        self._spare.ask(lambda spare: spare.delete(*keys))
        if self._came_back():
            self.delete(*keys)

    def _add(self, key: str, value: Any, ttl: float) -> bool | None:
        """Add in the store; None when it is down. Of an add that failed it may be that only its answer was lost."""
        try:
            won = self._store.add(key, value, ttl)
        except Exception as exc:
            kept = self._look_for(key, exc)
            if kept is None:
                return None
            won = self._is_ours(key, kept, value)
        if won:
            self._note(key, value, ttl)
        return won

    def _look_for(self, key: str, failure: Exception) -> Any:
        try:
            kept = self._store.get(key)
        except Exception:
            self._fall(failure, readable=False)
            return None
        if kept is None:
            self._fall(failure)
        return kept

    def _is_ours(self, key: str, kept: Any, value: Any) -> bool:
        """Whether what is kept was written by the add that failed, and not by an earlier one of this process.

        What comes back from a shared store comes back as JSON has it.
        """
        return kept in (value, load(dump(value))) and key not in self._still_known(self._clock.now())

    def _read(self, question: Callable[[Store], T], nothing: T) -> T:
        """Read what is down, if it lets be read; whether it does again is found out by nobody's push."""
        if not self._answers:
            return nothing
        try:
            return question(self._store)
        except Exception:
            self._answers = False
            return nothing

    def _note(self, key: str, value: Any, ttl: float) -> None:
        """Remember for some seconds what was written: if the store goes down, that is what is asked for next."""
        now = self._clock.now()
        self._lately.append((key, value, now + ttl, now))
        if not self._watched:
            self._watch()

    def _still_known(self, now: float) -> dict[str, tuple[Any, float]]:
        """Return what was written lately and not deleted: value, and seconds that it has left."""
        latest = {key: (value, ends - now) for key, value, ends, _ in self._lately.copy()}
        return {key: (value, left) for key, (value, left) in latest.items() if left > 0}

    # -- down, and back ----------------------------------------------------------------------------------------------

    def _fall(self, exc: Exception, *, readable: bool = True) -> None:
        """Say for all that the store is down."""
        now = self._clock.now()
        with self._lock:
            tell = now >= self._tell_after
            if tell:
                self._tell_after = now + TELL_SECONDS
        if tell:
            log.error(
                "the store is down, and %s takes its place: %s / 存储不能用了，暂时由%s代替：请检查 WX_MP_STORE 指的地方",
                *("a local file", exc, "本机的备用文件")
                if self._spare.shared
                else ("the memory of each process", exc, "各进程的内存"),
            )
        self._go_down(readable=readable)

    def _go_down(self, *, found_out: bool = True, readable: bool = True) -> None:
        """Let the spare have what this process has written lately, before anybody claims there."""
        with self._turning:
            if self._down:
                self._answers = self._answers and readable  # others were on their way when it went down
                return
            now = self._clock.now()
            lately = [(key, value, left) for key, (value, left) in self._still_known(now).items()]
            self._spare.ask(lambda spare: spare.add_all(lately))
            if found_out:
                self._spare.say_down(self._clock.wall() + self._next_rest(now))
            self._answers, self._try_at = readable, now + REST_SECONDS
            self._down = True
        self._watch()
        self._call_at_turn()

    def _next_rest(self, now: float) -> float:
        """Return how long to leave it alone: longer each time, if others call up what is down for us."""
        self._rest = min(2 * self._rest, MAX_REST_SECONDS) if now - self._fell_at < CALM_SECONDS else REST_SECONDS
        self._fell_at = now
        return self._rest

    def _watch(self) -> None:
        """Look from now on what others find out, and whether a store that is down is back."""
        with self._lock:
            if self._watched:
                return
            self._watched = True
        try:
            self._clock.start(self._run, "wx-mp-store")
        except RuntimeError:  # no thread to be had: the next write tries again
            self._watched = False

    def _run(self) -> None:
        while True:
            self._clock.sleep(LOOK_SECONDS)
            if self.down:
                self._try_to_come_back()
                continue
            self.write_late()
            while self._lately and self._clock.now() - self._lately[0][3] > LATELY_SECONDS:
                self._lately.popleft()
            with self._lock:
                self._watched = bool(self._lately)
                if not self._watched:
                    return

    def _try_to_come_back(self) -> None:
        back = not self._spare.down
        if not back and self._clock.now() >= self._try_at and not self._may_rest():
            self._try_at = self._clock.now() + REST_SECONDS
            self._answers = self._answers or self._can_read()
            try:
                self._bring_back()
                back = True
            except Exception as exc:
                log.debug("the store is still down: %s", exc)
        if back:
            self._down = False
            self._call_at_turn()

    def _may_rest(self) -> bool:
        rest = self._spare.until - self._clock.wall()
        return 0.0 < rest <= MAX_REST_SECONDS  # more is a clock that was set

    def _bring_back(self) -> None:
        """Copy what the spare holds into the store, if that takes it; never over what is there."""
        self._store.set(PROBE, 1, 1.0)
        copied: dict[str, None] = {}  # as a set; that name is a verb here
        while self._copy(copied) > FEW_ITEMS:  # for as long as that takes, more comes
            pass
        self._spare.say_up()
        try:
            self._copy(copied)  # who looked before that may have written behind the last copy
        except BaseException:
            self._spare.say_down(self._clock.wall() + REST_SECONDS)
            self._down = True
            raise
        self._spare.ask(lambda spare: spare.delete(*copied))
        log.warning("the store answers again; %d items were copied into it / 存储恢复了", len(copied))

    def _can_read(self) -> bool:
        try:
            self._store.get(PROBE)
        except Exception:
            return False
        return True

    def _copy(self, copied: dict[str, None]) -> int:
        """Copy what is not yet among *copied*; return how much that was."""
        items = [item for item in self._spare.ask(lambda spare: spare.items()) if item[0] not in copied]
        for key, value, ttl in items:
            if not is_beat(key):
                self._store.add(key, value, ttl)
            copied[key] = None
        return len(items)

    def _came_back(self) -> bool:
        """Whether the store is back since the spare was written to."""
        if self._spare.down:
            return False
        self._down = False
        self._call_at_turn()
        return True

    def _call_at_turn(self) -> None:
        for call in self._at_turn:
            try:
                call()
            except Exception:
                log.exception("a bug of wx-mp-svr")
