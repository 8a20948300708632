"""What every Store owes its callers, ours and users' own: inherit `StoreContract` and give `make_store`.

A store that several processes share inherits `SharedStoreContract` and gives `recipe` and `raw_items` too.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).with_name("store_worker.py")
PATIENCE_SECONDS = 20  # with a process that should have answered long before
may_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # threads are what these tests are about

JSON_VALUES = [
    1,
    0,
    -5,
    2**53,
    1.5,
    True,
    False,
    "",
    "text",
    "你好 😀 ]]>\n\t'\"\\%",
    "x" * 100_000,
    [],
    [1, "a", None, [2]],
    {},
    {"a": 1, "b": {"c": ["你", None, False]}},
    "👨‍👩‍👧‍👦 e\u0301 \u2028 \x00 \x7f",
    -(2**63),
    [[[[[[[[[[{"a": [{}]}]]]]]]]]]],
]
NO_JSON_VALUES = [object(), b"bytes", {1, 2}, 1j, {"a": [b"deep"]}, print, float("nan"), float("inf")]


class FakeClock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class StoreContract:
    """Inherit it as ``class TestMyStore(StoreContract)``.

    Times to live are tested where the store takes a clock: `make_store` is then called with one, and has to hand it on.
    Set `takes_clock` to False where that cannot be done.
    """

    takes_clock = True

    def make_store(self, clock=None):
        """Return a fresh, empty store; with *clock* (a function that returns seconds) if one is given."""
        raise NotImplementedError

    def make_timed(self):
        """Return a store and the clock that it goes by."""
        if not self.takes_clock:
            pytest.skip("this store takes no clock")
        clock = FakeClock()
        return self.make_store(clock), clock

    # -- set, get, delete

    def test_what_is_not_there_is_none(self):
        assert self.make_store().get("a") is None

    @pytest.mark.parametrize("value", JSON_VALUES, ids=lambda value: repr(value)[:20])
    def test_json_values_come_back_as_they_went_in(self, value):
        store = self.make_store()
        store.set("a", value, 60)
        kept = store.get("a")
        assert (kept, type(kept)) == (value, type(value))

    @pytest.mark.parametrize("value", JSON_VALUES, ids=lambda value: repr(value)[:20])
    def test_add_keeps_json_values_too_and_also_falsy_ones_are_there(self, value):
        store = self.make_store()
        assert store.add("a", value, 60)
        assert not store.add("a", "other", 60)
        assert store.get("a") == value

    def test_set_replaces(self):
        store = self.make_store()
        store.set("a", 1, 60)
        store.set("a", "two", 60)
        assert store.get("a") == "two"

    def test_keys_are_kept_apart(self):
        store = self.make_store()
        keys = ["a", "A", "a ", "a:run", "a%", "a_", "你", "k" * 200]
        for n, key in enumerate(keys):
            assert store.add(key, n, 60)
        assert [store.get(key) for key in keys] == list(range(len(keys)))

    def test_delete_forgets(self):
        store = self.make_store()
        for key in "abc":
            store.set(key, 1, 60)
        store.delete("a", "b")
        assert [store.get(key) for key in "abc"] == [None, None, 1]
        assert store.add("a", 2, 60)

    def test_deleting_what_is_not_there_or_nothing_is_no_error(self):
        store = self.make_store()
        store.delete("a", "a")
        store.delete()
        assert store.get("a") is None

    # -- get_many

    def test_get_many_returns_what_there_is(self):
        store = self.make_store()
        store.set("a", 1, 60)
        store.set("b", {"c": "你"}, 60)
        assert store.get_many(["a", "b", "c"]) == {"a": 1, "b": {"c": "你"}}

    @pytest.mark.parametrize("keys", [[], ["c"], ("c",)])
    def test_get_many_of_nothing_is_nothing(self, keys):
        store = self.make_store()
        store.set("a", 1, 60)
        assert store.get_many(keys) == {}

    def test_get_many_takes_a_key_twice_and_a_thousand(self):
        store = self.make_store()
        for n in range(0, 1000, 2):
            store.set(f"k{n}", n, 60)
        assert store.get_many([f"k{n}" for n in range(1000)] * 2) == {f"k{n}": n for n in range(0, 1000, 2)}

    @pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1200])
    def test_get_many_takes_any_number_of_keys(self, count):
        store = self.make_store()
        wanted = {f"k{n}": n for n in range(count)}
        for key, value in wanted.items():
            store.set(key, value, 60)
        assert store.get_many(tuple(wanted)) == wanted
        assert store.get_many([f"none{n}" for n in range(count)]) == {}

    def test_none_is_as_good_as_absent(self):
        store = self.make_store()
        store.set("a", None, 60)
        assert (store.get("a"), store.get_many(["a"])) == (None, {})

    def test_half_an_emoji_comes_back_too(self):
        """A model's stream may be cut in the middle of a pair of surrogates; JSON can carry that."""
        store = self.make_store()
        store.set("a", {"text": "x\ud83d"}, 60)
        assert store.get("a") == {"text": "x\ud83d"}

    # -- add

    def test_add_is_true_once(self):
        """Who asks and who writes is one step (B95)."""
        store = self.make_store()
        assert store.add("a", 1, 60) is True
        assert store.add("a", 2, 60) is False
        assert store.get("a") == 1

    def test_add_sees_what_was_set(self):
        store = self.make_store()
        store.set("a", 1, 60)
        assert store.add("a", 2, 60) is False

    def test_exactly_one_of_twenty_threads_wins_add(self):
        """Of the copies of one push one runs the handler (B95)."""
        store = self.make_store()
        with ThreadPoolExecutor(20) as pool:
            together = threading.Barrier(20)

            def add(n, key):
                together.wait(10)
                return store.add(key, n, 60)

            for key in map(str, range(20)):
                wins = list(pool.map(add, range(20), [key] * 20))
                assert wins.count(True) == 1
                assert store.get(key) == wins.index(True)

    # -- incr

    def test_incr_counts_from_one(self):
        store = self.make_store()
        assert [store.incr("a", 60) for _ in range(3)] == [1, 2, 3]
        assert store.incr("b", 60) == 1
        assert store.get("a") == 3

    def test_incr_starts_again_after_delete(self):
        store = self.make_store()
        store.incr("a", 60)
        store.delete("a")
        assert store.incr("a", 60) == 1

    def test_incr_loses_no_count_between_threads(self):
        store = self.make_store()
        with ThreadPoolExecutor(20) as pool:
            counts = list(pool.map(lambda _: store.incr("a", 60), range(500)))
        assert sorted(counts) == list(range(1, 501))

    # -- times to live

    def test_a_value_lives_as_long_as_it_was_given(self):
        store, clock = self.make_timed()
        store.set("a", 1, 10)
        store.add("b", 2, 20)
        clock.advance(9.9)
        assert store.get_many(["a", "b"]) == {"a": 1, "b": 2}
        clock.advance(0.2)
        assert (store.get("a"), store.get("b")) == (None, 2)
        assert store.get_many(["a", "b"]) == {"b": 2}
        clock.advance(10)
        assert store.get("b") is None

    def test_what_is_over_can_be_added_again(self):
        store, clock = self.make_timed()
        assert store.add("a", 1, 10)
        clock.advance(10.1)
        assert store.add("a", 2, 10)
        assert not store.add("a", 3, 10)
        assert store.get("a") == 2

    def test_a_lost_add_does_not_prolong(self):
        store, clock = self.make_timed()
        store.add("a", 1, 10)
        clock.advance(9)
        assert not store.add("a", 2, 10)
        clock.advance(2)
        assert store.get("a") is None

    def test_set_starts_the_time_anew(self):
        store, clock = self.make_timed()
        store.set("a", 1, 10)
        clock.advance(9)
        store.set("a", 2, 10)
        clock.advance(9)
        assert store.get("a") == 2

    def test_a_count_ends_with_the_time_of_its_first(self):
        store, clock = self.make_timed()
        assert store.incr("a", 10) == 1
        clock.advance(6)
        assert store.incr("a", 10) == 2
        clock.advance(6)
        assert store.get("a") is None
        assert store.incr("a", 10) == 1
        clock.advance(6)
        assert store.incr("a", 10) == 2

    def test_short_and_long_times(self):
        store, clock = self.make_timed()
        store.set("short", 1, 0.5)
        store.set("long", 1, 7 * 86400)
        clock.advance(1)
        assert store.get("short") is None
        clock.advance(6 * 86400)
        assert store.get("long") == 1

    def test_a_time_of_nothing_is_over_at_once(self):
        store, clock = self.make_timed()
        store.set("a", 1, 0)
        store.add("b", 1, 0)
        clock.advance(0.01)
        assert store.get_many(["a", "b"]) == {}
        assert store.add("a", 2, 10)

    def test_every_key_ends(self):
        """Whatever it was written with, and however often (B99)."""
        store, clock = self.make_timed()
        for _ in range(3):
            store.set("set", 1, 10)
            store.add("add", 1, 10)
            store.incr("incr", 10)
        store.delete("gone")
        assert sorted(store.get_many(["set", "add", "incr", "gone"])) == ["add", "incr", "set"]
        clock.advance(10.1)
        assert store.get_many(["set", "add", "incr", "gone"]) == {}

    # -- forks

    @may_fork
    def test_a_fork_leaves_both_with_a_store_that_works(self):
        """As with gunicorn --preload, opened and used before (B103)."""
        store = self.make_store()
        store.set("before", 1, 60)
        with forked(lambda: [store.get("before"), *every_verb(store, "child")]) as child:
            assert every_verb(store, "parent") == EVERY_VERB
            assert child() == [1, *EVERY_VERB]
        assert store.get_many(["before", "parent"]) == {"before": 1, "parent": "set"}
        assert every_verb(store, "after") == EVERY_VERB

    @may_fork
    def test_a_fork_while_threads_are_at_work_leaves_both_with_a_store_that_works(self):
        """A lock that another thread held at that moment is never let go of in the child."""
        store = self.make_store()
        stop = threading.Event()

        def work(n):
            while not stop.is_set():
                every_verb(store, f"thread{n}")

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(work, n) for n in range(4)]
            try:
                for n in range(8):
                    with forked(lambda n=n: every_verb(store, f"child{n}"), patience=20) as child:
                        assert child() == EVERY_VERB
            finally:
                stop.set()
            for worker in workers:
                worker.result(PATIENCE_SECONDS)
        assert every_verb(store, "after") == EVERY_VERB


