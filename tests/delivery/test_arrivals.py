"""One process of two: its tries, taps and runs, and what another process has left in the store that both share."""

import json
import logging
import re
import threading
from contextlib import nullcontext
from inspect import iscoroutinefunction

import pytest
from waiting import until
from wechat import TEXT_FIELDS

from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.config import Settings
from wx_mp_svr.delivery import runs
from wx_mp_svr.delivery.arrivals import BLIND_SECONDS, Arrivals
from wx_mp_svr.delivery.ledger import Claim, Ledger, Page
from wx_mp_svr.delivery.links import Links, Tap
from wx_mp_svr.delivery.push import push_key, user_key
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.runs import MAX_COROUTINES, MAX_OF_USER, Runs
from wx_mp_svr.delivery.texts import Texts
from wx_mp_svr.delivery.tries import Outcome
from wx_mp_svr.handling.handlers import Handlers
from wx_mp_svr.living import Living
from wx_mp_svr.messages import read_msg
from wx_mp_svr.store.alive import beat_key
from wx_mp_svr.store.locks import Locks
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.place import Place
from wx_mp_svr.testing.judge import split_links
from wx_mp_svr.testing.packets import read_xml

HOUR = 3600.0
LOST, BUSY, ERROR = Settings.lost_text, Settings.busy_text, Settings.error_text
REQ = read_msg(TEXT_FIELDS)
PUSH, USER = push_key(REQ, b""), user_key(REQ)
EVENT = {name: value for name, value in TEXT_FIELDS.items() if name not in ("Content", "MsgId")}
EVENT |= {"MsgType": "event", "Event": "CLICK", "EventKey": "k"}


class Process:
    """A process whose clock jumps; its handler gets the message and the process. `elsewhere` is another one's ledger."""

    def __init__(self, handler=lambda req, process: "好", store=None, place=None, clock=None, **settings):
        self.clock = clock or FastClock(0.1, jumps=True)  # what the machine itself takes counts a tenth
        self.store = MemoryStore(clock=self.clock.now) if store is None else store
        self.settings = Settings(token="Arrivals1", **settings)
        self.ran = []
        handlers = Handlers()

        def on_message(req):
            self.ran.append(req.content)
            return handler(req, self)

        async def on_message_async(req):
            self.ran.append(req.content)
            return await handler(req, self)

        if handler is not None:
            handlers.give("on_message", on_message_async if iscoroutinefunction(handler) else on_message)
            handlers.give("on_event", lambda event: "事件")
        self.ledger, self.elsewhere = (
            Ledger(self.store, self.clock, keep_seconds=600, keep_answers=24 * HOUR) for _ in range(2)
        )
        links = Links(self.settings.fetch_words)
        texts = Texts(self.settings, self.ledger, links, self.clock)
        common = {"times": Times(), "clock": self.clock}
        self.runs = Runs(
            self.settings,
            self.store,
            self.store,
            self.ledger,
            texts,
            handlers,
            place=place or Place(),
            context=nullcontext,
            strict=lambda: False,
            failed=lambda req, exc: None,
            **common,
        )
        self.arrivals = Arrivals(self.settings, self.store, self.ledger, texts, links, self.runs, fresh=False, **common)

    def push(self, age=0.0, **fields):
        """Let one try come, so many seconds after its timestamp."""
        with self.clock.foreground():
            req = read_msg({**TEXT_FIELDS, **fields})
            return self.arrivals.answer(req, b"", timestamp=int(self.clock.wall() - age))

    def tap(self, number, page=1, **how):
        return self.push(Content=f"查看回复{number}-{page}", MsgId="2", **how)

    def start(self, number=1, **fields):
        """Start a run without waiting for it."""
        req = read_msg({**TEXT_FIELDS, **fields})
        push = push_key(req, b"")
        return self.runs.start(push, req, number, self.clock.now(), here=False)


def said(outcome):
    """What the user reads, and the words of the links below it."""
    if not outcome.xml:
        return outcome.xml
    parts = split_links(read_xml(outcome.xml)["Content"])
    return tuple(part.strip() if isinstance(part, str) else part.words for part in parts)


