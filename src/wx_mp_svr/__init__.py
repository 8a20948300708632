"""A small Flask framework for the callbacks of WeChat Official Accounts (微信公众号).

Start with `WxMpServer`; messages are `...ReqMsg` and `...Event`, replies `...RspMsg`.
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

__all__ = [
    "AddGuideBuyerRelationEvent", "AddStoreAuditInfoEvent", "AnnualRenewEvent", "ApplyMerchantAuditInfoEvent",
    "Article", "ArticleDetail", "ArticleDetailItem", "ArticleUrlItem", "ArticleUrlResult", "BadCiphertext",
    "BadParams", "BadSignature", "BadXml", "Beacon", "CardMerchantCheckResultEvent", "CardNotPassCheckEvent",
    "CardPassCheckEvent", "CardPayOrderEvent", "CardSkuRemindEvent", "ClickEvent", "ClockSkew",
    "CloudInvoiceInvoiceresultEvent", "ConfigError", "CopyrightCheckItem", "CopyrightCheckResult",
    "CreateMapPoiAuditInfoEvent", "DebugDemoEvent", "Downgrade", "EmptyRspMsg", "EnterEvent", "EventReqMsg",
    "FileReqMsg", "GiftcardPayDoneEvent", "GiftcardSendToFriendEvent", "GiftcardUserAcceptEvent",
    "GuideInviteResultEvent", "GuideQrcodeScanEvent", "GuideScan", "ImageReqMsg", "ImageRspMsg",
    "KfCloseSessionEvent", "KfCreateSessionEvent", "KfSwitchSessionEvent", "LinkReqMsg", "LocationEvent",
    "LocationReqMsg", "LocationSelectEvent", "MassSendJobFinishEvent", "MerchantOrderEvent",
    "ModifyStoreAuditInfoEvent", "MusicRspMsg", "NamingVerifyFailEvent", "NamingVerifySuccessEvent", "NewsRspMsg",
    "PicItem", "PicPhotoOrAlbumEvent", "PicSysphotoEvent", "PicWeixinEvent", "PoiCheckNotifyEvent",
    "PublishEventInfo", "PublishJobFinishEvent", "QualificationVerifyFailEvent", "QualificationVerifySuccessEvent",
    "Refused", "ReplyError", "ReqMsg", "RspMsg", "ScanCodeInfo", "ScanEvent", "ScancodePushEvent",
    "ScancodeWaitmsgEvent", "SendLocationInfo", "SendPicsInfo", "Session", "SessionBusy", "ShakearoundUserShakeEvent",
    "ShortVideoReqMsg",
    "Store", "StoreError", "SubmitInvoiceTitleEvent", "SubmitMembercardUserInfoEvent", "SubscribeEvent",
    "SubscribeMsgChangeEvent", "SubscribeMsgChangeItem", "SubscribeMsgPopupEvent", "SubscribeMsgPopupItem",
    "SubscribeMsgSentEvent", "SubscribeMsgSentItem", "TemplateSendJobFinishEvent", "TextReqMsg", "TextRspMsg",
    "TooLarge", "TransferCustomerServiceRspMsg", "UnsubscribeEvent", "UpdateInvoiceStatusEvent",
    "UpdateMemberCardEvent", "UserAuthorizationCancellationEvent", "UserAuthorizationRevokeEvent",
    "UserAuthorizeInvoiceEvent", "UserConsumeCardEvent", "UserDelCardEvent", "UserEnterSessionFromCardEvent",
    "UserEnterTempsessionEvent", "UserGetCardEvent", "UserGiftingCardEvent", "UserInfoModifiedEvent",
    "UserPayFromPayCellEvent", "UserScanProductAsyncEvent", "UserScanProductEnterSessionEvent",
    "UserScanProductEvent", "UserScanProductVerifyActionEvent", "UserViewCardEvent", "VerifyExpiredEvent",
    "VideoReqMsg", "VideoRspMsg", "ViewEvent", "ViewMiniprogramEvent", "VoiceReqMsg", "VoiceRspMsg",
    "WeappAuditDelayEvent", "WeappAuditFailEvent", "WeappAuditSuccessEvent", "WifiConnectedEvent", "WxMpError",
    "WxMpServer", "WxVerifyDispatchEvent", "WxVerifyFailEvent", "WxVerifyPaySuccEvent", "WxVerifyRefillEvent",
    "WxaAppealRecordEvent", "WxaCategoryAuditEvent", "WxaIllegalRecordEvent", "WxaMediaCheckEvent",
    "WxaNicknameAuditEvent", "WxaPrivacyApplyEvent",
]
