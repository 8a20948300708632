"""One growing answer: what the handler says, what tries see of it, and how it ends."""

import threading
from contextlib import suppress

import pytest
from wechat import TEXT_FIELDS

from wx_mp_svr.clock import FastClock
from wx_mp_svr.config import Settings
from wx_mp_svr.delivery.answer import Answer
from wx_mp_svr.delivery.ledger import Ledger, Page
from wx_mp_svr.delivery.links import Links
from wx_mp_svr.delivery.push import push_key, user_key
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.texts import Texts
from wx_mp_svr.messages import read_msg
from wx_mp_svr.rsp_msg import Article, EmptyRspMsg, ImageRspMsg, NewsRspMsg, TextRspMsg
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.testing.judge import split_links
from wx_mp_svr.testing.packets import read_xml

SENTENCE = "这是一个很长的回答中的一句话，不多不少。"  # 20 characters, 60 bytes


class Desk:
    """What an answer is written on, with a clock that jumps; `elsewhere` is another process."""

    def __init__(self):
        self.clock = FastClock(0.1, jumps=True)  # what the machine itself takes counts a tenth
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, self.clock, keep_seconds=600, keep_answers=86400)
        self.elsewhere = Ledger(self.store, self.clock, keep_seconds=600, keep_answers=86400)
        self.texts = Texts(Settings(token="x"), self.ledger, Links("查看回复"), self.clock)

    def answer(self, beside=(), **fields):
        req = read_msg({**TEXT_FIELDS, **fields})
        push = push_key(req, b"")
        return Answer(
            push,
            req,
            1,
            self.clock.now(),
            ledger=self.ledger,
            texts=self.texts,
            clock=self.clock,
            times=Times(),
            beside=beside,
        )


@pytest.fixture
def desk():
    return Desk()


def pages_of(answer):
    pages = []
    while (page := answer.page(len(pages) + 1)) is not None:
        pages.append(page)
    return pages


def said(page):
    """What the user reads: the words of a text page without its link, or the kind of another reply."""
    fields = read_xml(page.xml)
    if fields.get("MsgType") != "text":
        return fields.get("MsgType", "")
    parts = split_links(fields["Content"])
    return (parts[0] if len(parts) > 1 and page.more else fields["Content"]).rstrip("\n")


def tapped(link):
    return read_msg({**TEXT_FIELDS, "Content": link.words, "bizmsgmenuid": link.menu_id})


def promise(desk, answer):
    return desk.elsewhere.promise(answer.push, user_key(answer.req), answer.req.raw)


def test_a_short_reply_is_one_page_and_not_late(desk):
    answer = desk.answer()
    assert answer.reply(TextRspMsg("好")) is None
    assert (answer.over, [said(page) for page in pages_of(answer)]) == (True, ["好"])
    assert desk.elsewhere.page(answer.push, 1) == answer.page(1)


def test_a_long_reply_is_cut_into_pages_that_together_are_the_text(desk):
    answer = desk.answer()
    answer.reply(TextRspMsg(SENTENCE * 100))
    pages = pages_of(answer)
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert "".join(map(said, pages)) == SENTENCE * 100


def test_a_page_is_due_when_what_is_not_in_an_earlier_one_has_more_than_2047_bytes(desk):
    answer, due = desk.answer(), []
    for piece in ("字" * 682, "a", "b", "c"):
        due.append(answer.piece(piece))
    assert due == [False, False, True, True]
    answer.flush()
    assert not answer.piece("d")


def test_a_stream_fills_pages_while_it_grows(desk):
    answer = desk.answer()
    for _ in range(100):
        if answer.piece(SENTENCE):
            answer.flush()
    grown = pages_of(answer)
    assert len(grown) == 3
    assert answer.grows(4)
    answer.reply(EmptyRspMsg())
    assert "".join(map(said, pages_of(answer))) == SENTENCE * 100
    assert pages_of(answer)[:3] == grown


