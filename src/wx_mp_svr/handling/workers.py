"""Where handlers run: a bounded pool of threads, and one event loop per process.

Not concurrent.futures: its threads are joined at exit, and a process that was told to stop could not give up the work that
is left. Both start with their first task, in whichever process that is. Knows nothing of messages, replies or stores.
"""

import gc
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from ..clock import Clock, Signal
from ..forking import ForkAware

if TYPE_CHECKING:
    import asyncio  # at run time with the first coroutine: it takes a fifth of our own start

log = logging.getLogger("wx_mp_svr")

T = TypeVar("T")

PACKAGE = Path(__file__).parent.parent
STANDARD = Path(threading.__file__).parent
# Where no code of a user's stands; their outermost function is the handler.
NOT_THEIRS = (*(str(STANDARD / name) for name in ("asyncio", "selectors", "threading")), str(PACKAGE))

Task = Callable[[], object]

FOREVER = 1e6  # seconds
STUCK_SECONDS = 1.0  # that a loop does not go on, and somebody blocks it
TELL_STUCK_SECONDS = 7.0  # after which it is said even if it goes on being blocked
ASIDE_THREADS = 32  # for what coroutines must not do themselves


class Pool(ForkAware):
    """Daemon threads that take tasks from a bounded queue.

    Args:
        max_running: Threads at most.
        max_queued: Tasks that may wait for one.
        clock: For waiting.
        name: Of the threads.
    """

    def __init__(self, max_running: int, max_queued: int, clock: Clock, name: str = "wx-mp-worker") -> None:
        self._max_running = max_running
        self._max_queued = max_queued
        self._clock = clock
        self._name = name
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._threads = 0
        self._tasks: deque[Task] = deque()  # only while no thread is idle
        self._idle: list[_Idle] = []

    def submit(self, task: Task) -> bool:
        """Run *task* soon; false when the queue is full.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        with self._lock:
            if self._idle:
                idle = self._idle.pop()
            elif self._threads < self._max_running:
                self._clock.start(lambda: self._run(task), self._name)
                self._threads += 1  # after it: there may be no thread to be had
                return True
            elif len(self._tasks) < self._max_queued:
                self._tasks.append(task)
                return True
            else:
                return False
        idle.task = task
        idle.signal.set()
        return True

    @property
    def queued(self) -> int:
        """How many tasks wait for a thread."""
        return len(self._tasks)

    def _run(self, task: Task) -> None:
        while True:
            try:
                task()
            except BaseException:
                log.exception("a bug of wx-mp-svr")  # which must not cost a thread
            task = self._next()

    def _next(self) -> Task:
        with self._lock:
            if self._tasks:
                return self._tasks.popleft()
            idle = _Idle(self._clock.signal())
            self._idle.append(idle)  # the last to come is the first to go: its caches are warm
        while not idle.signal.wait(FOREVER):
            pass
        return idle.task


class _Idle:
    """A thread that waits for its next task."""

    __slots__ = ("signal", "task")
    task: Task

    def __init__(self, signal: Signal) -> None:
        self.signal = signal


class Loop(ForkAware):
    """One asyncio loop in a thread of its own: users share async clients, and those belong to one loop.

    Args:
        clock: For waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._aside = Pool(ASIDE_THREADS, 1_000_000, clock, "wx-mp-aside")
        self.watch_forks()

    def begin(self) -> None:
        """Set up what does not survive a fork."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._coroutines: set[asyncio.Task[Any] | None] = set()
        self._watched = False

    def _get(self) -> "asyncio.AbstractEventLoop":
        import asyncio

        with self._lock:
            self._loop = self._loop or asyncio.new_event_loop()
            if self._thread is None:
                thread = threading.Thread(target=self._loop.run_forever, name="wx-mp-loop", daemon=True)
                thread.start()
                self._thread = thread  # after it: there may be no thread to be had
            return self._loop

    def inside(self) -> bool:
        """Whether the caller is in this loop's thread; with gevent, in its greenlet."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    def submit(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine, in a context of its own.

        Args:
            work: Makes it; called only when there is a loop, since a coroutine that is made has to be awaited.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        import asyncio

        loop, clock = self._get(), self._clock

        async def run() -> None:
            task = asyncio.current_task()
            self._coroutines.add(task)  # a loop itself refers to its tasks only weakly
            try:
                await work()
            except BaseException:
                log.exception("a bug of wx-mp-svr")
            finally:
                self._coroutines.discard(task)
                clock.leave()

        self._watch()
        clock.enter()
        loop.call_soon_threadsafe(lambda: loop.create_task(run()), context=Context())

    def _watch(self) -> None:
        """See to it that somebody looks whether the loop goes on, as long as there are coroutines in it."""
        with self._lock:
            if self._watched:
                return
            try:
                self._clock.start(self._look, "wx-mp-watchdog")
                self._watched = True
            except RuntimeError:  # no thread to be had: nobody is accused meanwhile
                pass

    def _look(self) -> None:
        """Name who blocks the loop: one blocking call in an `async def` stops all other handlers without a word."""
        loop = self._get()

        def go_on() -> None:
            passed.set()
            self._clock.leave()

        while True:
            passed, asked = self._clock.signal(), self._clock.now()
            self._clock.enter()  # a loop that only has not come to it yet would seem stuck to a clock that jumps
            loop.call_soon_threadsafe(go_on)
            if not passed.wait(STUCK_SECONDS):
                where = self._where()
                while not passed.wait(STUCK_SECONDS) and self._clock.now() - asked < TELL_STUCK_SECONDS:
                    where = self._where() or where
                log.error(
                    "%s has blocked the event loop for %.0f s, and all other async handlers with it: await instead, or "
                    "write the handler as a def / 卡住了事件循环 %.0f 秒：改用 await，或写成 def",
                    *(where or "a handler", self._clock.now() - asked, self._clock.now() - asked),
                )
                passed.wait(FOREVER)
            self._clock.sleep(STUCK_SECONDS)
            with self._lock:
                self._watched = bool(self._coroutines)
                if not self._watched:
                    return

    def _where(self) -> str:
        """Say in which function of the user's the loop is: name (file:line)."""
        frame = frame_of(self._thread.ident or 0) if self._thread is not None else None
        found = ""
        while frame is not None:
            name = frame.f_code.co_filename
            if not name.startswith(NOT_THEIRS) and "<frozen" not in name:
                found = f"{frame.f_code.co_name} ({name}:{frame.f_lineno})"
            frame = frame.f_back
        return found

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine from another thread, and wait for its end."""
        import asyncio

        loop, over = self._get(), self._clock.signal()
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        future.add_done_callback(lambda _: over.set())
        self._clock.enter()
        try:
            while not over.wait(FOREVER):
                pass
        finally:
            self._clock.leave()
        return future.result()

    async def aside(self, call: Callable[..., T], *args: Any) -> T:
        """Call in a thread what may block, while the loop goes on."""
        import asyncio

        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def work() -> None:
            result, error = None, None
            try:
                result = call(*args)
            except BaseException as exc:
                error = exc
            loop.call_soon_threadsafe(finish, result, error)

        try:
            self._aside.submit(work)
        except RuntimeError:  # no thread to be had; Python 3.12.0 and 3.12.1 give none while they end
            return call(*args)
        return await done


def in_thread(call: Callable[[], Any], name: str) -> "Future[Any]":
    """Call in a daemon thread of its own; an executor would refuse it at exit, and wait for it there."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def frame_of(thread: int) -> FrameType | None:
    """Return where a thread is, by its identifier.

    In Python 3.10, and before 3.11.9, no garbage may be collected meanwhile, or the process can stop for ever: the list of
    threads is locked, and a thread that begins or ends waits for it without letting go of the GIL (CPython issue 106883).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)
    finally:
        if collects:
            gc.enable()
