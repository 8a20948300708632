"""Every event of WeChat becomes its class, with every field; a list is a tuple, be it empty, of one or of many."""

import dataclasses
from pathlib import Path

import pytest

from wx_mp_svr import events
from wx_mp_svr.events import (
    EVENTS,
    AddGuideBuyerRelationEvent,
    AddStoreAuditInfoEvent,
    AnnualRenewEvent,
    ApplyMerchantAuditInfoEvent,
    ArticleDetail,
    ArticleDetailItem,
    ArticleUrlItem,
    ArticleUrlResult,
    Beacon,
    CardMerchantCheckResultEvent,
    CardNotPassCheckEvent,
    CardPassCheckEvent,
    CardPayOrderEvent,
    CardSkuRemindEvent,
    ClickEvent,
    CloudInvoiceInvoiceresultEvent,
    CopyrightCheckItem,
    CopyrightCheckResult,
    CreateMapPoiAuditInfoEvent,
    DebugDemoEvent,
    EnterEvent,
    GiftcardPayDoneEvent,
    GiftcardSendToFriendEvent,
    GiftcardUserAcceptEvent,
    GuideInviteResultEvent,
    GuideQrcodeScanEvent,
    GuideScan,
    KfCloseSessionEvent,
    KfCreateSessionEvent,
    KfSwitchSessionEvent,
    LocationEvent,
    LocationSelectEvent,
    MassSendJobFinishEvent,
    MerchantOrderEvent,
    ModifyStoreAuditInfoEvent,
    NamingVerifyFailEvent,
    NamingVerifySuccessEvent,
    PicItem,
    PicPhotoOrAlbumEvent,
    PicSysphotoEvent,
    PicWeixinEvent,
    PoiCheckNotifyEvent,
    PublishEventInfo,
    PublishJobFinishEvent,
    QualificationVerifyFailEvent,
    QualificationVerifySuccessEvent,
    ScanCodeInfo,
    ScancodePushEvent,
    ScancodeWaitmsgEvent,
    ScanEvent,
    SendLocationInfo,
    SendPicsInfo,
    ShakearoundUserShakeEvent,
    SubmitInvoiceTitleEvent,
    SubmitMembercardUserInfoEvent,
    SubscribeEvent,
    SubscribeMsgChangeEvent,
    SubscribeMsgChangeItem,
    SubscribeMsgPopupEvent,
    SubscribeMsgPopupItem,
    SubscribeMsgSentEvent,
    SubscribeMsgSentItem,
    TemplateSendJobFinishEvent,
    UnsubscribeEvent,
    UpdateInvoiceStatusEvent,
    UpdateMemberCardEvent,
    UserAuthorizationCancellationEvent,
    UserAuthorizationRevokeEvent,
    UserAuthorizeInvoiceEvent,
    UserConsumeCardEvent,
    UserDelCardEvent,
    UserEnterSessionFromCardEvent,
    UserEnterTempsessionEvent,
    UserGetCardEvent,
    UserGiftingCardEvent,
    UserInfoModifiedEvent,
    UserPayFromPayCellEvent,
    UserScanProductAsyncEvent,
    UserScanProductEnterSessionEvent,
    UserScanProductEvent,
    UserScanProductVerifyActionEvent,
    UserViewCardEvent,
    VerifyExpiredEvent,
    ViewEvent,
    ViewMiniprogramEvent,
    WeappAuditDelayEvent,
    WeappAuditFailEvent,
    WeappAuditSuccessEvent,
    WifiConnectedEvent,
    WxaMediaCheckDetail,
    WxaMediaCheckEvent,
    WxaMediaCheckResult,
    WxVerifyRefillEvent,
)
from wx_mp_svr.messages import read_msg
from wx_mp_svr.req_msg import EventReqMsg, ReqMsg
from wx_mp_svr.wire import xmlio

SAMPLES = Path(__file__).parent / "samples"
WHO = "<ToUserName>gh_1</ToUserName><FromUserName>o_1</FromUserName><CreateTime>1700000000</CreateTime>"

REPRINT = {
    "user_declare_state": 0,
    "audit_state": 2,
    "original_article_type": 1,
    "can_reprint": 1,
    "need_replace_content": 1,
    "need_show_reprint_source": 1,
}
GIFT = {"page_id": "OQK0R3MaFnCm74Phw5hwFJlz5sn+jy1zzM2amDidDbU=", "order_id": "Z2y2rY74ksZX1ceuGA"}
AUDIT = {"audit_id": "11111", "status": 3, "reason": "xxx"}
AUTHORIZED = {
    "open_id": "owAqB1nqaOYYWl0Ng484G2z5NIwU",
    "openid": "owAqB1nqaOYYWl0Ng484G2z5NIwU",
    "union_id": "oUnionIdExample",
    "app_id": "wx13974bf780d3dc89",
    "revoke_info": None,
}
CARD = {"card_id": "cardid", "user_card_code": "12312312"}

