"""What happened: one class for each event of WeChat, and the table of their names.

A table in the shape of classes: `req_msg` says how a field is read, what stands here is WeChat's list of events, in the
order of its documentation. An event that is missing here is a plain `EventReqMsg`. Knows nothing of XML, handlers or
replies.

Throughout, times are Unix times in seconds; ids and codes are text, since they are opaque or larger than JavaScript can
count; what WeChat left out is "", None or (). Where `answerable` is "no", the event concerns the account and no user,
or nobody would see the reply.
"""
# ruff: noqa: RUF009 - part() gives a dataclass field that builds its default anew, which ruff cannot know

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .req_msg import KINDS, EventReqMsg, integer, many, moment, number, part, text, whole, wire

E = TypeVar("E", bound=EventReqMsg)

EVENTS: dict[str, type[EventReqMsg]] = {}
"""Which class stands for which event, by WeChat's name in lower case."""

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform  # of the type checker's own; Python has it from 3.11 on
else:

    def dataclass_transform(**_):
        """Do nothing: only type checkers look at it."""
        return lambda decorator: decorator


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(wire, whole, number, moment, part, many)
)
def event(name: str, *, answerable: Literal["yes", "no", "?"] | None = None) -> Callable[[type[E]], type[E]]:
    """Make a class stand for the event *name*, WeChat's word in lower case: a frozen dataclass, and a row in `KINDS`."""

    def register(cls: type[E]) -> type[E]:
        if answerable is not None:
            cls.answerable = answerable
        cls = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        EVENTS[name] = KINDS["event", name] = cls
        return cls

    return register


# -- following, scanning, location -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithTicket(EventReqMsg):
    """What comes of a scene QR code.

    Attributes:
        ticket: Fetches the picture of the QR code; empty when there was none.
    """

    answerable = "yes"

    ticket: str = wire("Ticket")


@event("subscribe")
class SubscribeEvent(_WithTicket):
    """关注. The user followed the account, perhaps by scanning a scene QR code."""

    @property
    def scene(self) -> str:
        """The scene of the QR code, "" when the user came by another way."""
        # Removed once: a scene may itself begin with it. Keys without it (`last_trade_no_...`) are no scene.
        return self.event_key.removeprefix("qrscene_") if self.event_key.startswith("qrscene_") else ""


@event("unsubscribe", answerable="no")
class UnsubscribeEvent(EventReqMsg):
    """取消关注. WeChat requires that you delete the user's data."""


@event("scan")
class ScanEvent(_WithTicket):
    """扫描带参数二维码（已关注）. By a user who follows already."""

    @property
    def scene(self) -> str:
        """The scene of the QR code."""
        return self.event_key


@event("location", answerable="no")
class LocationEvent(EventReqMsg):
    """上报地理位置. On entering the conversation, or every 5 seconds while in it.

    Attributes:
        latitude: Degrees.
        longitude: Degrees.
        precision: How exact the position is.
    """

    latitude: float | None = number("Latitude")
    longitude: float | None = number("Longitude")
    precision: float | None = number("Precision")


@event("enter")
class EnterEvent(EventReqMsg):
    """进入会话. Historic."""


# -- the menu: `event_key` is the key of the button ------------------------------------------------------------------


@event("click", answerable="yes")
class ClickEvent(EventReqMsg):
    """点击菜单拉取消息."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MenuView(EventReqMsg):
    """The user left for a page.

    Attributes:
        menu_id: Which conditional menu (个性化菜单) the button belongs to.
    """

    answerable = "no"

    menu_id: str = wire("MenuId", "MenuID")


@event("view")
class ViewEvent(_MenuView):
    """点击菜单跳转链接. `event_key` is the URL."""


@event("view_miniprogram")
class ViewMiniprogramEvent(_MenuView):
    """点击菜单跳转小程序. `event_key` is the path in the mini-program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanCodeInfo:
    """What the scanner saw.

    Attributes:
        scan_type: ``qrcode``, ``barcode``, ...
        scan_result: What is written in the code.
    """

    scan_type: str = wire("ScanType")
    scan_result: str = wire("ScanResult")


