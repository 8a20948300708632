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
    `Session`: `req.session`, what the bot remembers of a user.
    `WxMpError`: what all errors have; `ConfigError` is raised at start, the others are logged.
    `Store`: what a store of your own must do.
    `wx_mp_svr.testing.FakeWeChat`: WeChat's side, for tests; also as `WxMpServer.test_client`.
"""

from typing import TYPE_CHECKING, Any

# A name a line would take three hundred lines.
# ruff: noqa: F403, F405, I001
# fmt: off
from .errors import (
    BadCiphertext, BadParams, BadSignature, BadXml, ClockSkew, ConfigError, Downgrade, Refused, ReplyError,
    SessionBusy, StoreError, TooLarge, WxMpError,
)
from .req_msg import (
    EventReqMsg, FileReqMsg, ImageReqMsg, LinkReqMsg, LocationReqMsg, ReqMsg, ShortVideoReqMsg, TextReqMsg,
    VideoReqMsg, VoiceReqMsg,
)
from .rsp_msg import (
    Article, EmptyRspMsg, ImageRspMsg, MusicRspMsg, NewsRspMsg, RspMsg, TextRspMsg, TransferCustomerServiceRspMsg,
    VideoRspMsg, VoiceRspMsg,
)
from .server import WxMpServer
from .sessions import Session
from .store import Store

if TYPE_CHECKING:
    from .events import *
else:

    def __getattr__(name: str) -> Any:
        """Make the events when somebody asks for one: it takes as long as to make everything else."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import events

        return getattr(events, name)

    def __dir__() -> list[str]:
        """Name the events, too, for `help` and completion."""
        return sorted({*globals(), *__all__})

__all__ = [
    "AddGuideBuyerRelationEvent", "AddStoreAuditInfoEvent", "AnnualRenewEvent", "ApplyMerchantAuditInfoEvent",
    "Article", "ArticleDetail", "ArticleDetailItem", "ArticleUrlItem", "ArticleUrlResult", "BadCiphertext", "BadParams",
    "BadSignature", "BadXml", "Beacon", "CardMerchantCheckResultEvent", "CardNotPassCheckEvent", "CardPassCheckEvent",
    "CardPayOrderEvent", "CardSkuRemindEvent", "ClickEvent", "ClockSkew", "CloudInvoiceInvoiceresultEvent",
    "ConfigError", "CopyrightCheckItem", "CopyrightCheckResult", "CreateMapPoiAuditInfoEvent", "DebugDemoEvent",
    "Downgrade", "EmptyRspMsg", "EnterEvent", "EventReqMsg", "FileReqMsg", "GiftcardPayDoneEvent",
    "GiftcardSendToFriendEvent", "GiftcardUserAcceptEvent", "GuideInviteResultEvent", "GuideQrcodeScanEvent",
    "GuideScan", "ImageReqMsg", "ImageRspMsg", "KfCloseSessionEvent", "KfCreateSessionEvent", "KfSwitchSessionEvent",
    "LinkReqMsg", "LocationEvent", "LocationReqMsg", "LocationSelectEvent", "MassSendJobFinishEvent",
    "MerchantOrderEvent", "ModifyStoreAuditInfoEvent", "MusicRspMsg", "NamingVerifyFailEvent",
    "NamingVerifySuccessEvent", "NewsRspMsg", "PicItem", "PicPhotoOrAlbumEvent", "PicSysphotoEvent", "PicWeixinEvent",
    "PoiCheckNotifyEvent", "PublishEventInfo", "PublishJobFinishEvent", "QualificationVerifyFailEvent",
    "QualificationVerifySuccessEvent", "Refused", "ReplyError", "ReqMsg", "RspMsg", "ScanCodeInfo", "ScanEvent",
    "ScancodePushEvent", "ScancodeWaitmsgEvent", "SendLocationInfo", "SendPicsInfo", "Session", "SessionBusy",
    "ShakearoundUserShakeEvent", "ShortVideoReqMsg", "Store", "StoreError", "SubmitInvoiceTitleEvent",
    "SubmitMembercardUserInfoEvent", "SubscribeEvent", "SubscribeMsgChangeEvent", "SubscribeMsgChangeItem",
    "SubscribeMsgPopupEvent", "SubscribeMsgPopupItem", "SubscribeMsgSentEvent", "SubscribeMsgSentItem",
    "TemplateSendJobFinishEvent", "TextReqMsg", "TextRspMsg", "TooLarge", "TransferCustomerServiceRspMsg",
    "UnsubscribeEvent", "UpdateInvoiceStatusEvent", "UpdateMemberCardEvent", "UserAuthorizationCancellationEvent",
    "UserAuthorizationRevokeEvent", "UserAuthorizeInvoiceEvent", "UserConsumeCardEvent", "UserDelCardEvent",
    "UserEnterSessionFromCardEvent", "UserEnterTempsessionEvent", "UserGetCardEvent", "UserGiftingCardEvent",
    "UserInfoModifiedEvent", "UserPayFromPayCellEvent", "UserScanProductAsyncEvent", "UserScanProductEnterSessionEvent",
    "UserScanProductEvent", "UserScanProductVerifyActionEvent", "UserViewCardEvent", "VerifyExpiredEvent",
    "VideoReqMsg", "VideoRspMsg", "ViewEvent", "ViewMiniprogramEvent", "VoiceReqMsg", "VoiceRspMsg",
    "WeappAuditDelayEvent", "WeappAuditFailEvent", "WeappAuditSuccessEvent", "WifiConnectedEvent", "WxMpError",
    "WxMpServer", "WxVerifyDispatchEvent", "WxVerifyFailEvent", "WxVerifyPaySuccEvent", "WxVerifyRefillEvent",
    "WxaAppealRecordEvent", "WxaCategoryAuditEvent", "WxaIllegalRecordEvent", "WxaMediaCheckEvent",
    "WxaNicknameAuditEvent", "WxaPrivacyApplyEvent",
]
