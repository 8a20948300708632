"""The links behind which late answers and further pages wait, and the taps on them.

A tap comes back as a text message, by its id or else by its words (test accounts leave out the id). Text in, text out;
knows nothing of stores or tries.
"""

import re
from typing import NamedTuple
from urllib.parse import quote

from ..req_msg import ReqMsg, TextReqMsg

_ID = re.compile(r"wxmp-([0-9]{1,9})-([1-9][0-9]{0,3})(?:-([0-9a-f]{6}))?")
# Bare Chinese works in a link; these would end the attribute or the parameter.
_SPECIAL = re.compile("[\"'<>&#%+ ]")


class Tap(NamedTuple):
    """Which answer a user asks for.

    Attributes:
        number: The user's number for it.
        page: Which page of it.
        mark: A few digits of the push's key, so that a number that is given anew after a loss leads nowhere; "" when only
            the words came.
    """

    number: int
    page: int
    mark: str = ""

    def fits(self, push: str) -> bool:
        """Whether it may lead to the answer of this push."""
        return self.mark in ("", mark_of(push))


def mark_of(push: str) -> str:
    """Return the digits of a push's key that its links carry."""
    return push[-6:]


class Links:
    """Writes links and recognises taps.

    Args:
        fetch_words: What a tap sends, in front of its number.
    """

    def __init__(self, fetch_words: str) -> None:
        self._fetch_words = fetch_words
        words = re.escape(fetch_words)
        self._words = re.compile(rf"\s*{words}\s*([0-9]{{1,9}})(?:-([1-9][0-9]{{0,3}}))?\s*", re.ASCII)

    def read(self, req: ReqMsg) -> Tap | None:
        """Recognise a tap. As forgeable as any text: it may lead only to what the same user has asked."""
        if not isinstance(req, TextReqMsg):
            return None
        if req.bizmsgmenuid:
            found = _ID.fullmatch(req.bizmsgmenuid)
            return Tap(int(found[1]), int(found[2]), found[3] or "") if found else None
        found = self._words.fullmatch(req.content) if self._fetch_words in req.content else None
        return Tap(int(found[1]), int(found[2] or 1)) if found else None

    def is_tap(self, words: str) -> bool:
        """Whether a text would be taken for a tap."""
        return bool(self._words.fullmatch(words))

    def write(self, push: str, number: int, page: int, label: str) -> str:
        """Write a link to a page of the answer to *push*, which has that number."""
        return self.write_again(Tap(number, page, mark_of(push)), label)

    def write_again(self, tap: Tap, label: str) -> str:
        """Write the link that was tapped."""
        number, page, mark = tap
        which = f"{number}" if page == 1 else f"{number}-{page}"
        words = _SPECIAL.sub(lambda found: quote(found[0]), self._fetch_words + which)
        menu_id = f"wxmp-{number}-{page}-{mark}" if mark else f"wxmp-{number}-{page}"
        return f'<a href="weixin://bizmsgmenu?msgmenucontent={words}&msgmenuid={menu_id}">{label}</a>'
