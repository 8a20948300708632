"""The store in a file keeps the contract, and every fault of the file or the disk is a StoreError, soon."""

import ast
import inspect
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from types import SimpleNamespace

import pytest
from store_contract import EVERY_VERB, VERBS, FakeClock, SharedStoreContract, crew_of, every_verb

from wx_mp_svr.errors import StoreError
from wx_mp_svr.store import sqlite as module_under_test
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.sqlite import SQLiteStore

RECIPE = "wx_mp_svr.store.sqlite:SQLiteStore"
WRITING = ["set", "add", "incr", "delete"]


def rows(path):
    """What lies in the file: key, value, when it ends."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT key, value, ends FROM item").fetchall()


@contextmanager
def locked(path):
    """Another process that holds the write lock until it is told to end."""
    code = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "database.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"locked\n"
            yield
        finally:
            process.kill()


class TestSQLiteStore(SharedStoreContract):
    """All that every shared store owes."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path
        self.count = 0

    def make_store(self, clock=None):
        self.count += 1
        self.path = self.folder / f"{self.count}.sqlite3"
        return SQLiteStore(self.path) if clock is None else SQLiteStore(self.path, clock=clock)

    def recipe(self, store):
        return RECIPE, str(self.path)

    def raw_items(self, store):
        return {key: (value.encode(), ends - time.time()) for key, value, ends in rows(self.path)}


# -- the file


def test_making_a_store_touches_no_disk(tmp_path):
    """It is opened at first use: before that, a server may still fork (B103)."""
    SQLiteStore(tmp_path / "new" / "db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_only_its_owner_may_read_it(tmp_path, umask):
    """It holds users' messages; what SQLite lays beside it holds them too."""
    before = os.umask(umask)
    try:
        store = SQLiteStore(tmp_path / "db")
        store.set("a", "secret", 60)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"db": 0o600, "db-wal": 0o600, "db-shm": 0o600}


def test_readers_and_the_writer_do_not_wait_for_each_other(tmp_path):
    """WAL."""
    store = SQLiteStore(tmp_path / "db")
    store.set("a", 1, 60)
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with locked(tmp_path / "db"):
        begun = time.monotonic()
        assert (store.get("a"), store.get_many(["a", "b"])) == (1, {"a": 1})
        assert time.monotonic() - begun < 0.5


def test_a_missing_folder_is_made(tmp_path):
    """With those above it."""
    store = SQLiteStore(tmp_path / "one" / "two" / "db")
    assert every_verb(store, "a") == EVERY_VERB
    assert (tmp_path / "one" / "two" / "db").exists()


def test_a_relative_path_is_one_from_where_the_process_stands(tmp_path, monkeypatch):
    """And a str will do."""
    monkeypatch.chdir(tmp_path)
    SQLiteStore("db").set("a", 1, 60)
    assert (tmp_path / "db").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, {"a": None, "b": 2.5}], '[1,{"a":null,"b":2.5}]'),
        ("好\ud83d", '"\\u597d\\ud83d"'),
        (("x", True), '["x",true]'),
    ],
)
def test_what_is_kept_lies_there_as_short_json_in_ascii(value, text, tmp_path):
    """Half of a sign that needs two is a text to Python, and no UTF-8."""
    store = SQLiteStore(tmp_path / "db")
    store.set("a", value, 60)
    assert [(key, kept) for key, kept, _ in rows(tmp_path / "db")] == [("a", text)]


def test_what_was_kept_is_there_after_a_restart(tmp_path):
    """Another process reads it: the writer has ended."""
    path = tmp_path / "db"
    with crew_of(1) as crew:
        crew.open((RECIPE, str(path)))
        crew.together(lambda n: [("set", "a", {"text": "你好"}, 60), ("incr", "count", 60)])
    store = SQLiteStore(path)
    assert (store.get("a"), store.incr("count", 60)) == ({"text": "你好"}, 2)


def test_two_processes_hammering_lose_no_count(tmp_path):
    """Each call gets a number of its own."""
    SQLiteStore(tmp_path / "db").get("a")  # so that the file is there
    with crew_of(2) as crew:
        crew.open((RECIPE, str(tmp_path / "db")))
        counts = crew.together(lambda n: [("incr", "a", 60)] * 1000)
    assert sorted(counts[0] + counts[1]) == list(range(1, 2001))
    assert counts[0] == sorted(counts[0])