SAMPLE_ROWS = [
    ("subscribe", SubscribeEvent, {"event": "subscribe", "event_key": "", "scene": "", "ticket": ""}),
    (
        "subscribe-emptykey",
        SubscribeEvent,
        {"create_time": 1516545128, "event_key": "", "scene": "", "ticket": ""},
    ),
    ("subscribe-scene", SubscribeEvent, {"event_key": "qrscene_123123", "scene": "123123", "ticket": "TICKET"}),
    ("unsubscribe", UnsubscribeEvent, {"event": "unsubscribe", "openid": "FromUser", "create_time": 123456789}),
    ("scan", ScanEvent, {"event": "SCAN", "event_key": "SCENE_VALUE", "scene": "SCENE_VALUE", "ticket": "TICKET"}),
    ("location", LocationEvent, {"latitude": 23.137466, "longitude": 113.352425, "precision": 119.38504}),
    ("click", ClickEvent, {"event": "CLICK", "event_key": "EVENTKEY"}),
    ("view", ViewEvent, {"event_key": "www.qq.com", "menu_id": "MENUID"}),
    ("view_miniprogram", ViewMiniprogramEvent, {"event_key": "pages/index/index", "menu_id": "MENUID"}),
    (
        "scancode_push",
        ScancodePushEvent,
        {"event_key": "6", "scan_code_info": ScanCodeInfo(scan_type="qrcode", scan_result="1")},
    ),
    (
        "scancode_waitmsg",
        ScancodeWaitmsgEvent,
        {"event_key": "6", "scan_code_info": ScanCodeInfo(scan_type="qrcode", scan_result="2")},
    ),
    (
        "pic_sysphoto",
        PicSysphotoEvent,
        {
            "event_key": "6",
            "send_pics_info": SendPicsInfo(
                count=1, pic_list=(PicItem(pic_md5_sum="1b5f7c23b5bf75682a53e7b6d163e185"),)
            ),
        },
    ),
    (
        "pic_photo_or_album",
        PicPhotoOrAlbumEvent,
        {
            "event_key": "6",
            "send_pics_info": SendPicsInfo(
                count=1, pic_list=(PicItem(pic_md5_sum="5a75aaca956d97be686719218f275c6b"),)
            ),
        },
    ),
    (
        "pic_weixin",
        PicWeixinEvent,
        {
            "event_key": "6",
            "send_pics_info": SendPicsInfo(
                count=1, pic_list=(PicItem(pic_md5_sum="5a75aaca956d97be686719218f275c6b"),)
            ),
        },
    ),
    (
        "location_select",
        LocationSelectEvent,
        {
            "event_key": "6",
            "send_location_info": SendLocationInfo(
                location_x=23.0, location_y=113.0, scale=15, label="广州市海珠区客村艺苑路 106号", poiname=""
            ),
        },
    ),
    ("templatesendjobfinish-success", TemplateSendJobFinishEvent, {"msg_id": "200163836", "status": "success"}),
    (
        "templatesendjobfinish-userblock",
        TemplateSendJobFinishEvent,
        {"msg_id": "200163840", "status": "failed:user block"},
    ),
    (
        "masssendjobfinish",
        MassSendJobFinishEvent,
        {
            "msg_id": "1000001625",
            "status": "err(30003)",
            "total_count": 0,
            "filter_count": 0,
            "sent_count": 0,
            "error_count": 0,
            "copyright_check_result": CopyrightCheckResult(
                count=2,
                result_list=(
                    CopyrightCheckItem(article_idx=1, original_article_url="Url_1", **REPRINT),
                    CopyrightCheckItem(article_idx=2, original_article_url="Url_2", **REPRINT),
                ),
                check_state=2,
            ),
            "article_url_result": ArticleUrlResult(
                count=1, result_list=(ArticleUrlItem(article_idx=1, article_url="Url"),)
            ),
        },
    ),
    (
        "publishjobfinish-success",
        PublishJobFinishEvent,
        {
            "publish_event_info": PublishEventInfo(
                publish_id="2247503051",
                publish_status=0,
                article_id="b5O2OUs25HBxRceL7hfReg-U9QGeq9zQjiDvyWP4Hq4",
                article_detail=ArticleDetail(count=1, item=(ArticleDetailItem(idx=1, article_url="ARTICLE_URL"),)),
                fail_idx=(),
            )
        },
    ),
    ("kf_create_session", KfCreateSessionEvent, {"kf_account": "test1@test"}),
    ("kf_close_session", KfCloseSessionEvent, {"kf_account": "test1@test"}),
    ("kf_switch_session", KfSwitchSessionEvent, {"from_kf_account": "test1@test", "to_kf_account": "test2@test"}),
    ("qualification_verify_success", QualificationVerifySuccessEvent, {"expired_time": 1442401156}),
    ("qualification_verify_fail", QualificationVerifyFailEvent, {"fail_time": 1442401122, "fail_reason": "by time"}),
    ("naming_verify_success", NamingVerifySuccessEvent, {"expired_time": 1442401093}),
    ("naming_verify_fail", NamingVerifyFailEvent, {"fail_time": 1442401061, "fail_reason": "by time"}),
    ("annual_renew", AnnualRenewEvent, {"expired_time": 1442401004}),
    ("verify_expired", VerifyExpiredEvent, {"expired_time": 1442400900}),
    (
        "subscribe_msg_popup_event",
        SubscribeMsgPopupEvent,
        {
            "list": (
                SubscribeMsgPopupItem(
                    template_id="VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc",
                    subscribe_status_string="accept",
                    popup_scene=2,
                ),
                SubscribeMsgPopupItem(
                    template_id="9nLIlbOQZC5Y89AZteFEux3WCXRRRG5Wfzkpssu4bLI",
                    subscribe_status_string="reject",
                    popup_scene=2,
                ),
            )
        },
    ),
    (
        "subscribe_msg_change_event",
        SubscribeMsgChangeEvent,
        {
            "list": (
                SubscribeMsgChangeItem(
                    template_id="VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", subscribe_status_string="reject"
                ),
            )
        },
    ),
    ("user_info_modified", UserInfoModifiedEvent, AUTHORIZED),
    ("user_authorization_cancellation", UserAuthorizationCancellationEvent, AUTHORIZED),
    ("card_pass_check", CardPassCheckEvent, {"card_id": "cardid", "refuse_reason": ""}),
    ("card_not_pass_check", CardNotPassCheckEvent, {"card_id": "cardid", "refuse_reason": "非法代制"}),
    (
        "user_get_card",
        UserGetCardEvent,
        {
            "event": "user_get_card",
            "card_id": "pZI8Fjwsy5fVPRBeD78J4RmqVvBc",
            "is_give_by_friend": 0,
            "user_card_code": "226009850808",
            "friend_user_name": "",
            "outer_id": "0",
            "old_user_card_code": "",
            "outer_str": "12b",
            "is_restore_member_card": 0,
            "is_recommend_by_friend": 0,
            "union_id": "o6_bmasdasdsad6_2sgVt7hMZOPfL",
        },
    ),
    (
        "user_gifting_card",
        UserGiftingCardEvent,
        {
            "card_id": "pbLatjhU-3pik3d4PsbVzvBxZvJc",
            "user_card_code": "297466945104",
            "is_return_back": 0,
            "friend_user_name": "obLatjlNerkb62HtSdQUx66C4NTU",
            "is_chat_room": 0,
        },
    ),
    ("user_del_card", UserDelCardEvent, CARD),
    (
        "user_consume_card",
        UserConsumeCardEvent,
        {
            "card_id": "pZI8Fj8y-E8hpvho2d1ZvpGwQBvA",
            "user_card_code": "452998530302",
            "consume_source": "FROM_API",
            "location_id": "",
            "location_name": "",
            "staff_open_id": "oZ********nJ3bPJu_Rtjkw4c",
            "verify_code": "",
            "remark_amount": "",
            "outer_id": "",
            "outer_str": "xxxxx",
        },
    ),
    (
        "user_pay_from_pay_cell",
        UserPayFromPayCellEvent,
        {
            "openid": "oo2VNuOUuZGMxxxxxxxx",
            "card_id": "po2VNuCuRo-8sxxxxxxxxxxx",
            "user_card_code": "38050000000",
            "trans_id": "10022403432015000000000",
            "location_id": "291710000",
            "fee": 10000,
            "original_fee": 10000,
        },
    ),
    (
        "user_view_card",
        UserViewCardEvent,
        {"card_id": "pZI8Fj2ezBbxxxxxT2UbiiWLb7Bg", "user_card_code": "4xxxxxxxx8558", "outer_str": "12b"},
    ),
    ("user_enter_session_from_card", UserEnterSessionFromCardEvent, CARD),
    (
        "update_member_card",
        UpdateMemberCardEvent,
        {
            "card_id": "pjZ8Ytx-nwvpCRyQneH3Ncmh6N94",
            "user_card_code": "485027611252",
            "modify_bonus": 3,
            "modify_balance": 0,
        },
    ),
    (
        "card_sku_remind",
        CardSkuRemindEvent,
        {"card_id": "pa3LFuAh2P65**********", "detail": "the card's quantity is equal to 0"},
    ),
    (
        "submit_membercard_user_info",
        SubmitMembercardUserInfoEvent,
        {"card_id": "pbLatjtZ7v1BG_ZnTjbW85GYc_E8", "user_card_code": "018255396048"},
    ),
    ("giftcard_pay_done", GiftcardPayDoneEvent, GIFT),
    ("giftcard_send_to_friend", GiftcardSendToFriendEvent, {**GIFT, "is_chat_room": True, "is_return_back": True}),
    ("giftcard_user_accept", GiftcardUserAcceptEvent, {**GIFT, "is_chat_room": True}),
    (
        "card_merchant_check_result",
        CardMerchantCheckResultEvent,
        {"merchant_id": "0", "is_pass": 1, "reason": "reason"},
    ),
    (
        "user_authorize_invoice",
        UserAuthorizeInvoiceEvent,
        {"succ_order_id": "1202933957956", "fail_order_id": "", "app_id": "", "source": ""},
    ),
    (
        "update_invoice_status",
        UpdateInvoiceStatusEvent,
        {"status": "INVOICE_REIMBURSE_INIT", "card_id": "pjZ8Yt7Um2jYxzneP8GomnxoVFWo", "code": "186921658591"},
    ),
    (
        "cloud_invoice_invoiceresult_event",
        CloudInvoiceInvoiceresultEvent,
        {"fpqqlsh": "14574d75004451097886", "status": 100, "nsrsbh": "150001197205134629"},
    ),
    (
        "submit_invoice_title",
        SubmitInvoiceTitleEvent,
        {
            "title": "用户选择抬头",
            "phone": "12345",
            "tax_no": "1486715661",
            "addr": "abc",
            "bank_type": "bank_type",
            "bank_no": "bank_no",
            "attach": "attach",
            "title_type": "InvoiceUserTitleBusinessType",
        },
    ),
    (
        "poi_check_notify",
        PoiCheckNotifyEvent,
        {"uniq_id": "123adb", "poi_id": "123123", "result": "fail", "msg": "xxxxxx"},
    ),
    ("apply_merchant_audit_info", ApplyMerchantAuditInfoEvent, AUDIT),
    ("modify_store_audit_info", ModifyStoreAuditInfoEvent, AUDIT),
    ("add_store_audit_info", AddStoreAuditInfoEvent, {**AUDIT, "is_upgrade": 3, "poiid": "12344"}),
    (
        "create_map_poi_audit_info",
        CreateMapPoiAuditInfoEvent,
        {
            "audit_id": "11111",
            "status": 1,
            "map_poi_id": "xxx",
            "name": "xxx",
            "address": "xxx",
            "latitude": 134.0,
            "longitude": 30.0,
            "sh_remark": "xxx",
        },
    ),
    (
        "wificonnected",
        WifiConnectedEvent,
        {
            "event": "WifiConnected",
            "connect_time": 0,
            "expire_time": 0,
            "vendor_id": "3001224419",
            "place_id": "PlaceId",
            "device_no": "DeviceNo",
        },
    ),
    (
        "merchant_order",
        MerchantOrderEvent,
        {
            "order_id": "test_order_id",
            "order_status": 2,
            "product_id": "test_product_id",
            "sku_info": "10001:1000012;10002:100021",
        },
    ),
    (
        "user_scan_product",
        UserScanProductEvent,
        {
            "key_standard": "ean13",
            "key_str": "6901481811083",
            "country": "中国",
            "province": "广东",
            "city": "揭阳",
            "sex": 1,
            "scene": 2,
            "ext_info": "123",
        },
    ),
    (
        "user_scan_product_enter_session",
        UserScanProductEnterSessionEvent,
        {"key_standard": "ena13", "key_str": "6954767461373", "ext_info": ""},
    ),
    (
        "user_scan_product_async",
        UserScanProductAsyncEvent,
        {"key_standard": "qrcode", "key_str": "lincolntest2", "ext_info": "123", "region_code": "440105"},
    ),
    (
        "user_scan_product_verify_action",
        UserScanProductVerifyActionEvent,
        {"key_standard": "ean13", "key_str": "6901481811083", "result": "verify_ok", "reason_msg": ""},
    ),
    ("weapp_audit_success", WeappAuditSuccessEvent, {"succ_time": 1488856741}),
    (
        "weapp_audit_fail",
        WeappAuditFailEvent,
        {
            "reason": "1:账号信息不符合规范:<br>(1):包含色情因素<br>"
            '2:服务类目"金融业-保险_"与你提交代码审核时设置的功能页面内容不一致:<br>'
            "(1):功能页面设置的部分标签不属于所选的服务类目范围。<br>(2):功能页面设置的部分标签与该页面内容不相关。<br>",
            "fail_time": 1488856591,
            "screen_shot": "xxx|yyy|zzz",
        },
    ),
    (
        "weapp_audit_delay",
        WeappAuditDelayEvent,
        {
            "reason": "为了更好的服务小程序，您的服务商正在进行提审系统的优化，可能会导致审核时效的增长，请耐心等待",
            "delay_time": 1488856591,
        },
    ),
    ("debug_demo", DebugDemoEvent, {"debug_str": "hello world", "openid": "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"}),
]

