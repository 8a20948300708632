"""How a push travels: over HTTP, or straight into a WSGI application."""

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

TIMEOUT_SECONDS = 20.0  # of a socket; whoever waits for an answer has a deadline of its own
MAX_REPLY_BYTES = 1024 * 1024


class Line:
    """The connection of one request, as both sides hold it."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.ended_at = 0.0
        self.hung_up = threading.Event()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.reply = b""
        self.error = ""
        self.connection: Any = None

    def end(self) -> None:
        """Note when the answer, or the failure, was there."""
        self.ended_at = time.monotonic()
        self.ended.set()

    def hang_up(self) -> None:
        """Close the connection, as WeChat does after 5 seconds."""
        self.hung_up.set()
        with suppress(OSError, AttributeError):  # it ended by itself meanwhile, or was never there
            self.connection.sock.shutdown(socket.SHUT_RDWR)  # not close(), which would leave the thread in its recv()


class HttpTarget:
    """A bot behind a URL."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def __call__(self, method: str, query: str, body: bytes, line: Line) -> None:
        """Make a request and put the answer onto the line."""
        url = self._url
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
        line.connection = connection
        query = f"{url.query}&{query}" if url.query else query  # WeChat appends to a query of the URL's own
        target = f"{url.path or '/'}?{query}"
        try:
            connection.connect()
            if line.hung_up.is_set():
                return
            connection.request(method, target, body or None, {"User-Agent": "Mozilla/4.0", "Content-Type": "text/xml"})
            response = connection.getresponse()
            line.status, line.reply = response.status, response.read(MAX_REPLY_BYTES)
            line.headers = {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()


class WsgiTarget:
    """A bot in this process."""

    def __init__(self, app: Callable[..., Iterable[bytes]], path: str) -> None:
        self._app = app
        self._path = path

    def __call__(self, method: str, query: str, body: bytes, line: Line) -> None:
        """Make a request and put the answer onto the line."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": self._path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "text/xml",
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(body),
            "wsgi.multithread": True,
        }
        setup_testing_defaults(environ)

        def start_response(status: str, headers: Sequence[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            line.status = int(status.split()[0])
            line.headers = {name.lower(): value for name, value in headers}
            return lambda data: None

        answer = self._app(environ, start_response)
        try:
            line.reply = b"".join(answer)
        finally:
            if close := getattr(answer, "close", None):
                close()
