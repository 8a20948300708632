"""Handlers at work, one run for each push.

Starts handlers (in the request's thread, a pool thread, the event loop, or wherever the user's task queue takes them) and
drives them to their end, whatever that is. Knows nothing of waiting, tries or HTTP.
"""

import asyncio
import atexit
import inspect
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from types import GeneratorType
from typing import Any

from .answers import Answers, Page, Run, page_key
from .config import Settings
from .errors import ReplyError
from .forking import ForkAware
from .handlers import Handler, Handlers, as_reply, title
from .req_msg import ReqMsg, read_msg
from .rsp_msg import EmptyRspMsg, RspMsg, TextRspMsg, fit
from .store import Store
from .watcher import Heartbeat, alive_key
from .workers import Loop, Workers

log = logging.getLogger("wx_mp_svr")

_PLAIN = (str, RspMsg, type(None))
QUICK_SECONDS = 0.05  # a hand-off to a thread costs as much as an empty Flask view: quick handlers go without
QUEUE_SECONDS = 60.0  # after which a job that no worker has taken up counts as lost

Job = dict[str, Any]
"""What goes to a task queue, JSON: ``key`` and ``run`` say which run of which push this is, ``fields`` is the message by
WeChat's names (the user's text among them), ``arrived`` is when it came (Unix seconds)."""


def run_key(key: str, number: int) -> str:
    """Return where it stands which process has claimed run *number* of the push *key*."""
    return f"{key}:run:{number}"


