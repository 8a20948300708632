"""The store in a file: shared by the workers of one machine, and still there after a restart."""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError, UnfitStoreError
from ..forking import ForkAware
from .secure import move_aside, secure
from .values import dump, load

log = logging.getLogger("wx_mp_svr")

BUSY_SECONDS = 0.5
READERS = 4
LOOK_SECONDS = 0.1  # between two looks whether the file is still there
SWEEP_EVERY = 500  # writes
SWEEP_ITEMS = 2000  # looked at each time: four for each write, so that the table cannot outgrow the sweep

LAST_KEY = "\U0010ffff"

T = TypeVar("T")

# No index on `ends`: it costs each write a second page, a third of the time.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (key TEXT PRIMARY KEY, value TEXT NOT NULL, ends REAL NOT NULL) WITHOUT ROWID
"""
_ADD = """
INSERT INTO item (key, value, ends) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends WHERE ends <= ?
"""
_GET = "SELECT value FROM item WHERE key = ? AND ends > ?"
_INCR = """
INSERT INTO item (key, value, ends) VALUES (?, '1', ?)
ON CONFLICT (key) DO UPDATE SET
    value = CASE WHEN ends <= ? THEN '1' ELSE CAST(CAST(value AS INTEGER) + 1 AS TEXT) END,
    ends = CASE WHEN ends <= ? THEN excluded.ends ELSE ends END
"""


class SQLiteStore:
    """Items in an SQLite database (WAL), opened at first use and once per process.

    Attributes:
        path: The database file, from the root.

    Args:
        path: The database file; made with mode 0600, since it holds users' messages.
        max_keys: Over it, what would end soonest is dropped.
        busy_seconds: How long to wait for other processes that hold the file.
        clock: The system's clock: the only one that processes and restarts share.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_keys: int = 1_000_000,
        *,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self._max_keys = max_keys
        self._clock = clock
        self._writes = 0
        self._swept, self._counted = "", 0  # how far the sweep is, and how many items it has seen on its way
        # In WAL a reader never waits for a writer; on one connection it would. Several readers, opened when needed:
        # in a crowd each has to wait for its turn to go on in Python, and meanwhile all others would wait for it.
        self._reads = 0
        self._readers = [_Connection(self.path, busy_seconds) for _ in range(READERS)]
        self._writer = _Connection(self.path, busy_seconds)

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        rows = self._read(_GET, (key, self._clock()))
        return load(rows[0][0]) if rows else None

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        found: dict[str, Any] = {}
        for start in range(0, len(keys), 500):  # SQLite allows 999 parameters
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            select = f"SELECT key, value FROM item WHERE key IN ({marks}) AND ends > ?"  # noqa: S608 (only question marks)
            found.update((key, load(value)) for key, value in self._read(select, (*part, self._clock())))
        return {key: value for key, value in found.items() if value is not None}

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        self._write(
            "INSERT OR REPLACE INTO item (key, value, ends) VALUES (?, ?, ?)", (key, dump(value), self._clock() + ttl)
        )

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers."""
        now = self._clock()
        return self._write(_ADD, (key, dump(value), now + ttl, now)) == 1

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""
        now = self._clock()

        def count(database: sqlite3.Connection) -> int:
            database.execute(_INCR, (key, now + ttl, now, now))
            (value,) = database.execute("SELECT value FROM item WHERE key = ?", (key,)).fetchone()
            return int(value)

        return self._transact(count)

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        if len(keys) == 1:
            self._write("DELETE FROM item WHERE key = ?", keys)
        elif keys:
            self._transact(
                lambda database: database.executemany("DELETE FROM item WHERE key = ?", [(key,) for key in keys])
            )

    def add_all(self, items: Sequence[tuple[str, Any, float]]) -> bool:
        """Add each of (key, value, ttl) of which there is none, in one transaction; true if that was so of the last one."""
        now = self._clock()
        rows = [(key, dump(value), now + ttl, now) for key, value, ttl in items]

        def add(database: sqlite3.Connection) -> bool:
            database.executemany(_ADD, rows[:-1])
            return database.execute(_ADD, rows[-1]).rowcount == 1

        return self._transact(add) if rows else False

    def items(self) -> list[tuple[str, Any, float]]:
        """Return all that there is: key, value, and the seconds that it has left."""
        now = self._clock()
        rows = self._read("SELECT key, value, ends FROM item WHERE ends > ?", (now,))
        return [(key, load(value), ends - now) for key, value, ends in rows]

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(database: sqlite3.Connection) -> T:
            self._sweep_now_and_then(database)
            database.execute("BEGIN IMMEDIATE")
            try:
                done = work(database)
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
            return done

        return self._writer.ask(transaction)

    def _write(self, statement: str, values: tuple[Any, ...]) -> int:
        def write(database: sqlite3.Connection) -> int:
            self._sweep_now_and_then(database)
            return database.execute(statement, values).rowcount

        return self._writer.ask(write)

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        self._reads += 1
        free = (reader for reader in self._readers if not reader.busy)
        reader = next(free, self._readers[self._reads % READERS])
        return reader.ask(lambda database: database.execute(statement, values).fetchall())

    def _sweep_now_and_then(self, database: sqlite3.Connection) -> None:
        """Count a write; called with the writer's lock held."""
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            self._sweep(database)

    def _sweep(self, database: sqlite3.Connection) -> None:
        """Delete what is over in the next slice of the table; at its end, what it holds over the bound."""
        ahead = "SELECT key FROM item WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?"
        end = database.execute(ahead, (self._swept, SWEEP_ITEMS - 1)).fetchone()
        piece = (self._swept, end[0] if end else LAST_KEY)
        database.execute("DELETE FROM item WHERE key > ? AND key <= ? AND ends <= ?", (*piece, self._clock()))
        (count,) = database.execute("SELECT count(*) FROM item WHERE key > ? AND key <= ?", piece).fetchone()
        self._swept, self._counted = piece[1], self._counted + count
        if end is None:
            surplus = max(0, self._counted - self._max_keys)
            self._swept, self._counted = "", 0
            database.execute("DELETE FROM item WHERE key IN (SELECT key FROM item ORDER BY ends LIMIT ?)", (surplus,))


