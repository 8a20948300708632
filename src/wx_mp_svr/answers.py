"""What a handler says, page by page, in the store, where everybody who waits finds it.

A reply or a growing text in, pages out. Whoever writes a page first has written it, so that all copies of a push get the
same one. Knows nothing of threads, tries or HTTP.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple

from .config import Settings
from .links import Links
from .pages import cut, settled
from .req_msg import ReqMsg
from .rsp_msg import EmptyRspMsg, NewsRspMsg, RspMsg, TextRspMsg, render
from .store import Store
from .xmlio import legal

log = logging.getLogger("wx_mp_svr")

MAX_TEXT = 2047  # bytes of a text reply that WeChat delivers
PAGE_BYTES = 2000  # of a page, its link included
PART_SECONDS = 0.5  # between two looks that other processes get at a text that is still growing


class Page(NamedTuple):
    """One page of an answer.

    Attributes:
        xml: The plain packet; "" acknowledges.
        chars: How much of the text is in it, so that whoever else cuts goes on behind it.
        more: Whether there is a next page.
    """

    xml: str
    chars: int = 0
    more: bool = False


def page_key(key: str, number: int) -> str:
    """Return where page *number* of the answer to the push *key* stands in the store."""
    return f"{key}:page:{number}"


def as_page(record: Any) -> Page | None:
    """Read what the store kept of a page."""
    return Page(*record) if record is not None else None


class Run:
    """One run of the handler for one push, in this process."""

    def __init__(self, key: str, req: ReqMsg, arrived: float) -> None:
        self.key = key
        self.req = req
        self.arrived = arrived  # monotonic
        self.text = ""  # all that the handler has said so far
        self.position = 0  # where the unfinished page begins in it
        self.page = 1  # the number of the unfinished page
        self.pages: dict[int, Page] = {}
        self.tasks: list[Future[None]] = []  # what of it goes on in the event loop
        self.late = False  # whether its answer comes after WeChat's last try
        self.over = False
        self.lock = threading.RLock()  # pages are cut and written under it
        self._changed: threading.Condition | None = None  # of whoever waits: most answers are there before
        self.shown = 0.0  # when other processes last got a look at the unfinished page

    def wait(self, number: int, until: float) -> Page | None:
        """Wait for a page; None when the time (monotonic) is over first, or the run without it."""
        with self.lock:
            while number not in self.pages and not self.over:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed = self._changed or threading.Condition(self.lock)
                self._changed.wait(left)
            return self.pages.get(number)

    def put(self, page: Page) -> None:
        """Take the unfinished page, which stands in the store now, and begin the next one."""
        with self.lock:
            self.pages[self.page] = page
            self.position += page.chars
            self.page += 1
            self._tell()

    def end(self) -> None:
        """Tell those who wait that no page will come any more."""
        with self.lock:
            self.over = True
            self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.notify_all()


class Answers:
    """Writes the pages of all runs.

    Args:
        settings: Times, limits and texts.
        store: Where pages are written.
        links: Numbers for the answers that go on behind a link.
        clock: The system's clock, Unix seconds.
    """

    def __init__(self, settings: Settings, store: Store, links: Links, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._links = links
        self._clock = clock

    def say(self, req: ReqMsg, text: str | None) -> RspMsg:
        """Return a text of our own, which goes only to where there is somebody to read it."""
        return TextRspMsg(text) if text and req.answerable == "yes" else EmptyRspMsg()

    def finish(self, run: Run, rsp: RspMsg) -> bool:
        """Write the reply; of a text that is too long, page by page. A text goes behind what was streamed before.

        Returns:
            Whether it comes after WeChat's last try.
        """
        silent = run.req.answerable == "no" or not run.req.openid  # WeChat wants an acknowledgement and nothing else
        if silent or not isinstance(rsp, TextRspMsg):

            def write() -> None:
                # Behind a link it answers a tap: an ordinary message, which takes one article.
                late = isinstance(rsp, NewsRspMsg) and run.late
                shown = replace(rsp, articles=rsp.articles[:1]) if late else rsp  # type: ignore
                self._put(run, Page("" if silent else self._render(shown, run.req)))

            return self._write_last(run, write, told=not silent and bool(rsp.msg_type))
        with run.lock:
            run.text += ("\n\n" if run.text else "") + legal(rsp.content)
        return self._write_last(run, lambda: self._cut(run, last=True), told=True)

    def feed(self, run: Run, piece: str) -> None:
        """Take one piece of a growing text; a page that is full goes out at once."""
        with run.lock:
            run.text += legal(piece)
        self._cut(run, last=False)
        now = time.monotonic()
        # Others may have to send what there is when WeChat's last try runs out; a look costs a write, so not before.
        if now - run.arrived > 2 * self._settings.hold and now - run.shown > PART_SECONDS * self._settings.time_scale:
            run.shown = now
            part = {"page": run.page, "text": run.text[run.position :]}
            self._store.set(f"{run.key}:part", part, self._settings.keep_seconds)

    def end_of_text(self, run: Run) -> bool:
        """Write the last page of a growing text.

        Returns:
            Whether it comes after WeChat's last try.
        """
        if not run.text.strip() or run.req.answerable == "no":
            return self.finish(run, EmptyRspMsg())
        return self._write_last(run, lambda: self._cut(run, last=True), told=True)

    def partial(self, run: Run | None, key: str, req: ReqMsg, number: int) -> Page | None:
        """Cut an unfinished page where it is, for a last try.

        Args:
            run: The run, if it is in this process.
            key: The push's.
            req: Whom to answer.
            number: The page.

        Returns:
            The page, None when there is nothing to show yet.
        """
        if run is None:
            part = self._store.get(f"{key}:part") or {}
            page = self._part(key, req, number, part["text"]) if part.get("page") == number else None
            return page and self.keep(key, number, page)
        with run.lock:
            if run.page == number and (page := self._part(key, req, number, run.text[run.position :])):
                self._put(run, page)
            return run.pages.get(number)

    def keep(self, key: str, number: int, page: Page, *, late: bool = True) -> Page:
        """Write a page into the store unless it stands there; return the one that stands.

        Args:
            key: The push's.
            number: The page's.
            page: What to write.
            late: Whether users may come for it by a link; else it need outlive only WeChat's tries.
        """
        ttl = self._settings.keep_answers if late or page.more or number > 1 else self._settings.keep_seconds
        if self._store.add(
            page_key(key, number), tuple(page), ttl
        ):  # which Python's garbage collector need not look at
            return page
        return as_page(self._store.get(page_key(key, number))) or page

    def _cut(self, run: Run, *, last: bool) -> None:
        if run.req.answerable == "no":
            return
        with run.lock:  # a last try may cut the same page meanwhile
            while len(rest := run.text[run.position :]) * 4 > MAX_TEXT and len(rest.encode()) > MAX_TEXT:
                link = self._next_link(run.key, run.req, run.page)
                chars = cut(rest, PAGE_BYTES - len(link.encode()))
                self._put(run, Page(self._render(TextRspMsg(rest[:chars].rstrip() + link), run.req), chars, more=True))
            if last:
                while self._put_last(run, run.text[run.position :]).more:  # somebody has cut this page meanwhile
                    pass

    def _put_last(self, run: Run, rest: str) -> Page:
        text = rest if rest.strip() else self._settings.end_text
        if run.page == 1 and not run.late:
            text = self._with_offer(run.req, text)
        return self._put(run, Page(self._render(TextRspMsg(text), run.req), len(rest)))

    def _with_offer(self, req: ReqMsg, text: str) -> str:
        """Mention, once and if it fits, an earlier answer that was not fetched."""
        number = self._links.take_offer(req)
        if number is None:
            return text
        longer = f"{text}\n\n{self._settings.ready_text}{self._links.write(number, 1, self._settings.fetch_label)}"
        if len(longer.encode()) <= MAX_TEXT:
            return longer
        self._links.offer(req, number)
        return text

    def _next_link(self, key: str, req: ReqMsg, page: int) -> str:
        return "\n\n" + self._links.write(self._links.number_of(key, req), page + 1, self._settings.next_label)

    def _part(self, key: str, req: ReqMsg, number: int, text: str) -> Page | None:
        if not text.strip():
            return None
        link = self._next_link(key, req, number)
        chars = settled(text[: cut(text, PAGE_BYTES - len(link.encode()))])
        shown = text[:chars]
        return Page(self._render(TextRspMsg(shown.rstrip() + link), req), chars, more=True) if shown.strip() else None

    def _put(self, run: Run, page: Page) -> Page:
        """Write the unfinished page and begin the next one; return the one that stands."""
        with run.lock:
            kept = self.keep(run.key, run.page, page, late=run.late)
            run.put(kept)
        return kept

    def _write_last(self, run: Run, write: Callable[[], Any], *, told: bool) -> bool:
        """Write the last page, and offer it to the user if it missed its last passive chance; tell whether it did."""
        # Looked at before, so that whoever waits behind the link does not get offered what they have just seen; and after,
        # since a last try that gives up writes first and then looks for a page, so that one of us sees the other.
        self._see_to_late(run, told=told)
        write()
        self._see_to_late(run, told=told)
        return run.late

    def _see_to_late(self, run: Run, *, told: bool) -> None:
        took = time.monotonic() - run.arrived
        if run.late or not told or took < self._settings.held_after * 0.9:
            return
        # Either something else went out instead, or WeChat has given up without coming for its last try.
        number = self._store.get(f"{run.key}:late")
        if number is None and run.page == 1 and took > self._settings.tries * self._settings.hang_up:
            number = self._links.number_of(run.key, run.req)
        if number is not None:
            run.late = True
            log.warning("an answer is late: it took %.1f s", took)
            if run.req.answerable == "yes":
                self._links.offer(run.req, int(number))

    def _render(self, rsp: RspMsg, req: ReqMsg) -> str:
        return render(rsp, req, now=int(self._clock()))