# No sample of these is in the folder: the packets are written here after the field lists.
WRITTEN_ROWS = [
    (
        "subscribe_msg_sent_event",
        "<SubscribeMsgSentEvent><List><TemplateId>t</TemplateId><MsgID>1700827132819554304</MsgID>"
        "<ErrorCode>0</ErrorCode><ErrorStatus>success</ErrorStatus></List></SubscribeMsgSentEvent>",
        SubscribeMsgSentEvent,
        {
            "msg_id": "",
            "list": (
                SubscribeMsgSentItem(
                    template_id="t", msg_id="1700827132819554304", error_code=0, error_status="success"
                ),
            ),
        },
    ),
    (
        "user_authorization_revoke",
        "<OpenID>o_2</OpenID><UnionID>u</UnionID><AppID>wx1</AppID><RevokeInfo>301</RevokeInfo>",
        UserAuthorizationRevokeEvent,
        {"open_id": "o_2", "openid": "o_2", "union_id": "u", "app_id": "wx1", "revoke_info": 301},
    ),
    (
        "guide_qrcode_scan_event",
        "<GuideScanEvent><qrcode_guide_account>a</qrcode_guide_account><qrcode_guide_openid>o_g</qrcode_guide_openid>"
        "<openid>o_2</openid><action>1</action><qrcode_info>q</qrcode_info></GuideScanEvent>",
        GuideQrcodeScanEvent,
        {
            "guide_scan_event": GuideScan(
                qrcode_guide_account="a", qrcode_guide_openid="o_g", openid="o_2", action=1, qrcode_info="q"
            )
        },
    ),
    (
        "card_pay_order",
        "<OrderId>404091456</OrderId><Status>ORDER_STATUS_FINANCE_SUCC</Status>"
        "<CreateOrderTime>1472181505</CreateOrderTime><PayFinishTime>0</PayFinishTime><Desc>d</Desc>"
        "<FreeCoinCount>200</FreeCoinCount><PayCoinCount>1</PayCoinCount><RefundFreeCoinCount>2</RefundFreeCoinCount>"
        "<RefundPayCoinCount>3</RefundPayCoinCount><OrderType>ORDER_TYPE_SYS_ADD</OrderType><Memo>m</Memo>"
        "<ReceiptInfo>r</ReceiptInfo>",
        CardPayOrderEvent,
        {
            "order_id": "404091456",
            "status": "ORDER_STATUS_FINANCE_SUCC",
            "create_order_time": 1472181505,
            "pay_finish_time": 0,
            "desc": "d",
            "free_coin_count": 200,
            "pay_coin_count": 1,
            "refund_free_coin_count": 2,
            "refund_pay_coin_count": 3,
            "order_type": "ORDER_TYPE_SYS_ADD",
            "memo": "m",
            "receipt_info": "r",
        },
    ),
    (
        "ShakearoundUserShake",
        "<ChosenBeacon><Uuid>u</Uuid><Major>1</Major><Minor>2</Minor><Distance>0.057</Distance></ChosenBeacon>"
        "<AroundBeacons><AroundBeacon><Uuid>v</Uuid><Major>3</Major><Minor>4</Minor><Distance>166.816</Distance>"
        "</AroundBeacon></AroundBeacons>",
        ShakearoundUserShakeEvent,
        {
            "chosen_beacon": Beacon(uuid="u", major=1, minor=2, distance=0.057),
            "around_beacons": (Beacon(uuid="v", major=3, minor=4, distance=166.816),),
        },
    ),
    (
        "wx_verify_refill",
        "<RefillTime>1488856741</RefillTime><RefillReason>why</RefillReason>",
        WxVerifyRefillEvent,
        {"refill_time": 1488856741, "refill_reason": "why"},
    ),
    (
        "user_enter_tempsession",
        "<SessionFrom>sessionFrom</SessionFrom>",
        UserEnterTempsessionEvent,
        {"session_from": "sessionFrom"},
    ),
    (
        "wxa_media_check",
        "<isrisky>0</isrisky><extra_info_json>{}</extra_info_json><appid>wx1</appid><trace_id>t</trace_id>"
        "<status_code>4294966288</status_code>",
        WxaMediaCheckEvent,
        {
            "isrisky": 0,
            "extra_info_json": "{}",
            "app_id": "wx1",
            "trace_id": "t",
            "status_code": 4294966288,
            "version": None,
            "result": WxaMediaCheckResult(),
            "detail": (),
            "errcode": None,
            "errmsg": "",
        },
    ),
    (
        "wxa_media_check",  # version 2
        "<version>2</version><trace_id>t</trace_id><errcode>0</errcode><errmsg>ok</errmsg>"
        "<result><suggest>risky</suggest><label>20002</label></result>"
        "<detail><strategy>content_model</strategy><errcode>0</errcode><suggest>risky</suggest><label>20002</label>"
        "<prob>90</prob></detail>",
        WxaMediaCheckEvent,
        {
            "version": 2,
            "isrisky": None,
            "extra_info_json": "",
            "app_id": "",
            "status_code": None,
            "trace_id": "t",
            "errcode": 0,
            "errmsg": "ok",
            "result": WxaMediaCheckResult(suggest="risky", label=20002),
            "detail": (
                WxaMediaCheckDetail(strategy="content_model", errcode=0, suggest="risky", label=20002, prob=90),
            ),
        },
    ),
    (
        "card_pass_check",
        "<CardId>c</CardId><RefuseReason>why</RefuseReason>",
        CardPassCheckEvent,
        {"card_id": "c", "refuse_reason": "why"},
    ),
    (
        "FREEPUBLISHJOBFINISH",
        "<PublishEventInfo><publish_id>5</publish_id></PublishEventInfo>",
        PublishJobFinishEvent,
        {"publish_event_info": PublishEventInfo(publish_id="5")},
    ),
]

