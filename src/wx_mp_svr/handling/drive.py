"""One call of a handler to its end, whatever it is: def, generator, coroutine or async generator.

A handler and a sink in; what the handler says goes into the sink, and what goes wrong becomes a reply, too: WeChat must not
retry a bug, nor show its fault notice. Knows nothing of pushes, tries, pages or stores.
"""

import inspect
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, aclosing, closing
from contextvars import ContextVar, copy_context
from enum import Enum
from types import FunctionType, GeneratorType, MethodType
from typing import Any, Protocol

from ..clock import Clock
from ..errors import ReplyError, SessionBusy
from ..req_msg import ReqMsg, bind_session
from ..rsp_msg import EmptyRspMsg, RspMsg, TextRspMsg, fit
from .handlers import Handlers, as_reply, kind_of
from .routes import Found, Handler, place, title
from .sessions import Sessions
from .workers import Loop

log = logging.getLogger("wx_mp_svr")

QUICK_SECONDS = 0.05  # a hand-off to a thread costs as much as an empty Flask view: quick handlers go without

_PLAIN = (str, RspMsg, type(None))

AT_WORK: ContextVar[ReqMsg | None] = ContextVar("wx_mp_svr.at_work", default=None)
"""The message whose handler is at work here: for whoever reads log lines, to know which push each one belongs to."""


class Sink(Protocol):
    """Where an answer goes."""

    req: ReqMsg
    over: bool

    @property
    def full(self) -> bool:
        """Whether it takes no more pieces."""

    def piece(self, piece: str) -> bool:
        """Take a piece of a growing text; true when `flush` has work, which may block."""

    def flush(self) -> None:
        """Do what blocks."""

    def reply(self, rsp: RspMsg) -> RspMsg | None:
        """Take the last word; return what the user has not seen if it comes late, else None."""

    def reply_at_once(self, rsp: RspMsg) -> bool:
        """Take it if nothing of that may block; else false."""

    def settle(self, *, delivered: bool) -> None:
        """Hear whether a late reply has been delivered in another way."""


class Words(Protocol):
    """Our own texts for when there is no reply."""

    @property
    def error_text(self) -> str | None:
        """For a handler that raised."""

    @property
    def busy_text(self) -> str | None:
        """For a user who waited too long."""


class Speed(Enum):
    """What is known of a handler."""

    NEW = "it has not run yet"
    QUICK = "it has always been quick"
    SLOW = "it was not, once"


class Pace:
    """How quick one handler is: quick ones run in the request's own thread.

    Attributes:
        is_async: Whether calling it returns something for the event loop.
    """

    __slots__ = ("_clock", "_since", "_speed", "is_async")

    def __init__(self, handler: Handler, clock: Clock) -> None:
        # A callable object is asynchronous when its __call__ is. That of a plain function is nothing to ask, and slow.
        own = handler if isinstance(handler, FunctionType | MethodType) else type(handler).__call__
        self.is_async = any(map(inspect.iscoroutinefunction, (own, handler))) or inspect.isasyncgenfunction(own)
        self._clock = clock
        self._speed = Speed.NEW
        self._since: float | None = None  # since when one of its quick runs is at work

    def is_quick(self) -> bool:
        """Whether it may run here: it has always been quick, and no run of it is beginning to hang."""
        since = self._since
        return self._speed is Speed.QUICK and (since is None or self._clock.now() - since < QUICK_SECONDS)

    def begin(self) -> float:
        """Note that a run begins; return when."""
        now = self._clock.now()
        if self._since is None:
            self._since = now
        return now

    def end(self, begun: float, *, others: Callable[[], int]) -> None:
        """Note how long it took.

        Args:
            begun: What `begin` returned.
            others: Tells how many other runs may have kept the interpreter to themselves meanwhile; that is not its time.
        """
        if self._since == begun:
            self._since = None
        took = self._clock.now() - begun
        # Asked only when it matters: nearly every run is quick, whoever else runs.
        if took >= QUICK_SECONDS and took >= QUICK_SECONDS + sys.getswitchinterval() * others():
            self._speed = Speed.SLOW
        elif self._speed is Speed.NEW:
            self._speed = Speed.QUICK

    def is_stream(self) -> None:
        """Note that it yields: it is written for answers that take long."""
        self._speed = Speed.SLOW


