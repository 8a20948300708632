"""What a bot remembers of a user: no change is lost, whoever handles the messages, and nobody waits who need not."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import forked, may_fork
from waiting import until

from wx_mp_svr import Session, SessionBusy, StoreError, TextReqMsg, WxMpServer
from wx_mp_svr.clock import FastClock
from wx_mp_svr.config import Settings
from wx_mp_svr.handling.sessions import Sessions, session_key
from wx_mp_svr.store import open_store
from wx_mp_svr.store.alive import Alive, beat_key
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"appid": "wx0123456789abcdef", "token": "Sessions1", "aes_key": "s" * 43}
BOTS = Path(__file__).parent.parent / "bots"
PATIENCE = 15.0  # seconds until something that must happen counts as not happening
BEAT = 0.03  # seconds that a second of these processes takes
CLOCK = FastClock(1 / BEAT)


class SpyingStore:
    """Notes what it is asked: (verb, key, thread, ttl)."""

    def __init__(self):
        self.store = MemoryStore()
        self.calls = []

    def _ask(self, verb, key, *args):
        self.calls.append((verb, key, threading.get_ident(), args[-1] if args else None))
        return getattr(self.store, verb)(key, *args)

    def get(self, key):
        return self._ask("get", key)

    def get_many(self, keys):
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def set(self, key, value, ttl):
        self._ask("set", key, value, ttl)

    def add(self, key, value, ttl):
        return self._ask("add", key, value, ttl)

    def incr(self, key, ttl):
        return self._ask("incr", key, ttl)

    def delete(self, *keys):
        for key in keys:
            self._ask("delete", key)

    def of_sessions(self):
        return [(verb, "lock" if key.endswith(":lock") else "data") for verb, key, *_ in self.calls if key[:2] == "s:"]


class BrokenStore(SpyingStore):
    """Raises for one verb and one part of a key, or for everything when it is `down`."""

    def __init__(self):
        super().__init__()
        self.broken = None
        self.down = False
        self.failures = 0

    def _ask(self, verb, key, *args):
        if self.down or (self.broken and verb == self.broken[0] and key.endswith(self.broken[1])):
            self.failures += 1
            raise StoreError(f"{verb} is broken")
        return super()._ask(verb, key, *args)


processes = []


@pytest.fixture(autouse=True)
def _end_of_processes():
    yield
    while processes:
        processes.pop()._alive.stop()


class SomeLoop:
    """Whatever loop a test runs; there blocking harms nobody."""

    def inside(self):
        try:
            return bool(asyncio.get_running_loop())
        except RuntimeError:
            return False

    async def aside(self, call, *args):
        return call(*args)


def process(store, *, beats=True, **times):
    """The sessions of a process of its own, as far as the store can tell."""
    settings = Settings(**{"session_wait": PATIENCE, **times})
    times = {name: getattr(settings, name) for name in ("session_wait", "keep_sessions", "keep_answers", "max_jobs")}
    times["session_wait"] /= BEAT
    alive = Alive(store, CLOCK, lambda: beats and bool(processes) and sessions.busy)
    sessions = Sessions(store, SimpleNamespace(**times), alive, SomeLoop(), CLOCK)
    processes.append(sessions)
    return sessions


def user(sessions, name="oUser", account="gh_1"):
    return sessions.of(account, name)


def kept(store, name="oUser"):
    """What the next handler would find."""
    with user(process(store), name) as session:
        return dict(session)


def count(session):
    session["n"] = session.get("n", 0) + 1


def counted(session):
    with session:
        count(session)


def lock_of(session):
    """The key of a lock that is held."""
    return f"{session_key(session._user)}:lock"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with servers.redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, tmp_path):
    if request.param == "redis":
        store = open_store(request.getfixturevalue("redis").patient_url)
        store._redis.flushdb()
        yield store
        store._redis.connection_pool.disconnect()
        return
    yield open_store("memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'store.db'}")


# -- a dict ------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_json_value_survives(data):
    store = MemoryStore()
    with user(process(store)) as session:
        session.update(data)
    assert kept(store) == data


@given(st.lists(st.tuples(st.sampled_from(["set", "del", "append", "end", "raise", "clear"]), st.sampled_from("abc"))))
@settings(max_examples=80, deadline=None)
def test_it_is_a_dict_that_forgets_what_was_done_since_the_last_end_when_the_handler_raises(steps):
    store, saved = MemoryStore(), {}
    sessions = process(store)
    session, model = user(sessions), {}
    for number, (step, key) in enumerate(steps):
        if step == "set":
            session[key] = model[key] = number
        elif step == "append":
            for data in (session, model):
                if not isinstance(data.setdefault(key, []), list):
                    data[key] = []
                data[key].append(number)
        elif step == "del":
            assert session.pop(key, None) == model.pop(key, None)
        elif step == "clear":
            session.clear()
            model.clear()
        else:
            session.finish(save=step == "end")
            saved = json.loads(json.dumps(model)) if step == "end" else saved
            session, model = user(sessions), json.loads(json.dumps(saved))
        assert session == model
        assert (list(session), len(session), bool(session)) == (list(model), len(model), bool(model))
    session.finish(save=False)
    assert kept(store) == saved


def test_what_one_handler_wrote_another_process_finds(store):
    """Nested changes, Chinese and half an emoji included."""
    session = user(process(store))
    session["list"] = [1]
    session["list"].append({"名": "小明\ud83d"})
    session.finish()
    assert kept(store) == {"list": [1, {"名": "小明\ud83d"}]}


def test_what_was_nested_is_changed_without_being_set_again(store):
    for _ in range(3):
        session = user(process(store))
        session.setdefault("list", []).append({"n": len(session["list"])})
        session.finish()
    assert kept(store) == {"list": [{"n": 0}, {"n": 1}, {"n": 2}]}


def test_what_a_handler_changed_that_raised_leaks_nowhere(store):
    """Least of all through an object that the memory store gave to two handlers."""
    with user(process(store)) as session:
        session["list"] = [1]
        mine = session["list"]
    mine.append("after the end")
    session = user(process(store))
    session["list"].append("from a handler that raised")
    session["new"] = 1
    session.finish(save=False)
    assert kept(store) == {"list": [1]}


@pytest.mark.parametrize(
    ("account", "openid"), [("gh_1", "oB"), ("gh_2", "oA"), ("gh_1o", "A"), ("", "gh_1oA"), ("gh_1', 'oA", "")]
)
def test_each_user_of_each_account_has_one_of_their_own(account, openid):
    store = MemoryStore()
    sessions = process(store)
    with sessions.of("gh_1", "oA") as first, sessions.of(account, openid) as second:
        first["n"], second["n"] = 1, 2
    assert kept(store, "oA") == {"n": 1}


def test_what_lies_in_the_store_shows_no_openid():
    store = SpyingStore()
    with user(process(store), "oSecret") as session:
        session["n"] = 1
    assert [key for _, key, *_ in store.calls if "oSecret" in key] == []


def test_it_is_kept_for_its_time_after_the_last_write_and_the_lock_for_a_day():
    store = SpyingStore()
    with user(process(store, keep_sessions=77.0, keep_answers=86400.0)) as session:
        session["n"] = 1
    ttls = {(verb, key[-5:] == ":lock"): ttl for verb, key, _, ttl in store.calls if key.startswith("s:")}
    assert (ttls["set", False], ttls["add", True]) == (77.0, 86400.0)


def test_a_touch_costs_five_questions_and_an_empty_one_leaves_nothing():
    store = SpyingStore()
    with user(process(store, beats=False)) as session:
        session["n"] = 1
    assert store.of_sessions() == [
        ("add", "lock"), ("get", "data"), ("get", "lock"), ("set", "data"), ("delete", "lock"),
    ]  # fmt: skip
    with user(process(store, beats=False)) as session:
        del session["n"]
    assert kept(store) == {}
    assert store.get_many({key for _, key, *_ in store.calls if key.startswith("s:")}) == {}


def test_showing_it_touches_nothing():
    store = SpyingStore()
    session = user(process(store))
    assert (repr(session), store.calls) == ("<Session not locked>", [])
    with session:
        session["n"] = 1
        assert repr(session) == "<Session {'n': 1}>"
    assert repr(session) == "<Session not locked>"


@pytest.mark.parametrize("touch", [len, list, bool, dict, lambda s: "n" in s, lambda s: s == {}, lambda s: s.get("n")])
def test_looking_at_it_locks_it(touch):
    store = MemoryStore()
    session = user(process(store))
    touch(session)
    assert store.get(lock_of(session)) is not None
    session.finish()
    assert store.get(lock_of(session)) is None


def deep():
    value = []
    for _ in range(20_000):
        value = [value]
    return value


def loop():
    value = []
    value.append(value)
    return value


TROUBLE = [
    (lambda: {1}, "set is not JSON"),
    (lambda: b"bytes", "bytes is not JSON"),
    (object, "object is not JSON"),
    (lambda: float("nan"), "JSON"),
    (lambda: {(1, 2): 3}, "tuple"),
    (lambda: TextReqMsg(), "TextReqMsg is not JSON"),
    (loop, "[Cc]ircular"),
    (deep, "recursion"),
]


@pytest.mark.parametrize(("make", "words"), TROUBLE)
def test_what_json_does_not_have_is_a_type_error_that_says_what_and_leaves_no_lock(make, words):
    """And what was kept before stays."""
    store = MemoryStore()
    sessions = process(store)
    with user(sessions) as session:
        session["n"] = 1
    session = user(sessions)
    session["n"] = [make()]
    with pytest.raises(TypeError, match=f"req.session holds what JSON does not have: .*{words}"):
        session.finish()
    assert (store.get(lock_of(session)), sessions.busy) == (None, False)
    assert kept(store) == {"n": 1}


@pytest.mark.parametrize("key", [1, None, b"n", ("a",)])
def test_a_key_is_a_str(key):
    store = SpyingStore()
    with pytest.raises(TypeError, match=f"a key of req.session is a str, not {type(key).__name__}"):
        user(process(store))[key] = 1
    assert store.calls == []


# -- how long it is held -----------------------------------------------------------------------------------------------


def test_a_block_holds_it_to_its_end_and_the_next_one_reads_afresh(store):
    mine, other = user(process(store)), user(process(store))
    for n in range(3):
        with mine:
            assert mine.get("n", 0) == 2 * n
            count(mine)
        with other:
            assert other["n"] == 2 * n + 1
            count(other)


def test_what_is_raised_in_a_block_drops_the_changes_and_unlocks(store):
    session = user(process(store))
    with pytest.raises(KeyError), session:
        session["n"] = 1
        session["nothing"]
    assert kept(store) == {}


def test_a_block_within_a_block_does_not_end_it():
    """As when a handler that holds it calls a helper that does so, too."""
    store = MemoryStore()
    session = user(process(store))
    with session:
        count(session)
        with session:
            count(session)
        assert store.get(lock_of(session)) is not None
        count(session)
    assert store.get(lock_of(session)) is None
    assert kept(store) == {"n": 3}


def test_a_block_ends_what_a_bare_touch_began():
    """A streaming bot may look first, and then let go."""
    store = MemoryStore()
    session = user(process(store))
    count(session)
    with session:
        count(session)
    assert store.get(lock_of(session)) is None
    session.finish()
    assert kept(store) == {"n": 2}


def test_after_the_end_a_bare_touch_raises_and_a_block_works():
    """Nobody would unlock it."""
    store = MemoryStore()
    session = user(process(store))
    count(session)
    session.finish()
    for touch in (len, dict, count):
        with pytest.raises(RuntimeError, match="the handler has returned; use `with req"):
            touch(session)
    with session:
        count(session)
    with pytest.raises(RuntimeError):
        count(session)
    assert kept(store) == {"n": 2}


def test_ending_twice_and_letting_go_of_what_is_not_held_is_nothing():
    store = SpyingStore()
    session = user(process(store))
    session.release()
    session.finish()
    assert store.calls == []
    with session:
        session.release()
        session.release(save=False)
    session.finish()
    assert not session._keeper.busy


def test_a_generator_that_is_left_behind_in_its_block_lets_go_at_the_end_of_the_handler():
    """It is closed some time later, and must not unlock what another one holds by then."""
    store = MemoryStore()
    sessions = process(store)
    session = user(sessions)

    def stream():
        with session:
            count(session)
            yield

    generator = stream()
    next(generator)
    session.finish(save=False)
    with user(sessions) as other:
        count(other)
        generator.close()
        assert store.get(lock_of(other)) == other._held._mine
    assert kept(store) == {"n": 1}


# -- turns and locks ---------------------------------------------------------------------------------------------------


def increments(store, crew):
    """Let each thread of *crew* count: (which process, how)."""
    own = [process(store) for _ in range(3)]

    async def in_loop(session):
        async with session:
            await asyncio.sleep(0)
            count(session)

    def work(member):
        place, how = member
        session = user(own[place])
        if how == "async":
            asyncio.run(in_loop(session))
        elif how == "block":
            with session:
                count(session)
        elif how == "raise":
            session["n"] = -1000
            session.finish(save=False)
        else:
            count(session)
            session.finish()

    with ThreadPoolExecutor(len(crew)) as pool:
        list(pool.map(work, crew))
    assert not any(sessions.busy for sessions in own)


CREW = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from(["touch", "block", "async", "raise"])),
    min_size=1, max_size=10,
)  # fmt: skip


@given(CREW)
@settings(max_examples=12, deadline=None)
def test_no_increment_is_lost_whoever_counts_and_however(crew):
    """Handlers of up to three processes, in threads and in loops, of which some raise."""
    store = MemoryStore()
    increments(store, crew)
    assert kept(store).get("n", 0) == sum(how != "raise" for _, how in crew)


def test_no_increment_is_lost_in_any_store(store):
    increments(store, [(n % 2, how) for n in range(4) for how in ("touch", "block", "async")])
    assert kept(store) == {"n": 12}


def test_two_users_do_not_wait_for_each_other():
    """Both hold at once."""
    sessions, both = process(MemoryStore()), threading.Barrier(2, timeout=PATIENCE)

    def work(name):
        with user(sessions, name):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["oA", "oB"]))


def line_of(sessions):
    return [len(turns) for turns in sessions._turns.values()]


def test_turns_come_in_the_order_of_coming_and_only_the_first_asks_the_store():
    store = SpyingStore()
    sessions, elsewhere, order = process(store), process(store), []

    def work(n):
        with user(sessions):
            order.append((n, threading.get_ident()))

    with ThreadPoolExecutor(6) as pool:
        with user(elsewhere):
            for n in range(6):
                pool.submit(work, n)
                until(lambda n=n: line_of(sessions) == [n + 1])
            begun = len(store.calls)
            until(lambda: len(store.calls) > begun + 20)
            asked = {thread for verb, key, thread, _ in store.calls[begun:] if verb == "add" and key.endswith(":lock")}
    assert [n for n, _ in order] == list(range(6))
    assert asked == {order[0][1]}


def test_what_cannot_be_read_is_not_left_locked():
    """Somebody else has written there."""
    store = MemoryStore()
    session = user(process(store))
    store.set(session_key(session._user), "no json", 60)
    for _ in range(2):
        with pytest.raises(ValueError, match="Expecting value"):
            session["n"] = 1
        assert store.get(lock_of(session)) is None


def test_who_waits_too_long_in_line_is_busy_and_the_line_goes_on_without_them():
    store = MemoryStore()
    sessions = process(store)
    session = user(sessions)
    with session:
        for _ in range(2):
            sessions.settings.session_wait = 0.02
            with pytest.raises(SessionBusy, match="other messages"), user(sessions):
                pytest.fail("two hold it")
        with pytest.raises(SessionBusy, match="other messages"):
            asyncio.run(held(user(sessions)))
        sessions.settings.session_wait = PATIENCE / BEAT
        with ThreadPoolExecutor(1) as pool:
            last = pool.submit(lambda: user(sessions).get("n"))
            until(lambda: line_of(sessions) == [2])
            session["n"] = 1
            session.release()
            assert last.result(PATIENCE) == 1


async def held(session):
    async with session:
        count(session)


def test_who_waits_too_long_for_another_process_is_busy():
    store = SpyingStore()
    short = process(store, session_wait=0.05)
    with user(process(store)):
        until(lambda: any(key.startswith("alive:") for _, key, *_ in store.calls))
        with pytest.raises(SessionBusy, match="other handlers"):
            len(user(short))
        with pytest.raises(SessionBusy, match="other handlers"):
            asyncio.run(held(user(short)))
        assert not short.busy
    assert kept(store) == {}


def test_it_is_held_as_long_as_one_likes_by_a_process_that_lives():
    """Many heartbeats long."""
    store = SpyingStore()
    with user(process(store)) as session, ThreadPoolExecutor(1) as pool:
        other = pool.submit(kept, store)
        until(lambda: sum(key.startswith("alive:") and verb == "set" for verb, key, *_ in store.calls) > 20)
        assert not other.done()
        session["n"] = 1
        session.release()
        assert other.result(PATIENCE) == {"n": 1}


# -- whose process is gone ---------------------------------------------------------------------------------------------


def left_behind(store, name="oUser"):
    """A process that never beats takes it and is heard of no more; return its session."""
    sessions = process(store, beats=False)
    session = user(sessions, name)
    session["n"] = 1000
    store.delete(beat_key(sessions._alive.process))
    return session


def test_the_lock_of_a_process_that_is_gone_is_taken_over_by_one_at_a_time(store, caplog):
    """Eight processes find it, and each counts once."""
    with user(process(store)) as session:
        session["n"] = 1
    left_behind(store)
    own = [process(store) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda sessions: asyncio.run(held(user(sessions))), own))
    assert kept(store) == {"n": 9}
    assert caplog.text.count("took over req.session from a handler that is gone") == 1


def test_who_comes_back_after_they_were_taken_over_overwrites_nothing(store, caplog):
    """Neither what the other one wrote, nor the lock of the one who holds it now."""
    ghost = left_behind(store)
    with user(process(store)) as session:
        count(session)
        ghost.finish()
        assert "what this handler changed is lost" in caplog.text
        assert store.get(lock_of(session)) == session._held._mine
    assert kept(store) == {"n": 1}
    ghost = left_behind(store)
    with user(process(store)) as session:
        ghost["n"] = {"not", "json"}
        ghost.finish()
        assert store.get(lock_of(session)) == session._held._mine
    ghost = left_behind(store)
    assert kept(store) == {"n": 1}
    ghost.finish()  # nobody holds it
    assert kept(store) == {"n": 1}


def tries(sessions, seconds=PATIENCE):
    """A generator that tries to lock; `next` is one more try."""
    session = user(sessions)
    held = session._keeper._begin(session._user, in_thread=True)
    held.until = CLOCK.now() + seconds / BEAT
    return held.lock(), lock_of(session)


def test_a_process_whose_first_beat_is_late_is_not_gone():
    """Each time anew."""
    store = MemoryStore()
    attempt, lock = tries(process(store))
    store.set(lock, "late token", 60)
    for _ in range(3):
        next(attempt)
        store.set(beat_key("late"), 1, 60)
        CLOCK.sleep(2)
        next(attempt)
        store.delete(beat_key("late"))
    next(attempt)
    CLOCK.sleep(2)
    assert next(attempt, "locked") == "locked"


def test_the_patience_with_one_process_is_not_used_up_by_another():
    """Between two looks another one took it over, let it go, and a third has just locked it: it has not beaten yet."""
    store = MemoryStore()
    attempt, lock = tries(process(store))
    store.set(lock, "gone token", 60)
    next(attempt)
    CLOCK.sleep(2)
    store.set(lock, "new token", 60)
    assert next(attempt, "locked") != "locked"


def test_a_lock_is_looked_at_ten_times_a_second():
    """So long a message waits at most behind one that has let go."""
    store = MemoryStore()
    attempt, lock = tries(process(store))
    store.set(lock, "other token", 60)
    store.set(beat_key("other"), 1, 60)
    assert next(attempt) == 0.1


def test_that_a_lock_was_taken_over_is_remembered_for_a_minute():
    """Whoever else has found it without its owner has looked by then."""
    store = MemoryStore(clock=lambda: 0.0)
    attempt, lock = tries(process(store))
    store.set(lock, "gone token", 600)
    for _ in attempt:
        CLOCK.sleep(1)
    assert [left for key, _, left in store.items() if key.endswith(":gone token")] == [60.0]


def test_a_short_wait_does_not_keep_a_dead_lock_for_ever():
    """Whoever is about to find out that its process is gone finds out, however short `session_wait` is."""
    store = MemoryStore()
    left_behind(store)
    with user(process(store, session_wait=0.001)) as session:
        count(session)
    assert kept(store) == {"n": 1}


def test_a_lock_that_another_one_is_taking_over_is_not_waited_for_for_ever():
    """It may have died just then."""
    store = MemoryStore()
    sessions = process(store)
    attempt, lock = tries(sessions, 0.0)
    store.set(lock, "gone token", 60)
    store.add(f"{lock.removesuffix(':lock')}:gone token", 1, 60)
    with pytest.raises(SessionBusy):
        for _ in attempt:
            CLOCK.sleep(1)


# -- whatever goes wrong -----------------------------------------------------------------------------------------------

BREAKS = [
    ("add", ":lock"),  # on the way in
    ("get", ""),  # the data cannot be read, with the lock in hand
    ("set", ""),  # and not written
    ("delete", ":lock"),  # the lock itself stays
]


@pytest.mark.parametrize("broken", BREAKS, ids=" ".join)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_that_fails_for_good_is_waited_for_and_then_leaves_nobody_waiting(broken, asynchronous):
    """For `session_wait`, then the user gets the busy text; everybody is served as soon as it works."""
    store = BrokenStore()
    sessions = process(store, session_wait=BEAT)
    with user(sessions) as session:
        session["n"] = 1
    store.broken = (broken[0], broken[1] or session_key(session._user))
    with pytest.raises(SessionBusy, match="the store is down"):
        if asynchronous:
            asyncio.run(held(user(sessions)))
        else:
            with user(sessions) as session:
                count(session)
    assert not sessions.busy
    store.broken = None
    asyncio.run(held(user(sessions)))
    assert kept(store)["n"] in (2, 3)


@pytest.mark.parametrize("broken", BREAKS, ids=" ".join)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_that_is_back_in_time_has_lost_nothing(broken, asynchronous):
    """A handler that began with an empty session, or whose change was lost, would be worse than one that waits."""
    store = BrokenStore()
    sessions = process(store)
    with user(sessions) as session:
        session["n"] = 1
    store.broken = (broken[0], broken[1] or session_key(session._user))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: asyncio.run(held(user(sessions))) if asynchronous else counted(user(sessions)))
        until(lambda: store.failures > 3)
        store.broken = None
        waiting.result(PATIENCE)
    assert kept(store) == {"n": 2}
    assert store.get(lock_of(session)) is None


def test_a_lock_that_could_not_be_removed_since_the_store_was_down_is_taken_over_by_its_own_process():
    """This process lives and beats, and would wait for itself for a day."""
    store = BrokenStore()
    sessions = process(store, session_wait=BEAT)
    with user(sessions) as session:
        session["n"] = 1
    with pytest.raises(SessionBusy), user(sessions) as session:
        count(session)
        store.down = True
    store.down = False
    assert store.get(lock_of(session)) is not None
    with user(sessions) as session:
        count(session)
    assert store.get(lock_of(session)) is None
    assert kept(store) == {"n": 2}  # the change of the unlucky one was lost, and its user got the busy text


@may_fork
def test_a_forked_child_neither_saves_nor_unlocks_what_its_parent_holds():
    """But waits for it like everybody else."""
    store = SpyingStore()
    sessions = process(store)
    session = user(sessions)
    session["n"] = 1

    def work():
        begun = len(store.calls)
        session["n"] = 2
        session.finish()
        asked = len(store.calls) - begun
        sessions.settings.session_wait = 0.0
        try:
            len(user(sessions, "oOther"))
            len(user(sessions))
        except SessionBusy:
            return asked, "busy"

    with forked(work) as result:
        assert result() == (0, "busy")
    session.finish()
    assert kept(store) == {"n": 1}


@may_fork
def test_a_fork_amid_waiting_handlers_leaves_both_with_sessions_that_work(tmp_path):
    store = open_store(f"sqlite:{tmp_path / 'store.db'}")
    sessions = process(store)
    mine = user(sessions)
    with ThreadPoolExecutor(3) as pool:
        count(mine)
        waiting = [pool.submit(asyncio.run, held(user(sessions))) for _ in range(3)]
        until(lambda: line_of(sessions) == [4])

        def work():
            asyncio.run(held(user(sessions)))
            return sessions.busy

        with forked(work) as result:
            mine.finish()
            [job.result(PATIENCE) for job in waiting]
            assert result() is False
    assert kept(store) == {"n": 5}


# -- in the loop -------------------------------------------------------------------------------------------------------


def test_a_bare_touch_in_the_loop_raises_with_the_cure():
    store = SpyingStore()

    async def work(session):
        for touch in (len, dict, count):
            with pytest.raises(RuntimeError, match="use `async with req"):
                touch(session)
        with pytest.raises(RuntimeError, match="use `async with"), session:
            pytest.fail("the loop would have stood still")
        assert store.calls == []
        async with session as same:
            assert same is session
            with session:  # held already: no waiting
                count(session)
            count(session)

    session = user(process(store))
    asyncio.run(work(session))
    assert kept(store) == {"n": 2}


def test_tasks_of_one_handler_may_each_hold_it(store):
    """Also while another process holds it at first."""
    sessions, elsewhere = process(store), user(process(store))

    async def work(session, elsewhere=elsewhere):
        tasks = [asyncio.ensure_future(held(session)) for _ in range(5)]
        for _ in range(10):
            await asyncio.sleep(0.001)
        elsewhere.release()
        await asyncio.gather(*tasks)

    count(elsewhere)
    asyncio.run(work(user(sessions)))
    assert kept(store) == {"n": 6}


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_who_is_cancelled_leaves_the_line_wherever_they_are(steps, how):
    """Cancelled before, in, and just after the moment in which the turn comes; never is the cancellation swallowed."""
    store = MemoryStore()
    sessions = process(store)

    async def forever(session):
        async with session:
            count(session)
            await asyncio.Event().wait()

    async def work():
        first = user(sessions)
        await first.__aenter__()
        task = asyncio.ensure_future(forever(user(sessions)))
        behind = asyncio.ensure_future(held(user(sessions)))
        for step in range(steps):
            if step == 5:
                first.release()
            await asyncio.sleep(0)
        task.cancel()
        if how == "timeout":
            with pytest.raises((asyncio.TimeoutError, asyncio.CancelledError)):
                await asyncio.wait_for(task, PATIENCE)
        else:
            with pytest.raises(asyncio.CancelledError):
                await task
        first.release()
        await asyncio.wait_for(behind, PATIENCE)

    asyncio.run(work())
    assert not sessions.busy
    assert kept(store) == {"n": 1}


def test_a_loop_that_ended_while_it_waited_does_not_hold_up_the_line():
    store = MemoryStore()
    sessions = process(store)

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(held(user(sessions)), 0.02)

    with user(sessions) as session:
        asyncio.run(give_up())
        assert line_of(sessions) == [1]
        count(session)
    gc.collect()
    assert kept(store) == {"n": 1}


# -- handlers ----------------------------------------------------------------------------------------------------------


def served(handler, *, scale=0.2, **settings):
    """A server with one handler, and WeChat."""
    given = {name: settings.pop(name) for name in ("on_error", "on_late_reply", "on_event") if name in settings}
    server = WxMpServer(**ACCOUNT, store="memory:", on_message=handler, **given)
    wechat = server.test_client(time_scale=scale, raise_errors=False, **settings)
    return wechat.server, wechat


def remembered(server, name="oFakeUser0000000000000000001", account="gh_fakeaccount1"):
    with server.session_of(account, name) as session:
        return dict(session)


def plain(req):
    count(req.session)
    return str(req.session["n"])


def block(req):
    with req.session as session:
        count(session)
        return str(session["n"])


def stream(req):
    count(req.session)
    yield str(req.session["n"])


def stream_in_block(req):
    with req.session as session:
        count(session)
        text = str(session["n"])
    yield text


async def asynchronous(req):
    async with req.session as session:
        count(session)
        await asyncio.sleep(0)
        return str(session["n"])


async def asynchronous_stream(req):
    async with req.session as session:
        count(session)
        yield str(session["n"])


def half_asynchronous(req):
    count(req.session)

    async def rest():
        return str(req.session["n"])  # it is locked already

    return rest()


HANDLERS = [plain, block, stream, stream_in_block, asynchronous, asynchronous_stream, half_asynchronous]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_a_handler_of_any_kind_remembers(handler):
    server, wechat = served(handler)
    assert [wechat.send_text("hi").content for _ in range(3)] == ["1", "2", "3"]
    assert wechat.send_text("hi", openid="oOther").content == "1"
    assert remembered(server) == {"n": 3}
    assert not server._runs._sessions.busy


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_a_worker_of_a_task_queue_remembers_alike(handler, tmp_path):
    """Another server on the same store stands for the worker's process."""
    account = {**ACCOUNT, "store": f"sqlite:{tmp_path / 'store.db'}"}
    worker = WxMpServer(**account, on_message=handler)
    server = WxMpServer(**account, on_message=handler, runner=lambda job: worker.run_job(json.loads(json.dumps(job))))
    wechat = FakeWeChat(server, **ACCOUNT)
    assert [wechat.send_text("hi").content for _ in range(2)] == ["1", "2"]
    assert remembered(server) == {"n": 2}
    server.runner = None
    assert wechat.send_text("hi").content == "3"


