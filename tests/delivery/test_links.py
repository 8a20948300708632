"""Links behind which answers wait: what counts as a tap on one."""

import pytest

from wx_mp_svr.config import load
from wx_mp_svr.delivery.links import Links, Tap, mark_of
from wx_mp_svr.errors import ConfigError
from wx_mp_svr.req_msg import EventReqMsg, TextReqMsg
from wx_mp_svr.testing.judge import split_links

LINKS = Links("查看回复")
PUSH = "p:1700000000:0123456789abcdef"


def said(content, menu_id=""):
    return TextReqMsg(to_user_name="gh_1", from_user_name="o1", content=content, bizmsgmenuid=menu_id)


@pytest.mark.parametrize(
    ("req", "tap"),
    [
        (said("查看回复1"), Tap(1, 1)),
        (said(" 查看回复 12-3\n"), Tap(12, 3)),
        (said("whatever", "wxmp-2-1-abcdef"), Tap(2, 1, "abcdef")),
        (said("whatever", "wxmp-2-10-000000"), Tap(2, 10, "000000")),
        (said("查看回复1", "101"), None),  # the bot's own menu, whatever its words
        (said("查看回复1", "wxmp-1"), None),
        (said("查看回复"), None),
        (said("查看回复１"), None),
        (said("查看回复1-0"), None),  # pages are counted from 1
        (said("查看回复1-02"), None),
        (said("whatever", "wxmp-1-0-abcdef"), None),
        (said("whatever", "wxmp-1-00-abcdef"), None),
        (said("whatever", "wxmp-1-1-ABCDEF"), None),
        (said("查看回复123456789-9999"), Tap(123456789, 9999)),
        (said("查看回复1234567890"), None),  # nobody has had so many
        (said("查看回复1-10000"), None),
        (said("请查看回复1"), None),
        (said("查看回复1吧"), None),
        (said("whatever", "wxmp-123456789-9999-abcdef"), Tap(123456789, 9999, "abcdef")),
        (said("whatever", "wxmp-123456789-9999"), Tap(123456789, 9999)),
        (said("whatever", "wxmp-1234567890-1-abcdef"), None),
        (said("whatever", "wxmp-1-10000-abcdef"), None),
        (said("whatever", "wxmp-1-1-abcde"), None),
        (said("whatever", "wxmp-1-1-abcdefa"), None),
        (EventReqMsg(event="查看回复1"), None),
    ],
)
def test_a_tap_is_what_a_link_of_ours_would_send_and_nothing_else(req, tap):
    """All else is an ordinary text, which the handler gets."""
    assert LINKS.read(req) == tap


@pytest.mark.parametrize(
    ("words", "tap", "content", "menu_id"),
    [
        ("查看回复", Tap(1, 1, "abcdef"), "查看回复1", "wxmp-1-1-abcdef"),
        ("查看回复", Tap(12, 3, "abcdef"), "查看回复12-3", "wxmp-12-3-abcdef"),
        ("查看回复", Tap(1, 2), "查看回复1-2", "wxmp-1-2"),  # of which only the words came
        ("a+b (c)", Tap(1, 1), "a%2Bb%20(c)1", "wxmp-1-1"),
        ("\"'<>&#%", Tap(1, 1), "%22%27%3C%3E%26%23%251", "wxmp-1-1"),
    ],
)
def test_a_link_is_what_wechat_makes_a_menu_of(words, tap, content, menu_id):
    """Bare Chinese works in it; what would end the attribute or the parameter is encoded."""
    link = Links(words).write_again(tap, "看")
    assert link == f'<a href="weixin://bizmsgmenu?msgmenucontent={content}&msgmenuid={menu_id}">看</a>'
    assert Links(words).read(said("whatever", menu_id)) == tap
    assert Links(words).is_tap(f"{words}{tap.number}")
    assert not Links(words).is_tap(f"{words}?")


@pytest.mark.parametrize(("number", "page"), [(1, 1), (12, 3)])
def test_a_tap_on_a_link_asks_for_its_answer_and_no_other(number, page):
    """A number may be given anew after the store has forgotten it; the digits of the push tell."""
    (link,) = split_links(LINKS.write(PUSH, number, page, "查看"))
    tap = LINKS.read(said(link.words, link.menu_id))
    assert tap == Tap(number, page, mark_of(PUSH))
    assert tap.fits(PUSH)
    assert not tap.fits(PUSH[:-1] + "0")
    assert LINKS.read(said(link.words)).fits(PUSH)  # test accounts leave the id out


@pytest.mark.parametrize("words", ["", " "])
def test_a_tap_needs_words(words):
    """Else every number that a user sends would be one."""
    with pytest.raises(ConfigError, match="WX_MP_FETCH_WORDS must not be empty"):
        load({"token": "LinksToken", "fetch_words": words}, {}, {})
