"""One call of a handler to its end: what goes into the sink, whatever the handler is and however it ends."""

import logging
import sys
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from wechat import TEXT_FIELDS

from wx_mp_svr.clock import FastClock
from wx_mp_svr.config import Settings
from wx_mp_svr.errors import ReplyError, SessionBusy
from wx_mp_svr.handling.drive import AT_WORK, QUICK_SECONDS, Driver, Pace
from wx_mp_svr.handling.handlers import Handlers
from wx_mp_svr.handling.routes import Found
from wx_mp_svr.handling.sessions import Sessions
from wx_mp_svr.handling.workers import Loop
from wx_mp_svr.messages import read_msg
from wx_mp_svr.rsp_msg import EmptyRspMsg, TextRspMsg
from wx_mp_svr.store.alive import Alive
from wx_mp_svr.store.memory import MemoryStore

ERROR, BUSY = TextRspMsg(Settings.error_text), TextRspMsg(Settings.busy_text)
EVENT = {**TEXT_FIELDS, "MsgType": "event", "Event": "unsubscribe"}


class Sink:
    """Where an answer goes; notes what it hears, and in whose thread."""

    def __init__(self, *, takes=sys.maxsize, late=False, at_once=True, **fields):
        self.req = read_msg({**TEXT_FIELDS, **fields})
        self.over = False
        self.takes, self.late, self.at_once = takes, late, at_once
        self.pieces, self.replies, self.delivered = [], [], []
        self.flushed = 0
        self.threads = set()

    @property
    def full(self):
        return len(self.pieces) >= self.takes

    def piece(self, piece):
        self.pieces.append(piece)
        return len(self.pieces) % 2 == 0

    def flush(self):
        self.flushed += 1
        self.threads.add(threading.current_thread().name)

    def reply(self, rsp):
        self.threads.add(threading.current_thread().name)
        self.replies.append(rsp)
        self.over = True
        return rsp if self.late else None

    def reply_at_once(self, rsp):
        return self.at_once and self.reply(rsp) is None

    def settle(self, *, delivered):
        self.delivered.append(delivered)


class Desk:
    """A driver whose app notes what is entered and left, and who heard of failures."""

    def __init__(self, *, strict=False, **handlers):
        self.clock = FastClock()
        self.store = MemoryStore()
        self.failed = []
        self.entered = []
        self.broken = ""
        self.loop = Loop(self.clock)
        settings = Settings(token="Drive1")
        alive = Alive(self.store, self.clock, lambda: False)
        self.sessions = Sessions(self.store, settings, alive, self.loop, self.clock)
        given = Handlers()
        for name, handler in handlers.items():
            given.give(name, handler)
        self.driver = Driver(
            given,
            self.sessions,
            self.loop,
            settings,
            context=self.context,
            strict=lambda: strict,
            clock=self.clock,
            running=lambda: 0,
            failed=lambda req, exc: self.failed.append((req, exc)),
        )

    @contextmanager
    def context(self):
        if self.broken == "entering":
            raise RuntimeError("no app")
        self.entered.append(True)
        yield
        if self.broken == "leaving":
            raise RuntimeError("teardown")

    def drive(self, handler, sink=None, *, in_loop=False, **groups):
        sink = sink or Sink()
        found = Found(handler, groups)
        if in_loop:
            self.loop.run(self.driver.drive_async(found, sink))
        else:
            self.driver.drive(found, sink)
        return sink

    def remembered(self):
        with self.sessions.of("gh_1", "o1") as session:
            return dict(session)


@pytest.fixture
def desk():
    return Desk()


def plain(req):
    return "好"


async def coroutine(req):
    return "好"


class Callable:
    def __call__(self, req):
        return "好"


class AsyncCallable:
    async def __call__(self, req):
        return "好"


def stream(req):
    yield "一"
    yield "二"
    yield "三"


async def async_stream(req):
    yield "一"
    yield "二"
    yield "三"


def stream_with_a_last_word(req):
    yield "一"
    return "二"


def returns_a_coroutine(req):
    return coroutine(req)


def returns_a_stream(req):
    return async_stream(req)


HANDLERS = [
    # handler, whether it can be driven in the loop, its pieces, its reply
    (plain, False, [], TextRspMsg("好")),
    (Callable(), False, [], TextRspMsg("好")),
    (stream, False, ["一", "二", "三"], EmptyRspMsg()),
    (stream_with_a_last_word, False, ["一", "二"], EmptyRspMsg()),
    (returns_a_coroutine, False, [], TextRspMsg("好")),
    (returns_a_stream, False, ["一", "二", "三"], EmptyRspMsg()),
    (coroutine, True, [], TextRspMsg("好")),
    (AsyncCallable(), True, [], TextRspMsg("好")),
    (async_stream, True, ["一", "二", "三"], EmptyRspMsg()),
]


