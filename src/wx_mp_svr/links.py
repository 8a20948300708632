"""The links behind which late answers and further pages wait, and the numbers in them.

A tap on such a link comes back as a text message; it may lead only to what the same user of the same account has asked.
Knows nothing of handlers, waiting or HTTP.
"""

import hashlib
import re
import time
from typing import NamedTuple
from urllib.parse import quote

from .config import Settings
from .req_msg import ReqMsg, TextReqMsg
from .store import Store

OFFERS = "offers"  # stands in the store when some answer has not been fetched

_ID = re.compile(r"wxmp-([0-9]{1,9})(?:-([1-9][0-9]{0,3}))?", re.ASCII)
# Bare Chinese works in a link; these would end the attribute or the parameter.
_SPECIAL = re.compile("[\"'<>&#%+ ]")


class Tap(NamedTuple):
    """Which answer a user asks for."""

    number: int
    page: int


class Links:
    """Numbers answers per user, from 1, and finds them again.

    Args:
        store: Where the numbers are kept.
        settings: The words of a tap, and how long answers are kept.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._offered = False  # whether any user of any account may have an offer
        self._look_at = 0.0  # when to look again, monotonic
        words = re.escape(settings.fetch_words)
        self._words = re.compile(rf"\s*{words}\s*([0-9]{{1,9}})(?:-([1-9][0-9]{{0,3}}))?\s*", re.ASCII)

    def number_of(self, key: str, req: ReqMsg) -> int:
        """Return the number of the answer to the push *key*: one and the same, whoever asks first."""
        kept = self._store.get(f"{key}:number")
        if kept is not None:
            return int(kept)
        user, ttl = _user(req), self._settings.keep_answers
        number = self._store.incr(f"{user}:numbers", ttl)
        while not self._store.add(f"{user}:number:{number}", key, ttl):  # the count is over sooner than its last number
            number = self._store.incr(f"{user}:numbers", ttl)
        if self._store.add(f"{key}:number", number, ttl):
            return number
        return int(self._store.get(f"{key}:number") or number)

    def read(self, req: ReqMsg) -> Tap | None:
        """Recognise a tap, by its id or else by its words (test accounts leave out the id)."""
        if not isinstance(req, TextReqMsg):
            return None
        found = _ID.fullmatch(req.bizmsgmenuid) if req.bizmsgmenuid else self._words.fullmatch(req.content)
        return Tap(int(found[1]), int(found[2] or 1)) if found else None

    def find(self, req: ReqMsg, tap: Tap) -> str | None:
        """Return the key of the push that a tap asks for, None when it is not this user's or was too long ago."""
        key = self._store.get(f"{_user(req)}:number:{tap.number}")
        return None if key is None else str(key)

    def write(self, number: int, page: int, label: str) -> str:
        """Write a link."""
        which = f"{number}" if page == 1 else f"{number}-{page}"
        words = _SPECIAL.sub(lambda found: quote(found[0]), self._settings.fetch_words + which)
        return f'<a href="weixin://bizmsgmenu?msgmenucontent={words}&msgmenuid=wxmp-{which}">{label}</a>'

    # -- answers that nobody has fetched yet ------------------------------------------------------------------------

    def offer(self, req: ReqMsg, number: int) -> None:
        """Remember that an answer is ready which the user has not seen."""
        self._store.set(f"{_user(req)}:ready", number, self._settings.keep_answers)
        self._store.set(OFFERS, 1, self._settings.keep_answers)
        self._offered = True

    def fetched(self, req: ReqMsg, number: int) -> None:
        """Forget it: the user has seen it."""
        if self._store.get(f"{_user(req)}:ready") == number:
            self._store.delete(f"{_user(req)}:ready")

    def take_offer(self, req: ReqMsg) -> int | None:
        """Return the number of an answer that waits for this user, and mention it only this once."""
        now = time.monotonic()
        if now >= self._look_at:  # once a second for all users: an offer is rare, and each reply would ask for one
            self._look_at = now + self._settings.beat
            self._offered = self._store.get(OFFERS) is not None
        number = self._store.get(f"{_user(req)}:ready") if self._offered else None
        if number is None:
            return None
        self._store.delete(f"{_user(req)}:ready")
        return int(number)


def _user(req: ReqMsg) -> str:
    identity = repr([req.to_user_name, req.from_user_name]).encode()
    return "u:" + hashlib.blake2b(identity, digest_size=16).hexdigest()