@pytest.mark.parametrize("handler", [lambda req: "hi", lambda req: iter("hi") and None, lambda req: repr(req.session)])
def test_a_handler_that_does_not_touch_it_costs_no_question(handler):
    store = SpyingStore()
    _, wechat = served(handler, store=store)
    wechat.send_text("hi")
    assert store.calls
    assert store.of_sessions() == []


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_eight_messages_of_one_user_at_once_lose_no_count(handler):
    """Eight asynchronous ones share the one loop; more than eight of one user are not taken."""
    _, wechat = served(handler, scale=1)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: wechat.send_text("hi").content, range(8)))
    assert sorted(map(int, replies)) == list(range(1, 9))


def test_messages_in_threads_and_in_the_loop_take_turns():
    """Each of them waits for others in its own way, and none for ever."""
    handlers = {handler.__name__: handler for handler in HANDLERS}
    server = WxMpServer(**ACCOUNT, store="memory:")
    for name, handler in handlers.items():
        server.text(name)(handler)
    wechat = server.test_client()
    with ThreadPoolExecutor(7) as pool:
        replies = list(pool.map(lambda name: wechat.send_text(name).content, handlers))
    assert sorted(map(int, replies)) == list(range(1, 8))


def test_the_waiting_messages_of_one_user_leave_half_of_the_threads_to_others(caplog):
    """Whoever writes again and again while the first answer takes its time must not block everybody."""
    gate, waiting = threading.Event(), threading.Semaphore(0)

    def handler(req):
        if req.content == "hold":
            req.session["held"] = True
            gate.wait(20)
        elif req.content == "touch":
            waiting.release()
            return str(len(req.session))
        wechat.sleep(0.06)  # never so quick that it runs in the request's own thread
        return "done"

    server, wechat = served(handler, scale=1, max_jobs=6)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(wechat.send_text, "hold")
        until(lambda: server.stats()["running"] == 1)
        others = [pool.submit(wechat.send_text, "touch") for _ in range(5)]
        assert all(waiting.acquire(timeout=10) for _ in others)
        assert wechat.send_text("free", openid="oOther").content == "done"
        gate.set()
        replies = [first.result().content, *(other.result().content for other in others)]
    busy = server.settings.busy_text
    assert sorted(replies) == sorted(["done", "1", "1", "1", busy, busy])


