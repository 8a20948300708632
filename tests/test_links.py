"""Links behind which answers wait: what counts as a tap on one, and whose number leads where."""

import pytest

from wx_mp_svr.config import Settings, load
from wx_mp_svr.errors import ConfigError
from wx_mp_svr.links import Links, Tap
from wx_mp_svr.req_msg import EventReqMsg, TextReqMsg
from wx_mp_svr.store.memory import MemoryStore

HOUR = 3600.0


class Clock:
    """Stands still until a test turns it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def links(clock):
    return Links(MemoryStore(clock=clock), Settings())


def said(content, menu_id=""):
    return TextReqMsg(to_user_name="gh_1", from_user_name="o1", content=content, bizmsgmenuid=menu_id)


@pytest.mark.parametrize(
    ("req", "tap"),
    [
        (said("查看回复1"), Tap(1, 1)),
        (said(" 查看回复 12-3\n"), Tap(12, 3)),
        (said("whatever", "wxmp-2"), Tap(2, 1)),
        (said("whatever", "wxmp-2-10"), Tap(2, 10)),
        (said("查看回复1", "101"), None),  # the bot's own menu, whatever its words
        (said("查看回复"), None),
        (said("查看回复１"), None),
        (said("查看回复1-0"), None),  # pages are counted from 1
        (said("查看回复1-02"), None),
        (said("whatever", "wxmp-1-0"), None),
        (said("whatever", "wxmp-1-00"), None),
        (EventReqMsg(event="查看回复1"), None),
    ],
)
def test_a_tap_is_what_a_link_of_ours_would_send_and_nothing_else(links, req, tap):
    """All else is an ordinary text, which the handler gets."""
    assert links.read(req) == tap


def test_a_number_leads_to_one_answer_as_long_as_that_is_kept(links, clock):
    """The count ends a day after the first number, which is sooner than a day after the last one."""
    numbers = [links.number_of(f"morning {n}", said("x")) for n in range(3)]
    clock.now = 23 * HOUR
    numbers.append(links.number_of("evening", said("x")))
    clock.now = 24.5 * HOUR
    numbers += [links.number_of(f"next day {n}", said("x")) for n in range(4)]
    assert numbers == [1, 2, 3, 4, 1, 2, 3, 5]
    assert links.find(said("x"), Tap(4, 1)) == "evening"
    assert links.number_of("evening", said("x")) == 4


@pytest.mark.parametrize("words", ["", " "])
def test_a_tap_needs_words(words):
    """Else every number that a user sends would be one."""
    with pytest.raises(ConfigError, match="WX_MP_FETCH_WORDS must not be empty"):
        load({"token": "LinksToken", "fetch_words": words}, {}, {})
