"""Threats B5: what handlers do, replies, and pushes that come twice.

Slow replies, deaths and a store that is down have stories of their own: tests/delivery and tests/store name their rows.
"""

import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from live import AES_KEY, APPID, ERROR_TEXT, LOG, SECRETS, TOKEN, Live, assert_ack, fresh
from strange_input import RAISERS, raiser
from wechat import TIMEOUT, event, packet, text

from wx_mp_svr import (
    Article,
    EmptyRspMsg,
    ImageRspMsg,
    MusicRspMsg,
    NewsRspMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceRspMsg,
)
from wx_mp_svr.clock import FastClock
from wx_mp_svr.testing import FakeWeChat


@pytest.mark.parametrize("name", list(RAISERS))
def test_b80_a_handler_that_raises_gives_the_error_text(name, caplog):
    with fresh(RAISERS[name]) as live:
        xml = text("raise")
        answer = live.wechat.push(xml)
        assert live.wechat.open(answer, xml)["Content"] == ERROR_TEXT
        again = live.wechat.push(xml)
        assert live.wechat.open(again, xml)["Content"] == ERROR_TEXT
        assert len(live.calls) == 1
    assert b"InnermostSecret" not in answer.body
    errors = [r for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]
    assert errors
    assert errors[0].exc_info
    assert not any(secret in caplog.text for secret in SECRETS)


@pytest.mark.parametrize("error_text", [None, ""], ids=["none", "empty"])
@pytest.mark.parametrize("answer", [RAISERS["error"], lambda req: object()], ids=["b80-raises", "b83-wrong-type"])
def test_b80_b83_without_an_error_text_a_failure_is_acknowledged(answer, error_text):
    with fresh(answer, error_text=error_text) as live:
        assert_ack(live.wechat.push(text("raise")))


def test_b80_the_error_text_is_a_setting():
    with fresh(RAISERS["error"], error_text="稍后再来") as live:
        assert live.wechat.ask(text("raise"))["Content"] == "稍后再来"


def test_b80_a_failing_on_error_gives_the_error_text_too():
    live = Live(RAISERS["error"])
    fail = raiser(RuntimeError("on_error, too"))
    live.server.on_error(lambda exc, req: fail(req))
    with live.serving():
        assert live.wechat.ask(text("raise"))["Content"] == ERROR_TEXT


@pytest.mark.parametrize("said", [None, "", EmptyRspMsg()], ids=["none", "empty-str", "empty-reply"])
def test_b81_silence_is_an_acknowledgement_in_clear(said):
    with fresh(lambda req: said) as live:
        assert_ack(live.wechat.push(text("silence")))


def test_b82_a_str_is_a_text():
    with fresh(lambda req: "你好") as live:
        reply = live.wechat.ask(text("hi"))
        assert (reply["MsgType"], reply["Content"]) == ("text", "你好")


class Strange:
    def __str__(self) -> str:
        return "InnermostSecret"

    __repr__ = __str__


