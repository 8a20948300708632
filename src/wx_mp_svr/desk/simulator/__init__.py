"""WeChat on your desk: a page that looks like a WeChat chat, with an inspector beside it.

`testing` sends and judges, `talk` remembers, this is the Flask shell. The page may send messages in your account's name,
so it is for you alone: only 127.0.0.1 is listened on, the Host header must say so (a foreign name that resolves to
127.0.0.1 is not), and every request needs the key in the URL's path. Nothing is fetched from anywhere else.
"""

import hmac
import secrets
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, redirect, request
from werkzeug.serving import make_server

from ...clock import FastClock
from ...serve import Quiet
from ...server import WxMpServer
from ...store import Store
from ...store.memory import MemoryStore
from ...testing import FakeWeChat
from ..diagnosis import texts_of
from .keeping import Keeping
from .talk import Talk
from .views import as_curl, as_pytest

_STATIC = Path(__file__).parent / "static"
# Not guessed: Windows' registry may call .js text/plain, and then the browser runs none of it.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the key stands in the URL
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN = "open"  # where a browser's ticket is taken
BACK = "back"  # where a page comes to that was open before a restart
_MAX_BODY = 32 * 1024 * 1024  # of a saved talk
_DEFAULT_URL = "http://127.0.0.1:5001/wx_mp_cb"


def make_app(
    target: Any,
    *,
    name: str = "我的公众号",
    key: str | None = None,
    store: Store | None = None,
    broken: str = "",
    found: tuple[str, str] | None = None,
    keeping: Keeping | None = None,
    **account: Any,
) -> Flask:
    """Make the simulator as a Flask app. Its page is ``/KEY/``; serve it with threads, and to nobody else.

    Args:
        target: The bot: a URL, a WSGI application or a `WxMpServer`.
        name: The account's, as the chat shows it.
        key: What the URL must hold; by default a random one, see ``app.config["KEY"]``.
        store: Where a bot in this process remembers; by default in memory.
        broken: Why there is no bot.
        found: In which module the bot stands, and its name there, for tests that are copied; by default it is looked for.
        keeping: Has the talk to go on with, and lets pages in that were open before.
        account: Of `FakeWeChat`: token, appid, aes_key, path, and the mode to begin with.
    """
    rescale: Callable[[float], tuple[WxMpServer, FastClock]] | None = None
    wechat = FakeWeChat(target, **account)
    if isinstance(target, WxMpServer):
        store = store or MemoryStore()  # one for all copies, so that another speed does not make the bot forget

        def rescale(scale: float) -> tuple[WxMpServer, FastClock]:
            clock = FastClock(1 / scale)
            copy = target.with_clock(clock, store=store)
            copy.runner = None  # a task queue's workers do not know this store
            return copy, clock

        target_now, clock = rescale(wechat.time_scale)
        wechat = replace(wechat, target=target_now, path=target.settings.path, clock=clock)
    texts = texts_of(target.settings) if isinstance(target, WxMpServer) else None
    secret = keeping.secret if keeping else ""
    talk = Talk(wechat, name=name, rescale=rescale, broken=broken, texts=texts, secret=secret)
    if keeping and keeping.talk:
        talk.resume(keeping.talk)
    app = Flask(__name__, static_folder=None)
    app.config.update(KEY=key or secrets.token_urlsafe(24), MAX_CONTENT_LENGTH=_MAX_BODY, TICKET=Ticket(), TALK=talk)
    _guard(app)
    _serve_ticket(app)
    if keeping:
        _serve_return(app, keeping)
    _serve_page(app)
    _serve_talk(app, talk, target, found)
    return app


