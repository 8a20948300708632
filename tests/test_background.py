"""What background, runs and answers are made of: keys of pushes, jobs, clocks that jump."""

import contextvars
import logging
import threading
import time
from contextlib import nullcontext

import pytest

from wx_mp_svr import WxMpServer, xmlio
from wx_mp_svr.answers import Answers
from wx_mp_svr.background import Background, push_key
from wx_mp_svr.config import load
from wx_mp_svr.handlers import Handlers
from wx_mp_svr.kinds import read_msg
from wx_mp_svr.links import Links
from wx_mp_svr.runs import Runs, run_key
from wx_mp_svr.store.memory import MemoryStore

TEXT = {
    "ToUserName": "gh_1",
    "FromUserName": "o1",
    "CreateTime": "1700000000",
    "MsgType": "text",
    "Content": "你好",
    "MsgId": "1",
}
EVENT = {**TEXT, "MsgType": "event", "Event": "CLICK", "EventKey": "k"}
del EVENT["MsgId"]
CARD = {**EVENT, "Event": "user_get_card", "UserCardCode": "7"}
PUBLISHED = {**EVENT, "Event": "PUBLISHJOBFINISH", "PublishEventInfo": {"publish_id": "5"}}


def key_of(fields, xml=b"<xml/>"):
    return push_key(read_msg(fields), xml)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT, {**TEXT, "MsgId": "2"}),
        (TEXT, {**TEXT, "FromUserName": "o2"}),  # users share ids
        (TEXT, {**TEXT, "ToUserName": "gh_2"}),
        (TEXT, {**TEXT, "CreateTime": "1700000001"}),
        (TEXT, {**TEXT, "CreateTime": "xxxx"}),
        (EVENT, {**EVENT, "EventKey": "other"}),
        (EVENT, {**EVENT, "Event": "VIEW"}),
        (EVENT, {**TEXT, "CreateTime": EVENT["CreateTime"]}),  # an event and a text in one second
        (CARD, {**CARD, "UserCardCode": "8"}),  # two cards in one second
        (PUBLISHED, {**PUBLISHED, "PublishEventInfo": {"publish_id": "6"}}),
        ({**EVENT, "MsgID": "1"}, {**EVENT, "MsgID": "2"}),
        ({**EVENT, "trace_id": "a"}, {**EVENT, "trace_id": "b"}),
    ],
)
def test_two_pushes_have_two_keys(one, other):
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT, {**TEXT, "Content": "whatever"}),  # MsgId says it is the same
        (TEXT, dict(reversed(TEXT.items()))),
        (EVENT, {**EVENT, "Event": "click"}),
    ],
)
def test_copies_of_a_push_have_one_key(one, other):
    assert key_of(one) == key_of(other)


def test_a_message_without_msg_id_is_known_by_its_packet():
    nameless = {name: value for name, value in TEXT.items() if name != "MsgId"}
    assert key_of(nameless, b"a") != key_of(nameless, b"b")
    assert key_of(nameless, b"a") == key_of(nameless, b"a")


def test_a_clock_that_jumps_changes_nothing_about_waiting():
    """B104: the wall clock is for timestamps; what waits counts monotonic seconds."""
    settings = load({"token": "JumpToken", "time_scale": 0.1}, {}, {}).scaled()
    clock = iter(range(0, 10**9, 10**6))  # eleven days with every look

    def wall():
        return float(next(clock))

    handlers, store = Handlers(), MemoryStore()
    handlers.give("on_message", lambda req: time.sleep(0.2) or "fertig")
    links = Links(store, settings)
    answers = Answers(settings, store, links, clock=wall)
    runs = Runs(settings, store, handlers, answers, context=nullcontext, strict=lambda: True, clock=wall)
    background = Background(settings, store, links, answers, runs, clock=wall)
    begun = time.monotonic()
    outcome = background.answer(read_msg(TEXT), b"", timestamp=1_700_000_000)
    assert "fertig" in outcome.xml
    assert (outcome.how, outcome.tries) == ("reply", 1)
    assert 0.2 <= time.monotonic() - begun < 0.43


def test_an_offer_of_another_process_is_found_a_beat_later():
    """And that of this one at once: no reply asks the store for what is rare."""
    settings = load({"token": "OfferToken", "time_scale": 0.1}, {}, {}).scaled()
    store, req = MemoryStore(), read_msg(TEXT)
    here, elsewhere = Links(store, settings), Links(store, settings)
    assert here.take_offer(req) is None
    elsewhere.offer(req, 1)
    time.sleep(settings.beat * 1.1)
    assert here.take_offer(req) == 1
    assert here.take_offer(req) is None
    here.offer(req, 2)
    assert here.take_offer(req) == 2