class Driver:
    """Calls the handlers of one account.

    Args:
        handlers: The user's.
        sessions: Theirs of each user.
        loop: Where coroutines run.
        words: Our own texts.
        context: What to enter around a handler; the shell gives Flask's application context.
        strict: Whether to complain about replies that could be mended, as in development.
        clock: For the pace of handlers.
        running: How many runs there are in this process.
        failed: Hears of each message whose handler has raised what no `on_error` took.
    """

    def __init__(
        self,
        handlers: Handlers,
        sessions: Sessions,
        loop: Loop,
        words: Words,
        *,
        context: Callable[[], AbstractContextManager[Any]],
        strict: Callable[[], bool],
        clock: Clock,
        running: Callable[[], int],
        failed: Callable[[ReqMsg, BaseException], None],
    ) -> None:
        self._handlers = handlers
        self._sessions = sessions
        self._loop = loop
        self._words = words
        self._context = context
        self._strict = strict
        self._clock = clock
        self._running = running
        self._tell_failure = failed
        self._paces: dict[
            int, Pace
        ] = {}  # by the handler's id: it need not be hashable, and lives as long as the server

    def pace_of(self, handler: Handler) -> Pace:
        """Return what is known of a handler."""
        pace = self._paces.get(id(handler))
        if pace is None:
            pace = self._paces.setdefault(id(handler), Pace(handler, self._clock))
        return pace

    def _begin_session(self, req: ReqMsg) -> None:
        bind_session(req, self._sessions.of(req.to_user_name, req.openid))

    # -- in a thread -------------------------------------------------------------------------------------------------

    def drive(self, found: Found, sink: Sink) -> None:
        """Call a handler in this thread, up to the last word and beyond it, if that comes late."""
        handler, begun = found.handler, self._clock.now()
        AT_WORK.set(sink.req)
        try:
            self._begin_session(sink.req)
            with self._context():
                result, exc = None, None
                try:
                    result = self._call(handler, sink, sink.req, **found.groups)
                except BaseException as error:  # a handler that calls sys.exit() is a bug like any other
                    exc = error
                self._end(handler, sink, result, exc, begun)
        except Exception as exc:
            self._outside(handler, sink, exc)

    def _call(self, handler: Handler, sink: Sink, /, *args: Any, **groups: Any) -> Any:
        """Call and return the reply, not checked yet. What turns out to be asynchronous is waited for."""
        pace = self.pace_of(handler)
        begun = pace.begin()
        try:
            result = handler(*args, **groups)
        finally:
            pace.end(begun, others=self._running)
        if isinstance(result, _PLAIN):
            return result
        if isinstance(result, GeneratorType):
            pace.is_stream()
            with closing(_pieces(result)) as pieces:
                for piece in pieces:
                    if sink.piece(_checked(piece, handler)):
                        sink.flush()
                    if sink.full:
                        break
            return None
        if inspect.isawaitable(result) or inspect.isasyncgen(result):
            pace.is_stream()
            return self._loop.run(self._await(result, handler, sink))
        return result

    def _end(self, handler: Handler, sink: Sink, result: Any, exc: BaseException | None, begun: float) -> None:
        """Say the last word. Store and user's code may block here: never called in the event loop."""
        if exc is None:
            try:
                sink.req.session.finish()
                rsp = fit(as_reply(result, handler), sink.req, strict=self._strict())
            except BaseException as error:
                exc = error
        if exc is not None:
            rsp = self._failed(handler, sink, exc, self._clock.now() - begun)
        else:
            self._tell(handler, sink.req, begun)
        self._reply(sink, rsp)

    def _reply(self, sink: Sink, rsp: RspMsg) -> None:
        late = sink.reply(rsp)
        if late is not None:
            sink.settle(delivered=self._tell_late(sink, late))

    def _checked_reply(self, handler: Handler, sink: Sink, result: Any, begun: float) -> RspMsg | None:
        """Return the reply; None if it is not as it should be or the session is to be given back, which `_end` sees to."""
        session = sink.req.session
        if session.locked:
            return None
        session.finish()
        try:
            rsp = fit(as_reply(result, handler), sink.req, strict=self._strict())
        except Exception:
            return None
        self._tell(handler, sink.req, begun)
        return rsp

    def _tell(self, handler: Handler, req: ReqMsg, begun: float) -> None:
        """Write the line that says which handler has answered."""
        if log.isEnabledFor(logging.INFO):
            took = self._clock.now() - begun
            words = f"{took:.1f} s" if took >= 1 else f"{took * 1000:.0f} ms"
            name = title(handler).rpartition("<locals>.")[2]
            log.info("%s → %s() · %s", kind_of(req), name, words, extra={"handler": handler, "took": took})

    def _failed(self, handler: Handler, sink: Sink, exc: BaseException, took: float) -> RspMsg:
        """Log a bug in a handler, and return what the user gets."""
        try:
            sink.req.session.finish(save=False)
        except Exception:
            log.exception("req.session could not be given back")
        of_handler = {"handler": handler, "took": took}
        if isinstance(exc, SessionBusy):
            log.warning("%s waited for req.session; a user gets the busy text", title(handler))
            return self._own(sink, self._words.busy_text)
        if isinstance(exc, ReplyError):
            log.error("the reply of %s cannot be sent: %s", *(place(handler), exc), extra=of_handler)
        else:
            log.error("the handler %s raised / 处理函数出错了", place(handler), exc_info=exc, extra=of_handler)
        on_error = self._handlers.get("on_error")
        if on_error is None or on_error is handler:
            self._tell_failure(sink.req, exc)
            return self._own(sink, self._words.error_text)
        try:
            self._begin_session(sink.req)  # what the handler that raised has changed is forgotten
            result = self._call(on_error, sink, exc, sink.req)
            sink.req.session.finish()
            return fit(as_reply(result, on_error), sink.req, strict=self._strict())
        except BaseException as error:
            return self._failed(on_error, sink, error, took)

    def _own(self, sink: Sink, text: str | None) -> RspMsg:
        return TextRspMsg(text) if text and sink.req.answerable == "yes" else EmptyRspMsg()

    def _tell_late(self, sink: Sink, rsp: RspMsg) -> bool:
        """Call on_late_reply; true when it has delivered the reply itself."""
        on_late_reply = self._handlers.get("on_late_reply")
        if on_late_reply is None:
            return False
        try:
            result = on_late_reply(sink.req, rsp)
            if inspect.isawaitable(result):
                result = self._loop.run(_awaited(result))
            return result is True
        except Exception:
            log.exception("on_late_reply raised / on_late_reply 出错了")
            return False

    def _outside(self, handler: Handler, sink: Sink, exc: Exception) -> None:
        """The application context could not be entered or left, as when the app's own teardown raises."""
        if sink.over:
            log.error("after the handler %s the app's teardown raised", title(handler), exc_info=exc)
        else:
            log.error("the handler %s could not be called", title(handler), exc_info=exc)
            sink.reply(self._own(sink, self._words.error_text))

    # -- in the event loop -------------------------------------------------------------------------------------------

    async def drive_async(self, found: Found, sink: Sink) -> None:
        """Call a handler in the event loop. Whatever blocks is done in a thread meanwhile."""
        handler, begun = found.handler, self._clock.now()
        AT_WORK.set(sink.req)
        try:
            self._begin_session(sink.req)
            with self._context():
                result, exc = None, None
                try:
                    result = await self._await(handler(sink.req, **found.groups), handler, sink)
                except BaseException as error:
                    exc = error
                rsp = self._checked_reply(handler, sink, result, begun) if exc is None else None
                # To a thread only if need be: that costs more than the reply. With what is set in this context, the app's.
                if rsp is None:
                    await self._loop.aside(copy_context().run, self._end, handler, sink, result, exc, begun)
                elif not sink.reply_at_once(rsp):
                    await self._loop.aside(copy_context().run, self._reply, sink, rsp)
        except Exception as exc:
            await self._loop.aside(self._outside, handler, sink, exc)

    async def _await(self, result: Any, handler: Handler, sink: Sink) -> Any:
        if not inspect.isasyncgen(result):
            return await result
        async with aclosing(result):
            async for piece in result:
                if sink.piece(_checked(piece, handler)):
                    await self._loop.aside(sink.flush)
                if sink.full:
                    break
        return None


def _checked(piece: Any, handler: Handler) -> str:
    if not isinstance(piece, str):
        raise ReplyError(
            f"{title(handler)} yielded {type(piece).__name__}; a streaming handler yields str / "
            f"yield 了 {type(piece).__name__}：流式回复只能 yield 文本"
        )
    return piece


def _pieces(result: Generator[Any, None, Any]) -> Generator[Any, None, None]:
    """Yield what a handler yields, and at last what it returns: ``return "text"`` is a natural way to leave early."""
    last = yield from result
    if last:
        yield last


async def _awaited(result: Any) -> Any:
    return await result
