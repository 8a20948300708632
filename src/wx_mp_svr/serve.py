"""`run()`: serve on this machine, with waitress where it is installed.

A Flask app and the settings in; nothing comes back before somebody stops it. Knows nothing of pushes.
"""

import importlib.util
import logging
import signal
import sys
import threading

from flask import Flask
from flask.logging import default_handler

from .config import LOOPBACK, Settings
from .errors import ConfigError

log = logging.getLogger("wx_mp_svr")

MAX_HEADER_BYTES = 16 * 1024  # WeChat's own are under 1 KB
CHANNEL_SECONDS = 15  # that a connection may do nothing; a held try takes 5.2


def serve(app: Flask, settings: Settings, *, host: str | None, port: int | None, debug: bool) -> None:
    """Serve until stopped.

    Args:
        app: What to serve.
        settings: Where to listen, unless the next two say otherwise, and for how many tries there must be threads.
        host: Instead of the setting.
        port: Instead of the setting.
        debug: Reload when a file changes. Never shows a debugger.

    Raises:
        ConfigError: Demo credentials or *debug* on an address that others can reach.
    """
    host, port = (settings.host if host is None else host), (settings.port if port is None else port)
    if host not in LOOPBACK:
        if settings.demo_values:
            raise ConfigError(
                f"the demo's Token, AES key or AppID are known to everybody, and {host} can be reached by others; "
                "set your own, or listen on 127.0.0.1 / 演示用的 Token、AES_KEY、AppID 人人皆知，"
                "只能监听 127.0.0.1：请换成自己的"
            )
        if debug:
            raise ConfigError(f"debug=True is for your own machine, and {host} can be reached by others")
    if not log.hasHandlers():  # as Flask does for its own: who runs a script has rarely set up logging
        log.addHandler(default_handler)
        log.setLevel(logging.INFO)
    log.info("listening on http://%s:%d%s", host, port, settings.path)
    if threading.current_thread() is threading.main_thread():
        # Without this a process manager's SIGTERM would kill running handlers at once; now they get their `grace`.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not debug and importlib.util.find_spec("waitress"):
        waitress, threads = importlib.import_module("waitress"), settings.max_held + 16
        # Room beside the connections that nginx keeps open: by itself waitress would take 100 and no more.
        # Not waitress.serve, which adds a handler of its own to the root logger: each line would be there twice.
        waitress.create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            connection_limit=threads + 200,
            # By itself waitress takes a gigabyte to the disk before anybody is asked, and keeps half a request for minutes.
            max_request_body_size=settings.max_body,
            max_request_header_size=MAX_HEADER_BYTES,
            channel_timeout=CHANNEL_SECONDS,
            cleanup_interval=5,
        ).run()
        return
    if host not in LOOPBACK:
        log.warning("this is Flask's development server; pip install waitress, or serve with gunicorn")
    app.run(host, port, threaded=True, debug=debug, use_debugger=False, use_reloader=debug)