# The Reply column of the protocol reference; whatever is not here is "?", not documented.
ANSWERED = set(
    """
    subscribe scan click scancode_push scancode_waitmsg pic_sysphoto pic_photo_or_album pic_weixin location_select
    """.split()
)
NEVER_ANSWERED = set(
    """
    unsubscribe location view view_miniprogram
    templatesendjobfinish masssendjobfinish publishjobfinish
    qualification_verify_success qualification_verify_fail naming_verify_success naming_verify_fail annual_renew
    verify_expired wx_verify_pay_succ wx_verify_dispatch wx_verify_refill wx_verify_fail
    user_info_modified user_authorization_revoke user_authorization_cancellation
    card_pass_check card_not_pass_check card_sku_remind card_pay_order card_merchant_check_result
    poi_check_notify apply_merchant_audit_info create_map_poi_audit_info add_store_audit_info modify_store_audit_info
    user_enter_tempsession weapp_audit_success weapp_audit_fail weapp_audit_delay wxa_nickname_audit
    wxa_category_audit wxa_privacy_apply wxa_appeal_record wxa_illegal_record wxa_media_check
    """.split()
)

# WeChat's own spelling, where it is not lower case.
ORIGINAL_CASE = [
    *("SCAN", "LOCATION", "ENTER", "CLICK", "VIEW", "TEMPLATESENDJOBFINISH", "MASSSENDJOBFINISH", "PUBLISHJOBFINISH"),
    *("WifiConnected", "ShakearoundUserShake"),
]


