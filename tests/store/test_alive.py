"""Who lives: beats while there is work, and whose beats are missing for too long is gone."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from wx_mp_svr.clock import FastClock
from wx_mp_svr.store.alive import BEAT_SECONDS, IDLE_SECONDS, PATIENCE_SECONDS, STALE_SECONDS, Alive, beat_key, is_beat
from wx_mp_svr.store.locks import Locks
from wx_mp_svr.store.memory import MemoryStore


class Stage:
    """Processes that share a store, on a clock that jumps."""

    def __init__(self, clock=None):
        self.clock = clock or FastClock(jumps=True)
        self.store = MemoryStore(clock=self.clock.now)
        self._processes = []

    def process(self, work, **place):
        self._processes.append(Alive(self.store, self.clock, lambda: bool(work), **place))
        return self._processes[-1]

    def close(self):
        """End them all: no heart beats, and complains, in another test."""
        for alive in self._processes:
            alive.stop()


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.close()


def beats(stage, alive):
    return stage.store.get(beat_key(alive.process)) is not None


def test_a_process_has_a_name_of_its_own(stage):
    names = {stage.process([]).process for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"{os.getpid()}-") for name in names)


def test_the_first_beat_comes_before_the_first_claim(stage):
    """Who finds the claim may look for its process at once."""
    alive = stage.process([1])
    assert not beats(stage, alive)
    alive.wake()
    assert beats(stage, alive)


def test_it_beats_while_there_is_work_and_stops_a_while_after(stage):
    work = [1]
    alive = stage.process(work)
    alive.wake()
    stage.clock.sleep(60 * BEAT_SECONDS)
    assert beats(stage, alive)
    work.clear()
    stage.clock.sleep(STALE_SECONDS + BEAT_SECONDS)
    assert not beats(stage, alive)
    work.append(1)
    stage.clock.sleep(2 * BEAT_SECONDS)
    assert beats(stage, alive)


@pytest.mark.parametrize(("seconds", "lives"), [(3.9, True), (4.1, False)])
def test_a_beat_is_good_for_four_seconds(seconds, lives):
    """Of a process that beats no more."""
    clock, now = FastClock(0.001), 0.0
    clock.now = lambda: now
    stage = Stage(clock)
    alive = stage.process([1])
    alive.wake()
    now = seconds
    assert beats(stage, alive) == lives
    stage.close()


def test_a_key_of_a_beat_can_be_told_from_others():
    """What takes a store's place gives back all that it has learned, but nobody's beats."""
    assert is_beat(beat_key("a-1"))
    assert not is_beat("2:p:1:abc:run:1")


@pytest.mark.parametrize(("seconds", "parked"), [(59.5, False), (60.5, True)])
def test_it_parks_after_a_minute_without_work(seconds, parked):
    """Then the next time of work begins with a beat, and else not."""
    stage, earlier = Stage(FastClock(0.1, jumps=True)), set(threading.enumerate())
    alive = stage.process([])
    alive.wake()
    assert "wx-mp-alive" in {thread.name for thread in set(threading.enumerate()) - earlier}
    stage.clock.sleep(seconds)
    assert not beats(stage, alive)
    alive.wake()
    assert beats(stage, alive) == parked
    stage.close()


def test_after_a_minute_without_work_it_parks_and_wakes_with_a_beat(stage):
    work = []
    alive = stage.process(work)
    alive.wake()
    stage.clock.sleep(IDLE_SECONDS + 5 * BEAT_SECONDS)
    assert not alive._beating
    work.append(1)
    alive.wake()
    assert beats(stage, alive)


def test_work_that_comes_while_it_is_about_to_park_keeps_it_beating(stage):
    """Who brings it sees that there are beats, and wakes nobody."""
    came = []

    def busy():
        if stage.clock.now() > IDLE_SECONDS:
            came.append(1)
        return len(came) > 1  # between the two looks of one beat

    alive = Alive(stage.store, stage.clock, busy)
    stage._processes.append(alive)
    alive.wake()
    stage.clock.sleep(IDLE_SECONDS + 10 * BEAT_SECONDS)
    assert beats(stage, alive)


def test_work_that_comes_at_the_very_moment_of_parking_wakes_it_again(stage):
    """Who brings it waits for the lock, and looks then whether it beats."""
    work, waits, held = [], threading.Event(), []

    class Noted:
        def __init__(self):
            self.lock = threading.RLock()

        def __enter__(self):
            if work:
                waits.set()
            self.lock.acquire()
            held.append(True)

        def __exit__(self, *_):
            held.pop()
            self.lock.release()

    def come():
        work.append(1)
        alive.wake()
        waits.set()

    def busy():
        if held and not work:
            threads.append(threading.Thread(target=come))
            threads[0].start()
            waits.wait(20)
            return False
        return bool(work)

    threads, stage.clock.lock = [], Noted
    alive = Alive(stage.store, stage.clock, busy)
    stage._processes.append(alive)
    alive.wake()
    stage.clock.sleep(IDLE_SECONDS + 2 * BEAT_SECONDS)
    threads[0].join(20)
    assert beats(stage, alive)


def test_stopping_takes_the_beat_away_and_none_brings_it_back(stage):
    alive = stage.process([1])
    alive.wake()
    alive.stop()
    assert not beats(stage, alive)
    alive.wake()
    stage.clock.sleep(3 * BEAT_SECONDS)
    assert not beats(stage, alive)


def test_a_beat_that_is_being_written_when_it_stops_is_taken_back(stage):
    alive, write = stage.process([1]), stage.store.set

    def write_late(*beat):
        alive.stop()
        write(*beat)

    stage.store.set = write_late
    alive.wake()
    assert not beats(stage, alive)


def test_a_beat_that_fails_is_not_the_last(stage, caplog):
    alive, calls = stage.process([1]), []

    def broken():
        calls.append(1)
        raise OSError("gone")

    alive.at_each_beat(broken)
    alive.wake()
    stage.clock.sleep(5 * BEAT_SECONDS)
    assert len(calls) >= 4
    assert beats(stage, alive)
    assert "a heartbeat failed" in caplog.text


def test_a_process_that_dies_is_found_lost_and_only_that_one(stage):
    here, lives, dies = stage.process([1]), stage.process([1]), stage.process([1])
    for alive in (here, lives, dies):
        alive.wake()
    dies.stop()
    assert not here.is_lost(dies.process)  # perhaps the store has forgotten everything a moment ago
    assert here.suspects(dies.process)
    stage.clock.sleep(PATIENCE_SECONDS)
    assert here.is_lost(dies.process)
    assert not here.is_lost(lives.process)
    assert not here.is_lost(here.process)


def test_a_store_that_forgot_everything_makes_nobody_dead(stage):
    """The next beat is there before anybody is called lost."""
    here, other = stage.process([1]), stage.process([1])
    for alive in (here, other):
        alive.wake()
    for alive in (here, other):
        stage.store.delete(beat_key(alive.process))
    for _ in range(20):
        assert not here.is_lost(other.process)
        stage.clock.sleep(0.1)


def test_patience_with_a_process_goes_on_where_the_last_look_left_off(stage):
    """One try of WeChat's may be shorter; but what was seen long ago does not count."""
    here = stage.process([])
    assert not here.is_lost("gone")
    stage.clock.sleep(1.0)
    assert not here.is_lost("gone")
    stage.clock.sleep(1.0)
    assert here.is_lost("gone")
    stage.clock.sleep(60.0)
    assert not here.is_lost("gone")