def test_a_message_that_does_not_touch_it_is_answered_while_another_holds_it():
    holds, goes_on = threading.Event(), threading.Event()

    def slow(req):
        count(req.session)
        holds.set()
        goes_on.wait(PATIENCE)
        return "slow"

    server, wechat = served(slow, scale=1)
    server.text("help")(lambda req: "help yourself")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(wechat.send_text, "hi")
        assert holds.wait(PATIENCE)
        assert wechat.send_text("help").content == "help yourself"
        assert not first.done()
        goes_on.set()
        assert first.result(PATIENCE).content == "slow"


@pytest.mark.parametrize("handler", [plain, block, asynchronous], ids=lambda handler: handler.__name__)
def test_who_waits_too_long_gets_the_busy_text(handler, caplog):
    """After `session_wait`, scaled; that is no error, and on_error hears nothing of it."""
    heard = []
    server, wechat = served(handler, scale=0.2, session_wait=0.25, on_error=lambda exc, req: heard.append(exc))
    with server.session_of(wechat.account, wechat.openid):
        result = wechat.send_text("hi")
    assert (result.content, len(result.tries)) == (server.settings.busy_text, 1)
    assert "waited for req.session; a user gets the busy text" in caplog.text
    assert (heard, [record for record in caplog.records if record.levelno > logging.WARNING]) == ([], [])
    assert wechat.send_text("hi").content == "1"


