"""While the store is down "not found" is not "expired": a tap is held, then gets the same link, and later its answer."""

import pytest
from baton import READS

from wx_mp_svr import WxMpServer
from wx_mp_svr.errors import StoreError
from wx_mp_svr.store.memory import MemoryStore

TOKEN = "BlindToken1"


class Outage:
    """A store that is down on demand; of a full one only the writing."""

    def __init__(self):
        self._store = MemoryStore()
        self.fault = ""

    def __getattr__(self, verb):
        def ask(*args):
            if self.fault == "down" or (self.fault == "full" and verb not in READS):
                raise StoreError(self.fault)
            return getattr(self._store, verb)(*args)

        return ask


@pytest.fixture
def store():
    return Outage()


@pytest.fixture
def wechat(store):
    """A bot that takes 40 s for an answer of several pages."""

    def answer(req):
        wechat.sleep(40)
        return "\n\n".join(f"{n} " + "字" * 300 for n in range(6))

    wechat = WxMpServer(token=TOKEN, store=store, on_message=answer).test_client(store=store)
    return wechat


def read_all(wechat, result):
    pages = [result.content]
    while result.links:
        result = wechat.tap(result)
        pages.append(result.content)
    return "".join(pages)


@pytest.mark.parametrize("fault", ["down", "full"])
def test_a_tap_while_the_store_is_down_brings_the_same_link_or_the_answer(wechat, store, fault):
    """Which was promised before, so long ago that this process does not know it any more."""
    result = wechat.send_text("x")
    (link,) = result.links
    wechat.sleep(60)
    store.fault = fault
    during = wechat.tap(link)
    if fault == "down":
        assert during.links == [link]
        assert "过期" not in during.content
        assert during.elapsed < 5
        during = wechat.tap(during)
        assert during.links == [link]
    store.fault = ""
    wechat.sleep(5)
    read = read_all(wechat, wechat.tap(link) if fault == "down" else during)
    assert [f"{n} 字" in read for n in range(6)] == [True] * 6


def test_a_tap_by_its_words_alone_gets_a_link_that_works_as_well(wechat, store):
    """Test accounts leave out the link's id."""
    link = wechat.send_text("x").links[0]
    wechat.sleep(60)
    store.fault = "down"
    during = wechat.send_text(link.words)
    assert during.links[0].words == link.words
    store.fault = ""
    wechat.sleep(5)
    assert "0 字" in wechat.tap(during).content


def test_a_tap_on_the_next_page_is_held_as_well(wechat, store):
    link = wechat.send_text("x").links[0]
    wechat.sleep(60)
    first = wechat.tap(link)
    wechat.sleep(60)
    store.fault = "down"
    during = wechat.tap(first)
    assert during.links[-1].words == first.links[-1].words
    store.fault = ""
    wechat.sleep(5)
    assert "0 字" not in wechat.tap(during).content


def test_what_is_promised_while_the_store_is_down_never_stands_behind_an_old_link(wechat, store):
    """Nobody knows then how far the user's numbers were."""
    old = wechat.send_text("alt").links[0]
    wechat.sleep(60)
    store.fault = "down"
    new = wechat.send_text("neu").links[0]
    store.fault = ""
    wechat.sleep(60)
    assert old.words != new.words
    assert "0 字" in wechat.tap(old).content
    assert "0 字" in wechat.tap(new).content


def test_what_is_not_there_is_expired_as_ever_when_the_store_is_back(wechat, store):
    store.fault = "down"
    assert wechat.send_text("查看回复77").links
    store.fault = ""
    wechat.sleep(5)
    assert "过期" in wechat.send_text("查看回复77").content


def test_what_was_promised_on_a_machine_that_could_not_reach_the_store_has_not_expired_on_another(store, wechat):
    """It comes when that machine reaches the store again; after a quarter of an hour nobody waits for it any more."""
    store.fault = "down"
    link = wechat.send_text("x").links[0]
    elsewhere = WxMpServer(token=TOKEN, store=MemoryStore(), on_message=lambda req: "x").test_client(
        store=MemoryStore()
    )
    elsewhere.sleep(60)  # each client has a clock of its own
    assert elsewhere.tap(link).links == [link]
    elsewhere.sleep(1000)
    assert "过期" in elsewhere.tap(link).content


def test_beyond_the_last_page_there_is_the_end(wechat):
    """Two machines that could not see each other may have cut an answer at different places."""
    link = wechat.send_text("x").links[0]
    wechat.sleep(60)
    assert wechat.send_text(f"{link.words}-4").content == "（全文完）"
    assert "过期" in wechat.send_text(f"{link.words}-5").content


def test_a_store_that_has_forgotten_what_is_at_work_is_said(wechat, store, caplog):
    """Emptied, or started again without its data."""
    wechat.send_text("x")
    for key, _, _ in store.items():
        store.delete(key)
    wechat.sleep(5)
    assert "存储里的数据丢了" in caplog.text
