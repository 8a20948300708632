"""What happened: one class for each event of WeChat, and the table of their names.

A table in the shape of classes: `fields` says how a field is read, what stands here is WeChat's list of events, in the
order of its documentation. An event that is missing here is a plain `EventReqMsg`. Knows nothing of XML, handlers or
replies.

Throughout, times are Unix times in seconds; ids and codes are text, since they are opaque or larger than JavaScript can
count; what WeChat left out is "", None or (). Where `answerable` is "no", the event concerns the account and no user,
or nobody would see the reply.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fields import integer, many, moment, number, part, text, whole, wire
from .req_msg import EventReqMsg

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform  # of the type checker's own; Python has it from 3.11 on
else:
    dataclass_transform = lambda **_: lambda cls: cls  # noqa: E731 (only type checkers look at it)

EVENTS: dict[str, type[EventReqMsg]] = {}
"""Which class stands for which event, by WeChat's name in lower case."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _Table(type):
    """Makes each class below a frozen dataclass, and a row of `EVENTS` if it says which `event` it is for."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], *, event: str = "", answerable: str = ""
    ) -> Any:
        if answerable:
            body["answerable"] = answerable
        cls: Any = super().__new__(mcs, name, bases, body)
        if "__slots__" not in body:  # dataclass() makes the class a second time, to give it slots
            cls = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        if event:
            EVENTS[event] = cls
        return cls


class _Part(metaclass=_Table):
    """An element with children of its own."""

    __slots__ = ()


class _Known(EventReqMsg, metaclass=_Table):
    """An event that we know: ``event=`` is WeChat's word for it in lower case, ``answerable=`` that of `ReqMsg`."""


# -- following, scanning, location -----------------------------------------------------------------------------------


class _WithTicket(_Known, answerable="yes"):
    """What comes of a scene QR code.

    Attributes:
        ticket: Fetches the picture of the QR code; empty when there was none.
    """

    ticket: str = wire("Ticket")


class SubscribeEvent(_WithTicket, event="subscribe"):
    """关注. The user followed the account, perhaps by scanning a scene QR code."""

    @property
    def scene(self) -> str:
        """The scene of the QR code, "" when the user came by another way."""
        # Removed once: a scene may itself begin with it. Keys without it (`last_trade_no_...`) are no scene.
        return self.event_key.removeprefix("qrscene_") if self.event_key.startswith("qrscene_") else ""


class UnsubscribeEvent(_Known, event="unsubscribe", answerable="no"):
    """取消关注. WeChat requires that you delete the user's data."""


class ScanEvent(_WithTicket, event="scan"):
    """扫描带参数二维码（已关注）. By a user who follows already."""

    @property
    def scene(self) -> str:
        """The scene of the QR code."""
        return self.event_key


class LocationEvent(_Known, event="location", answerable="no"):
    """上报地理位置. On entering the conversation, or every 5 seconds while in it.

    Attributes:
        latitude: Degrees.
        longitude: Degrees.
        precision: How exact the position is.
    """

    latitude: float | None = number("Latitude")
    longitude: float | None = number("Longitude")
    precision: float | None = number("Precision")


class EnterEvent(_Known, event="enter"):
    """进入会话. Historic."""


# -- the menu: `event_key` is the key of the button ------------------------------------------------------------------


class ClickEvent(_Known, event="click", answerable="yes"):
    """点击菜单拉取消息."""


class _MenuView(_Known, answerable="no"):
    """The user left for a page.

    Attributes:
        menu_id: Which conditional menu (个性化菜单) the button belongs to.
    """

    menu_id: str = wire("MenuId", "MenuID")


class ViewEvent(_MenuView, event="view"):
    """点击菜单跳转链接. `event_key` is the URL."""


class ViewMiniprogramEvent(_MenuView, event="view_miniprogram"):
    """点击菜单跳转小程序. `event_key` is the path in the mini-program."""