class SharedStoreContract(StoreContract):
    """What a store that several processes share owes on top."""

    def recipe(self, store: Any) -> tuple[str, str]:
        """Return how another process opens the same store: ``("module:function", argument)``."""
        raise NotImplementedError

    def raw_items(self, store: Any) -> dict[str, tuple[bytes, float]]:
        """Return all that is kept, as it lies there: key -> its bytes, the seconds that it still has."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def crew(cls) -> Iterator["Crew"]:
        """Four other processes."""
        with crew_of(4) as crew:
            yield crew

    def test_exactly_one_of_four_processes_wins_add(self, crew):
        """Also where nobody has opened the store before (B95)."""
        keys = [f"k{n}" for n in range(20)]
        for _ in range(5):
            store = self.make_store()
            crew.open(self.recipe(store))
            wins = crew.together(lambda n: [("add", key, n, 60) for key in keys])
            for key, won in zip(keys, zip(*wins, strict=True), strict=True):
                assert won.count(True) == 1
                assert store.get(key) == won.index(True)

    def test_incr_loses_no_count_between_processes(self, crew):
        store = self.make_store()
        assert store.get("a") is None  # that it is opened by several at once is another test's matter
        crew.open(self.recipe(store))
        counts = crew.together(lambda n: [("incr", "a", 60)] * 100)
        assert sorted(count for some in counts for count in some) == list(range(1, 401))
        assert store.incr("a", 60) == 401

    def test_what_one_process_keeps_all_find_and_what_one_forgets_is_gone(self, crew):
        """So a retry finds at any worker what the first try began (B92)."""
        store = self.make_store()
        assert store.get("a") is None  # that it is opened by several at once is another test's matter
        crew.open(self.recipe(store))
        crew.together(lambda n: [("set", f"k{n}", {"from": n, "text": "你好 😀"}, 60)])
        found = crew.together(lambda n: [("get_many", [f"k{n}" for n in range(4)])])
        assert found == [[{f"k{n}": {"from": n, "text": "你好 😀"} for n in range(4)}]] * 4
        crew.together(lambda n: [("delete", f"k{n}")])
        assert store.get_many([f"k{n}" for n in range(4)]) == {}

    def test_what_a_forked_child_keeps_is_found_although_its_parent_has_gone(self):
        """And although another process, too, opens the store and ends meanwhile."""
        store = self.make_store()
        recipe = self.recipe(store)
        with crew_of(1) as child:
            child.open(recipe)
            child.together(lambda n: [("set", "parent", 1, 60)])
            child.fork()
            child.together(lambda n: [("set", "early", 1, 60)])
            with crew_of(1) as passer_by:
                passer_by.open(recipe)
                assert passer_by.together(lambda n: [("set", "other", 1, 60), ("get", "early")]) == [[None, 1]]
            child.together(lambda n: [("set", "late", 1, 60)])
            assert store.get_many(["parent", "early", "other", "late"]) == dict.fromkeys(
                ["parent", "early", "other", "late"], 1
            )
            store.set("ours", 1, 60)
            assert child.together(lambda n: [("get", "ours")]) == [[1]]

    @pytest.mark.parametrize("value", NO_JSON_VALUES, ids=lambda value: repr(value)[:12])
    def test_what_is_no_json_is_refused(self, value):
        """Nothing is pickled (B100)."""
        store = self.make_store()
        for verb in (store.set, store.add):
            with pytest.raises((TypeError, ValueError)):
                verb("a", value, 60)
        assert store.get("a") is None

    def test_what_lies_there_is_json(self):
        """Whoever can write to the store cannot run anything by it (B100)."""
        store = self.make_store()
        for n, value in enumerate(JSON_VALUES):
            store.set(f"set{n}", value, 60)
            store.add(f"add{n}", value, 60)
        store.incr("incr", 60)
        store.incr("incr", 60)
        lying = {key: json.loads(raw.decode("utf-8")) for key, (raw, _) in self.raw_items(store).items()}
        expected = {f"{verb}{n}": value for n, value in enumerate(JSON_VALUES) for verb in ("set", "add")}
        assert lying == {**expected, "incr": 2}

    def test_whatever_lies_there_has_an_end(self):
        store = self.make_store()
        for _ in range(2):
            store.set("set", 1, 30)
            store.add("add", 1, 30)
            store.incr("incr", 30)
        left = {key: seconds for key, (_, seconds) in self.raw_items(store).items()}
        assert sorted(left) == ["add", "incr", "set"]
        assert all(0 < seconds <= 30.1 for seconds in left.values())


# -- below: how other processes are made and talked to ----------------------------------------------------------------

EVERY_VERB = [True, False, "set", {"set"}, 2, None]
VERBS: dict[str, Callable[[Any], Any]] = {
    # each alone, for one that may fail
    "get": lambda store: store.get("a"),
    "get_many": lambda store: store.get_many(["a", "b"]),
    "set": lambda store: store.set("a", 1, 60),
    "add": lambda store: store.add("new", 1, 60),
    "incr": lambda store: store.incr("count", 60),
    "delete": lambda store: store.delete("a"),
}


def every_verb(store: Any, key: str) -> list[Any]:
    """Use the whole store; gives `EVERY_VERB` where nobody else uses this key."""
    store.delete(f"{key}-added", f"{key}-count")
    added = [store.add(f"{key}-added", 1, 60), store.add(f"{key}-added", 2, 60)]
    store.set(key, "set", 60)
    store.incr(f"{key}-count", 60)
    count = store.incr(f"{key}-count", 60)
    store.delete(f"{key}-added")
    return [*added, store.get(key), set(store.get_many([key]).values()), count, store.get(f"{key}-added")]


@contextmanager
def forked(work: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Iterator[Callable[[], Any]]:
    """Call *work* in a forked child; gives a function that waits for its result."""
    read, write = os.pipe()
    # Coverage's tracer would hang the child, by a lock that another thread may hold at this moment.
    tracer = sys.gettrace()
    sys.settrace(None)
    child = os.fork()
    if child == 0:
        threading.settrace(None)  # type: ignore[arg-type]
        try:
            try:
                result = repr(work())
            except BaseException as exc:
                result = repr(f"raised {exc!r}")
            os.write(write, result.encode())
        finally:
            os._exit(0)
    sys.settrace(tracer)
    os.close(write)

    def wait() -> Any:
        if not select.select([read], [], [], patience)[0]:
            pytest.fail(f"the forked child did not end within {patience} s")
        return eval(os.read(read, 1_000_000))

    try:
        yield wait
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Crew:
    """Other processes, each of which opens a store and calls its verbs."""

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def open(self, recipe: tuple[str, str]) -> None:
        """Let each open the same store."""
        self._ask([{"open": recipe}] * len(self._processes))

    def together(self, calls: Callable[[int], list[tuple[Any, ...]]]) -> list[list[Any]]:
        """Let the nth do ``calls(n)``, (verb, *arguments) each; all start at the same moment."""
        start = time.monotonic() + 0.03
        return self._ask([{"calls": calls(n), "start": start} for n in range(len(self._processes))])

    def fork(self) -> None:
        """Let each fork and end; their children take over."""
        self._ask([{"fork": True}] * len(self._processes))
        for process in self._processes:
            process.wait(PATIENCE_SECONDS)

    def _ask(self, questions: list[dict[str, Any]]) -> list[Any]:
        for process, question in zip(self._processes, questions, strict=True):
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in self._processes]
        raised = [answer for answer in answers if isinstance(answer, str)]
        assert raised == [], raised  # pytest shows no more of an assertion outside of a test
        return answers

    def _answer(self, process: "subprocess.Popen[bytes]") -> Any:
        if not select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
            return "no answer"
        return json.loads(process.stdout.readline() or '"it has ended"')


@contextmanager
def crew_of(count: int) -> Iterator[Crew]:
    """Start processes, and end them."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)}
    processes = [
        subprocess.Popen([sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        for _ in range(count)
    ]
    try:
        yield Crew(processes)
    finally:
        for process in processes:
            process.stdin.close()  # the worker ends by itself, as servers do
        for process in processes:
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