def lost(process, runs=1, promised=False):
    """Let another process claim the push, and be gone; return the number of the promise that it has given."""
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS) if promised else None
    for run in range(1, runs + 1):
        process.elsewhere.claim(PUSH, run, "gone")
    return number


# -- tries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "xml", "first"), [("好", ("好",), "reply"), ("", "", "ack")])
def test_a_copy_gets_the_reply_that_was_kept(answer, xml, first):
    process = Process(lambda req, process: answer)
    outcomes = [process.push(age) for age in (0, 0, 5)]
    assert [said(outcome) for outcome in outcomes] == [xml] * 3
    assert [(outcome.how, outcome.number) for outcome in outcomes] == [(first, 1), ("kept", 1), ("kept", 2)]
    assert process.ran == ["你好"]
    assert process.ledger.look(PUSH, 1).claim == Claim(1, process.runs.alive.process)


@pytest.mark.parametrize(("answer", "xml", "how"), [("好", ("好",), "reply"), ("", "", "ack")])
def test_a_try_waits_for_its_answer(answer, xml, how):
    process = Process(lambda req, process: process.clock.sleep(2) or answer)
    outcome = process.push()
    assert (said(outcome), outcome.how) == (xml, how)
    assert process.arrivals.stats()["held"] == 0


def test_what_a_try_took_is_told_by_the_clock_of_its_process(caplog):
    caplog.set_level(logging.DEBUG, "wx_mp_svr")
    Process(lambda req, process: process.clock.sleep(2) or "好").push()
    [line] = [line for line in caplog.messages if line.startswith("push ")]
    told = re.fullmatch(r"push kind=TextReqMsg outcome=reply try=1 ms=([0-9]+)", line)
    assert int(told[1]) == pytest.approx(2000, abs=300)


def test_an_answer_that_was_begun_here_is_sent_even_if_the_store_forgets_it_at_once():
    """The one in memory has a bound."""
    store = MemoryStore()
    store.add = lambda key, value, ttl: True
    process = Process(lambda req, process: process.clock.sleep(2) or "好", store)
    assert said(process.push()) == ("好",)
    assert process.ran == ["你好"]


def test_what_nobody_handles_is_acknowledged_at_once():
    process = Process(None)
    assert process.start().page(1) == Page("")
    assert [process.push() for _ in range(2)] == [Outcome("", "ack", 1), Outcome("", "kept", 1)]
    assert process.arrivals.stats()["held"] == process.runs.stats()["running"] == 0


def test_a_first_try_that_was_lost_is_counted_for_the_copy_that_comes():
    process = Process(sleeps)
    outcomes = [process.push(age=5) for _ in range(2)]
    assert [(outcome.how, outcome.number) for outcome in outcomes] == [("hang up", 2), ("slow", 3)]


@pytest.mark.parametrize(("seconds", "how"), [(0.02, "reply"), (0.09, "reply"), (0.2, "slow")])
def test_while_tries_arrive_late_what_takes_a_blink_is_answered_all_the_same(seconds, how):
    """It runs in a thread of its own until it has been quick once, and after it was not."""
    process = Process(lambda req, process: process.clock.sleep(seconds) or "好")
    process.arrivals._house.arrived_late(3.0, process.clock.now())
    assert process.push().how == how


@pytest.mark.parametrize(("age", "how"), [(2.5, "slow"), (0.0, "hang up")])
def test_a_try_that_has_waited_for_its_thread_makes_none_wait_behind_it(age, how):
    """As it is more than two seconds old, and no later try, it stood in a backlog."""
    process = Process(lambda req, process: process.clock.sleep(20))
    outcome = process.push(age=age)
    assert (outcome.how, outcome.number) == (how, 1)