def read_event(event, elements=""):
    xml = f"<xml>{WHO}<MsgType>event</MsgType><Event>{event}</Event>{elements}</xml>"
    return read_msg(xmlio.load(xml.encode(), authentic=True))


def read_sample(name):
    return read_msg(xmlio.load((SAMPLES / f"event-{name}.xml").read_bytes(), authentic=True))


def own_fields(cls):
    return {f.name for f in dataclasses.fields(cls)} - {f.name for f in dataclasses.fields(EventReqMsg)}


def values_of(req, expected):
    return {name: getattr(req, name) for name in expected}


# -- packets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "cls", "expected"), SAMPLE_ROWS, ids=[row[0] for row in SAMPLE_ROWS])
def test_a_sample_becomes_its_class_with_every_field(name, cls, expected):
    """The tables name each field of the class, so that none goes untested."""
    req = read_sample(name)
    assert type(req) is cls
    assert own_fields(cls) <= expected.keys()
    assert values_of(req, expected) == expected


@pytest.mark.parametrize(("name", "elements", "cls", "expected"), WRITTEN_ROWS, ids=[row[0] for row in WRITTEN_ROWS])
def test_an_event_without_a_sample_becomes_its_class_with_every_field(name, elements, cls, expected):
    req = read_event(name, elements)
    assert type(req) is cls
    assert own_fields(cls) <= expected.keys()
    assert values_of(req, expected) == expected


