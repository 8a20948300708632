"""What may be written late: seen here at once, elsewhere soon, in one transaction, and lost only with a killed process."""

import os
import subprocess
import sys
import threading
import time

import pytest
from store_contract import StoreContract, may_fork
from waiting import until

from wx_mp_svr.clock import REAL
from wx_mp_svr.delivery.ledger import Ledger, Page, page_key
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.late import MANY, LateStore
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.sqlite import SQLiteStore


class TestLateStore(StoreContract):
    """It is a store like any other, whatever waits in it."""

    def make_store(self, clock=None):
        store = LateStore(MemoryStore() if clock is None else MemoryStore(clock=clock))
        store.add_late("waiting", 1, 60)
        return store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite3"


@pytest.fixture
def other(path):
    """What another process sees."""
    return SQLiteStore(path)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_many_that_are_added_at_once_the_last_decides(path, kind):
    store = MemoryStore() if kind == "memory" else SQLiteStore(path)
    assert store.add_all([("a", 1, 60), ("b", 2, 60)])
    assert not store.add_all([("c", 3, 60), ("a", 9, 60)])
    assert store.add_all([("a", 9, 60), ("d", 4, 60)])
    assert store.add_all([("e", 5, 60)])
    assert not store.add_all([("f", 6, 60), ("g", 7, 60), ("a", 9, 60)])
    assert not store.add_all([])
    assert {key: value for key, value, _ in store.items()} == dict(zip("abcdefg", range(1, 8), strict=True))
    assert all(59 < left <= 60 for _, _, left in store.items())


def test_here_it_is_seen_at_once_and_elsewhere_when_it_is_written(path, other):
    late = LateStore(SQLiteStore(path))
    late.add_late("page", ["<xml/>", 0, False], 60)
    assert late.add("claim", "me", 60)
    assert late.get_many(["page", "claim", "x"]) == {"page": ["<xml/>", 0, False], "claim": "me"}
    assert (late.get("page"), other.get("page"), other.get("claim")) == (["<xml/>", 0, False], None, "me")
    late.write_late()
    assert late.get("page") == other.get("page") == ["<xml/>", 0, False]


def test_many_are_written_together_with_the_next_add(path, other):
    late = LateStore(SQLiteStore(path))
    for number in range(MANY):
        late.add_late(f"page {number}", number, 60)
    assert other.items() == []
    assert late.add("claim", "me", 60)
    assert len(other.items()) == MANY + 1
    for number in range(MANY):
        late.add_late(f"next page {number}", number, 60)
    assert not late.add("claim", "you", 60)
    assert len(other.items()) == 2 * MANY + 1


def test_nothing_is_written_over(path, other):
    late = LateStore(SQLiteStore(path))
    other.add("page", "theirs", 60)
    late.add_late("page", "ours", 60)
    late.add_late("page", "ours again", 60)
    assert late.get("page") == "ours"
    late.write_late()
    assert (late.get("page"), other.get("page")) == ("theirs", "theirs")


def test_what_is_set_or_deleted_waits_no_longer(path, other):
    late = LateStore(SQLiteStore(path))
    for key in ("set", "deleted"):
        late.add_late(key, "late", 60)
    late.set("set", "now", 60)
    late.delete("deleted")
    late.write_late()
    assert (other.get("set"), other.get("deleted")) == ("now", None)


class MoodyStore(MemoryStore):
    """Cannot write while it is in a bad mood."""

    bad = False

    def add(self, key, value, ttl):
        if self.bad:
            raise StoreError("not now")
        return super().add(key, value, ttl)


def test_what_cannot_be_written_goes_on_waiting():
    inner = MoodyStore()
    late = LateStore(inner)
    late.add_late("page", 1, 60)
    inner.bad = True
    with pytest.raises(StoreError):
        late.write_late()
    assert late.get("page") == 1
    inner.bad = False
    late.write_late()
    assert inner.get("page") == 1


class SlowStore(SQLiteStore):
    """Its first transaction takes until it may end."""

    def __init__(self, path):
        super().__init__(path)
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def add_all(self, items):
        if not self.begun.is_set():
            self.begun.set()
            self.may_go_on.wait(20)
        return super().add_all(items)


