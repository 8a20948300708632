"""Which handler answers what, and what a handler may return.

A message in, a reply object out. Knows nothing of threads, stores or XML.
"""

import logging
from collections.abc import Callable
from typing import Any

from .errors import ConfigError, ReplyError
from .events import SubscribeEvent
from .req_msg import EventReqMsg, ReqMsg
from .rsp_msg import Article, EmptyRspMsg, NewsRspMsg, RspMsg, TextRspMsg

log = logging.getLogger("wx_mp_svr")

Handler = Callable[..., Any]
"""Takes the message and returns what `as_reply` accepts; a ``def`` or an ``async def``."""

NAMES = ("on_message", "on_subscribe", "on_event", "on_error", "on_late_reply")


class Handlers:
    """The user's handlers of one account."""

    def __init__(self) -> None:
        self._given: dict[str, Handler] = {}
        self._unheard: set[str] = set()

    def give(self, name: str, handler: Handler) -> None:
        """Set a handler.

        Raises:
            ConfigError: There is one already: of two only one could answer, and it would not be clear which.
        """
        if not callable(handler):
            raise ConfigError(f"{name} must be a function, not {type(handler).__name__}")
        if name in self._given:
            raise ConfigError(f"{name} is given twice: {title(self._given[name])} and {title(handler)}; keep one")
        self._given[name] = handler

    def find(self, req: ReqMsg) -> Handler | None:
        """Return the handler for *req*, None when nobody wants it (it is acknowledged then)."""
        if not isinstance(req, EventReqMsg):
            return self._given.get("on_message")
        if isinstance(req, SubscribeEvent) and "on_subscribe" in self._given:
            return self._given["on_subscribe"]
        if "on_event" not in self._given:
            self._tell_unheard(req)
        return self._given.get("on_event")

    @property
    def on_error(self) -> Handler | None:
        """What is asked for a reply when a handler raised."""
        return self._given.get("on_error")

    @property
    def on_late_reply(self) -> Handler | None:
        """What hears of an answer that missed its last passive chance."""
        return self._given.get("on_late_reply")

    def _tell_unheard(self, req: EventReqMsg) -> None:
        """Show, once per kind, the handler that would hear this event."""
        kind = type(req).__name__
        if kind in self._unheard or isinstance(req, SubscribeEvent):
            return
        self._unheard.add(kind)
        log.info(
            "no handler for the event %.64r, acknowledged; to hear it:\n\n"
            "    from wx_mp_svr import %s\n\n"
            "    @server.on_event\n"
            "    def on_event(event):\n"
            "        if isinstance(event, %s):\n"
            "            ...\n",
            req.event,
            kind,
            kind,
        )


def title(handler: Handler) -> str:
    """Name a handler in a message to its author."""
    return str(getattr(handler, "__qualname__", None) or type(handler).__qualname__)


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
        "an Article or a list of Article, or None to acknowledge"
    )