@pytest.mark.parametrize(("seconds", "is_lost"), [(1.4, False), (1.5, True), (10.0, True), (10.1, False)])
def test_who_is_missing_for_a_beat_and_a_half_is_lost_and_what_was_seen_long_ago_does_not_count(seconds, is_lost):
    clock, now = FastClock(), 0.0
    clock.now = lambda: now
    here = Stage(clock).process([])
    assert not here.is_lost("gone")
    now = seconds
    assert here.is_lost("gone") == is_lost


def test_patience_begins_anew_with_one_who_has_beaten_again():
    clock, suspected = FastClock(), []
    clock.now = lambda: float(len(suspected))
    here = Stage(clock).process([])
    for found in ({}, {beat_key("other"): 1}, {}, {}):
        assert here.lost(["other"], found) == set()
        suspected.append(here.suspects("other"))
    assert suspected == [True, False, True, True]


def test_however_many_are_gone_each_is_found_lost():
    """What is kept of them is bounded, but no patience begins anew."""
    clock, now = FastClock(), 1000.0
    clock.now = lambda: now
    here, names = Stage(clock).process([]), [f"gone{number}" for number in range(150)]
    assert not any(map(here.is_lost, names))
    now += PATIENCE_SECONDS
    assert all(map(here.is_lost, names))


def test_of_many_processes_those_that_are_gone_are_told_at_once(stage, tmp_path):
    """Who watches for several asks the store once for all."""
    here, far, near = stage.process([1], locks=Locks(tmp_path / "alive")), stage.process([1]), by_file(stage, tmp_path)
    for alive in (here, far, near):
        alive.wake()
    os.close(Locks(tmp_path / "alive").take("killed"))
    assert here.lost(["killed", "gone"], {}) == {"killed"}  # its file tells
    names = ["gone", here.process, "lost", near.process, far.process, "queue-1"]
    here.vouch("queue-1", 60)
    stage.store.set("other", 1, 60)

    def lost():
        return here.lost(names, stage.store.get_many(here.keys(names)))

    assert lost() == set()
    stage.clock.sleep(PATIENCE_SECONDS)
    assert lost() == {"gone", "lost"}
    os.close(Locks(tmp_path / "alive").take("killed"))
    assert here.lost(["killed", "gone"], {}) == {"killed", "gone"}
    near.stop()
    stage.clock.sleep(PATIENCE_SECONDS)
    assert lost() == {"gone", "lost"}
    stage.clock.sleep(PATIENCE_SECONDS)
    assert lost() == {"gone", "lost", near.process}