class Runs(ForkAware):
    """All runs of this process.

    Args:
        settings: Times and limits.
        store: Where runs are claimed.
        handlers: The user's handlers.
        answers: Takes what handlers say.
        context: What to enter around a handler; the shell gives Flask's application context.
        strict: Whether to complain about replies that could be mended, as in development.
        clock: The system's clock, Unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        handlers: Handlers,
        answers: Answers,
        *,
        context: Callable[[], AbstractContextManager[Any]],
        strict: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._handlers = handlers
        self._answers = answers
        self._context = context
        self._strict = strict
        self._clock = clock
        self.runner: Callable[[Job], Any] | None = None  # takes a job to a task queue
        self._workers = Workers(settings.max_jobs, settings.max_queued)
        self._loop = Loop()
        self._quick: dict[Handler, bool] = {}
        self._async: dict[Handler, bool] = {}
        self.heartbeat = Heartbeat(store, settings.beat, lambda: bool(self.here))
        self.begin()
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self.here: dict[str, Run] = {}
        self._busy = 0
        self._tell_busy_after = float("-inf")
        self._closes_at_exit = False

    # -- starting ----------------------------------------------------------------------------------------------------

    def start(self, key: str, req: ReqMsg, number: int, arrived: float, *, threaded: bool = False) -> Run | None:
        """Run the handler for a push that this process has claimed.

        Args:
            key: The push's.
            req: The message.
            number: Which run this is.
            arrived: When the push came, monotonic.
            threaded: Whether this thread may be kept busy, since others serve the requests that come meanwhile.

        Returns:
            The run, None when it is at work elsewhere.
        """
        handler = self._handlers.find(req)
        run = Run(key, req, arrived)
        if handler is None:
            self._end(run, EmptyRspMsg())
            return run
        if self.runner is not None:
            return self._enqueue(run, number, self.runner)
        self._enter(run)
        is_async = self._async.get(handler)
        if is_async is None:
            is_async = self._async[handler] = _is_async(handler)
        if is_async:
            started = len(self.here) <= self._settings.max_jobs + self._settings.max_queued
            if started:
                self._in_loop(run, self._call_async(run, handler))
        elif threaded and self._quick.get(handler) and req.answerable != "no":
            started = True
            self._call(run, handler, req)
        else:
            started = self._workers.submit(lambda: self._call(run, handler, req))
        if not started:
            self._tell_busy()
            self._end(run, self._answers.say(req, self._settings.busy_text))
        return run

    def _tell_busy(self) -> None:
        """Say it once a minute: whoever is busy has no time for a line per user."""
        self._busy += 1
        if time.monotonic() > self._tell_busy_after:
            self._tell_busy_after = time.monotonic() + 60
            log.error("max_jobs and max_queued are reached; %d users have got the busy text so far", self._busy)

    def _enter(self, run: Run) -> None:
        self.here[run.key] = run
        self.heartbeat.wake()
        if not self._closes_at_exit:
            self._closes_at_exit = True
            this = weakref.ref(self)
            atexit.register(_close, this)

    def _enqueue(self, run: Run, number: int, runner: Callable[[Job], Any]) -> Run | None:
        """Give the run to the task queue. Until a worker takes it up, the queue itself counts as its process."""
        queue = f"queue-{run.key}-{number}"
        self._store.set(alive_key(queue), 1, QUEUE_SECONDS)
        self._store.set(run_key(run.key, number), queue, self._settings.keep_seconds)
        job = {"key": run.key, "run": number, "fields": dict(run.req.raw), "arrived": self._clock()}
        try:
            with self._context():
                runner(job)
        except Exception:
            log.exception("the runner raised; a user gets the error text")
            self._end(run, self._answers.say(run.req, self._settings.error_text))
            return run
        return None

    def work(self, job: Mapping[str, Any]) -> None:
        """Do a job that the runner took to a task queue; one that was done or taken over meanwhile is left alone."""
        req = read_msg(job["fields"])
        handler = self._handlers.find(req) if req else None
        if req is None or handler is None:
            log.error("a job came for which this worker has no handler; does it load the same program?")
            return
        key, number, me = str(job["key"]), int(job["run"]), self.heartbeat.process
        page, mine, next_run = page_key(key, 1), run_key(key, number), run_key(key, number + 1)
        known = self._store.get_many([page, mine, next_run])
        if mine not in known:
            log.error(
                "a job came of which this worker's store knows nothing; is WX_MP_STORE the same for server and worker?"
            )
        late = page in known or next_run in known
        if late or not self._store.add(f"{mine}:started", me, self._settings.keep_seconds):
            return
        run = Run(key, req, time.monotonic() - max(0.0, self._clock() - float(job["arrived"])))
        self._enter(run)
        self._store.set(mine, me, self._settings.keep_seconds)
        if _is_async(handler):
            self._in_loop(run, self._call_async(run, handler))
        else:
            self._call(run, handler, req)
        for task in run.tasks:  # one may add another; a queue's worker may end as soon as its job returns
            task.result()

    # -- driving -----------------------------------------------------------------------------------------------------

    def _call(self, run: Run, handler: Handler, *args: Any) -> None:
        """Call a handler in this thread; what turns out to be asynchronous goes on in the loop."""
        begun = time.monotonic()
        try:
            with self._context():
                result = handler(*args)
                if isinstance(result, GeneratorType):
                    self._quick[handler] = False
                    for piece in result:
                        self._feed(run, piece, handler)
                    self._end_of_text(run)
                    return
            if not isinstance(result, _PLAIN) and (inspect.isawaitable(result) or inspect.isasyncgen(result)):
                self._in_loop(run, self._drive(run, handler, result))
                return
            self._quick[handler] = self._quick.get(handler, True) and time.monotonic() - begun < QUICK_SECONDS
            rsp = self._checked(run, handler, result)
        except BaseException as exc:  # a handler that calls sys.exit() is a bug like any other
            self._failed(run, handler, exc)
        else:
            self._end(run, rsp)

    def _in_loop(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        run.tasks.append(asyncio.run_coroutine_threadsafe(work, self._loop.get()))

    async def _call_async(self, run: Run, handler: Handler) -> None:
        with self._context():
            await self._drive(run, handler, handler(run.req))

    async def _drive(self, run: Run, handler: Handler, result: Any) -> None:
        try:
            with self._context():
                if inspect.isasyncgen(result):
                    async for piece in result:
                        self._feed(run, piece, handler)
                    self._end_of_text(run)
                    return
                rsp = self._checked(run, handler, await result)
        except BaseException as exc:
            self._failed(run, handler, exc)
        else:
            self._end(run, rsp)

    def _feed(self, run: Run, piece: Any, handler: Handler) -> None:
        if not isinstance(piece, str):
            raise ReplyError(f"{title(handler)} yielded {type(piece).__name__}; a streaming handler yields str")
        self._answers.feed(run, piece)

    def _checked(self, run: Run, handler: Handler, result: Any) -> RspMsg:
        return fit(as_reply(result, handler), run.req, strict=self._strict())

    def _failed(self, run: Run, handler: Handler, exc: BaseException) -> None:
        """Log a bug in a handler and say what the user gets: WeChat must not retry a bug, nor show its fault notice."""
        if isinstance(exc, ReplyError):
            log.error("the reply of %s cannot be sent: %s", title(handler), exc)
        else:
            log.error("the handler %s raised", title(handler), exc_info=exc)
        on_error = self._handlers.on_error
        if on_error is not None and on_error is not handler:
            self._call(run, on_error, exc, run.req)
        else:
            self._end(run, self._answers.say(run.req, self._settings.error_text))

    # -- ending ------------------------------------------------------------------------------------------------------

    def _end(self, run: Run, rsp: RspMsg) -> None:
        late = self._answers.finish(run, rsp)
        self._leave(run, rsp, late)

    def _end_of_text(self, run: Run) -> None:
        late = self._answers.end_of_text(run)
        self._leave(run, TextRspMsg(run.text), late)

    def _leave(self, run: Run, rsp: RspMsg, late: bool) -> None:
        run.end()
        self.here.pop(run.key, None)
        on_late_reply = self._handlers.on_late_reply
        if not late or on_late_reply is None:
            return
        try:
            with self._context():
                result = on_late_reply(run.req, rsp)
            if inspect.isawaitable(result):
                self._in_loop(run, _logged(result))
        except Exception:
            log.exception("on_late_reply raised")

    def close(self) -> None:
        """Let running handlers come to their end for `grace` seconds; then give up what is left to other processes."""
        until = time.monotonic() + self._settings.grace
        while self.here and time.monotonic() < until:
            time.sleep(0.05)
        if self.here:
            log.warning("%d handlers did not end in time; a retry runs them again elsewhere", len(self.here))
        self.heartbeat.stop()

    def partial(self, key: str, req: ReqMsg, number: int) -> Page | None:
        """Cut the unfinished page of a streaming run where it is; None when there is nothing to show yet."""
        return self._answers.partial(self.here.get(key), key, req, number)

    def stats(self) -> dict[str, int]:
        """Return how many runs there are."""
        return {"running": len(self.here) - self._workers.queued, "queued": self._workers.queued}


def _close(this: "weakref.ref[Runs]") -> None:
    if runs := this():
        runs.close()


def _is_async(handler: Handler) -> bool:
    # A callable object is asynchronous when its __call__ is.
    targets = (handler, type(handler).__call__)
    return any(inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target) for target in targets)


async def _logged(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        log.exception("on_late_reply raised")
