"""Waiting costs one thread and one question for all; a process that is gone is noticed, and one that is alive is not."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from store_contract import forked, may_fork

from wx_mp_svr import watcher as module_under_test
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.watcher import LOST, Heartbeat, Watcher, alive_key

INTERVAL = 0.02
BEAT = 0.1


def until(condition, seconds=10.0):
    """Wait for what must come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)


def comes(condition, seconds):
    """Whether it comes in time."""
    try:
        until(condition, seconds)
    except AssertionError:
        return False
    return True


others = set()  # threads that the servers of other tests have left in this process


def threads(name):
    return [thread for thread in threading.enumerate() if thread.name == name and thread not in others]


def no_thread(thread):
    """Refuse to start one, as a system does that is short of memory."""
    raise RuntimeError("can't start new thread")


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    """Of this test."""
    others.update(threading.enumerate())
    yield
    until(lambda: not threads("wx-mp-watcher"))
    until(lambda: not threads("wx-mp-heartbeat"))


class SpyingStore(MemoryStore):
    """Notes what it is asked, when, and from where."""

    def __init__(self):
        super().__init__()
        self.questions = []
        self.beats = []
        self.askers = set()

    def get_many(self, keys):
        self.questions.append((time.monotonic(), list(keys)))
        self.askers.add(threading.current_thread().name)
        return super().get_many(keys)

    def set(self, key, value, ttl):
        super().set(key, value, ttl)
        self.beats.append((key, ttl))


@pytest.fixture
def store():
    return SpyingStore()


@pytest.fixture
def watcher(store):
    return Watcher(store, INTERVAL, BEAT)


# -- Watcher


def test_two_hundred_who_wait_are_one_thread_and_one_question(store, watcher):
    """A held request costs nothing by itself."""
    for n in range(10):
        store.set(alive_key(f"p{n}"), 1, 60)
    with ThreadPoolExecutor(200) as pool:
        waits = [pool.submit(watcher.wait, f"k{n}", f"p{n % 10}", 30) for n in range(200)]
        until(lambda: store.questions and len(store.questions[-1][1]) == 210)
        seen, begun = len(store.questions), time.monotonic()
        until(lambda: len(store.questions) >= seen + 10)
        assert time.monotonic() - begun >= 9 * INTERVAL * 0.9
        assert len(threads("wx-mp-watcher")) == 1
        for n in range(200):
            store.set(f"k{n}", n, 60)
        assert [wait.result(10) for wait in waits] == list(range(200))
    assert store.askers == {"wx-mp-watcher"}
    assert all(len(keys) == len(set(keys)) for _, keys in store.questions)


def test_a_value_that_is_there_already_comes_at_once(store, watcher):
    """Without an interval's delay, and although its writer is gone."""
    store.set("k", {"page": 1}, 60)
    assert watcher.wait("k", "gone", 10) == {"page": 1}


def test_two_who_wait_for_the_same_both_get_it(store, watcher):
    """Two tries of one push."""
    store.set(alive_key("p"), 1, 60)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(watcher.wait, "k", "p", 30) for _ in range(2)]
        until(lambda: store.questions)
        store.set("k", "page", 60)
        assert [wait.result(10) for wait in waits] == ["page", "page"]


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_falsy_values_are_values(store, watcher, value):
    """They are there."""
    store.set("k", value, 60)
    assert watcher.wait("k", "p", 10) == value


def test_the_end_of_the_time_is_none(store, watcher):
    """While the process is alive."""
    store.set(alive_key("p"), 1, 60)
    begun = time.monotonic()
    assert watcher.wait("k", "p", 0.1) is None
    assert 0.09 < time.monotonic() - begun < 1


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all_is_none(store, watcher, timeout):
    """Not for ever."""
    assert watcher.wait("k", "p", timeout) is None


def test_a_process_that_is_gone_is_lost(store, watcher):
    """But not before its first beat could have come."""
    begun = time.monotonic()
    assert watcher.wait("k", "gone", 10) is LOST
    assert time.monotonic() - begun > BEAT * 1.5


