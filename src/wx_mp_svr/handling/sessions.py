"""Keeps sessions in the store, and gives each user's to one handler at a time.

First the turn in this process, then the lock in the store: so of all who wait here only one asks the store. Knows nothing
of messages, replies or HTTP.
"""

import json
import logging
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..clock import Clock, Signal
from ..config import Settings
from ..errors import SessionBusy
from ..forking import ForkAware
from ..session import Held, Session, User
from ..store import Store, digest
from ..store.alive import Alive
from .workers import Loop

log = logging.getLogger("wx_mp_svr")

LOOK_SECONDS = 0.1  # between two tries to lock


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

    @property
    def down(self) -> bool:
        """Whether the store is down, and a guarded one remembers in this process only."""
        return bool(getattr(self.store, "down", False))

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
            for pause in held.lock():
                self.clock.sleep(pause)
            return held.read()
        except BaseException:
            held.give_up()
            raise

    async def hold_async(self, user: User) -> "_Held":
        """Wait for it in the event loop."""
        held = self._begin(user, in_thread=False)
        try:
            await held.turn.wait_async(held.until - self.clock.now())
            steps = held.lock()
            while (pause := await self._loop.aside(next, steps, None)) is not None:
                await self.clock.sleep_async(pause)
            return await self._loop.aside(held.read)
        except BaseException:
            held.give_up()
            raise

    async def release_async(self, held: Held, *, save: bool) -> None:
        """Release what is held, without blocking the event loop."""
        await self._loop.aside(partial(held.release, save=save))

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

    def lock(self, key: str, mine: str, turn: "Turn", until: float) -> Iterator[float]:
        """Try to lock; between two tries the caller waits for as many seconds as this yields.

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
        while not self.store.add(lock, mine, self.settings.keep_answers):
            holder = self.store.get(lock)
            process = holder.split()[0] if isinstance(holder, str) else ""
            # Since it is our turn, a lock in our own name was left behind: the store was down when it should have gone.
            lost = bool(process) and (process == self._alive.process or self._alive.is_lost(process))
            # Of all who find a lock without its owner only one may take it over.
            if lost and self.store.add(f"{key}:{holder}", 1, 60.0):
                log.warning("took over req.session from a handler that is gone")
                self.store.set(lock, mine, self.settings.keep_answers)
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

    def lock(self) -> Iterator[float]:
        return self._sessions.lock(self._key, self._mine, self.turn, self.until)

    def read(self) -> "_Held":
        # As text: what the memory store gave out would be the object itself, changed even when the handler raises.
        sessions, self._place = self._sessions, self._key
        was_down, kept = sessions.down, sessions.store.get(self._place)
        if was_down or sessions.down:
            # Nobody can tell what it holds: what begins meanwhile must not replace that as soon as the store is back.
            self._place += ":meanwhile"
            kept = sessions.store.get(self._place)
        self.data = json.loads(kept) if kept else {}
        return self

    def release(self, *, save: bool) -> None:
        if not self._sessions.has(self._key, self.turn):
            return
        store, lock = self._sessions.store, f"{self._key}:lock"
        try:
            if store.get(lock) != self._mine:
                log.error("req.session was taken over, or the store was down; what this handler changed is lost")
                return
            try:
                if save:
                    self._write()
            finally:
                store.delete(lock)
        finally:
            self._sessions.leave(self._key, self.turn)

    def _write(self) -> None:
        sessions = self._sessions
        if not self.data:
            sessions.store.delete(self._place)
            return
        try:
            kept = json.dumps(self.data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise TypeError(f"req.session holds what JSON does not have: {exc}") from exc
        sessions.store.set(self._place, kept, sessions.settings.keep_sessions)

    def give_up(self) -> None:
        store, lock = self._sessions.store, f"{self._key}:lock"
        try:
            if self.turn.has_come and store.get(lock) == self._mine:  # what went wrong came later
                store.delete(lock)
        finally:
            self._sessions.leave(self._key, self.turn)
