"""A store that is down: a local file takes its place for all processes of the machine, and gives back what it learned."""

import json
import logging
import os
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import servers
from baton import EPOCH, BatonClock, BatonSpare, FailingStore, SharedStore, Stage
from store_contract import EVERY_VERB, StoreContract, every_verb
from store_contract import VERBS as ALONE
from waiting import until

from wx_mp_svr.clock import FastClock
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.guarded import REST_SECONDS, GuardedStore
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.place import spare_of
from wx_mp_svr.store.redis import RedisStore
from wx_mp_svr.store.spare import Spare
from wx_mp_svr.store.sqlite import SQLiteStore
from wx_mp_svr.store.values import dump, load

PUSH_SECONDS = 5  # WeChat's patience
VERBS = {**ALONE, "add": lambda store: store.add("a", 1, 60)}


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


@pytest.mark.parametrize("verb", VERBS)
def test_a_guard_costs_no_question(verb):
    """Neither of the store that is up, nor of the spare."""
    asked = []

    class Counted:
        def __init__(self):
            self._store = MemoryStore()

        def __getattr__(self, name):
            asked.append(name)
            return getattr(self._store, name)

    spare = Spare()
    spare._store = Counted()
    VERBS[verb](GuardedStore(Counted(), FastClock(jumps=True), spare))
    assert asked == [verb]


class DeadStore:
    """Raises, whatever it is asked, and notes what that was."""

    def __init__(self, asked=None):
        self._asked = [] if asked is None else asked

    def __getattr__(self, verb):
        def fail(*args):
            self._asked.append(verb)
            raise StoreError("dead")

        return fail


class TornStore(MemoryStore):
    """Can be read no more from a moment on."""

    fault = None

    def get(self, key):
        if self.fault is not None:
            raise self.fault
        return super().get(key)


class TestGuardedStoreThatIsDown(StoreContract):
    """Nor does it where the store never answers.

    On a clock that nobody moves: else what looks whether it is back would do so, and log, for as long as tests run.
    """

    def make_store(self, clock=None):
        spare = Spare()
        if clock is not None:
            spare._store = MemoryStore(clock=clock)
        return GuardedStore(DeadStore(), FastClock(jumps=True), spare)


class Machine:
    """Processes that share a store and a spare; what a scene does is drawn from a seed, and time is nobody's."""

    def __init__(self, seed=0):
        self.stage = Stage(seed)
        self.inner = SharedStore(clock=lambda: self.stage.time)
        self.spare = BatonSpare(self.stage)
        self.fault, self.struck = "", ()
        self.one, self.other = self.process(1), self.process(2)

    def process(self, number):
        clock = BatonClock(self.stage)
        store = FailingStore(self.inner, clock, lambda: self.fault if not self.struck or number in self.struck else "")
        return GuardedStore(store, clock, self.spare)

    def play(self, scene):
        self.stage.start(scene, "scene", None, foreground=True)
        self.stage.run()

    def wait(self, seconds):
        self.stage.rest(self.stage.time + seconds)


TIMEOUTS = {"down": 0.3, "full": 0.5, "deaf": 0.3}
FAULTS = [*TIMEOUTS]
faults = pytest.mark.parametrize("fault", FAULTS)