def test_every_sample_has_a_row():
    assert {path.stem for path in SAMPLES.glob("event-*.xml")} == {f"event-{name}" for name, *_ in SAMPLE_ROWS}


def test_every_class_with_fields_of_its_own_has_a_row():
    tested = {cls for _, cls, _ in SAMPLE_ROWS} | {cls for _, _, cls, _ in WRITTEN_ROWS}
    assert {cls for cls in EVENTS.values() if own_fields(cls)} <= tested


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_with_nothing_in_it_still_arrives(name):
    """Text is empty, numbers are None, lists are empty, and what has parts has empty parts."""
    req = read_event(name)
    assert {value for value in values_of(req, own_fields(type(req))).values() if isinstance(value, str | int)} <= {""}
    assert req.openid == "o_1"


@pytest.mark.parametrize("cls", dict.fromkeys(EVENTS.values()))
def test_nonsense_in_any_field_never_stops_an_event(cls):
    """Placeholders, emptiness and children where text or a list belongs."""
    name = next(name for name, known in EVENTS.items() if known is cls)
    elements = {f.metadata["wire"][0] for f in dataclasses.fields(cls) if f.name in own_fields(cls)}
    for value in ("", " \n ", "xxxx", "<item/>", "<a><b><c/></b></a>"):
        req = read_event(name, "".join(f"<{element}>{value}</{element}>" * 2 for element in sorted(elements)))
        assert type(req) is cls, value
        assert hash(req) == hash(req), value


# -- lists: nothing, one, many ---------------------------------------------------------------------------------------

LISTS = [
    (
        "PIC_WEIXIN",
        "<SendPicsInfo><Count>9</Count><PicList>{}</PicList></SendPicsInfo>",
        "<item><PicMd5Sum>{}</PicMd5Sum></item>",
        lambda req: [item.pic_md5_sum for item in req.send_pics_info.pic_list],
    ),
    (
        "MASSSENDJOBFINISH",
        "<CopyrightCheckResult><ResultList>{}</ResultList></CopyrightCheckResult>",
        "<item><OriginalArticleUrl>{}</OriginalArticleUrl></item>",
        lambda req: [item.original_article_url for item in req.copyright_check_result.result_list],
    ),
    (
        "MASSSENDJOBFINISH",
        "<ArticleUrlResult><ResultList>{}</ResultList></ArticleUrlResult>",
        "<item><ArticleUrl>{}</ArticleUrl></item>",
        lambda req: [item.article_url for item in req.article_url_result.result_list],
    ),
    (
        "PUBLISHJOBFINISH",
        "<PublishEventInfo><article_detail>{}</article_detail></PublishEventInfo>",
        "<item><article_url>{}</article_url></item>",
        lambda req: [item.article_url for item in req.publish_event_info.article_detail.item],
    ),
    (
        "PUBLISHJOBFINISH",
        "<PublishEventInfo>{}</PublishEventInfo>",
        "<fail_idx>{}</fail_idx>",
        lambda req: [str(idx) for idx in req.publish_event_info.fail_idx],
    ),
    (
        "subscribe_msg_popup_event",
        "<SubscribeMsgPopupEvent>{}</SubscribeMsgPopupEvent>",
        "<List><TemplateId>{}</TemplateId></List>",
        lambda req: [item.template_id for item in req.list],
    ),
    (
        "subscribe_msg_change_event",
        "<SubscribeMsgChangeEvent>{}</SubscribeMsgChangeEvent>",
        "<List><TemplateId>{}</TemplateId></List>",
        lambda req: [item.template_id for item in req.list],
    ),
    (
        "subscribe_msg_sent_event",
        "<SubscribeMsgSentEvent>{}</SubscribeMsgSentEvent>",
        "<List><MsgID>{}</MsgID></List>",
        lambda req: [item.msg_id for item in req.list],
    ),
    (
        "ShakearoundUserShake",
        "<AroundBeacons>{}</AroundBeacons>",
        "<AroundBeacon><Uuid>{}</Uuid></AroundBeacon>",
        lambda req: [beacon.uuid for beacon in req.around_beacons],
    ),
]


@pytest.mark.parametrize(("event", "around", "item", "found"), LISTS, ids=[row[1] for row in LISTS])
@pytest.mark.parametrize("wanted", [[], ["1"], ["1", "2", "3"]], ids=["none", "one", "three"])
def test_a_list_holds_what_came_however_many_that_is(event, around, item, found, wanted):
    """A dict-style parser gives nothing, a dict or a list; a handler sees a tuple in any case."""
    elements = around.format("\n".join(item.format(value) for value in wanted))
    assert found(read_event(event, elements)) == wanted
    assert found(read_event(event, elements.replace("><", ">\n  <"))) == wanted