def test_a_page_that_comes_as_a_try_begins_to_wait_is_not_waited_for():
    go_on, end = threading.Event(), threading.Event()

    def stream(req, process):
        go_on.wait(20)
        yield "字" * 1000
        end.wait(20)

    process = Process(stream)
    enter = process.arrivals._house.enter

    def enter_as_it_comes(now):
        go_on.set()
        until(lambda: process.runs.here[PUSH].page(1))
        return enter(now)

    process.arrivals._house.enter = enter_as_it_comes
    begun = process.clock.now()
    assert process.push().how == "reply"
    assert process.clock.now() - begun < 0.9  # it would look again after one second
    end.set()


@pytest.mark.parametrize(
    ("part", "expected", "how"),
    [("第一句。第二", ("第一句。", "查看回复1-2"), "part"), ("字", (Settings.slow_text, "查看回复1"), "slow")],
)
def test_a_last_try_sends_what_another_process_has_shown(part, expected, how):
    """Where nothing of it can be cut off, the link."""
    process = Process()
    process.store.set(beat_key("other"), 1, HOUR)
    process.elsewhere.claim(PUSH, 1, "other")
    process.elsewhere.write_part(PUSH, 1, part)
    outcome = process.push(age=10)
    assert (said(outcome), outcome.how, outcome.number, process.ran) == (expected, how, 3, [])
    if how == "part":
        process.clock.sleep(23 * HOUR)
        assert process.ledger.page(PUSH, 1).chars == len("第一句。")


def test_a_try_hears_of_the_page_that_another_process_writes():
    process = Process()
    process.store.set(beat_key("other"), 1, HOUR)
    process.elsewhere.claim(PUSH, 1, "other")

    def write():
        process.clock.sleep(2)
        process.elsewhere.write_page(PUSH, 1, Page("<xml/>"), behind_link=False)

    with process.clock.foreground():
        process.clock.start(write, "other")
        begun = process.clock.now()
        assert process.push() == ("<xml/>", "reply", 2)
        assert process.clock.now() - begun == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(("event", "promised"), [("unsubscribe", False), ("new_one", True)])
def test_an_event_whose_reply_nobody_can_be_sure_to_see_is_acknowledged_in_time(event, promised):
    """Of one of unknown kind the answer may be wanted later."""
    process, fields = Process(), {**EVENT, "Event": event}
    push = push_key(read_msg(fields), b"")
    process.store.set(beat_key("other"), 1, HOUR)
    process.elsewhere.claim(push, 1, "other")
    with process.clock.foreground():
        outcome = process.arrivals.answer(read_msg(fields), b"", timestamp=int(process.clock.wall() - 10))
    assert outcome == ("", "ack", 3)
    assert (process.ledger.promised(push) is not None) == promised


@pytest.mark.parametrize("here", [False, True])
def test_a_try_that_gives_up_at_the_moment_when_the_page_is_written_sends_it(here):
    """It notes its promise first and looks then: see `Ledger.promise`. Even the run that is here may not know the page."""
    process = Process(lambda req, process: process.clock.sleep(20) or "好")
    if here:
        process.start()
    process.store.set(beat_key("other"), 1, HOUR)
    process.elsewhere.claim(PUSH, 1, "other")
    keep = process.store.set

    def keep_and_write(key, *rest):
        keep(key, *rest)
        if key.endswith(":promise"):
            process.elsewhere.write_page(PUSH, 1, Page("<xml/>"), behind_link=True)

    process.store.set = keep_and_write
    assert process.push(age=10) == ("<xml/>", "reply", 3)


