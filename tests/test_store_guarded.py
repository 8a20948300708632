"""A store that is down costs nothing but its being shared: pushes are remembered in the process, and it is told once."""

import json
import logging
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import servers
from store_contract import EVERY_VERB, FakeClock, StoreContract, every_verb

from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.redis import RedisStore
from wx_mp_svr.store.sqlite import SQLiteStore

PUSH_SECONDS = 5  # WeChat's patience
VERBS = {
    "get": lambda store: store.get("a"),
    "get_many": lambda store: store.get_many(["a", "b"]),
    "set": lambda store: store.set("a", 1, 60),
    "add": lambda store: store.add("a", 1, 60),
    "incr": lambda store: store.incr("count", 60),
    "delete": lambda store: store.delete("a"),
}


class OwnStore:
    """A store as a user may write it: a dict of JSON texts."""

    def __init__(self, clock=time.time):
        self._clock = clock
        self._items = {}
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self):
        self._lock = threading.RLock()

    def get(self, key):
        return self.get_many([key]).get(key)

    def get_many(self, keys):
        with self._lock:
            now = self._clock()
            kept = {key: self._items[key] for key in keys if key in self._items and self._items[key][1] > now}
        found = {key: json.loads(text) for key, (text, _) in kept.items()}
        return {key: value for key, value in found.items() if value is not None}

    def set(self, key, value, ttl):
        with self._lock:
            self._items[key] = (json.dumps(value), self._clock() + ttl)

    def add(self, key, value, ttl):
        with self._lock:
            if self.get(key) is not None:
                return False
            self.set(key, value, ttl)
            return True

    def incr(self, key, ttl):
        with self._lock:
            count = self.get(key)
            if count is None:
                self.set(key, 1, ttl)
                return 1
            self._items[key] = (json.dumps(count + 1), self._items[key][1])
            return count + 1

    def delete(self, *keys):
        with self._lock:
            for key in keys:
                self._items.pop(key, None)


class TestYourOwnStore(StoreContract):
    """The contract can be kept by others."""

    def make_store(self, clock=None):
        return OwnStore() if clock is None else OwnStore(clock)


class TestGuardedStoreThatIsUp(StoreContract):
    """A guard changes nothing of what every store owes."""

    def make_store(self, clock=None):
        return GuardedStore(OwnStore() if clock is None else OwnStore(clock))


class DeadStore:
    """Raises, whatever it is asked."""

    def __getattr__(self, verb):
        def fail(*args):
            raise StoreError("dead")

        return fail


class TestGuardedStoreThatIsDown(StoreContract):
    """Nor does it where the store never answers: the process has one of its own."""

    def make_store(self, clock=None):
        return GuardedStore(DeadStore()) if clock is None else GuardedStore(DeadStore(), clock=clock)


class ScriptedStore:
    """A memory store that is down on demand, counts what it is asked, and holds callers up on demand."""

    def __init__(self, clock):
        self._kept = MemoryStore(clock=clock)
        self.up = True
        self.asked = 0
        self.gate = None  # what callers wait for before they get their answer
        self.waiting = threading.Semaphore(0)

    def __getattr__(self, verb):
        def ask(*args):
            self.asked += 1
            if self.gate is not None:
                self.waiting.release()
                assert self.gate.wait(20)
            if not self.up:
                raise StoreError("scripted")
            return getattr(self._kept, verb)(*args)

        return ask


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def inner(clock):
    return ScriptedStore(clock)


@pytest.fixture
def store(inner, clock):
    return GuardedStore(inner, clock=clock)


