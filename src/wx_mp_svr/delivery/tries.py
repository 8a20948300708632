"""One try of WeChat's after the other: look, ask the rules, do the step, and look again.

A message in, the plain packet of its reply out, or the advice to hang up. Copies of a push join its run, whichever process
it is in, or get the reply that was kept. Knows nothing of HTTP, signatures or ciphers.
"""

import logging
from typing import Literal, NamedTuple

from ..clock import Clock
from ..config import Settings
from ..forking import ForkAware
from ..messages import read_msg
from ..req_msg import ReqMsg
from ..store import Store
from .answer import Answer
from .house import Age, Ages, Breaker, House
from .ledger import MAX_RUNS, Claim, Ledger, Page, page_key
from .links import Links, Tap
from .push import push_key, user_key
from .rules import Act, PageState, Patience, Rules, RunState, Scene, Step, Times
from .runs import Runs
from .texts import Texts
from .watcher import Watcher

log = logging.getLogger("wx_mp_svr")

BLIND_SECONDS = 0.3  # between two looks for what a store that is down may hold
HOUSE_SECONDS = 1.0  # between two looks at what other processes know of the house
NORMAL_SECONDS = 10.0  # between two notes of the usual age of a first try

How = Literal["reply", "ack", "kept", "hang up", "slow", "part", "fetched", "expired"]


class Outcome(NamedTuple):
    """What comes of one try.

    Attributes:
        xml: The plain reply; "" acknowledges, None says to hang up, so that WeChat tries again.
        how: For the log.
        number: Which of WeChat's tries this was, as far as we know.
    """

    xml: str | None
    how: How
    number: int = 1


class _Try:
    """One try of WeChat's, waiting for one page.

    Attributes:
        req: What the user sent.
        push: The key of this push.
        asked: The key of the push whose answer is asked for: the same, or behind a link an earlier one.
        page: Which page of it.
        number: Which of WeChat's tries this is.
        arrived: When it came, by the clock.
        backlog: Seconds that it had waited before.
        threaded: Whether other threads serve the requests that come while this one waits.
        answer: The answer, if this try has begun it in this process.
        message: Of a tap, what it asks the answer to, if that has to be run again.
        promised: Of a tap, the number in its link.
        patience: How long it may be kept.
        place: What the house gave it, if it has been asked.
        admitted: Whether it may outlast WeChat's 5 seconds.
        uncuttable: Whether there is a part of the page, but no place in it where it could end.
    """

    __slots__ = (
        "admitted",
        "answer",
        "arrived",
        "asked",
        "backlog",
        "message",
        "number",
        "page",
        "patience",
        "place",
        "promised",
        "push",
        "req",
        "threaded",
        "uncuttable",
    )

    def __init__(
        self,
        req: ReqMsg,
        push: str,
        asked: str,
        page: int,
        age: Age,
        arrived: float,
        threaded: bool,
        answer: Answer | None = None,
        promised: int | None = None,
    ) -> None:
        self.req = req
        self.push = push
        self.asked = asked
        self.page = page
        self.number, self.backlog = age
        self.arrived = arrived
        self.promised = promised
        self.message: ReqMsg | None = req if push == asked else None
        self.threaded = threaded
        self.answer = answer
        self.patience = Patience.FULL if threaded else Patience.HOLD
        self.place: Patience | None = None
        self.admitted = False
        self.uncuttable = False


class _Found(NamedTuple):
    """What a look has found.

    Attributes:
        answer: The answer in this process, if it grows here.
        ready: The page, if it is there.
        grows: Whether there is a part of it.
        run: Who writes it.
        claim: In whose name.
    """

    answer: Answer | None
    ready: Page | None
    grows: bool
    run: RunState
    claim: Claim = Claim()


