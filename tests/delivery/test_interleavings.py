"""Two actors, stopped before each verb of the store, in every order that there is: what must hold after each of them.

On the memory store all orders; on SQLite and Redis, whose verbs are as atomic, a sample of the same.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import servers
from wechat import TEXT_FIELDS

from wx_mp_svr.clock import REAL
from wx_mp_svr.config import Settings
from wx_mp_svr.delivery.answer import Answer
from wx_mp_svr.delivery.ledger import Ledger, Page
from wx_mp_svr.delivery.links import Links
from wx_mp_svr.delivery.push import push_key, user_key
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.texts import Texts
from wx_mp_svr.messages import read_msg
from wx_mp_svr.rsp_msg import EmptyRspMsg, TextRspMsg
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.redis import RedisStore
from wx_mp_svr.store.sqlite import SQLiteStore

REQ = read_msg(TEXT_FIELDS)
PUSH, USER = push_key(REQ, b""), user_key(REQ)
SECONDS = 10  # until something that must happen counts as not happening
VERBS = ("get", "get_many", "set", "add", "incr", "delete")


class Gate:
    """Lets one of two actors do one verb at a time, as a schedule of 0 and 1 says; when that is over, as they come."""

    def __init__(self, schedule: list[int]) -> None:
        self.schedule = schedule
        self.changed = threading.Condition()
        self.waiting: set[int] = set()
        self.ended: set[int] = set()
        self.taken: list[int] = []
        self.allowed: int | None = None

    def verb(self, actor: int, call: Callable[[], Any]) -> Any:
        """Wait for our turn, and do a verb."""
        with self.changed:
            self.waiting.add(actor)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.allowed == actor, SECONDS)
            self.waiting.discard(actor)
            self.taken.append(actor)
            try:
                return call()
            finally:
                self.allowed = None
                self.changed.notify_all()

    def end(self, actor: int) -> None:
        with self.changed:
            self.ended.add(actor)
            self.changed.notify_all()

    def run(self) -> None:
        """Open the gate, one verb after the other, until both actors have ended."""
        while True:
            with self.changed:
                # Only when each of them stands at the gate or has ended is there a choice.
                settled = self.changed.wait_for(
                    lambda: self.allowed is None and self.waiting | self.ended == {0, 1}, SECONDS
                )
                assert settled, "an actor is stuck"
                if self.ended == {0, 1}:
                    return
                wanted = self.schedule.pop(0) if self.schedule else min(self.waiting)
                self.allowed = wanted if wanted in self.waiting else min(self.waiting)
                self.changed.notify_all()


class GatedStore:
    """A store before whose verbs one actor waits."""

    def __init__(self, store: Any, gate: Gate, actor: int) -> None:
        for verb in VERBS:
            call = getattr(store, verb)
            setattr(self, verb, lambda *args, call=call: gate.verb(actor, lambda: call(*args)))


class Actor:
    """One process with its own ledger on the shared store."""

    def __init__(self, store: Any) -> None:
        self.ledger = Ledger(store, REAL, keep_seconds=600, keep_answers=86400)
        self.texts = Texts(Settings(token="x"), self.ledger, Links("查看回复"), REAL)

    def answer(self, *, took: float = 12.0) -> Answer:
        return Answer(
            PUSH,
            REQ,
            1,
            REAL.now() - took,
            ledger=self.ledger,
            texts=self.texts,
            clock=REAL,
            times=Times(),
        )


Story = Callable[[Actor], Any]


def orders(length: int) -> Iterator[list[int]]:
    """All schedules of so many steps."""
    for schedule in itertools.product((0, 1), repeat=length):
        yield list(schedule)


def play(store: Any, schedule: list[int], stories: tuple[Story, Story]) -> list[Any]:
    """Let the two stories happen in one order; return what came of each."""
    gate = Gate(schedule)
    results: list[Any] = [None, None]

    def act(number: int) -> None:
        try:
            results[number] = stories[number](Actor(GatedStore(store, gate, number)))
        except BaseException as exc:
            results[number] = exc
        finally:
            gate.end(number)

    threads = [threading.Thread(target=act, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    gate.run()
    for thread in threads:
        thread.join(SECONDS)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


# -- the races -------------------------------------------------------------------------------------------------------


def claim(actor: Actor) -> bool:
    return actor.ledger.claim(PUSH, 1, "me")


def take_over(actor: Actor) -> bool:
    found = actor.ledger.look(PUSH, 1)
    return found.claim.owner == "gone" and actor.ledger.claim(PUSH, found.claim.number + 1, "me")


def end_a_try(actor: Actor) -> tuple[int, Page | None]:
    """What `Tries` does at the end of a last try: promise first, then look."""
    number = actor.ledger.promise(PUSH, USER, REQ.raw)
    return number, actor.ledger.page(PUSH, 1)


def finish(actor: Actor) -> tuple[int | None, bool]:
    """A run that comes to its end: the number of its promise, and whether it was late."""
    answer = actor.answer()
    late = answer.reply(TextRspMsg("好"))
    return answer.promised, late is not None


def stream(actor: Actor) -> list[Page | None]:
    answer = actor.answer()
    answer.piece("第一句。第二句。")
    answer.flush()
    answer.reply(EmptyRspMsg())
    return [answer.page(1), answer.page(2)]


def cut_elsewhere(actor: Actor) -> Page | None:
    """A last try in another process, which has seen the first sentence only."""
    page = actor.texts.page_so_far(PUSH, REQ, 1, "第一句。第")
    assert page is not None
    return actor.ledger.write_page(PUSH, 1, page, behind_link=True)


def number(actor: Actor) -> int:
    return actor.ledger.number_of(PUSH, USER)


def other_number(actor: Actor) -> int:
    return actor.ledger.number_of("p:2:other", USER)


def mention(actor: Actor) -> bool:
    offered = actor.ledger.offered(USER)
    return offered is not None and actor.ledger.take_offer(USER, offered)


def start_job(actor: Actor) -> bool:
    return actor.ledger.start(PUSH, 1, "worker", lambda name: False)


def give_up_for_lost(actor: Actor) -> bool:
    return actor.ledger.claim(PUSH, 2, "elsewhere")


def one_of_two(results: list[Any], ledger: Ledger) -> None:
    assert sorted(results) == [False, True]


def both_numbers_are_one(results: list[Any], ledger: Ledger) -> None:
    assert results[0] == results[1]
    assert ledger.find(USER, results[0]) == PUSH


def numbers_differ(results: list[Any], ledger: Ledger) -> None:
    assert results[0] != results[1]
    assert (ledger.find(USER, results[0]), ledger.find(USER, results[1])) == (PUSH, "p:2:other")


def the_user_gets_the_answer(results: list[Any], ledger: Ledger) -> None:
    """Either the try has seen the page, or the run has seen the promise, and offers the answer; perhaps both."""
    (number, page), (promised, late) = results
    assert page is not None or (promised == number and late)


def the_pages_are_the_text(results: list[Any], ledger: Ledger) -> None:
    """All copies get the same first page, and the pages together are all that was said."""
    (first, second), cut = results
    assert first == cut == ledger.page(PUSH, 1)
    assert (first.chars + second.chars if first.more else first.chars) == len("第一句。第二句。")


def at_most_one_runs(results: list[Any], ledger: Ledger) -> None:
    """A job that a try has just given up for lost may begin; not when the try was first."""
    assert any(results)


def prepared(name: str, ledger: Ledger) -> None:
    """What is there before."""
    if name in ("take over", "queue and try"):
        ledger.claim(PUSH, 1, "gone")
    if name == "mention":
        ledger.offer(USER, ledger.number_of(PUSH, USER))


RACES: dict[str, tuple[tuple[Story, Story], int, Callable[[list[Any], Ledger], None]]] = {
    # name: (the two, how many steps of theirs are put into every order, what must hold)
    "claim": ((claim, claim), 2, one_of_two),
    "take over": ((take_over, take_over), 4, one_of_two),
    "one number": ((number, number), 8, both_numbers_are_one),
    "two numbers": ((number, other_number), 8, numbers_differ),
    "promise and finish": ((end_a_try, finish), 10, the_user_gets_the_answer),
    "stream and cut": ((stream, cut_elsewhere), 10, the_pages_are_the_text),
    "mention": ((mention, mention), 8, one_of_two),
    "job twice": ((start_job, start_job), 6, one_of_two),
    "queue and try": ((start_job, give_up_for_lost), 4, at_most_one_runs),
}


@pytest.mark.parametrize("name", RACES)
def test_in_every_order_on_the_memory_store(name):
    stories, steps, check = RACES[name]
    for schedule in orders(steps):
        store = MemoryStore()
        ledger = Ledger(store, REAL, keep_seconds=600, keep_answers=86400)
        if name == "job twice":
            ledger.claim(PUSH, 1, "queue")
        prepared(name, ledger)
        check(play(store, list(schedule), stories), ledger)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with servers.redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("name", RACES)
def test_in_a_sample_of_orders_on_the_shared_stores(name, kind, tmp_path, request):
    stories, steps, check = RACES[name]
    for schedule in itertools.islice(orders(steps), 0, None, max(1, 2**steps // 8)):
        if kind == "sqlite":
            store: Any = SQLiteStore(tmp_path / f"{''.join(map(str, schedule))}.db")
        else:
            store = RedisStore(request.getfixturevalue("redis").url)
            store._redis.flushdb()
        ledger = Ledger(store, REAL, keep_seconds=600, keep_answers=86400)
        if name == "job twice":
            ledger.claim(PUSH, 1, "queue")
        prepared(name, ledger)
        check(play(store, list(schedule), stories), ledger)
        if kind == "redis":
            store._redis.connection_pool.disconnect()