@pytest.mark.parametrize(
    "lists",
    [
        "<PicList><item><PicMd5Sum>1</PicMd5Sum></item></PicList><PicList><item><PicMd5Sum>2</PicMd5Sum></item></PicList>",
        "<PicList><item><PicMd5Sum>1</PicMd5Sum></item></PicList><PicList/><PicList><item><PicMd5Sum>2</PicMd5Sum></item>"
        "</PicList>",
        "<PicList> </PicList><PicList><item><PicMd5Sum>1</PicMd5Sum></item><item><PicMd5Sum>2</PicMd5Sum></item>"
        "</PicList>",
    ],
)
def test_a_list_that_wechat_closed_and_opened_again_is_one_list(lists):
    """Seen by WxJava."""
    req = read_event("pic_weixin", f"<SendPicsInfo><Count>2</Count>{lists}</SendPicsInfo>")
    assert req.send_pics_info == SendPicsInfo(count=2, pic_list=(PicItem(pic_md5_sum="1"), PicItem(pic_md5_sum="2")))


@pytest.mark.parametrize("wrapper", ["SubscribeMsgChangeEvent", "SubscribeMsgPopupEvent"])
def test_a_change_of_subscriptions_has_two_wrappers(wrapper):
    """WeChat's own sample of 2021 has the second."""
    xml = f"<{wrapper}><List><TemplateId>t</TemplateId></List></{wrapper}>"
    assert [item.template_id for item in read_event("subscribe_msg_change_event", xml).list] == ["t"]


def test_a_repeated_wrapper_is_one_list():
    wrapper = "<SubscribeMsgChangeEvent><List><TemplateId>t</TemplateId></List></SubscribeMsgChangeEvent>"
    assert len(read_event("subscribe_msg_change_event", wrapper * 2).list) == 2


@pytest.mark.parametrize("nothing", ["", "<ResultList></ResultList>", "<ResultList> \n </ResultList>", "<ResultList/>"])
def test_an_empty_result_list_with_or_without_white_space_is_empty(nothing):
    """A real packet: no article was checked."""
    req = read_event(
        "MASSSENDJOBFINISH",
        f"<CopyrightCheckResult><Count>0</Count>{nothing}<CheckState>0</CheckState></CopyrightCheckResult>",
    )
    assert req.copyright_check_result == CopyrightCheckResult(count=0, result_list=(), check_state=0)
    assert req.article_url_result == ArticleUrlResult(count=None, result_list=())


@pytest.mark.parametrize(
    ("elements", "scanned"),
    [
        ("", ScanCodeInfo()),
        ("<ScanCodeInfo>text</ScanCodeInfo>", ScanCodeInfo()),
        ("<ScanCodeInfo>ScanType</ScanCodeInfo>", ScanCodeInfo()),
        ("<ScanCodeInfo><ScanResult>1</ScanResult></ScanCodeInfo>" * 2, ScanCodeInfo(scan_result="1")),
        (
            "<ScanCodeInfo><ScanResult>1</ScanResult></ScanCodeInfo><ScanCodeInfo><ScanType>b</ScanType></ScanCodeInfo>",
            ScanCodeInfo(scan_result="1"),
        ),
    ],
)
def test_of_a_part_that_is_there_twice_the_first_counts(elements, scanned):
    assert read_event("scancode_push", elements).scan_code_info == scanned


def test_a_number_in_a_list_that_cannot_be_read_keeps_its_place():
    req = read_event(
        "PUBLISHJOBFINISH", "<PublishEventInfo><fail_idx>1</fail_idx><fail_idx>x</fail_idx></PublishEventInfo>"
    )
    assert req.publish_event_info.fail_idx == (1, None)


# -- names that vary -------------------------------------------------------------------------------------------------

SPELLINGS = [
    ("VIEW", "menu_id", ["MenuId", "MenuID"]),
    ("TEMPLATESENDJOBFINISH", "msg_id", ["MsgID", "MsgId"]),
    ("user_info_modified", "open_id", ["OpenID", "openid"]),
    ("user_info_modified", "openid", ["OpenID", "openid"]),
    ("user_info_modified", "app_id", ["AppID", "appid", "AppId"]),
    ("user_authorize_invoice", "app_id", ["AppId", "AuthorizeAppId"]),
    ("user_authorize_invoice", "source", ["Source", "source"]),
    ("poi_check_notify", "msg", ["Msg", "msg"]),
    ("wxa_media_check", "app_id", ["appid", "AppId", "AppID"]),
]


@pytest.mark.parametrize(
    ("event", "field", "element"), [(event, field, name) for event, field, names in SPELLINGS for name in names]
)
def test_every_spelling_of_an_element_is_read(event, field, element):
    assert getattr(read_event(event, f"<{element}>x</{element}>"), field) == "x"


@pytest.mark.parametrize(
    ("written", "read"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False), ("", None), ("x", None)],
)
def test_a_gift_cards_true_and_false_are_bools(written, read):
    """As text, `false` would count as true."""
    assert read_event("giftcard_user_accept", f"<IsChatRoom>{written}</IsChatRoom>").is_chat_room is read


# -- who, and by which code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", ["user_info_modified", "user_authorization_revoke", "user_authorization_cancellation"]
)
def test_the_user_of_an_authorization_is_not_its_sender(event):
    """WeChat's platform account writes; without an OpenID there is nobody else to name."""
    told, untold = read_event(event, "<OpenID>o_user</OpenID>"), read_event(event)
    assert (told.openid, told.from_user_name) == ("o_user", "o_1")
    assert (untold.openid, untold.open_id) == ("o_1", "")


