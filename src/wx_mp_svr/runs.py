"""Handlers at work, one run for each push.

Starts handlers (in the request's thread, a pool thread, the event loop, or wherever the user's task queue takes them) and
drives them to their end, whatever that is. Knows nothing of waiting, tries or HTTP.
"""

import asyncio
import atexit
import inspect
import logging
import math
import sys
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractContextManager, aclosing, closing
from contextvars import Context
from functools import partial
from types import FunctionType, GeneratorType, MethodType
from typing import Any

from .answers import Answers, Run, page_key
from .config import Settings
from .errors import ReplyError, SessionBusy
from .forking import ForkAware
from .handlers import Handlers, as_reply
from .kinds import read_msg
from .req_msg import ReqMsg, bind_session
from .routes import Found, Handler, title
from .rsp_msg import EmptyRspMsg, RspMsg, TextRspMsg, fit
from .sessions import Session, Sessions
from .store import Store
from .watcher import Heartbeat, alive_key
from .workers import Loop, Workers, in_thread

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
        self._quick: dict[int, float] = {}  # by the handler's id, see `_is_quick`
        self.heartbeat = Heartbeat(store, settings.beat, lambda: bool(self.here) or self._sessions.busy)
        self._sessions = Sessions(store, settings, self.heartbeat)
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
        found = self._handlers.find(req)
        run = Run(key, req, arrived)
        if found is None:
            self._end(run, EmptyRspMsg())
            return run
        if self.runner is not None:
            return self._enqueue(run, number, self.runner)
        try:
            self._enter(run)
            if not self._launch(run, found, threaded):
                self._tell_busy()
                self._end(run, self._answers.say(req, self._settings.busy_text))
        except Exception as exc:  # no thread to be had
            self._begin_session(req)
            self._failed(run, found.handler, exc)
        return run

    def _launch(self, run: Run, found: Found, threaded: bool) -> bool:
        if _is_async(found.handler):
            if len(self.here) > self._settings.max_jobs + self._settings.max_queued:
                return False
            self._in_loop(run, partial(self._call_async, run, found))
            return True
        # In a context of its own: out of the Flask request, and nobody sees what another handler has set.
        call = partial(Context().run, partial(self._call, run, found.handler, run.req, **found.groups))
        if threaded and self._is_quick(found.handler) and run.req.answerable != "no":
            call()
            return True
        return self._workers.submit(call)

    def _is_quick(self, handler: Handler) -> bool:
        # `inf` when it has always been quick, `-inf` once it was not, and meanwhile since when one of its runs is at work:
        # where that takes long, the others must not follow it.
        return time.monotonic() - self._quick.get(id(handler), -math.inf) < QUICK_SECONDS

    def _note_time(self, handler: Handler, begun: float) -> None:
        # Each of the other runs may have kept the interpreter to itself meanwhile: that is not this handler's time.
        if time.monotonic() - begun >= QUICK_SECONDS + sys.getswitchinterval() * len(self.here):
            self._quick[id(handler)] = -math.inf
        elif self._quick.get(id(handler), begun) == begun:
            self._quick[id(handler)] = math.inf

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
        found = self._handlers.find(req) if req else None
        if req is None or found is None:
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
        if _is_async(found.handler):
            self._in_loop(run, partial(self._call_async, run, found))
        else:
            Context().run(self._call, run, found.handler, req, **found.groups)
        for task in run.tasks:  # one may add another; a queue's worker may end as soon as its job returns
            task.result()

    # -- driving -----------------------------------------------------------------------------------------------------

    def _call(self, run: Run, handler: Handler, /, *args: Any, **groups: Any) -> None:
        """Call a handler in this thread; what turns out to be asynchronous goes on in the loop."""
        begun = time.monotonic()
        if self._quick.get(id(handler)) == math.inf:
            self._quick[id(handler)] = begun
        session = self._begin_session(run.req)
        try:
            with self._context():
                result = handler(*args, **groups)
                if isinstance(result, GeneratorType):
                    self._quick[id(handler)] = -math.inf
                    with closing(_pieces(result)) as pieces:
                        for piece in pieces:
                            self._feed(run, piece, handler)
                    session.finish()
                    self._end_of_text(run)
                    return
            self._note_time(handler, begun)
            if not isinstance(result, _PLAIN) and (inspect.isawaitable(result) or inspect.isasyncgen(result)):
                self._in_loop(run, partial(self._drive, run, handler, result))
                return
            session.finish()
            rsp = self._checked(run, handler, result)
        except BaseException as exc:  # a handler that calls sys.exit() is a bug like any other
            self._note_time(handler, begun)
            self._failed(run, handler, exc)
        else:
            self._end(run, rsp)

    def _begin_session(self, req: ReqMsg) -> Session:
        session = self._sessions.of(req.to_user_name, req.openid)
        bind_session(req, session)
        return session

    def _in_loop(self, run: Run, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = self._loop.get()  # before the coroutine is made: there may be no thread to be had
        run.tasks.append(Context().run(asyncio.run_coroutine_threadsafe, work(), loop))

    async def _call_async(self, run: Run, found: Found) -> None:
        self._begin_session(run.req)
        with self._context():
            await self._drive(run, found.handler, found.handler(run.req, **found.groups))

    async def _drive(self, run: Run, handler: Handler, result: Any) -> None:
        ending: Callable[[], None]
        try:
            with self._context():
                if inspect.isasyncgen(result):
                    async with aclosing(result):
                        async for piece in result:
                            self._feed(run, piece, handler)
                    run.req.session.finish()
                    ending = partial(self._end_of_text, run)
                else:
                    result = await result
                    run.req.session.finish()
                    ending = partial(self._end, run, self._checked(run, handler, result))
        except BaseException as exc:
            ending = partial(self._failed, run, handler, exc)
        if self._handlers.get("on_error") is None and self._handlers.get("on_late_reply") is None:
            ending()
        else:  # which may be plain functions, and must not block all others
            try:
                run.tasks.append(in_thread(ending, "wx-mp-ending"))
            except RuntimeError:  # no thread to be had; Python 3.12.0 and 3.12.1 give none while they end
                ending()

    def _feed(self, run: Run, piece: Any, handler: Handler) -> None:
        if not isinstance(piece, str):
            raise ReplyError(f"{title(handler)} yielded {type(piece).__name__}; a streaming handler yields str")
        self._answers.feed(run, piece)

    def _checked(self, run: Run, handler: Handler, result: Any) -> RspMsg:
        return fit(as_reply(result, handler), run.req, strict=self._strict())

    def _failed(self, run: Run, handler: Handler, exc: BaseException) -> None:
        """Log a bug in a handler and say what the user gets: WeChat must not retry a bug, nor show its fault notice."""
        run.req.session.finish(save=False)
        if isinstance(exc, SessionBusy):
            log.warning("%s waited for req.session; a user gets the busy text", title(handler))
            self._end(run, self._answers.say(run.req, self._settings.busy_text))
            return
        if isinstance(exc, ReplyError):
            log.error("the reply of %s cannot be sent: %s / 这条回复发不出去", title(handler), exc)
        else:
            log.error("the handler %s raised", title(handler), exc_info=exc)
        on_error = self._handlers.get("on_error")
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
        on_late_reply = self._handlers.get("on_late_reply")
        if not late or on_late_reply is None:
            return
        try:
            with self._context():
                result = on_late_reply(run.req, rsp)
            if inspect.isawaitable(result):
                self._in_loop(run, partial(_logged, result))
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

    def stats(self) -> dict[str, int]:
        """Return how many runs there are."""
        return {"running": len(self.here) - self._workers.queued, "queued": self._workers.queued}


def _close(this: "weakref.ref[Runs]") -> None:
    if runs := this():
        runs.close()


def _is_async(handler: Handler) -> bool:
    # A callable object is asynchronous when its __call__ is. That of a plain function is nothing to ask, and slow.
    own = handler if isinstance(handler, FunctionType | MethodType) else type(handler).__call__
    return inspect.iscoroutinefunction(own) or inspect.isasyncgenfunction(own)


def _pieces(result: Generator[Any, None, Any]) -> Generator[Any, None, None]:
    """Yield what a handler yields, and at last what it returns: ``return "text"`` is a natural way to leave early."""
    last = yield from result
    if last:
        yield last


async def _logged(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        log.exception("on_late_reply raised")
