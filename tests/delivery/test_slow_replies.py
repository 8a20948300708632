"""Slow replies, as WeChat and the user see them: the three tries, links, streaming, limits. Times are scaled."""

import asyncio
import contextvars
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from wx_mp_svr import Article, EmptyRspMsg, ImageRspMsg, TextRspMsg, WxMpServer
from wx_mp_svr.config import Settings
from wx_mp_svr.delivery.house import Breaker, House
from wx_mp_svr.delivery.rules import Patience
from wx_mp_svr.delivery.which_try import Ages
from wx_mp_svr.handling.drive import QUICK_SECONDS
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.testing import FAULT_NOTICE

ACCOUNT = {"appid": "wx0123456789abcdef", "token": "SlowToken1", "aes_key": "k" * 43, "store": "memory:"}


class Bot:
    """A server whose handler does what the message says, and counts."""

    def __init__(self, handler, *, on_late_reply=None, **settings):
        self.ran = []
        self.late = []
        self.events = []
        server = WxMpServer(
            **ACCOUNT,
            on_message=self.counted(handler),
            on_subscribe=lambda event: "欢迎",
            on_event=self.on_event,
            on_late_reply=on_late_reply or self.on_late_reply,
        )
        self.wechat = server.test_client(raise_errors=False, **settings)
        self.server = self.wechat.server
        self.seconds = 0.0

    def on_late_reply(self, req, reply):
        self.late.append((getattr(req, "content", req.msg_type), reply))

    def until(self, condition):
        """Let time pass until it is so."""
        for _ in range(600):
            if condition():
                return
            self.wechat.sleep(0.1)
        assert condition()

    def counted(self, handler):
        def on_message(req):
            self.ran.append(req.content)
            return handler(req, self)

        return on_message

    def on_event(self, event):
        self.events.append(event.event)
        self.wechat.sleep(self.seconds)
        return "事件的回复"


def sleeper(req, bot):
    """Sleep as long as the text says, then answer."""
    bot.wechat.sleep(float(req.content))
    return f"过了{req.content}秒"


def statuses(result):
    return [attempt.status for attempt in result.tries]


# -- the three tries -------------------------------------------------------------------------------------------------

# How long the handler takes; what each of the first push's tries gets (None: WeChat has hung up); how many taps it takes
# until the answer is there.
DURATIONS = [
    ("0.1", [200], 0),
    ("2", [200], 0),
    ("3.9", [200], 0),
    ("4.6", [None, 200], 0),  # the grey zone: ready, but too late to be sure that WeChat still listens
    ("6", [None, 200], 0),
    ("8", [None, 200], 0),
    ("9.7", [None, None, 200], 0),
    ("11", [None, None, 200], 0),
    ("13.8", [None, None, 200], 0),
    ("20", [None, None, 200], 1),
    ("40", [None, None, 200], 2),
]


@pytest.mark.parametrize(("seconds", "tries", "taps"), DURATIONS, ids=[row[0] for row in DURATIONS])
def test_however_long_a_handler_takes_it_runs_once_and_its_answer_arrives(seconds, tries, taps):
    bot = Bot(sleeper)
    result = bot.wechat.send_text(seconds)
    first, needed = result, 0
    while result.links:
        result, needed = bot.wechat.tap(result), needed + 1
    assert result.content == f"过了{seconds}秒"
    assert bot.ran == [seconds]
    assert all(check.level == "ok" for check in first.checks)
    assert (statuses(first), needed) == (tries, taps)


def test_an_early_tap_waits_through_its_own_three_tries():
    bot = Bot(sleeper)
    slow = bot.wechat.send_text("26")
    assert statuses(slow) == [None, None, 200]
    assert slow.links[0].words == "查看回复1"
    answer = bot.wechat.tap(slow)
    assert statuses(answer) == [None, None, 200]
    assert answer.content == "过了26秒"


def test_an_answer_behind_a_link_is_still_there_after_it_was_fetched():
    """Delivered is not deleted: a retry, or a curious user, gets it again."""
    bot = Bot(sleeper)
    slow = bot.wechat.send_text("20")
    assert [bot.wechat.tap(slow).content for _ in range(3)] == ["过了20秒"] * 3
    assert bot.ran == ["20"]


def test_the_words_of_a_link_do_without_its_id():
    """Test accounts leave the id out, and users type."""
    bot = Bot(sleeper)
    bot.wechat.send_text("20")
    assert bot.wechat.send_text(" 查看回复1 ").content == "过了20秒"


def test_a_link_leads_only_its_own_user_to_the_answer():
    bot = Bot(sleeper)
    slow = bot.wechat.send_text("20")
    stranger = bot.wechat.tap(slow, openid="oSomebodyElse")
    assert stranger.content == bot.server.settings.expired_text
    assert bot.wechat.tap(slow).content == "过了20秒"