def test_no_statement_needs_a_new_sqlite():
    """RETURNING came with 3.35; Python 3.10 runs on 3.7 and later."""
    tree = ast.parse(inspect.getsource(module_under_test))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert any("INSERT" in text for text in texts)
    assert not any("RETURNING" in text.upper() for text in texts)


# -- its size


def test_what_is_over_is_swept(tmp_path):
    """Not at every write, but often enough that the file follows the traffic (B99)."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", clock=clock)
    for n in range(600):
        store.set(f"old{n}", n, 10)
    clock.advance(11)
    for n in range(600):
        store.add(f"new{n}", n, 10)
    assert store.get_many([f"new{n}" for n in range(600)]) == {f"new{n}": n for n in range(600)}
    assert not [key for key, _, _ in rows(tmp_path / "db") if key.startswith("old")]


def test_counts_are_swept_too(tmp_path):
    """Also where nothing else is written."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", clock=clock)
    for n in range(600):
        store.incr(f"old{n}", 10)
    clock.advance(11)
    for n in range(1200):
        store.incr(f"new{n}", 10)
    assert not [key for key, _, _ in rows(tmp_path / "db") if key.startswith("old")]


def test_a_large_table_is_swept_slice_by_slice(tmp_path):
    """All of it within half as many writes as it has items, and no sweep makes everybody wait (B99)."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", clock=clock)
    for n in range(9000):
        store.set(f"{n * 7919 % 9001:05}", n, 10 if n % 3 else 600)
    clock.advance(11)
    for n in range(4500):
        store.set(f"{n:05}new", n, 600)
    kept = [value for _, value, _ in rows(tmp_path / "db")]
    assert len(kept) == 9000 // 3 + 4500


def test_a_sweep_looks_at_two_thousand_items(tmp_path):
    """However many there are: nobody waits for long."""
    store = SQLiteStore(tmp_path / "db")
    store.set("z", 1, 60)
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        old = [(f"{n:04}", "1", 0.0) for n in range(4500)]
        database.executemany("INSERT INTO item (key, value, ends) VALUES (?, ?, ?)", old)
        database.commit()
    left = []
    for _ in range(4):
        store._writer.ask(store._sweep)
        left.append(len(rows(tmp_path / "db")))
    assert left == [2501, 501, 1, 1]


class Locked:
    """A connection to a new file that other processes are opening, too."""

    def __init__(self, times, words="database is locked"):
        self.times = times
        self.words = words
        self.done = []

    def execute(self, statement):
        if self.times > 0:
            self.times -= 1
            raise sqlite3.OperationalError(self.words)
        self.done.append(statement.split()[0])


@pytest.mark.parametrize(
    ("connection", "took", "words"),
    [
        (Locked(3), 0.03, None),
        (Locked(10**9), 0.51, "database is locked"),
        (Locked(1, "disk I/O error"), 0.0, "disk I/O error"),
    ],
)
def test_of_processes_that_open_a_new_file_together_each_waits_for_the_others(connection, took, words, monkeypatch):
    """SQLite itself does not wait here; for half a second we do."""
    hands = FakeClock()
    begun = hands()
    monkeypatch.setattr(module_under_test, "time", SimpleNamespace(monotonic=hands, sleep=hands.advance))
    with nullcontext() if words is None else pytest.raises(sqlite3.OperationalError, match=words):
        module_under_test._set_up(connection)
    assert connection.done == (["PRAGMA", "PRAGMA", "CREATE"] if words is None else [])
    assert hands() - begun == pytest.approx(took, abs=0.015)


def test_what_is_over_is_swept_out_with_the_five_hundredth_write(tmp_path):
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", clock=clock)
    store.set("old", 1, 10)
    clock.advance(11)
    lay = []
    for _ in range(499):
        store.set("new", 1, 600)
        lay.append(len(rows(tmp_path / "db")) if len(lay) >= 497 else 2)
    assert lay == [*[2] * 498, 1]


def test_a_large_table_keeps_its_bound(tmp_path):
    """Counted on the way of the sweep: counting it at each would take ever longer."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", max_keys=4000, clock=clock)
    for n in range(12_000):
        store.set(f"{n * 7919 % 12_007:05}", n, 600)
        clock.advance(0.01)
    kept = {int(value) for _, value, _ in rows(tmp_path / "db")}
    assert len(kept) <= 4000 * 4 // 3 + 2000
    assert kept >= set(range(9000, 12_000))
    assert 0 not in kept


