"""One run per push, whoever asks, and an answer that comes late still arrives.

A message in, the plain packet of its reply out, or the advice to hang up. WeChat waits 5 seconds and pushes three times:
a copy joins the run in progress, whichever process it is in, or gets the reply that was kept. What is not ready by the
last try goes behind a link. Knows nothing of HTTP, signatures or ciphers.
"""

import hashlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from .answers import Answers, Page, Run, as_page, page_key
from .config import Settings
from .forking import ForkAware
from .links import Links, Tap
from .req_msg import EventReqMsg, ReqMsg, text
from .rsp_msg import TextRspMsg, render
from .runs import Runs, run_key
from .store import Store
from .watcher import LOST, Watcher

log = logging.getLogger("wx_mp_svr")

MAX_RUNS = 4  # one for each push of WeChat's, and one more
PUSH_SECONDS = 5  # from one try to the next
AGE_LIMIT = 30  # seconds; older is a clock, not a retry
CALM_SECONDS = 600.0
BREAKER_SECONDS = 300.0

How = Literal["reply", "ack", "kept", "hang up", "slow", "part", "fetched", "expired"]


class Outcome(NamedTuple):
    """What comes of one try.

    Attributes:
        xml: The plain reply; "" acknowledges, None says to hang up, so that WeChat tries again.
        how: For the log.
        tries: Which of WeChat's tries this was, as far as we know.
    """

    xml: str | None
    how: How
    tries: int = 1


def push_key(req: ReqMsg, xml: bytes) -> str:
    """Return what is the same for all copies of a push, and for no other.

    MsgId alone will not do (users share ids), nor do sender and second (two events fit into one): WeChat's own rules are
    too weak. Hashed, since the parts are a stranger's text of any length.

    Args:
        req: The message.
        xml: Its plain packet, the only identity of a message without MsgId.
    """
    created = text(req.raw.get("CreateTime"))
    if isinstance(req, EventReqMsg) and req.msg_type:
        parts = [created, req.event.lower(), req.event_key, *_ids(req.raw)]
    elif req.msg_id:
        parts = [created, req.msg_id]
    else:
        parts = [hashlib.sha256(xml).hexdigest()]
    identity = repr([req.to_user_name, req.from_user_name, *parts]).encode()
    # The time goes first: it keeps what is written together together, in a store that is sorted by key.
    return f"p:{req.create_time or 0}:{hashlib.blake2b(identity, digest_size=16).hexdigest()}"


def _ids(fields: Mapping[str, Any]) -> Iterator[str]:
    """Find whatever id an event carries (MsgID, publish_id, UserCardCode, trace_id, ...), on all levels."""
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):  # an abstract class is slow to ask
                yield from _ids(item)
            elif isinstance(item, str) and name.lower().endswith(("id", "code")):
                yield f"{name}={item}"


class _Try(NamedTuple):
    """One try of WeChat's, waiting for one page.

    Attributes:
        req: What the user sent.
        push: The key of this push.
        key: The key of the push whose answer is asked for: the same, or behind a link an earlier one.
        page: Which page of it.
        number: Which of WeChat's tries this is.
        arrived: When it came, monotonic.
        threaded: Whether other threads serve the requests that come while this one waits.
        run: The run that this try has started.
    """

    req: ReqMsg
    push: str
    key: str
    page: int
    number: int
    arrived: float
    threaded: bool
    run: Run | None = None