@pytest.mark.parametrize("words", ["查看回复7", "查看回复1-9"])
def test_a_number_that_is_not_there_is_told_at_once(words):
    bot = Bot(sleeper)
    assert bot.wechat.send_text(words).content == "这条回复已经过期，请重新提问。"
    assert bot.ran == []


def test_an_answer_that_nobody_fetched_is_mentioned_once_under_the_next_one():
    bot = Bot(sleeper)
    bot.wechat.send_text("20")
    bot.until(lambda: bot.late)
    second = bot.wechat.send_text("0")
    assert second.content.startswith("过了0秒\n\n您之前的问题有回复了：<a ")
    assert bot.wechat.send_text("0.01").content == "过了0.01秒"
    assert bot.wechat.tap(second).content == "过了20秒"


def test_an_answer_that_was_fetched_is_not_mentioned():
    bot = Bot(sleeper)
    bot.wechat.tap(bot.wechat.send_text("20"))
    assert bot.wechat.send_text("0").content == "过了0秒"


def test_a_second_question_does_not_wait_for_the_first():
    bot = Bot(sleeper)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(bot.wechat.send_text, "9")
        bot.until(lambda: bot.ran == ["9"])
        assert statuses(bot.wechat.send_text("0")) == [200]
        assert slow.result().content == "过了9秒"


# -- what comes too late, fails or is not wanted ---------------------------------------------------------------------


def test_on_late_reply_hears_of_an_answer_that_missed_its_last_chance_and_of_no_other():
    bot = Bot(sleeper)
    bot.wechat.send_text("20")
    bot.until(lambda: bot.late)
    bot.wechat.send_text("8")
    assert bot.late == [("20", TextRspMsg("过了20秒"))]


def test_an_async_on_late_reply_is_awaited():
    heard = []

    async def on_late_reply(req, reply):
        await asyncio.sleep(0)
        heard.append(reply.content)

    bot = Bot(sleeper, on_late_reply=on_late_reply)
    bot.wechat.send_text("20")
    bot.until(lambda: heard == ["过了20秒"])


def test_a_handler_that_raises_late_leaves_its_error_text_behind_the_link(caplog):
    def fail(req, bot):
        bot.wechat.sleep(20)
        raise RuntimeError("out of order")

    bot = Bot(fail)
    assert bot.wechat.tap(bot.wechat.send_text("x")).content == bot.server.settings.error_text
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_late_picture_waits_behind_the_link_like_a_text():
    def picture(req, bot):
        bot.wechat.sleep(20)
        return ImageRspMsg("media-1")

    bot = Bot(picture)
    assert bot.wechat.tap(bot.wechat.send_text("x")).media_id == "media-1"


class FragileStore:
    """A store of the user's own, which cannot write a page and raises what it likes."""

    def __init__(self):
        self._kept = MemoryStore()

    def __getattr__(self, verb):
        return getattr(self._kept, verb)

    def add(self, key, value, ttl):
        if ":page:" in key:
            raise RuntimeError("the disk is full")
        return self._kept.add(key, value, ttl)


def test_an_answer_that_the_store_does_not_take_arrives_all_the_same(caplog):
    """From memory; and the thread that ran into it goes on."""
    bot = Bot(sleeper, store=FragileStore(), max_jobs=1)
    assert [bot.wechat.send_text("0.6").content for _ in range(2)] == ["过了0.6秒"] * 2
    bot.until(lambda: bot.server.stats()["running"] == 0)
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "settings", "tries", "beside"),
    [
        ("14", {"hold": 1.1, "held_after": 0.5}, [None, None, 200], ""),  # WeChat waits on, but we have acknowledged
        ("18", {}, [None, None, 200], ""),
        ("7", {"max_held": 1}, [200], "held"),
        ("7", {"breaker": 1, "hold": 2}, [200], "hung_up"),
    ],
)
def test_without_a_slow_text_the_last_try_is_acknowledged_and_on_late_reply_gets_the_answer(
    seconds, settings, tries, beside, caplog
):
    """B91: WeChat gets its acknowledgement, the log a warning, and the user the answer with the next reply.

    Beside another one that is held, or was hung up on.
    """
    clock = {"time_scale": 0.3} if beside else {}  # for two at once, time must not jump
    bot = Bot(sleeper, slow_text=None, **clock, **settings)
    with ThreadPoolExecutor(1) as pool:
        if beside:
            pool.submit(bot.wechat.send_text, "9", openid="oOther")
            bot.until(lambda: bot.server.stats()[beside])
        result = bot.wechat.send_text(seconds)
    assert (statuses(result), result.content) == (tries, "")
    bot.until(lambda: seconds in dict(bot.late))  # on a busy machine the other one may be late, too
    assert "an answer is late" in caplog.text
    assert "您之前的问题有回复了：" in bot.wechat.send_text("0").content


