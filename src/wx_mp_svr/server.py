"""WxMpServer: the Flask shell around the exchange.

Requests in, responses out; translates and does nothing else. If it grows an `if` about WeChat, that line belongs below.
"""

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from . import complaints, config, host
from .clock import REAL, Clock, FastClock
from .delivery.arrivals import Arrivals
from .delivery.ledger import Ledger
from .delivery.links import Links
from .delivery.rules import Times
from .delivery.runs import Job, Runs
from .delivery.texts import Texts
from .errors import ConfigError
from .exchange import FORBIDDEN, TEXT, Answer, Exchange
from .front import FAILURE, Front, headers_of, is_from_here, read_body
from .handling.handlers import NAMES
from .handling.registry import Hooks
from .living import Living
from .mistakes import OLD_METHODS
from .req_msg import ReqMsg
from .rsp_msg import Reply
from .serve import serve
from .session import Session
from .store import Store, is_down, open_default_store, open_store, try_store
from .store.guarded import GuardedStore
from .store.late import LateStore
from .store.memory import MemoryStore
from .store.place import place_of, spare_of
from .store.sqlite import SQLiteStore
from .wire.crypto import ReusedCipher
from .wire.envelope import Envelope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from typing_extensions import Unpack

    from .testing import FakeWeChat

log = logging.getLogger("wx_mp_svr")

_mounted: "Living[WxMpServer]" = Living()

_OWN_APP: Any = object()
_COPY = "wx_mp_svr.copy"  # in an environ: which copy of the mounted server is asked