def serve(
    target: Any,
    *,
    port: int = 5002,
    open_browser: bool = True,
    on_ready: Callable[[str], object] = print,
    **account: Any,
) -> None:
    """Serve the simulator until Ctrl-C.

    Args:
        target: The bot: a URL, a WSGI application or a `WxMpServer`.
        port: 0 for any free one.
        open_browser: Show the page.
        on_ready: Called with the page's URL once it can be opened.
        account: The rest of what `make_app` takes.

    Raises:
        OSError: The port is taken.
    """
    keeping = Keeping(f"{target if isinstance(target, str) else Path.cwd()} {port}")
    app = make_app(target, keeping=keeping, **account)
    try:
        server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    except SystemExit as exc:  # werkzeug's way to say it
        raise OSError(f"port {port} is taken / 端口 {port} 已被占用") from exc
    url = f"http://127.0.0.1:{server.server_port}/{app.config['KEY']}/"
    on_ready(url)
    if open_browser:
        # A browser's command line can be read by every user of this machine.
        webbrowser.open(f"http://127.0.0.1:{server.server_port}/{OPEN}/{app.config['TICKET'].code}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        keeping.save(app.config["TALK"].pause())


def _guard(app: Flask) -> None:
    """Let in whoever has the key and means this machine; say to browsers what the page may do."""

    @app.before_request
    def check() -> None:
        port = request.environ["SERVER_PORT"]
        if request.headers.get("Host", "") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            abort(403)
        given = request.path.split("/")[1]
        if given not in (OPEN, BACK) and not any(
            _same(given, key) for key in (app.config["KEY"], app.config["TICKET"].key)
        ):
            abort(403)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(ValueError)
    def refuse(error: ValueError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 400


def _same(given: str, key: str) -> bool:
    return bool(key) and hmac.compare_digest(given.encode(), key.encode())


class Ticket:
    """Lets in the browser that was opened for the user: its code can be read by others, so it is good once.

    Whoever comes second with the code may be the user, when somebody else was quicker: then both stay outside, and the
    page is opened by the address in the terminal.

    Attributes:
        code: What stands in the browser's command line.
        key: What the code was exchanged for, "" as long as it was not.
    """

    def __init__(self) -> None:
        self.code = secrets.token_urlsafe(24)
        self.key = ""
        self._used = False
        self._lock = threading.Lock()

    def exchange(self, code: str) -> str:
        """Exchange the code for a key; "" when it is no good."""
        if not _same(code, self.code):
            return ""
        with self._lock:
            self.key = "" if self._used else secrets.token_urlsafe(24)
            self._used = True
            return self.key


def _serve_ticket(app: Flask) -> None:
    @app.get(f"/{OPEN}/<code>")
    def enter(code: str) -> Any:
        key = app.config["TICKET"].exchange(code)
        words = "这个网址只能用一次，已经有人用过了：请用终端里打印的网址打开模拟器"
        return redirect(f"/{key}/") if key else Response(words, 403, content_type="text/plain; charset=utf-8")


def _serve_return(app: Flask, keeping: Keeping) -> None:
    @app.get(f"/{BACK}")
    def challenge() -> dict[str, str]:
        return {"challenge": keeping.challenge()}

    @app.post(f"/{BACK}")
    def come_back() -> dict[str, str]:
        said = _json()
        if not keeping.is_known(str(said.get("challenge")), str(said.get("proof"))):
            abort(403)
        return {"key": app.config["KEY"]}


def _serve_page(app: Flask) -> None:
    names = {path.name for path in _STATIC.iterdir() if path.suffix in _TYPES}

    @app.get("/<key>/")
    def page(key: str) -> Response:
        return static(key, "index.html")

    @app.get("/<key>/static/<name>")
    def static(key: str, name: str) -> Response:
        if name not in names:
            abort(404)
        # Read whole: a file that is sent stays open where werkzeug's server loses the browser in the middle.
        return Response((_STATIC / name).read_bytes(), content_type=_TYPES[Path(name).suffix])


def _serve_talk(app: Flask, talk: Talk, target: Any, found: tuple[str, str] | None) -> None:
    changes: dict[str, Callable[[dict[str, Any]], None]]
    changes = {
        "state": talk.configure,
        "talk.json": talk.open,
        "clear": lambda _: talk.clear(),
        "follow": lambda _: talk.follow(),
    }

    @app.get("/<key>/events")
    def events(key: str) -> Response:
        def stream() -> Iterator[str]:
            retry = "retry: 300\n"  # milliseconds, until a page whose bot is being reloaded asks again
            for message in talk.watch():
                yield f"data: {message}\n{retry}\n" if message else ": still here\n\n"
                retry = ""

        talk.look()
        return Response(stream(), content_type="text/event-stream")

    @app.post("/<key>/<any(state, 'talk.json', clear, follow):what>")
    def change(key: str, what: str) -> dict[str, Any]:
        changes[what](_json())
        return {}

    @app.post("/<key>/build")
    def build(key: str) -> dict[str, Any]:
        return {"xml": talk.build(_json())}

    @app.post("/<key>/push")
    def push(key: str) -> dict[str, Any]:
        spec = _json()
        count = spec.get("count", 1)
        if type(count) is not int or not 1 <= count <= 20:
            raise ValueError("一次 1～20 条")
        return {"ids": [talk.push(talk.build(spec)) for _ in range(count)]}

    @app.post("/<key>/push/<int:number>/again")
    def again(key: str, number: int) -> dict[str, Any]:
        spec = _json()
        count = 10 if spec.get("burst") is True else 1
        _known(talk, number)
        return {"ids": [talk.again(number, new=spec.get("new") is True) for _ in range(count)]}

    @app.get("/<key>/push/<int:number>/<any(curl, pytest):form>")
    def export(key: str, number: int, form: str) -> Response:
        url = target if isinstance(target, str) else _DEFAULT_URL
        push = _known(talk, number)
        text = as_curl(push, url) if form == "curl" else as_pytest(talk.until(number), target, found)
        return Response(text, content_type="text/plain; charset=utf-8")

    @app.get("/<key>/talk.json")
    def save(key: str) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="wechat-talk.json"'}
        return Response(talk.save(), content_type="application/json", headers=headers)


def _known(talk: Talk, number: int) -> dict[str, Any]:
    try:
        return talk.get(number)
    except KeyError:
        abort(404)


def _json() -> dict[str, Any]:
    found = request.get_json()
    if not isinstance(found, dict):
        raise ValueError("须为 JSON 对象")
    return found