def test_a_late_answer_to_what_wechat_does_not_let_answer_is_offered_to_nobody():
    """`on_late_reply` gets it; the user has asked nothing."""
    bot = Bot(sleeper, hold=1.1, held_after=0.5)
    bot.seconds = 14
    assert statuses(bot.wechat.send_event("kf_create_session")) == [None, None, 200]
    bot.until(lambda: bot.late)
    assert bot.late == [("event", TextRspMsg("事件的回复"))]
    assert bot.wechat.send_text("0").content == "过了0秒"


def test_the_texts_can_be_set():
    bot = Bot(sleeper, slow_text="马上好 ", fetch_words="取第", fetch_label="点我")
    slow = bot.wechat.send_text("20")
    assert slow.content.startswith("马上好 <a ")
    assert (slow.links[0].label, slow.links[0].words) == ("点我", "取第1")
    assert bot.wechat.tap(slow).content == "过了20秒"


def test_without_slow_link_the_slow_text_has_none():
    bot = Bot(sleeper, slow_link=False)
    slow = bot.wechat.send_text("20")
    assert (slow.content, slow.links) == (Settings.slow_text, [])
    bot.wechat.sleep(20)
    assert bot.wechat.send_text("查看回复1").content == "过了20秒"


def test_words_that_would_end_the_link_are_encoded():
    bot = Bot(sleeper, fetch_words="看\"&<#%'")
    slow = bot.wechat.send_text("20")
    assert slow.links[0].words == "看\"&<#%'1"
    assert bot.wechat.tap(slow).content == "过了20秒"


# -- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "seconds", "tries", "content"),
    [
        ("VIEW", 8, [200], ""),  # no conversation: acknowledged at 4.3 s, and the handler runs on
        ("LOCATION", 0, [200], ""),  # whatever it returns: a text would be counted as a failure
        ("kf_create_session", 0, [200], "事件的回复"),  # WeChat does not say: the handler knows
        ("kf_create_session", 8, [None, 200], "事件的回复"),
        ("kf_create_session", 16, [None, None, 200], ""),  # no text of ours where nobody may be reading
        ("CLICK", 8, [None, 200], "事件的回复"),
    ],
)
def test_events_are_held_only_where_somebody_waits_for_an_answer(name, seconds, tries, content):
    bot = Bot(sleeper)
    bot.seconds = seconds
    result = bot.wechat.send_event(name, {"EventKey": "k"})
    assert (statuses(result), result.content) == (tries, content)
    bot.until(lambda: bot.events == [name])


def test_a_slow_menu_click_gets_the_slow_text():
    bot = Bot(sleeper)
    bot.seconds = 20
    slow = bot.wechat.send_event("CLICK", {"EventKey": "k"})
    assert slow.content.startswith(bot.server.settings.slow_text)
    assert bot.wechat.tap(slow).content == "事件的回复"


@pytest.mark.parametrize(("seconds", "articles"), [(0, 3), (16, 1)])
def test_news_that_come_late_to_an_event_are_one_article(seconds, articles):
    """A tap is an ordinary message: WeChat would drop the others, and complain."""

    def news(event):
        wechat.sleep(seconds)
        return [Article(str(number)) for number in range(3)]

    wechat = WxMpServer(**ACCOUNT, on_event=news).test_client()
    result = wechat.send_event("CLICK", {"EventKey": "k"})
    while result.links:
        result = wechat.tap(result)
    assert (result.type, len(result.articles)) == ("news", articles)
    assert all(check.level == "ok" for check in result.checks)


# -- streaming -------------------------------------------------------------------------------------------------------

SENTENCE = "这是一个很长的回答中的一句话，不多不少。"  # 20 characters, 60 bytes


def stream(pause, sentences):
    def handler(req, bot):
        for number in range(sentences):
            bot.wechat.sleep(pause)
            yield f"{number:03d}{SENTENCE}"

    return handler


def astream(pause, sentences):
    def handler(req, bot):
        async def pieces():
            for number in range(sentences):
                await bot.wechat.sleep(pause)
                yield f"{number:03d}{SENTENCE}"

        return pieces()

    return handler


def whole(sentences):
    return "".join(f"{number:03d}{SENTENCE}" for number in range(sentences))


def read_all(bot, result):
    """Tap through all pages; return their texts without the links."""
    texts, results = [], [result]
    while result.links:
        texts.append(result.content[: result.content.rindex("\n\n<a ")])
        result = bot.wechat.tap(result)
        results.append(result)
        assert len(texts) < 20
    return [*texts, result.content], results