@pytest.mark.parametrize(
    ("handler", "in_loop", "pieces", "reply"),
    [(handler, where, *said) for handler, loop, *said in HANDLERS for where in ({False, loop})],
)
def test_whatever_a_handler_is_what_it_says_goes_into_the_sink(desk, handler, in_loop, pieces, reply):
    sink = desk.drive(handler, in_loop=in_loop)
    assert (sink.pieces, sink.replies, sink.flushed) == (pieces, [reply], len(pieces) // 2)
    assert (desk.entered, desk.failed) == ([True], [])


@pytest.mark.parametrize("handler", [row[0] for row in HANDLERS])
def test_what_belongs_into_the_event_loop_is_known_before_it_is_called(desk, handler):
    is_async = handler in (coroutine, async_stream) or isinstance(handler, AsyncCallable)
    assert desk.driver.pace_of(handler).is_async == is_async
    assert desk.driver.pace_of(partial(coroutine)).is_async
    assert desk.driver.pace_of(handler) is desk.driver.pace_of(handler)


@pytest.mark.parametrize(("handler", "in_loop"), [(stream, False), (returns_a_stream, False), (async_stream, True)])
def test_a_sink_that_is_full_stops_the_stream(desk, handler, in_loop):
    assert desk.drive(handler, Sink(takes=2), in_loop=in_loop).pieces == ["一", "二"]


def test_a_group_of_a_route_becomes_an_argument(desk):
    async def weather(req, city):
        return city

    assert desk.drive(lambda req, city: city, city="北京").replies == [TextRspMsg("北京")]
    assert desk.drive(weather, in_loop=True, city="北京").replies == [TextRspMsg("北京")]


@pytest.mark.parametrize("in_loop", [False, True])
def test_log_lines_of_a_handler_know_its_message(desk, in_loop):
    seen = []

    def note(req):
        seen.append(AT_WORK.get())

    async def note_async(req):
        note(req)

    sink = desk.drive(note_async if in_loop else note, in_loop=in_loop)
    assert seen == [sink.req]


# -- in the event loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_once", "thread"), [(True, "wx-mp-loop"), (False, "wx-mp-aside")], ids=["at once", "not at once"]
)
def test_a_reply_is_given_in_the_loop_unless_it_may_block(desk, at_once, thread):
    sink = desk.drive(coroutine, Sink(at_once=at_once), in_loop=True)
    assert (sink.replies, sink.threads) == ([TextRspMsg("好")], {thread})


def test_in_the_loop_pages_are_written_aside(desk):
    assert "wx-mp-loop" not in desk.drive(async_stream, Sink(at_once=False), in_loop=True).threads


def test_what_is_set_around_a_handler_holds_where_its_end_is_seen_to():
    """`on_late_reply` runs in a thread then, with the app's context."""
    seen = []
    desk = Desk(on_late_reply=lambda req, reply: seen.append((AT_WORK.get(), reply)))
    sink = desk.drive(coroutine, Sink(late=True, at_once=False), in_loop=True)
    assert seen == [(sink.req, TextRspMsg("好"))]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def raises(req):
    raise ValueError("a bug")


async def raises_async(req):
    raise ValueError("a bug")


def exits(req):
    sys.exit("a bug")


def nonsense(req):
    return 5


async def nonsense_async(req):
    return 5


def yields_nonsense(req):
    yield "一"
    yield 5


async def yields_nonsense_async(req):
    yield "一"
    yield 5


def waits(req):
    raise SessionBusy("too long")


BUGS = [
    # handler, what its user gets, the level and the beginning of the line
    (raises, ERROR, "ERROR", "the handler raises ("),
    (raises_async, ERROR, "ERROR", "the handler raises_async ("),
    (exits, ERROR, "ERROR", "the handler exits ("),
    (nonsense, ERROR, "ERROR", "the reply of nonsense ({}:"),
    (nonsense_async, ERROR, "ERROR", "the reply of nonsense_async ({}:"),
    (yields_nonsense, ERROR, "ERROR", "the reply of yields_nonsense ({}:"),
    (yields_nonsense_async, ERROR, "ERROR", "the reply of yields_nonsense_async ({}:"),
    (waits, BUSY, "WARNING", "waits waited for req.session"),
]


