"""A small Flask framework for the callbacks of WeChat Official Accounts (微信公众号).

Start with `WxMpServer`; messages are `...ReqMsg` and `...Event`, replies `...RspMsg`.
"""

# A name a line would take three hundred lines.
# ruff: noqa: I001
# fmt: off
from .errors import (
    BadCiphertext, BadParams, BadSignature, BadXml, ClockSkew, ConfigError, Downgrade, Refused, ReplyError,
    StoreError, TooLarge, WxMpError,
)
from .events import (
    AddGuideBuyerRelationEvent, AddStoreAuditInfoEvent, AnnualRenewEvent, ApplyMerchantAuditInfoEvent, ArticleDetail,
    ArticleDetailItem, ArticleUrlItem, ArticleUrlResult, Beacon, CardMerchantCheckResultEvent, CardNotPassCheckEvent,
    CardPassCheckEvent, CardPayOrderEvent, CardSkuRemindEvent, ClickEvent, CloudInvoiceInvoiceresultEvent,
    CopyrightCheckItem, CopyrightCheckResult, CreateMapPoiAuditInfoEvent, DebugDemoEvent, EnterEvent,
    GiftcardPayDoneEvent, GiftcardSendToFriendEvent, GiftcardUserAcceptEvent, GuideInviteResultEvent,
    GuideQrcodeScanEvent, GuideScan, KfCloseSessionEvent, KfCreateSessionEvent, KfSwitchSessionEvent, LocationEvent,
    LocationSelectEvent, MassSendJobFinishEvent, MerchantOrderEvent, ModifyStoreAuditInfoEvent, NamingVerifyFailEvent,
    NamingVerifySuccessEvent, PicItem, PicPhotoOrAlbumEvent, PicSysphotoEvent, PicWeixinEvent, PoiCheckNotifyEvent,
    PublishEventInfo, PublishJobFinishEvent, QualificationVerifyFailEvent, QualificationVerifySuccessEvent,
    ScanCodeInfo, ScanEvent, ScancodePushEvent, ScancodeWaitmsgEvent, SendLocationInfo, SendPicsInfo,
    ShakearoundUserShakeEvent, SubmitInvoiceTitleEvent, SubmitMembercardUserInfoEvent, SubscribeEvent,
    SubscribeMsgChangeEvent, SubscribeMsgChangeItem, SubscribeMsgPopupEvent, SubscribeMsgPopupItem,
    SubscribeMsgSentEvent, SubscribeMsgSentItem, TemplateSendJobFinishEvent, UnsubscribeEvent,
    UpdateInvoiceStatusEvent, UpdateMemberCardEvent, UserAuthorizationCancellationEvent, UserAuthorizationRevokeEvent,
    UserAuthorizeInvoiceEvent, UserConsumeCardEvent, UserDelCardEvent, UserEnterSessionFromCardEvent,
    UserEnterTempsessionEvent, UserGetCardEvent, UserGiftingCardEvent, UserInfoModifiedEvent, UserPayFromPayCellEvent,
    UserScanProductAsyncEvent, UserScanProductEnterSessionEvent, UserScanProductEvent,
    UserScanProductVerifyActionEvent, UserViewCardEvent, VerifyExpiredEvent, ViewEvent, ViewMiniprogramEvent,
    WeappAuditDelayEvent, WeappAuditFailEvent, WeappAuditSuccessEvent, WifiConnectedEvent, WxVerifyDispatchEvent,
    WxVerifyFailEvent, WxVerifyPaySuccEvent, WxVerifyRefillEvent, WxaAppealRecordEvent, WxaCategoryAuditEvent,
    WxaIllegalRecordEvent, WxaMediaCheckEvent, WxaNicknameAuditEvent, WxaPrivacyApplyEvent,
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
from .store import Store

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
    "ScancodeWaitmsgEvent", "SendLocationInfo", "SendPicsInfo", "ShakearoundUserShakeEvent", "ShortVideoReqMsg",
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
