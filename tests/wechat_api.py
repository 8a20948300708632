"""A local stand-in for WeChat's API, as far as customer-service messages go: as strict, and as moody as a test tells it."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import servers

SECRET = "5ecre7" * 5
QUOTA = 5  # messages after one of the user's
CUT, HTML, BROKEN = "cut", "html", "500"  # for `fail`: no answer at all, a page of some proxy, an error of HTTP
MESSAGES = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40013: "invalid appid",
    40033: "invalid charset",
    40125: "invalid appsecret",
    40164: "invalid ip 203.0.113.9, not in whitelist",
    42001: "access_token expired",
    43004: "require subscribe",
    44004: "empty content",
    45002: "content size out of limit",
    45008: "article size out of limit",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    47001: "data format error",
    48001: "api unauthorized",
}


class Api:
    """The API for one account.

    Attributes:
        url: For WX_API.
        sent: By openid, what the user has got.
        calls: By openid, how often somebody tried to send.
        tokens: Every access token that was given out, in order.
        asked_for_token: How often somebody asked for one.
    """

    def __init__(self, url: str, appid: str) -> None:
        self.url = url
        self.appid = appid
        self.sent: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.tokens: list[str] = []
        self.asked_for_token = 0
        self._over: defaultdict[str, set[str]] = defaultdict(set)  # by openid, which tokens are not valid any more
        self._rotate = True
        self._faults: defaultdict[str, list[Any]] = defaultdict(list)
        self._lock = threading.Lock()

    def fail(self, openid: str, *faults: Any) -> None:
        """Let the next messages to a user fail, each in its own way; of "token", the next questions for a token.

        Args:
            openid: Whose.
            faults: A number of WeChat's, CUT, HTML or BROKEN; None lets one pass.
        """
        self._faults[openid] += faults

    # -- what is asked -----------------------------------------------------------------------------------------------

    def stable_token(self, _: str, asked: dict[str, Any]) -> Any:
        self.asked_for_token += 1
        if fault := self._next_fault("token"):
            return fault
        if asked["appid"] != self.appid:
            return 40013
        if asked["secret"] != SECRET:
            return 40125
        with self._lock:
            if self._rotate:  # else the same one again
                self._rotate = False
                self.tokens.append(f"{len(self.tokens)}_" + "t" * 130)
            return {"access_token": self.tokens[-1], "expires_in": 7200}

    def custom_send(self, token: str, message: dict[str, Any]) -> Any:
        openid = message["touser"]
        self.calls[openid] += 1
        if token not in self.tokens or token in self._over[openid]:
            return 40001
        fault = self._next_fault(openid)
        if fault in (40014, 42001):  # the others may use it for five minutes more
            self._over[openid].add(token)
            self._rotate = True
        fault = fault or self._refusal(message)
        if fault is None:
            self.sent[openid].append(message)
        return fault or 0

    def _refusal(self, message: dict[str, Any]) -> int | None:
        kind = message["msgtype"]
        body = message[kind]
        if kind == "text" and not body["content"].strip():
            return 44004
        if kind == "text" and len(body["content"].encode()) > 2048:
            return 45002
        if kind == "news" and len(body["articles"]) != 1:
            return 45008
        return 45047 if len(self.sent[message["touser"]]) >= QUOTA else None

    def _next_fault(self, whose: str) -> Any:
        with self._lock:
            return self._faults[whose].pop(0) if self._faults[whose] else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = urlsplit(self.path)
        asked = {
            "/cgi-bin/stable_token": self.api.stable_token,
            "/cgi-bin/message/custom/send": self.api.custom_send,
        }[address.path]
        (token,) = parse_qs(address.query).get("access_token", [""])
        answer = 40033 if b"\\u" in body else asked(token, json.loads(body))
        if answer == CUT:
            self.close_connection = True
        elif answer in (HTML, BROKEN):
            self._say(200 if answer == HTML else 502, "text/html", b"<html>who are you?</html>")
        else:
            said = answer if isinstance(answer, dict) else {"errcode": answer, "errmsg": MESSAGES.get(answer, "ok")}
            self._say(200, "application/json", json.dumps(said).encode())

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def wechat_api(appid: str) -> Iterator[Api]:
    """Serve one on a free port of 127.0.0.1."""

    class Handler(_Handler):
        pass

    with servers.handled_by(Handler) as port:
        Handler.api = Api(f"http://127.0.0.1:{port}", appid)
        yield Handler.api