@pytest.mark.parametrize(
    ("streamed", "last", "read"),
    [
        ("", TextRspMsg("出错了"), ["出错了"]),
        ("开头。", TextRspMsg("出错了"), ["开头。\n\n出错了"]),  # the error text comes behind what was said
        ("开头。", EmptyRspMsg(), ["开头。"]),  # and without one it is kept all the same
        ("", EmptyRspMsg(), [""]),
        (" \n", EmptyRspMsg(), [""]),
        ("开头。", ImageRspMsg("m"), ["开头。", "image"]),  # what is no text comes behind the link
        (SENTENCE * 40, ImageRspMsg("m"), None),
        ("", ImageRspMsg("m"), ["image"]),
    ],
)
def test_what_was_streamed_is_kept_whatever_comes_last(desk, streamed, last, read):
    """A handler that raises after it has said something: nothing of that is thrown away."""
    answer = desk.answer()
    answer.piece(streamed)
    answer.flush()
    answer.reply(last)
    pages = pages_of(answer)
    found = [said(page) for page in pages]
    assert found == read if read else ("".join(found[:-1]), found[-1]) == (streamed, "image")
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]


def test_an_event_that_nobody_answers_is_acknowledged_whatever_the_handler_says(desk):
    answer = desk.answer(MsgType="event", Event="unsubscribe")
    answer.piece("never seen" * 1000)
    answer.flush()
    assert pages_of(answer) == []
    assert answer.reply(TextRspMsg("never seen")) is None
    assert pages_of(answer) == [Page("")]


def test_b143_an_answer_stops_after_two_hundred_pages_and_says_so_once(desk, caplog):
    """An endless `yield` grows without bound."""
    answer = desk.answer()
    while not answer.full:
        answer.piece(SENTENCE * 50)
        answer.flush()
    answer.reply(EmptyRspMsg())
    pages = pages_of(answer)
    assert len(pages) == 201
    assert said(pages[-1]) == "（全文完）"
    assert caplog.text.count("after 200 pages") == 1


def test_a_reply_that_cannot_block_is_taken_at_once_and_only_such_a_one(desk):
    """In the event loop's thread nothing may ask the store."""
    desk.clock.sleep(100)
    answer = desk.answer()
    # Nobody has looked yet whether there is an offer to mention.
    assert answer.reply_at_once(TextRspMsg("好")) is False
    desk.ledger.has_offers()
    assert answer.reply_at_once(TextRspMsg(SENTENCE * 100)) is False  # pages need a number
    assert (answer.over, pages_of(answer)) == (False, [])
    assert answer.reply_at_once(TextRspMsg("好")) is True
    assert (answer.over, [said(page) for page in pages_of(answer)]) == (True, ["好"])
    desk.ledger.offer("u:somebody", 1)
    assert not desk.answer(MsgId="2").reply_at_once(TextRspMsg("好"))
    other = desk.answer(MsgId="3")
    desk.clock.sleep(1.0)
    desk.store.delete("2:offers")
    desk.ledger.has_offers()
    assert not other.reply_at_once(TextRspMsg("好"))  # it may have been promised


# -- tries, here and elsewhere ---------------------------------------------------------------------------------------


def test_a_last_try_cuts_what_there_is_and_the_answer_goes_on_behind_it(desk):
    answer = desk.answer()
    answer.piece(SENTENCE + "一句没说完的")
    page = answer.page_so_far(1)
    assert (said(page), page.more) == (SENTENCE, True)
    assert answer.page_so_far(1) == page
    late = answer.reply(TextRspMsg("话。"))
    assert late.content == "一句没说完的\n\n话。"  # what the user has not seen yet
    assert said(answer.page(2)) == "一句没说完的\n\n话。"


def test_a_finished_answer_is_never_cut_in_two(desk):
    """`reply` sets the text, asks the store and cuts under one lock: a last try comes before or after all of it."""
    answer = desk.answer()
    begun, go_on = threading.Event(), threading.Event()
    add = desk.store.add

    def slow_add(*args):
        begun.set()
        go_on.wait(10)
        return add(*args)

    desk.store.add = slow_add
    writer = threading.Thread(target=answer.reply, args=(TextRspMsg(SENTENCE * 2),))
    writer.start()
    assert begun.wait(10)
    found = []
    cutter = threading.Thread(target=lambda: found.append(answer.page_so_far(1)))
    cutter.start()
    go_on.set()
    for thread in (writer, cutter):
        thread.join(10)
    assert [said(page) for page in pages_of(answer)] == [SENTENCE * 2]
    assert found == [answer.page(1)]


