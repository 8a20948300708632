"""The runs of this process: starts a handler for each push that this process has claimed, and knows which are at work.

A handler runs in the request's thread, a pool thread, the event loop, or wherever the user's task queue takes it. Knows
nothing of waiting, tries or HTTP.
"""

import atexit
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Context
from functools import partial
from typing import Any

from ..clock import REAL, Clock
from ..config import Settings
from ..forking import ForkAware
from ..handling.drive import Driver
from ..handling.handlers import Handlers
from ..handling.routes import Found
from ..handling.sessions import Sessions
from ..handling.workers import Loop, Pool
from ..living import Living
from ..messages import read_msg
from ..req_msg import EventReqMsg, ReqMsg
from ..rsp_msg import EmptyRspMsg, RspMsg
from ..session import Session
from ..store import Store
from ..store.alive import QUEUE, Alive
from ..store.place import Place
from .answer import Answer
from .ledger import Ledger
from .rules import Times
from .texts import Texts

log = logging.getLogger("wx_mp_svr")

QUEUE_SECONDS = 600.0  # after which a job that no worker has taken up counts as lost
RENEW_SECONDS = 60.0  # between two times that all claims of runs at work are written again

MAX_COROUTINES = 5000  # of all users; they cost no thread
MAX_OF_USER = 8  # messages of one user, running or queued: the others must not notice what one sends

Job = dict[str, Any]
"""What goes to a task queue, JSON: ``key`` and ``run`` say which run of which push this is, ``fields`` is the message by
WeChat's names (the user's text among them), ``arrived`` is when it came (Unix seconds)."""