@pytest.mark.parametrize(
    ("event_key", "scene"),
    [
        ("qrscene_123", "123"),
        ("qrscene_qrscene_x", "qrscene_x"),
        ("qrscene_a_b_c", "a_b_c"),
        ("qrscene_scene", "scene"),
        ("qrscene_", ""),
        ("", ""),
        ("123", ""),
        ("last_trade_no_4200001", ""),
        ("scanbarcode|ean13|690|", ""),
        ("x_qrscene_1", ""),
    ],
)
def test_the_scene_of_a_new_follower_is_the_key_without_its_prefix(event_key, scene):
    """Removed exactly once: a scene may hold the prefix, or letters of it."""
    req = read_event("subscribe", f"<EventKey>{event_key}</EventKey>")
    assert (req.scene, req.event_key) == (scene, event_key)


@pytest.mark.parametrize("event_key", ["123", "qrscene_123", ""])
def test_the_scene_of_a_scan_is_the_key_itself(event_key):
    """Here WeChat puts no prefix, so that whatever stands there belongs to the scene."""
    assert read_event("SCAN", f"<EventKey>{event_key}</EventKey>").scene == event_key


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_event_is_reached_by_its_name_in_any_case():
    for name in (*EVENTS, *(name.upper() for name in EVENTS), *ORIGINAL_CASE):
        req = read_event(name)
        assert type(req) is EVENTS[name.lower()]
        assert (req.event, req.msg_type) == (name, "event")


def test_every_class_of_events_stands_in_the_table_exactly_once():
    classes = {value for name, value in vars(events).items() if name.endswith("Event") and value is not EventReqMsg}
    assert set(EVENTS.values()) == classes
    assert len(EVENTS) == len(classes)


def test_a_class_is_named_after_its_event():
    """`subscribe_msg_popup_event` is SubscribeMsgPopupEvent, not ...EventEvent."""
    for name, cls in EVENTS.items():
        assert cls.__name__.lower() == name.replace("_", "").removesuffix("event") + "event"


def test_no_event_is_a_kind_of_another():
    """A handler for one class would otherwise get the other's events, too."""
    assert [(a, b) for a in EVENTS.values() for b in EVENTS.values() if a is not b and issubclass(a, b)] == []


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_answerable_as_wechat_says(name):
    wanted = "yes" if name in ANSWERED else "no" if name in NEVER_ANSWERED else "?"
    assert read_event(name).answerable == EVENTS[name].answerable == wanted


def test_what_may_be_answered_is_one_of_three_and_names_known_events():
    assert {cls.answerable for cls in EVENTS.values()} == {"yes", "no", "?"}
    assert ANSWERED | NEVER_ANSWERED <= EVENTS.keys()


@pytest.mark.parametrize("cls", [EnterEvent, GuideInviteResultEvent, AddGuideBuyerRelationEvent])
def test_an_event_that_wechat_does_not_describe_has_no_fields_of_its_own(cls):
    """What came is in `raw`."""
    assert own_fields(cls) == set()


# -- how an event feels ----------------------------------------------------------------------------------------------


def describe(req):
    match req:
        case SubscribeEvent(scene="") | SubscribeEvent(scene="0"):
            return "follows"
        case SubscribeEvent(scene=scene) | ScanEvent(scene=scene):
            return f"scene {scene}"
        case ClickEvent(event_key=key):
            return f"button {key}"
        case PicWeixinEvent(send_pics_info=SendPicsInfo(pic_list=[first, *rest])):
            return f"picture {first.pic_md5_sum} and {len(rest)} more"
        case ScancodePushEvent(scan_code_info=ScanCodeInfo(scan_result=result)):
            return f"code {result}"
        case EventReqMsg(answerable="no"):
            return "nobody there"
        case _:
            return "unknown"


@pytest.mark.parametrize(
    ("event", "elements", "said"),
    [
        ("subscribe", "", "follows"),
        ("subscribe", "<EventKey>qrscene_7</EventKey>", "scene 7"),
        ("SCAN", "<EventKey>7</EventKey>", "scene 7"),
        ("CLICK", "<EventKey>V1</EventKey>", "button V1"),
        (
            "pic_weixin",
            "<SendPicsInfo><PicList><item><PicMd5Sum>a</PicMd5Sum></item></PicList></SendPicsInfo>",
            "picture a and 0 more",
        ),
        ("pic_weixin", "", "unknown"),
        ("scancode_push", "<ScanCodeInfo><ScanResult>r</ScanResult></ScanCodeInfo>", "code r"),
        ("unsubscribe", "", "nobody there"),
        ("no_such_event", "", "unknown"),
    ],
)
def test_events_work_with_match(event, elements, said):
    assert describe(read_event(event, elements)) == said


def public_dataclasses():
    return [
        value for name, value in vars(events).items() if dataclasses.is_dataclass(value) and isinstance(value, type)
    ]


def test_every_class_is_frozen_and_slotted_and_taken_by_keyword():
    for cls in public_dataclasses():
        instance = cls()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(instance, dataclasses.fields(cls)[0].name, "x")
        assert not hasattr(instance, "__dict__"), cls
        with pytest.raises(TypeError):
            cls("positional")


def test_every_public_class_has_a_docstring_of_its_own():
    """Not the one which dataclasses write by themselves, `Name(field: ...)`."""
    public = [cls for cls in public_dataclasses() if not cls.__name__.startswith("_")]
    assert [cls for cls in public if not cls.__doc__ or cls.__doc__.startswith(f"{cls.__name__}(")] == []


def test_events_are_values():
    assert read_sample("pic_weixin") == read_sample("pic_weixin") != read_sample("pic_sysphoto")
    assert len({read_sample("masssendjobfinish"), read_sample("masssendjobfinish")}) == 1


def test_an_event_is_a_message():
    assert all(issubclass(cls, EventReqMsg) and issubclass(cls, ReqMsg) for cls in EVENTS.values())