def test_a_page_that_a_last_try_elsewhere_has_cut_stands(desk):
    answer = desk.answer()
    answer.piece(SENTENCE * 3)
    theirs = desk.texts.page_so_far(answer.push, answer.req, 1, SENTENCE * 2 + "未完")
    desk.elsewhere.write_page(answer.push, 1, theirs, behind_link=True)
    late = answer.reply(EmptyRspMsg())
    assert answer.page(1) == theirs
    assert said(answer.page(1)) + said(answer.page(2)) == SENTENCE * 3
    assert late.content == SENTENCE


def test_a_page_that_was_cut_elsewhere_is_adopted_while_it_is_the_unfinished_one(desk):
    answer, theirs = desk.answer(), Page("<xml/>", len(SENTENCE), True)
    answer.piece(SENTENCE * 3)
    answer.adopt(2, theirs)
    assert pages_of(answer) == []
    answer.adopt(1, theirs)
    assert (pages_of(answer), answer.grows(1), answer.grows(2)) == ([theirs], False, True)
    assert answer.reply(EmptyRspMsg()).content == SENTENCE * 2
    answer.adopt(3, theirs)
    assert [page.more for page in pages_of(answer)] == [True, False]
    assert said(answer.page(2)) == SENTENCE * 2


def test_others_get_a_look_at_what_grows_when_the_last_try_is_near(desk):
    answer = desk.answer()
    assert not answer.piece("开头。")
    desk.clock.sleep(9)
    assert answer.piece("再来。")
    assert answer.shown == 0
    answer.flush()
    assert answer.shown == 1
    assert desk.elsewhere.look(answer.push, 1).part == "开头。再来。"


def test_near_the_last_try_others_get_a_look_twice_a_second(desk):
    desk.clock.now, now, looks = lambda: now, 0.0, []
    answer = desk.answer()
    for now in (8.6, 8.7, 9.1, 9.3, 9.7, 9.9):  # two tries end at 8.6
        if answer.piece("字"):
            answer.flush()
            looks.append(now)
    assert looks == [8.7, 9.3, 9.9]


def test_of_many_that_grow_at_once_each_is_shown_less_often(desk):
    """Each look is a write: 2,000 of them need not be the store's only work."""
    answer = desk.answer(beside=range(2000))
    desk.clock.sleep(11)
    assert answer.piece("开头。")
    answer.flush()
    desk.clock.sleep(9)
    assert not answer.piece("再来。")
    desk.clock.sleep(2)
    assert answer.piece("还有。")


def test_who_waits_for_a_page_is_told_when_it_is_there_and_when_it_never_will(desk):
    answer = desk.answer()
    for reply, number in ((TextRspMsg("好"), 1), (None, 7)):
        waiter = threading.Thread(target=answer.wait, args=(number, desk.clock.now() + 3600))
        waiter.start()
        if reply is not None:
            answer.reply(reply)
        waiter.join(10)
        assert not waiter.is_alive()
    answer = desk.answer()
    desk.clock.start(answer.end, "end")
    answer.wait(1, desk.clock.now() + 3600)
    assert answer.over


def test_who_waits_in_vain_waits_as_long_as_was_said_and_leaves_nothing_behind(desk):
    answer = desk.answer()
    begun = desk.clock.now()
    with desk.clock.foreground():
        answer.wait(1, begun + 30)
    assert desk.clock.now() - begun == pytest.approx(30, abs=0.3)
    assert answer._waits == []


# -- late ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rsp", [TextRspMsg("终于"), ImageRspMsg("m")])
@pytest.mark.parametrize("seconds", [0.9, 12])  # no try gives up before
def test_late_is_what_was_promised(desk, rsp, seconds):
    desk.clock.now, now = lambda: now, 0.0
    answer = desk.answer()
    now = seconds
    number = promise(desk, answer)
    assert answer.reply(rsp) == rsp
    assert answer.promised == number