# -- a process that is gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "settings", "fields", "part", "expected"),
    [
        (1, {}, {}, "", "run again"),
        (3, {}, {}, "", "run again"),
        (4, {}, {}, "", LOST),  # one for each of WeChat's tries, and one more
        (1, {"rerun_lost": False}, {}, "", LOST),
        (1, {"rerun_lost": False}, {}, "第一句。\n", f"第一句。\n\n{LOST}"),  # what there is stays
        (1, {}, {}, "第一句。", f"第一句。\n\n{LOST}"),  # the user may have seen it: it is not run again
        (1, {"rerun_lost": False, "lost_text": None}, {}, "第一句。", "第一句。"),
        (1, {"rerun_lost": False, "lost_text": None}, {}, "", None),
        (1, {"rerun_lost": False}, {**EVENT, "Event": "unsubscribe"}, "", None),
        (1, {"rerun_lost": False}, {**EVENT, "Event": "new_one"}, "半", None),  # nobody knows who would read it
    ],
)
def test_a_push_of_a_process_that_is_gone_is_run_again_or_said_to_be_lost(runs, settings, fields, part, expected):
    process = Process(**settings)
    message = fields or TEXT_FIELDS
    push = push_key(read_msg(message), b"")
    for run in range(1, runs + 1):
        process.elsewhere.claim(push, run, "gone")
    if part:
        process.elsewhere.write_part(push, 1, part)
    with process.clock.foreground():
        outcome = process.arrivals.answer(read_msg(message), b"", timestamp=int(process.clock.wall()))
    if expected == "run again":
        assert (said(outcome), process.ran) == (("好",), ["你好"])
        assert process.ledger.look(push, 1).claim == Claim(runs + 1, process.runs.alive.process)
    else:
        assert (outcome.xml and read_xml(outcome.xml)["Content"]) == (expected or "")
        process.clock.sleep(23 * HOUR)  # a link may lead there
        assert process.ledger.page(push, 1).xml == outcome.xml
        assert process.ran == []
    assert outcome.how == ("reply" if outcome.xml else "ack")
    # With that process tries may have been lost that nobody has counted.
    assert outcome.number == 3


def test_of_a_push_whose_process_is_gone_nothing_is_run_twice():
    process = Process(lambda req, process: process.clock.sleep(2) or "好")
    lost(process)
    process.elsewhere.claim(PUSH, 2, "other")
    process.store.set(beat_key("other"), 1, HOUR)
    outcome = process.push(age=10)
    assert (said(outcome), process.ran) == ((Settings.slow_text, "查看回复1"), [])


# -- taps ------------------------------------------------------------------------------------------------------------


def test_a_tap_runs_a_push_whose_process_is_gone_again_and_keeps_its_link():
    """The message stands in the promise."""
    process = Process(lambda req, process: process.clock.sleep(20) or f"{req.content}！")
    number = lost(process, promised=True)
    slow = process.tap(number, age=10)
    assert (said(slow), slow.how) == ((Settings.slow_text, "查看回复1"), "slow")
    assert process.ledger.promised(PUSH) == (number, TEXT_FIELDS)  # and not the tap
    process.clock.sleep(HOUR)
    fetched = process.tap(number)
    assert (said(fetched), fetched.how, process.ran) == (("你好！",), "fetched", ["你好"])
    assert not process.ledger.take(USER, number)  # it will not be mentioned


def test_what_a_tap_waited_for_is_not_mentioned_any_more():
    process = Process()
    number = lost(process, promised=True)
    assert said(process.tap(number)) == ("好",)
    assert not process.ledger.take(USER, number)


def test_who_has_fetched_a_part_is_not_told_of_it_any_more():
    process = Process()
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS)
    process.store.set(beat_key("other"), 1, HOUR)
    process.elsewhere.claim(PUSH, 1, "other")
    process.elsewhere.write_part(PUSH, 1, "第一句。第二")
    assert process.tap(number, age=10).how == "part"
    assert not process.ledger.take(USER, number)


def test_an_answer_of_which_a_page_is_out_is_not_run_again():
    process = Process()
    number = lost(process, promised=True)
    process.elsewhere.write_page(PUSH, 1, Page("<xml/>", 4, True), behind_link=True)
    assert said(process.tap(number, 2)) == (LOST,)
    assert process.ran == []
    assert process.ledger.take(USER, number)  # the first page is what a mention leads to


