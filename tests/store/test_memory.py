"""The memory store keeps the contract, and never grows over its bound."""

import weakref
from concurrent.futures import ThreadPoolExecutor

from store_contract import FakeClock, StoreContract

from wx_mp_svr.store.memory import MemoryStore


class TestMemoryStore(StoreContract):
    """All that every store owes."""

    def make_store(self, clock=None):
        return MemoryStore() if clock is None else MemoryStore(clock=clock)


def test_over_the_bound_the_oldest_goes_first():
    """The newest are those that WeChat may still push again."""
    store = MemoryStore(max_keys=10)
    for n in range(25):
        assert store.add(str(n), n, 600)
        assert len(store) <= 10
    assert store.get_many([str(n) for n in range(25)]) == {str(n): n for n in range(16, 25)}  # a tenth makes room


def test_the_default_bound_holds_ten_thousand_pushes():
    """Design section 5: with the claim and the reply of each."""
    store = MemoryStore()
    for n in range(10_000):
        assert store.add(f"{n}:run", 1, 600)
        store.set(f"{n}:reply", "x", 600)
    assert all(store.get(f"{n}:run") == 1 and store.get(f"{n}:reply") == "x" for n in range(10_000))


def test_what_is_over_goes_by_itself():
    """At the pace at which it came: no sweep that stops everybody (B99)."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    for n in range(1000):
        store.set(f"old{n}", n, 10)
    clock.advance(11)
    for n in range(1000):
        store.set(f"new{n}", n, 10)
    assert len(store) <= 1001
    assert store.get_many(["new0", "new999", "old0", "old999"]) == {"new0": 0, "new999": 999}


def test_at_its_end_an_item_is_over():
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    for key in ("a", "b"):
        store.set(key, 5, 10)
    clock.advance(10)
    assert (store.get("a"), store.get_many(["a"]), store.items()) == (None, {}, [])
    assert (store.incr("a", 10), store.add("b", 7, 10)) == (1, True)


def test_what_may_be_put_off_is_added_at_once():
    store = MemoryStore()
    assert [store.add_late("a", number, 60) for number in (1, 2)] == [True, False]
    assert store.get("a") == 1


def test_many_threads_leave_it_within_its_bound():
    """Writers, readers and those who forget, all at once."""
    store = MemoryStore(max_keys=50)

    def work(n):
        store.set(f"a{n % 70}", n, 60)
        store.incr("count", 60)
        store.get_many([f"a{m}" for m in range(70)])
        store.delete(f"a{n % 7}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(2000)))
    assert len(store) <= 50


def test_two_stores_share_nothing():
    """No global."""
    one, other = MemoryStore(), MemoryStore()
    one.set("a", 1, 60)
    assert other.get("a") is None


def test_a_full_store_drops_what_has_ended_and_then_what_ends_soonest():
    """A 7-day session was gone after 15,000 pushes at one a second, while what had expired still lay there."""
    now = [0.0]
    store = MemoryStore(100, clock=lambda: now[0])
    store.set("session", "remembered", 604_800)
    for n in range(5000):
        now[0] += 1.0
        store.add(f"push {n}", n, 600)
        store.set(f"page {n}", n, 86_400)
    assert store.get("session") == "remembered"
    assert store.get("push 4999") is None or store.get("page 4999") == 4999
    assert len(store) <= 100


def test_what_has_ended_is_not_counted():
    """The memory of an outage is given back, and nobody looks there first for ever."""
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    for n in range(50):
        store.set(str(n), n, 60)
    assert len(store) == 50
    now[0] = 61.0
    assert len(store) == 0


def test_what_is_written_again_and_again_stays_one_item():
    """A session's, or a beat's: what it ended at before is forgotten, and the newest value lives on."""
    now = [0.0]
    store = MemoryStore(10, clock=lambda: now[0])
    for n in range(1000):
        now[0] += 1.0
        store.set("session", n, 604_800)
        store.set("beat", n, 4)
        store.incr("count", 100_000)
    assert len(store) == 3
    assert (store.get("session"), store.get("beat"), store.incr("count", 60)) == (999, 999, 1001)
    assert len(store._ends) <= 20
    store.delete("session", "beat")
    now[0] += 200_000
    assert len(store) == 0


def test_what_was_written_over_is_not_kept_in_memory():
    """A session that grew large, seven days before its first state would have ended."""

    class Large(list):
        pass

    store = MemoryStore()
    states = []
    for _ in range(3):
        state = Large([0] * 1000)
        states.append(weakref.ref(state))
        store.set("session", state, 604_800)
        store.set("deleted", state, 604_800)
        del state
    store.delete("deleted")
    assert [state() is None for state in states] == [True, True, False]


def test_a_store_full_of_what_lives_longer_keeps_the_claims_of_pushes():
    """Each would end soonest, and the push would run again with every copy."""
    store = MemoryStore(100)
    for n in range(100):
        store.set(f"session {n}", n, 604_800)
    for n in range(1000):
        assert store.add(f"claim {n}", n, 600)
        assert [store.get(f"claim {m}") for m in range(max(0, n - 9), n + 1)] == list(range(max(0, n - 9), n + 1))
        assert len(store) <= 100
