"""What comes of one try of WeChat's: a push for the first time, a copy of it, or a tap on a link.

A message in, the plain packet of its reply out, or the advice to hang up. Copies of a push join its run, whichever process
it is in, or get the reply that was kept. Knows nothing of HTTP, signatures or ciphers.
"""

import logging
from typing import NamedTuple

from ..clock import Clock
from ..config import Settings
from ..req_msg import ReqMsg
from ..store import Store
from .house import Breaker, House
from .ledger import Ledger, Page
from .links import Links, Tap
from .push import push_key, user_key
from .rules import Patience, Times
from .runs import Runs
from .texts import Texts
from .tries import Outcome, Tries, Try
from .which_try import Age, WhichTry

log = logging.getLogger("wx_mp_svr")

BLIND_SECONDS = 0.3  # between two looks for what a store that is down may hold


class _Behind(NamedTuple):
    """What is behind a link.

    Attributes:
        asked: The key of the push whose answer it is.
        page: The page, if it is there already.
        ended: Whether the answer has ended before that page.
    """

    asked: str
    page: Page | None
    ended: bool = False


class Arrivals:
    """Answers the tries of one account.

    Args:
        settings: Limits and texts.
        store: For waiting until another process has written.
        ledger: What is known of pushes.
        texts: What is said in place of an answer.
        links: Recognises taps.
        runs: Where handlers run.
        times: Of one try.
        clock: For everything that waits.
        fresh: Whether this process begins now; else it has been there for ever, as in a test.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        texts: Texts,
        links: Links,
        runs: Runs,
        *,
        times: Times,
        clock: Clock,
        fresh: bool,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._texts = texts
        self._links = links
        self._runs = runs
        self._hold = times.hold
        self._clock = clock
        self._house = House(settings.max_held)
        self._breaker = Breaker(settings.breaker)
        self._which_try = WhichTry(ledger, times, clock, fresh=fresh)
        self._tries = Tries(
            settings, store, ledger, texts, runs, self._house, self._breaker, self._which_try, times=times, clock=clock
        )

    def answer(self, req: ReqMsg, xml: bytes, *, timestamp: int, threaded: bool = True) -> Outcome:
        """Answer one try of a push.

        Args:
            req: The message.
            xml: Its plain packet.
            timestamp: That of WeChat's request: the same for all tries.
            threaded: Whether other threads serve the requests that come meanwhile.
        """
        arrived = self._clock.now()
        outcome = self._outcome(req, xml, timestamp, arrived, threaded)
        if log.isEnabledFor(logging.DEBUG):
            kind, took = type(req).__name__, (self._clock.now() - arrived) * 1000
            log.debug("push kind=%s outcome=%s try=%d ms=%.0f", kind, outcome.how, outcome.number, took)
        return outcome

    def _outcome(self, req: ReqMsg, xml: bytes, timestamp: int, arrived: float, threaded: bool) -> Outcome:
        age = self._which_try.judge(timestamp)
        self._breaker.pushed(arrived)
        self._house.arrived_late(age.backlog, arrived)
        push = push_key(req, xml)
        tap = self._links.read(req)
        if tap is not None:
            return self._fetch(req, tap, push, age, arrived, timestamp, threaded)
        # A run that is here is joined even if its claim is forgotten: stores fall out, and the one in memory has a bound.
        if push not in self._runs.here and self._runs.claim(push, 1):
            age = self._which_try.first(push, age, timestamp)
            # In this thread only what WeChat asks for again if it should be slow for once.
            answer = self._runs.start(push, req, 1, arrived, here=threaded and age.number == 1)
            page = answer and answer.page(1)
            if page:
                return Outcome(page.xml, "reply" if page.xml else "ack", age.number)
            return self._tries.go(Try(req, push, 1, age, arrived, threaded, answer))
        kept = self._ledger.page(push, 1)
        if kept is not None:
            log.debug("duplicate of an answered push")
            return Outcome(kept.xml, "kept", age.number)
        age = self._which_try.again(push, age, timestamp, before=1)
        log.debug("duplicate n=%d", age.number)
        return self._tries.go(Try(req, push, 1, age, arrived, threaded))

    def _fetch(
        self, req: ReqMsg, tap: Tap, push: str, age: Age, arrived: float, timestamp: int, threaded: bool
    ) -> Outcome:
        """Answer a tap on a link: with the page behind it, for which it waits through its own three tries."""
        user = user_key(req)
        found = self._find(user, tap)
        if found is None and self._ledger.may_come(tap.number):
            found = self._find_in_time(user, tap, arrived)
            if found is None and self._ledger.may_come(tap.number):
                return Outcome(self._texts.slow_again(req, tap), "slow", age.number)
        if found is None:
            return Outcome(self._texts.say(req, self._settings.expired_text), "expired", age.number)
        if found.page is not None:
            outcome = Outcome(found.page.xml, "fetched", age.number)
        elif found.ended:  # another machine has cut it otherwise, and came to its end
            outcome = Outcome(self._texts.say(req, self._settings.end_text), "fetched", age.number)
        else:
            age = self._which_try.again(push, age, timestamp, before=0)
            outcome = self._tries.go(Try(req, found.asked, tap.page, age, arrived, threaded, promised=tap.number))
        if outcome.how in ("fetched", "reply", "part") and tap.page == 1:
            self._ledger.take(user, tap.number)
        return outcome

    def _find(self, user: str, tap: Tap) -> _Behind | None:
        """Return what is behind a link; None when there is no such page, as far as can be told."""
        asked = self._ledger.find(user, tap.number)
        if asked is None or not tap.fits(asked):
            return None
        page = self._ledger.page(asked, tap.page)
        if page is not None or tap.page == 1:
            return _Behind(asked, page)
        before = self._ledger.page(asked, tap.page - 1)
        return None if before is None else _Behind(asked, None, ended=not before.more)

    def _find_in_time(self, user: str, tap: Tap, arrived: float) -> _Behind | None:
        """Look again while the store is down: what cannot be found now has not expired."""
        found, place = None, self._house.enter(self._clock.now())
        try:
            if place is Patience.FULL:
                while found is None and self._ledger.may_come(tap.number) and self._clock.now() < arrived + self._hold:
                    self._clock.sleep(BLIND_SECONDS)
                    found = self._find(user, tap)
        finally:
            self._house.leave(place)
        return found or self._find(user, tap)  # it may have come back meanwhile

    def turned(self) -> None:
        """Note that from here on what was counted before cannot be relied on: the store went down, or came back."""
        self._which_try.turned()

    def stats(self) -> dict[str, int]:
        """Return how many tries wait, how many were not kept, and how far the breaker is."""
        return {**self._house.stats(), **self._breaker.stats(self._clock.now())}