class ScanCodeInfo(_Part):
    """What the scanner saw.

    Attributes:
        scan_type: ``qrcode``, ``barcode``, ...
        scan_result: What is written in the code.
    """

    scan_type: str = wire("ScanType")
    scan_result: str = wire("ScanResult")


class _MenuScan(_Known, answerable="yes"):
    scan_code_info: ScanCodeInfo = part("ScanCodeInfo", ScanCodeInfo)


class ScancodePushEvent(_MenuScan, event="scancode_push"):
    """扫码推事件."""


class ScancodeWaitmsgEvent(_MenuScan, event="scancode_waitmsg"):
    """扫码推事件且弹出“消息接收中”提示框. The user's WeChat waits for your reply."""


class PicItem(_Part):
    """One picture."""

    pic_md5_sum: str = wire("PicMd5Sum")


class SendPicsInfo(_Part):
    """The pictures that the user chose.

    Attributes:
        count: What WeChat says; rather trust the length of `pic_list`.
    """

    count: int | None = whole("Count")
    pic_list: tuple[PicItem, ...] = many("PicList/item", PicItem)


class _MenuPics(_Known, answerable="yes"):
    send_pics_info: SendPicsInfo = part("SendPicsInfo", SendPicsInfo)


class PicSysphotoEvent(_MenuPics, event="pic_sysphoto"):
    """弹出系统拍照发图. Each picture also arrives as an image message."""


class PicPhotoOrAlbumEvent(_MenuPics, event="pic_photo_or_album"):
    """弹出拍照或者相册发图. Each picture also arrives as an image message."""


class PicWeixinEvent(_MenuPics, event="pic_weixin"):
    """弹出微信相册发图器. Each picture also arrives as an image message."""


class SendLocationInfo(_Part):
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


class LocationSelectEvent(_Known, event="location_select", answerable="yes"):
    """弹出地理位置选择器. The place also arrives as a location message."""

    send_location_info: SendLocationInfo = part("SendLocationInfo", SendLocationInfo)


# -- results of sending ----------------------------------------------------------------------------------------------


class TemplateSendJobFinishEvent(_Known, event="templatesendjobfinish", answerable="no"):
    """模板消息发送结果. `msg_id` is the one that sending returned.

    Attributes:
        status: ``success``, ``failed:user block`` or ``failed: system failed`` (note the blank).
    """

    status: str = wire("Status")


class CopyrightCheckItem(_Part):
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


class CopyrightCheckResult(_Part):
    """原创校验结果.

    Attributes:
        check_state: 1 no reprint, 2 a reprint that may be sent, 3 a reprint that may not; 0 was seen, too.
    """

    count: int | None = whole("Count")
    result_list: tuple[CopyrightCheckItem, ...] = many("ResultList/item", CopyrightCheckItem)
    check_state: int | None = whole("CheckState")


class ArticleUrlItem(_Part):
    """Where one article of a mass message stands."""

    article_idx: int | None = whole("ArticleIdx")
    article_url: str = wire("ArticleUrl")


class ArticleUrlResult(_Part):
    """Where the articles of a mass message stand."""

    count: int | None = whole("Count")
    result_list: tuple[ArticleUrlItem, ...] = many("ResultList/item", ArticleUrlItem)


class MassSendJobFinishEvent(_Known, event="masssendjobfinish", answerable="no"):
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


class ArticleDetailItem(_Part):
    """One published article."""

    idx: int | None = whole("idx")
    article_url: str = wire("article_url")


class ArticleDetail(_Part):
    """The published articles."""

    count: int | None = whole("count")
    item: tuple[ArticleDetailItem, ...] = many("item", ArticleDetailItem)


class PublishEventInfo(_Part):
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


class PublishJobFinishEvent(_Known, event="publishjobfinish", answerable="no"):
    """发布结果."""

    publish_event_info: PublishEventInfo = part("PublishEventInfo", PublishEventInfo)