WRONG = {
    "object": Strange(),
    "int": 5,
    "true": True,
    "false": False,
    "zero": 0,
    "bytes": b"bytes",
    "dict": {"a": 1},
    "tuple": ("text", 200),
    "empty-list": [],
    "list-of-str": ["a"],
    "class": TextRspMsg,
    "content-int": TextRspMsg(5),  # type: ignore[arg-type]
    "media-none": ImageRspMsg(None),  # type: ignore[arg-type]
    "articles-str": NewsRspMsg(["a"]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", list(WRONG))
@pytest.mark.parametrize("testing", [False, True], ids=["production", "development"])
def test_b83_anything_else_is_a_programming_error(name, testing, caplog):
    """The user gets the error text, not the fault notice; the log names the type."""
    live = Live(lambda req: WRONG[name])
    live.server.app.testing = testing
    with live.serving():
        xml = text("wrong type")
        answer = live.wechat.push(xml)
        assert live.wechat.open(answer, xml)["Content"] == ERROR_TEXT
    errors = [r.getMessage() for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]
    assert len(errors) == 1
    value = WRONG[name]
    assert type(value).__name__ in errors[0]
    assert "InnermostSecret" not in caplog.text + answer.body.decode()


MENDED = {
    "two-articles": (NewsRspMsg([Article("a"), Article("b")]), "news"),
    "empty-text": (TextRspMsg(""), None),
    "blank-text": (TextRspMsg("  \n"), None),
    "no-articles": (NewsRspMsg([]), None),
}


@pytest.mark.parametrize("name", list(MENDED))
def test_b83_what_production_mends_development_complains_about(name, caplog):
    said, expected = MENDED[name]
    with fresh(lambda req: said) as live:
        reply = live.wechat.ask(text("mend"))
        assert (reply["MsgType"] if reply else None) == expected
        if expected:
            assert (reply["ArticleCount"], len(reply.root.findall("Articles/item"))) == ("1", 1)
    assert not [r for r in caplog.records if r.name == LOG and r.levelno >= logging.ERROR]
    live = Live(lambda req: said)
    live.server.app.testing = True
    with live.serving():
        assert live.wechat.ask(text("complain"))["Content"] == ERROR_TEXT
    assert [r for r in caplog.records if r.name == LOG and r.levelno == logging.ERROR]


def test_b84_an_empty_text_is_an_acknowledgement():
    with fresh(lambda req: TextRspMsg("")) as live:
        assert_ack(live.wechat.push(text("empty")))


ARTICLE = Article("标题 <b>", "描述 ]]>", "http://x/p.png?a=1&b=2", "http://x/?a=1&b=2")

REPLIES = {
    "text": (TextRspMsg("内容"), {"Content": "内容"}),
    "image": (ImageRspMsg("m"), {"Image/MediaId": "m"}),
    "voice": (VoiceRspMsg("m"), {"Voice/MediaId": "m"}),
    "video": (
        VideoRspMsg("m", "t", "d"),
        {"Video/MediaId": "m", "Video/Title": "t", "Video/Description": "d"},
    ),
    "music": (
        MusicRspMsg("thumb", "t", "d", "http://x/", "http://x/hq"),
        {
            "Music/ThumbMediaId": "thumb",
            "Music/Title": "t",
            "Music/Description": "d",
            "Music/MusicUrl": "http://x/",
            "Music/HQMusicUrl": "http://x/hq",
        },
    ),
    "news": (
        NewsRspMsg([ARTICLE]),
        {
            "ArticleCount": "1",
            "Articles/item/Title": ARTICLE.title,
            "Articles/item/Description": ARTICLE.description,
            "Articles/item/PicUrl": ARTICLE.pic_url,
            "Articles/item/Url": ARTICLE.url,
        },
    ),
    "transfer_customer_service": (TransferCustomerServiceRspMsg("a@b"), {"TransInfo/KfAccount": "a@b"}),
}


@pytest.mark.parametrize("kind", list(REPLIES))
def test_b85_replies_have_the_structure_that_wechat_wants(kind):
    said, expected = REPLIES[kind]
    with fresh(lambda req: said) as live:
        reply = live.wechat.ask(text("reply"))  # To and From swapped, CreateTime: judged there
    assert reply["MsgType"] == kind
    assert {path: reply[path] for path in expected} == expected
    assert set(reply.names) == {"ToUserName", "FromUserName", "CreateTime", "MsgType"} | {
        path.split("/")[0] for path in [*expected, *(["Articles"] if kind == "news" else [])]
    }


@pytest.mark.parametrize("count", [1, 2, 8, 9])
def test_b85_after_an_event_up_to_eight_articles_are_sent(count):
    with fresh(lambda req: [Article(f"t{n}") for n in range(count)]) as live:
        reply = live.wechat.ask(event("CLICK", EventKey="k"))
    items = [item.findtext("Title") for item in reply.root.findall("Articles/item")]
    assert items == [f"t{n}" for n in range(min(count, 8))]
    assert reply["ArticleCount"] == str(len(items))


@pytest.mark.parametrize(
    "said", [MusicRspMsg(""), ImageRspMsg(""), VoiceRspMsg(""), VideoRspMsg("")], ids=lambda said: said.msg_type
)
def test_b85_a_reply_that_lacks_what_wechat_requires_becomes_the_error_text(said, caplog):
    with fresh(lambda req: said) as live:
        assert live.wechat.ask(text("incomplete"))["Content"] == ERROR_TEXT
    assert [
        r
        for r in caplog.records
        if r.name == LOG and r.levelno == logging.ERROR and type(said).__name__ in r.getMessage()
    ]


def test_b86_a_message_three_times_in_a_row_runs_once(live):
    letter = live.wechat.letter(xml := text("thrice"))
    before = len(live.calls)
    answers = [live.wechat.post(letter.query, letter.body) for _ in range(3)]
    assert [live.wechat.open(answer, xml)["Content"] for answer in answers] == ["thrice"] * 3
    assert len(live.calls) == before + 1
    if live.mode != "plain":
        assert len({answer.body for answer in answers}) == 3  # sealed anew each time


def test_b86_a_retry_under_another_nonce_is_the_same_message(live):
    xml = text("another nonce")
    before = len(live.calls)
    assert [live.wechat.ask(xml)["Content"] for _ in range(3)] == ["another nonce"] * 3
    assert len(live.calls) == before + 1


@pytest.mark.parametrize(("messages", "copies"), [(1, 5), (20, 3)])
def test_b86_parallel_copies_run_once_and_all_get_the_reply(messages, copies):
    """The handler waits until every copy is on its way, so that they do overlap."""
    numbers = itertools.count()
    arrived = threading.Barrier(messages * copies)

    def answer(req: Any) -> str:
        return f"{req.content} {next(numbers)}"

    def push(xml: str) -> str:
        letter = live.wechat.letter(xml)
        arrived.wait(TIMEOUT)
        return live.wechat.open(live.wechat.post(letter.query, letter.body), xml)["Content"]

    with fresh(answer) as live:
        xmls = [text(f"message {n}", FromUserName=f"oCrowd{n}") for n in range(messages)]
        with ThreadPoolExecutor(messages * copies) as pool:
            replies = list(pool.map(push, xmls * copies))
        assert len(live.calls) == messages
    for n in range(messages):
        mine = {reply for reply in replies if reply.startswith(f"message {n} ")}
        assert len(mine) == 1
        assert replies.count(mine.pop()) == copies


def test_b86_copies_that_come_while_the_handler_runs_join_it():
    release = threading.Event()
    started = threading.Event()

    def answer(req: Any) -> str:
        started.set()
        assert release.wait(TIMEOUT)
        return "joined"

    with fresh(answer) as live, ThreadPoolExecutor(5) as pool:
        xml = text("slow")
        first = pool.submit(live.wechat.ask, xml)
        assert started.wait(TIMEOUT)
        others = [pool.submit(live.wechat.ask, xml) for _ in range(4)]
        release.set()
        assert [f.result(TIMEOUT)["Content"] for f in (first, *others)] == ["joined"] * 5
        assert len(live.calls) == 1


def test_b87_the_same_msg_id_from_another_user_is_another_message(live):
    before = len(live.calls)
    for user in ("oAnna", "oBert", "oCleo"):
        unique = f"{user}{before}"
        reply = live.wechat.ask(text(f"from {user}", FromUserName=unique, MsgId=8700, CreateTime=1_700_000_000))
        assert (reply["Content"], reply["ToUserName"]) == (f"from {user}", unique)
    assert len(live.calls) == before + 3


def test_b88_a_repeated_event_is_heard_once(live):
    xml = event("CLICK", EventKey="k")
    before = len(live.calls)
    for _ in range(3):
        live.wechat.open(live.wechat.push(xml), xml)
    assert len(live.calls) == before + 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"Event": "CLICK", "EventKey": "two"}, id="another-key"),
        pytest.param({"Event": "VIEW", "EventKey": "one"}, id="another-event"),
        pytest.param({"Event": "CLICK", "EventKey": "one", "UserCardCode": "2"}, id="another-code"),
        pytest.param({"Event": "CLICK", "EventKey": "one", "trace_id": "2"}, id="another-trace"),
        pytest.param({"MsgType": "text", "Content": "x", "MsgId": 1}, id="a-text"),
    ],
)
def test_b88_two_things_in_one_second_are_both_heard(live, other):
    user = {"FromUserName": f"oQuick{len(live.calls)}{live.mode}", "CreateTime": int(time.time())}
    before = len(live.calls)
    for xml in (event("CLICK", EventKey="one", **user), packet(**{"MsgType": "event", **user, **other})):
        live.wechat.open(live.wechat.push(xml), xml)
    assert len(live.calls) == before + 2


