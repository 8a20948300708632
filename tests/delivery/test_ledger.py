"""The ledger's verbs, and for each the race that it settles. `test_interleavings` tries every order of two actors."""

import pytest

from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.delivery.ledger import Claim, Ledger, Page, Standing, page_key
from wx_mp_svr.store.guarded import GuardedStore
from wx_mp_svr.store.late import LateStore
from wx_mp_svr.store.memory import MemoryStore

PUSH, USER, HOUR = "p:1:abc", "u:def", 3600.0
PAGE = Page("<xml/>", 5, True)
MESSAGE = {"MsgType": "text", "Content": "hi"}


class Hands:
    """A clock whose hands a test turns."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wall(self):
        return 1_700_000_000 + self.time  # the 80000th second of a day


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def store(hands):
    return MemoryStore(clock=hands.now)


@pytest.fixture
def ledger(store, hands):
    return Ledger(store, hands, keep_seconds=600, keep_answers=24 * HOUR)


def another(store):
    """The ledger of another process."""
    return Ledger(store, REAL, keep_seconds=600, keep_answers=24 * HOUR)


def alive(_):
    return False


def dead(_):
    return True


# -- runs ------------------------------------------------------------------------------------------------------------


def test_of_two_copies_of_a_push_one_claims_it(ledger, store):
    assert [ledger.claim(PUSH, 1, "a"), another(store).claim(PUSH, 1, "b")] == [True, False]
    assert ledger.look(PUSH, 1) == Standing(None, Claim(1, "a"), "", None)


def test_the_latest_run_is_the_one_that_counts(ledger):
    for number, owner in enumerate("abc", 1):
        assert ledger.claim(PUSH, number, owner)
    assert ledger.look(PUSH, 1).claim == Claim(3, "c")


def test_a_push_that_nobody_has_claimed_has_no_run(ledger):
    assert ledger.look(PUSH, 1) == Standing(None, Claim(0, ""), "", None)


def test_a_queued_run_belongs_to_the_worker_that_starts_it_first(ledger):
    """The queue may deliver it twice."""
    ledger.claim(PUSH, 1, "queue")
    assert [ledger.start(PUSH, 1, worker, alive) for worker in ("a", "b")] == [True, False]
    assert ledger.look(PUSH, 1).claim == Claim(1, "a")


def test_a_job_that_comes_again_after_its_worker_died_is_run_by_one(ledger):
    """`started` binds only while its process lives."""
    ledger.claim(PUSH, 1, "queue")
    assert ledger.start(PUSH, 1, "a", alive)
    assert [ledger.start(PUSH, 1, worker, lambda name: name == "a") for worker in ("b", "c")] == [True, False]
    assert ledger.look(PUSH, 1).claim == Claim(1, "b")


@pytest.mark.parametrize("done", ["page", "next run"])
def test_a_job_that_is_over_or_was_taken_over_is_left_alone(ledger, done):
    ledger.claim(PUSH, 1, "queue")
    if done == "page":
        ledger.write_page(PUSH, 1, PAGE, behind_link=False)
    else:
        ledger.claim(PUSH, 2, "somebody")
    assert ledger.start(PUSH, 1, "a", dead) is False


def test_a_job_of_another_store_is_told(ledger, caplog):
    """The worker and the server were given different settings: without a line nobody would find out."""
    assert ledger.start(PUSH, 1, "a", alive)
    assert "is WX_MP_STORE the same" in caplog.text


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_claim_that_the_store_forgot_is_written_again(ledger, store, all_of_them):
    """Each second, or a push of a running handler would be run a second time."""
    ledger.claim(PUSH, 1, "a")
    ledger.claim(PUSH, 2, "b")
    store.delete(f"2:{PUSH}:run:1", f"2:{PUSH}:run:2")
    ledger.renew([(PUSH, 2)], "b", all_of_them=all_of_them)
    assert ledger.look(PUSH, 1).claim == Claim(2, "b")
    assert not ledger.claim(PUSH, 2, "c")


def test_a_long_run_does_not_outlive_its_claim(ledger, hands):
    ledger.claim(PUSH, 1, "a")
    hands.time = 599
    ledger.renew([(PUSH, 1)], "a", all_of_them=False)
    hands.time = 601
    assert ledger.look(PUSH, 1).claim == Claim()
    ledger.claim(PUSH, 1, "a")
    hands.time = 1200
    ledger.renew([(PUSH, 1)], "a", all_of_them=True)
    hands.time = 1799
    assert ledger.look(PUSH, 1).claim == Claim(1, "a")


def test_copies_are_counted(ledger, store):
    assert [ledger.count_try(PUSH), another(store).count_try(PUSH)] == [1, 2]


# -- pages -----------------------------------------------------------------------------------------------------------


def test_the_page_that_was_written_first_stands(ledger, store):
    """A run and a last try elsewhere may cut the same page at two places; all copies get the same."""
    mine, other = Page("mine"), Page("other", 3, True)
    assert another(store).write_page(PUSH, 1, other, behind_link=True) is other
    assert ledger.write_page(PUSH, 1, mine, behind_link=True) == other
    assert ledger.page(PUSH, 1) == other


@pytest.mark.parametrize(
    ("number", "page", "behind_link", "kept"),
    [
        (1, Page("x"), False, 600),  # nobody but WeChat asks for it
        (1, Page("x"), True, 24 * HOUR),
        (1, Page("x", 1, True), False, 24 * HOUR),  # its link leads to the next
        (2, Page("x"), False, 24 * HOUR),
    ],
)
def test_a_page_is_kept_as_long_as_somebody_may_ask_for_it(ledger, hands, number, page, behind_link, kept):
    ledger.write_page(PUSH, number, page, behind_link=behind_link)
    hands.time = kept - 1
    assert ledger.page(PUSH, number) == page
    hands.time = kept + 1
    assert ledger.page(PUSH, number) is None


def test_a_page_that_is_put_off_is_seen_here_at_once_and_elsewhere_when_it_is_written(store, hands):
    late = GuardedStore(LateStore(store), FastClock(0.001))  # which by itself would write it a moment later
    ledger = Ledger(late, hands, keep_seconds=600, keep_answers=24 * HOUR)
    assert ledger.put_off(PUSH, PAGE)
    assert (ledger.page(PUSH, 1), another(store).page(PUSH, 1)) == (PAGE, None)
    ledger.write_late()
    assert another(store).page(PUSH, 1) == PAGE
    hands.time = 601
    assert ledger.page(PUSH, 1) is None


def test_a_store_that_can_put_nothing_off_writes_at_once(hands):
    class SixVerbs:
        pass

    ledger = Ledger(SixVerbs(), hands, keep_seconds=600, keep_answers=24 * HOUR)
    assert not ledger.put_off(PUSH, PAGE)
    ledger.write_late()


def test_one_page_of_each_of_several_pushes_is_found_at_once(ledger):
    ledger.write_page(PUSH, 2, PAGE, behind_link=True)
    assert ledger.pages({PUSH: 2, "p:2:other": 1}) == {PUSH: PAGE}
    assert ledger.pages({PUSH: 1}) == {}


def test_a_page_that_was_promised_while_it_was_written_is_kept_longer(ledger, hands):
    ledger.write_page(PUSH, 1, PAGE._replace(more=False), behind_link=False)
    ledger.keep_page(PUSH, 1, PAGE._replace(more=False))
    hands.time = 23 * HOUR
    assert ledger.page(PUSH, 1) == PAGE._replace(more=False)


@pytest.mark.parametrize(
    "nonsense", ["text", 5, {"xml": "x"}, ["x"], ["x", "y", True], [1, 2, False], ["x", 1, True, 4]]
)
def test_b138_what_another_program_wrote_counts_as_missing(ledger, store, nonsense):
    store.set(page_key(PUSH, 1), nonsense, 60)
    for name in ("promise", "part", "number"):
        store.set(f"2:{PUSH}:{name}", nonsense if nonsense != 5 else "5", 60)
    assert ledger.page(PUSH, 1) is None
    assert ledger.promised(PUSH) is None
    assert ledger.look(PUSH, 1).part == ""
    assert isinstance(ledger.number_of(PUSH, USER), int)


def test_a_part_is_that_of_its_page(ledger):
    ledger.write_part(PUSH, 2, "half")
    assert [ledger.look(PUSH, page).part for page in (1, 2, 3)] == ["", "half", ""]


# -- promises --------------------------------------------------------------------------------------------------------


def test_a_promise_holds_the_number_and_what_was_asked(ledger, store):
    number = ledger.promise(PUSH, USER, MESSAGE)
    assert another(store).promised(PUSH) == (number, MESSAGE)
    assert another(store).find(USER, number) == PUSH
    assert ledger.promised("p:2:other") is None


def test_an_answer_has_one_number_whoever_asks(ledger, store):
    assert {ledger.number_of(PUSH, USER), another(store).number_of(PUSH, USER), ledger.promise(PUSH, USER, {})} == {1}
    assert ledger.number_of("p:2:other", USER) == 2


def test_a_number_leads_only_its_own_user_to_the_answer(ledger):
    ledger.number_of(PUSH, USER)
    assert ledger.find("u:stranger", 1) is None


def test_a_number_leads_to_nothing_where_somebody_has_written_something_else(ledger, store):
    number = ledger.promise(PUSH, USER, MESSAGE)
    [key] = [key for key, value, _ in store.items() if value == PUSH]
    store.set(key, 5, HOUR)
    assert ledger.find(USER, number) is None


def test_a_number_leads_to_one_answer_as_long_as_that_is_kept(ledger, hands):
    """The count ends a day after the first number, which is sooner than a day after the last one."""

    def numbers_of(*pushes):
        return [{ledger.number_of(f"{push} of {user}", user) for user in (USER, "u:other")} for push in pushes]

    assert numbers_of("a", "b", "c") == [{1}, {2}, {3}]
    hands.time = 23 * HOUR
    assert numbers_of("evening") == [{4}]
    hands.time = 24.5 * HOUR
    assert numbers_of("d", "e", "f", "g") == [{1}, {2}, {3}, {5}]
    assert ledger.find(USER, 4) == f"evening of {USER}"
    assert numbers_of("evening") == [{4}]


def test_while_nobody_knows_how_far_the_count_was_numbers_begin_far_beyond_it(ledger, store, hands):
    """With the second of the day: another machine that is cut off as well counts from another one, most likely."""
    assert ledger.number_of("before", USER) == 1
    store.down = True
    assert [ledger.number_of(f"at once {n}", USER) for n in range(3)] == [90_000, 90_001, 90_002]
    hands.time = 6_399.5
    assert ledger.number_of("later", USER) == 96_399
    hands.time = 6_400
    assert ledger.number_of("after midnight", USER) == 10_000


@pytest.mark.parametrize(
    ("number", "time", "comes"),
    [
        (90_000, 0, True),
        (90_000, 839, True),
        (90_000, 840, False),  # a quarter of an hour, less what two clocks may differ
        (90_000, -60, True),  # it was promised by a clock that is ahead
        (90_000, -61, False),
        (96_399, 6_400, True),  # midnight has been meanwhile
        (10_000, 6_400, True),
        (3_600, 0, False),  # it was counted, so the store was there when it was promised
    ],
)
def test_an_answer_promised_where_the_store_was_out_of_reach_may_come_for_a_while(
    ledger, store, hands, number, time, comes
):
    hands.time = time
    assert ledger.may_come(number) == comes
    store.down = True
    assert ledger.may_come(number)


def test_an_offer_is_mentioned_once(ledger, store):
    """Two replies of one user may leave at the same moment."""
    ledger.offer(USER, 1)
    other = another(store)
    assert (ledger.offered(USER), other.offered(USER)) == (1, 1)
    assert [ledger.take_offer(USER, 1), other.take_offer(USER, 1)] == [True, False]
    assert ledger.offered(USER) is None


def test_who_takes_one_answer_takes_no_other(ledger):
    taken = [(USER, 1), (USER, 2), ("u:other", 1), (USER, 1)]
    assert [ledger.take(user, number) for user, number in taken] == [True, True, True, False]


def test_what_was_fetched_is_not_mentioned(ledger):
    """Whether the tap comes before the answer is offered or after."""
    assert ledger.take(USER, 1)
    ledger.offer(USER, 1)
    assert not ledger.take_offer(USER, 1)


def test_an_offer_of_another_process_is_found_within_a_second(ledger, store, hands):
    """And that of this one at once: no reply asks the store for what is rare."""
    assert ledger.offered(USER) is None
    another(store).offer(USER, 1)
    assert ledger.offered(USER) is None
    assert ledger.needs_no_look
    hands.time = 1.0
    assert not ledger.needs_no_look
    assert ledger.offered(USER) == 1
    assert not ledger.needs_no_look  # which would be to mention it


# -- the house -------------------------------------------------------------------------------------------------------


def test_what_one_process_knows_of_the_house_others_find(ledger, store):
    assert ledger.told() == (None, None)
    ledger.turned(12.5)
    ledger.tell_normal(0.25)
    assert another(store).told() == (12.5, 0.25)
    store.set("2:turned", "yesterday", 60)
    assert another(store).told() == (None, 0.25)
    store.set("2:normal", "young", 60)
    assert another(store).told() == (None, None)


def test_when_a_process_died_is_forgotten_after_a_minute_and_the_usual_age_after_a_day(ledger, hands):
    """No try that began before is still to come; and a clock that is off stays so."""
    ledger.turned(12.5)
    ledger.tell_normal(60.0)
    found = []
    for hands.time in (59.0, 61.0, 24 * HOUR - 1, 24 * HOUR + 1):
        found.append(ledger.told())
    assert found == [(12.5, 60.0), (None, 60.0), (None, 60.0), (None, None)]


def test_a_push_is_known_as_long_as_a_copy_of_it_may_come(ledger, hands):
    assert ledger.claim(PUSH, 1, "a")
    assert ledger.count_try(PUSH) == 1
    hands.time = 599
    assert not ledger.claim(PUSH, 1, "b")
    hands.time = 601
    assert ledger.claim(PUSH, 1, "b")
    assert ledger.count_try(PUSH) == 1


@pytest.mark.parametrize("kept", ["promise", "offer", "part"])
def test_what_waits_for_its_user_is_kept_for_a_day_and_a_part_for_wechat(ledger, hands, kept):
    number = ledger.promise(PUSH, USER, MESSAGE)
    ledger.offer(USER, number)
    ledger.write_part(PUSH, 1, "half")

    def known():
        return {
            "promise": ledger.promised(PUSH) is not None,
            "offer": ledger.offered(USER) is not None,
            "part": ledger.look(PUSH, 1).part == "half",
        }[kept]

    seconds, found = 600 if kept == "part" else 24 * HOUR, []
    for hands.time in (seconds - 1, seconds + 1):
        found.append(known())
    assert found == [True, False]