@pytest.mark.parametrize(
    ("handler", "reply", "level", "line"), [pytest.param(*row, id=row[0].__name__) for row in BUGS]
)
def test_what_goes_wrong_becomes_a_reply_and_a_line(desk, handler, reply, level, line, caplog):
    sink = desk.drive(handler, in_loop=desk.driver.pace_of(handler).is_async)
    assert sink.replies == [reply]
    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith(line.format(__file__))
    if reply is ERROR:
        ((req, exc),) = desk.failed
        assert (req, record.handler) == (sink.req, handler)
        assert record.took == pytest.approx(0, abs=5)
        assert isinstance(exc, ValueError | SystemExit | ReplyError)
        if isinstance(exc, ReplyError):
            assert f"{handler.__name__} {'yielded' if sink.pieces else 'returned'} int" in str(exc)
        else:
            assert record.exc_info[1] is exc
    else:
        assert desk.failed == []


@pytest.mark.parametrize("handler", [raises, waits])
def test_where_nobody_reads_a_reply_a_bug_is_silent(desk, handler):
    assert desk.drive(handler, Sink(**EVENT)).replies == [EmptyRspMsg()]


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize(("strict", "reply"), [(False, EmptyRspMsg()), (True, ERROR)])
def test_what_could_be_mended_is_a_bug_only_in_development(strict, reply, in_loop):
    async def blank_async(req):
        return " "

    assert Desk(strict=strict).drive(blank_async if in_loop else lambda req: " ", in_loop=in_loop).replies == [reply]
    assert Desk(strict=strict, on_error=lambda exc, req: " ").drive(raises).replies == [reply]


@pytest.mark.parametrize(
    ("on_error", "reply", "failures"),
    [
        (lambda exc, req: f"{exc}", TextRspMsg("a bug"), []),
        (lambda exc, req: None, EmptyRspMsg(), []),
        (lambda exc, req: 5, ERROR, [ReplyError]),
        (lambda exc, req: 1 / 0, ERROR, [ZeroDivisionError]),
    ],
    ids=["a text", "silence", "nonsense", "raises"],
)
def test_on_error_says_what_the_user_gets(on_error, reply, failures):
    desk = Desk(on_error=on_error)
    assert desk.drive(raises).replies == [reply]
    assert [type(exc) for _, exc in desk.failed] == failures  # of what no `on_error` took


def test_on_error_is_not_asked_about_itself_nor_about_one_who_waited():
    asked = []
    desk = Desk(on_error=lambda exc, req: asked.append(exc))
    assert desk.drive(waits).replies == [BUSY]
    assert asked == []


def test_an_on_error_may_be_async_and_stream():
    async def on_error(exc, req):
        yield "出错："
        yield f"{exc}"

    sink = Desk(on_error=on_error).drive(raises)
    assert (sink.pieces, sink.replies) == (["出错：", "a bug"], [EmptyRspMsg()])


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize(
    ("broken", "replies", "line"),
    [
        ("entering", [ERROR], "could not be called"),
        ("leaving", [TextRspMsg("好")], "the app's teardown raised"),
    ],
)
def test_an_app_that_fails_around_a_handler_costs_at_most_this_answer(desk, in_loop, broken, replies, line, caplog):
    desk.broken = broken
    assert desk.drive(coroutine if in_loop else plain, in_loop=in_loop).replies == replies
    (record,) = caplog.records
    assert line in record.getMessage()
    assert ("coroutine" if in_loop else "plain") in record.getMessage()
    assert isinstance(record.exc_info[1], RuntimeError)


# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fails", "kept"), [(False, {"n": 1}), (True, {})])
@pytest.mark.parametrize("kind", ["def", "def without a block", "async def"])
def test_what_a_handler_remembers_is_kept_unless_it_raises(desk, kind, fails, kept):
    def handler(req):
        with req.session as session:
            session["n"] = 1
            if fails:
                raise ValueError

    def bare(req):
        req.session["n"] = 1
        if fails:
            raise ValueError

    async def handler_async(req):
        async with req.session as session:
            session["n"] = 1
            if fails:
                raise ValueError

    given = {"def": handler, "def without a block": bare, "async def": handler_async}[kind]
    desk.drive(given, in_loop=kind == "async def")
    assert desk.remembered() == kept


def test_a_session_that_an_async_handler_leaves_locked_is_given_back_aside(desk):
    async def handler(req):
        session = await req.session.__aenter__()
        session["n"] = 1

    sink = desk.drive(handler, in_loop=True)
    assert (desk.remembered(), sink.threads) == ({"n": 1}, {"wx-mp-aside"})


