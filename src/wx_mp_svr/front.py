"""The shell around the exchange where no other application is mounted: WSGI in, WSGI out.

Answers the one path by itself and leaves all others to Flask. Translates and does nothing else.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import get_input_stream

from .exchange import FORBIDDEN, Answer

log = logging.getLogger("wx_mp_svr")

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

HEADERS = {"X-Content-Type-Options": "nosniff"}
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


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


def in_front_of(
    inner: WsgiApp, path: str, answer_of: Callable[[dict[str, Any], Callable[[int], bytes]], Answer]
) -> WsgiApp:
    """Return a WSGI application that answers *path*, with and without a slash at its end, and leaves the rest to *inner*.

    Args:
        inner: Flask.
        path: Ours.
        answer_of: Takes the environ and a function that reads so many bytes of the body.
    """
    paths = (path, f"{path}/")

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") not in paths or environ["REQUEST_METHOD"] not in ("POST", "GET"):
            return inner(environ, start_response)
        try:
            answer = answer_of(environ, lambda limit: _body_of(environ, limit))
        except HTTPException:  # the sender has hung up
            answer = FORBIDDEN
        except Exception:
            log.exception("a bug of wx-mp-svr")
            answer = Answer(500, b"internal server error")
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), *HEADERS.items()]
        start_response(STATUS_LINES[answer.status], headers)
        return [answer.body]

    return wsgi


def _body_of(environ: dict[str, Any], limit: int) -> bytes:
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
