"""A server in a thread, and WeChat in front of it: what all chapters of the threats use."""

import base64
import logging
import re
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import servers
from wechat import TIMEOUT, HttpAnswer, WeChat, text

from wx_mp_svr import TextReqMsg, WxMpServer

TOKEN = "Xq7ThreatsToken9"
AES_KEY = "kWxyzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345"
AES_KEY_OLD = "oldzzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345"
APPID = "wx0123456789abcdef"
KEY = base64.b64decode(AES_KEY + "=")
SECRETS = (TOKEN, AES_KEY, AES_KEY_OLD)
ERROR_TEXT = "抱歉，出错了，请稍后再试。"
LOG = "wx_mp_svr"


class Live:
    """A server with a handler that keeps what it gets; text comes back as it came, the rest gets ``ok``."""

    def __init__(self, answer: Callable[[Any], Any] | None = None, **settings: Any) -> None:
        self.calls: list[Any] = []
        self._answer = answer or (lambda req: req.content if isinstance(req, TextReqMsg) else "ok")
        account = {"token": TOKEN, "appid": APPID, "mode": "safe"} | settings
        if account["mode"] != "plain":
            account = {"aes_key": AES_KEY} | account
        self.mode = account["mode"]
        self.account = account
        self.server = WxMpServer(on_message=self._hear, on_event=self._hear, **account)

    def _hear(self, req: Any) -> Any:
        self.calls.append(req)
        return self._answer(req)

    @contextmanager
    def serving(self) -> Iterator["Live"]:
        with servers.in_thread(self.server) as origin:
            self.wechat = self.sender(origin + servers.CALLBACK)
            yield self

    def sender(self, url: str, **changes: str) -> WeChat:
        account = {"token": TOKEN, "aes_key": self.account.get("aes_key", AES_KEY), "appid": APPID, "mode": self.mode}
        return WeChat(url, **{**account, **changes})

    @property
    def last(self) -> Any:
        return self.calls[-1]

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What happens inside reaches no handler, and WeChat is answered right after."""
        before = len(self.calls)
        yield
        assert len(self.calls) == before
        assert self.wechat.ask(text("still there"))["Content"] == "still there"

    def refuses(self, query: Any, body: bytes = b"", honest: str | None = None) -> HttpAnswer:
        """Post what must be refused; *honest* is the packet that was tampered with, whose original still arrives after."""
        with self.untouched():
            answer = self.wechat.post(query, body)
            assert_refused(answer)
        if honest is not None:
            before = len(self.calls)
            assert self.wechat.ask(honest) is not None
            assert len(self.calls) == before + 1
        return answer

    def refuses_get(self, query: Any) -> HttpAnswer:
        answer = self.wechat.get(query)
        assert_refused(answer)
        return answer


def assert_refused(answer: HttpAnswer) -> None:
    assert (answer.status, answer.body) == (403, b"forbidden")
    assert (answer.header("Content-Type") or "").startswith("text/plain")


def assert_ack(answer: HttpAnswer) -> None:
    assert (answer.status, answer.body) == (200, b"success")
    assert (answer.header("Content-Type") or "").startswith("text/plain")


@contextmanager
def fresh(answer: Callable[[Any], Any] | None = None, **settings: Any) -> Iterator[Live]:
    with Live(answer, **settings).serving() as live:
        yield live


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith(LOG) and r.levelno == logging.WARNING]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith(LOG)]


def raw(url: str, request: bytes, *, shut: bool = False) -> bytes:
    """Send bytes as they are and return the response; b"" when the server only hangs up."""
    target = urllib.parse.urlsplit(url)
    with socket.create_connection((target.hostname, target.port), TIMEOUT) as connection:
        received = b""
        try:
            connection.sendall(request)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            # Werkzeug's server does not hang up after answering as long as it hopes for the rest of a body.
            while not is_whole(received) and (chunk := connection.recv(65536)):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        return received


def is_whole(response: bytes) -> bool:
    head, blank, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(blank and length) and len(body) >= int(length[1])


def status_of(response: bytes) -> int | None:
    return int(response.split(b" ", 2)[1]) if response else None