# -- customer service sessions ---------------------------------------------------------------------------------------


class _KfSession(_Known):
    """A session with a human agent.

    Attributes:
        kf_account: The agent, ``prefix@account``.
    """

    kf_account: str = wire("KfAccount")


class KfCreateSessionEvent(_KfSession, event="kf_create_session"):
    """客服接入会话."""


class KfCloseSessionEvent(_KfSession, event="kf_close_session"):
    """客服关闭会话."""


class KfSwitchSessionEvent(_Known, event="kf_switch_session"):
    """客服转接会话.

    Attributes:
        from_kf_account: The former agent, ``prefix@account``.
        to_kf_account: The new agent.
    """

    from_kf_account: str = wire("FromKfAccount")
    to_kf_account: str = wire("ToKfAccount")


# -- account verification: there is no user to answer ----------------------------------------------------------------


class _Verified(_Known, answerable="no"):
    """A verification that holds, or held.

    Attributes:
        expired_time: Until when.
    """

    expired_time: int | None = moment("ExpiredTime")


class _VerifyFailed(_Known, answerable="no"):
    fail_time: int | None = moment("FailTime")
    fail_reason: str = wire("FailReason")


class QualificationVerifySuccessEvent(_Verified, event="qualification_verify_success"):
    """资质认证成功."""


class QualificationVerifyFailEvent(_VerifyFailed, event="qualification_verify_fail"):
    """资质认证失败."""


class NamingVerifySuccessEvent(_Verified, event="naming_verify_success"):
    """名称认证成功."""


class NamingVerifyFailEvent(_VerifyFailed, event="naming_verify_fail"):
    """名称认证失败."""


class AnnualRenewEvent(_Verified, event="annual_renew"):
    """年审通知. The verification has to be renewed before `expired_time`."""


class VerifyExpiredEvent(_Verified, event="verify_expired"):
    """认证过期失效通知."""


class WxVerifyPaySuccEvent(_Known, event="wx_verify_pay_succ", answerable="no"):
    """小程序认证: 支付完成."""


class WxVerifyDispatchEvent(_Known, event="wx_verify_dispatch", answerable="no"):
    """小程序认证: 派单给审核机构."""


class WxVerifyRefillEvent(_Known, event="wx_verify_refill", answerable="no"):
    """小程序认证: 打回重填."""

    refill_time: int | None = moment("RefillTime")
    refill_reason: str = wire("RefillReason")


class WxVerifyFailEvent(_Known, event="wx_verify_fail", answerable="no"):
    """小程序认证: 认证失败."""


# -- subscription notices: WeChat wraps the list in an element of the event's own name, which tells nothing ----------


class SubscribeMsgChangeItem(_Part):
    """What the user decided about one template.

    Attributes:
        subscribe_status_string: ``accept`` or ``reject``.
    """

    template_id: str = wire("TemplateId")
    subscribe_status_string: str = wire("SubscribeStatusString")


class SubscribeMsgPopupItem(SubscribeMsgChangeItem):
    """What the user decided about one template, and where.

    Attributes:
        popup_scene: Where the question was asked; probably 1 a page, 2 an article.
    """

    popup_scene: int | None = whole("PopupScene")


class SubscribeMsgSentItem(_Part):
    """What became of one notice.

    Attributes:
        msg_id: The one that sending returned.
        error_code: 0 is success.
    """

    template_id: str = wire("TemplateId")
    msg_id: str = wire("MsgID", "MsgId")
    error_code: int | None = whole("ErrorCode")
    error_status: str = wire("ErrorStatus")


class SubscribeMsgPopupEvent(_Known, event="subscribe_msg_popup_event"):
    """用户操作订阅通知弹窗."""

    list: tuple[SubscribeMsgPopupItem, ...] = many("SubscribeMsgPopupEvent/List", SubscribeMsgPopupItem)


