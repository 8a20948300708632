"""The shell around the exchange where Flask's dispatch is not needed: WSGI in, WSGI out.

Answers our path by itself and leaves all others to Flask. Translates and does nothing else.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wsgi import get_input_stream

from .exchange import Answer

log = logging.getLogger("wx_mp_svr")

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
AnswerOf = Callable[[dict[str, Any], Callable[[int], bytes]], Answer]

FAILURE = "wx_mp_svr.failure"  # in an environ: what went wrong in front, for the view to raise

HEADERS = {"X-Content-Type-Options": "nosniff"}
STATUS_LINES = {status: f"{status} {phrase.upper()}" for status, phrase in HTTP_STATUS_CODES.items()}  # as Flask's


_LOCAL_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_FOREIGN = (
    # what proxies and tunnels write; and browsers for a page that is not this machine's
    "HTTP_X_FORWARDED_",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_CF_CONNECTING_IP",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_ORIGIN",
)


def is_from_here(environ: Mapping[str, Any]) -> bool:
    """Whether a request was made on this machine, for it, and came straight."""
    try:
        peer = ip_address(environ.get("REMOTE_ADDR") or "")
    except ValueError:  # a UNIX socket, say: a proxy is in front
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    host = re.sub(r":[0-9]+\Z", "", environ.get("HTTP_HOST") or "").lower()
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        return False
    if environ.get("SERVER_SOFTWARE") == "waitress":  # not from `run`: it takes away what proxies write
        return False
    return peer.is_loopback and host in _LOCAL_HOSTS and not any(name.startswith(_FOREIGN) for name in environ)


class Front:
    """A WSGI application that answers some paths itself, and leaves the rest to Flask.

    Args:
        inner: Flask.
    """

    def __init__(self, inner: WsgiApp) -> None:
        self._inner = inner
        self._ours: dict[str, tuple[AnswerOf, Callable[[dict[str, Any]], bool] | None]] = {}

    def take(
        self,
        paths: Iterable[str],
        answer_of: AnswerOf,
        noticed: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        """Answer *paths* from now on.

        Args:
            paths: Ours.
            answer_of: Takes the environ and a function that reads so many bytes of the body.
            noticed: Tells whether Flask would notice that it is not asked; then it is. None if it never does.
        """
        self._ours.update(dict.fromkeys(paths, (answer_of, noticed)))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, or leave it to Flask."""
        answer_of, noticed = self._ours.get(environ.get("PATH_INFO", ""), (None, None))
        if answer_of is None or environ["REQUEST_METHOD"] not in ("POST", "GET") or (noticed and noticed(environ)):
            return self._inner(environ, start_response)
        try:
            answer = answer_of(environ, lambda limit: body_of(environ, limit))
        except Exception as exc:  # a bug of ours, or the sender has hung up: the app's error handlers hear of it
            environ[FAILURE] = exc
            return self._inner(environ, start_response)
        start_response(STATUS_LINES[answer.status], headers_of(answer))
        return [answer.body]


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    """Return an answer's headers."""
    return [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), *HEADERS.items()]


def body_of(environ: dict[str, Any], limit: int) -> bytes:
    """Read a request's body where no application limits it, *limit* bytes at most."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isascii() and length.isdigit() and len(length) < 10 and "HTTP_TRANSFER_ENCODING" not in environ:
        # A body that ends early is an incomplete packet, which is refused like any other.
        return read_body(environ["wsgi.input"], min(int(length), limit))
    return read_body(get_input_stream(environ), limit)


def read_body(stream: Any, limit: int) -> bytes:
    """Read a request's body, *limit* bytes at most; the rest is never read.

    Not Flask's `request.data`, which is empty for a form's Content-Type: nobody knows which one WeChat sends.
    """
    body = b""
    try:
        while len(body) < limit and (chunk := stream.read(limit - len(body))):
            body += chunk
    except HTTPException:
        raise  # a limit of the host application
    except Exception:
        log.debug("a body broke off", exc_info=True)  # each WSGI server has its own errors for that; no push is in it
        return b""
    return body