@pytest.mark.parametrize("make", [stream, astream])
def test_a_streaming_handlers_first_page_goes_out_as_soon_as_it_is_full(make):
    """At the first try, although the whole would take three; the rest is behind the link."""
    bot = Bot(make(0.05, 120))
    first = bot.wechat.send_text("讲个故事")
    assert statuses(first) == [200]
    assert [link.label for link in first.links] == ["下一页"]
    texts, results = read_all(bot, first)
    assert "".join(texts) == whole(120)
    assert all(len(result.content.encode()) <= 2000 for result in results[:-1])
    assert all(text.endswith("。") for text in texts)
    assert bot.ran == ["讲个故事"]


@pytest.mark.parametrize("make", [stream, astream])
def test_a_short_stream_is_one_reply(make):
    bot = Bot(make(0, 3))
    result = bot.wechat.send_text("x")
    assert (result.content, result.links) == (whole(3), [])


def test_what_there_is_goes_out_when_the_last_try_runs_out():
    bot = Bot(stream(1.2, 20))
    first = bot.wechat.send_text("x")
    assert statuses(first) == [None, None, 200]
    texts, _ = read_all(bot, first)
    assert 9 <= texts[0].count(SENTENCE) <= 12
    assert "".join(texts) == whole(20)
    ((_, rest),) = bot.late  # the user has the beginning, and the link to the rest
    assert whole(20).endswith(rest.content) and rest.content not in texts[0]


@pytest.mark.parametrize(("early", "late"), [("", "终于"), ("\n", "终于"), ('<a href="https://e.com/">点', "这里</a>")])
def test_a_stream_that_has_nothing_to_show_yet_gets_the_slow_text(early, late):
    """Half a link would show its address, and the page behind it the other half."""

    def late_starter(req, bot):
        yield early
        bot.wechat.sleep(20)
        yield late

    bot = Bot(late_starter)
    slow = bot.wechat.send_text("x")
    assert slow.content.startswith(bot.server.settings.slow_text)
    assert bot.wechat.tap(slow).content == early + late


def test_a_retried_page_is_cut_at_the_same_place():
    bot = Bot(stream(0.01, 100))
    first = bot.wechat.send_text("x")
    seconds = {bot.wechat.tap(first).content for _ in range(3)}
    assert len(seconds) == 1


@pytest.mark.parametrize("rest", ["", "\n", " \n\n"])
def test_when_a_partial_page_held_all_there_was_the_next_one_says_so(rest):
    def two_parts(req, bot):
        yield "只有这一句。"
        bot.wechat.sleep(20)
        yield rest

    bot = Bot(two_parts)
    first = bot.wechat.send_text("x")
    assert first.content.startswith("只有这一句。\n\n<a ")
    assert bot.wechat.tap(first).content == "（全文完）"


def test_a_stream_that_breaks_off_ends_with_the_error_text(caplog):
    def breaks(req, bot):
        yield "开头。"
        raise RuntimeError("model gone")

    result = Bot(breaks).wechat.send_text("x")
    assert result.content == "开头。\n\n抱歉，出错了，请稍后再试。"
    assert "model gone" in caplog.text


@pytest.mark.parametrize("pieces", [[], [""], ["  ", "\n"]])
def test_a_stream_of_nothing_is_an_acknowledgement(pieces):
    result = Bot(lambda req, bot: (piece for piece in pieces)).wechat.send_text("x")
    assert (statuses(result), result.content) == ([200], "")


def test_a_stream_of_something_else_is_a_mistake_that_names_the_handler(caplog):
    result = Bot(lambda req, bot: (piece for piece in [1])).wechat.send_text("x")
    assert result.content == "抱歉，出错了，请稍后再试。"
    assert "on_message yielded int" in caplog.text


def pieces_of_two_kinds(closed):
    def on_message(req):
        try:
            yield "开头。"
            yield 5
        finally:
            closed.append(req.content)

    return on_message


def async_pieces_of_two_kinds(closed):
    async def on_message(req):
        try:
            yield "开头。"
            yield 5
        finally:
            closed.append(req.content)

    return on_message


@pytest.mark.parametrize("make", [pieces_of_two_kinds, async_pieces_of_two_kinds])
def test_a_stream_that_is_left_early_is_closed_before_its_user_is_answered(make, caplog):
    """It may hold a connection to a model, and asyncio would not close it before its loop ends."""
    closed = []
    server = WxMpServer(**ACCOUNT, on_message=make(closed), on_error=lambda exc, req: f"关了{closed}")
    assert server.test_client().send_text("x").content == "开头。\n\n关了['x']"


def test_a_long_text_is_sent_in_pages_too():
    text = whole(90)
    bot = Bot(lambda req, bot: text)
    texts, _ = read_all(bot, bot.wechat.send_text("x"))
    assert "".join(texts) == text


