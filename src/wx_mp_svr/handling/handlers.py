"""Which handler answers what, and what a handler may return.

A message in, a reply object out. Knows nothing of threads, stores or XML.
"""

import logging
import re
from typing import Any

from ..errors import ConfigError, ReplyError
from ..req_msg import EventReqMsg, ReqMsg
from ..rsp_msg import Article, EmptyRspMsg, NewsRspMsg, RspMsg, TextRspMsg
from .routes import Found, Handler, Routes, check_call, place, title

log = logging.getLogger("wx_mp_svr")

NAMES = {
    "on_message": ("req",),
    "on_subscribe": ("event",),
    "on_event": ("event",),
    "on_error": ("exc", "req"),
    "on_late_reply": ("req", "reply"),
}
"""The handlers that are not routes, and what each is called with."""


class Handlers:
    """The user's handlers of one account.

    Attributes:
        routes: Asked before the handlers for everything.
    """

    def __init__(self) -> None:
        self.routes = Routes()
        self._given: dict[str, Found] = {}
        self._unheard: set[str] = set()

    def give(self, name: str, handler: Handler) -> None:
        """Set a handler.

        Raises:
            ConfigError: It cannot be called with what it will get; or there is one already: of two only one could answer,
                and it would not be clear which.
        """
        check_call(name, handler, *NAMES[name])
        if name in self._given:
            both = f"{place(self._given[name].handler)}, {place(handler)}"
            raise ConfigError(f"{name} is given twice, keep one: {both} / {name} 写了两次，只留一个：{both}")
        self._given[name] = Found(handler, {})

    def find(self, req: ReqMsg) -> Found | None:
        """Return the handler for *req*, None when nobody wants it (it is acknowledged then)."""
        if (found := self.routes.find(req)) is not None:
            return found
        name = "on_message"
        if isinstance(req, EventReqMsg):
            name = "on_event"
            if req.event.lower() == "subscribe" and "on_subscribe" in self._given:
                name = "on_subscribe"
            elif name not in self._given:
                self._tell_unheard(req)
        elif name not in self._given:
            self._tell_unheard(req)
        return self._given.get(name)

    def get(self, name: str) -> Handler | None:
        """Return one of the handlers that hear of other things than messages."""
        found = self._given.get(name)
        return found and found.handler

    def _tell_unheard(self, req: ReqMsg) -> None:
        """Show, once per kind, the handler that would hear this."""
        kind, event = type(req).__name__, req.event[:64] if isinstance(req, EventReqMsg) else ""
        if kind in self._unheard or event.lower() == "subscribe":
            return
        self._unheard.add(kind)
        what, route = (f"the event {event!r}", f"event({event!r})") if event else (kind, "on_message")
        name = re.sub(r"\W", "_", f"on_{event or 'message'}", flags=re.ASCII).lower()[:40]
        log.info(
            "no handler for %s, acknowledged; to hear it:\n\n    @server.%s\n    def %s(req):\n        ...\n",
            *(what, route, name),
        )


_KINDS = {
    "text": "文本",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "shortvideo": "小视频",
    "location": "位置",
    "link": "链接",
    "file": "文件",
    "miniprogrampage": "小程序",
}


def kind_of(req: ReqMsg) -> str:
    """Name a message's kind in a line for its author; nothing else of what a stranger sent is in it."""
    if isinstance(req, EventReqMsg):
        return f"事件 {re.sub(r'[^A-Za-z0-9_]', '?', req.event[:40])}"
    return _KINDS.get(req.msg_type) or re.sub(r"[^A-Za-z0-9_]", "?", req.msg_type[:40])


def as_reply(result: Any, handler: Handler) -> RspMsg:
    """Turn what a handler returned into a reply object.

    Args:
        result: A reply object, str (text), an Article or a list of them (news), None or "" (acknowledge).
        handler: Whose result it is.

    Raises:
        ReplyError: Anything else; the message names the handler and the type.
    """
    if result is None or result == "":
        return EmptyRspMsg()
    if isinstance(result, RspMsg):
        return result
    if isinstance(result, str):
        return TextRspMsg(result)
    if isinstance(result, Article):
        return NewsRspMsg([result])
    if isinstance(result, list | tuple) and result and all(isinstance(item, Article) for item in result):
        return NewsRspMsg(tuple(result))
    raise ReplyError(
        f"{title(handler)} returned {type(result).__name__}; return a reply object (TextRspMsg, ...), a str, "
        "an Article or a list of Article, or None to acknowledge / "
        f"返回了 {type(result).__name__}：要返回文本、回复对象、Article（或它的列表），不回复就返回 None"
    )