def test_what_a_session_cannot_hold_is_a_bug_of_the_handler(desk):
    def handler(req):
        req.session["x"] = object()

    assert desk.drive(handler).replies == [ERROR]
    assert "what JSON does not have" in str(desk.failed[0][1])


def test_on_error_finds_a_session_of_its_own():
    def on_error(exc, req):
        req.session["errors"] = req.session.get("errors", 0) + 1

    def handler(req):
        req.session["n"] = 1
        raise ValueError

    desk = Desk(on_error=on_error)
    for _ in range(2):
        desk.drive(handler)
    assert desk.remembered() == {"errors": 2}


# -- late --------------------------------------------------------------------------------------------------------------


async def delivers_async(req, reply):
    return True


def fails(req, reply):
    raise ValueError


@pytest.mark.parametrize(
    ("hook", "delivered"),
    [
        (None, False),
        (lambda req, reply: None, False),
        (lambda req, reply: 1, False),  # True, and nothing like it: an id of a message sent is no such promise
        (lambda req, reply: True, True),
        (delivers_async, True),
        (fails, False),
    ],
)
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_late_reply_is_settled(hook, delivered, in_loop, caplog):
    heard = []

    def on_late_reply(req, reply):
        heard.append((req, reply))
        return hook(req, reply)

    desk = Desk(**({} if hook is None else {"on_late_reply": on_late_reply}))
    sink = desk.drive(coroutine if in_loop else plain, Sink(late=True, at_once=False), in_loop=in_loop)
    assert sink.delivered == [delivered]
    assert heard == ([] if hook is None else [(sink.req, TextRspMsg("好"))])
    assert ("on_late_reply raised" in caplog.text) == (hook is fails)


def test_a_reply_in_time_is_not_settled(desk):
    assert desk.drive(plain).delivered == []


# -- how long it took --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize(("seconds", "words"), [(0.25, "250 ms"), (1.0, "1.0 s"), (12.34, "12.3 s")])
def test_one_line_says_which_handler_has_answered_and_how_long_it_took(seconds, words, in_loop, caplog):
    caplog.set_level(logging.INFO, "wx_mp_svr")
    desk = Desk()
    hands = [100.0]
    desk.clock.now = lambda: hands[0]

    def sleeps(req):
        hands[0] += seconds

    async def sleeps_async(req):
        sleeps(req)

    handler = sleeps_async if in_loop else sleeps
    desk.drive(handler, in_loop=in_loop)
    (record,) = caplog.records
    assert record.getMessage() == f"文本 → {handler.__name__}() · {words}"
    assert (record.handler, record.took) == (handler, pytest.approx(seconds))


class Hands:
    """A clock whose hands a test turns."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time


def run(pace, seconds, others=0):
    begun = pace.begin()
    pace._clock.time += seconds
    pace.end(begun, others=lambda: others)


@pytest.mark.parametrize(
    ("runs", "quick"),
    [
        ([], False),  # nobody knows yet
        ([(0.0, 0)], True),
        ([(QUICK_SECONDS - 0.001, 0)] * 3, True),
        ([(QUICK_SECONDS, 0)], False),
        ([(0.0, 0), (QUICK_SECONDS, 0), (0.0, 0)], False),  # once is enough
        ([(QUICK_SECONDS + 0.004, 1)], True),  # another run may have kept the interpreter for 5 ms
        ([(QUICK_SECONDS + 0.012, 2)], False),
    ],
)
def test_a_handler_is_quick_that_has_always_been_quick(runs, quick):
    pace = Pace(plain, Hands())
    for seconds, others in runs:
        run(pace, seconds, others)
    assert pace.is_quick() == quick


def test_a_quick_handler_of_which_a_run_begins_to_hang_is_not_quick_meanwhile():
    hands = Hands()
    hands.time = 1000.0
    pace = Pace(plain, hands)
    run(pace, 0.0)
    first = pace.begin()
    hands.time += 0.01
    second = pace.begin()
    hands.time += 0.03
    assert pace.is_quick()
    pace.end(second, others=lambda: 0)
    hands.time += 0.02
    assert not pace.is_quick()  # the first one is still at work
    pace.end(first, others=lambda: 100)
    assert pace.is_quick()


@pytest.mark.parametrize("handler", [stream, returns_a_coroutine, returns_a_stream])
def test_what_yields_is_written_for_answers_that_take_long(desk, handler):
    for _ in range(2):
        desk.drive(handler)
    assert not desk.driver.pace_of(handler).is_quick()
    desk.drive(plain)
    assert desk.driver.pace_of(plain).is_quick()