def test_an_answer_in_time_is_not_late_however_long_it_took(desk):
    answer = desk.answer()
    desk.clock.sleep(14)
    assert answer.reply(TextRspMsg("好")) is None


def test_an_answer_after_wechat_has_given_up_is_late_although_no_try_came_to_be_promised(desk):
    answer = desk.answer()
    desk.clock.sleep(16)
    assert answer.reply(TextRspMsg("好")) == TextRspMsg("好")
    assert desk.elsewhere.promised(answer.push).number == answer.promised


@pytest.mark.parametrize("text", ["终于", SENTENCE * 100])
def test_what_is_promised_while_it_is_written_is_kept_as_long_as_its_link(desk, text):
    store = MemoryStore(clock=desk.clock.now)
    desk.ledger._store = desk.elsewhere._store = store
    answer = desk.answer()
    desk.clock.sleep(2)
    add = store.add

    def add_and_promise(key, *rest):
        won = add(key, *rest)
        store.add = add
        promise(desk, answer)
        return won

    store.add = add_and_promise
    assert answer.reply(TextRspMsg(text)) is not None
    desk.clock.sleep(23 * 3600)
    assert [desk.elsewhere.page(answer.push, n) for n, _ in enumerate(pages_of(answer), 1)] == pages_of(answer)


def test_late_news_are_one_article(desk):
    """Behind a link they answer a tap, an ordinary message."""
    answer = desk.answer(MsgType="event", Event="CLICK")
    desk.clock.sleep(12)
    promise(desk, answer)
    answer.reply(NewsRspMsg([Article("1"), Article("2")]))
    assert read_xml(answer.page(1).xml)["ArticleCount"] == "1"


@pytest.mark.parametrize(("delivered", "offered"), [(False, 1), (True, None)])
def test_a_late_answer_is_offered_unless_it_was_delivered(desk, delivered, offered):
    answer = desk.answer()
    desk.clock.sleep(12)
    promise(desk, answer)
    assert answer.reply(TextRspMsg("终于")) is not None
    answer.settle(delivered=delivered)
    user = user_key(answer.req)
    number = desk.ledger.offered(user)
    assert number == offered
    with suppress(TypeError):
        assert desk.ledger.take_offer(user, 1) is (offered is not None)


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_reply_mentions_an_earlier_answer_with_a_link_to_it_once(desk, seconds):
    earlier, user = desk.answer(), user_key(read_msg(TEXT_FIELDS))
    number = promise(desk, earlier)
    desk.elsewhere.offer(user, number)
    reading = [desk.answer(MsgId=str(n)) for n in (2, 3)]
    desk.clock.sleep(seconds)
    for answer in reading:
        answer.reply(TextRspMsg("好"))
    ready_text, fetch_label = Settings.ready_text, Settings.fetch_label
    first, second = (split_links(read_xml(answer.page(1).xml)["Content"]) for answer in reading)
    assert [first[0], first[1].label, first[1].words] == [f"好\n\n{ready_text}", fetch_label, f"查看回复{number}"]
    assert Links("查看回复").read(tapped(first[1])).fits(earlier.push)
    assert second == ["好"]


def test_neither_a_last_page_nor_what_is_behind_a_link_mentions_another_answer(desk):
    """It is for the next reply: a tap is a question for one answer."""
    user = user_key(read_msg(TEXT_FIELDS))
    desk.elsewhere.offer(user, promise(desk, desk.answer()))
    long, late = desk.answer(MsgId="2"), desk.answer(MsgId="3")
    desk.clock.sleep(12)
    promise(desk, late)
    for answer, text in ((long, SENTENCE * 60), (late, "好")):
        answer.reply(TextRspMsg(text))
        assert Settings.ready_text not in pages_of(answer)[-1].xml
    assert desk.ledger.offered(user) == 1


def test_an_answer_that_leads_nowhere_any_more_is_not_mentioned(desk):
    desk.ledger.offer(user_key(read_msg(TEXT_FIELDS)), 7)
    answer = desk.answer()
    answer.reply(TextRspMsg("好"))
    assert read_xml(answer.page(1).xml)["Content"] == "好"
