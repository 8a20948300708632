"""A small Flask framework for the callbacks of WeChat Official Accounts (微信公众号).

A whole bot, configured by the environment (``WX_MP_APPID``, ``WX_MP_TOKEN``, ``WX_MP_AES_KEY``)::

    from wx_mp_svr import WxMpServer

    server = WxMpServer()

    @server.text("帮助")
    def help(req):
        return "你好！"

    server.run()

What to know:
    `WxMpServer`: the server; takes handlers, has the routes.
    `ReqMsg`: what all messages have; ``...ReqMsg`` are the kinds of messages, ``...Event`` those of events.
    `RspMsg`: what all replies have; ``...RspMsg`` are the kinds of replies, `Article` is for news. A str is a text.
    `Reply`: what a handler may return, for its annotation.
    `Session`: `req.session`, what the bot remembers of a user.
    `WxMpError`: what all errors have; `ConfigError` is raised at start, the others are logged.
    `Store`: what a store of your own must do.
    `wx_mp_svr.testing.FakeWeChat`: WeChat's side, for tests; also as `WxMpServer.test_client`.
"""

from typing import TYPE_CHECKING, Any

# "as" tells type checkers that a name is meant for others. A name a line would take three hundred lines.
# ruff: noqa: F403, I001
# fmt: off
from .errors import (
    BadCiphertext as BadCiphertext, BadParams as BadParams, BadSignature as BadSignature, BadXml as BadXml,
    ClockSkew as ClockSkew, ConfigError as ConfigError, Downgrade as Downgrade, Refused as Refused,
    ReplyError as ReplyError, SessionBusy as SessionBusy, StoreError as StoreError, TooLarge as TooLarge,
    UnfitStoreError as UnfitStoreError, WxMpError as WxMpError,
)
from .req_msg import (
    EventReqMsg as EventReqMsg, FileReqMsg as FileReqMsg, ImageReqMsg as ImageReqMsg, LinkReqMsg as LinkReqMsg,
    LocationReqMsg as LocationReqMsg, MiniProgramPageReqMsg as MiniProgramPageReqMsg, ReqMsg as ReqMsg,
    ShortVideoReqMsg as ShortVideoReqMsg, TextReqMsg as TextReqMsg, VideoReqMsg as VideoReqMsg,
    VoiceReqMsg as VoiceReqMsg,
)
from .rsp_msg import (
    Article as Article, EmptyRspMsg as EmptyRspMsg, ImageRspMsg as ImageRspMsg, MusicRspMsg as MusicRspMsg,
    NewsRspMsg as NewsRspMsg, Reply as Reply, RspMsg as RspMsg, TextRspMsg as TextRspMsg,
    TransferCustomerServiceRspMsg as TransferCustomerServiceRspMsg, VideoRspMsg as VideoRspMsg,
    VoiceRspMsg as VoiceRspMsg,
)
# fmt: on
from .delivery.pages import split_text as split_text
from .server import WxMpServer as WxMpServer
from .session import Session as Session
from .store import Store as Store

if TYPE_CHECKING:
    from .events import *
else:

    def __getattr__(name: str) -> Any:
        """Make the events when somebody asks for one: it takes as long as to make everything else."""
        own: dict[str, Any] = {}
        from .mistakes import OLD_NAMES

        if name in OLD_NAMES:
            raise ImportError(f"wx_mp_svr.{name} is of version 0.1: {OLD_NAMES[name]}")
        if name[0].isupper() or name == "__all__":
            from . import events

            own = {each: cls for each, cls in vars(events).items() if getattr(cls, "__module__", "") == events.__name__}
            names = {each for each in {*globals(), *own} if each[0].isupper()} - {"TYPE_CHECKING", "Any"} | {
                "split_text"
            }
            own["__all__"] = sorted(names - {"EVENTS"})
        if name not in own:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return own[name]

    def __dir__() -> list[str]:
        """Name the events, too, for `help` and completion."""
        return sorted({*globals(), *__getattr__("__all__")})
