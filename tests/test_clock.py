"""Clocks: the real one's signals, and one that runs faster and jumps when everybody waits."""

import asyncio
import threading
import time

import pytest

from wx_mp_svr.clock import REAL, Clock, FastClock


def clocks():
    return [REAL, FastClock(), FastClock(10), FastClock(jumps=True)]


@pytest.mark.parametrize("clock", clocks(), ids=["real", "fast 1", "fast 10", "jumping"])
class TestSignals:
    """The same for all clocks."""

    def test_who_waits_goes_on_when_it_is_set(self, clock):
        signal = clock.signal()
        clock.start(signal.set, "setter")
        assert signal.wait(10)

    def test_who_comes_after_it_was_set_does_not_wait(self, clock):
        signal = clock.signal()
        signal.set()
        signal.set()
        assert signal.wait(0)

    def test_the_end_of_the_time_is_false_and_one_may_wait_again(self, clock):
        signal = clock.signal()
        assert [signal.wait(0.01), signal.wait(0), signal.wait(-1)] == [False] * 3
        signal.set()
        assert signal.wait(0)

    def test_who_waits_for_a_moment_waits_no_longer(self, clock):
        async def moments():
            for _ in range(20):
                await clock.signal().wait_async(-1)
                await clock.sleep_async(-1)

        begun = time.monotonic()
        for _ in range(20):
            clock.signal().wait(-1)
            clock.sleep(-1)
        asyncio.run(moments())
        assert time.monotonic() - begun < 10

    def test_what_it_starts_has_its_name_and_keeps_no_program_from_ending(self, clock):
        started, threads = clock.signal(), []
        clock.start(lambda: (threads.append(threading.current_thread()), started.set()), "worker")
        assert started.wait(10)
        assert [(thread.name, thread.daemon) for thread in threads] == [("worker", True)]

    def test_coroutines_wait_for_it_too(self, clock):
        async def story():
            signal, late = clock.signal(), clock.signal()
            clock.start(signal.set, "setter")
            late.set()
            return await signal.wait_async(10), await late.wait_async(0), await clock.signal().wait_async(0.01)

        assert asyncio.run(story()) == (True, True, False)

    def test_a_loop_that_has_ended_does_not_disturb_who_sets_it(self, clock):
        signal = clock.signal()
        asyncio.run(signal.wait_async(0.001))
        signal.set()
        assert signal.wait(0)

    def test_sleeping_takes_its_time(self, clock):
        begun = clock.now()
        clock.sleep(0.05)
        asyncio.run(clock.sleep_async(0.05))
        assert clock.now() - begun >= 0.1

    def test_its_lock_is_reentrant(self, clock):
        lock = clock.lock()
        with lock, lock:
            pass


def real_seconds(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_the_wall_clock_begins_now_and_runs_at_the_same_rate():
    clock = FastClock(jumps=True)
    assert (clock.rate, FastClock(10).rate) == (1, 10)
    assert abs(clock.wall() - time.time()) < 1
    before = clock.wall()
    clock.sleep(3600)
    assert 3600 <= clock.wall() - before < 3601


def test_a_program_that_keeps_real_time_gets_real_timestamps():
    clock = FastClock(jumps=True, wall=lambda: 5.0)
    clock.sleep(60)
    assert clock.wall() == 5.0


def test_an_hour_of_sleep_takes_no_time_when_everybody_sleeps():
    """Threads, a coroutine, and who waits for them."""
    clock, over = FastClock(jumps=True), []

    def sleeper(seconds):
        clock.sleep(seconds)
        over.append(seconds)

    async def coroutine():
        await clock.sleep_async(1200)
        over.append(1200)
        clock.leave()

    def story():
        with clock.foreground():
            for seconds in (1800, 600):
                clock.start(lambda seconds=seconds: sleeper(seconds), "sleeper")
            clock.enter()
            thread = threading.Thread(target=lambda: asyncio.run(coroutine()))
            thread.start()
            clock.sleep(3600)
        thread.join()

    assert real_seconds(story) < 2
    assert over == [600, 1200, 1800]


def test_whoever_goes_on_waiting_keeps_the_time_jumping():
    """One wait within another, in one thread and in several."""
    clock = FastClock(jumps=True)
    with clock.foreground():
        with clock.foreground():
            pass
        assert real_seconds(lambda: clock.sleep(60)) < 20
    threads = [threading.Thread(target=clock.sleep, args=(seconds,)) for seconds in (60, 90)]
    for thread in threads:
        thread.start()
    assert real_seconds(lambda: [thread.join() for thread in threads]) < 20


def test_time_only_flows_while_somebody_works():
    """A handler that really takes a while is not overtaken by WeChat's five seconds."""
    clock, done = FastClock(jumps=True), None
    done = clock.signal()

    def work():
        time.sleep(0.2)
        done.set()

    other = threading.Thread(target=lambda: clock.signal().wait(0.1))  # nobody waits for it
    with clock.foreground():
        clock.start(work, "worker")
        other.start()
        assert done.wait(5)
    other.join()
    assert clock.now() < 2


def test_what_sleeps_in_the_background_does_not_race_ahead():
    """A heartbeat each second, and nobody waits for anything: that would be days in a moment."""
    clock, beats = FastClock(jumps=True), []

    def heart():
        while len(beats) < 1000:
            clock.sleep(1)
            beats.append(clock.now())

    clock.start(heart, "heart")
    time.sleep(0.1)
    assert beats == []
    clock.sleep(10)
    assert 9 <= len(beats) <= 11


def test_a_thread_that_cannot_be_had_is_not_waited_for(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    clock = FastClock(jumps=True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for one in (clock, REAL):
            with pytest.raises(RuntimeError, match="new thread"):
                one.start(lambda: None, "none")
    assert real_seconds(lambda: clock.sleep(60)) < 2


def test_the_real_clock_counts_nobody():
    clock = Clock()
    clock.enter()
    clock.leave()
    with clock.foreground():
        assert clock.now() <= time.monotonic()
        assert clock.wall() <= time.time()


def test_a_wait_ends_in_time_although_time_has_jumped_since_it_began():
    """Beside one who sleeps, and then really works until they have ended."""
    clock, ends, ended = FastClock(0.1, jumps=True), [], threading.Semaphore(0)  # what the machine takes counts a tenth

    def waits(seconds):
        ends.append((clock.signal().wait(seconds), seconds, clock.now()))
        ended.release()

    def works():
        clock.sleep(3)
        assert ended.acquire(timeout=40) and ended.acquire(timeout=40)

    with clock.foreground():
        for seconds in (3.02, 3.03):
            clock.start(lambda seconds=seconds: waits(seconds), "waits")
        clock.start(works, "works")
        clock.sleep(10)
    assert [(done, seconds) for done, seconds, _ in ends] == [(False, 3.02), (False, 3.03)]
    assert all(seconds <= now < seconds + 0.15 for _, seconds, now in ends), ends
