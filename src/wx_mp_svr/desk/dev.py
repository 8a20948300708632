"""``wx-mp-svr dev``: a bot and the simulator in one terminal, loaded anew whenever a file is saved.

Werkzeug's reloader watches the files and starts a process for each version of them; it keeps the page's port meanwhile.
What the page shows, and what the bot remembers, goes from one process to the next in a folder of our own.
"""

import itertools
import logging
import os
import secrets
import sys
import tempfile
import threading
import traceback
import webbrowser
from pathlib import Path
from typing import Any, NoReturn

import click
from werkzeug.serving import is_running_from_reloader, make_server, run_simple

from .. import config
from ..config import Settings
from ..handling.workers import frame_of
from ..serve import Quiet
from ..server import WxMpServer
from ..store.sqlite import SQLiteStore
from .botside import BotSide
from .diagnosis import account
from .loading import LoadError, is_file, module_of, run, split
from .simulator import OPEN, make_app
from .simulator.keeping import Keeping
from .terminal import say

log = logging.getLogger("wx_mp_svr")

FOLDER = "WX_MP_DEV_FOLDER"  # where a process finds what the one before has left
RELOAD = 3  # the exit code at which Werkzeug's reloader begins anew
PATIENCE_SECONDS = 5  # until a program that does not come to its end is said
GRACE_SECONDS = 2  # for the threads of a program that is loaded anew