def test_white_space_is_no_page():
    """WeChat takes a text of nothing else for none."""
    bot = Bot(lambda req, bot: "a" * 1800 + "\n" * 300)
    texts, _ = read_all(bot, bot.wechat.send_text("x"))
    assert texts == ["a" * 1800, "（全文完）"]


@pytest.mark.parametrize(("size", "pages"), [(2047, 1), (2048, 2)])
def test_up_to_2047_bytes_are_one_reply(size, pages):
    bot = Bot(lambda req, bot: "a" * size)
    texts, _ = read_all(bot, bot.wechat.send_text("x"))
    assert len(texts) == pages


# -- limits ----------------------------------------------------------------------------------------------------------


def test_over_max_held_a_slow_message_gets_the_slow_text_after_a_second():
    gate = threading.Event()

    def handler(req, bot):
        return req.content if req.content == "quick" or gate.wait(60) else None

    bot = Bot(handler, time_scale=1, max_held=2)
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(bot.wechat.send_text, "held", openid=f"o{n}") for n in range(2)]
        bot.until(lambda: bot.server.stats()["held"] == 2)
        over = bot.wechat.send_text("over", openid="o3")
        assert statuses(over) == [200]
        assert over.content.startswith(bot.server.settings.slow_text)
        assert over.elapsed < 2.5
        assert bot.wechat.send_text("quick", openid="o4").content == "quick"  # as ever
        gate.set()
        assert [future.result().content for future in held] == ["held"] * 2
    assert bot.wechat.tap(over, openid="o3").content == "over"


def test_the_busy_text_comes_only_when_the_queue_is_full(caplog):
    gate = threading.Event()
    bot = Bot(lambda req, bot: gate.wait(60) and req.content, time_scale=1, max_jobs=1, max_queued=1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(bot.wechat.send_text, "running", openid="o1")
        bot.until(lambda: bot.ran == ["running"])
        queued = pool.submit(bot.wechat.send_text, "queued", openid="o2")
        bot.until(lambda: bot.server.stats()["queued"] == 1)
        assert bot.wechat.send_text("over", openid="o3").content == bot.server.settings.busy_text
        gate.set()
        assert (running.result().content, queued.result().content) == ("running", "queued")
    assert "max_jobs" in caplog.text


def test_when_the_breaker_is_open_the_first_try_gets_the_slow_text():
    bot = Bot(sleeper, breaker=2)
    assert statuses(bot.wechat.send_text("11")) == [None, None, 200]  # two tries without an answer
    open_now = bot.wechat.send_text("6")
    assert statuses(open_now) == [200]
    assert open_now.content.startswith(bot.server.settings.slow_text)
    assert bot.server.stats()["breaker_open"] == 1
    assert bot.wechat.send_text("4").content.startswith("过了4秒")  # whatever is ready in time is sent as ever


def test_the_breaker_closes_below_half_and_forgets_after_five_minutes():
    breaker = Breaker(4)
    assert [breaker.admits(now) for now in (0, 1, 2, 100, 101)] == [True, True, True, True, False]
    assert not breaker.admits(300.5)  # three are left
    assert not breaker.admits(301.5)  # half of them
    assert breaker.admits(302.5)  # one is left
    breaker = Breaker(6)
    assert [breaker.admits(now) for now in (0, 0, 0, 0, 9, 9, 10)] == [True] * 6 + [False]
    assert breaker.admits(305)  # two are left
    assert Breaker(0).admits(0)


@pytest.mark.parametrize(("pushes", "is_open"), [(11, 1), (12, 0)])
def test_the_breaker_opens_when_more_than_a_third_of_all_pushes_fail(pushes, is_open, caplog):
    breaker = Breaker(4)
    for n in range(pushes):
        breaker.pushed(n / 10)
    assert [breaker.admits(2.0) for _ in range(4)] == [True] * 4
    assert breaker.stats(3.0) == {"hung_up": 4, "breaker_open": is_open}
    assert (f"4 of {pushes} pushes in 5 minutes" in caplog.text) == is_open


def test_of_pushes_and_failures_the_last_five_minutes_count():
    breaker = Breaker(2)
    for _ in range(10):
        breaker.pushed(0.9)
    breaker.pushed(200.0)
    assert [breaker.admits(200.0) for _ in range(2)] == [True] * 2
    found = [breaker.stats(now) for now in (300.0, 300.1, 500.0, 500.1)]
    assert [(each["hung_up"], each["breaker_open"]) for each in found] == [(2, 0), (2, 1), (2, 1), (0, 0)]


def test_a_server_with_one_thread_never_holds_a_request_past_its_time(caplog):
    """It would block everybody else, and the retry, too."""
    bot = Bot(sleeper)
    bot.wechat._post._app = one_thread(bot.server)
    slow = bot.wechat.send_text("7")
    assert statuses(slow) == [200]
    assert slow.content.startswith(bot.server.settings.slow_text)
    assert caplog.text.count("has one thread a process") == 1


def one_thread(app):
    return lambda environ, start_response: app({**environ, "wsgi.multithread": False}, start_response)


def test_stats_are_json_ready_numbers():
    stats = Bot(sleeper).server.stats()
    assert stats == {
        "held": 0,
        "full": 0,
        "hung_up": 0,
        "breaker_open": 0,
        "running": 0,
        "queued": 0,
        "busy": 0,
        "busy_users": 0,
        "store": "MemoryStore",
        "store_down": 0,
    }


def test_one_line_a_push_says_what_became_of_it_and_never_what_was_said(caplog):
    """One line when the handler is done; what became of each try only for who looks closer."""
    caplog.set_level(logging.DEBUG, "wx_mp_svr")
    bot = Bot(sleeper)
    bot.wechat.send_text("6")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [re.sub(r"[0-9.]+ s$", "", line) for line in told if "→" in line] == ["文本 → on_message() · "]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("push ")]
    assert [line.split(" ms=")[0] for line in lines] == [
        "push kind=TextReqMsg outcome=reply try=2",
        "push kind=TextReqMsg outcome=hang up try=1",
    ] or [line.split(" ms=")[0] for line in lines] == [
        "push kind=TextReqMsg outcome=hang up try=1",
        "push kind=TextReqMsg outcome=reply try=2",
    ]
    assert "过了" not in caplog.text