@pytest.mark.parametrize(
    ("page", "expected", "how"),
    [(1, ("一",), "fetched"), (2, (Settings.end_text,), "fetched"), (3, (Settings.expired_text,), "expired")],
)
def test_a_tap_brings_what_is_behind_its_link(page, expected, how):
    process = Process()
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS)
    xml = "<xml><MsgType>text</MsgType><Content>一</Content></xml>"
    process.elsewhere.write_page(PUSH, 1, Page(xml, 1), behind_link=True)
    outcome = process.tap(number, page, age=5)
    assert (said(outcome), outcome.how, outcome.number) == (expected, how, 2)


@pytest.mark.parametrize("full", [False, True])
def test_while_the_store_is_down_a_tap_is_held_unless_the_house_is_full(full):
    """It may come back in time."""
    store = MemoryStore()
    process = Process(store=store)
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS)
    process.elsewhere.write_page(PUSH, 1, Page("<xml/>"), behind_link=True)
    find = store.get
    store.get, store.down = lambda key: None, True

    def come_back():
        process.clock.sleep(2)
        store.get = find  # what is found counts, also before the store is said to be up

    if full:
        process.arrivals._house.arrived_late(3.0, process.clock.now())
    with process.clock.foreground():
        process.clock.start(come_back, "store")
        begun = process.clock.now()
        outcome = process.tap(number, age=5)
        took = process.clock.now() - begun
    assert (outcome.how, outcome.number) == (("slow", 2) if full else ("fetched", 2))
    assert took < 0.3 if full else 2 <= took < 2.5
    assert process.arrivals.stats()["held"] == 0


def test_while_the_store_is_down_a_tap_brings_at_once_what_is_found_all_the_same():
    process = Process()
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS)
    process.elsewhere.write_page(PUSH, 1, Page("<xml/>"), behind_link=True)
    process.store.down = True
    begun = process.clock.now()
    assert process.tap(number).how == "fetched"
    assert process.clock.now() - begun < BLIND_SECONDS


# -- runs ------------------------------------------------------------------------------------------------------------


def sleeps(req, process):
    process.clock.sleep(30)
    return "好"


async def sleeps_async(req, process):
    await process.clock.sleep_async(30)
    return "好"


@pytest.mark.parametrize("handler", [sleeps, sleeps_async])
def test_of_one_user_eight_messages_are_at_work_at_most(handler, caplog):
    process = Process(handler)

    def is_busy(**fields):
        page = process.start(**fields).page(1)
        return page is not None and read_xml(page.xml)["Content"] == BUSY

    assert [is_busy(MsgId=str(n)) for n in range(10)] == [False] * 8 + [True] * 2
    assert not is_busy(MsgId="1000", number=2)  # what was claimed for a second run has been let in before
    assert not is_busy(MsgId="1001", FromUserName="o2")
    assert not is_busy(**EVENT)
    assert process.runs.stats()["busy_users"] == 2
    assert caplog.text.count("one user has 8 messages at work") == 1  # a minute
    process.clock.sleep(31)
    assert [is_busy(MsgId=str(2000 + n)) for n in range(8)] == [False] * 8
    process.clock.sleep(31)
    assert process.runs.stats()["running"] == 0


def test_of_coroutines_there_are_as_many_as_may_be():
    """They cost no thread, but memory."""
    process = Process(sleeps_async)
    others = MAX_COROUTINES - 1
    process.runs._coroutines += others
    assert process.start(MsgId="1").page(1) is None
    until(lambda: process.runs._coroutines == MAX_COROUTINES)
    assert read_xml(process.start(MsgId="2").page(1).xml)["Content"] == BUSY
    process.clock.sleep(31)
    until(lambda: process.runs._coroutines == others)
    assert process.start(MsgId="3").page(1) is None


@pytest.mark.parametrize("handler", [sleeps, sleeps_async])
def test_where_no_thread_is_to_be_had_the_user_gets_the_error_text_each_time_anew(handler, caplog):
    process = Process(handler)

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    process.clock.start = process.runs._loop._get = no_thread
    for n in range(MAX_OF_USER + 1):
        page = process.start(MsgId=str(n)).page(1)
        assert read_xml(page.xml)["Content"] == ERROR
    assert process.runs.here == {}
    assert "a handler could not be started" in caplog.text