def test_a_process_that_dies_meanwhile_is_lost(store, watcher):
    """Its key has come to its end."""
    store.set(alive_key("p"), 1, 60)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(watcher.wait, "k", "p", 30)
        until(lambda: len(store.questions) > 20)
        assert not wait.done()
        store.delete(alive_key("p"))
        assert wait.result(10) is LOST


def test_a_process_whose_first_beat_is_late_is_not_lost(store):
    """Missing for a moment is not gone; the patience starts anew each time."""
    watcher = Watcher(store, INTERVAL, 1)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(watcher.wait, "k", "p", 30)
        for _ in range(2):
            seen = len(store.questions)
            until(lambda seen=seen: len(store.questions) >= seen + 5)
            store.set(alive_key("p"), 1, 60)
            seen = len(store.questions)
            until(lambda seen=seen: len(store.questions) >= seen + 5)
            store.delete(alive_key("p"))
        store.set("k", "page", 60)
        assert wait.result(10) == "page"


def test_the_value_wins_over_the_loss(store, watcher):
    """A process may write its answer and end at once: both are seen in one look."""
    store.set(alive_key("p"), 1, 60)
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(watcher.wait, "k", "p", 30) for _ in range(8)]
        until(lambda: store.questions and store.questions[-1][1] == [alive_key("p"), "k"])
        store.set("k", "last words", 60)
        store.delete(alive_key("p"))
        assert [wait.result(10) for wait in waits] == ["last words"] * 8


def test_a_thread_that_cannot_be_had_is_started_for_the_next_one_who_waits(store, watcher, monkeypatch):
    """And nobody looks for ever for who could not wait."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            watcher.wait("k", "p", 10)
    store.set("other", "page", 60)
    assert watcher.wait("other", "p", 10) == "page"


def test_the_loss_of_one_is_no_loss_of_others(store, watcher):
    """Each waits for its own."""
    store.set(alive_key("alive"), 1, 60)
    with ThreadPoolExecutor(2) as pool:
        living = pool.submit(watcher.wait, "k1", "alive", 30)
        gone = pool.submit(watcher.wait, "k2", "gone", 30)
        assert gone.result(10) is LOST
        assert not living.done()
        store.set("k1", 1, 60)
        assert living.result(10) == 1


def test_the_thread_ends_when_nobody_waits_and_starts_again(store, watcher):
    """And the store is left in peace."""
    for _ in range(3):
        store.set("k", 1, 60)
        assert watcher.wait("k", "p", 10) == 1
        until(lambda: not threads("wx-mp-watcher"))
        asked = len(store.questions)
        assert not threads("wx-mp-watcher")
        assert len(store.questions) == asked


def test_many_who_come_and_go_are_all_served(store, watcher):
    """Also those who come while the thread is just about to end."""
    store.set("k", 1, 60)

    def come_and_go(n):
        return [watcher.wait("k", "p", 10) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(come_and_go, range(8))) == [[1] * 20] * 8
    assert len(threads("wx-mp-watcher")) <= 1


def test_a_store_that_fails_once_does_not_end_the_waiting(watcher, store):
    """Every verb may raise StoreError; who waits, and who comes later, still gets the page."""
    calls = store.get_many

    def fail_first(keys):
        store.get_many = calls
        raise StoreError("once")

    store.get_many = fail_first
    store.set("k", "page", 60)
    with silent_threads() as raised:
        assert watcher.wait("k", "p", 1) == "page"
    assert raised == []


@may_fork
def test_after_a_fork_the_child_waits_by_itself(store, watcher):
    """The parent's thread and those it serves stay with the parent (B103)."""
    store.set(alive_key("p"), 1, 60)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(watcher.wait, "k", "p", 30)
        until(lambda: len(store.questions) > 2)

        def work():
            with ThreadPoolExecutor(1) as own:
                found = own.submit(watcher.wait, "mine", "p", 10)
                MemoryStore.set(store, "mine", "child's", 60)
                return found.result(10), len(threads("wx-mp-watcher"))

        store._lock = threading.Lock()  # whether a memory store outlives a fork is not the question here
        with forked(work) as child:
            assert child() == ("child's", 1)
        store.set("k", "parent's", 60)
        assert wait.result(10) == "parent's"