class SubscribeMsgChangeEvent(_Known, event="subscribe_msg_change_event"):
    """用户管理订阅通知. Only refusals are pushed."""

    list: tuple[SubscribeMsgChangeItem, ...] = many(
        "SubscribeMsgChangeEvent|SubscribeMsgPopupEvent/List", SubscribeMsgChangeItem
    )


class SubscribeMsgSentEvent(_Known, event="subscribe_msg_sent_event"):
    """发送订阅通知结果."""

    list: tuple[SubscribeMsgSentItem, ...] = many("SubscribeMsgSentEvent/List", SubscribeMsgSentItem)


# -- user authorization: WeChat's platform writes, about a user ------------------------------------------------------


class _UserAuthorization(_Known, answerable="no"):
    """A user who logged in on a website or page of yours within the last 30 days.

    Attributes:
        from_user_name: WeChat's platform account. The user is `openid`.
        open_id: The user's OpenID, as it came.
        union_id: May be absent.
        app_id: The app that the user authorized.
        revoke_info: 201 address, 202 invoice, 203 card, 204 microphone, 205 name and picture, 206 location, 207 chosen
            pictures and videos, 301 everything.
    """

    open_id: str = wire("OpenID", "openid", "OpenId")
    union_id: str = wire("UnionID", "unionid", "UnionId")
    app_id: str = wire("AppID", "appid", "AppId")
    revoke_info: int | None = whole("RevokeInfo")

    @property
    def openid(self) -> str:
        """The user's OpenID."""
        return self.open_id or self.from_user_name


class UserInfoModifiedEvent(_UserAuthorization, event="user_info_modified"):
    """授权用户资料变更."""


class UserAuthorizationRevokeEvent(_UserAuthorization, event="user_authorization_revoke"):
    """授权用户资料撤回. Delete what `revoke_info` names."""


class UserAuthorizationCancellationEvent(_UserAuthorization, event="user_authorization_cancellation"):
    """授权用户完成注销. Delete the user's data."""


# -- guides (对话能力 / 顾问) -----------------------------------------------------------------------------------------


class GuideScan(_Part):
    """Who scanned which guide's code.

    Attributes:
        openid: The user.
    """

    qrcode_guide_account: str = wire("qrcode_guide_account")
    qrcode_guide_openid: str = wire("qrcode_guide_openid")
    openid: str = wire("openid", "OpenID")
    action: int | None = whole("action")
    qrcode_info: str = wire("qrcode_info")


class GuideQrcodeScanEvent(_Known, event="guide_qrcode_scan_event"):
    """扫顾问二维码."""

    guide_scan_event: GuideScan = part("GuideScanEvent", GuideScan)


class GuideInviteResultEvent(_Known, event="guide_invite_result_event"):
    """顾问邀请结果. WeChat does not describe its elements: see `raw`."""


class AddGuideBuyerRelationEvent(_Known, event="add_guide_buyer_relation_event"):
    """顾问与客户绑定. WeChat does not describe its elements: see `raw`."""


# -- cards (卡券) ----------------------------------------------------------------------------------------------------