def test_what_is_done_in_the_requests_own_thread_is_over_and_counts_as_nothing():
    threads = []
    process = Process(lambda req, process: threads.append(threading.current_thread()) or "好")
    for n in range(5):
        assert said(process.push(MsgId=str(n))) == ("好",)
        until(lambda: not process.runs.here)
    assert threads[-1] is threading.current_thread()
    process.push(MsgId="5", age=5)
    assert threads[-1] is not threading.current_thread()  # WeChat would not ask often enough if it was slow for once
    with process.clock.foreground():
        timestamp = int(process.clock.wall())
        process.arrivals.answer(read_msg({**TEXT_FIELDS, "MsgId": "6"}), b"", timestamp=timestamp, threaded=False)
    assert threads[-1] is not threading.current_thread()  # nobody else would serve the others
    until(lambda: not process.runs.here)
    assert process.runs.stats() == {"running": 0, "queued": 0, "busy": 0, "busy_users": 0}


def test_a_full_queue_is_counted_and_its_user_told(caplog):
    process = Process(sleeps, max_jobs=1, max_queued=1)
    answers = [process.start(MsgId=str(n)) for n in range(3)]
    assert [bool(answer.page(1)) for answer in answers] == [False, False, True]
    assert read_xml(answers[-1].page(1).xml)["Content"] == BUSY
    assert process.runs.stats() == {"running": 1, "queued": 1, "busy": 1, "busy_users": 0}
    assert "1 times users have got the busy text" in caplog.text
    assert len(process.runs.here) == 2
    process.clock.sleep(61)
    assert process.runs.here == {}


def test_that_users_get_the_busy_text_is_said_once_a_minute(caplog):
    process, said = Process(lambda req, process: process.clock.sleep(200), max_jobs=1, max_queued=0), []
    process.start(MsgId="0")
    for number, pause in enumerate((0, 58, 4, 58, 4), 1):
        process.clock.sleep(pause)
        process.start(MsgId=str(number))
        said.append([f"{n} times users have got" in caplog.text for n in range(1, 6)])
    assert [sum(lines) for lines in said] == [1, 1, 2, 2, 3]
    assert said[-1] == [True, False, True, False, True]


@pytest.mark.parametrize("runs_before", [0, 1])
def test_the_claims_of_runs_at_work_are_written_again_when_asked(runs_before):
    """The store has turned: from now on they are looked for elsewhere."""

    def forget(req, process):
        process.store.delete(*(key for key, _, _ in process.store.items()))
        process.runs.claim_again()
        return "好"

    process = Process(forget)
    lost(process, runs_before)
    process.push()
    assert process.ledger.look(PUSH, 1).claim == Claim(runs_before + 1, process.runs.alive.process)


def test_who_is_no_handler_finds_the_same_session():
    def count(req, process):
        req.session["n"] += 1

    process = Process(count)
    with process.runs.session_of("gh_1", "o1") as session:
        session["n"] = 1
    process.push()
    with process.runs.session_of("gh_1", "o1") as session:
        assert session["n"] == 2


def test_a_claim_outlives_the_longest_run():
    process = Process(lambda req, process: process.clock.sleep(700) or "好")
    process.start()
    process.runs.claim(PUSH, 1)
    process.clock.sleep(690)
    assert process.ledger.look(PUSH, 1).claim == Claim(1, process.runs.alive.process)


def test_claims_that_the_store_has_kept_are_written_again_once_a_minute():
    """Each is a write, and a bot may have thousands at work."""
    process, written = Process(lambda req, process: process.clock.sleep(150)), []
    keep = process.store.set
    process.store.set = lambda key, *rest: written.append(process.clock.now()) if ":run:" in key else keep(key, *rest)
    process.runs.claim(PUSH, 1)
    process.start()
    process.clock.sleep(149)
    assert written == pytest.approx([61, 121], abs=2)


