"""`run()`: serve on this machine, with waitress where it is installed.

A Flask app and the settings in; nothing comes back before somebody stops it. Knows nothing of pushes.
"""

import errno
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading

from flask import Flask
from flask.logging import default_handler
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, make_server, run_simple

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
        ConfigError: Demo credentials or *debug* on an address that others can reach; or there is no listening on it.
    """
    host, port = (settings.host if host is None else host), (settings.port if port is None else port)
    if host not in LOOPBACK:
        if settings.demo_values:
            raise ConfigError(
                f"the demo's Token, AES key or AppID are known to everybody, and {host} can be reached by others; "
                "set your own, or listen on 127.0.0.1 / 演示账号的 Token、EncodingAESKey 人人皆知，"
                "只能监听 127.0.0.1：请换成自己的"
            )
        if debug:
            raise ConfigError(
                f"debug=True is for your own machine, and {host} can be reached by others / "
                f"debug=True 只能用在本机：{host} 是别人也能访问的地址"
            )
    if not is_running_from_reloader():  # which got the port from its parent
        _try_to_listen(host, port)
    if not log.hasHandlers():  # as Flask does for its own: who runs a script has rarely set up logging
        log.addHandler(default_handler)
        log.setLevel(logging.INFO)
    if threading.current_thread() is threading.main_thread():
        # Without this a process manager's SIGTERM would kill running handlers at once; now they get their `grace`.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not debug and importlib.util.find_spec("waitress"):
        waitress, threads = importlib.import_module("waitress"), settings.max_held + 16
        # Its warning counts threads that are just starting as busy, and has no cure; `delivery.house` warns of late tries.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        # Room beside the connections that nginx keeps open: by itself waitress would take 100 and no more.
        # Not waitress.serve, which adds a handler of its own to the root logger: each line would be there twice.
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            connection_limit=threads + 200,
            # By itself waitress takes a gigabyte to the disk before anybody is asked, and keeps half a request for minutes.
            max_request_body_size=settings.max_body + 1,  # it refuses what is as large as that
            max_request_header_size=MAX_HEADER_BYTES,
            channel_timeout=CHANNEL_SECONDS,
            cleanup_interval=5,
            # Nobody believes what they say. But where they are, somebody is in front, whom the demo's account refuses.
            clear_untrusted_proxy_headers=False,
            ident="wx-mp-svr",
        )
        _tell(host, int(getattr(server, "effective_port", port)), settings)
        server.run()
        return
    if host not in LOOPBACK:
        log.warning("this is Flask's development server; pip install waitress, or serve with gunicorn")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # its banner says nothing that ours does not
    if debug:
        app.debug = True
        if is_running_from_reloader():
            _tell(host, port, settings)
        run_simple(host, port, app, threaded=True, use_reloader=True, request_handler=Quiet)
        return
    server = make_server(host, port, app, threaded=True, request_handler=Quiet)
    _tell(host, server.server_port, settings)
    server.serve_forever()


def _tell(host: str, port: int, settings: Settings) -> None:
    """Say where, once somebody is listening there."""
    log.info("listening on http://%s:%d%s / 正在监听，按 Ctrl+C 结束", host, port, settings.path)


class Quiet(WSGIRequestHandler):
    """Writes no access log: signatures, users and keys stand in the addresses."""

    def log_request(self, *_: object) -> None:
        """Say nothing."""


_CANNOT = {
    errno.EADDRINUSE: (
        "is in use: another program listens there, perhaps this one, started twice",
        "已被占用（同一个程序启动了两次？）：先结束它，或换一个端口，例如 WX_MP_PORT=5003",
    ),
    errno.EACCES: (
        "may not be listened on without privileges; let nginx listen on 80 and 443, and pass on to a port above 1023",
        "没有权限监听：80、443 请交给 nginx 转发，这里用 1023 以上的端口",
    ),
    errno.EADDRNOTAVAIL: (
        "is no address of this machine; listen on 127.0.0.1, or on 0.0.0.0 in a container",
        "不是本机的地址：WX_MP_HOST 请用 127.0.0.1（nginx 转发），容器里用 0.0.0.0",
    ),
}


def _try_to_listen(host: str, port: int) -> None:
    """Find out whether there is listening on an address, before a server says so in its own way.

    Raises:
        ConfigError: There is not; it says why.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as test:
            if os.name == "posix":  # elsewhere it would let two listen on one port
                test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            test.bind(address)
    except (OSError, UnicodeError) as exc:
        unknown = isinstance(exc, socket.gaierror | UnicodeError)
        number = errno.EADDRNOTAVAIL if unknown else getattr(exc, "errno", None)
        english, chinese = _CANNOT.get(number or 0, (f"cannot be listened on: {exc}", f"监听不了：{exc}"))
        raise ConfigError(f"{host}:{port} {english} / {host}:{port} {chinese}") from exc