def _truth(value: Any) -> bool | None:
    """Read ``true`` or ``false``: as text, both would count as true."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text(value).lower())


class _Card(_Known):
    card_id: str = wire("CardId")


class _UserCard(_Card):
    """The card of one user.

    Attributes:
        card_id: The kind of card.
        user_card_code: The one card.
    """

    user_card_code: str = wire("UserCardCode")


class CardPassCheckEvent(_Card, event="card_pass_check", answerable="no"):
    """卡券审核通过."""

    refuse_reason: str = wire("RefuseReason")


class CardNotPassCheckEvent(_Card, event="card_not_pass_check", answerable="no"):
    """卡券审核未通过."""

    refuse_reason: str = wire("RefuseReason")


class UserGetCardEvent(_UserCard, event="user_get_card"):
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


class UserGiftingCardEvent(_UserCard, event="user_gifting_card"):
    """转赠卡券.

    Attributes:
        is_return_back: 0 or 1: nobody took the card, and it came back.
        friend_user_name: Who gets the card; an OpenID.
        is_chat_room: 0 or 1: given to a group.
    """

    is_return_back: int | None = whole("IsReturnBack")
    friend_user_name: str = wire("FriendUserName")
    is_chat_room: int | None = whole("IsChatRoom")


class UserDelCardEvent(_UserCard, event="user_del_card"):
    """删除卡券."""


class UserConsumeCardEvent(_UserCard, event="user_consume_card"):
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


class UserPayFromPayCellEvent(_UserCard, event="user_pay_from_pay_cell"):
    """微信买单.

    Attributes:
        fee: What was paid, in cents (分).
        original_fee: What it would have been without the card, in cents.
    """

    trans_id: str = wire("TransId")
    location_id: str = wire("LocationId")
    fee: int | None = whole("Fee")
    original_fee: int | None = whole("OriginalFee")


class UserViewCardEvent(_UserCard, event="user_view_card"):
    """进入会员卡."""

    outer_str: str = wire("OuterStr")


class UserEnterSessionFromCardEvent(_UserCard, event="user_enter_session_from_card"):
    """从卡券进入公众号会话."""


class UpdateMemberCardEvent(_UserCard, event="update_member_card"):
    """会员卡内容更新.

    Attributes:
        modify_bonus: By how many points.
        modify_balance: By how much money.
    """

    modify_bonus: int | None = whole("ModifyBonus")
    modify_balance: int | None = whole("ModifyBalance")


class CardSkuRemindEvent(_Card, event="card_sku_remind", answerable="no"):
    """卡券库存报警. `from_user_name` is not a user's."""

    detail: str = wire("Detail")


class CardPayOrderEvent(_Known, event="card_pay_order", answerable="no"):
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


class SubmitMembercardUserInfoEvent(_UserCard, event="submit_membercard_user_info"):
    """会员卡激活."""


class _Giftcard(_Known):
    page_id: str = wire("PageId")
    order_id: str = wire("OrderId")


class GiftcardPayDoneEvent(_Giftcard, event="giftcard_pay_done"):
    """用户购买礼品卡付款成功."""


class _GiftcardGiven(_Giftcard):
    """A gift card on its way.

    Attributes:
        is_chat_room: Given to a group. Here WeChat writes ``true`` and ``false``, not 1 and 0.
    """

    is_chat_room: bool | None = wire("IsChatRoom", read=_truth, default=None)


class GiftcardSendToFriendEvent(_GiftcardGiven, event="giftcard_send_to_friend"):
    """用户购买后赠送.

    Attributes:
        is_return_back: Nobody took the card, and it came back.
    """

    is_return_back: bool | None = wire("IsReturnBack", read=_truth, default=None)


class GiftcardUserAcceptEvent(_GiftcardGiven, event="giftcard_user_accept"):
    """用户领取礼品卡成功."""


class CardMerchantCheckResultEvent(_Known, event="card_merchant_check_result", answerable="no"):
    """子商户审核结果.

    Attributes:
        is_pass: 0 or 1.
    """

    merchant_id: str = wire("MerchantId")
    is_pass: int | None = whole("IsPass")
    reason: str = wire("Reason")


# -- invoices --------------------------------------------------------------------------------------------------------


class UserAuthorizeInvoiceEvent(_Known, event="user_authorize_invoice"):
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


class UpdateInvoiceStatusEvent(_Known, event="update_invoice_status"):
    """发票状态更新.

    Attributes:
        status: ``INVOICE_REIMBURSE_INIT`` and the like.
    """

    status: str = wire("Status")
    card_id: str = wire("CardId")
    code: str = wire("Code")