def test_a_page_that_was_cut_elsewhere_is_taken_over_before_the_answer_ends():
    """The store may go down meanwhile, and hide it."""
    theirs, seen = Page("<xml/>", 4, True), []

    def stream(req, process):
        yield "第一句。"
        process.clock.sleep(9)
        yield "第二句。"
        process.clock.sleep(3)
        process.elsewhere.write_page(PUSH, 1, theirs, behind_link=True)
        process.clock.sleep(3)
        seen.extend(process.runs.here[PUSH].page(number) for number in (1, 2))
        yield "第三句。"

    process = Process(stream)
    assert process.push().how == "hang up"
    process.clock.sleep(60)
    assert seen == [theirs, None]
    assert read_xml(process.ledger.page(PUSH, 2).xml)["Content"] == "第二句。第三句。"


def test_an_answer_knows_what_its_run_was_begun_with():
    """How it is promised, and that a queue brought it: then its beginning was told by another machine's clock."""
    process = Process(sleeps)
    with process.clock.foreground():
        begun = process.clock.now()
        answer = process.runs.start(PUSH, REQ, 2, begun - 5.0, here=False, promised=7)
    assert (answer.push, answer.req, answer.number, answer.promised) == (PUSH, REQ, 2, 7)
    assert answer.arrived == begun - 5.0
    assert answer._beside is process.runs.here
    assert not answer._queued
    assert process.runs._answer(PUSH, REQ, 1, begun, queued=True)._queued


def test_a_process_takes_a_locked_file_where_others_of_its_machine_are(tmp_path):
    process = Process(place=Place(Locks(tmp_path / "alive"), alone=True))
    process.push()
    assert [path.name for path in (tmp_path / "alive").iterdir()] == [process.runs.alive.process]
    assert process.store.get(beat_key(process.runs.alive.process)) is None
    process.runs.close(process.clock.now())
    assert list((tmp_path / "alive").iterdir()) == []


@pytest.mark.parametrize(("seconds", "waited", "warned"), [(10, 10, False), (100, 25, True)])
def test_at_the_end_running_handlers_are_waited_for_within_the_grace(seconds, waited, warned, caplog):
    process = Process(lambda req, process: process.clock.sleep(seconds) or "好", grace=25.0)
    process.start()
    begun = process.clock.now()
    assert process.store.get(beat_key(process.runs.alive.process)) is not None
    process.runs.close(begun)
    assert process.clock.now() - begun == pytest.approx(waited, abs=0.3)
    assert ("1 handlers did not end in time" in caplog.text) == warned
    assert process.store.get(beat_key(process.runs.alive.process)) is None  # others may take over


def test_without_grace_no_handler_is_waited_for():
    end = threading.Event()
    process = Process(lambda req, process: end.wait(20), grace=0.0)
    process.start()
    begun = process.clock.now()
    process.clock.now = lambda: begun  # and not even for the blink that it takes to look
    process.clock.sleep = lambda seconds: pytest.fail("it waited")
    process.runs.close(begun)
    end.set()


def test_at_exit_all_that_work_in_real_time_give_up_what_is_left(monkeypatch):
    """Those on a clock of their own are what a test has left behind."""
    monkeypatch.setattr(runs, "_at_work", Living())  # others in this process go on
    end = threading.Event()
    processes = [Process(lambda req, process: end.wait(20), clock=clock, grace=0.0) for clock in (REAL, REAL, None)]
    for process in processes:
        process.start()
    runs._close_all()
    end.set()
    beats = [process.store.get(beat_key(process.runs.alive.process)) for process in processes]
    assert beats == [None, None, 1]


# -- through a task queue --------------------------------------------------------------------------------------------


def test_a_job_is_run_by_one_worker_and_its_answer_is_everybodys():
    """JSON goes into the queue; a try waits until the worker has written."""
    jobs = []
    process = Process()
    worker = Process(lambda req, process: f"{req.content}！", process.store)
    process.runs.runner = jobs.append
    assert process.runs.claim(PUSH, 1)
    assert process.start() is None
    (job,) = json.loads(json.dumps(jobs))
    assert (job["key"], job["run"], job["fields"]) == (PUSH, 1, TEXT_FIELDS)
    assert job["arrived"] == pytest.approx(process.clock.wall(), abs=2)
    assert process.ledger.look(PUSH, 1).claim == Claim(1, process.runs.place_in_queue(PUSH, 1))
    worker.runs.work(job)
    worker.runs.work(job)
    assert worker.ran == ["你好"]
    assert process.ledger.look(PUSH, 1).claim == Claim(1, worker.runs.alive.process)
    assert said(process.push()) == ("你好！",)


