"""What stands in a page: the handler's text or reply, our own texts, and the links.

Text or a reply in, pages out; the numbers in the links come from the ledger. Knows nothing of runs, tries or waiting.
"""

from ..clock import Clock
from ..config import Settings
from ..req_msg import ReqMsg
from ..rsp_msg import EmptyRspMsg, RspMsg, TextRspMsg, render
from ..wire.xmlio import legal
from .ledger import Ledger, Page
from .links import Links, Tap
from .pages import LINK_CHARS, cut, settled
from .push import user_key

MAX_TEXT = 2047  # bytes of a text reply that WeChat delivers
PAGE_BYTES = 2000  # of a page, its link included
WINDOW = PAGE_BYTES + LINK_CHARS  # characters that a cut looks at, so that long texts cost no more a page


def is_silent(req: ReqMsg) -> bool:
    """Whether WeChat wants an acknowledgement and nothing else."""
    return req.answerable == "no" or not req.openid


def _fits(text: str) -> bool:
    """Whether a text needs no second page."""
    return len(text.encode()) <= MAX_TEXT


class Texts:
    """Writes the packets of one account.

    Args:
        settings: Our own texts and labels.
        ledger: Numbers for links.
        links: How links look.
        clock: For CreateTime.
    """

    def __init__(self, settings: Settings, ledger: Ledger, links: Links, clock: Clock) -> None:
        self._settings = settings
        self._ledger = ledger
        self._links = links
        self._clock = clock

    def render(self, rsp: RspMsg, req: ReqMsg) -> str:
        """Write the plain packet that answers *req*."""
        return render(rsp, req, now=int(self._clock.wall()))

    def own(self, req: ReqMsg, text: str | None) -> RspMsg:
        """Return a text of our own as a reply; it goes only to where there is somebody to read it."""
        return TextRspMsg(text) if text and req.answerable == "yes" else EmptyRspMsg()

    def say(self, req: ReqMsg, text: str | None) -> str:
        """Write the packet of a text of our own."""
        return self.render(TextRspMsg(text), req) if text is not None else ""

    def slow(self, req: ReqMsg, push: str, number: int, page: int) -> str:
        """Write the slow text, with the link behind which the answer to *push* will be."""
        return self._slow(req, self._links.write(push, number, page, self._settings.fetch_label))

    def slow_again(self, req: ReqMsg, tap: Tap) -> str:
        """Write the slow text with the link that was tapped: nobody can tell yet where it leads."""
        return self._slow(req, self._links.write_again(tap, self._settings.fetch_label))

    def _slow(self, req: ReqMsg, link: str) -> str:
        return self.say(req, (self._settings.slow_text or "") + (link if self._settings.slow_link else ""))

    def only_page(self, rsp: RspMsg, req: ReqMsg, *, mention: bool) -> Page | None:
        """Write a reply that is the whole answer; None when its text needs several pages.

        Args:
            rsp: What was replied.
            req: Whom it answers.
            mention: Whether it may mention another answer that waits for the user.
        """
        if is_silent(req):
            return Page("")
        text = legal(rsp.content) if isinstance(rsp, TextRspMsg) else ""
        if not text.strip():
            return Page(self.render(rsp, req))
        return self.last_page(req, text, mention=mention) if _fits(text) else None

    def full_page(self, push: str, req: ReqMsg, number: int, rest: str) -> Page | None:
        """Cut a page off a text that is too long for one, with a link to the next.

        Args:
            push: Whose answer it is.
            req: Whom it answers.
            number: The page's.
            rest: What is not in an earlier page; of a long text, `WINDOW` characters will do.

        Returns:
            The page, None when *rest* fits into one.
        """
        if _fits(rest):
            return None
        link = self._next_link(push, req, number)
        chars = cut(rest, PAGE_BYTES - len(link.encode()))
        return self._page(req, rest[:chars], link, chars)

    def page_so_far(self, push: str, req: ReqMsg, number: int, rest: str) -> Page | None:
        """Cut a page where a growing text can be shown, with a link to the next; None when there is nothing to show yet."""
        if not rest.strip():
            return None
        link = self._next_link(push, req, number)
        chars = settled(rest[: cut(rest, PAGE_BYTES - len(link.encode()))])
        return self._page(req, rest[:chars], link, chars) if rest[:chars].strip() else None

    def page_before_reply(self, push: str, req: ReqMsg, number: int, rest: str) -> Page:
        """Write the last page of a text behind which a reply comes that is no text."""
        return self._page(req, rest, self._next_link(push, req, number), len(rest))

    def last_page(self, req: ReqMsg, rest: str, *, mention: bool) -> Page:
        """Write the last page of a text.

        Args:
            req: Whom it answers.
            rest: What is not in an earlier page.
            mention: Whether it may mention another answer that waits for the user.
        """
        text = rest if rest.strip() else self._settings.end_text
        return Page(self.render(TextRspMsg(self._with_offer(req, text) if mention else text), req), len(rest))

    def _page(self, req: ReqMsg, shown: str, link: str, chars: int) -> Page:
        return Page(self.render(TextRspMsg(shown.rstrip() + link), req), chars, more=True)

    def _with_offer(self, req: ReqMsg, text: str) -> str:
        """Mention, once and if it fits, an earlier answer that was not fetched."""
        if not self._ledger.has_offers():
            return text
        user = user_key(req)
        number = self._ledger.offered(user)
        push = None if number is None else self._ledger.find(user, number)
        if number is None or push is None:
            return text
        link = self._links.write(push, number, 1, self._settings.fetch_label)
        longer = f"{text}\n\n{self._settings.ready_text}{link}"
        fits = len(longer.encode()) <= MAX_TEXT
        return longer if fits and self._ledger.take_offer(user, number) else text

    def _next_link(self, push: str, req: ReqMsg, page: int) -> str:
        number = self._ledger.number_of(push, user_key(req))
        return "\n\n" + self._links.write(push, number, page + 1, self._settings.next_label)