def dev(target: str, *, port: int, bot_port: int | None, open_browser: bool, name: str) -> None:
    """Serve a bot and the simulator until Ctrl-C.

    Args:
        target: What to run, see `loading.run`.
        port: The page's.
        bot_port: Where the bot listens for others than the page; by default where its settings say.
        open_browser: Show the page.
        name: The account's, as the chat shows it.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its banner and its reloader say nothing that we do not
    if is_running_from_reloader():
        return _Desk(Path(os.environ[FOLDER]), target, port, bot_port, open_browser, name).run()
    with tempfile.TemporaryDirectory(prefix="wx-mp-svr-dev-") as folder:  # 0700: talks and the page's key are in it
        os.environ[FOLDER] = folder
        (Path(folder) / "key").write_text(secrets.token_urlsafe(24))
        try:
            run_simple("127.0.0.1", port, _nobody, use_reloader=True)
        except SystemExit as exc:
            if exc.code == 1:
                raise click.UsageError(f"端口 {port} 已被占用（另一个模拟器？）：用 --port 换一个") from exc
            raise


class _Desk:
    """One version of a program, and the page beside it, in a process of their own."""

    def __init__(
        self, folder: Path, target: str, port: int, bot_port: int | None, open_browser: bool, name: str
    ) -> None:
        self._folder, self._target, self._name = folder, target, name
        self._port, self._bot_port, self._open_browser = port, bot_port, open_browser
        self._file = Path(split(target)[0])
        self._saved = self._when_saved()
        self._loaded = threading.Event()
        self._first = not (folder / "shown").exists()

    def run(self) -> None:
        """Run the program, and serve it; what is wrong with it is served, too."""
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        log.setLevel(logging.WARNING if self._first else logging.ERROR)  # nothing is said twice
        threading.Thread(target=self._watch, args=(threading.get_ident(),), name="dev", daemon=True).start()
        # A module saved twice in a second, with as many bytes, would pass for what was compiled of it first.
        sys.dont_write_bytecode = True
        try:
            run(self._target, self._serve)
        except LoadError as exc:
            self._serve(None, "", str(exc))

    # -- while it is loaded ------------------------------------------------------------------------------------------

    def _when_saved(self) -> float:
        return self._file.stat().st_mtime if self._file.is_file() else 0.0

    def _watch(self, main: int) -> None:
        """Begin anew when the program is saved while it is loaded, since the reloader looks only later; say where it hangs.

        One that is not there is looked for longer: of a file that comes, the reloader does not know that it is new.
        """
        is_missing = is_file(self._target) and not self._saved
        for second in itertools.count(1):
            if self._loaded.wait(1) and not is_missing:
                return
            if self._when_saved() != self._saved:
                os._exit(RELOAD)
            if second == PATIENCE_SECONDS and not self._loaded.is_set():
                frames = traceback.extract_stack(frame_of(main))
                own = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename == str(self._file)]
                words = f"{self._target} 加载了 {second} 秒还没有结束，停在 {(own or ['别处'])[-1]}"
                say(f"{words}：在这里启动服务要用 run()，不要用 waitress.serve() 等", err=True, fg="yellow")

    # -- serving -----------------------------------------------------------------------------------------------------

    def _serve(self, server: WxMpServer | None, name: str, broken: str = "") -> None:
        self._loaded.set()
        if self._when_saved() != self._saved:  # meanwhile
            os._exit(RELOAD)
        log.setLevel(logging.INFO)
        log.disabled = False  # logging.config.dictConfig of the program may have done it
        if server is not None:
            server.app.debug = True  # in development a reply that cannot be sent is an error, and is not mended
        keeping = Keeping(f"{Path.cwd() / self._target} {self._port}", self._folder)
        app = make_app(
            server or _nobody,
            name=self._name,
            key=(self._folder / "key").read_text(),
            store=SQLiteStore(self._folder / "bot.sqlite3"),
            broken=broken,
            found=(module, name) if (module := module_of(self._target)) and name else None,
            keeping=keeping,
            **account(server.settings if server is not None else _demo_settings()),
        )
        talk = app.config["TALK"]
        logging.getLogger().addHandler(BotSide(talk.note))
        self._tell(broken, self._serve_bot(server) if server is not None else "", app)
        files = [str(self._file)] if is_file(self._target) else []
        try:
            run_simple(
                "127.0.0.1", self._port, app, threaded=True, request_handler=Quiet, use_reloader=True, extra_files=files
            )
        except SystemExit as exc:
            if exc.code == RELOAD:
                _end_soon()
            raise
        finally:
            keeping.save(talk.pause())

    def _serve_bot(self, server: WxMpServer) -> str:
        """Let others reach the bot, too: another command, a tunnel. Returns its URL, "" where its port is taken."""
        port = server.settings.port if self._bot_port is None else self._bot_port
        try:
            listening = make_server("127.0.0.1", port, server, threaded=True, request_handler=Quiet)
        except SystemExit:  # werkzeug's way to say it
            return ""
        threading.Thread(target=listening.serve_forever, name="dev-bot", daemon=True).start()
        return f"http://127.0.0.1:{listening.server_port}{server.settings.path}"

    def _tell(self, broken: str, bot_url: str, app: Any) -> None:
        if broken:
            say(f"{broken}\n", fg="red", err=True)
            say("改好后存盘，会自动重新加载", err=True)
        elif not self._first:
            say(f"已重新加载 {self._target}", fg="green", err=True)
        if bot_url and self._first:
            say(f"机器人  {bot_url}", err=True)
        elif not broken and not bot_url:
            say(
                "机器人的端口已被占用，别的程序访问不到它（模拟器不受影响）：用 --bot-port 换一个",
                fg="yellow",
                err=True,
            )
        if not self._first:
            return
        say("改代码后存盘，自动重新加载；按 Ctrl+C 结束", err=True)
        say(f"模拟器  http://127.0.0.1:{self._port}/{app.config['KEY']}/")
        if self._open_browser:
            # A browser's command line can be read by every user of this machine.
            webbrowser.open(f"http://127.0.0.1:{self._port}/{OPEN}/{app.config['TICKET'].code}")
        (self._folder / "shown").touch()


def _end_soon() -> None:
    """Leave the program's threads a moment, and end even if one of them does not."""

    def end() -> NoReturn:
        os._exit(RELOAD)

    timer = threading.Timer(GRACE_SECONDS, end)
    timer.daemon = True
    timer.start()


def _demo_settings() -> Settings:
    return config.load({}, {}, config.demo_account({}, {}, {}))


def _nobody(environ: Any, start_response: Any) -> list[bytes]:
    """Stand for a bot that is not there; nothing is asked of it."""
    start_response("503 Service Unavailable", [])
    return []
