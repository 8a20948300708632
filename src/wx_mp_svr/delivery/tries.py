"""One try of WeChat's after the other: look, ask the rules, do the step, and look again.

A try that waits for a page in, its outcome out. All that is decided is decided by `rules`.
"""

import logging
from typing import Literal, NamedTuple

from ..clock import Clock
from ..config import Settings
from ..messages import read_msg
from ..req_msg import ReqMsg
from ..store import Store
from .answer import Answer
from .house import Breaker, House
from .ledger import MAX_RUNS, Claim, Ledger, Page, page_key
from .push import user_key
from .rules import Act, PageState, Patience, Rules, RunState, Scene, Step, Times
from .runs import Runs
from .texts import Texts
from .watcher import Watcher
from .which_try import Age, WhichTry

log = logging.getLogger("wx_mp_svr")

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
    number: int


class Try:
    """One try of WeChat's, waiting for one page.

    Attributes:
        req: What the user sent.
        asked: The key of the push whose answer is asked for: its own, or behind a link an earlier one's.
        page: Which page of it.
        number: Which of WeChat's tries this is.
        arrived: When it came, by the clock.
        backlog: Seconds that it had waited before.
        answer: The answer, if this try has begun it in this process.
        message: What is run again if its process is lost: its own message, or behind a link that of the promise.
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
        "req",
        "uncuttable",
    )

    def __init__(
        self,
        req: ReqMsg,
        asked: str,
        page: int,
        age: Age,
        arrived: float,
        threaded: bool,
        answer: Answer | None = None,
        promised: int | None = None,
    ) -> None:
        self.req = req
        self.asked = asked
        self.page = page
        self.number, self.backlog = age
        self.arrived = arrived
        self.promised = promised
        self.message: ReqMsg | None = req if promised is None else None
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
        part: That part, if the answer grows elsewhere.
    """

    answer: Answer | None
    ready: Page | None
    grows: bool
    run: RunState
    claim: Claim = Claim()
    part: str = ""


class Tries:
    """Takes each try to its outcome.

    Args:
        settings: Limits and texts.
        store: For waiting until another process has written.
        ledger: What is known of pushes.
        texts: What is said in place of an answer.
        runs: Where handlers run.
        house: Who waits.
        breaker: How many tries may go without an answer.
        which_try: Hears of processes that have died.
        times: Of one try.
        clock: For everything that waits.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        texts: Texts,
        runs: Runs,
        house: House,
        breaker: Breaker,
        which_try: WhichTry,
        *,
        times: Times,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._texts = texts
        self._runs = runs
        self._house = house
        self._breaker = breaker
        self._which_try = which_try
        self._times = times
        self._clock = clock
        self._rules = Rules(times)
        self._watcher = Watcher(store, runs.alive, clock)

    def go(self, this: Try) -> Outcome:
        """Take one try to its outcome."""
        try:
            while True:
                found = self._look(this)
                outcome = self._do(this, found, self._rules.next_step(self._scene(this, found)))
                if outcome is not None:
                    return outcome
        finally:
            if this.place is not None:
                self._house.leave(this.place)

    def _look(self, this: Try) -> _Found:
        answer = this.answer or self._runs.here.get(this.asked)
        if answer is not None:
            page = answer.page(this.page)
            if page is not None or not answer.over:
                return _Found(answer, page, answer.grows(this.page), RunState.ALIVE)
        page, claim, part, promise = self._ledger.look(this.asked, this.page)
        if page is not None:
            return _Found(None, page, False, RunState.ALIVE, claim)
        if this.message is None and promise is not None:  # behind a link, what was asked stands in its promise
            this.message = read_msg(promise.message)
        return _Found(None, None, bool(part.strip()), self._run_state(this, claim), claim, part)

    def _run_state(self, this: Try, claim: Claim) -> RunState:
        if claim.number and not self._runs.alive.is_lost(claim.owner):
            return RunState.ALIVE
        if not claim.number and self._ledger.blind:
            return RunState.ALIVE  # as far as can be told
        if claim.number:
            self._which_try.process_gone()
            this.number = max(this.number, self._times.tries)  # others may have been lost with that process
        spent = this.message is None or not self._settings.rerun_lost or claim.number >= MAX_RUNS
        if spent or this.page > 1:
            return RunState.SPENT
        return RunState.LOST if claim.number else RunState.FREE

    def _scene(self, this: Try, found: _Found) -> Scene:
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

    def _do(self, this: Try, found: _Found, step: Step) -> Outcome | None:
        """Do one step; return what comes of the try, None to look again."""
        match step.act:
            case Act.SEND if found.ready:
                return Outcome(found.ready.xml, "reply" if found.ready.xml else "ack", this.number)
            case Act.WAIT:
                self._wait(this, found, step.until)
            case Act.CLAIM:
                self._run_again(this, found.claim)
            case Act.END:
                self._write_lost(this, found.part)
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

    def _wait(self, this: Try, found: _Found, until: float) -> None:
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

    def _run_again(self, this: Try, claim: Claim) -> None:
        """Run the handler again, after its process was lost."""
        number = claim.number + 1
        if this.message is not None and self._runs.claim(this.asked, number):
            log.warning(
                "took over a push from a process that is gone (run %d) / 运行它的进程没有了，重新运行这条消息", number
            )
            this.answer = self._runs.start(
                this.asked, this.message, number, this.arrived, here=False, promised=this.promised
            )

    def _write_lost(self, this: Try, part: str) -> None:
        """Write as the last page the part that is there, and that nothing more will come."""
        req, xml = this.req, ""
        if req.answerable == "yes":
            text = "\n\n".join(filter(None, [part.strip(), self._settings.lost_text]))
            xml = self._texts.say(req, text or None)
        self._ledger.write_page(this.asked, this.page, Page(xml), behind_link=True)

    def _cut(self, this: Try, found: _Found) -> Page | None:
        """Cut the unfinished page where it is."""
        if found.answer is not None:
            return found.answer.page_so_far(this.page)
        page = self._texts.page_so_far(this.asked, this.req, this.page, found.part)
        return page and self._ledger.write_page(this.asked, this.page, page, behind_link=True)

    def _promise(self, this: Try, act: Act) -> Outcome:
        """Say where the answer will be found, unless it has just come: see `Ledger.promise`."""
        number = this.promised  # of a tap: it gets the link that it came by
        if number is None:
            number = self._ledger.promise(this.asked, user_key(this.req), this.req.raw)
        answer = this.answer or self._runs.here.get(this.asked)
        if answer is not None:  # in a full house a try gives up sooner than a run looks for promises
            answer.promise(number)
        page = self._ledger.page(this.asked, this.page)
        if page is not None:
            return Outcome(page.xml, "reply", this.number)
        if act is Act.PROMISE:
            return Outcome("", "ack", this.number)
        return Outcome(self._texts.slow(this.req, this.asked, number, this.page), "slow", this.number)