def test_over_the_bound_goes_what_would_end_soonest(tmp_path):
    """The newest are those that WeChat may still push again."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "db", max_keys=100, clock=clock)
    for n in range(1600):
        store.set(f"k{n}", n, 600)
        clock.advance(0.01)
    kept = {key for key, _, _ in rows(tmp_path / "db")}
    assert len(kept) <= 100 + 500
    assert kept >= {f"k{n}" for n in range(1500, 1600)}
    assert "k0" not in kept


# -- its faults


@pytest.fixture
def used(tmp_path):
    """A store that is open, and its file."""
    store = SQLiteStore(tmp_path / "db")
    store.set("a", 1, 60)
    return store, tmp_path / "db"


@pytest.mark.parametrize("verb", WRITING)
def test_a_locked_database_is_a_store_error_within_a_second(used, verb):
    """And it works again when the lock is gone (B98)."""
    store, path = used
    with locked(path):
        begun = time.monotonic()
        with pytest.raises(StoreError, match="locked"):
            VERBS[verb](store)
        assert 0.5 < time.monotonic() - begun < 1.6
    VERBS[verb](store)
    assert every_verb(store, "b") == EVERY_VERB


def test_a_lock_shorter_than_a_second_is_waited_for(used):
    """Another worker's write is no fault."""
    store, path = used
    with ThreadPoolExecutor(1) as pool:
        with locked(path):
            added = pool.submit(store.add, "new", 1, 60)
            assert not added.done()
        assert added.result(5) is True


def test_threads_do_not_wait_for_a_locked_database_one_after_the_other(used):
    """Each has its second, not the sum of all: WeChat waits five in all (B98)."""
    store, path = used
    together = threading.Barrier(6)

    def write(n):
        together.wait(10)
        begun = time.monotonic()
        with pytest.raises(StoreError):
            store.set(f"k{n}", 1, 60)
        return time.monotonic() - begun

    with locked(path), ThreadPoolExecutor(6) as pool:
        times = list(pool.map(write, range(6)))
    assert max(times) < 2.5, times


def test_who_reads_does_not_wait_for_another_who_reads(used, monkeypatch):
    """The first who comes opens a connection, on a disk that takes its time."""
    store, _ = used
    opens, go_on, secure = threading.Event(), threading.Event(), module_under_test.secure

    def slow_at_first(path):
        if not opens.is_set():
            opens.set()
            go_on.wait(5)
        secure(path)

    monkeypatch.setattr(module_under_test, "secure", slow_at_first)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.get, "a")
        opens.wait(5)
        assert (store.get("a"), first.done()) == (1, False)
        go_on.set()
        assert first.result(5) == 1


def test_readers_do_not_wait_for_a_writer_that_waits_for_the_lock(used):
    """A kept reply can be read meanwhile."""
    store, path = used
    waiting = threading.Event()

    def write():
        waiting.set()
        with pytest.raises(StoreError):
            store.set("b", 1, 60)

    with locked(path), ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        waiting.wait(5)
        begun = time.monotonic()
        while not writer.done() and time.monotonic() - begun < 0.4:
            asked = time.monotonic()
            assert store.get("a") == 1
            assert time.monotonic() - asked < 0.3
        writer.result(5)