def test_a_full_house_takes_a_few_for_a_short_look_but_nobody_while_tries_arrive_late():
    """Of a server with one thread each look would be taken from all others."""
    house = House(1)
    assert [house.enter(0.0) for _ in range(10)] == [Patience.FULL, *[Patience.SHORT] * 8, Patience.BLINK]
    for patience in (Patience.FULL, Patience.SHORT):  # a place that is given back is taken by one
        house.leave(patience)
        assert [house.enter(1.0), house.enter(1.0)] == [patience, Patience.BLINK]
    for patience in (Patience.FULL, *[Patience.SHORT] * 8):
        house.leave(patience)
    house.arrived_late(2.0, 100.0)
    assert house.enter(100.0) is Patience.FULL
    house.leave(Patience.FULL)
    house.arrived_late(2.1, 100.0)
    assert (house.enter(109.9), house.enter(110.0)) == (Patience.BLINK, Patience.FULL)


def test_that_the_house_is_full_is_counted_each_time_and_said_once_a_minute(caplog):
    house, said = House(1), []
    for now in (0.0, 1.0, 61.0, 61.5, 62.0, 121.5, 121.6):
        house.enter(now)
        said.append(caplog.text.count("the house is full (max_held=1"))
    assert said == [0, 1, 1, 2, 2, 2, 3]
    assert house.stats() == {"held": 1, "full": 6}


def test_what_comes_right_after_its_link_from_a_full_house_is_kept_as_long_as_the_link():
    """And the user's next reply mentions it: the run has to hear of the promise, for which it does not look that soon."""
    server = WxMpServer(**ACCOUNT)
    late = []

    @server.on_message
    def answer(req):
        wechat.sleep(0.3)
        return "好"

    @server.on_late_reply
    def deliver(req, reply):
        late.append(reply.content)

    wechat = server.test_client()
    wechat.server._arrivals._house.arrived_late(3.0, wechat.clock.now())  # so that nobody is kept
    first = wechat.send_text("快")
    assert "查看回复" in first.content
    wechat.sleep(60)
    assert late == ["好"]
    wechat.sleep(3600)
    assert wechat.tap(first).content == "好"
    assert late == ["好"]  # not run again


def test_seconds_without_failures_are_forgotten():
    """A bot that is never slow asks for no admission, in a week of pushes."""
    breaker = Breaker(100)
    for second in range(2000):
        breaker.pushed(float(second))
    assert len(breaker._pushes) <= Breaker.SECONDS + 2