class WxMpServer(Hooks):
    """A server for the callbacks of one Official Account (公众号).

    Give it your handlers by subclass, by argument or by decorator::

        class Bot(WxMpServer):
            def on_message(self, req):
                return "你好"

        WxMpServer(on_message=echo)

        @server.on_message
        def echo(req): ...

        @server.text("帮助")
        def help(req): ...

    A handler takes the message and returns a reply object, a str (text), an Article or a list of them (news), or None to
    acknowledge; it may be a ``def`` or an ``async def``, and yield its text piece by piece. It runs once per push, in a
    pool thread (an ``async def`` in the one event loop of the process), inside an application context, but outside of the
    Flask request. What the bot remembers of the user is `req.session`.

    The server is a WSGI application itself (``gunicorn -k gthread --threads 512 demo:server``).

    Args:
        on_message: Answers messages.
        on_subscribe: Answers a new follower.
        on_event: Hears all other events, and component notices.
        on_error: Called with (exception, message) when a handler raised; may return a reply.
        on_late_reply: Called with (message, reply) for an answer that was ready only after WeChat's last try. Accounts
            that may use the customer-service API can send it there; others need nothing, it waits behind a link.
        runner: See the attribute of that name.
        app: Omitted, the server has a Flask app of its own; a Flask app to be mounted in; None to wait for `init_app`.
        env_prefix: Of the environment names; another one for a second account.
        settings: Every other setting by name (``token="..."``); see `wx_mp_svr.config.Settings`. An argument goes before
            ``app.config["WX_MP_..."]``, and that before the environment.

    Raises:
        ConfigError: Something is set up wrongly; all mistakes at once, each with its cure.
    """

    def __init__(
        self,
        *,
        on_message: Callable[[Any], Reply] | None = None,
        on_subscribe: Callable[[Any], Reply] | None = None,
        on_event: Callable[[Any], Reply] | None = None,
        on_error: Callable[[Any, Any], Reply] | None = None,
        on_late_reply: Callable[[Any, Any], Any] | None = None,
        runner: Callable[[Job], Any] | None = None,
        app: Flask | None = _OWN_APP,
        env_prefix: str = "WX_MP_",
        **settings: "Unpack[config.GivenSettings]",
    ) -> None:
        maker = _caller()
        # Somebody tries something out; a module is for a server that serves others. The other name is what it has in the
        # processes that multiprocessing spawns.
        self._is_script = maker in ("__main__", "__mp_main__")
        complaints.show_plainly()
        for unknown in settings.keys() - config.NAMES:
            near = config.near(unknown)
            hint = f"did you mean {near}?" if near else "the README's table 全部设置 has them all"
            cure = f"是不是 {near}？" if near else "见 README 的「全部设置」"
            raise ConfigError(f"there is no setting {unknown}; {hint} / 没有 {unknown} 这个设置，{cure}")
        self._arguments = settings
        self._env_prefix = env_prefix
        super().__init__()
        self._exchange: Exchange | None = None
        self._store: Store | None = None
        self._told_threads = self._told_strangers = False
        self._origin = self  # of a copy, the server that is mounted
        self._testing = False  # a copy for tests complains about what production mends
        self._failures: list[tuple[str, BaseException]] | None = None  # of a copy for tests: user, what was raised
        self.clock: Clock = REAL
        self._runner = runner
        self.app: Any = None
        given = (on_message, on_subscribe, on_event, on_error, on_late_reply)
        for name, handler in zip(NAMES, given, strict=True):
            if handler is not None:
                self._handlers.give(name, handler)
        self._alone = app is _OWN_APP
        if app is _OWN_APP:
            app = Flask(maker, static_folder=None)
        if app is not None:
            self.init_app(app)

    def __new__(cls, *names: Any, **_: Any) -> "WxMpServer":
        """Say what became of a name by position, as version 0.1 and other libraries have it."""
        if names:
            raise TypeError(
                "WxMpServer takes its handlers and settings by name: WxMpServer(on_message=..., token=...) / "
                "参数须写名字，没有位置参数"
            )
        return super().__new__(cls)

    def __getattr__(self, name: str) -> Any:
        """Say what became of a method of version 0.1 or of another library."""
        new = OLD_METHODS.get(name)
        cure = f"; write {new} instead / 现在写作 {new}" if new else ""
        # Python's own suggestion would be one of our private names.
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{cure}", name=name, obj=None)

    def init_app(self, app: Flask) -> None:
        """Mount the server in a Flask app, at its `path`. Several servers (accounts) may live in one app.

        Raises:
            ConfigError: Something is set up wrongly, or the path is taken.
        """
        if self._exchange is not None:
            raise ConfigError(
                "this server is mounted already; make one WxMpServer for each app and account / "
                "这个 WxMpServer 已经挂好了：每个应用、每个公众号各用一个"
            )
        if getattr(app, "_got_first_request", False):  # else Flask's own assertion, which knows nothing of accounts
            raise ConfigError(
                "the app has answered its first request and takes no more routes; mount all servers before it does, or let "
                "one route of it find the account's own WxMpServer(): see 运行中添加公众号 in demo/README.md / "
                "应用已经开始应答，不能再添加路由：请在启动时挂好；要在运行中添加，见 demo/README.md 的「运行中添加公众号」"
            )
        environ: Mapping[str, str] = os.environ
        if self._is_script:
            environ = {**environ, **config.demo_account(self._arguments, app.config, environ, self._env_prefix)}
        settings = config.load(self._arguments, app.config, environ, self._env_prefix)
        taken = [rule for rule in app.url_map.iter_rules() if rule.rule.rstrip("/") == settings.path.rstrip("/")]
        if taken:
            raise ConfigError(
                f"{self._env_prefix}PATH: {settings.path} is taken by {taken[0].endpoint!r} of this app; choose another "
                "path for one of the two / 这个路径已被占用，请换一个"
            )
        self.app = app
        for warning in [*config.warnings(settings), *config.misspelt({**os.environ, **app.config}, self._env_prefix)]:
            log.warning(warning)
        self._assemble(settings, _store_of(settings, app))
        self._tell_shared_token(settings)
        path, endpoint = settings.path, f"wx_mp:{settings.path}"
        app.add_url_rule(
            path,
            endpoint,
            self._view,
            methods=["GET", "POST"],
            merge_slashes=False,
            strict_slashes=False,  # with and without a slash at the end, and never a redirect: WeChat does not follow
        )
        # Flask's dispatch costs as much as all that we do; where nobody else is mounted, nobody misses it.
        if self._alone:
            front = Front(app.wsgi_app)
            front.take([path, f"{path}/"], self._answer)
            app.wsgi_app = front  # type: ignore[method-assign]
            app.register_error_handler(404, self._say_what_this_is)
        elif host.leaves_room_in_front(app, Front):  # the path with another end may get a view of the app's own
            front = app.wsgi_app if isinstance(app.wsgi_app, Front) else Front(app.wsgi_app)
            front.take([path], self._answer, partial(host.notices, app, endpoint, self._view))
            app.wsgi_app = front  # type: ignore[method-assign]

    def _tell_shared_token(self, settings: config.Settings) -> None:
        """Warn of one Token for two accounts: where it does not cover messages, a URL of the one forges for the other."""
        others = [other.settings for other in _mounted.all() if other is not self]
        if settings.mode != "safe" and settings.token in [other.token for other in others]:
            log.warning(
                "two accounts have the same Token: what leaks of the one forges messages of the other / "
                "两个公众号用了同一个 Token：请各用各的"
            )
        _mounted.add(self)

    def _assemble(self, settings: config.Settings, store: Store, clock: Clock = REAL) -> None:
        """Put the path of a push together."""
        self.settings = settings
        self.clock = clock
        self._store = store
        self._guarded = store if isinstance(store, MemoryStore) else GuardedStore(_late(store), clock, spare_of(store))
        ledger = Ledger(self._guarded, clock, keep_seconds=settings.keep_seconds, keep_answers=settings.keep_answers)
        links = Links(settings.fetch_words)
        self._handlers.routes.leave_taps(links.is_tap)
        texts = Texts(settings, ledger, links, clock)
        times = Times(settings.held_after, settings.hold, settings.hang_up, settings.tries)
        app = self.app
        self._runs = Runs(
            settings,
            self._guarded,
            store,
            ledger,
            texts,
            self._handlers,
            times=times,
            place=place_of(store),
            context=app.app_context,
            strict=self._is_strict,
            failed=self._note_failure,
            clock=clock,
        )
        self.runner = self._runner
        self._arrivals = Arrivals(
            settings, self._guarded, ledger, texts, links, self._runs, times=times, clock=clock, fresh=clock is REAL
        )
        if isinstance(self._guarded, GuardedStore):
            self._guarded.at_turn(self._runs.claim_again)
            self._guarded.at_turn(self._arrivals.turned)
        self._exchange = Exchange(
            _envelope_of(settings), self._arrivals, window=settings.window, max_body=settings.max_body
        )

    def _note_failure(self, req: ReqMsg, exc: BaseException) -> None:
        if self._failures is not None:
            self._failures.append((req.openid, exc))

    def _is_strict(self) -> bool:
        settings = self.app.config
        return bool(self._testing or settings["DEBUG"] or settings["TESTING"])

    def _view(self) -> Response:
        """Answer as a view of a Flask app, whose hooks, error pages and limits apply."""
        environ = request.environ
        if FAILURE in environ:
            raise environ[FAILURE]

        def read(limit: int) -> bytes:
            # A hook of the host may have read the body before us; then Flask has kept it. And one may read it behind us:
            # Flask's own stream knows then that there is nothing more to wait for.
            return read_body(request.stream, limit) or request.get_data()[:limit]

        answer = self._answer(environ, read)
        return Response(answer.body, answer.status, headers_of(answer))

    def _answer(self, environ: dict[str, Any], read: Callable[[int], bytes]) -> Answer:
        copy = environ.get(_COPY)
        if copy is not None and copy is not self and copy._origin is self._origin:
            return copy._answer(environ, read)  # type: ignore[no-any-return]
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 (nobody calls before it is there)
        if self.settings.demo_values and not is_from_here(environ):
            return self._turn_away()
        query, remote = environ.get("QUERY_STRING", ""), environ.get("REMOTE_ADDR") or "-"
        from_cloud = "HTTP_X_WX_SOURCE" in environ
        if environ["REQUEST_METHOD"] != "POST":
            return exchange.verify_url(query, now=self.clock.wall(), remote=remote)
        threaded = bool(environ.get("wsgi.multithread"))
        if not threaded and not self._told_threads:
            self._told_threads = True
            log.warning(
                "this WSGI server has one thread a process: a slow message blocks all others, and answers after 4.3 s "
                "wait behind a link. Start it with: gunicorn -k gthread --threads 512 MODULE:server / "
                "服务器只有一个线程，一条慢消息会挡住所有人：请用 gunicorn -k gthread --threads 512 启动"
            )
        body = read(self.settings.max_body + 1)
        return exchange.answer(
            query, body, now=self.clock.wall(), remote=remote, threaded=threaded, from_cloud=from_cloud
        )

    def _say_what_this_is(self, error: Any) -> Any:
        """Answer who opens the address without a path, where the user's app has nothing to show."""
        if request.environ.get("PATH_INFO") != "/":
            return error
        words = f"这里是微信公众号的消息服务，回调地址是 {self.settings.path}（服务器配置里的 URL 要写到这个路径）\n"
        return Response(words, 404, content_type=TEXT)

    def _turn_away(self) -> Answer:
        """Answer a stranger where the demo's account is in use, which anybody could forge messages for."""
        if not self._told_strangers:
            self._told_strangers = True
            log.warning(
                "refused reason=demo: with the demo's account only requests of this machine are answered, and this one "
                "came from elsewhere or through a proxy; set your own WX_MP_TOKEN, WX_MP_APPID and WX_MP_AES_KEY / "
                "演示账号只应答本机的请求，这一个来自别处或经过了代理：请设置自己的 WX_MP_TOKEN、WX_MP_APPID、WX_MP_AES_KEY"
            )
        return FORBIDDEN

    @property
    def runner(self) -> Callable[[Job], Any] | None:
        """What takes jobs to a task queue whose workers call `run_job`; None runs handlers in this process.

        Any function that takes a dict (JSON; it holds the message's text)::

            @huey.task()
            def work(job):
                server.run_job(job)

            server.runner = work

        Raises:
            ConfigError: On setting: the store is in this process's memory, where no worker finds it.
        """
        return self._runner

    @runner.setter
    def runner(self, runner: Callable[[Job], Any] | None) -> None:
        if runner is not None and isinstance(self._store, MemoryStore):
            raise ConfigError(
                "a runner needs a store that its workers share: WX_MP_STORE=sqlite:PATH or redis://... / "
                "使用任务队列时，WX_MP_STORE 须为 sqlite: 或 redis://"
            )
        self._runner = runner
        if self._store is not None:
            self._runs.runner = runner

    def session_of(self, account: str, openid: str) -> Session:
        """Return what is remembered of a user, for who is no handler: a test, an administrator's script.

        Args:
            account: The account's original ID (`req.to_user_name`).
            openid: The user's.

        Returns:
            The session, to be used as ``with server.session_of(...) as session:``.
        """
        self._mounted()
        return self._runs.session_of(account, openid)

    def run_job(self, job: Job) -> None:
        """Run the handler for a job that `runner` took to a task queue. Call it in the queue's worker.

        Args:
            job: As `runner` got it.
        """
        self._mounted()
        self._runs.work(job)

    def stats(self) -> dict[str, Any]:
        """Return what this process is doing, as JSON-ready numbers.

        Returns:
            ``held`` tries that have waited over a second, ``running`` and ``queued`` handlers, ``hung_up`` tries in the
            last 5 minutes that WeChat got no answer to, ``breaker_open`` (0 or 1), ``store`` and ``store_down`` (0 or 1).
        """
        self._mounted()
        store = {"store": type(self._store).__name__, "store_down": int(is_down(self._guarded))}
        return {**self._arrivals.stats(), **self._runs.stats(), **store}

    def test_client(
        self, *, time_scale: float | None = None, raise_errors: bool = True, **settings: Any
    ) -> "FakeWeChat":
        """Return a WeChat that pushes to a copy of this server, for tests.

        The copy has this server's handlers and app, but a memory of its own. It runs handlers in this process and complains
        about replies that production would mend. It is `client.server`.

        Args:
            time_scale: Multiplies all times of the copy and WeChat's 5 seconds (0.1: ten times as fast). Left out, time
                jumps when everybody waits, and handlers may sleep on the client's clock, see `FakeWeChat.sleep`.
            raise_errors: Raise in the test what a handler has raised, or returned wrongly, and no `on_error` took; false
                shows what the user sees then.
            settings: Of the copy (``max_held=1``); with a `store` of its own it keeps the runner, too.
        """
        from .testing import FakeWeChat  # not at the top: a server that serves has no need of it

        copy = self.with_clock(FastClock(1 / (time_scale or 1.0), jumps=time_scale is None), **settings)
        copy._testing, copy._failures = True, [] if raise_errors else None
        account = {name: getattr(copy.settings, name) for name in ("token", "appid", "aes_key", "mode")}
        path = self.settings.path  # where the app has its route, which is one for all copies
        return FakeWeChat(copy, clock=copy.clock, failures=copy._failures, path=path, **account)

    def with_clock(self, clock: Clock, **settings: Any) -> "WxMpServer":
        """Return a copy of this server that lives by another clock: with its handlers and its app, and a memory of its own.

        Args:
            clock: The copy's.
            settings: Of the copy; with a `store` of its own it keeps the runner, too.
        """
        self._mounted()
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._origin = self
        if "store" not in settings:
            copy._runner = None  # a task queue's workers would not find what is in our memory
        changed = dataclasses.replace(self.settings, **{"store": "memory:", **settings})
        copy._store = None
        copy._assemble(changed, _store_of(changed, self.app, clock), clock)
        return copy

    def _mounted(self) -> None:
        if self.app is None:
            raise ConfigError("this server has no app yet; call init_app(app) first / 还没有应用：先调用 init_app(app)")

    def run(self, host: str | None = None, port: int | None = None, *, debug: bool = False) -> None:
        """Serve until stopped: with waitress where it is installed, else with Flask's threaded development server.

        Args:
            host: Instead of the setting (127.0.0.1).
            port: Instead of the setting (5001).
            debug: Reload when a file changes. Never shows a debugger.

        Raises:
            ConfigError: Demo credentials or `debug` on an address that others can reach, or no app yet.
        """
        self._mounted()
        serve(self.app, self.settings, host=host, port=port, debug=debug)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve as a WSGI application."""
        if self._origin is not self:
            environ[_COPY] = self
        return self.app(environ, start_response)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Show the settings but no secret."""
        return f"<{type(self).__name__} {getattr(self, 'settings', 'not mounted yet')!r}>"


def mounted_in(app: Flask) -> list[WxMpServer]:
    """Return the servers that are mounted in a Flask app."""
    return [server for server in _mounted.all() if server.app is app]


def _envelope_of(settings: config.Settings) -> Envelope:
    keys = [key for key in (settings.aes_key, settings.aes_key_old) if key]
    return Envelope(settings.token, settings.mode, tuple(ReusedCipher(key, settings.appid) for key in keys))


def _store_of(settings: config.Settings, app: Flask, clock: Clock = REAL) -> Store:
    if not isinstance(settings.store, str):
        return settings.store  # type: ignore[no-any-return]  # the user's own
    # systemd's StateDirectory= comes first, since the instance folder of an installed package may be read-only.
    folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0] or app.instance_path
    store = open_store(settings.store, clock) if settings.store else open_default_store(Path(folder))
    try_store(store)
    return store


def _late(store: Store) -> Store:
    """Let writes wait where each costs a commit."""
    return LateStore(store) if isinstance(store, SQLiteStore) else store


def _caller() -> str:
    """Return the name of the module that makes the server: Flask keeps the instance folder beside it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))