class Tries(ForkAware):
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
        fresh: bool = True,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._texts = texts
        self._links = links
        self._runs = runs
        self._times = times
        self._clock = clock
        self._rules = Rules(times)
        self._watcher = Watcher(store, runs.alive, clock)
        self._ages = Ages()
        self._breaker = Breaker(settings.breaker)
        self._fresh = fresh
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._house = House(self._settings.max_held)
        self._turned = self._clock.wall() if self._fresh else float("-inf")  # when a process last began or died
        self._told_turn = not self._fresh
        self._look_at = float("-inf")  # when to look what other processes know of the house
        self._tell_normal_at = float("-inf")

    def answer(self, req: ReqMsg, xml: bytes, *, timestamp: int, threaded: bool = True) -> Outcome:
        """Answer one try of a push.

        Args:
            req: The message.
            xml: Its plain packet.
            timestamp: That of WeChat's request: the same for all tries.
            threaded: Whether other threads serve the requests that come meanwhile.
        """
        arrived = self._clock.now()
        push = push_key(req, xml)
        age = self._after_turn(self._judge(timestamp, arrived), timestamp)
        tap = self._links.read(req)
        if tap is not None:
            return self._fetch(req, tap, push, age, arrived, threaded)
        # A run that is here is joined even if its claim is forgotten: stores fall out, and the one in memory has a bound.
        if push not in self._runs.here and self._claim(push, 1):
            self._learn(self._clock.wall() - timestamp, age.number, arrived)
            age = self._after_turn(age, timestamp)
            if age.number > 1:  # the tries before it were lost: count them, for the copies that may still come
                self._count(push, age.number, before=1)
            # In this thread only what WeChat asks for again if it should be slow for once.
            answer = self._runs.start(push, req, 1, arrived, here=threaded and age.number == 1)
            page = answer and answer.page(1)
            if page:
                return Outcome(page.xml, "reply" if page.xml else "ack", age.number)
            return self._go(_Try(req, push, push, 1, age, arrived, threaded, answer))
        kept = self._ledger.page(push, 1)
        if kept is not None:
            log.debug("duplicate of an answered push")
            return Outcome(kept.xml, "kept", age.number)
        age = self._after_turn(age._replace(number=self._count(push, age.number, before=1)), timestamp)
        log.debug("duplicate n=%d", age.number)
        return self._go(_Try(req, push, push, 1, age, arrived, threaded))

    def _fetch(self, req: ReqMsg, tap: Tap, push: str, age: Age, arrived: float, threaded: bool) -> Outcome:
        """Answer a tap on a link: with the page behind it, for which it waits through its own three tries."""
        user = user_key(req)
        asked = self._find(user, tap)
        if asked is None and self._ledger.may_come(tap.number):
            asked = self._find_in_time(user, tap, arrived)
            if asked is None and self._ledger.may_come(tap.number):
                return Outcome(self._texts.slow_again(req, tap), "slow", age.number)
        if asked is None:
            return Outcome(self._texts.say(req, self._settings.expired_text), "expired", age.number)
        page = self._ledger.page(asked, tap.page)
        if page is not None:
            outcome = Outcome(page.xml, "fetched", age.number)
        else:
            age = age._replace(number=self._count(push, age.number, before=0))
            outcome = self._go(_Try(req, push, asked, tap.page, age, arrived, threaded, promised=tap.number))
        if outcome.how in ("fetched", "reply", "part") and tap.page == 1:
            self._ledger.take(user, tap.number)
        return outcome

    def _find(self, user: str, tap: Tap) -> str | None:
        """Return the push to whose answer a tap leads; None when there is no such page, as far as can be told."""
        asked = self._ledger.find(user, tap.number)
        if asked is None or not tap.fits(asked):
            return None
        before = self._ledger.page(asked, tap.page - 1) if tap.page > 1 else None
        return asked if tap.page == 1 or (before and before.more) else None

    def _find_in_time(self, user: str, tap: Tap, arrived: float) -> str | None:
        """Look again while the store is down: what cannot be found now has not expired."""
        asked, place = None, self._house.enter(self._clock.now())
        try:
            if place is Patience.FULL:
                while (
                    asked is None
                    and self._ledger.may_come(tap.number)
                    and self._clock.now() < arrived + self._times.hold
                ):
                    self._clock.sleep(BLIND_SECONDS)
                    asked = self._find(user, tap)
        finally:
            self._house.leave(place)
        return asked or self._find(user, tap)  # it may have come back meanwhile

    # -- which try it is ---------------------------------------------------------------------------------------------

    def _judge(self, timestamp: int, now: float) -> Age:
        """Tell which try this is, as far as its age says; a count may know better."""
        self._breaker.pushed(now)
        if now >= self._look_at:
            self._look_at = now + HOUSE_SECONDS
            self._look_at_house()
        age = self._ages.judge(self._clock.wall() - timestamp)
        self._house.arrived_late(age.backlog, now)
        return age

    def _after_turn(self, age: Age, timestamp: int) -> Age:
        """Take for the last one a try before which others may have been lost: it must not cost the user the answer.

        With a process that has died, or uncounted while the store was down.
        """
        if timestamp + (self._ages.normal or 0.0) <= self._turned:
            return age._replace(number=max(age.number, self._times.tries))
        return age

    def turned(self) -> None:
        """Note that from here on what was counted before cannot be relied on."""
        self._turned = max(self._turned, self._clock.wall())

    def _look_at_house(self) -> None:
        if not self._told_turn:
            self._told_turn = True
            self._ledger.turned(self._turned)
        turned, normal = self._ledger.house()
        if turned is not None and self._fresh:
            self._turned = max(self._turned, turned)
        if normal is not None:
            self._ages.begin(normal)

    def _learn(self, age: float, number: int, now: float) -> None:
        self._ages.learn(age, number)
        if now >= self._tell_normal_at and self._ages.normal is not None:
            self._tell_normal_at = now + NORMAL_SECONDS
            self._ledger.tell_normal(self._ages.normal)

    def _count(self, push: str, by_age: int, *, before: int) -> int:
        """Count one more try of a push; return which one it is.

        What its age says is counted, too: a clock may be thought right or wrong by the time the next copy comes.

        Args:
            push: Its key.
            by_age: Which try it is by its age.
            before: How many were not counted: the one that claimed it.
        """
        number = before + self._ledger.count_try(push)
        while number < min(by_age, self._times.tries):
            number = before + self._ledger.count_try(push)
        return max(number, by_age)

    def _claim(self, push: str, number: int) -> bool:
        self._runs.alive.wake()  # before the claim: who finds one may look at once whether its process lives
        return self._ledger.claim(push, number, self._runs.owner(push, number))

    # -- look, ask, do -----------------------------------------------------------------------------------------------

    def _go(self, this: _Try) -> Outcome:
        try:
            while True:
                found = self._look(this)
                outcome = self._do(this, found, self._rules.next_step(self._scene(this, found)))
                if outcome is not None:
                    return outcome
        finally:
            if this.place is not None:
                self._house.leave(this.place)

    def _look(self, this: _Try) -> _Found:
        answer = this.answer or self._runs.here.get(this.asked)
        if answer is not None:
            page = answer.page(this.page)
            if page is not None or not answer.over:
                return _Found(answer, page, answer.grows(this.page), RunState.ALIVE)
        page, claim = self._ledger.look(this.asked, this.page)
        if page is not None:
            return _Found(None, page, False, RunState.ALIVE, claim)
        part = self._ledger.part(this.asked, this.page)
        return _Found(None, None, bool(part.strip()), self._run_state(this, claim), claim)

    def _run_state(self, this: _Try, claim: Claim) -> RunState:
        if claim.number and not self._runs.alive.is_lost(claim.owner):
            return RunState.ALIVE
        if not claim.number and self._ledger.blind:
            return RunState.ALIVE  # as far as can be told
        if claim.number:
            self.turned()
            self._ledger.turned(self._turned)
            this.number = max(this.number, self._times.tries)  # others may have been lost with that process
        if this.message is None:  # behind a link, what was asked stands in its promise
            promise = self._ledger.promised(this.asked)
            this.message = read_msg(promise.message) if promise is not None else None
        spent = this.message is None or not self._settings.rerun_lost or claim.number >= MAX_RUNS
        if spent or this.page > 1:
            return RunState.SPENT
        return RunState.LOST if claim.number else RunState.FREE

    def _scene(self, this: _Try, found: _Found) -> Scene:
        grows = found.grows and not this.uncuttable
        return Scene(
            elapsed=self._clock.now() - this.arrived,
            number=this.number,
            page=PageState.READY if found.ready else PageState.GROWING if grows else PageState.NONE,
            run=found.run,
            answerable=this.req.answerable,
            slow_text=self._settings.slow_text is not None,
            patience=this.patience,
            backlog=this.backlog,
        )

    def _do(self, this: _Try, found: _Found, step: Step) -> Outcome | None:
        """Do one step; return what comes of the try, None to look again."""
        match step.act:
            case Act.SEND if found.ready:
                return Outcome(found.ready.xml, "reply" if found.ready.xml else "ack", this.number)
            case Act.WAIT:
                self._wait(this, found, step.until)
            case Act.CLAIM:
                self._run_again(this, found.claim)
            case Act.END:
                self._write_lost(this)
            case Act.HANG_UP:
                return Outcome(None, "hang up", this.number)
            case Act.PART:
                page = self._cut(this, found)
                if page is not None:
                    return Outcome(page.xml, "part", this.number)
                this.uncuttable = True
            case Act.PROMISE | Act.LINK:
                return self._promise(this, step.act)
            case _:
                return Outcome("", "ack", this.number)
        return None

    def _wait(self, this: _Try, found: _Found, until: float) -> None:
        if this.place is None:
            this.place = self._house.enter(self._clock.now())
            if this.place is not Patience.FULL:
                this.patience = this.place
                return
        if until > self._times.hold and not this.admitted:
            this.admitted = self._breaker.admits(self._clock.now())
            if not this.admitted:
                this.patience = Patience.HOLD
                return
        end = this.arrived + until
        if found.ready:
            self._clock.sleep(end - self._clock.now())
        elif found.answer is not None:
            found.answer.wait(this.page, end)
        else:
            self._watcher.wait(page_key(this.asked, this.page), found.claim.owner, end)

    def _run_again(self, this: _Try, claim: Claim) -> None:
        """Run the handler again, after its process was lost."""
        number = claim.number + 1
        if this.message is not None and self._claim(this.asked, number):
            log.warning(
                "took over a push from a process that is gone (run %d) / 运行它的进程没有了，重新运行这条消息", number
            )
            this.answer = self._runs.start(
                this.asked, this.message, number, this.arrived, here=False, promised=this.promised
            )

    def _write_lost(self, this: _Try) -> None:
        """Write as the last page what there is, and that nothing more will come."""
        req, xml = this.req, ""
        if req.answerable == "yes":
            part = self._ledger.part(this.asked, this.page).strip()
            text = "\n\n".join(filter(None, [part, self._settings.lost_text]))
            xml = self._texts.say(req, text or None)
        self._ledger.write_page(this.asked, this.page, Page(xml), behind_link=True)

    def _cut(self, this: _Try, found: _Found) -> Page | None:
        """Cut the unfinished page where it is."""
        if found.answer is not None:
            return found.answer.page_so_far(this.page)
        part = self._ledger.part(this.asked, this.page)
        page = self._texts.page_so_far(this.asked, this.req, this.page, part)
        return page and self._ledger.write_page(this.asked, this.page, page, behind_link=True)

    def _promise(self, this: _Try, act: Act) -> Outcome:
        """Say where the answer will be found, unless it has just come: see `Ledger.promise`."""
        number = this.promised  # of a tap: it gets the link that it came by
        if number is None:
            number = self._ledger.promise(this.asked, user_key(this.req), this.req.raw)
        page = self._ledger.page(this.asked, this.page)
        if page is not None:
            return Outcome(page.xml, "reply", this.number)
        if act is Act.PROMISE:
            return Outcome("", "ack", this.number)
        return Outcome(self._texts.slow(this.req, this.asked, number, this.page), "slow", this.number)

    def stats(self) -> dict[str, int]:
        """Return how many tries wait, how many were not kept, and how far the breaker is."""
        return {**self._house.stats(), **self._breaker.stats(self._clock.now())}