# -- Heartbeat


@contextmanager
def silent_threads():
    """Gather what threads raise."""
    raised = []
    before, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_type)
    try:
        yield raised
    finally:
        threading.excepthook = before


@pytest.fixture
def work():
    """What the process is busy with."""
    return set()


@pytest.fixture
def heartbeat(store, work):
    heartbeat = Heartbeat(store, 0.03, lambda: bool(work))
    yield heartbeat
    heartbeat.stop()


def test_a_process_has_a_name_of_its_own(store):
    """Two in one process, too; and a process number comes again."""
    names = {Heartbeat(store, 1, bool).process for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"{os.getpid()}-") for name in names)


def test_without_work_there_is_no_thread_and_no_beat(store, heartbeat):
    """An idle server leaves its store alone."""
    assert threads("wx-mp-heartbeat") == []
    assert store.beats == []


def test_it_beats_while_there_is_work(store, heartbeat, work):
    """Four missed ones mean death."""
    work.add(1)
    heartbeat.wake()
    until(lambda: len(store.beats) >= 5)
    assert set(store.beats) == {(alive_key(heartbeat.process), 0.03 * 4)}
    assert store.get(alive_key(heartbeat.process)) == 1
    assert len(threads("wx-mp-heartbeat")) == 1


def test_waking_it_often_makes_one_thread(store, heartbeat, work):
    """It is woken for each push."""
    work.add(1)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: heartbeat.wake(), range(200)))
    until(lambda: store.beats)
    assert len(threads("wx-mp-heartbeat")) == 1


def test_without_work_it_stops_beating_and_goes_on_with_new_work(store, heartbeat, work):
    """The key then ends by itself."""
    work.add(1)
    heartbeat.wake()
    until(lambda: store.beats)
    work.clear()
    until(lambda: store.get(alive_key(heartbeat.process)) is None)
    beats = len(store.beats)
    work.add(2)
    heartbeat.wake()
    until(lambda: len(store.beats) > beats)


@pytest.fixture
def soon_parked(monkeypatch):
    """A minute is long."""
    monkeypatch.setattr(module_under_test, "IDLE_SECONDS", 0.1)


def test_after_a_minute_without_work_it_parks_and_wakes_again(soon_parked, store, heartbeat, work):
    """Meanwhile there is no thread that would look whether there is work."""
    looks = []
    heartbeat._busy = lambda: looks.append(1) or bool(work)
    for _ in range(2):
        work.add(1)
        heartbeat.wake()
        until(lambda: store.beats)
        work.clear()
        until(lambda: not heartbeat._running)
        seen = len(looks)
        assert not comes(lambda seen=seen: len(looks) > seen, 0.15)
        assert threads("wx-mp-heartbeat") == []
        store.beats.clear()


def test_work_that_comes_while_it_is_about_to_park_is_not_overlooked(soon_parked, store):
    """Else this process looks dead while it works, and another one runs the handler a second time."""

    def started_just_after_look(number):
        looks, work = [], []

        def busy():
            answer = bool(work)
            looks.append(answer)
            if len(looks) == number:  # another thread takes up work and wakes the heartbeat
                work.append(1)
                other = threading.Thread(target=heartbeat.wake)
                other.start()
                other.join(0.1)  # it may have to wait until the heartbeat has parked
            return answer

        heartbeat = Heartbeat(store, 0.03, busy)
        heartbeat.wake()
        return heartbeat, looks

    # Which look is the last before it parks is its own affair: one of these is.
    heartbeats = [started_just_after_look(number) for number in range(1, 13)]
    try:
        until(lambda: all(not heartbeat._running or True in looks for heartbeat, looks in heartbeats))
        overlooked = [
            number
            for number, (heartbeat, looks) in enumerate(heartbeats, 1)
            if len(looks) >= number and not comes(lambda looks=looks: True in looks, 1)
        ]
        assert overlooked == []
    finally:
        for heartbeat, _ in heartbeats:
            heartbeat.stop()