def test_a_job_goes_to_the_handler_of_its_kind():
    process, push = Process(), push_key(read_msg(EVENT), b"")
    process.runs.claim(push, 1)
    process.runs.work({"key": push, "run": 1, "fields": EVENT, "arrived": process.clock.wall()})
    assert read_xml(process.ledger.page(push, 1).xml)["Content"] == "事件"


def test_a_job_says_when_its_push_came():
    """By the wall, since a worker's clock begins elsewhere."""
    jobs, process = [], Process()
    process.runs.runner = jobs.append
    process.clock.sleep(100)
    process.runs.start(PUSH, REQ, 1, process.clock.now() - 7, here=False)
    assert jobs[0]["arrived"] == pytest.approx(process.clock.wall() - 7, abs=1)


@pytest.mark.parametrize(("ago", "waited"), [(7, 7), (-7, 0)])
def test_an_answer_of_a_worker_began_when_its_push_came(ago, waited):
    """And never in the future, whatever the other machine's clock says."""
    clock, waits = FastClock(0.001), []
    process = Process(lambda req, process: waits.append(clock.now() - process.runs.here[PUSH].arrived), clock=clock)
    process.runs.claim(PUSH, 1)
    process.runs.work({"key": PUSH, "run": 1, "fields": TEXT_FIELDS, "arrived": clock.wall() - ago})
    assert waits == [pytest.approx(waited, abs=0.1)]


@pytest.mark.parametrize("handler", [sleeps, sleeps_async])
def test_a_job_counts_as_no_message_of_its_user_when_it_is_done(handler):
    process = Process(handler)
    process.runs.claim(PUSH, 1)
    with process.clock.foreground():
        begun = process.clock.now()
        process.runs.work({"key": PUSH, "run": 1, "fields": TEXT_FIELDS, "arrived": process.clock.wall() - 100})
        assert process.clock.now() - begun >= 30
    assert (process.ran, process.runs._of_user, process.runs.here) == (["你好"], {}, {})
    assert process.ledger.page(PUSH, 1) is not None


def test_a_queued_job_counts_as_alive_for_ten_minutes():
    process = Process()
    process.runs.runner = lambda job: None
    place = process.runs.place_in_queue(PUSH, 1)
    process.start()
    process.clock.sleep(599)
    assert not process.runs.alive.is_lost(place)
    process.clock.sleep(2)
    process.runs.alive.is_lost(place)
    process.clock.sleep(2)
    assert process.runs.alive.is_lost(place)


def test_a_runner_that_raises_costs_its_user_the_error_text(caplog):
    process = Process()
    process.runs.runner = lambda job: 1 / 0
    assert said(process.push()) == (ERROR,)
    assert "the runner raised" in caplog.text


@pytest.mark.parametrize(
    ("handler", "fields"),
    [(None, TEXT_FIELDS), (lambda req, process: "好", {"Content": "no message"})],
)
def test_a_job_for_which_there_is_no_handler_is_said(handler, fields, caplog):
    process = Process(handler)
    process.runs.work({"key": PUSH, "run": 1, "fields": fields, "arrived": 0.0})
    assert "a job came for which this worker has no handler" in caplog.text
    assert (process.ran, process.ledger.page(PUSH, 1)) == ([], None)


def test_a_link_of_another_push_leads_nowhere():
    """A number may be given anew after a loss: the digits of the push tell."""
    process = Process()
    number = process.elsewhere.promise(PUSH, USER, TEXT_FIELDS)
    assert process.arrivals._find(USER, Tap(number, 1, "000000")) is None