def test_while_the_store_is_down_nobody_is_called_lost_and_patience_begins_anew(stage):
    """What is missing may be where nobody can read."""
    here = stage.process([])
    stage.store.down = True
    assert not here.is_lost("gone")
    stage.clock.sleep(60)
    assert not here.is_lost("gone")
    stage.store.down = False
    assert not here.is_lost("gone")
    stage.clock.sleep(1.0)
    stage.store.down = True
    assert not here.is_lost("gone")
    stage.store.down = False
    stage.clock.sleep(1.0)
    assert not here.is_lost("gone")
    stage.clock.sleep(PATIENCE_SECONDS)
    assert here.is_lost("gone")


def test_a_queue_is_vouched_for_as_long_as_it_was_said(stage):
    here = stage.process([])
    here.vouch("queue-1", 600.0)
    stage.clock.sleep(599)
    assert not here.is_lost("queue-1")
    stage.clock.sleep(2)
    assert not here.is_lost("queue-1")
    stage.clock.sleep(2)
    assert here.is_lost("queue-1")


def test_the_names_of_many_that_are_gone_are_not_kept_for_ever(stage):
    here = stage.process([])
    for n in range(1000):
        here.is_lost(f"gone-{n}")
        stage.clock.sleep(1.0)
    assert len(here._missing) < 200


# -- by locked files ---------------------------------------------------------------------------------------------------


def by_file(stage, tmp_path, *, alone=True):
    return stage.process([1], locks=Locks(tmp_path / "alive"), alone=alone)


def test_a_process_with_a_locked_file_needs_no_beats(stage, tmp_path):
    """However long its interpreter stands still: nobody takes it for dead by mistake."""
    here, other = by_file(stage, tmp_path), by_file(stage, tmp_path)
    for alive in (here, other):
        alive.wake()
    assert not beats(stage, other)
    stage.clock.sleep(60)
    assert not here.is_lost(other.process)
    other.stop()
    assert here.is_lost(other.process)  # at once
    assert not here.is_lost(here.process)


def test_a_killed_process_is_lost_at_once(stage, tmp_path):
    program = """
import sys, time
from pathlib import Path
from wx_mp_svr.store.locks import Locks
assert Locks(Path(sys.argv[1])).take("victim") is not None
print("locked", flush=True)
time.sleep(60)
"""
    here = by_file(stage, tmp_path)
    here.wake()
    with subprocess.Popen([sys.executable, "-c", program, tmp_path / "alive"], stdout=subprocess.PIPE) as victim:
        assert victim.stdout.readline() == b"locked\n"
        assert not here.is_lost("victim")
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert here.is_lost("victim")
    assert not (tmp_path / "alive" / "victim").exists()
    assert here.is_lost("victim")


def test_a_place_in_a_queue_has_no_file_and_lives_as_long_as_it_is_vouched_for(stage, tmp_path):
    here = by_file(stage, tmp_path)
    here.wake()
    here.vouch("queue-1", 600)
    assert not here.is_lost("queue-1")


def test_with_other_machines_the_file_knows_better_than_beats_and_beats_better_than_nothing(stage, tmp_path):
    here, near = (by_file(stage, tmp_path, alone=False) for _ in range(2))
    far = stage.process([1])
    for alive in (here, near, far):
        alive.wake()
    assert beats(stage, near)  # for the other machine
    stage.store.delete(beat_key(near.process))
    near._ended = True  # it hangs, and beats no more
    stage.clock.sleep(60)
    assert not here.is_lost(near.process)
    assert not here.is_lost(far.process)
    far.stop()
    here.is_lost(far.process)
    stage.clock.sleep(PATIENCE_SECONDS)
    assert here.is_lost(far.process)


def test_where_files_cannot_be_locked_it_beats(stage, tmp_path):
    (tmp_path / "alive").write_text("a file where the folder should be")
    here, other = by_file(stage, tmp_path), by_file(stage, tmp_path)
    for alive in (here, other):
        alive.wake()
    assert beats(stage, other)
    assert not here.is_lost(other.process)


def test_a_forked_child_takes_a_lock_of_its_own(stage, tmp_path):
    """And the end of the child does not let go of its parent's."""
    here, parent = by_file(stage, tmp_path), by_file(stage, tmp_path)
    for alive in (here, parent):
        alive.wake()
    name = parent.process
    child = os.fork()
    if not child:
        os._exit(0 if parent.process != name and parent._file is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not here.is_lost(name)