def test_stop_takes_the_key_away_and_no_beat_brings_it_back(store, work):
    """Who waits for this process need not wait until the key ends."""
    heartbeat = Heartbeat(store, 0.03, lambda: bool(work))
    work.add(1)
    heartbeat.wake()
    until(lambda: len(store.beats) >= 2)
    heartbeat.stop()
    assert store.get(alive_key(heartbeat.process)) is None
    until(lambda: not threads("wx-mp-heartbeat"))
    assert store.get(alive_key(heartbeat.process)) is None
    heartbeat.wake()
    assert threads("wx-mp-heartbeat") == []


def test_a_beat_that_was_on_its_way_when_it_was_stopped_does_not_bring_it_back(store, work):
    """The store is slow just then."""
    on_its_way, go_on = threading.Event(), threading.Event()
    write = store.set

    def slow_set(key, value, ttl):
        on_its_way.set()
        assert go_on.wait(10)
        write(key, value, ttl)

    store.set = slow_set
    heartbeat = Heartbeat(store, 0.03, lambda: bool(work))
    work.add(1)
    heartbeat.wake()
    assert on_its_way.wait(10)
    heartbeat.stop()
    go_on.set()
    until(lambda: not threads("wx-mp-heartbeat"))
    assert store.beats and store.get(alive_key(heartbeat.process)) is None


def test_stop_wakes_one_that_is_parked_and_one_that_never_ran(soon_parked, store, work):
    """No thread is left behind, and stopping twice does no harm."""
    heartbeat = Heartbeat(store, 0.03, lambda: bool(work))
    heartbeat.wake()
    until(lambda: not heartbeat._running)
    for _ in range(2):
        heartbeat.stop()
        until(lambda: not threads("wx-mp-heartbeat"))
    Heartbeat(store, 0.03, bool).stop()


def test_a_heart_that_could_not_start_beats_with_the_next_work(store, heartbeat, work, monkeypatch):
    """Else this process would look dead from then on."""
    work.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with suppress(RuntimeError):
            heartbeat.wake()
    heartbeat.wake()
    until(lambda: store.beats)


def test_a_beat_that_fails_is_not_the_last(store, heartbeat, work):
    """Every verb may raise StoreError; one miss must not be death."""
    write = store.set

    def fail_first(key, value, ttl):
        store.set = write
        raise StoreError("once")

    store.set = fail_first
    work.add(1)
    with silent_threads() as raised:
        heartbeat.wake()
        until(lambda: store.beats or raised)
    assert raised == []
    assert store.beats


def test_a_watcher_sees_a_heartbeat_stop(store, watcher, heartbeat, work):
    """The two together."""
    work.add(1)
    heartbeat.wake()
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(watcher.wait, "k", heartbeat.process, 30)
        until(lambda: len(store.beats) > 10)
        assert not wait.done()
        heartbeat.stop()
        assert wait.result(10) is LOST


@may_fork
def test_after_a_fork_the_child_is_another_process(store, heartbeat, work):
    """It bears another name and beats by itself; the parent goes on under its own (B103)."""
    work.add(1)
    heartbeat.wake()
    until(lambda: len(store.beats) > 2)
    parent = heartbeat.process

    def child_work():
        store._lock = threading.Lock()  # whether a memory store outlives a fork is not the question here
        store.beats.clear()
        heartbeat.wake()
        until(lambda: len(store.beats) > 2)
        return heartbeat.process, os.getpid(), store.beats[0][0], len(threads("wx-mp-heartbeat"))

    with forked(child_work) as child:
        name, pid, beaten, count = child()
    assert name != parent
    assert name.startswith(f"{pid}-")
    assert (beaten, count) == (alive_key(name), 1)
    assert heartbeat.process == parent
    beats = len(store.beats)
    until(lambda: len(store.beats) > beats)
    assert {key for key, _ in store.beats} == {alive_key(parent)}


@may_fork
def test_a_child_of_a_stopped_one_may_work(store, work):
    """The end of its parent is not its own."""
    heartbeat = Heartbeat(store, 0.03, lambda: bool(work))
    heartbeat.stop()
    work.add(1)

    def child_work():
        heartbeat.wake()
        until(lambda: store.beats)
        return store.beats[0][0] == alive_key(heartbeat.process)

    with forked(child_work) as child:
        assert child() is True