def lines(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# -- down


@faults
@pytest.mark.parametrize("verb", VERBS)
def test_no_caller_ever_sees_that_a_store_fails(verb, fault):
    """The spare answers (B96). What can only be read lets be read."""
    machine = Machine()

    def scene():
        machine.fault = fault
        VERBS[verb](machine.one)
        assert machine.one.down == (fault != "full" or not verb.startswith("get"))
        assert every_verb(machine.one, "b") == EVERY_VERB

    machine.play(scene)


@pytest.mark.parametrize(
    ("fault", "verb", "seconds"),
    [
        *[("down", verb, 0.3) for verb in ("get", "get_many", "set", "incr", "delete")],
        *[("full", verb, 0.5) for verb in ("set", "add", "incr", "delete")],
        ("down", "add", 0.6),  # once more for the claim: perhaps only its answer was lost
    ],
)
def test_who_finds_out_waits_for_one_answer_and_says_what_was_wrong(fault, verb, seconds, caplog):
    machine = Machine()

    def scene():
        machine.fault = fault
        VERBS[verb](machine.one)
        assert machine.stage.time == pytest.approx(seconds, abs=0.01)
        assert machine.one.down

    machine.play(scene)
    (said,) = lines(caplog, logging.ERROR)
    assert said.startswith(f"the store is down, and a local file takes its place: {fault} / ")


def test_whatever_a_store_of_the_users_own_raises_is_an_outage(caplog):
    """Else its first failure would leave a run that nobody ends."""

    class Buggy(DeadStore):
        def get(self, key):
            raise TypeError("a bug")

    store = GuardedStore(Buggy())
    assert store.get("a") is None
    assert store.down
    assert "a bug" in caplog.text


@faults
@pytest.mark.parametrize("seed", range(20))
def test_a_claim_is_won_once_by_all_processes_while_the_store_is_down(fault, seed):
    machine, wins = Machine(seed), []

    def scene():
        machine.fault = fault
        machine.one.set("any", 1, 60)  # it is found out
        for process in (machine.one, machine.other, machine.one, machine.other):
            machine.stage.start(
                lambda process=process: wins.append(process.add("a", "P", 60)), "try", None, foreground=True
            )
        machine.wait(30)
        assert sorted(wins) == [False, False, False, True]

    machine.play(scene)


@faults
@pytest.mark.parametrize("who", ["one", "other"])
def test_a_claim_of_before_counts(fault, who):
    """The next try may come to this process or to another, and WeChat sends it within 15 s."""
    machine = Machine()

    def scene():
        machine.wait(30)  # nothing has happened for a while
        assert machine.one.add("a", "P1", 600)
        machine.wait(14)
        machine.fault = fault
        machine.other.set("any", 1, 60)
        machine.wait(0.3)  # the others find it out
        assert getattr(machine, who).add("a", "P1", 600) is False
        assert machine.other.get("a") == "P1"

    machine.play(scene)


def test_what_was_written_lately_lives_in_the_spare_as_long_as_it_would_have_in_the_store():
    machine = Machine()

    def scene():
        machine.wait(5)
        machine.one.set("a", 1, 10)
        machine.one.set("b", 2, 5.7)
        machine.one.set("c", 3, 5)
        machine.wait(5)
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        assert machine.stage.time == pytest.approx(10.3, abs=0.01)
        assert machine.one.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
        machine.wait(4)
        assert machine.one.get_many(["a", "b", "c"]) == {"a": 1}
        machine.wait(1)
        assert machine.one.get_many(["a", "b", "c"]) == {}

    machine.play(scene)


def test_a_claim_of_long_before_counts_where_the_store_can_be_read():
    """It is locked, or its disk is full."""
    machine = Machine()

    def scene():
        assert machine.one.add("a", "P1", 600)
        machine.wait(300)
        machine.fault = "full"
        assert machine.other.add("a", "P2", 600) is False

    machine.play(scene)


@pytest.mark.parametrize("lasts", [0.1, 60], ids=["one answer", "all answers"])
@pytest.mark.parametrize("value", ["P1", ("<xml/>", 0, False)], ids=["a claim", "a page"])
def test_of_an_add_whose_answer_was_lost_nobody_is_told_that_another_was_first(value, lasts):
    """It was done; the one who asked is the one who won, and nobody else. A page comes back as a list."""
    machine = Machine()

    def recover():
        machine.wait(lasts)
        machine.fault = ""

    def scene():
        machine.fault, machine.struck = "deaf", (1,)
        machine.stage.start(recover, "recovery", None, foreground=False)
        assert machine.one.add("a", value, 600) is True
        assert machine.inner.get("a") == load(dump(value))
        machine.fault = ""
        machine.wait(5)
        assert machine.one.add("a", value, 600) is False
        assert machine.other.add("a", "P2", 600) is False

    machine.play(scene)


class LosingStore(MemoryStore):
    """Adds, and loses the answer when it is told to."""

    loses = False

    def add(self, key, value, ttl):
        won = super().add(key, value, ttl)
        if self.loses:
            raise StoreError("the answer was lost")
        return won


@pytest.mark.parametrize(
    ("before", "won"),
    [
        (lambda store, inner: None, True),
        (lambda store, inner: inner.add("a", "P2", 60), False),
        (lambda store, inner: store.add("a", "P1", 60), False),  # by this process, for a copy that came before
    ],
)
def test_of_an_add_whose_answer_was_lost_the_store_itself_tells(before, won, caplog):
    inner = LosingStore()
    store = GuardedStore(inner, FastClock(jumps=True))
    before(store, inner)
    inner.loses = True
    assert store.add("a", "P1", 60) is won
    assert not store.down
    assert caplog.text == ""
    inner.loses = False
    assert store.add("a", "P1", 60) is False


def test_a_claim_of_one_outage_counts_in_the_next():
    """Which comes so soon that WeChat still asks for the push."""
    machine = Machine()

    def scene():
        machine.fault = "down"
        assert machine.one.add("a", "P1", 600)
        machine.fault = ""
        machine.wait(3)
        assert not machine.one.down
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        machine.wait(0.3)
        assert machine.one.get("a") == "P1"
        assert machine.other.add("a", "P2", 600) is False

    machine.play(scene)


@pytest.mark.parametrize("fault", ["down", ""])
@pytest.mark.parametrize(
    ("before", "won"),
    [
        (lambda machine: None, True),
        (lambda machine: machine.spare._store.delete("a"), True),  # it was copied, and is not to be seen from here
        (lambda machine: (machine.spare._store.delete("a"), machine.inner.set("a", "P1", 60)), True),  # or is
        (lambda machine: (machine.spare._store.set("a", "P2", 60), machine.inner.set("a", "P2", 60)), False),
    ],
)
def test_a_claim_is_won_once_that_was_made_while_the_store_seemed_to_be_back(fault, before, won):
    """For another process it is; for this one it may fail again."""
    machine = Machine()

    def scene():
        machine.fault, machine.struck = "down", (1,)
        machine.one.set("any", 1, 60)
        ask = machine.spare.ask

        def ask_and_be_back(question):
            machine.spare.ask = ask
            answer = ask(question)
            before(machine)
            machine.spare.down, machine.fault = False, fault
            return answer

        machine.spare.ask = ask_and_be_back
        assert machine.one.add("a", "P1", 60) is won
        assert machine.one.get("a") == ("P1" if won else "P2")
        assert machine.other.add("a", "P3", 60) is False
        if not fault:
            assert machine.inner.get("a") == ("P1" if won else "P2")
            machine.wait(61)
            assert machine.inner.get("a") is None

    machine.play(scene)


def test_of_two_threads_that_claim_the_same_as_the_store_comes_back_one_wins():
    """What is found in the store is ours, and another thread's of this process."""
    machine, wins = Machine(), []

    def scene():
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        ask = machine.spare.ask

        def ask_and_be_back(question):
            machine.spare.ask = ask
            answer = ask(question)
            machine.spare._store.delete("a")
            machine.spare.down, machine.fault = False, ""
            wins.append(machine.one.add("a", "P1", 60))
            return answer

        machine.spare.ask = ask_and_be_back
        wins.append(machine.one.add("a", "P1", 60))
        assert wins == [True, False]

    machine.play(scene)


def test_one_thread_looks_after_a_store():
    """And it can be told by its name from those of others."""
    earlier = set(threading.enumerate())
    store = GuardedStore(MemoryStore(), FastClock(jumps=True))
    for verb in VERBS.values():
        verb(store)
    assert [thread.name for thread in set(threading.enumerate()) - earlier].count("wx-mp-store") == 1


def test_a_process_that_hears_of_an_outage_does_not_spread_it_again():
    """Else the store would be left alone for longer than who has found it down has said."""
    machine = Machine()

    def scene():
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        until, machine.fault = machine.spare.until, ""
        machine.wait(0.5)
        assert machine.other.down
        assert machine.spare.until == until

    machine.play(scene)


def test_of_what_was_written_lately_the_last_ten_thousand_are_known_when_the_store_goes_down():
    store = GuardedStore(TornStore(), FastClock(jumps=True), spare := Spare())
    for number in range(10_002):
        store.set(number, number, 60)
    store._store.fault = StoreError("down")
    assert store.get(2) == 2
    assert store.down
    assert [key for key, _, _ in spare.ask(lambda kept: kept.items())] == list(range(2, 10_002))


def test_a_store_that_is_down_is_tried_once_a_second():
    """By one who has no push to answer."""
    clock, spare, tried = FastClock(0.1, jumps=True), Spare(), []
    store = GuardedStore(DeadStore(tried), clock, spare)
    store.set("a", 1, 60)
    spare.say_down(0.0)  # nobody asks for more rest
    tried.clear()
    clock.sleep(19.9)
    assert 15 <= tried.count("set") <= 19


@pytest.mark.parametrize("verb", ["set", "add", "incr", "delete"])
@pytest.mark.parametrize("who", ["one", "other"])
def test_a_store_that_cannot_be_written_is_read_all_the_time(verb, who):
    """Its disk is full; also by those who hear of it."""
    machine = Machine()

    def scene():
        machine.inner.set("page", "of long ago", 600)
        machine.fault = "full"
        VERBS[verb](machine.one)
        if who == "other":
            machine.wait(0.1)
            assert machine.other.down
        assert getattr(machine, who).get("page") == "of long ago"

    machine.play(scene)


def test_of_several_who_find_out_at_once_that_it_cannot_be_written_each_goes_on_reading():
    machine = Machine()

    def write():
        machine.one.set("any", 1, 60)
        assert machine.one.get("page") == "of long ago"

    def scene():
        machine.inner.set("page", "of long ago", 600)
        machine.fault = "full"
        for _ in range(3):
            machine.stage.start(write, "writer", None, foreground=True)
        machine.wait(0.6)
        assert machine.one.get("page") == "of long ago"

    machine.play(scene)


def test_a_store_that_can_be_read_again_is_read_although_it_cannot_be_written():
    """Its server is back, and its disk is full."""
    machine = Machine()

    def scene():
        machine.inner.set("page", "of long ago", 600)
        machine.fault = "down"
        assert machine.one.get("page") is None
        machine.fault = "full"
        machine.wait(5)
        assert machine.one.down
        assert machine.one.get("page") == "of long ago"
        assert machine.one.get_many(["page"]) == {"page": "of long ago"}
        assert machine.one.add("page", "anew", 600) is False

    machine.play(scene)


def test_a_count_goes_on_where_it_was():
    """Which try of WeChat's this is must not begin anew."""
    machine = Machine()

    def scene():
        assert [machine.one.incr("tries", 600), machine.one.incr("tries", 600)] == [1, 2]
        machine.fault = "down"
        assert machine.one.incr("tries", 600) == 3

    machine.play(scene)


def test_one_slow_moment_costs_the_callers_one_timeout_and_the_readers_nothing():
    """A store that is down is left alone until somebody who has no push to answer has seen that it is back."""
    machine = Machine()

    def scene():
        machine.fault = "down"
        machine.one.get("a")
        begun = machine.stage.time
        for verb in VERBS.values():
            verb(machine.one)
        assert machine.stage.time == begun
        machine.fault = ""
        machine.wait(2 * REST_SECONDS)
        assert not machine.one.down

    machine.play(scene)


@pytest.mark.parametrize("reader", ["get", "get_many"])
def test_who_was_on_his_way_when_it_went_down_pays_one_timeout(reader):
    """A second one would let a last try come too late with its link."""
    machine = Machine()
    took = []

    def read():
        machine.wait(0.1)
        begun = machine.stage.time
        VERBS[reader](machine.one)
        took.append(machine.stage.time - begun)

    def scene():
        machine.fault = "down"
        machine.stage.start(read, "reader", None, foreground=True)
        machine.one.set("other", 1, 60)

    machine.play(scene)
    assert took == [pytest.approx(0.3, abs=0.01)]


@faults
@pytest.mark.parametrize(("verb", "values", "timeouts"), [("set", (1, 60), 1), ("add", (1, 60), 2), ("delete", (), 1)])
def test_who_writes_while_others_call_up_what_is_down_for_one_alone_pays_once(fault, verb, values, timeouts):
    """Who finds it up writes its claims again first; when that fails it is down again, and is not asked for the rest.

    An add costs two: after a failure it looks whether only the answer was lost.
    """
    machine = Machine()
    took = []

    def scene():
        machine.fault, machine.struck = fault, (1,)
        machine.one.at_turn(lambda: machine.one.set("run", 1, 60))
        machine.other.set("b", 1, 60)
        for n in range(2000):
            begun = machine.stage.time
            getattr(machine.one, verb)(f"k{n}", *values)
            took.append(machine.stage.time - begun)
            machine.wait(0.01)

    machine.play(scene)
    assert max(took) < 1.1 * timeouts * TIMEOUTS[fault]


@faults
def test_what_a_process_has_won_nobody_wins_again_while_others_call_up_what_is_down_for_it_alone(fault):
    """Two answers of a user had one number: the spare was emptied, and the store could not be asked."""
    machine = Machine()

    def scene():
        machine.fault, machine.struck = fault, (1,)
        machine.other.set("b", 1, 60)
        won = 0
        for n in range(1000):
            won += machine.one.add("a", n, 6000)
            machine.wait(0.01)
        assert won == 1

    machine.play(scene)


def test_what_is_down_for_one_process_alone_is_called_up_by_the_others_less_and_less_often():
    """Each time costs the one a timeout, with a push in its hands."""
    machine = Machine()

    def scene():
        machine.fault, machine.struck = "down", (1,)
        rests = {}
        for n in range(600):
            machine.one.set("a", n, 60)
            fell = machine.spare.fell[-1]
            rests.setdefault(fell, round(machine.spare.until - EPOCH - fell))
            machine.other.set("b", n, 60)
            machine.wait(0.1)
        assert len({round(time, 1) for time in machine.spare.fell}) < 12
        assert list(rests.values())[:6] == [1, 2, 4, 8, 16, 16]

    machine.play(scene)


# -- what is told


def test_an_outage_is_one_error_line_a_minute_and_its_end_another(caplog):
    """Not one for each push (B96)."""
    machine = Machine()

    def scene():
        machine.fault = "down"
        for _ in range(119):
            for verb in VERBS.values():
                verb(machine.one)
            machine.wait(1)
        machine.fault = ""
        machine.wait(20)

    machine.play(scene)
    (said,) = lines(caplog, logging.ERROR)
    assert "the store is down" in said
    assert "备用文件" in said
    (said,) = lines(caplog, logging.WARNING)
    assert "the store answers again; 1 items were copied" in said


def test_outages_one_after_the_other_are_one_error_line_a_minute(caplog):
    machine = Machine()

    def scene():
        for _ in range(7):
            machine.fault = "down"
            machine.one.set("a", 1, 60)  # which takes 0.3 s
            machine.fault = ""
            machine.wait(19.8)
            assert not machine.one.down

    machine.play(scene)
    assert len(lines(caplog, logging.ERROR)) == 3


# -- back again


@faults
@pytest.mark.parametrize("who", ["one", "other"])
def test_what_was_learned_meanwhile_is_in_the_store_afterwards(fault, who):
    """And the spare is empty, so that nothing of it comes up in the next outage."""
    machine = Machine()

    def scene():
        machine.inner.set("promise", "before", 600)
        machine.fault = fault
        machine.one.add("claim", "P1", 600)
        machine.one.set("promise", "during", 600)
        machine.one.set("alive:P1", 1, 4)
        machine.fault = ""
        machine.wait(3)
        process = getattr(machine, who)
        assert not process.down
        assert process.add("claim", "a second run", 600) is False
        assert process.get("claim") == "P1"
        assert process.get("promise") == "before"  # never over what is there
        assert machine.spare.ask(lambda spare: spare.items()) == []
        machine.wait(600)
        assert process.add("claim", "anew", 600) is True

    machine.play(scene)


@pytest.mark.parametrize("seed", range(60))
def test_who_writes_while_it_comes_back_loses_nothing(seed):
    """Claims are won once, and what was set is there, wherever the copying was at that moment."""
    machine, wins = Machine(seed), []

    def scene():
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        machine.wait(0.5)
        machine.fault = ""
        for n in range(24):
            machine.wait(0.05)
            for process in (machine.one, machine.other):
                machine.stage.start(
                    lambda n=n, process=process: wins.append((n, process.add(f"claim{n}", f"{id(process)}", 600))),
                    "try",
                    None,
                    foreground=True,
                )
                machine.stage.start(
                    lambda n=n, process=process: process.set(f"set{n}{id(process)}", n, 600),
                    "set",
                    None,
                    foreground=True,
                )
        machine.wait(10)
        assert [n for n, won in sorted(wins) if won] == list(range(24))
        for process in (machine.one, machine.other):
            assert not process.down
            assert [process.get(f"set{n}{id(process)}") for n in range(24)] == list(range(24))
        assert machine.spare.ask(lambda spare: spare.items()) == []

    machine.play(scene)


def test_a_store_that_fails_again_while_it_comes_back_is_down_as_before():
    """What was written behind the last copy waits for the next time."""
    machine = Machine()

    def scene():
        machine.fault = "down"
        machine.one.add("claim", "P1", 600)
        say_up = machine.spare.say_up

        def say_up_too_early():
            say_up()
            machine.spare._store.set("late", 1, 600)
            machine.fault, machine.spare.say_up = "full", say_up

        machine.spare.say_up = say_up_too_early
        machine.fault = ""
        machine.wait(3)
        assert machine.spare.down
        assert machine.one.down
        assert machine.inner.get("claim") == "P1"
        machine.fault = ""
        machine.wait(5)
        assert not machine.one.down
        assert machine.inner.get("late") == 1
        assert machine.spare.ask(lambda spare: spare.items()) == []

    machine.play(scene)


def test_each_process_hears_once_that_the_store_has_gone_down_and_once_that_it_is_back():
    machine, heard = Machine(), []

    def scene():
        machine.one.at_turn(lambda: heard.append("one"))
        machine.other.at_turn(lambda: heard.append("other"))
        machine.other.set("any", 1, 60)
        machine.fault = "down"
        machine.one.set("any", 1, 60)
        machine.wait(1)
        assert sorted(heard) == ["one", "other"]
        machine.fault = ""
        machine.wait(5)
        assert sorted(heard) == ["one", "one", "other", "other"]

    machine.play(scene)


# -- the spare


def test_the_verdict_and_what_is_learned_are_for_all_processes_of_the_machine(tmp_path):
    one, other = (GuardedStore(DeadStore(), spare=Spare(tmp_path / "spare")) for _ in range(2))
    assert one.add("claim", "P1", 60)
    assert other.down
    assert not other.add("claim", "P2", 60)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_spare_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "spare").mkdir()
    store = GuardedStore(DeadStore(), spare=Spare(tmp_path / "spare"))
    assert every_verb(store, "a") == EVERY_VERB
    assert store.down
    assert caplog.text.count("备用文件也不能用") == 1
    assert f"remembered in this process only: SQLite: {tmp_path / 'spare'} is a folder" in caplog.text


