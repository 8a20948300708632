"""`req.session`: what a bot remembers of one user of one account, kept in the store.

Locked from the first touch, so that two messages of one user do not overwrite each other, in whatever process their
handlers run. Whoever does not touch it never waits. Knows nothing of messages, replies or HTTP.
"""

import asyncio
import hashlib
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, MutableMapping
from concurrent.futures import Future, wait
from typing import Any

from .config import Settings
from .errors import SessionBusy
from .forking import ForkAware
from .store import Store
from .watcher import Heartbeat, alive_key

log = logging.getLogger("wx_mp_svr")


class Sessions(ForkAware):
    """The sessions of this process's runs.

    Args:
        store: Shared with whoever else runs handlers.
        settings: How long to keep and to wait.
        heartbeat: Tells others that this process lives, and its locks with it.
    """

    def __init__(self, store: Store, settings: Settings, heartbeat: Heartbeat) -> None:
        self.store = store
        self.settings = settings
        self._heartbeat = heartbeat
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        # By key, who wants it here, in the order of coming; the first one has it. So only one of them asks the store.
        self._turns: dict[str, deque[Future[None]]] = {}

    @property
    def busy(self) -> bool:
        """Whether this process holds or wants any lock."""
        return bool(self._turns)

    @property
    def down(self) -> bool:
        """Whether the store is down, and a guarded one remembers in this process only."""
        return bool(getattr(self.store, "down", False))

    def of(self, account: str, openid: str) -> "Session":
        """Return the session of a user; nothing is locked or read yet."""
        return Session(self, account, openid)

    # -- the turn in this process, then the lock in the store ----------------------------------------------------------

    def queue(self, key: str, *, in_thread: bool) -> "Future[None]":
        """Stand in line; the future is done when it is our turn.

        Raises:
            SessionBusy: One user would keep half of the threads waiting, which others need.
        """
        turn: Future[None] = Future()
        with self._lock:
            turns = self._turns.setdefault(key, deque())
            if in_thread and len(turns) > max(1, self.settings.max_jobs // 2):
                raise SessionBusy("too many messages of this user wait for req.session")
            turns.append(turn)
            if len(turns) == 1:
                turn.set_result(None)
        self._heartbeat.wake()
        return turn

    def leave(self, key: str, turn: "Future[None]") -> None:
        """Give the turn to the next, or stop waiting for it."""
        with self._lock:
            turns = self._turns[key]
            turns.remove(turn)
            if not turns:
                del self._turns[key]
            elif not turns[0].done():
                turns[0].set_result(None)

    def has(self, key: str, turn: "Future[None]") -> bool:
        """Whether the turn was taken in this process: a forked child has a copy of what its parent's handlers hold."""
        with self._lock:
            return turn in self._turns.get(key, ())

    def lock(self, key: str, mine: str, turn: "Future[None]", until: float) -> Iterator[float]:
        """Try to lock; between two tries the caller waits for as many seconds as this yields.

        Args:
            key: The session's.
            mine: What to write into the lock: this process, and something that nobody else writes.
            turn: What the caller has waited for.
            until: When to give up, monotonic.

        Raises:
            SessionBusy: Time is over.
        """
        if not turn.done():
            raise SessionBusy("other messages of this user have waited for req.session for too long")
        lock, patience = f"{key}:lock", 1.5 * self.settings.beat  # a process's first beat may come late
        suspect, since = None, 0.0
        while not self.store.add(lock, mine, self.settings.keep_answers):
            now, holder = time.monotonic(), self.store.get(lock)
            if holder is None or self._lives(holder):
                suspect = None
            elif holder != suspect:
                suspect, since = holder, now
            # Of all who find a lock without its owner only one may take it over.
            elif now - since > patience and self.store.add(f"{key}:{holder}", 1, 60.0):
                log.warning("took over req.session from a handler that is gone")
                self.store.set(lock, mine, self.settings.keep_answers)
                return
            # Whoever is about to find out finds out, or with a short `session_wait` nobody ever would.
            if now > (until if suspect is None else max(until, since + 2 * patience)):
                raise SessionBusy("other handlers have kept req.session of this user for too long")
            yield min(0.1, self.settings.beat)

    def _lives(self, holder: str) -> bool:
        # Since it is our turn, a lock in our own name was left behind: the store was down when it should have gone.
        process = holder.split()[0]
        return process != self._heartbeat.process and self.store.get(alive_key(process)) is not None

    def name(self) -> str:
        """Return what to write into a lock."""
        return f"{self._heartbeat.process} {secrets.token_hex(8)}"


class Session(MutableMapping[str, Any]):
    """What a bot remembers of one user: a dict of JSON values, kept for 7 days after it was last written (`keep_sessions`).

    The first touch locks and reads it; when the handler returns it is written, and when the handler raises it is not. So
    two messages of one user never overwrite each other; the second waits, and after 30 s (`session_wait`) its user gets the
    busy text. A handler that takes long should keep it only for a moment::

        with req.session as session:  # in an `async def`: async with
            history = session.get("history", [])

    It is written and unlocked at the end of the (outermost) block, not written when the block raises, and may be locked
    again later.

    Raises:
        RuntimeError: Touched in an ``async def`` without ``async with``, where waiting would stop all other handlers, or
            after the handler has returned.
        TypeError: A key is no str, or a value is not what JSON has.
    """

    __slots__ = ("_data", "_depth", "_key", "_mine", "_over", "_place", "_sessions", "_turn", "_user")

    def __init__(self, sessions: Sessions, account: str, openid: str) -> None:
        self._sessions = sessions
        self._user = (account, openid)
        self._data: dict[str, Any] | None = None  # while it is locked
        self._depth = 0  # of `with` blocks
        self._over = False

    def __getitem__(self, name: str) -> Any:
        return self._touch()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a key of req.session is a str, not {type(name).__name__}")
        self._touch()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._touch()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._touch())

    def __len__(self) -> int:
        return len(self._touch())

    def __repr__(self) -> str:
        """Show it without touching it."""
        return f"<Session {'not locked' if self._data is None else self._data}>"

    def __enter__(self) -> "Session":
        self._hold()
        self._depth += 1
        return self

    async def __aenter__(self) -> "Session":
        if self._data is None:
            turn, mine, until = self._begin(in_thread=False)
            try:
                # Not wait_for: it cancels what it waits for, and before Python 3.12 may swallow that we are cancelled.
                await asyncio.wait([asyncio.wrap_future(turn)], timeout=until - time.monotonic())
                for pause in self._sessions.lock(self._key, mine, turn, until):
                    await asyncio.sleep(pause)
                self._read(turn, mine)
            except BaseException:
                self._give_up(turn, mine)
                raise
        self._depth += 1
        return self

    def __exit__(self, kind: Any, exc: Any, trace: Any) -> None:
        self._depth -= 1
        if self._depth <= 0:
            self.release(save=exc is None)

    async def __aexit__(self, kind: Any, exc: Any, trace: Any) -> None:
        self.__exit__(kind, exc, trace)

    def release(self, *, save: bool = True) -> None:
        """Write and unlock it, if it is locked; the next touch locks and reads it again.

        Args:
            save: False to forget what was changed.
        """
        data, self._data, self._depth = self._data, None, 0
        if data is None or not self._sessions.has(self._key, self._turn):
            return
        store, lock = self._sessions.store, f"{self._key}:lock"
        try:
            if store.get(lock) != self._mine:
                log.error("req.session was taken over, or the store was down; what this handler changed is lost")
                return
            try:
                if save:
                    self._write(data)
            finally:
                store.delete(lock)
        finally:
            self._sessions.leave(self._key, self._turn)

    def finish(self, *, save: bool = True) -> None:
        """The handler has come to its end: from now on nobody would unlock what is touched."""
        self._over = True
        self.release(save=save)

    def _touch(self) -> dict[str, Any]:
        if self._data is None and self._over:
            raise RuntimeError("the handler has returned; use `with req.session:` here")
        return self._hold()

    def _hold(self) -> dict[str, Any]:
        if self._data is not None:
            return self._data
        if _in_loop():
            raise RuntimeError("an async def must not block all others: use `async with req.session as session:`")
        turn, mine, until = self._begin(in_thread=True)
        try:
            wait([turn], timeout=until - time.monotonic())
            for pause in self._sessions.lock(self._key, mine, turn, until):
                time.sleep(pause)
            return self._read(turn, mine)
        except BaseException:
            self._give_up(turn, mine)
            raise

    def _begin(self, *, in_thread: bool) -> "tuple[Future[None], str, float]":
        self._key = "s:" + hashlib.sha256(repr(self._user).encode()).hexdigest()[:32]
        until = time.monotonic() + self._sessions.settings.session_wait
        return self._sessions.queue(self._key, in_thread=in_thread), self._sessions.name(), until

    def _read(self, turn: "Future[None]", mine: str) -> dict[str, Any]:
        # As text: what the memory store gave out would be the object itself, changed even when the handler raises.
        sessions, self._place = self._sessions, self._key
        was_down, kept = sessions.down, sessions.store.get(self._place)
        if was_down or sessions.down:
            # Nobody can tell what it holds: what begins meanwhile must not replace that as soon as the store is back.
            self._place += ":meanwhile"
            kept = sessions.store.get(self._place)
        data: dict[str, Any] = json.loads(kept) if kept else {}
        self._turn, self._mine, self._data = turn, mine, data
        return data

    def _write(self, data: dict[str, Any]) -> None:
        sessions = self._sessions
        if not data:
            sessions.store.delete(self._place)
            return
        try:
            kept = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise TypeError(f"req.session holds what JSON does not have: {exc}") from exc
        sessions.store.set(self._place, kept, sessions.settings.keep_sessions)

    def _give_up(self, turn: "Future[None]", mine: str) -> None:
        store, lock = self._sessions.store, f"{self._key}:lock"
        try:
            if turn.done() and store.get(lock) == mine:  # what went wrong came later
                store.delete(lock)
        finally:
            self._sessions.leave(self._key, turn)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