class Background(ForkAware):
    """Answers pushes.

    Args:
        settings: Times, limits and texts, scaled.
        store: Where pushes are remembered.
        links: The numbers of late answers.
        answers: Where pages are written.
        runs: Where handlers run.
        clock: The system's clock, Unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        links: Links,
        answers: Answers,
        runs: Runs,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._links = links
        self._answers = answers
        self._runs = runs
        self._clock = clock
        self._watcher = Watcher(store, 0.1 * max(0.2, settings.time_scale), settings.beat)
        self._ages = Ages(enabled=settings.time_scale == 1)
        self._breaker = Breaker(settings.breaker)
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._held = 0
        self._tell_full_after = float("-inf")

    def answer(self, req: ReqMsg, xml: bytes, *, timestamp: int, threaded: bool = True) -> Outcome:
        """Answer one try of a push.

        Args:
            req: The message.
            xml: Its plain packet.
            timestamp: That of WeChat's request: the same for all tries.
            threaded: Whether other threads serve the requests that come meanwhile.
        """
        arrived = time.monotonic()
        push = push_key(req, xml)
        by_age = self._ages.tries(self._clock() - timestamp, arrived)
        tap = self._links.read(req)
        if tap is not None:
            return self._fetch(req, tap, push, by_age, arrived, threaded)
        # A run that is here is joined even if its claim is forgotten: stores fall out, and the one in memory has a bound.
        claim = (run_key(push, 1), self._runs.heartbeat.process, self._settings.keep_seconds)
        if push not in self._runs.here and self._store.add(*claim):
            run = self._runs.start(push, req, 1, arrived, threaded=threaded)
            if run is not None and (page := run.pages.get(1)):
                return Outcome(page.xml, "reply" if page.xml else "ack", by_age)
            return self._wait(_Try(req, push, push, 1, by_age, arrived, threaded, run))
        kept = as_page(self._store.get(page_key(push, 1)))
        if kept is not None:
            log.debug("duplicate of an answered push")
            return Outcome(kept.xml, "kept", by_age)
        number = max(by_age, 1 + self._count(push))
        log.debug("duplicate n=%d", number)
        return self._wait(_Try(req, push, push, 1, number, arrived, threaded))

    def _fetch(self, req: ReqMsg, tap: Tap, push: str, by_age: int, arrived: float, threaded: bool) -> Outcome:
        """Answer a tap on a link: with the page behind it, for which it waits through its own three tries."""
        key = self._links.find(req, tap)
        before = as_page(self._store.get(page_key(key, tap.page - 1))) if key and tap.page > 1 else None
        if key is None or (tap.page > 1 and not (before and before.more)):
            return Outcome(self._say(req, self._settings.expired_text), "expired", by_age)
        page = as_page(self._store.get(page_key(key, tap.page)))
        if page is not None:
            outcome = Outcome(page.xml, "fetched", by_age)
        else:
            outcome = self._wait(_Try(req, push, key, tap.page, max(by_age, self._count(push)), arrived, threaded))
        if outcome.how in ("fetched", "reply", "part") and tap.page == 1:
            self._links.fetched(req, tap.number)
        return outcome

    def _count(self, push: str) -> int:
        return self._store.incr(f"{push}:tries", self._settings.keep_seconds)

    # -- one try -----------------------------------------------------------------------------------------------------

    def _wait(self, this: _Try) -> Outcome:
        """Wait as long as this try may; the rules of section "slow replies" in one place."""
        settings = self._settings
        page = self._page(this, this.arrived + settings.held_after)
        if page is not None:
            return Outcome(page.xml, "reply" if page.xml else "ack", this.number)
        if not self._hold():
            return self._meanwhile(this)
        try:
            page = self._page(this, this.arrived + settings.hold)
            if page is not None:
                return Outcome(page.xml, "reply" if page.xml else "ack", this.number)
            silent, last = this.req.answerable == "no", this.number >= settings.tries
            if silent or last or not this.threaded or not self._breaker.admits(time.monotonic()):
                return self._meanwhile(this)
            # WeChat has to hang up by itself first: an early error would cost the user a try. What gets ready from now on
            # goes out with the next one.
            time.sleep(max(0.0, this.arrived + settings.hang_up - time.monotonic()))
            return Outcome(None, "hang up", this.number)
        finally:
            self._release()

    def _meanwhile(self, this: _Try) -> Outcome:
        """Say what there is to say in place of an answer that is not ready, and where it will be found."""
        settings = self._settings
        if this.req.answerable == "no":
            return Outcome("", "ack", this.number)
        told = this.req.answerable == "yes" and settings.slow_text is not None
        if this.req.answerable == "yes":
            page = self._answers.partial(self._runs.here.get(this.key), this.key, this.req, this.page)
            if page is not None:
                return Outcome(page.xml, "part", this.number)
        number = self._links.number_of(this.key, this.req)
        if this.page == 1:
            self._store.set(f"{this.key}:late", number, settings.keep_answers)
            latest, process = self._claim(this.key)
            if process:  # whose it is must be known for as long as somebody may come for it
                self._store.set(run_key(this.key, latest), process, settings.keep_answers)
        # The run writes its page and then looks whether it is late; we do it the other way round. One of us sees the other.
        page = as_page(self._store.get(page_key(this.key, this.page)))
        if page is not None:
            return Outcome(page.xml, "reply", this.number)
        if not told:
            return Outcome("", "ack", this.number)
        link = self._links.write(number, this.page, settings.fetch_label)
        return Outcome(self._say(this.req, settings.slow_text, link), "slow", this.number)

    def _say(self, req: ReqMsg, text: str | None, link: str = "") -> str:
        return render(TextRspMsg(text + link), req, now=int(self._clock())) if text is not None else ""

    def _hold(self) -> bool:
        """Count this try among the held ones; false when there are too many."""
        with self._lock:
            if self._held < self._settings.max_held:
                self._held += 1
                return True
        if time.monotonic() > self._tell_full_after:
            self._tell_full_after = time.monotonic() + 60
            log.warning(
                "max_held=%d tries are waiting; further slow ones get the slow text at once", self._settings.max_held
            )
        return False

    def _release(self) -> None:
        with self._lock:
            self._held -= 1

    # -- the page that a try waits for -------------------------------------------------------------------------------

    def _page(self, this: _Try, until: float) -> Page | None:
        """Wait for the page, wherever its run is; None when the time (monotonic) is over first."""
        while True:
            run = this.run or self._runs.here.get(this.key)
            if run is not None and ((page := run.wait(this.page, until)) is not None or not run.over):
                return page
            page = as_page(self._store.get(page_key(this.key, this.page)))
            left = until - time.monotonic()
            if page is not None or left <= 0:
                return page
            number, process = self._claim(this.key)
            record = self._watcher.wait(page_key(this.key, this.page), process, left)
            if record is not LOST:
                return as_page(record)
            if (page := self._take_over(this, number)) is not None:
                return page

    def _claim(self, key: str) -> tuple[int, str]:
        """Return the number of the latest run and the process that has claimed it."""
        claims = self._store.get_many([run_key(key, number) for number in range(1, MAX_RUNS + 1)])
        return max(
            ((n, claims[run_key(key, n)]) for n in range(1, MAX_RUNS + 1) if run_key(key, n) in claims), default=(0, "")
        )

    def _take_over(self, this: _Try, number: int) -> Page | None:
        """Run the handler again after its process was lost; a page when that cannot be."""
        settings = self._settings
        if this.push != this.key or not settings.rerun_lost or number >= MAX_RUNS:
            # Behind a link the user's message is no longer known.
            told = this.req.answerable == "yes"
            return self._answers.keep(
                this.key, this.page, Page(self._say(this.req, settings.lost_text if told else None))
            )
        if self._store.add(run_key(this.key, number + 1), self._runs.heartbeat.process, settings.keep_seconds):
            log.warning("took over a push from a process that is gone (run %d)", number + 1)
            self._runs.start(this.key, this.req, number + 1, this.arrived)
        return None

    def stats(self) -> dict[str, int]:
        """Return how many tries are held, and how far the breaker is."""
        return {"held": self._held, **self._breaker.stats(time.monotonic())}


class Ages:
    """Tells from its age which try a request is, for when the count was lost.

    A server clock that is off must not make every try the last: ages count from the smallest one of the last minutes.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled  # timestamps are whole seconds: they say nothing when a second is not a second
        self._bucket = 0
        self._smallest = [math.inf, math.inf]  # of the last five minutes and of those before

    def tries(self, age: float, now: float) -> int:
        """Return the number of the try that arrives *age* seconds after its timestamp.

        Args:
            age: Our clock minus the request's timestamp.
            now: Monotonic seconds.
        """
        if not self._enabled:
            return 1
        bucket = int(now) // int(CALM_SECONDS / 2)
        if bucket != self._bucket:
            self._smallest = [math.inf, self._smallest[0] if bucket == self._bucket + 1 else math.inf]
            self._bucket = bucket
        self._smallest[0] = min(self._smallest[0], age)
        age -= min(self._smallest)
        return 1 + int(age // PUSH_SECONDS) if age < AGE_LIMIT else 1


class Breaker:
    """Limits how many tries may run past WeChat's 5 seconds: after too many failures it stops pushing for a minute.

    Counted is what fails for WeChat, a try that is not answered, and not every try that has waited.

    Args:
        limit: Of 5 minutes; 0 for none. Once reached, it takes half of them to pass until tries are admitted again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._failures: deque[float] = deque()
        self._open = False

    def admits(self, now: float) -> bool:
        """Count one more try that will fail; false when it must be answered instead."""
        with self._lock:
            self._look(now)
            if not self._open:
                self._failures.append(now)
            return not self._open

    def stats(self, now: float) -> dict[str, int]:
        """Return the count and whether the breaker is open."""
        with self._lock:
            self._look(now)
            return {"hung_up": len(self._failures), "breaker_open": int(self._open)}

    def _look(self, now: float) -> None:
        while self._failures and self._failures[0] < now - BREAKER_SECONDS:
            self._failures.popleft()
        if not self._limit:
            return
        if self._open:
            self._open = len(self._failures) * 2 >= self._limit
        elif len(self._failures) >= self._limit:
            self._open = True
            log.warning("the breaker is open: %d tries in 5 minutes had no answer in time", len(self._failures))