@dataclass(frozen=True, slots=True, kw_only=True)
class _MenuScan(EventReqMsg):
    answerable = "yes"

    scan_code_info: ScanCodeInfo = part("ScanCodeInfo", ScanCodeInfo)


@event("scancode_push")
class ScancodePushEvent(_MenuScan):
    """扫码推事件."""


@event("scancode_waitmsg")
class ScancodeWaitmsgEvent(_MenuScan):
    """扫码推事件且弹出“消息接收中”提示框. The user's WeChat waits for your reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PicItem:
    """One picture."""

    pic_md5_sum: str = wire("PicMd5Sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPicsInfo:
    """The pictures that the user chose.

    Attributes:
        count: What WeChat says; rather trust the length of `pic_list`.
    """

    count: int | None = whole("Count")
    pic_list: tuple[PicItem, ...] = many("PicList/item", PicItem)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MenuPics(EventReqMsg):
    answerable = "yes"

    send_pics_info: SendPicsInfo = part("SendPicsInfo", SendPicsInfo)


@event("pic_sysphoto")
class PicSysphotoEvent(_MenuPics):
    """弹出系统拍照发图. Each picture also arrives as an image message."""


@event("pic_photo_or_album")
class PicPhotoOrAlbumEvent(_MenuPics):
    """弹出拍照或者相册发图. Each picture also arrives as an image message."""


@event("pic_weixin")
class PicWeixinEvent(_MenuPics):
    """弹出微信相册发图器. Each picture also arrives as an image message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLocationInfo:
    """The place that the user chose.

    Attributes:
        location_x: Latitude (纬度) in degrees.
        location_y: Longitude (经度) in degrees.
        scale: The map's zoom.
    """

    location_x: float | None = number("Location_X")
    location_y: float | None = number("Location_Y")
    scale: int | None = whole("Scale")
    label: str = wire("Label")
    poiname: str = wire("Poiname")


@event("location_select", answerable="yes")
class LocationSelectEvent(EventReqMsg):
    """弹出地理位置选择器. The place also arrives as a location message."""

    send_location_info: SendLocationInfo = part("SendLocationInfo", SendLocationInfo)


# -- results of sending ----------------------------------------------------------------------------------------------


@event("templatesendjobfinish", answerable="no")
class TemplateSendJobFinishEvent(EventReqMsg):
    """模板消息发送结果. `msg_id` is the one that sending returned.

    Attributes:
        status: ``success``, ``failed:user block`` or ``failed: system failed`` (note the blank).
    """

    status: str = wire("Status")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyrightCheckItem:
    """原创校验 of one article.

    Attributes:
        article_idx: Which article, from 1.
        user_declare_state: What the user declared.
        audit_state: What the check found.
        original_article_url: The article that this one resembles.
        can_reprint: 0 or 1, like the next two.
    """

    article_idx: int | None = whole("ArticleIdx")
    user_declare_state: int | None = whole("UserDeclareState")
    audit_state: int | None = whole("AuditState")
    original_article_url: str = wire("OriginalArticleUrl")
    original_article_type: int | None = whole("OriginalArticleType")
    can_reprint: int | None = whole("CanReprint")
    need_replace_content: int | None = whole("NeedReplaceContent")
    need_show_reprint_source: int | None = whole("NeedShowReprintSource")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyrightCheckResult:
    """原创校验结果.

    Attributes:
        check_state: 1 no reprint, 2 a reprint that may be sent, 3 a reprint that may not; 0 was seen, too.
    """

    count: int | None = whole("Count")
    result_list: tuple[CopyrightCheckItem, ...] = many("ResultList/item", CopyrightCheckItem)
    check_state: int | None = whole("CheckState")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleUrlItem:
    """Where one article of a mass message stands."""

    article_idx: int | None = whole("ArticleIdx")
    article_url: str = wire("ArticleUrl")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleUrlResult:
    """Where the articles of a mass message stand."""

    count: int | None = whole("Count")
    result_list: tuple[ArticleUrlItem, ...] = many("ResultList/item", ArticleUrlItem)


