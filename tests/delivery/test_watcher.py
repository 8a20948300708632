"""Waiting for what other processes write: until it is there, who would write it is gone, or the time is over."""

import threading

import pytest
from waiting import until

from wx_mp_svr.clock import FastClock
from wx_mp_svr.delivery.watcher import Watcher
from wx_mp_svr.store.alive import Alive, beat_key
from wx_mp_svr.store.memory import MemoryStore


class Desk:
    """A watcher, its store, and how often that was asked; time jumps while somebody waits."""

    def __init__(self):
        self.clock = FastClock(0.1, jumps=True)  # what the machine itself takes counts a tenth
        self.store = MemoryStore(clock=self.clock.now)
        self.asked = 0
        self.fault = None
        self._get_many = self.store.get_many
        self.store.get_many = self.get_many
        self.watcher = Watcher(self.store, Alive(self.store, self.clock, lambda: False), self.clock)
        self.store.set(beat_key("other"), 1, 3600)

    def get_many(self, keys):
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self._get_many(keys)

    def wait(self, process="other", seconds=60.0):
        """Return how long it took."""
        begun = self.clock.now()
        with self.clock.foreground():
            self.watcher.wait("page", process, begun + seconds)
        return self.clock.now() - begun


@pytest.fixture
def desk():
    return Desk()


def after(desk, seconds, call):
    desk.clock.start(lambda: (desk.clock.sleep(seconds), call()), "other")


def test_it_waits_until_what_is_awaited_is_there(desk):
    with desk.clock.foreground():
        after(desk, 5, lambda: desk.store.set("page", 1, 60))
        assert desk.wait() == pytest.approx(5, abs=0.3)


def test_it_waits_until_who_would_write_it_is_gone(desk):
    assert desk.wait("nobody") == pytest.approx(1.5, abs=0.3)


def test_it_waits_until_its_time_is_over_and_then_asks_no_more(desk):
    """A thread for all who wait, and none where nobody does."""
    for _ in range(2):
        assert desk.wait(seconds=3) == pytest.approx(3, abs=0.3)
        assert desk.asked == pytest.approx(30, abs=3)
        until(lambda: not desk.watcher._running)
        desk.asked = 0
    assert desk.watcher._waits == set()


def test_one_thread_asks_for_all_who_wait(desk):
    earlier = set(threading.enumerate())
    with desk.clock.foreground():
        for _ in range(3):
            after(desk, 0, lambda: desk.watcher.wait("page", "other", desk.clock.now() + 60))
        after(desk, 5, lambda: names.extend(thread.name for thread in set(threading.enumerate()) - earlier))
        names = []
        desk.wait()
    assert names.count("wx-mp-watcher") == 1


def test_a_store_that_fails_is_asked_again(desk, caplog):
    desk.fault = RuntimeError("away")

    def come_back():
        desk.fault = None
        desk.store.set("page", 1, 60)

    with desk.clock.foreground():
        after(desk, 5, come_back)
        assert desk.wait() == pytest.approx(5, abs=0.3)
    assert "the store failed; looking again" in caplog.text


def test_without_a_thread_nobody_waits_for_ever(desk):
    """The next one who waits tries to start it again."""

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    start, desk.clock.start = desk.clock.start, no_thread
    with pytest.raises(RuntimeError):
        desk.wait()
    desk.clock.start = start
    desk.store.set("page", 1, 60)
    assert desk.wait() < 1
    assert desk.watcher._waits == set()
