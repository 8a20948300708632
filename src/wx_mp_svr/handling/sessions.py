"""Keeps sessions in the store, and gives each user's to one handler at a time.

First the turn in this process, then the lock in the store: so of all who wait here only one asks the store. While the store
is down they wait for it: a session that began empty, or lost what it learned, would be worse. Knows nothing of messages,
replies or HTTP.
"""

import json
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from ..clock import Clock, Signal
from ..config import Settings
from ..errors import SessionBusy
from ..forking import ForkAware
from ..session import Held, Session, User
from ..store import PROBE, Store, digest
from ..store.alive import Alive
from .workers import Loop

log = logging.getLogger("wx_mp_svr")

LOOK_SECONDS = 0.1  # between two tries to lock
DOWN_SECONDS = 0.3  # between two questions to a store that is down
SETTLE_SECONDS = 0.1  # in which it has done what was asked of it while it hung

T = TypeVar("T")

Steps = Generator[float, None, T]
"""Asks the store; between two questions the caller waits for as many seconds as this yields."""


def session_key(user: User) -> str:
    """Return where a user's session is kept."""
    return "s:" + digest(*user)


class Sessions(ForkAware):
    """The sessions of this process's runs.

    Args:
        store: Shared with whoever else runs handlers.
        settings: How long to keep and to wait.
        alive: Tells others that this process lives, and its locks with it.
        loop: Where coroutines run: waiting there, or asking the store, would stop all other handlers.
        clock: For waiting.
    """

    def __init__(self, store: Store, settings: Settings, alive: Alive, loop: Loop, clock: Clock) -> None:
        self.store = store
        self.settings = settings
        self._loop = loop
        self.clock = clock
        self._alive = alive
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        # By key, who wants it here, in the order of coming; the first one has it. So only one of them asks the store.
        self._turns: dict[str, deque[Turn]] = {}

    @property
    def busy(self) -> bool:
        """Whether this process holds or wants any lock."""
        return bool(self._turns)

    def of(self, account: str, openid: str) -> Session:
        """Return the session of a user; nothing is locked or read yet."""
        return Session(self, (account, openid))

    def hold(self, user: User) -> "_Held":
        """Wait for the lock of a user's session in this thread."""
        if self._loop.inside():
            raise RuntimeError("an async def must not block all others: use `async with req.session as session:`")
        held = self._begin(user, in_thread=True)
        try:
            held.turn.wait(held.until - self.clock.now())
            self._walk(held.lock())
            return held
        except BaseException:
            self._walk(held.give_up())
            raise

    async def hold_async(self, user: User) -> "_Held":
        """Wait for it in the event loop."""
        held = self._begin(user, in_thread=False)
        try:
            await held.turn.wait_async(held.until - self.clock.now())
            await self._walk_async(held.lock())
            return held
        except BaseException:
            await self._walk_async(held.give_up())
            raise

    def release(self, held: Held, *, save: bool) -> None:
        """Release what is held."""
        self._walk(held.release(save=save))

    async def release_async(self, held: Held, *, save: bool) -> None:
        """Release it without blocking the event loop."""
        await self._walk_async(held.release(save=save))

    def _walk(self, steps: Steps[None]) -> None:
        for pause in steps:
            self.clock.sleep(pause)

    async def _walk_async(self, steps: Steps[None]) -> None:
        while (pause := await self._loop.aside(next, steps, None)) is not None:
            await self.clock.sleep_async(pause)

    def ask(self, question: Callable[[], T], until: float, again: Callable[[], T] | None = None) -> Steps[T]:
        """Ask the store; if that fails, once more when it answers again.

        A server that hung has still read what nobody waits for any more, and does it when it goes on. What we write next
        must not come before that.

        Args:
            question: Asks it.
            until: When to give up, by the clock.
            again: What to ask after a failure, if that is not the same.

        Raises:
            SessionBusy: Time is over.
        """
        while True:
            try:
                return question()
            except Exception as exc:  # a store of the user's own may raise anything
                self._give_up_after(until, exc)
            while True:
                yield DOWN_SECONDS
                try:
                    self.store.get(PROBE)
                    break
                except Exception as exc:
                    self._give_up_after(until, exc)
            yield SETTLE_SECONDS
            question = again or question

    def _give_up_after(self, until: float, exc: Exception) -> None:
        if self.clock.now() >= until:
            raise SessionBusy("the store is down, and req.session with it") from exc

    def _begin(self, user: User, *, in_thread: bool) -> "_Held":
        key = session_key(user)
        until = self.clock.now() + self.settings.session_wait
        return _Held(self, key, self.queue(key, in_thread=in_thread), until)

    # -- the turn in this process, then the lock in the store ----------------------------------------------------------

    def queue(self, key: str, *, in_thread: bool) -> "Turn":
        """Stand in line.

        Raises:
            SessionBusy: One user would keep half of the threads waiting, which others need.
        """
        turn = Turn(self.clock.signal())
        with self._lock:
            turns = self._turns.setdefault(key, deque())
            if in_thread and len(turns) > max(1, self.settings.max_jobs // 2):
                raise SessionBusy("too many messages of this user wait for req.session")
            turns.append(turn)
            if len(turns) == 1:
                turn.come()
        self._alive.wake()
        return turn

    def leave(self, key: str, turn: "Turn") -> None:
        """Give the turn to the next, or stop waiting for it."""
        with self._lock:
            turns = self._turns[key]
            turns.remove(turn)
            if not turns:
                del self._turns[key]
            elif not turns[0].has_come:
                turns[0].come()

    def has(self, key: str, turn: "Turn") -> bool:
        """Whether the turn was taken in this process: a forked child has a copy of what its parent's handlers hold."""
        with self._lock:
            return turn in self._turns.get(key, ())

    def lock(self, key: str, mine: str, turn: "Turn", until: float) -> Steps[None]:
        """Lock.

        Args:
            key: The session's.
            mine: What to write into the lock: this process, and something that nobody else writes.
            turn: What the caller has waited for.
            until: When to give up, by the clock.

        Raises:
            SessionBusy: Time is over.
        """
        if not turn.has_come:
            raise SessionBusy("other messages of this user have waited for req.session for too long")
        lock = f"{key}:lock"
        keep = self.settings.keep_answers
        while not (yield from self.ask(lambda: self.store.add(lock, mine, keep), until)):
            holder = yield from self.ask(lambda: self.store.get(lock), until)
            if holder == mine:  # only the answer was lost
                return
            process = holder.split()[0] if isinstance(holder, str) else ""
            # Since it is our turn, a lock in our own name was left behind: the store was down when it should have gone.
            lost = bool(process) and (process == self._alive.process or self._alive.is_lost(process))
            # Of all who find a lock without its owner only one may take it over.
            taken = f"{key}:{holder}"
            if lost and (yield from self.ask(lambda: self.store.add(taken, 1, 60.0), until)):  # noqa: B023 (asked at once)
                log.warning("took over req.session from a handler that is gone")
                yield from self.ask(lambda: self.store.set(lock, mine, keep), until)
                return
            # Who is about to find out whether a process is gone waits for that: with a short `session_wait` nobody would.
            finding_out = not lost and self._alive.suspects(process)
            if self.clock.now() > until and not finding_out:
                raise SessionBusy("other handlers have kept req.session of this user for too long")
            yield LOOK_SECONDS

    def name(self) -> str:
        """Return what to write into a lock."""
        return f"{self._alive.process} {secrets.token_hex(8)}"


class Turn:
    """One place in the line for a session.

    Attributes:
        has_come: Whether it is this one's turn.
    """

    __slots__ = ("_signal", "has_come")

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self.has_come = False

    def come(self) -> None:
        """It is this one's turn."""
        self.has_come = True
        self._signal.set()

    def wait(self, seconds: float) -> None:
        """Wait for it in a thread."""
        if not self.has_come:
            self._signal.wait(seconds)

    async def wait_async(self, seconds: float) -> None:
        """Wait for it in the event loop."""
        if not self.has_come:
            await self._signal.wait_async(seconds)


class _Held:
    """One stay in the line for a session: waiting, then holding it.

    Attributes:
        turn: Our place in this process's line.
        until: When to give up, by the clock.
        data: What the session holds.
    """

    __slots__ = ("_key", "_mine", "_place", "_sessions", "data", "turn", "until")

    def __init__(self, sessions: Sessions, key: str, turn: Turn, until: float) -> None:
        self._sessions = sessions
        self._key = key
        self._mine = sessions.name()
        self.turn = turn
        self.until = until
        self.data: dict[str, Any] = {}

    def lock(self) -> Steps[None]:
        """Lock the session, then read it."""
        sessions = self._sessions
        yield from sessions.lock(self._key, self._mine, self.turn, self.until)
        # As text: what the memory store gave out would be the object itself, changed even when the handler raises.
        kept = yield from sessions.ask(lambda: sessions.store.get(self._key), self.until)
        self.data = json.loads(kept) if kept else {}

    def release(self, *, save: bool) -> Steps[None]:
        sessions, lock = self._sessions, f"{self._key}:lock"
        if not sessions.has(self._key, self.turn):
            return
        until = sessions.clock.now() + sessions.settings.session_wait
        try:
            if (yield from sessions.ask(lambda: sessions.store.get(lock), until)) != self._mine:
                log.error("req.session was taken over, or the store forgot it; what this handler changed is lost")
                return
            try:
                if save:
                    write = self._writing()
                    yield from sessions.ask(write, until)
            finally:
                # Once more only if it is still ours: the next one may have it, since the first time was done after all.
                yield from sessions.ask(lambda: sessions.store.delete(lock), until, again=lambda: self._unlock(lock))
        finally:
            sessions.leave(self._key, self.turn)

    def _unlock(self, lock: str) -> None:
        if self._sessions.store.get(lock) == self._mine:
            self._sessions.store.delete(lock)

    def _writing(self) -> Callable[[], None]:
        store, key = self._sessions.store, self._key
        if not self.data:
            return lambda: store.delete(key)
        try:
            kept = json.dumps(self.data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise TypeError(f"req.session holds what JSON does not have: {exc}") from exc
        return lambda: store.set(key, kept, self._sessions.settings.keep_sessions)

    def give_up(self) -> Steps[None]:
        sessions, lock = self._sessions, f"{self._key}:lock"
        try:
            if self.turn.has_come:  # what went wrong came later
                now = sessions.clock.now()
                yield from sessions.ask(lambda: self._unlock(lock), now)
        except SessionBusy:
            pass  # a lock in our own name does not keep anybody of this process
        finally:
            sessions.leave(self._key, self.turn)