class CloudInvoiceInvoiceresultEvent(_Known, event="cloud_invoice_invoiceresult_event"):
    """统一开票结果.

    Attributes:
        fpqqlsh: 发票请求流水号, the id of the request.
        nsrsbh: 纳税人识别号, the taxpayer's number.
    """

    fpqqlsh: str = wire("fpqqlsh")
    status: int | None = whole("status")
    nsrsbh: str = wire("nsrsbh")


class SubmitInvoiceTitleEvent(_Known, event="submit_invoice_title"):
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


class PoiCheckNotifyEvent(_Known, event="poi_check_notify", answerable="no"):
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


class _AuditInfo(_Known, answerable="no"):
    """What a review found.

    Attributes:
        status: 1 passed, 2 pending, 3 failed.
    """

    audit_id: str = wire("audit_id")
    status: int | None = whole("status")


class _ReasonedAuditInfo(_AuditInfo):
    reason: str = wire("reason")


class ApplyMerchantAuditInfoEvent(_ReasonedAuditInfo, event="apply_merchant_audit_info"):
    """门店小程序: 创建审核结果."""


class CreateMapPoiAuditInfoEvent(_AuditInfo, event="create_map_poi_audit_info"):
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


class AddStoreAuditInfoEvent(_ReasonedAuditInfo, event="add_store_audit_info"):
    """门店小程序: 添加门店审核结果."""

    is_upgrade: int | None = whole("is_upgrade")
    poiid: str = wire("poiid")


class ModifyStoreAuditInfoEvent(_ReasonedAuditInfo, event="modify_store_audit_info"):
    """门店小程序: 修改门店审核结果."""


# -- Wi-Fi, beacons, shop, products (mostly retired) -----------------------------------------------------------------


class WifiConnectedEvent(_Known, event="wificonnected"):
    """Wi-Fi 连网成功.

    Attributes:
        device_no: The BSSID of the router.
    """

    connect_time: int | None = moment("ConnectTime")
    expire_time: int | None = moment("ExpireTime")
    vendor_id: str = wire("VendorId")
    place_id: str = wire("PlaceId")
    device_no: str = wire("DeviceNo")


class Beacon(_Part):
    """One beacon.

    Attributes:
        distance: Metres.
    """

    uuid: str = wire("Uuid")
    major: int | None = whole("Major")
    minor: int | None = whole("Minor")
    distance: float | None = number("Distance")


class ShakearoundUserShakeEvent(_Known, event="shakearoundusershake"):
    """摇一摇周边."""

    chosen_beacon: Beacon = part("ChosenBeacon", Beacon)
    around_beacons: tuple[Beacon, ...] = many("AroundBeacons/AroundBeacon", Beacon)


class MerchantOrderEvent(_Known, event="merchant_order"):
    """微信小店: 订单付款."""

    order_id: str = wire("OrderId")
    order_status: int | None = whole("OrderStatus")
    product_id: str = wire("ProductId")
    sku_info: str = wire("SkuInfo")


class _ScanProduct(_Known):
    """A product's code.

    Attributes:
        key_standard: ``ean13``, ``qrcode``, ...
        key_str: What is written in the code.
    """

    key_standard: str = wire("KeyStandard")
    key_str: str = wire("KeyStr")


class _ScanProductExt(_ScanProduct):
    """A product's code that leads further.

    Attributes:
        ext_info: What you stored with the product's page.
    """

    ext_info: str = wire("ExtInfo")


class UserScanProductEnterSessionEvent(_ScanProductExt, event="user_scan_product_enter_session"):
    """从商品主页进入公众号会话."""


class UserScanProductEvent(_ScanProductExt, event="user_scan_product"):
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


class UserScanProductAsyncEvent(_ScanProductExt, event="user_scan_product_async"):
    """商品主页: 地理位置信息异步推送."""

    region_code: str = wire("RegionCode")