class _Connection(ForkAware):
    """A connection that is opened at first use, and held by one thread at a time."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._inode = 0  # which file it is
        self._look_at = 0.0  # when to see whether it still is
        self._failures = 0
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether somebody asks it now."""
        return self._lock.locked()

    def __del__(self) -> None:
        """Close the database with the store that it belongs to; Python from 3.13 on complains otherwise."""
        if self._connection is not None:
            self._connection.close()

    def before_fork(self) -> None:
        """Close the database: a child must neither use nor close its parent's connection."""
        self._lock.acquire()
        self._close()

    def after_fork(self) -> None:
        """Go on in the parent, with a new connection at the next use."""
        self._lock.release()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Hold it for *question*.

        To wait behind our own lock is no outage. But when one finds the file locked, all who waited behind that one are
        told the same, and do not wait for the file one after the other.

        Raises:
            StoreError: Whatever SQLite says.
        """
        failures = self._failures
        with self._lock:
            if failures != self._failures:
                raise StoreError("SQLite: busy")
            try:
                if self._connection is not None and self._is_gone():
                    self._close()
                if self._connection is None:
                    secure(self._path)
                    self._inode = self._path.stat().st_ino
                    self._connection = _open(self._path, self._busy_seconds)
                return question(self._connection)
            except UnfitStoreError:
                raise
            except (sqlite3.Error, OSError) as exc:
                self._failures += 1
                if "file is not a database" in str(exc) and not _was_ours(self._path):
                    raise UnfitStoreError(
                        f"SQLite: {self._path} is a file of another kind; name another one / "
                        f"{self._path} 不是数据库文件：请换一个路径"
                    ) from exc
                if _is_damaged(exc):
                    self._close()
                    move_aside(self._path, self._inode)
                raise StoreError(f"SQLite: {exc}") from exc

    def _is_gone(self) -> bool:
        """Whether the file was deleted or replaced under us: others have begun a new one. Looked at now and then."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        try:
            gone = self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            gone = True
        if gone:
            log.error("the database file is gone or another one / 数据库文件被删除或替换了，已重新打开：%s", self._path)
        return gone

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_damaged(exc: Exception) -> bool:
    return isinstance(exc, sqlite3.DatabaseError) and ("malformed" in str(exc) or "not a database" in str(exc))


def _was_ours(path: Path) -> bool:
    """Whether a file begins as databases do: then it is one, and damaged."""
    try:
        with path.open("rb") as file:
            return file.read(16) in (b"", b"SQLite format 3\0")
    except OSError:
        return True


def _set_up(connection: sqlite3.Connection) -> None:
    """Make the table. Of processes that open a new file together all but one find it locked, and SQLite does not wait."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            # No write waits for the disk: what this may lose when the machine itself goes down is the last moment.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
            return
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