def test_a_file_locked_before_its_first_use_is_a_store_error_and_works_later(tmp_path):
    """Another worker may be quicker."""
    path = tmp_path / "db"
    SQLiteStore(path).set("a", 1, 60)
    store = SQLiteStore(path)
    with locked(path):
        begun = time.monotonic()
        with pytest.raises(StoreError):
            store.set("b", 1, 60)
        assert time.monotonic() - begun < 1.6
    assert every_verb(store, "b") == EVERY_VERB


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("content", [b"no database at all " * 1000, b"\0" * 5000])
def test_a_file_that_is_no_database_is_a_store_error(tmp_path, verb, content):
    """Each time; it is not overwritten, since it may be somebody's."""
    (tmp_path / "db").write_bytes(content)
    store = SQLiteStore(tmp_path / "db")
    for _ in range(2):
        with pytest.raises(StoreError):
            VERBS[verb](store)
    assert (tmp_path / "db").read_bytes() == content


@pytest.mark.parametrize("verb", VERBS)
def test_a_database_that_decays_is_a_store_error_once(tmp_path, verb):
    """Pages in the middle are overwritten while nobody has it open; then a new one is begun."""
    path = tmp_path / "db"
    with crew_of(1) as crew:
        crew.open((RECIPE, str(path)))
        crew.together(lambda n: [("set", f"k{m}", "x" * 500, 600) for m in range(300)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    store = SQLiteStore(path)
    with pytest.raises(StoreError):
        VERBS[verb](store)
    VERBS[verb](store)
    assert every_verb(store, "b") == EVERY_VERB


def test_a_value_that_is_no_json_counts_as_missing(used):
    """Somebody else wrote into the file; that is no outage."""
    store, path = used
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE item SET value = ?", ("\x80\x04 no json",))
    assert (store.get("a"), store.get_many(["a"])) == (None, {})


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["file/db", "folder", "/proc/nowhere/db"])
def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path, place, verb):
    """A file where the folder should be, a folder where the file should be, a folder where nobody may make one."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        VERBS[verb](SQLiteStore(tmp_path / place))


FULL = """
import resource, signal, sys
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.sqlite import SQLiteStore
from store_contract import EVERY_VERB, every_verb

store = SQLiteStore(sys.argv[1])
if sys.argv[2] == "open":
    store.set("a", 1, 600)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), hard))  # the kernel's own way of saying that no more fits
failures = 0
for n in range(120):
    for verb in (lambda: store.set(f"k{n}", "x" * 5000, 600), lambda: store.add(f"n{n}", "x" * 5000, 600),
                 lambda: store.incr(f"c{n}", 600)):
        try:
            verb()
        except StoreError:
            failures += 1
assert failures > 100, failures
guarded = GuardedStore(store)
for n in range(50):
    guarded.set(f"g{n}", "x" * 5000, 600)
    assert guarded.add(f"claim{n}", 1, 600) and not guarded.add(f"claim{n}", 1, 600)
assert guarded.down
assert every_verb(guarded, "guarded") == EVERY_VERB
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert every_verb(store, "after") == EVERY_VERB
if sys.argv[2] == "open":
    assert store.get("a") == 1
print("done")
"""


@pytest.mark.parametrize(("when", "room"), [("open", 300_000), ("closed", 300_000), ("closed", 0), ("closed", 2000)])
def test_a_full_disk_is_a_store_error_and_pushes_are_remembered_in_the_process(tmp_path, when, room):
    """Made for real, by the kernel's limit on the size of a file (B98); when there is room again, it works again."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)}
    command = [sys.executable, "-W", "error", "-c", FULL, str(tmp_path / "db"), when, str(room)]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "done\n", ended.stderr


def test_a_failure_leaves_no_files_open(tmp_path):
    """A store that is down is tried again every second, for days."""
    (tmp_path / "db").write_bytes(b"no database at all " * 1000)
    store = SQLiteStore(tmp_path / "db")

    def open_files():
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    failures = 0
    for _ in range(50):
        try:
            store.get("a")
        except StoreError:
            failures += 1
    assert failures == 50
    assert open_files() <= before + 1


def test_a_locked_database_does_not_keep_a_push_from_being_answered(used):
    """Six verbs, as a push needs them: one waits for its second, the others know."""
    store, path = used
    guarded = GuardedStore(store)
    with locked(path):
        begun = time.monotonic()
        assert every_verb(guarded, "push") == EVERY_VERB
        assert time.monotonic() - begun < 2
    assert guarded.down
