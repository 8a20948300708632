"""What stands in a page, to the byte: the text, our own texts, and the links."""

import pytest
from wechat import TEXT_FIELDS

from wx_mp_svr.config import Settings
from wx_mp_svr.delivery.ledger import Ledger, Page
from wx_mp_svr.delivery.links import Links, Tap
from wx_mp_svr.delivery.push import user_key
from wx_mp_svr.delivery.texts import Texts, is_silent
from wx_mp_svr.messages import read_msg
from wx_mp_svr.rsp_msg import EmptyRspMsg, ImageRspMsg, TextRspMsg
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.testing.packets import read_xml

PUSH, OTHER = "p:1", "p:2"
REQ = read_msg(TEXT_FIELDS)
EVENT = {**TEXT_FIELDS, "MsgType": "event"}
UNSUBSCRIBED, UNKNOWN = read_msg({**EVENT, "Event": "unsubscribe"}), read_msg({**EVENT, "Event": "new_one"})
NOTICE = read_msg({"InfoType": "unauthorized", "CreateTime": "1"})  # of an open platform: no user has sent it


class Hands:
    """A clock that stands still."""

    def now(self):
        return 5.0

    def wall(self):
        return 1_700_000_000.9


class Desk(Texts):
    """Texts with a ledger of their own."""

    def __init__(self, **settings):
        self.ledger = Ledger(MemoryStore(clock=Hands().now), Hands(), keep_seconds=600, keep_answers=86400)
        self.links = Links(Settings.fetch_words)
        super().__init__(Settings(token="x", **settings), self.ledger, self.links, Hands())

    def link(self, number, page, label):
        return self.links.write(PUSH, number, page, label)


def said(xml):
    return read_xml(xml)["Content"]


def test_a_packet_goes_to_who_wrote_and_says_when():
    fields = read_xml(Desk().say(REQ, "好"))
    assert (fields["ToUserName"], fields["FromUserName"]) == (TEXT_FIELDS["FromUserName"], TEXT_FIELDS["ToUserName"])
    assert (fields["CreateTime"], fields["Content"]) == ("1700000000", "好")


@pytest.mark.parametrize(
    ("req", "silent", "own"),
    [(REQ, False, TextRspMsg("忙")), (UNKNOWN, False, EmptyRspMsg()), (UNSUBSCRIBED, True, EmptyRspMsg())],
)
def test_a_text_of_our_own_goes_only_to_where_somebody_reads_it(req, silent, own):
    assert is_silent(req) is silent
    assert Desk().own(req, "忙") == own
    assert Desk().own(req, None) == Desk().own(req, "") == EmptyRspMsg()


@pytest.mark.parametrize("req", [NOTICE, UNSUBSCRIBED])
def test_where_nobody_would_read_it_the_whole_answer_is_an_acknowledgement(req):
    assert is_silent(req)
    assert Desk().only_page(TextRspMsg("好"), req, mention=True) == Page("", 0, False)


def test_no_text_is_an_acknowledgement_and_an_empty_one_a_packet():
    assert Desk().say(REQ, None) == ""
    assert read_xml(Desk().say(REQ, ""))["MsgType"] == "text"


@pytest.mark.parametrize(
    ("settings", "text", "link"),
    [
        ({}, Settings.slow_text, True),
        ({"slow_text": "稍等"}, "稍等", True),
        ({"slow_text": None}, "", True),
        ({"slow_text": "稍等", "slow_link": False}, "稍等", False),
    ],
)
def test_the_slow_text_stands_before_its_link(settings, text, link):
    desk = Desk(**settings)
    assert said(desk.slow(REQ, PUSH, 7, 2)) == text + (desk.link(7, 2, Settings.fetch_label) if link else "")
    again = said(desk.slow_again(REQ, Tap(7, 2, "123456")))
    assert again == text + (desk.links.write_again(Tap(7, 2, "123456"), Settings.fetch_label) if link else "")