def test_when_it_is_to_be_written_what_another_thread_is_writing_is_written_as_well(path, other):
    """Its process may end at once."""
    inner = SlowStore(path)
    late = LateStore(inner)
    late.add_late("page", 1, 60)
    thread = threading.Thread(target=late.write_late)
    thread.start()
    assert inner.begun.wait(20)
    late.add_late("next page", 2, 60)
    late.write_late()
    assert (other.get("page"), other.get("next page")) == (1, 2)
    inner.may_go_on.set()
    thread.join(20)
    assert len(other.items()) == 2


def test_of_many_threads_none_loses_anything_nor_sees_it_gone(path, other):
    late, wrong = LateStore(SQLiteStore(path)), []

    def work(thread):
        for number in range(50):
            key = f"{thread} {number}"
            late.add_late(key, number, 60)
            wrong.extend([key] * (late.get(key) != number))
            wrong.extend([key] * (not late.add(f"claim {key}", 1, 60)))
            wrong.extend([key] * (late.get_many([key]) != {key: number}))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    late.write_late()
    assert wrong == []
    assert len(other.items()) == 800


@may_fork
def test_a_forked_child_leaves_it_to_its_parent(path):
    late = LateStore(SQLiteStore(path))
    late.add_late("page", 1, 60)
    if not (child := os.fork()):
        os._exit(late.get("page") is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert late.get("page") == 1


# -- behind a guard ------------------------------------------------------------------------------------------------------


def test_a_guard_writes_it_within_a_second(path, other):
    store = GuardedStore(LateStore(SQLiteStore(path)))
    begun = time.monotonic()
    store.add_late("page", 1, 60)
    assert (store.get("page"), other.get("page")) == (1, None)
    assert until(lambda: other.get("page")) == 1
    assert time.monotonic() - begun < 1.0


def test_if_the_store_goes_down_before_the_spare_has_it_and_then_the_store():
    inner = MoodyStore()
    store = GuardedStore(LateStore(inner))
    inner.bad = True
    store.add_late("page", 1, 60)
    assert store.add("claim", "me", 60)  # in the spare
    assert store.down
    assert store._spare.ask(lambda spare: spare.get("page")) == 1
    assert store.get("page") == 1
    inner.bad = False
    assert until(lambda: inner.get("page")) == 1


@pytest.mark.parametrize("down", [False, True])
def test_what_cannot_be_put_off_is_refused(down):
    """By a store that writes at once, and by one that is down."""
    inner = MoodyStore()
    store = GuardedStore(LateStore(inner) if down else inner)
    inner.bad = down
    store.add("claim", "me", 60)
    assert not store.add_late("page", 1, 60)


def test_the_reply_of_a_run_in_time_is_such_a_write(path, other):
    ledger = Ledger(GuardedStore(LateStore(SQLiteStore(path))), REAL, keep_seconds=600, keep_answers=600)
    page = Page("<xml/>")
    assert ledger.put_off("p", page)
    assert (ledger.page("p", 1), other.get(page_key("p", 1))) == (page, None)
    assert ledger.look("p", 1).page == page
    ledger.write_late()
    assert other.get(page_key("p", 1)) == ["<xml/>", 0, False]


# -- how a process ends --------------------------------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys
from wx_mp_svr import WxMpServer
from wx_mp_svr.testing import FakeWeChat

server = WxMpServer(token="LateToken1", store=sys.argv[1], on_message=lambda req: "好")
wechat = FakeWeChat(server, token="LateToken1")
for _ in range(3):
    assert wechat.send_text("hi").content == "好"
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("end", "pages"), [("exits", {3}), ("killed", {0, 1, 2, 3})])
def test_a_process_that_exits_writes_it_and_one_that_is_killed_loses_the_last_moment(path, other, end, pages):
    done = subprocess.run([sys.executable, "-c", PROGRAM, f"sqlite:{path}", end], timeout=30, stderr=subprocess.DEVNULL)
    assert done.returncode == (0 if end == "exits" else -9)
    keys = [key for key, _, _ in other.items()]
    assert sum(":run:1" in key for key in keys) == 3
    assert sum(":page:1" in key for key in keys) in pages