def lines(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# -- down


@pytest.mark.parametrize("verb", VERBS)
def test_whatever_fails_is_answered_by_the_process(store, inner, verb):
    """No caller ever sees a StoreError (B96)."""
    assert store.down is False
    inner.up = False
    VERBS[verb](store)
    assert store.down is True
    assert every_verb(store, "b") == EVERY_VERB


def test_whatever_a_store_of_the_users_own_raises_is_an_outage(clock, caplog):
    """Else its first failure would leave a run that nobody ends."""

    class Buggy(DeadStore):
        def get(self, key):
            raise TypeError("a bug")

    store = GuardedStore(Buggy(), clock=clock)
    assert store.get("a") is None
    assert store.down
    assert "a bug" in caplog.text


def test_a_claim_is_won_once_while_the_store_is_down(store, inner):
    """One run per process instead of one in all."""
    inner.up = False
    with ThreadPoolExecutor(20) as pool:
        wins = list(pool.map(lambda n: store.add("a", n, 60), range(20)))
    assert wins.count(True) == 1
    assert store.get("a") == wins.index(True)


def test_a_store_that_is_down_is_left_alone_for_five_seconds(store, inner, clock):
    """Each question may cost a timeout (B97)."""
    inner.up = False
    store.get("a")
    asked = inner.asked
    clock.advance(4.9)
    for verb in VERBS.values():
        verb(store)
    assert inner.asked == asked
    clock.advance(0.2)
    for verb in VERBS.values():
        verb(store)
    assert inner.asked == asked + 1


def test_of_many_callers_one_tries_it_again(store, inner, clock):
    """The others do not wait for that one."""
    inner.up = False
    store.get("a")
    clock.advance(5.1)
    inner.asked = 0
    inner.gate = threading.Event()
    with ThreadPoolExecutor(20) as pool:
        probe = pool.submit(store.get, "a")
        assert inner.waiting.acquire(timeout=20)
        others = [pool.submit(store.add, f"k{n}", 1, 60) for n in range(19)]
        assert all(other.result(20) for other in others)
        assert not probe.done()
        assert inner.asked == 1
        inner.gate.set()
        assert probe.result(20) is None
    assert inner.asked == 1


def test_after_a_vain_probe_it_is_left_alone_again(store, inner, clock):
    """Five seconds from when it failed."""
    inner.up = False
    for _ in range(5):
        asked = inner.asked
        store.get("a")
        store.get("b")
        assert inner.asked == asked + 1
        clock.advance(5.1)


# -- what is told


def test_an_outage_is_one_error_line_a_minute(store, inner, clock, caplog):
    """Not one for each push (B96)."""
    inner.up = False
    for _ in range(119):
        for verb in VERBS.values():
            verb(store)
        clock.advance(1)
    assert len(lines(caplog, logging.ERROR)) == 2
    assert "the store is down" in lines(caplog, logging.ERROR)[0]
    assert "scripted" in lines(caplog, logging.ERROR)[0]


def test_many_callers_that_fail_at_once_are_one_line(store, inner, caplog):
    """All of them were waiting for the same answer."""
    inner.up = False
    inner.gate = threading.Event()
    with ThreadPoolExecutor(20) as pool:
        callers = [pool.submit(store.get, "a") for _ in range(20)]
        for _ in callers:
            assert inner.waiting.acquire(timeout=20)
        inner.gate.set()
        assert [caller.result(20) for caller in callers] == [None] * 20
    assert len(lines(caplog, logging.ERROR)) == 1


def test_its_return_is_told_once(store, inner, clock, caplog):
    """By then `down` is false."""
    caplog.set_level(logging.INFO, "wx_mp_svr")
    inner.up = False
    store.get("a")
    inner.up = True
    clock.advance(5.1)
    store.get("a")
    assert store.down is False
    store.get("a")
    assert [line for line in lines(caplog, logging.WARNING) if "answers again" in line] == ["the store answers again"]


def test_a_store_that_comes_and_goes_is_told_once_a_minute(store, inner, clock, caplog):
    """The minute counts from line to line, not from outage to outage."""
    for _ in range(10):
        inner.up = False
        store.get("a")
        inner.up = True
        clock.advance(5.1)
        store.get("a")
    assert len(lines(caplog, logging.ERROR)) == 1


# -- back again


@pytest.fixture
def back(store, inner, clock):
    """Leave a note of everything during an outage, and let the store come back."""
    inner.up = False
    store.add("claim", "ours", 600)
    store.set("page", "during", 600)
    assert store.incr("tries", 600) == 1
    inner.up = True
    clock.advance(5.1)
    store.get("nothing")
    assert not store.down
    return store


def test_what_was_claimed_during_the_outage_is_not_run_again(back):
    """The push's next try comes when the store is back."""
    assert back.add("claim", "a second run", 600) is False
    assert (back.get("claim"), back.get("page")) == ("ours", "during")
    assert back.get_many(["claim", "page", "none"]) == {"claim": "ours", "page": "during"}


def test_what_is_set_after_the_outage_counts(back):
    """A worker that takes up a queued run writes its own name over the queue's."""
    back.set("page", "after", 600)
    assert back.get("page") == "after"
    assert back.get_many(["page"]) == {"page": "after"}


def test_what_is_deleted_after_the_outage_is_gone(back):
    """In both."""
    back.delete("claim", "page")
    assert back.get_many(["claim", "page"]) == {}
    assert back.add("claim", "anew", 600) is True


def test_what_was_kept_during_the_outage_ends_in_its_time(back, clock):
    """Then the store alone is asked."""
    clock.advance(600)
    assert back.get_many(["claim", "page"]) == {}
    assert back.add("claim", "anew", 600) is True


def test_what_the_store_kept_before_is_there_again(store, inner, clock):
    """The outage hid it, no more."""
    store.set("a", "before", 600)
    inner.up = False
    assert store.get("a") is None
    inner.up = True
    clock.advance(5.1)
    assert store.get("a") == "before"


# -- against real ones


def push(store, name):
    """Ask what a push asks, and return how long that took."""
    begun = time.monotonic()
    assert every_verb(store, name) == EVERY_VERB
    return time.monotonic() - begun


@pytest.fixture
def redis(tmp_path):
    with servers.redis(tmp_path) as server:
        yield server


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_an_outage_of_redis_from_its_beginning_to_its_end(redis, clock, caplog, fault):
    """Only the rests between two questions go by a fake clock (B96, B97)."""
    store = GuardedStore(RedisStore(redis.url), clock=clock)
    assert push(store, "before") < PUSH_SECONDS
    getattr(redis, fault)()
    assert push(store, "during") < 2
    assert store.down
    assert store.add("claim", "ours", 600)
    clock.advance(5.1)
    assert push(store, "still") < 2  # one of its questions was a probe
    assert len(lines(caplog, logging.ERROR)) == 1
    redis.start()
    redis.resume()
    clock.advance(5.1)
    assert push(store, "after") < PUSH_SECONDS
    assert not store.down
    assert store.add("claim", "a second run", 600) is False
    assert RedisStore(redis.url).get("after") == "set"
    assert "the store answers again" in lines(caplog, logging.WARNING)


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_a_hundred_pushes_at_the_moment_of_the_outage_are_all_answered_in_time(redis, fault):
    """More than there are connections; each learns of the outage by itself, or from another (B97)."""
    store = GuardedStore(RedisStore(redis.url))
    push(store, "before")
    getattr(redis, fault)()
    together = threading.Barrier(100)

    def arrive(n):
        together.wait(20)
        return push(store, f"push{n}")

    with ThreadPoolExecutor(100) as pool:
        assert max(pool.map(arrive, range(100))) < PUSH_SECONDS


@contextmanager
def locked(path):
    """Another connection's transaction that does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


def test_a_locked_file_from_the_beginning_to_the_end(tmp_path, clock, caplog):
    """The same with SQLite (B98)."""
    path = tmp_path / "db"
    store = GuardedStore(SQLiteStore(path), clock=clock)
    push(store, "before")
    with locked(path):
        assert push(store, "during") < 2
        assert store.down
        assert store.add("claim", "ours", 600)
    assert len(lines(caplog, logging.ERROR)) == 1
    clock.advance(5.1)
    assert push(store, "after") < 1
    assert not store.down
    assert store.add("claim", "a second run", 600) is False
    assert SQLiteStore(path).get("after") == "set"


def test_eight_pushes_at_the_moment_of_a_lock_are_all_answered_in_time(tmp_path):
    """As many as a worker has threads (B98)."""
    path = tmp_path / "db"
    store = GuardedStore(SQLiteStore(path))
    push(store, "before")
    together = threading.Barrier(8)

    def arrive(n):
        together.wait(20)
        return push(store, f"push{n}")

    with locked(path), ThreadPoolExecutor(8) as pool:
        times = list(pool.map(arrive, range(8)))
    assert max(times) < PUSH_SECONDS, times