@pytest.mark.parametrize(("text", "whole"), [("字" * 682 + "a", True), ("字" * 682 + "ab", False), ("a" * 2048, False)])
def test_up_to_2047_bytes_are_the_whole_answer(text, whole):
    page, first = Desk().only_page(TextRspMsg(text), REQ, mention=False), Desk().full_page(PUSH, REQ, 1, text)
    if whole:
        assert (said(page.xml), page.chars, page.more, first) == (text, len(text), False, None)
    else:
        assert page is None
        assert first.more


def test_what_is_no_text_is_its_packet():
    desk = Desk()
    assert desk.only_page(ImageRspMsg("m"), REQ, mention=True) == Page(desk.render(ImageRspMsg("m"), REQ))
    assert desk.only_page(TextRspMsg(" \n"), REQ, mention=True) == Page(desk.render(TextRspMsg(" \n"), REQ))


def test_a_full_page_is_two_thousand_bytes_with_the_link_to_the_next():
    desk = Desk()
    link = "\n\n" + desk.link(1, 4, Settings.next_label)
    page = desk.full_page(PUSH, REQ, 3, "a" * 5000)
    assert (said(page.xml), page.more) == ("a" * page.chars + link, True)
    assert len(said(page.xml).encode()) == 2000
    assert desk.page_so_far(PUSH, REQ, 3, "a" * 5000).chars == page.chars - 1  # its last sign may yet grow


@pytest.mark.parametrize(
    ("rest", "shown", "chars"),
    [("第一句。第二", "第一句。", 4), (" \n", None, 0), ("字", None, 0), (" \n字", None, 0)],
)
def test_a_page_of_a_growing_text_ends_where_it_can_be_shown(rest, shown, chars):
    desk = Desk()
    page = desk.page_so_far(PUSH, REQ, 1, rest)
    if shown is None:
        assert page is None
    else:
        assert (said(page.xml), page.chars, page.more) == (
            f"{shown}\n\n{desk.link(1, 2, Settings.next_label)}",
            chars,
            True,
        )


def test_a_text_before_a_picture_has_the_link_to_it():
    desk = Desk()
    page = desk.page_before_reply(PUSH, REQ, 1, "看图： \n")
    assert (said(page.xml), page.chars) == (f"看图：\n\n{desk.link(1, 2, Settings.next_label)}", 5)
    assert page.more


@pytest.mark.parametrize(("rest", "shown"), [("完。", "完。"), (" \n", Settings.end_text), ("", Settings.end_text)])
def test_a_last_page_with_nothing_on_it_says_that_it_is_the_end(rest, shown):
    page = Desk().last_page(REQ, rest, mention=True)
    assert (said(page.xml), page.chars, page.more) == (shown, len(rest), False)


@pytest.mark.parametrize("spare", [0, 1, -1])
def test_an_earlier_answer_is_mentioned_if_that_fits(spare):
    """Else it stays for the next reply."""
    desk, user = Desk(), user_key(REQ)
    assert desk.ledger.promise(PUSH, user, {}) == 1
    desk.ledger.offer(user, 1)
    mention = f"\n\n{Settings.ready_text}{desk.link(1, 1, Settings.fetch_label)}"
    text = "a" * (2047 - spare - len(mention.encode()))
    assert said(desk.last_page(REQ, text, mention=False).xml) == text
    assert said(desk.last_page(REQ, text, mention=True).xml) == (text + mention if spare >= 0 else text)
    assert desk.ledger.offered(user) == (None if spare >= 0 else 1)


@pytest.mark.parametrize("before", ["nothing", "it was taken", "it has expired"])
def test_what_leads_nowhere_or_was_taken_is_not_mentioned(before):
    desk, user = Desk(), user_key(REQ)
    if before == "it was taken":
        desk.ledger.offer(user, desk.ledger.promise(PUSH, user, {}))
        desk.ledger.take(user, 1)
    elif before == "it has expired":
        desk.ledger.offer(user, 1)
    assert said(desk.last_page(REQ, "好", mention=True).xml) == "好"