def failing(req):
    count(req.session)
    raise ValueError("after the change")


async def failing_asynchronously(req):
    async with req.session as session:
        count(session)
        raise ValueError("after the change")


def failing_stream(req):
    count(req.session)
    yield "1"
    raise ValueError("after the change")


def unsendable_piece(req):
    with req.session as session:
        count(session)
        yield 1


def no_json(req):
    req.session["n"] = {1}
    return "never"


def bare_in_loop(req):
    async def rest():
        count(req.session)

    return rest()


FAILING = [failing, failing_asynchronously, failing_stream, unsendable_piece, no_json, bare_in_loop]


@pytest.mark.parametrize("handler", FAILING, ids=lambda handler: handler.__name__)
def test_a_handler_that_raises_saves_nothing_and_unlocks(handler):
    server, wechat = served(handler)
    assert wechat.send_text("hi").content in (server.settings.error_text, f"1\n\n{server.settings.error_text}", "1")
    assert remembered(server) == {}


@pytest.mark.parametrize("handler", [failing, no_json, unsendable_piece], ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("on_error", [plain, stream, asynchronous], ids=lambda handler: handler.__name__)
def test_on_error_finds_what_was_there_before_and_may_write(handler, on_error):
    server, wechat = served(handler, on_error=lambda exc, req: on_error(req))
    assert [wechat.send_text("hi").content for _ in range(2)] == ["1", "2"]
    assert remembered(server) == {"n": 2}


def test_on_error_may_use_it_after_an_asynchronous_handler():
    _, wechat = served(failing_asynchronously, on_error=lambda exc, req: asynchronous(req))
    assert wechat.send_text("hi").content == "1"


def test_a_plain_on_error_may_use_it_after_an_asynchronous_handler():
    _, wechat = served(failing_asynchronously, on_error=lambda exc, req: plain(req))
    assert wechat.send_text("hi").content == "1"


def test_a_plain_on_late_reply_may_use_it_after_an_asynchronous_handler():
    heard = []

    async def slow(req):
        while not tries[2:]:
            await asyncio.sleep(0.01)
        return "late"

    def on_late_reply(req, reply):
        try:
            heard.append(block(req))
        except RuntimeError as exc:
            heard.append(str(exc))

    tries = []
    _, wechat = served(slow, scale=0.05, on_late_reply=on_late_reply)
    wechat.on_try = lambda result, attempt: tries.append(attempt)
    wechat.send_text("hi")
    until(lambda: heard)
    assert heard == ["1"]


def test_a_stream_holds_it_to_its_end_and_one_with_a_block_does_not():
    """Shown by who may lock it between two pieces."""
    found = []

    def between(req, *, held):
        found.append(server._store_of_test.get(lock_of(req.session)) is not None)
        assert found[-1] == held
        return "piece"

    def holds(req):
        count(req.session)
        yield "piece"
        yield between(req, held=True)

    def lets_go(req):
        with req.session as session:
            count(session)
        yield "piece"
        yield between(req, held=False)

    store = MemoryStore()
    server, wechat = served(holds, store=store)
    server._store_of_test = store
    server.text("let go")(lets_go)
    assert [wechat.send_text(words).content for words in ("hold", "let go")] == ["piecepiece"] * 2
    assert found == [True, False]


def test_on_late_reply_and_a_thread_of_ones_own_use_a_block():
    """The handler has returned by then."""
    heard, threads = [], []

    def on_late_reply(req, reply):
        with pytest.raises(RuntimeError, match="the handler has returned"):
            count(req.session)
        with req.session as session:
            count(session)
            heard.append(session["n"])

    def slow(req):
        count(req.session)
        threads.append(threading.Thread(target=afterwards, args=(req,)))
        assert late.wait(PATIENCE)
        return "late"

    def afterwards(req):
        with req.session as session:
            count(session)

    late = threading.Event()
    server, wechat = served(slow, scale=0.05, on_late_reply=on_late_reply)
    assert wechat.send_text("hi").links
    late.set()
    until(lambda: heard)
    assert heard == [2]
    threads[0].start()
    threads[0].join(PATIENCE)
    assert remembered(server) == {"n": 3}


def test_outside_of_a_handler_there_is_none():
    with pytest.raises(RuntimeError, match="in handlers only"):
        _ = TextReqMsg().session
    seen = []
    _, wechat = served(lambda req: seen.append(req.session) or "hi")
    wechat.send_text("hi")
    assert isinstance(seen[0], Session)


# -- across processes --------------------------------------------------------------------------------------------------


class Stage:
    """Two processes that answer for one account: two workers of one gunicorn, or two gunicorns with one each."""

    def __init__(self, directory, urls):
        self.directory = directory
        self.urls = urls
        self.users = 0

    def new_user(self):
        """Return WeChat in front of each gunicorn, for a user who has not written yet."""
        self.users += 1
        openid = f"oUser{self.users}"
        return [FakeWeChat(url, **ACCOUNT, openid=openid) for url in self.urls]

    def holder(self, name):
        """Wait until somebody holds under that name; return their process."""
        until(lambda: name in self.notes())
        return int(self.notes()[name])

    def notes(self):
        notes = self.directory / "notes"
        return dict(line.split() for line in notes.read_text().splitlines()) if notes.exists() else {}

    def go(self, name):
        """Let them go on."""
        (self.directory / name).touch()

    def log_text(self):
        return "".join(log.read_text(errors="replace") for log in self.directory.glob("*/log.txt"))


@contextmanager
def staged(directory, store, *, gunicorns):
    account = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}
    # A message whose process is killed is not run again, which would be one more count.
    options = {"WX_MP_STORE": store, "WX_MP_RERUN_LOST": "0", "NOTES": str(directory)}
    started = []
    with ExitStack() as stack:
        for number in range(gunicorns):
            own, bind = directory / str(number), f"127.0.0.1:{servers.free_port()}"
            command = [sys.executable, "-m", "gunicorn", "--bind", bind, "--chdir", str(BOTS), "session_bot:server"]
            command += ["--workers", str(2 // gunicorns), "--threads", "32", "-k", "gthread", "--graceful-timeout", "1"]
            (own / "tmp").mkdir(parents=True)
            machine = {"TMPDIR": str(own / "tmp")}  # two gunicorns are two machines, which see no lock of the other's
            env = servers.environment(own, {**account, **options, **machine})
            running = stack.enter_context(servers.running(command, env, own))
            started.append((f"http://{bind}/wx_mp_cb", running, own))
        yield Stage(directory, [servers.answering(*gunicorn).url for gunicorn in started])


@pytest.fixture(scope="module", params=["two workers on SQLite", "two gunicorns on Redis"])
def stage(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stage")
    if request.param == "two workers on SQLite":
        with staged(directory, f"sqlite:{directory / 'shared.db'}", gunicorns=1) as stage:
            yield stage
        return
    url = request.getfixturevalue("redis").url.removesuffix("/0") + "/1"
    with staged(directory, servers.patient(url), gunicorns=2) as stage:
        yield stage


def fetched(wechat, result):
    """What the user has in the end, who taps as long as a link is offered: the number, and the process that counted."""
    for _ in range(5):
        if not result.links:
            break
        result = wechat.tap(result)
    number, pid = result.content.split()
    return int(number), int(pid)


def test_no_increment_is_lost_between_processes(stage):
    """Of handlers in threads and in loops."""
    wechats, counted, both = stage.new_user(), 0, False

    def work(n):
        wechat = wechats[n % len(wechats)]
        return fetched(wechat, wechat.subscribe(str(n)) if n % 4 == 3 else wechat.send_text("count"))

    while not both:  # it is the kernel that chooses one of two workers
        assert counted < 200
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, range(counted, counted + 8)))
        assert sorted(number for number, _ in results) == list(range(counted + 1, counted + 9))
        counted += 8
        both = len({pid for _, pid in results}) == 2


def test_while_one_holds_it_other_users_and_other_handlers_are_answered(stage):
    wechats, others = stage.new_user(), stage.new_user()
    name = f"hold-{stage.users}"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(wechats[0].send_text, f"hold {name}")
        stage.holder(name)
        second = pool.submit(wechats[-1].send_text, "count")
        for wechat in (*wechats, *wechats):
            assert wechat.send_text("ping").content.startswith("pong")
        assert [fetched(wechat, wechat.send_text("count"))[0] for wechat in (*others, *others)][:2] == [1, 2]
        stage.go(name)
        assert fetched(wechats[0], first.result(PATIENCE))[0] == 1
        assert fetched(wechats[-1], second.result(PATIENCE))[0] == 2


def test_when_the_holder_is_killed_the_next_message_takes_over(tmp_path):
    """Soon after its last heartbeat has run out, and long before `session_wait` has."""
    with staged(tmp_path, f"sqlite:{tmp_path / 'shared.db'}", gunicorns=1) as stage, ThreadPoolExecutor(1) as pool:
        (wechat,) = stage.new_user()
        assert fetched(wechat, wechat.send_text("count"))[0] == 1
        pool.submit(wechat.send_text, "hold killed")
        killed = stage.holder("killed")
        os.kill(killed, signal.SIGKILL)
        number, pid = fetched(wechat, wechat.send_text("count"))
        assert (number, pid != killed) == (2, True)
        assert stage.log_text().count("took over req.session") == 1


def test_a_holder_that_stood_still_does_not_overwrite_what_was_done_meanwhile(tmp_path, redis):
    store = servers.patient(redis.url.removesuffix("/0") + "/2")
    with staged(tmp_path, store, gunicorns=2) as stage, ThreadPoolExecutor(1) as pool:
        one, two = stage.new_user()
        first = pool.submit(one.send_text, "hold stopped")
        stopped = stage.holder("stopped")
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert [fetched(two, two.send_text("count"))[0] for _ in range(3)] == [1, 2, 3]
        finally:
            stage.go("stopped")
            os.kill(stopped, signal.SIGCONT)
        first.result(PATIENCE)
        until(lambda: "what this handler changed is lost" in stage.log_text())
        assert fetched(one, one.send_text("count")) == (4, stopped)