class UserScanProductVerifyActionEvent(_ScanProduct, event="user_scan_product_verify_action"):
    """商品审核结果.

    Attributes:
        result: ``verify_ok`` or ``verify_not_pass``.
    """

    result: str = wire("Result")
    reason_msg: str = wire("ReasonMsg")


# -- mini-programs that share this account's URL: there is no conversation here --------------------------------------


class UserEnterTempsessionEvent(_Known, event="user_enter_tempsession", answerable="no"):
    """小程序: 用户进入客服会话.

    Attributes:
        session_from: What the mini-program's button says.
    """

    session_from: str = wire("SessionFrom")


class WeappAuditSuccessEvent(_Known, event="weapp_audit_success", answerable="no"):
    """小程序: 代码审核通过."""

    succ_time: int | None = moment("SuccTime")


class WeappAuditFailEvent(_Known, event="weapp_audit_fail", answerable="no"):
    """小程序: 代码审核不通过.

    Attributes:
        reason: With ``<br>`` in it.
        screen_shot: Media ids, with ``|`` between them.
    """

    reason: str = wire("Reason")
    fail_time: int | None = moment("FailTime")
    screen_shot: str = wire("ScreenShot")


class WeappAuditDelayEvent(_Known, event="weapp_audit_delay", answerable="no"):
    """小程序: 代码审核延后."""

    reason: str = wire("Reason")
    delay_time: int | None = moment("DelayTime")


class WxaNicknameAuditEvent(_Known, event="wxa_nickname_audit", answerable="no"):
    """小程序: 名称审核结果. For its elements see `raw`, here and in the next four."""


class WxaCategoryAuditEvent(_Known, event="wxa_category_audit", answerable="no"):
    """小程序: 类目审核结果."""


class WxaPrivacyApplyEvent(_Known, event="wxa_privacy_apply", answerable="no"):
    """小程序: 隐私接口审核结果."""


class WxaAppealRecordEvent(_Known, event="wxa_appeal_record", answerable="no"):
    """小程序: 申诉记录."""


class WxaIllegalRecordEvent(_Known, event="wxa_illegal_record", answerable="no"):
    """小程序: 违规记录."""


class WxaMediaCheckResult(_Part):
    """The verdict of version 2: `suggest` is ``risky``, ``review`` or ``pass``."""

    suggest: str = wire("suggest")
    label: int | None = whole("label")


class WxaMediaCheckDetail(_Part):
    """What one strategy of version 2 has found; `prob` is 0 to 100."""

    strategy: str = wire("strategy")
    errcode: int | None = whole("errcode")
    suggest: str = wire("suggest")
    label: int | None = whole("label")
    prob: int | None = whole("prob")


class WxaMediaCheckEvent(_Known, event="wxa_media_check", answerable="no"):
    """小程序: 多媒体内容安全检测结果. Version 1 has `isrisky` and `status_code`, version 2 `result` and `detail`.

    Attributes:
        isrisky: 0 or 1; None in version 2, so that who looks at it alone lets everything pass.
        trace_id: The one that the check returned; all that tells apart two results of the same second.
        status_code: 0 is success.
        errcode: 0 is success.
    """

    version: int | None = whole("version")
    isrisky: int | None = whole("isrisky")
    extra_info_json: str = wire("extra_info_json")
    app_id: str = wire("appid", "AppID", "AppId")
    trace_id: str = wire("trace_id")
    status_code: int | None = whole("status_code")
    result: WxaMediaCheckResult = part("result", WxaMediaCheckResult)
    detail: tuple[WxaMediaCheckDetail, ...] = many("detail", WxaMediaCheckDetail)
    errcode: int | None = whole("errcode")
    errmsg: str = wire("errmsg")


# -- the debugging tool ----------------------------------------------------------------------------------------------


class DebugDemoEvent(_Known, event="debug_demo"):
    """调试工具的示例事件."""

    debug_str: str = wire("debug_str")