# -- which try it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usual", "ages", "tries"),
    [
        ([0.1], [0.1, 3.9, 4.1, 8.9, 9.1, 14.9], [1, 1, 2, 2, 3, 4]),  # timestamps are whole seconds
        ([0.1], [31.0], [1]),  # too old for a retry
        ([0.0], [29.5, 30.0, -1.0], [7, 1, 1]),
        ([-1.0], [0.0], [1]),
        ([-60.0, -59.5, -59.8], [-54.9], [2]),  # a clock that is one minute slow
        ([0.0] * 5 + [12.0] * 4, [12.0], [3]),  # it was set a moment ago
        ([0.0] * 5 + [12.0] * 5, [12.0, 16.5], [1, 2]),
        ([12.0] * 5, [0.0, 0.3], [3, 1]),  # set back: in doubt it is the last one, and then it is known
        ([5.3, 5.6], [10.4], [3]),  # first tries were lost: what is left is no clock
        ([], [10.0, -10.0, -9.5], [3, 3, 3]),  # nothing to compare with: a link is better than a fault notice
    ],
)
def test_the_age_of_a_request_tells_which_try_it_is_whatever_the_clock(usual, ages, tries):
    known = Ages()
    for now, age in enumerate(usual):
        known.learn(age, known.judge(age, now * 10.0).number, now * 10.0)
    assert [known.judge(age, 1e6).number for age in ages] == tries


def test_usual_is_the_youngest_age_of_the_last_five_first_tries():
    known, usual = Ages(), []
    for n, age in enumerate([0.1, 0.5, 0.5, 0.5, 0.5, 0.5]):
        known.learn(age, 1, n * 10.0)
        usual.append(known.normal)
    assert usual == [0.1] * 5 + [0.5]


def test_in_doubt_no_try_is_said_to_have_waited_before_it_came():
    """Else the house would count as full."""
    known = Ages()
    assert known.judge(-10.0, 0.0) == (3, 0.0)  # too young
    assert known.judge(-9.5, 1.0) == (3, 0.0)  # like another one, of a clock that cannot be right


def test_a_crowd_that_waits_for_its_threads_is_no_clock():
    """Else their retries would be taken for first tries, and the last one for the one before."""
    known = Ages()
    known.learn(0.1, 1, 0.0)
    for n in range(200):  # for 20 seconds they come two seconds late
        known.learn(2.0, known.judge(2.0, n / 10).number, n / 10)
    assert [known.judge(age, 20.0).number for age in (0.1, 5.1, 10.1)] == [1, 2, 3]
    assert known.judge(7.0, 20.0) == (2, pytest.approx(1.9))


def test_what_is_usual_counts_when_it_is_told_whether_first_tries_are_lost():
    """Of a clock that is 61.5 s slow: what comes 5 s later than usual may be second tries, for half a minute."""
    known = Ages()
    for now in (0.0, 10.0, 20.0):
        known.learn(-61.5, 1, now)
    for n in range(50):  # in five seconds
        known.learn(-56.5, known.judge(-56.5, 30.0 + n / 10).number, 30.0 + n / 10)
    assert known.normal == -61.5


def test_one_age_that_another_process_has_told_is_believed_less_than_the_clock():
    """It may have come from a retry whose first try was lost."""
    known = Ages()
    known.begin(12.0, 0.0)
    for now in (10.0, 20.0, 30.0, 40.0):
        age = known.judge(14.0, now)
        assert age.number == 4
        known.learn(14.0, age.number, now)
    assert known.judge(14.0, 50.0).number == 4


def test_when_all_first_tries_are_lost_for_a_while_the_clock_is_still_believed():
    """What comes 5 s after its timestamp is a second try, or a clock that was set by 5 s: half a minute tells."""
    known = Ages()
    known.learn(0.1, 1, 0.0)
    for n in range(200):  # for 20 seconds
        known.learn(5.2, known.judge(5.2, 1.0 + n / 10).number, 1.0 + n / 10)
    assert [known.judge(age, 21.0).number for age in (5.2, 10.2)] == [2, 3]
    for n in range(100):
        known.learn(5.2, known.judge(5.2, 21.0 + n / 10).number, 21.0 + n / 10)
    assert [known.judge(age, 31.0).number for age in (5.2, 10.2)] == [1, 2]


# -- handlers --------------------------------------------------------------------------------------------------------


def test_async_handlers_share_one_loop_and_take_no_thread():
    loops = set()

    class Async(WxMpServer):
        async def on_message(self, req):
            loops.add(id(asyncio.get_running_loop()))
            await asyncio.sleep(0.6)
            return f"回复{req.content}"

    server = Async(**ACCOUNT)
    wechat = server.test_client(max_jobs=1)
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda n: wechat.send_text(str(n), openid=f"o{n}"), range(20)))
    assert [result.content for result in results] == [f"回复{n}" for n in range(20)]
    assert len(loops) == 1


def test_a_handler_that_has_always_been_quick_runs_in_the_requests_own_thread():
    """And belongs to the pool for ever once it was not."""
    names = []

    def handler(req, bot):
        names.append(threading.current_thread().name)
        bot.wechat.sleep(float(req.content))
        return req.content

    bot = Bot(handler)
    for seconds in ("0", "0.001", "0.06", "0"):
        bot.wechat.send_text(seconds)
    assert ["wx-mp-worker" == name for name in names] == [True, False, False, True]


