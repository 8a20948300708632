"""One growing answer, in the process that runs its handler.

What the handler says goes in, pages come out: into the ledger, where everybody who waits finds them. Cut, ended and marked
under one lock. Knows nothing of threads, tries or HTTP.
"""

import logging
from collections.abc import Sized
from dataclasses import replace

from ..clock import Clock, Signal
from ..req_msg import ReqMsg
from ..rsp_msg import EmptyRspMsg, NewsRspMsg, RspMsg, TextRspMsg
from ..wire.xmlio import legal
from .ledger import Ledger, Page
from .push import user_key
from .rules import Times
from .texts import MAX_TEXT, WINDOW, Texts, is_silent

log = logging.getLogger("wx_mp_svr")

PART_SECONDS = 0.5  # between two looks that other processes get at a text that is still growing
PARTS_A_SECOND = 200  # of all texts that grow here: each is a write
MAX_PAGES = 200
SOON = 0.9  # of `held_after`: until then no try has given up


class Answer:
    """The answer to one push.

    Args:
        push: Its key.
        req: The message.
        number: Which run of the push this is.
        arrived: When it came, by the clock.
        ledger: Where pages are written.
        texts: What stands in them.
        clock: For waiting.
        times: Of WeChat's tries.
        promised: The number of the link under which it was promised, if this is not its first run.
        queued: Whether a task queue brought it, so that *arrived* was told by another machine's clock.
        beside: All that grow in this process.
    """

    __slots__ = (
        *("push", "req", "number", "arrived", "over", "promised"),
        *(
            "_beside",
            "_clock",
            "_cut_off",
            "_ledger",
            "_lock",
            "_page",
            "_pages",
            "_position",
            "_queued",
            "_seen",
            "_shown_at",
        ),
        *("_text", "_texts", "_times", "_waits"),
    )

    def __init__(
        self,
        push: str,
        req: ReqMsg,
        number: int,
        arrived: float,
        *,
        ledger: Ledger,
        texts: Texts,
        clock: Clock,
        times: Times,
        promised: int | None = None,
        queued: bool = False,
        beside: Sized = (),
    ) -> None:
        self.push = push
        self.req = req
        self.number = number
        self.arrived = arrived
        self.over = False
        self.promised = promised
        self._queued = queued
        self._beside = beside
        self._ledger = ledger
        self._texts = texts
        self._clock = clock
        self._times = times
        self._lock = clock.lock()
        self._text = ""  # all that the handler has said so far
        self._position = 0  # where the unfinished page begins in it
        self._page = 1  # the number of the unfinished page
        self._pages: dict[int, Page] = {}
        self._waits: list[Signal] = []
        self._shown_at = 0.0  # when other processes last got a look at the unfinished page
        self._cut_off = False  # whether it had too many pages
        self._seen: int | None = None  # how much of the text a last try has shown, if it had to cut a page

    # -- what the handler says ---------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether there are as many pages as may be."""
        return self._page > MAX_PAGES

    def piece(self, piece: str) -> bool:
        """Take one piece of a growing text.

        Returns:
            Whether `flush` has work, which may block.
        """
        with self._lock:
            self._text += legal(piece)
            rest = self._text[self._position :]
        return len(rest.encode()) > MAX_TEXT or self._is_part_due()

    def flush(self) -> None:
        """Write the pages that are full, and show others the unfinished one."""
        with self._lock:
            self._cut()
            if self._is_part_due():
                self._shown_at = self._clock.now()
                self._ledger.write_part(self.push, self._page, self._text[self._position :])

    def _is_part_due(self) -> bool:
        # Others may have to send what there is when WeChat's last try runs out; a look costs a write, so not before.
        now = self._clock.now()
        pause = max(PART_SECONDS, len(self._beside) / PARTS_A_SECOND)
        return now - self.arrived > 2 * self._times.hold and now - self._shown_at > pause

    def reply(self, rsp: RspMsg) -> RspMsg | None:
        """Take the handler's reply, the last thing it says; a text goes behind what was streamed before.

        Returns:
            What the user has not seen, if this comes after WeChat's last try; None when it came in time.
        """
        with self._lock:
            try:
                return self._end(rsp)
            finally:
                self.over = True
                self._wake()

    def reply_at_once(self, rsp: RspMsg) -> bool:
        """Take the handler's reply if nothing of that may block; false if `reply` has to."""
        if not self._ledger.needs_no_look:
            return False
        with self._lock:
            if not self._end_early(rsp, mention=False):
                return False
            self.over = True
            self._wake()
            return True

    def settle(self, *, delivered: bool) -> None:
        """See to what becomes of a late answer: the user's next reply mentions it, unless it was delivered."""
        if self.promised is None or self.req.answerable != "yes":
            return
        user = user_key(self.req)
        if delivered:
            self._ledger.take(user, self.promised)
        else:
            self._ledger.offer(user, self.promised)

    def _end(self, rsp: RspMsg) -> RspMsg | None:
        if self._end_early(rsp, mention=True):
            return None
        req = self.req
        silent = is_silent(req)
        if isinstance(rsp, TextRspMsg) and not silent:
            self._text += ("\n\n" if self._text else "") + legal(rsp.content)
        text = "" if silent else self._text
        says = bool(text.strip() or rsp.msg_type) and not silent
        self._look_for_promise(says=says)
        last_page = self._page
        if isinstance(rsp, TextRspMsg | EmptyRspMsg) and text.strip():
            self._cut()
            # A last try of another process may have cut this very page, then there is one more.
            while self._put(self._last_page()).more:
                self._cut()
        else:
            if text[self._position :].strip():
                self._cut()
                self._put(self._texts.page_before_reply(self.push, req, self._page, self._text[self._position :]))
            # Behind a link it answers a tap: an ordinary message, which takes one article.
            if isinstance(rsp, NewsRspMsg) and self.promised is not None:
                rsp = replace(rsp, articles=rsp.articles[:1])
            self._put(Page("" if silent else self._texts.render(rsp, req)))
        if self.promised is None and self._look_for_promise(says=says):
            for number in range(last_page, self._page):  # promised while they were written, to live shorter
                self._ledger.keep_page(self.push, number, self._pages[number])
        if self.promised is None and self._seen is None:
            return None
        if says:
            took = self._clock.now() - self.arrived
            log.warning("an answer is late: it took %.1f s / 这条回复超过了微信等待的时间，用户可以点链接取回", took)
        return rsp if not text.strip() else TextRspMsg(self._text[self._seen or 0 :])

    def _last_page(self) -> Page:
        rest = self._text[self._position :]
        return self._texts.last_page(self.req, rest, mention=self._page == 1 and self.promised is None)

    def _cut(self) -> None:
        if self.req.answerable == "no":
            return
        while not self.full:
            rest = self._text[self._position : self._position + WINDOW]
            page = self._texts.full_page(self.push, self.req, self._page, rest)
            if page is None:
                return
            self._put(page)
        if not self._cut_off:
            self._cut_off = True
            log.error("an answer ends after %d pages / 回复超过 %d 页，到此为止", MAX_PAGES, MAX_PAGES)
        self._text = self._text[: self._position]

    def _look_for_promise(self, *, says: bool) -> bool:
        """Find out whether a try has ended without this answer; tell whether it has."""
        took = self._clock.now() - self.arrived
        if self.promised is not None or not says or took < self._times.held_after * SOON:
            return self.promised is not None
        promise = self._ledger.promised(self.push)
        self.promised = promise and promise.number
        too_long = took > self._times.tries * self._times.hang_up
        if self.promised is None and self._page == 1 and too_long and not self._queued:
            # WeChat has given up without coming for its last try.
            self.promised = self._ledger.promise(self.push, user_key(self.req), self.req.raw)
        return self.promised is not None

    def _put(self, page: Page) -> Page:
        """Write the unfinished page and begin the next one; return the one that stands."""
        behind_link = self.promised is not None or self._ledger.blind
        kept = self._ledger.write_page(self.push, self._page, page, behind_link=behind_link)
        if kept is not page:  # another process's last try has shown its own
            self._seen = self._position + kept.chars
        self._go_on_behind(kept)
        return kept

    def _end_early(self, rsp: RspMsg, *, mention: bool) -> bool:
        """Write the reply as the only page, if nobody else can have begun to write one or to do without it."""
        first = not self._text and self.number == 1 and self.promised is None and not self._queued
        if not first or self._clock.now() - self.arrived >= self._times.held_after * SOON:
            return False
        page = self._texts.only_page(rsp, self.req, mention=mention)
        if page is None or not self._ledger.put_off(self.push, page):
            return False
        self._go_on_behind(page)
        return True

    def _go_on_behind(self, page: Page) -> None:
        self._pages[self._page] = page
        self._position += page.chars
        self._page += 1
        self._wake()

    def adopt(self, number: int, page: Page) -> None:
        """Go on behind a page that a last try of another process has cut."""
        with self._lock:
            if number == self._page and not self.over:
                self._seen = self._position + page.chars
                self._go_on_behind(page)

    # -- what tries ask ----------------------------------------------------------------------------------------------

    @property
    def shown(self) -> int:
        """The number of the unfinished page if others have been shown what is in it, and may cut it; else 0."""
        return self._page if self._shown_at and not self.over else 0

    def page(self, number: int) -> Page | None:
        """Return a page, None when it is not there yet."""
        return self._pages.get(number)

    def grows(self, number: int) -> bool:
        """Whether there is something of a page that is not finished."""
        return number == self._page and bool(self._text[self._position :].strip())

    def page_so_far(self, number: int) -> Page | None:
        """Cut the unfinished page where it is, for a last try; None when there is nothing to show yet."""
        with self._lock:
            if number == self._page and not self.over:
                page = self._texts.page_so_far(self.push, self.req, number, self._text[self._position :])
                if page is not None:
                    self._put(page)
                    self._seen = self._position
            return self._pages.get(number)

    def promise(self, number: int) -> None:
        """Hear that a try has ended without this answer, and gave the user the link of that number."""
        with self._lock:
            self.promised = number

    def wait(self, number: int, until: float) -> None:
        """Wait until a page is there, the run is over, or the time (by the clock) is."""
        with self._lock:
            if number in self._pages or self.over:
                return
            signal = self._clock.signal()
            self._waits.append(signal)
        signal.wait(until - self._clock.now())
        with self._lock:
            if signal in self._waits:
                self._waits.remove(signal)

    def end(self) -> None:
        """Tell those who wait that no page will come any more."""
        with self._lock:
            self.over = True
            self._wake()

    def _wake(self) -> None:
        if not self._waits:
            return
        waits, self._waits = self._waits, []
        for signal in waits:
            signal.set()