@pytest.mark.parametrize(
    ("msg_type", "elements", "told"),
    [
        ("text", {"Content": "你好", "MsgId": 1}, "刚才的消息没有处理完，请再发一次。"),
        ("event", {"Event": "CLICK", "EventKey": "k"}, "刚才的消息没有处理完，请再发一次。"),
        ("event", {"Event": "unsubscribe"}, ""),  # WeChat wants an acknowledgement
        ("event", {"Event": "kf_create_session"}, ""),  # WeChat does not say whether anybody is reading
    ],
)
def test_who_has_sent_a_message_is_told_that_it_was_lost(msg_type, elements, told):
    """B94: with `rerun_lost` off the handler is not run again, whatever became of its first run."""
    store, ran = MemoryStore(), []
    bot = WxMpServer(token="LostToken", store=store, on_message=ran.append, on_event=ran.append)
    wechat = bot.test_client(store=store, time_scale=0.3, rerun_lost=False)
    xml = wechat.build(msg_type, elements)
    push = push_key(read_msg(xmlio.load(xml.encode())), xml.encode())
    store.set(run_key(push, 1), "a process that was killed", 600)
    assert (wechat.send_xml(xml).content, ran) == (told, [])


def test_an_answer_that_takes_over_ten_minutes_is_found_by_who_comes_for_it():
    """At another worker: the claim of its run lives as long as the link, not only as long as WeChat may push again."""
    jump, gate = [0.0], threading.Event()
    store = MemoryStore(clock=lambda: time.monotonic() + jump[0])

    def patient(req):
        return "终于" if gate.wait(30) else None

    bots = [WxMpServer(token="LongToken", store=store, on_message=patient) for _ in range(2)]
    here, elsewhere = (bot.test_client(store=store, time_scale=0.1) for bot in bots)
    slow = here.send_text("x")
    jump[0] += bots[0].settings.keep_seconds + 1
    assert elsewhere.tap(slow).content.startswith(bots[0].settings.slow_text)
    gate.set()
    assert elsewhere.tap(slow).content == "终于"


def server(**settings):
    return WxMpServer(token="JobToken", on_message=lambda req: req.content, **settings)


def test_a_job_of_another_store_is_told(caplog, tmp_path):
    """The worker and the server were given different settings: without a line nobody would find out."""
    job = {"key": "p:1", "run": 1, "fields": TEXT, "arrived": time.time()}
    server(store=f"sqlite:{tmp_path / 'a.db'}").run_job(job)
    assert "is WX_MP_STORE the same" in caplog.text


def test_a_job_that_nobody_handles_is_told(caplog):
    WxMpServer(token="JobToken", store="memory:").run_job({"key": "p:1", "run": 1, "fields": TEXT, "arrived": 0.0})
    assert "no handler" in caplog.text


def test_a_job_leaves_nothing_in_the_context_of_its_worker(tmp_path):
    """Whose next job is another user's."""
    user, seen = contextvars.ContextVar("user", default=None), []

    def on_message(req):
        user.set(req.openid)
        seen.append(req.openid)

    bot = WxMpServer(token="JobToken", store=f"sqlite:{tmp_path / 'a.db'}", on_message=on_message)
    bot.run_job({"key": "p:1", "run": 1, "fields": TEXT, "arrived": time.time()})
    assert (seen, user.get()) == (["o1"], None)


@pytest.mark.parametrize("kind", ["memory:", "sqlite:{}/own.db"])
def test_the_test_client_takes_a_store_as_the_server_does(kind, tmp_path):
    assert server(store="memory:").test_client(store=kind.format(tmp_path)).send_text("你好").content == "你好"


def test_the_test_client_runs_handlers_here_whatever_the_runner(tmp_path):
    """A user's tests need no worker."""
    bot = server(store=f"sqlite:{tmp_path / 'a.db'}", runner=lambda job: None)
    assert bot.test_client().send_text("你好").content == "你好"


def test_busy_users_make_one_line_a_minute(caplog):
    caplog.set_level(logging.ERROR, "wx_mp_svr")
    bot = WxMpServer(token="BusyToken", store="memory:", on_message=lambda req: time.sleep(0.5))
    wechat = bot.test_client(time_scale=0.1, max_jobs=1, max_queued=1, tries=1, slow_text=None)
    wechat.tries = 1
    for n in range(6):
        wechat.send_text(str(n))
    assert len([record for record in caplog.records if "max_jobs" in record.getMessage()]) <= 1
