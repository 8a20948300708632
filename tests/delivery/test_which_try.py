"""Which of WeChat's tries a request is: what the table of ages does not show. That one is with the slow replies."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.delivery.ledger import Ledger
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.which_try import Ages, WhichTry
from wx_mp_svr.store.memory import MemoryStore


def test_many_that_come_at_once_learn_from_one_another_without_harm():
    """Each request's thread reads and writes the same few ages."""
    ledger = Ledger(MemoryStore(), REAL, keep_seconds=600, keep_answers=86400)
    which = WhichTry(ledger, Times(), REAL, fresh=False)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def come(number):
            for n in range(300):
                timestamp = int(time.time())
                age = which.judge(timestamp)
                which.first(f"p:{number}:{n}", age, timestamp)
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(come, range(8)))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("usual", "age", "judged"),
    [
        ([], 1.0, (1, 0.0)),  # timestamps are whole seconds
        ([], 1.5, (1, 1.5)),
        ([], -1.0, (1, 0.0)),
        ([], -1.5, (3, 0.0)),  # younger than a first try can be: in doubt the last
        ([0.0] * 3, 0.9, (1, 0.0)),
        ([0.0] * 3, 3.9, (1, 3.9)),
        ([0.0] * 3, 4.0, (2, 0.0)),
        ([0.0] * 3, 6.0, (2, 0.0)),
        ([0.0] * 3, 6.5, (2, 1.5)),
        ([0.0] * 3, 11.5, (3, 1.5)),
        ([0.0] * 3, 30.0, (1, 0.0)),  # an old request
        ([-1.0], 0.5, (1, 1.5)),
        ([-60.0] * 2, -60.0, (3, 0.0)),  # a clock that is slow is known after three
        ([-60.0] * 2, -61.0, (3, 0.0)),
        ([-60.0] * 2, -58.5, (3, 0.0)),
        ([-60.0] * 3, -61.0, (1, 0.0)),
        ([-60.0] * 3, -58.5, (1, 1.5)),
        ([12.0] * 2, 12.5, (1, 0.0)),  # and so is one that is fast, unless those were retries
        ([12.0] * 2, 13.0, (3, 3.0)),
        ([12.0] * 2, 29.5, (7, 0.0)),
        ([12.0] * 2, 30.0, (4, 3.0)),
        ([12.0] * 3, 14.0, (1, 2.0)),
    ],
)
def test_an_age_tells_how_long_a_try_has_waited_before_it_came(usual, age, judged):
    known = Ages()
    for now, before in enumerate(usual):
        known.learn(before, 1, now * 10.0)
    assert known.judge(age, 1e6) == judged


@pytest.mark.parametrize(
    ("usual", "age", "judged"),
    [
        (0.5, 4.4, (2, 0.0)),  # a retry makes no usual age any surer
        (-2.0, 3.0, (3, 0.0)),
        (-2.0, 2.0, (3, 0.0)),
        (-2.0, 1.0, (1, 3.0)),  # and this is none
    ],
)
def test_what_is_a_retry_for_certain_does_not_count_as_a_first_try(usual, age, judged):
    known = Ages()
    known.learn(usual, 1, 0.0)
    for now in (10.0, 20.0):
        known.learn(age, known.judge(age, now).number, now)
    assert known.judge(age, 30.0) == judged


@pytest.mark.parametrize(
    ("usual", "age", "becomes"),
    [
        ([0.0], 4.2, 0.0),  # first tries that a network has lost, one after the other
        ([0.0], 6.0, 0.0),
        ([0.0], 6.5, 6.5),  # a clock that was set: no try comes so late
        ([], 4.2, None),
        ([], 6.5, 6.5),
        ([2.0], 6.5, 2.0),
        ([2.0], 8.5, 8.5),
    ],
)
def test_five_at_once_that_are_no_retries_make_a_new_usual_age(usual, age, becomes):
    known = Ages()
    for before in usual:
        known.learn(before, 1, 0.0)
    for now in (10.0, 10.1, 10.2, 10.3, 10.4):
        known.learn(age, 2, now)
    assert known.normal == becomes


class Hands(FastClock):
    """A clock that stands still until a test turns it; its wall shows a round time."""

    def __init__(self):
        super().__init__(wall=lambda: 1_700_000_000 + self.time)
        self.time = 0.0
        self.now = lambda: self.time


