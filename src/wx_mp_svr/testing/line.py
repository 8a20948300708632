"""How a push travels: over HTTP, or straight into a WSGI application."""

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit
from wsgiref.util import setup_testing_defaults

from ..clock import Clock
from ..config import LOOPBACK

TIMEOUT_SECONDS = 20.0  # of a socket; whoever waits for an answer has a deadline of its own
MAX_REPLY_BYTES = 1024 * 1024
PORTS = {"http": 80, "https": 443}
# As public access logs show WeChat; http.client adds Content-Length.
_HEADERS = {
    "User-Agent": "Mozilla/4.0",
    "Accept": "*/*",
    "Pragma": "no-cache",
    "Connection": "close",
    "Content-Type": "text/xml",
}


class Line:
    """The connection of one request, as both sides hold it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ended = clock.signal()
        self.ended_at = 0.0
        self.hung_up = clock.signal()
        self.is_hung_up = False
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.reply = b""
        self.error = ""
        self.connection: Any = None

    def end(self) -> None:
        """Note when the answer, or the failure, was there."""
        self.ended_at = self._clock.now()
        self.ended.set()

    def hang_up(self) -> None:
        """Close the connection, as WeChat does after 5 seconds."""
        self.is_hung_up = True
        self.hung_up.set()
        with suppress(OSError, AttributeError):  # it ended by itself meanwhile, or was never there
            self.connection.sock.shutdown(socket.SHUT_RDWR)  # not close(), which would leave the thread in its recv()


def place_of(url: SplitResult) -> tuple[str, int]:
    """Return the host and the port of *url*."""
    return url.hostname or "", url.port or PORTS[url.scheme]


def family_of(host: str) -> socket.AddressFamily:
    """Return how *host* is looked up: WeChat knows IPv4 only; a name of this machine may mean ::1."""
    return socket.AF_UNSPEC if host in LOOPBACK else socket.AF_INET


def dial(
    addresses: Sequence[str],
    port: int,
    seconds: float,
    connect: Callable[..., socket.socket] = socket.create_connection,
) -> socket.socket:
    """Connect to one address after the other, as `socket.create_connection` does, which cannot be told the family.

    Raises:
        OSError: What the last one said.
    """
    for address in addresses[:-1]:
        with suppress(OSError):
            return connect((address, port), timeout=seconds)
    return connect((addresses[-1], port), timeout=seconds)


class _Old(http.client.HTTPConnection):
    _http_vsn, _http_vsn_str = 10, "HTTP/1.0"  # as WeChat speaks; http.client has no public way to say so


class HttpTarget:
    """A bot behind a URL.

    Args:
        url: Where.
        version: Of HTTP: WeChat's "1.0", or "1.1" to see whether that one would be answered.
    """

    def __init__(self, url: str, version: Literal["1.0", "1.1"] = "1.0") -> None:
        self._url = urlsplit(url)
        self._kind = _Old if version == "1.0" else http.client.HTTPConnection

    def __call__(self, method: str, query: str, body: bytes, line: Line) -> None:
        """Make a request and put the answer onto the line."""
        url = self._url
        connection = self._kind(url.hostname or "", timeout=TIMEOUT_SECONDS)
        line.connection = connection
        query = f"{url.query}&{query}" if url.query else query  # WeChat appends to a query of the URL's own
        headers = {"Host": url.netloc.rpartition("@")[2], **_HEADERS}  # HTTP/1.0 has no Host, but WeChat sends one
        try:
            self._connect(connection)
            if line.is_hung_up:
                return
            connection.request(method, f"{url.path or '/'}?{query}", body or None, headers)
            response = connection.getresponse()
            line.status, line.reply = response.status, response.read(MAX_REPLY_BYTES)
            line.headers = {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        host, port = place_of(self._url)
        found = socket.getaddrinfo(host, port, family_of(host), socket.SOCK_STREAM)
        connection.sock = dial([str(row[4][0]) for row in found], port, TIMEOUT_SECONDS)
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)


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