@event("masssendjobfinish", answerable="no")
class MassSendJobFinishEvent(EventReqMsg):
    """群发结果. `msg_id` is the one that sending returned.

    Attributes:
        status: ``send success`` (once ``sendsuccess``), ``send fail`` or ``err(30003)`` and the like.
        total_count: Followers in the group, or OpenIDs in the list.
        filter_count: How many were left after filtering: `sent_count` and `error_count` together.
    """

    status: str = wire("Status")
    total_count: int | None = whole("TotalCount")
    filter_count: int | None = whole("FilterCount")
    sent_count: int | None = whole("SentCount")
    error_count: int | None = whole("ErrorCount")
    copyright_check_result: CopyrightCheckResult = part("CopyrightCheckResult", CopyrightCheckResult)
    article_url_result: ArticleUrlResult = part("ArticleUrlResult", ArticleUrlResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleDetailItem:
    """One published article."""

    idx: int | None = whole("idx")
    article_url: str = wire("article_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleDetail:
    """The published articles."""

    count: int | None = whole("count")
    item: tuple[ArticleDetailItem, ...] = many("item", ArticleDetailItem)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishEventInfo:
    """What became of a publishing job.

    Attributes:
        publish_status: 0 done, 1 in progress, 2 originality check failed, 3 failed, 4 refused by review, 5 the user
            deleted all articles later, 6 WeChat blocked all articles later.
        article_id: Set when the job is done.
        fail_idx: Which articles failed, from 1.
    """

    publish_id: str = wire("publish_id")
    publish_status: int | None = whole("publish_status")
    article_id: str = wire("article_id")
    article_detail: ArticleDetail = part("article_detail", ArticleDetail)
    fail_idx: tuple[int | None, ...] = many("fail_idx", integer)


@event("publishjobfinish", answerable="no")
class PublishJobFinishEvent(EventReqMsg):
    """发布结果."""

    publish_event_info: PublishEventInfo = part("PublishEventInfo", PublishEventInfo)


# -- customer service sessions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _KfSession(EventReqMsg):
    """A session with a human agent.

    Attributes:
        kf_account: The agent, ``prefix@account``.
    """

    kf_account: str = wire("KfAccount")


@event("kf_create_session")
class KfCreateSessionEvent(_KfSession):
    """客服接入会话."""


@event("kf_close_session")
class KfCloseSessionEvent(_KfSession):
    """客服关闭会话."""


@event("kf_switch_session")
class KfSwitchSessionEvent(EventReqMsg):
    """客服转接会话.

    Attributes:
        from_kf_account: The former agent, ``prefix@account``.
        to_kf_account: The new agent.
    """

    from_kf_account: str = wire("FromKfAccount")
    to_kf_account: str = wire("ToKfAccount")


# -- account verification: there is no user to answer ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified(EventReqMsg):
    """A verification that holds, or held.

    Attributes:
        expired_time: Until when.
    """

    answerable = "no"

    expired_time: int | None = moment("ExpiredTime")


@dataclass(frozen=True, slots=True, kw_only=True)
class _VerifyFailed(EventReqMsg):
    answerable = "no"

    fail_time: int | None = moment("FailTime")
    fail_reason: str = wire("FailReason")


@event("qualification_verify_success")
class QualificationVerifySuccessEvent(_Verified):
    """资质认证成功."""


@event("qualification_verify_fail")
class QualificationVerifyFailEvent(_VerifyFailed):
    """资质认证失败."""


@event("naming_verify_success")
class NamingVerifySuccessEvent(_Verified):
    """名称认证成功."""


@event("naming_verify_fail")
class NamingVerifyFailEvent(_VerifyFailed):
    """名称认证失败."""


@event("annual_renew")
class AnnualRenewEvent(_Verified):
    """年审通知. The verification has to be renewed before `expired_time`."""


@event("verify_expired")
class VerifyExpiredEvent(_Verified):
    """认证过期失效通知."""


@event("wx_verify_pay_succ", answerable="no")
class WxVerifyPaySuccEvent(EventReqMsg):
    """小程序认证: 支付完成."""


@event("wx_verify_dispatch", answerable="no")
class WxVerifyDispatchEvent(EventReqMsg):
    """小程序认证: 派单给审核机构."""


@event("wx_verify_refill", answerable="no")
class WxVerifyRefillEvent(EventReqMsg):
    """小程序认证: 打回重填."""

    refill_time: int | None = moment("RefillTime")
    refill_reason: str = wire("RefillReason")


@event("wx_verify_fail", answerable="no")
class WxVerifyFailEvent(EventReqMsg):
    """小程序认证: 认证失败."""


# -- subscription notices: WeChat wraps the list in an element of the event's own name, which tells nothing ----------


@dataclass(frozen=True, slots=True, kw_only=True)
class _SubscribeMsgChoice:
    """What the user decided about one template.

    Attributes:
        subscribe_status_string: ``accept`` or ``reject``.
    """

    template_id: str = wire("TemplateId")
    subscribe_status_string: str = wire("SubscribeStatusString")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeMsgChangeItem(_SubscribeMsgChoice):
    """What the user decided about one template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeMsgPopupItem(_SubscribeMsgChoice):
    """What the user decided about one template, and where.

    Attributes:
        popup_scene: Where the question was asked; probably 1 a page, 2 an article.
    """

    popup_scene: int | None = whole("PopupScene")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeMsgSentItem:
    """What became of one notice.

    Attributes:
        msg_id: The one that sending returned.
        error_code: 0 is success.
    """

    template_id: str = wire("TemplateId")
    msg_id: str = wire("MsgID", "MsgId")
    error_code: int | None = whole("ErrorCode")
    error_status: str = wire("ErrorStatus")


@event("subscribe_msg_popup_event")
class SubscribeMsgPopupEvent(EventReqMsg):
    """用户操作订阅通知弹窗."""

    list: tuple[SubscribeMsgPopupItem, ...] = many("SubscribeMsgPopupEvent/List", SubscribeMsgPopupItem)


@event("subscribe_msg_change_event")
class SubscribeMsgChangeEvent(EventReqMsg):
    """用户管理订阅通知. Only refusals are pushed."""

    list: tuple[SubscribeMsgChangeItem, ...] = many("SubscribeMsgChangeEvent/List", SubscribeMsgChangeItem)


@event("subscribe_msg_sent_event")
class SubscribeMsgSentEvent(EventReqMsg):
    """发送订阅通知结果."""

    list: tuple[SubscribeMsgSentItem, ...] = many("SubscribeMsgSentEvent/List", SubscribeMsgSentItem)


# -- user authorization: WeChat's platform writes, about a user ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserAuthorization(EventReqMsg):
    """A user who logged in on a website or page of yours within the last 30 days.

    Attributes:
        from_user_name: WeChat's platform account. The user is `openid`.
        open_id: The user's OpenID, as it came.
        union_id: May be absent.
        app_id: The app that the user authorized.
        revoke_info: 201 address, 202 invoice, 203 card, 204 microphone, 205 name and picture, 206 location, 207 chosen
            pictures and videos, 301 everything.
    """

    answerable = "no"

    open_id: str = wire("OpenID", "openid", "OpenId")
    union_id: str = wire("UnionID", "unionid", "UnionId")
    app_id: str = wire("AppID", "appid", "AppId")
    revoke_info: int | None = whole("RevokeInfo")

    @property
    def openid(self) -> str:
        """The user's OpenID."""
        return self.open_id or self.from_user_name


@event("user_info_modified")
class UserInfoModifiedEvent(_UserAuthorization):
    """授权用户资料变更."""


@event("user_authorization_revoke")
class UserAuthorizationRevokeEvent(_UserAuthorization):
    """授权用户资料撤回. Delete what `revoke_info` names."""


@event("user_authorization_cancellation")
class UserAuthorizationCancellationEvent(_UserAuthorization):
    """授权用户完成注销. Delete the user's data."""


# -- guides (对话能力 / 顾问) -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideScan:
    """Who scanned which guide's code.

    Attributes:
        openid: The user.
    """

    qrcode_guide_account: str = wire("qrcode_guide_account")
    qrcode_guide_openid: str = wire("qrcode_guide_openid")
    openid: str = wire("openid", "OpenID")
    action: int | None = whole("action")
    qrcode_info: str = wire("qrcode_info")


@event("guide_qrcode_scan_event")
class GuideQrcodeScanEvent(EventReqMsg):
    """扫顾问二维码."""

    guide_scan_event: GuideScan = part("GuideScanEvent", GuideScan)


@event("guide_invite_result_event")
class GuideInviteResultEvent(EventReqMsg):
    """顾问邀请结果. WeChat does not describe its elements: see `raw`."""


@event("add_guide_buyer_relation_event")
class AddGuideBuyerRelationEvent(EventReqMsg):
    """顾问与客户绑定. WeChat does not describe its elements: see `raw`."""


# -- cards (卡券) ----------------------------------------------------------------------------------------------------


def _truth(value: Any) -> bool | None:
    """Read ``true`` or ``false``: as text, both would count as true."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text(value).lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card(EventReqMsg):
    card_id: str = wire("CardId")


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserCard(_Card):
    """The card of one user.

    Attributes:
        card_id: The kind of card.
        user_card_code: The one card.
    """

    user_card_code: str = wire("UserCardCode")


@event("card_pass_check", answerable="no")
class CardPassCheckEvent(_Card):
    """卡券审核通过."""


@event("card_not_pass_check", answerable="no")
class CardNotPassCheckEvent(_Card):
    """卡券审核未通过."""

    refuse_reason: str = wire("RefuseReason")


@event("user_get_card")
class UserGetCardEvent(_UserCard):
    """领取卡券.

    Attributes:
        is_give_by_friend: 0 or 1.
        friend_user_name: Who gave the card away; an OpenID.
        outer_id: From where the card was taken; superseded by `outer_str`.
        old_user_card_code: The card's code before it was given away.
        is_restore_member_card: 0 or 1.
        is_recommend_by_friend: 0 or 1.
    """

    is_give_by_friend: int | None = whole("IsGiveByFriend")
    friend_user_name: str = wire("FriendUserName")
    outer_id: str = wire("OuterId")
    old_user_card_code: str = wire("OldUserCardCode")
    outer_str: str = wire("OuterStr")
    is_restore_member_card: int | None = whole("IsRestoreMemberCard")
    is_recommend_by_friend: int | None = whole("IsRecommendByFriend")
    union_id: str = wire("UnionId")


@event("user_gifting_card")
class UserGiftingCardEvent(_UserCard):
    """转赠卡券.

    Attributes:
        is_return_back: 0 or 1: nobody took the card, and it came back.
        friend_user_name: Who gets the card; an OpenID.
        is_chat_room: 0 or 1: given to a group.
    """

    is_return_back: int | None = whole("IsReturnBack")
    friend_user_name: str = wire("FriendUserName")
    is_chat_room: int | None = whole("IsChatRoom")


@event("user_del_card")
class UserDelCardEvent(_UserCard):
    """删除卡券."""


@event("user_consume_card")
class UserConsumeCardEvent(_UserCard):
    """核销卡券.

    Attributes:
        consume_source: ``FROM_API``, ``FROM_MP`` or ``FROM_MOBILE_HELPER``.
        staff_open_id: Who took the card in.
    """

    consume_source: str = wire("ConsumeSource")
    location_id: str = wire("LocationId")
    location_name: str = wire("LocationName")
    staff_open_id: str = wire("StaffOpenId")
    verify_code: str = wire("VerifyCode")
    remark_amount: str = wire("RemarkAmount")
    outer_id: str = wire("OuterId")
    outer_str: str = wire("OuterStr")


@event("user_pay_from_pay_cell")
class UserPayFromPayCellEvent(_UserCard):
    """微信买单.

    Attributes:
        fee: What was paid, in cents (分).
        original_fee: What it would have been without the card, in cents.
    """

    trans_id: str = wire("TransId")
    location_id: str = wire("LocationId")
    fee: int | None = whole("Fee")
    original_fee: int | None = whole("OriginalFee")


@event("user_view_card")
class UserViewCardEvent(_UserCard):
    """进入会员卡."""

    outer_str: str = wire("OuterStr")


@event("user_enter_session_from_card")
class UserEnterSessionFromCardEvent(_UserCard):
    """从卡券进入公众号会话."""


@event("update_member_card")
class UpdateMemberCardEvent(_UserCard):
    """会员卡内容更新.

    Attributes:
        modify_bonus: By how many points.
        modify_balance: By how much money.
    """

    modify_bonus: int | None = whole("ModifyBonus")
    modify_balance: int | None = whole("ModifyBalance")


@event("card_sku_remind", answerable="no")
class CardSkuRemindEvent(_Card):
    """卡券库存报警. `from_user_name` is not a user's."""

    detail: str = wire("Detail")


@event("card_pay_order", answerable="no")
class CardPayOrderEvent(EventReqMsg):
    """券点流水详情."""

    order_id: str = wire("OrderId")
    status: str = wire("Status")
    create_order_time: int | None = moment("CreateOrderTime")
    pay_finish_time: int | None = moment("PayFinishTime")
    desc: str = wire("Desc")
    free_coin_count: int | None = whole("FreeCoinCount")
    pay_coin_count: int | None = whole("PayCoinCount")
    refund_free_coin_count: int | None = whole("RefundFreeCoinCount")
    refund_pay_coin_count: int | None = whole("RefundPayCoinCount")
    order_type: str = wire("OrderType")
    memo: str = wire("Memo")
    receipt_info: str = wire("ReceiptInfo")


@event("submit_membercard_user_info")
class SubmitMembercardUserInfoEvent(_UserCard):
    """会员卡激活."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Giftcard(EventReqMsg):
    page_id: str = wire("PageId")
    order_id: str = wire("OrderId")


@event("giftcard_pay_done")
class GiftcardPayDoneEvent(_Giftcard):
    """用户购买礼品卡付款成功."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _GiftcardGiven(_Giftcard):
    """A gift card on its way.

    Attributes:
        is_chat_room: Given to a group. Here WeChat writes ``true`` and ``false``, not 1 and 0.
    """

    is_chat_room: bool | None = wire("IsChatRoom", read=_truth, default=None)


@event("giftcard_send_to_friend")
class GiftcardSendToFriendEvent(_GiftcardGiven):
    """用户购买后赠送.

    Attributes:
        is_return_back: Nobody took the card, and it came back.
    """

    is_return_back: bool | None = wire("IsReturnBack", read=_truth, default=None)


@event("giftcard_user_accept")
class GiftcardUserAcceptEvent(_GiftcardGiven):
    """用户领取礼品卡成功."""


@event("card_merchant_check_result", answerable="no")
class CardMerchantCheckResultEvent(EventReqMsg):
    """子商户审核结果.

    Attributes:
        is_pass: 0 or 1.
    """

    merchant_id: str = wire("MerchantId")
    is_pass: int | None = whole("IsPass")
    reason: str = wire("Reason")


# -- invoices --------------------------------------------------------------------------------------------------------


@event("user_authorize_invoice")
class UserAuthorizeInvoiceEvent(EventReqMsg):
    """用户授权开票.

    Attributes:
        succ_order_id: The order, when the user authorized.
        fail_order_id: The order, when the user did not.
        app_id: Where the user authorized.
    """

    succ_order_id: str = wire("SuccOrderId")
    fail_order_id: str = wire("FailOrderId")
    app_id: str = wire("AppId", "AuthorizeAppId", "AppID", "appid")
    source: str = wire("Source", "source")


@event("update_invoice_status")
class UpdateInvoiceStatusEvent(EventReqMsg):
    """发票状态更新.

    Attributes:
        status: ``INVOICE_REIMBURSE_INIT`` and the like.
    """

    status: str = wire("Status")
    card_id: str = wire("CardId")
    code: str = wire("Code")


@event("cloud_invoice_invoiceresult_event")
class CloudInvoiceInvoiceresultEvent(EventReqMsg):
    """统一开票结果.

    Attributes:
        fpqqlsh: 发票请求流水号, the id of the request.
        nsrsbh: 纳税人识别号, the taxpayer's number.
    """

    fpqqlsh: str = wire("fpqqlsh")
    status: int | None = whole("status")
    nsrsbh: str = wire("nsrsbh")


@event("submit_invoice_title")
class SubmitInvoiceTitleEvent(EventReqMsg):
    """用户提交发票抬头.

    Attributes:
        title_type: ``InvoiceUserTitlePersonType`` or ``InvoiceUserTitleBusinessType``.
    """

    title: str = wire("title")
    phone: str = wire("phone")
    tax_no: str = wire("tax_no")
    addr: str = wire("addr")
    bank_type: str = wire("bank_type")
    bank_no: str = wire("bank_no")
    attach: str = wire("attach")
    title_type: str = wire("title_type")


# -- stores (门店): they concern the account, not a user -------------------------------------------------------------


@event("poi_check_notify", answerable="no")
class PoiCheckNotifyEvent(EventReqMsg):
    """门店审核结果.

    Attributes:
        uniq_id: Your own id of the store.
        poi_id: WeChat's id of the store.
        result: ``succ`` or ``fail``.
        msg: Why it failed.
    """

    uniq_id: str = wire("UniqId")
    poi_id: str = wire("PoiId")
    result: str = wire("Result")
    msg: str = wire("Msg", "msg")


@dataclass(frozen=True, slots=True, kw_only=True)
class _AuditInfo(EventReqMsg):
    """What a review found.

    Attributes:
        status: 1 passed, 2 pending, 3 failed.
    """

    answerable = "no"

    audit_id: str = wire("audit_id")
    status: int | None = whole("status")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReasonedAuditInfo(_AuditInfo):
    reason: str = wire("reason")


@event("apply_merchant_audit_info")
class ApplyMerchantAuditInfoEvent(_ReasonedAuditInfo):
    """门店小程序: 创建审核结果."""


@event("create_map_poi_audit_info")
class CreateMapPoiAuditInfoEvent(_AuditInfo):
    """门店小程序: 腾讯地图新建门店审核结果.

    Attributes:
        latitude: Degrees.
        longitude: Degrees.
        sh_remark: The reviewer's remark.
    """

    map_poi_id: str = wire("map_poi_id")
    name: str = wire("name")
    address: str = wire("address")
    latitude: float | None = number("latitude")
    longitude: float | None = number("longitude")
    sh_remark: str = wire("sh_remark")


@event("add_store_audit_info")
class AddStoreAuditInfoEvent(_ReasonedAuditInfo):
    """门店小程序: 添加门店审核结果."""

    is_upgrade: int | None = whole("is_upgrade")
    poiid: str = wire("poiid")


@event("modify_store_audit_info")
class ModifyStoreAuditInfoEvent(_ReasonedAuditInfo):
    """门店小程序: 修改门店审核结果."""


# -- Wi-Fi, beacons, shop, products (mostly retired) -----------------------------------------------------------------


@event("wificonnected")
class WifiConnectedEvent(EventReqMsg):
    """Wi-Fi 连网成功.

    Attributes:
        device_no: The BSSID of the router.
    """

    connect_time: int | None = moment("ConnectTime")
    expire_time: int | None = moment("ExpireTime")
    vendor_id: str = wire("VendorId")
    place_id: str = wire("PlaceId")
    device_no: str = wire("DeviceNo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """One beacon.

    Attributes:
        distance: Metres.
    """

    uuid: str = wire("Uuid")
    major: int | None = whole("Major")
    minor: int | None = whole("Minor")
    distance: float | None = number("Distance")


@event("shakearoundusershake")
class ShakearoundUserShakeEvent(EventReqMsg):
    """摇一摇周边."""

    chosen_beacon: Beacon = part("ChosenBeacon", Beacon)
    around_beacons: tuple[Beacon, ...] = many("AroundBeacons/AroundBeacon", Beacon)


@event("merchant_order")
class MerchantOrderEvent(EventReqMsg):
    """微信小店: 订单付款."""

    order_id: str = wire("OrderId")
    order_status: int | None = whole("OrderStatus")
    product_id: str = wire("ProductId")
    sku_info: str = wire("SkuInfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScanProduct(EventReqMsg):
    """A product's code.

    Attributes:
        key_standard: ``ean13``, ``qrcode``, ...
        key_str: What is written in the code.
    """

    key_standard: str = wire("KeyStandard")
    key_str: str = wire("KeyStr")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScanProductExt(_ScanProduct):
    """A product's code that leads further.

    Attributes:
        ext_info: What you stored with the product's page.
    """

    ext_info: str = wire("ExtInfo")


@event("user_scan_product_enter_session")
class UserScanProductEnterSessionEvent(_ScanProductExt):
    """从商品主页进入公众号会话."""


@event("user_scan_product")
class UserScanProductEvent(_ScanProductExt):
    """打开商品主页.

    Attributes:
        sex: The user's: 1 male, 2 female, 0 unknown.
        scene: How the user got there.
    """

    country: str = wire("Country")
    province: str = wire("Province")
    city: str = wire("City")
    sex: int | None = whole("Sex")
    scene: int | None = whole("Scene")


@event("user_scan_product_async")
class UserScanProductAsyncEvent(_ScanProductExt):
    """商品主页: 地理位置信息异步推送."""

    region_code: str = wire("RegionCode")


@event("user_scan_product_verify_action")
class UserScanProductVerifyActionEvent(_ScanProduct):
    """商品审核结果.

    Attributes:
        result: ``verify_ok`` or ``verify_not_pass``.
    """

    result: str = wire("Result")
    reason_msg: str = wire("ReasonMsg")


# -- mini-programs that share this account's URL: there is no conversation here --------------------------------------


@event("user_enter_tempsession", answerable="no")
class UserEnterTempsessionEvent(EventReqMsg):
    """小程序: 用户进入客服会话.

    Attributes:
        session_from: What the mini-program's button says.
    """

    session_from: str = wire("SessionFrom")


@event("weapp_audit_success", answerable="no")
class WeappAuditSuccessEvent(EventReqMsg):
    """小程序: 代码审核通过."""

    succ_time: int | None = moment("SuccTime")


@event("weapp_audit_fail", answerable="no")
class WeappAuditFailEvent(EventReqMsg):
    """小程序: 代码审核不通过.

    Attributes:
        reason: With ``<br>`` in it.
        screen_shot: Media ids, with ``|`` between them.
    """

    reason: str = wire("Reason")
    fail_time: int | None = moment("FailTime")
    screen_shot: str = wire("ScreenShot")


@event("weapp_audit_delay", answerable="no")
class WeappAuditDelayEvent(EventReqMsg):
    """小程序: 代码审核延后."""

    reason: str = wire("Reason")
    delay_time: int | None = moment("DelayTime")


@event("wxa_nickname_audit", answerable="no")
class WxaNicknameAuditEvent(EventReqMsg):
    """小程序: 名称审核结果. For its elements see `raw`, here and in the next four."""


@event("wxa_category_audit", answerable="no")
class WxaCategoryAuditEvent(EventReqMsg):
    """小程序: 类目审核结果."""


@event("wxa_privacy_apply", answerable="no")
class WxaPrivacyApplyEvent(EventReqMsg):
    """小程序: 隐私接口审核结果."""


@event("wxa_appeal_record", answerable="no")
class WxaAppealRecordEvent(EventReqMsg):
    """小程序: 申诉记录."""


@event("wxa_illegal_record", answerable="no")
class WxaIllegalRecordEvent(EventReqMsg):
    """小程序: 违规记录."""


@event("wxa_media_check", answerable="no")
class WxaMediaCheckEvent(EventReqMsg):
    """小程序: 多媒体内容安全检测结果.

    Attributes:
        isrisky: 0 or 1.
        trace_id: The one that the check returned; all that tells apart two results of the same second.
        status_code: 0 is success.
    """

    isrisky: int | None = whole("isrisky")
    extra_info_json: str = wire("extra_info_json")
    app_id: str = wire("appid", "AppID", "AppId")
    trace_id: str = wire("trace_id")
    status_code: int | None = whole("status_code")


# -- the debugging tool ----------------------------------------------------------------------------------------------


@event("debug_demo")
class DebugDemoEvent(EventReqMsg):
    """调试工具的示例事件."""

    debug_str: str = wire("debug_str")