@pytest.fixture
def hands():
    return Hands()


def process(store, clock, *, fresh=True):
    ledger = Ledger(store, clock, keep_seconds=600, keep_answers=86400)
    return WhichTry(ledger, Times(), clock, fresh=fresh), ledger


def come(which, clock, age):
    return which.judge(int(clock.wall() - age)).number


@pytest.mark.parametrize(
    ("fresh", "turned", "numbers"),
    [
        (False, None, [1, 1]),
        (True, None, [3, 1]),  # the tries before it may have come to a process before this one
        (True, 4.0, [3, 3]),  # or to another one that has died meanwhile
        (False, 4.0, [1, 1]),
    ],
)
def test_a_push_from_before_a_process_began_or_died_counts_as_on_its_last_try(hands, fresh, turned, numbers):
    store = MemoryStore(clock=hands.now)
    which, ledger = process(store, hands, fresh=fresh)
    found = [come(which, hands, 1)]
    hands.time = 5.0
    if turned is not None:
        ledger.turned(hands.wall() - 5.0 + turned)
    found.append(come(which, hands, 2))
    assert found == numbers


def test_a_process_that_begins_tells_the_others_and_begins_with_their_usual_age(hands):
    """A clock that is a minute fast is known from the first push on."""
    store = MemoryStore(clock=hands.now)
    old, ledger = process(store, hands, fresh=False)
    hands.time = 100.0
    for _ in range(3):
        timestamp = int(hands.wall() - 60)
        old.first("p:1", old.judge(timestamp), timestamp)
        hands.time += 11.0
    assert ledger.told() == (None, 60.0)
    new, _ = process(store, hands)
    began = hands.wall()
    hands.time += 200.0
    assert [come(new, hands, age) for age in (60.0, 65.5)] == [1, 2]
    assert ledger.told()[0] == began


def test_what_others_know_is_asked_for_once_a_second_and_what_is_usual_told_every_ten(hands):
    store, asked = MemoryStore(clock=hands.now), []

    def counted(verb, do):
        return lambda *args: asked.append(verb) or do(*args)

    for verb in ("get_many", "set"):
        setattr(store, verb, counted(verb, getattr(store, verb)))
    which, _ = process(store, hands, fresh=False)
    for tenth in range(201):
        hands.time = tenth / 10
        timestamp = int(hands.wall())
        which.first(f"p:{tenth}", which.judge(timestamp), timestamp)
    assert (asked.count("get_many"), asked.count("set")) == (21, 3)


def test_tries_that_were_lost_are_counted_for_the_copies_that_come(hands):
    """The second and the third try may come at once, and look as old as each other."""
    which, _ = process(MemoryStore(clock=hands.now), hands, fresh=False)
    timestamp = int(hands.wall()) - 5
    age = which.first("p:1", which.judge(timestamp), timestamp)
    assert age.number == 2
    assert [which.again("p:1", age, timestamp, before=1).number for _ in range(2)] == [3, 4]
    first = which.again("p:2", age._replace(number=1), timestamp, before=0)
    assert first.number == 1


def test_a_process_that_is_gone_makes_every_try_that_began_before_the_last_everywhere(hands):
    store = MemoryStore(clock=hands.now)
    which, ledger = process(store, hands, fresh=False)
    hands.time = 10.0
    assert come(which, hands, 1) == 1
    which.process_gone()
    assert ledger.told() == (hands.wall(), None)
    assert [come(which, hands, age) for age in (1, 0)] == [3, 3]
    hands.time = 12.0
    assert come(which, hands, 1) == 1


def test_a_push_from_the_future_may_be_on_its_last_try_until_its_clock_is_known(hands):
    """Two clocks that differ: nothing can be told from the first age, but from the next ones."""
    which, _ = process(MemoryStore(clock=hands.now), hands, fresh=False)
    assert come(which, hands, -10) == 3
    hands.time = 60.0
    timestamp = int(hands.wall()) + 10
    for _ in range(2):
        which.first("p:1", which.judge(timestamp), timestamp)
        hands.time += 60.0
        timestamp += 60
    assert [come(which, hands, age) for age in (-10, -5)] == [1, 2]