def test_a_spare_gives_away_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    store = RedisStore("redis://:verysecret@127.0.0.1:1/0")
    spare = spare_of(store)
    GuardedStore(store, spare=spare).set("a", 1, 60)
    assert any(tmp_path.iterdir())
    assert not [file for file in tmp_path.iterdir() if "secret" in file.name or b"secret" in file.read_bytes()]


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
def test_an_outage_of_redis_from_its_beginning_to_its_end(redis, tmp_path, caplog, fault):
    """B96, B97."""
    store = GuardedStore(RedisStore(redis.url), spare=Spare(tmp_path / "spare"))
    assert push(store, "before") < PUSH_SECONDS
    getattr(redis, fault)()
    assert push(store, "during") < 2
    assert store.down
    assert store.add("claim", "ours", 600)
    assert push(store, "still") < 1
    assert len(lines(caplog, logging.ERROR)) == 1
    redis.start()
    redis.resume()
    until(lambda: not store.down)
    assert push(store, "after") < PUSH_SECONDS
    assert store.add("claim", "a second run", 600) is False
    assert RedisStore(redis.url).get("after") == "set"
    assert RedisStore(redis.url).get("during") == "set"
    assert "the store answers again" in lines(caplog, logging.WARNING)[0]


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_a_hundred_pushes_at_the_moment_of_the_outage_are_all_answered_in_time(redis, tmp_path, fault):
    """More than there are connections; each learns of the outage by itself, or from another (B97)."""
    store = GuardedStore(RedisStore(redis.url), spare=Spare(tmp_path / "spare"))
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


def test_a_locked_file_from_the_beginning_to_the_end(tmp_path, caplog):
    """The same with SQLite (B98)."""
    path = tmp_path / "db"
    store = GuardedStore(SQLiteStore(path), spare=Spare(tmp_path / "spare"))
    push(store, "before")
    with locked(path):
        assert push(store, "during") < 2
        assert store.down
        assert store.get("before") == "set"
        assert store.add("claim", "ours", 600)
    assert len(lines(caplog, logging.ERROR)) == 1
    until(lambda: not store.down)
    assert push(store, "after") < 1
    assert store.add("claim", "a second run", 600) is False
    assert SQLiteStore(path).get("after") == "set"


def test_eight_pushes_at_the_moment_of_a_lock_are_all_answered_in_time(tmp_path):
    """As many as a worker has threads (B98)."""
    path = tmp_path / "db"
    store = GuardedStore(SQLiteStore(path), spare=Spare(tmp_path / "spare"))
    push(store, "before")
    together = threading.Barrier(8)

    def arrive(n):
        together.wait(20)
        return push(store, f"push{n}")

    with locked(path), ThreadPoolExecutor(8) as pool:
        times = list(pool.map(arrive, range(8)))
    assert max(times) < PUSH_SECONDS, times
