"""The error tree: few errors, and each one knows its answer.

Three branches, by who is at fault: you (`ConfigError`, `ReplyError`), the sender (`Refused`), the machine (`StoreError`).
Imports nothing and knows nothing of HTTP but its numbers.
"""

from collections.abc import Iterable
from typing import ClassVar


class WxMpError(Exception):
    """Root of all that this package raises on purpose."""


class ConfigError(WxMpError, ValueError):
    """You set the server up wrongly. Raised at start, never during a push; never holds the value of a secret.

    Attributes:
        problems: Where several settings may be wrong, each one: (its name, what to do, the same in Chinese).
    """

    def __init__(self, message: str, problems: Iterable[tuple[str, str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class ReplyError(WxMpError, ValueError):
    """A handler returned what WeChat would not take. Raised in development; in production a safe answer goes out."""


class StoreError(WxMpError):
    """The store cannot be reached, is full, or is too slow."""


class UnfitStoreError(StoreError):
    """The store can never work as it is set up: waiting will not help. At start it becomes a `ConfigError`."""


class SessionBusy(WxMpError):  # noqa: N818 (nobody is at fault)
    """Another handler of the same user has kept `req.session` for too long; the user gets the busy text."""


class Refused(WxMpError):  # noqa: N818 (it is the answer, not a fault of ours)
    """The push cannot be accepted: its sender is at fault, or is not WeChat.

    Every refusal is answered with the same bytes (403, ``forbidden``), so that nobody learns which check failed;
    only `TooLarge` differs. The class attributes are for the log.

    Attributes:
        http_status: What the HTTP answer says.
        wx_code: The number which WeChat's sample library gives to this failure, or None.
        reason: One word for the log, never taken from the request.
        hint: What is most likely wrong when it was WeChat who asked, and the cure; in English and Chinese.
    """

    http_status: ClassVar[int] = 403
    wx_code: ClassVar[int | None] = None
    reason: ClassVar[str] = "refused"
    hint: str = ""


class BadParams(Refused):
    """A query parameter is missing, given twice, or not of its form."""

    reason = "params"
    hint = (
        "query parameters got lost or changed: does a proxy drop the query string? / "
        "查询参数缺失或不合格式：反向代理丢了查询参数？（nginx 的 proxy_pass、rewrite 要带上 $args）"
    )


class ClockSkew(Refused):
    """The timestamp lies outside the window: an old request sent again, or a server clock that is off.

    Attributes:
        skew_seconds: The request's timestamp minus our clock.
    """

    reason = "clock"

    def __init__(self, skew_seconds: int) -> None:
        super().__init__(f"skew={skew_seconds:+d}s")
        self.skew_seconds = skew_seconds
        off, english, chinese = abs(skew_seconds), *(("slow", "慢") if skew_seconds > 0 else ("fast", "快"))
        self.hint = (
            f"this server's clock is {off} s {english}, synchronize it; or an old request was sent again / "
            f"服务器时钟{chinese}了 {off} 秒：请校准服务器时钟（timedatectl set-ntp true）；或有人重放旧请求"
        )


class BadSignature(Refused):
    """The signature is not the one that our token gives."""

    wx_code = -40001
    reason = "signature"
    hint = (
        "WX_MP_TOKEN is not the Token of the settings page, or it was not WeChat who asked / "
        "Token 与公众平台填写的不一致，或请求不是微信发来的"
    )


class Downgrade(Refused):
    """A push in a mode that the configuration does not allow (plain to a safe server, AES to one without a key)."""

    reason = "downgrade"
    hint = (
        "the settings page and this server disagree about encryption: AES there, set WX_MP_AES_KEY here; plain there, "
        "choose safe mode there, or WX_MP_MODE=compatible here / 两边的加解密方式不一致：收到密文，请设置 WX_MP_AES_KEY；"
        "收到明文，请把公众平台改成安全模式，或设置 WX_MP_MODE=compatible"
    )


class BadCiphertext(Refused):
    """The ciphertext cannot be opened. One error for every cause: a difference would be an oracle."""

    wx_code = -40007
    reason = "decrypt"
    hint = (
        "the Token is right, but WX_MP_AES_KEY or WX_MP_APPID is not that of the settings page / "
        "Token 正确，但 EncodingAESKey 或 AppID 与公众平台的不一致"
    )


class BadXml(Refused):
    """The XML is not well-formed, over a limit, or not WeChat's."""

    wx_code = -40002
    reason = "xml"
    hint = (
        "choose XML as data format on the settings page, or it was not WeChat who asked / "
        "公众平台的「数据格式」请选 XML，或请求不是微信发来的"
    )


class TooLarge(Refused):
    """The body is over the size limit."""

    http_status = 413
    reason = "size"
    hint = "no push of WeChat's is that large: it was somebody else / 微信的推送没有这么大，请求不是微信发来的"