def test_b101_200_messages_at_once_get_their_own_replies():
    def push(n: int) -> tuple[str | None, str | None]:
        reply = live.wechat.ask(text(f"message {n}", FromUserName=f"oCrowd{n}"))
        return reply["ToUserName"], reply["Content"]

    with fresh(lambda req: f"{req.openid}: {req.content}") as live, ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(push, range(200)))
        assert len(live.calls) == 200
    assert replies == [(f"oCrowd{n}", f"oCrowd{n}: message {n}") for n in range(200)]


def test_b101_through_gunicorn_and_nginx_too(front):
    with ThreadPoolExecutor(50) as pool:
        replies = list(
            pool.map(lambda n: front.ask(text(f"message {n}", FromUserName=f"oCrowd{n}"))["Content"], range(200))
        )
    assert replies == [f"message {n}" for n in range(200)]


@pytest.mark.parametrize("step", [3600, -3600])
def test_b104_a_wall_clock_that_jumps_changes_nothing_for_who_waits(step):
    """It says how old a push is; what waits does so on a clock that never jumps."""
    jumped = 0.0
    clock = FastClock(jumps=True, wall=lambda: time.time() + jumped)

    def answer(req: Any) -> str:
        nonlocal jumped
        clock.sleep(0.5)
        jumped = step
        clock.sleep(0.5)
        return "one second"

    wechat = FakeWeChat(Live(answer).server.with_clock(clock), token=TOKEN, aes_key=AES_KEY, appid=APPID, clock=clock)
    result = wechat.send_text("x")
    assert (result.content, [attempt.status for attempt in result.tries]) == ("one second", [200])