def test_a_quick_handler_that_begins_to_hang_takes_no_more_request_threads():
    """Else they would all hang in it one after the other, where `max_held` does not see them."""
    names, gate = [], threading.Event()

    def handler(req, bot):
        names.append(threading.current_thread().name)
        return "ok" if req.content == "now" or gate.wait(10) else None

    bot = Bot(handler, time_scale=0.5)
    with ThreadPoolExecutor(3) as pool:
        bot.wechat.send_text("now")
        hanging = [pool.submit(bot.wechat.send_text, "hang", openid="o0")]
        bot.until(lambda: len(names) == 2)
        bot.wechat.sleep(2 * QUICK_SECONDS)  # no luck: from now on it counts as slow
        hanging += [pool.submit(bot.wechat.send_text, "hang", openid=f"o{n}") for n in (1, 2)]
        bot.until(lambda: bot.server.stats()["held"] == 2)
        gate.set()
        assert [future.result().content for future in hanging] == ["ok"] * 3
    assert ["wx-mp-worker" == name for name in names] == [True, False, True, True]


def test_nobody_sees_what_another_handler_has_left_in_its_context():
    """In the same thread: who the user is, say."""
    user, seen = contextvars.ContextVar("user", default=None), []

    def on_event(event):
        seen.append((threading.get_ident(), user.get()))
        user.set(event.openid)

    wechat = WxMpServer(**ACCOUNT, on_event=on_event).test_client(max_jobs=1)
    for openid in ("o1", "o2"):
        wechat.send_event("VIEW", openid=openid)  # which is always a matter for the pool
    until(lambda: len(seen) == 2)
    assert seen == [(seen[0][0], None)] * 2


def test_what_the_interpreter_keeps_from_a_handler_in_a_crowd_does_not_make_it_slow():
    """Each of the other threads may have it for 5 ms before it is the handler's turn again."""
    names = []

    def handler(req, bot):
        names.append(threading.current_thread().name)
        bot.wechat.sleep(0.06)
        return "quick"

    bot = Bot(handler, time_scale=1)
    other = Bot(handler, time_scale=1)
    crowd = {str(number): None for number in range(30)}
    other.server._runs.here.update(crowd)
    for each in (bot, other):
        each.wechat.send_text("now")
        each.wechat.send_text("now")
    for key in crowd:
        del other.server._runs.here[key]
    assert ["wx-mp-worker" == name for name in names] == [True, True, True, False]


def test_a_handler_that_exits_is_a_bug_like_any_other(caplog):
    def leave(req, bot):
        raise SystemExit(1)

    assert Bot(leave).wechat.send_text("x").content == "抱歉，出错了，请稍后再试。"


def test_an_error_in_an_async_handler_and_on_error():
    class Async(WxMpServer):
        async def on_message(self, req):
            raise ValueError("no")

        async def on_error(self, exc, req):
            return f"{type(exc).__name__}: {req.content}"

    wechat = Async(**ACCOUNT).test_client()
    assert wechat.send_text("哎").content == "ValueError: 哎"


def test_an_on_error_that_raises_falls_back_to_the_error_text(caplog):
    def handler(req):
        raise ValueError("first")

    def on_error(exc, req):
        raise ValueError("second")

    server = WxMpServer(**ACCOUNT, on_message=handler, on_error=on_error)
    assert server.test_client(raise_errors=False).send_text("x").content == "抱歉，出错了，请稍后再试。"
    assert "first" in caplog.text and "second" in caplog.text


@pytest.mark.parametrize("silence", [None, "", EmptyRspMsg()])
def test_silence_is_an_acknowledgement_in_any_form(silence):
    result = Bot(lambda req, bot: silence).wechat.send_text("x")
    assert (statuses(result), result.content, result.tries[0].reply) == ([200], "", b"success")


@pytest.mark.parametrize(("words", "menu_id"), [("满意", "101"), ("查看回复1-0", ""), ("查看", "wxmp-1-0")])
def test_a_tap_is_an_ordinary_text_where_it_is_not_ours(words, menu_id):
    """A bot may have menu links of its own, and no answer has a page 0."""
    bot = Bot(lambda req, bot: f"{req.content}/{req.bizmsgmenuid}")
    assert bot.wechat.send_text(words, bizmsgmenuid=menu_id).content == f"{words}/{menu_id}"


def test_a_bot_that_hangs_for_ever_never_shows_the_fault_notice():
    bot = Bot(sleeper)
    slow = bot.wechat.send_text("100000")
    assert FAULT_NOTICE not in slow.content
    again = bot.wechat.tap(slow)
    assert again.content.startswith(bot.server.settings.slow_text)
