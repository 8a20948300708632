"""``wx-mp-svr dev``: a bot and the simulator in one terminal, loaded anew whenever a file is saved.

Werkzeug's reloader watches the files and starts a process for each version of them; it keeps the page's port meanwhile.
What the page shows, and what the bot remembers, goes from one process to the next in a folder of our own.
"""

import atexit
import itertools
import logging
import os
import secrets
import sys
import tempfile
import threading
import traceback
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from werkzeug.serving import is_running_from_reloader, make_server, run_simple

from .. import config
from ..config import Settings
from ..serve import Quiet
from ..server import WxMpServer
from ..store.sqlite import SQLiteStore
from .botside import BotSide
from .diagnosis import account
from .loading import LoadError, is_file, load, split, where
from .simulator import OPEN, make_app
from .terminal import say

log = logging.getLogger("wx_mp_svr")

RELOAD = 3  # the exit code at which Werkzeug's reloader begins anew
PATIENCE_SECONDS = 5
FOLDER = "WX_MP_DEV_FOLDER"  # where a process finds what the one before has left


def dev(target: str, *, port: int, bot_port: int | None, open_browser: bool, name: str) -> None:
    """Serve a bot and the simulator until Ctrl-C.

    Args:
        target: What to load, see `loading.load`.
        port: The page's.
        bot_port: Where the bot listens for others than the page; by default where its settings say.
        open_browser: Show the page.
        name: The account's, as the chat shows it.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its banner and its reloader say nothing that we do not
    files = [split(target)[0]] if is_file(target) else []
    if is_running_from_reloader():
        app = _make(Path(os.environ[FOLDER]), target, port, bot_port, open_browser, name)
    else:
        folder = tempfile.TemporaryDirectory(prefix="wx-mp-svr-dev-")  # 0700: talks and the page's key are in it
        os.environ[FOLDER] = folder.name
        (Path(folder.name) / "key").write_text(secrets.token_urlsafe(24))
        atexit.register(folder.cleanup)
        app = None
    try:
        run_simple("127.0.0.1", port, app, threaded=True, request_handler=Quiet, use_reloader=True, extra_files=files)
    except SystemExit as exc:
        if exc.code == 1:
            raise click.UsageError(f"端口 {port} 已被占用（另一个模拟器？）：用 --port 换一个") from exc
        raise


def _make(folder: Path, target: str, port: int, bot_port: int | None, open_browser: bool, name: str) -> Any:
    """Load the bot and return the page, whatever came of it."""
    _log_to_terminal()
    first = not (folder / "shown").exists()
    server, broken = _load(target, first=first)
    settings = server.settings if server is not None else _demo_settings()
    app = make_app(
        server or _nobody,
        name=name,
        key=(folder / "key").read_text(),
        store=SQLiteStore(folder / "bot.sqlite3"),
        broken=broken,
        found=where(target),
        **account(settings),
    )
    talk, before = app.config["TALK"], folder / "talk.json"
    logging.getLogger().addHandler(BotSide(talk.note))
    if before.exists():
        talk.resume(before.read_text("utf-8"))
    atexit.register(lambda: before.write_text(talk.pause(), "utf-8"))
    url = f"http://127.0.0.1:{port}/{app.config['KEY']}/"
    bot_url = _serve_bot(server, bot_port) if server is not None else ""
    _tell(target, broken, bot_url, url, first=first)
    if open_browser and first:
        # A browser's command line can be read by every user of this machine.
        webbrowser.open(f"http://127.0.0.1:{port}/{OPEN}/{app.config['TICKET'].code}")
    (folder / "shown").touch()
    return app


@contextmanager
def _patience(target: str) -> Iterator[None]:
    """While a program is being loaded, say where it hangs, and begin anew when it is saved: the reloader runs later."""
    done, file, main = threading.Event(), Path(split(target)[0]), threading.main_thread().ident

    def saved() -> float:
        return file.stat().st_mtime if file.is_file() else 0.0

    def watch(before: float) -> None:
        for second in itertools.count(1):
            if done.wait(1):
                return
            if saved() != before:
                os._exit(RELOAD)
            if second == PATIENCE_SECONDS:
                frames = traceback.extract_stack(sys._current_frames().get(main or 0))
                where = next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if f.filename == str(file)), target)
                say(
                    f"{target} 加载了 {second} 秒还没有结束，停在 {where}：在这里启动服务要用 run()，"
                    "不要用 waitress.serve() 等",
                    err=True,
                    fg="yellow",
                )

    threading.Thread(target=watch, args=(saved(),), name="dev", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _load(target: str, *, first: bool) -> tuple[WxMpServer | None, str]:
    log.setLevel(logging.WARNING if first else logging.ERROR)  # nothing is said twice
    try:
        with _patience(target):
            server = load(target)
    except LoadError as exc:
        return None, str(exc)
    finally:
        log.setLevel(logging.INFO)
    server.app.debug = True  # in development a reply that cannot be sent is an error, and is not mended
    return server, ""


def _demo_settings() -> Settings:
    return config.load({}, {}, config.demo_account({}, {}, {}))


def _nobody(environ: Any, start_response: Any) -> list[bytes]:
    """Stand for a bot that could not be loaded; the page sends it nothing."""
    start_response("503 Service Unavailable", [])
    return []


def _serve_bot(server: WxMpServer, bot_port: int | None) -> str:
    """Let others reach the bot, too: another command, a tunnel. Returns its URL, "" where its port is taken."""
    settings = server.settings
    port = settings.port if bot_port is None else bot_port
    try:
        listening = make_server("127.0.0.1", port, server, threaded=True, request_handler=Quiet)
    except SystemExit:  # werkzeug's way to say it
        return ""
    threading.Thread(target=listening.serve_forever, name="dev-bot", daemon=True).start()
    return f"http://127.0.0.1:{listening.server_port}{settings.path}"


def _log_to_terminal() -> None:
    """Show what the program logs, from INFO on, and each line once."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def _tell(target: str, broken: str, bot_url: str, url: str, *, first: bool) -> None:
    if broken:
        say(f"{broken}\n", fg="red", err=True)
        say("改好后存盘，会自动重新加载", err=True)
    elif not first:
        say(f"已重新加载 {target}", fg="green", err=True)
    if bot_url and first:
        say(f"机器人  {bot_url}", err=True)
    elif not broken and not bot_url:
        say("机器人的端口已被占用，别的程序访问不到它（模拟器不受影响）：用 --bot-port 换一个", fg="yellow", err=True)
    if first:
        say("改代码后存盘，自动重新加载；按 Ctrl+C 结束", err=True)
        say(f"模拟器  {url}")