class Runs(ForkAware):
    """All runs of this process, for one account.

    Args:
        settings: Limits and texts.
        store: For who lives; while it is down, something takes its place.
        sessions_store: For sessions, which wait for it rather than begin empty.
        ledger: Where pages go.
        texts: What stands in them.
        handlers: The user's.
        times: Of WeChat's tries.
        place: Where this machine's processes meet.
        context: What to enter around a handler.
        strict: Whether to complain about replies that could be mended, as in development.
        failed: Hears of each message whose handler has raised what no `on_error` took.
        clock: For everything that waits.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sessions_store: Store,
        ledger: Ledger,
        texts: Texts,
        handlers: Handlers,
        *,
        times: Times,
        place: Place,
        context: Callable[[], AbstractContextManager[Any]],
        strict: Callable[[], bool],
        failed: Callable[[ReqMsg, BaseException], None],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._texts = texts
        self._handlers = handlers
        self._times = times
        self._context = context
        self._clock = clock
        self.runner: Callable[[Job], Any] | None = None  # takes a job to a task queue
        self.alive = Alive(
            store, clock, lambda: bool(self.here) or self._sessions.busy, locks=place.locks, alone=place.alone
        )
        self.alive.at_each_beat(self._beat)
        self._pool = Pool(settings.max_jobs, settings.max_queued, clock)
        self._loop = Loop(clock)
        self._sessions = Sessions(sessions_store, settings, self.alive, self._loop, clock)
        self._driver = Driver(
            handlers,
            self._sessions,
            self._loop,
            settings,
            context=context,
            strict=strict,
            clock=clock,
            running=lambda: len(self.here),
            failed=failed,
        )
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self.here: dict[str, Answer] = {}
        self._coroutines = 0
        # By user, how many messages are running or queued.
        self._of_user: Counter[tuple[str, str]] = Counter()
        self._busy = self._busy_users = 0
        self._tell_busy_after = -math.inf
        self._renew_after = self._clock.now() + RENEW_SECONDS

    # -- starting ----------------------------------------------------------------------------------------------------

    def claim(self, push: str, number: int) -> bool:
        """Claim run *number* of a push, in the queue's name where there is one; false when somebody else has it."""
        self.alive.wake()  # before the claim: who finds one may look at once whether its process lives
        owner = self.place_in_queue(push, number) if self.runner is not None else self.alive.process
        return self._ledger.claim(push, number, owner)

    def start(
        self, push: str, req: ReqMsg, number: int, arrived: float, *, here: bool, promised: int | None = None
    ) -> Answer | None:
        """Run the handler for a push that this process has claimed.

        Args:
            push: Its key.
            req: The message.
            number: Which run this is.
            arrived: When the push came, by the clock.
            here: Whether this thread may be kept busy, since others serve the requests that come meanwhile.
            promised: The number of the link under which the answer was promised, if this is not its first run.

        Returns:
            The answer, perhaps ready; None when the handler is at work elsewhere.
        """
        found = self._handlers.find(req)
        answer = self._answer(push, req, number, arrived, promised)
        if found is None:
            answer.reply(EmptyRspMsg())
            return answer
        if self.runner is not None:
            return self._enqueue(answer, self.runner)
        if number == 1 and self._is_busy_with(req):
            self._busy_users += 1
            self._tell_busy(f"one user has {MAX_OF_USER} messages at work")
            answer.reply(self._texts.own(req, self._settings.busy_text))
            return answer
        self._enter(answer)
        try:
            started = self._launch(answer, found, here)
        except RuntimeError:  # no thread to be had
            log.exception("a handler could not be started; its user gets the error text / 无法启动处理函数")
            self._finish(answer, self._texts.own(req, self._settings.error_text))
            return answer
        if not started:
            self._busy += 1
            self._tell_busy("max_jobs and max_queued are reached")
            self._finish(answer, self._texts.own(req, self._settings.busy_text))
        return answer

    def _answer(
        self,
        push: str,
        req: ReqMsg,
        number: int,
        arrived: float,
        promised: int | None = None,
        *,
        queued: bool = False,
    ) -> Answer:
        return Answer(
            push,
            req,
            number,
            arrived,
            ledger=self._ledger,
            texts=self._texts,
            clock=self._clock,
            times=self._times,
            promised=promised,
            queued=queued,
            beside=self.here,
        )

    def _is_busy_with(self, req: ReqMsg) -> bool:
        """Whether as many messages of this user are at work as may be; events do not count."""
        at_work = self._of_user.get((req.to_user_name, req.from_user_name), 0)
        return at_work >= MAX_OF_USER and not isinstance(req, EventReqMsg)

    def _launch(self, answer: Answer, found: Found, here: bool) -> bool:
        pace = self._driver.pace_of(found.handler)
        if here and pace.is_quick() and answer.req.answerable != "no":
            _alone(self._run, answer, found)
            return True
        self._count(answer.req, 1)
        started = False
        try:
            if not pace.is_async:
                started = self._pool.submit(partial(_alone, self._run_counted, answer, found))
            elif self._coroutines < MAX_COROUTINES:
                self._loop.submit(partial(self._run_async, answer, found))
                started = True
        finally:
            if not started:
                self._count(answer.req, -1)
        return started

    def _count(self, req: ReqMsg, change: int) -> None:
        """Count the messages of a user that are running or queued. Quick ones are over before the next comes."""
        if isinstance(req, EventReqMsg):
            return
        user = (req.to_user_name, req.from_user_name)
        with self._lock:
            self._of_user[user] += change
            if not self._of_user[user]:
                del self._of_user[user]

    def _run(self, answer: Answer, found: Found) -> None:
        try:
            self._driver.drive(found, answer)
        finally:
            self._leave(answer)

    def _run_counted(self, answer: Answer, found: Found) -> None:
        try:
            self._run(answer, found)
        finally:
            self._count(answer.req, -1)

    async def _run_async(self, answer: Answer, found: Found) -> None:
        self._coroutines += 1  # only ever in the loop's thread
        try:
            await self._driver.drive_async(found, answer)
        finally:
            self._coroutines -= 1
            self._leave(answer)
            self._count(answer.req, -1)

    def _enter(self, answer: Answer) -> None:
        self.here[answer.push] = answer
        self.alive.wake()
        if self._clock is REAL:  # what a test leaves behind is not waited for
            _at_work.add(self)

    def _leave(self, answer: Answer) -> None:
        if not answer.over:
            answer.end()
        self.here.pop(answer.push, None)

    def _finish(self, answer: Answer, rsp: RspMsg) -> None:
        answer.reply(rsp)
        self._leave(answer)

    def _beat(self) -> None:
        self._renew()
        self._adopt()

    def _adopt(self) -> None:
        """Find out which pages others have cut, before the store goes down and hides it."""
        shown = {answer.push: answer.shown for answer in list(self.here.values()) if answer.shown}
        if not shown:
            return
        for push, page in self._ledger.pages(shown).items():
            answer = self.here.get(push)
            if answer is not None:
                answer.adopt(shown[push], page)

    def _renew(self) -> None:
        """See to the claims of runs at work: a store may have forgotten them, and a long run must not outlive its own."""
        now = self._clock.now()
        if now >= self._renew_after:
            self._renew_after = now + RENEW_SECONDS
            self.claim_again()
        else:
            self._ledger.renew(self._claims(), self.alive.process, all_of_them=False)

    def claim_again(self) -> None:
        """Write all claims of runs at work again, where they are looked for from now on."""
        self._ledger.renew(self._claims(), self.alive.process, all_of_them=True)

    def _claims(self) -> list[tuple[str, int]]:
        return [(answer.push, answer.number) for answer in list(self.here.values())]

    def _tell_busy(self, why: str) -> None:
        """Say it once a minute: whoever is busy has no time for a line per user."""
        if self._clock.now() > self._tell_busy_after:
            self._tell_busy_after = self._clock.now() + 60
            log.error(
                "%s; %d times users have got the busy text so far / 处理函数太慢或消息太多，已有 %d 次回复了 busy_text",
                *(why, self._busy + self._busy_users, self._busy + self._busy_users),
            )

    # -- in a task queue ---------------------------------------------------------------------------------------------

    def place_in_queue(self, push: str, number: int) -> str:
        """Return the name under which a queued run is claimed; until a worker takes it up, it counts as its process."""
        return f"{QUEUE}{push}-{number}"

    def _enqueue(self, answer: Answer, runner: Callable[[Job], Any]) -> Answer | None:
        push, number = answer.push, answer.number
        self.alive.vouch(self.place_in_queue(push, number), QUEUE_SECONDS)
        arrived = self._clock.wall() - (self._clock.now() - answer.arrived)
        job = {"key": push, "run": number, "fields": dict(answer.req.raw), "arrived": arrived}
        try:
            with self._context():
                runner(job)
        except Exception:
            log.exception("the runner raised; a user gets the error text / 任务队列不可用")
            answer.reply(self._texts.own(answer.req, self._settings.error_text))
            return answer
        return None

    def work(self, job: Mapping[str, Any]) -> None:
        """Do a job that the runner took to a task queue; one that was done or taken over meanwhile is left alone."""
        req = read_msg(job["fields"])
        if req is None or (found := self._handlers.find(req)) is None:
            log.error(
                "a job came for which this worker has no handler; does it load the same program? / "
                "任务进程里没有对应的处理函数：它加载的是同一个程序吗？"
            )
            return
        push, number = str(job["key"]), int(job["run"])
        self.alive.wake()
        if not self._ledger.start(push, number, self.alive.process, self.alive.is_lost):
            return
        waited = max(0.0, self._clock.wall() - float(job["arrived"]))
        answer = self._answer(push, req, number, self._clock.now() - waited, queued=True)
        self._enter(answer)
        _alone(self._run, answer, found)  # the driver waits for an async handler's end

    def session_of(self, account: str, openid: str) -> Session:
        """Return a user's session, for who is no handler; use it as a `with` block."""
        return self._sessions.of(account, openid)

    # -- ending ------------------------------------------------------------------------------------------------------

    def close(self, begun: float) -> None:
        """Let running handlers come to their end; then give up what is left to other processes.

        Args:
            begun: Since when, by the clock; for all accounts the same, so that `grace` is spent once.
        """
        until = begun + self._settings.grace
        self._ledger.write_late()
        while self.here and self._clock.now() < until:
            self._clock.sleep(0.05)
        if self.here:
            log.warning(
                "%d handlers did not end in time; a retry runs them again elsewhere / "
                "%d 个处理函数没能在退出前结束，会由微信的重试重新运行",
                *(len(self.here), len(self.here)),
            )
        self._ledger.write_late()
        self.alive.stop()

    def stats(self) -> dict[str, int]:
        """Return how many runs there are."""
        return {
            "running": len(self.here) - self._pool.queued,
            "queued": self._pool.queued,
            "busy": self._busy,
            "busy_users": self._busy_users,
        }


def _alone(call: Callable[..., None], answer: Answer, found: Found) -> None:
    """Call in a context of its own: out of the Flask request, and nobody sees what another handler has set."""
    Context().run(call, answer, found)


_at_work: Living[Runs] = Living()


@atexit.register
def _close_all() -> None:
    begun = REAL.now()
    for runs in _at_work.all():
        runs.close(begun)
