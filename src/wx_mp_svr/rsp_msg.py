"""What may be answered: the six reply types, the hand-over to human agents, and silence.

A reply object in, its packet out. Handlers never fill in To and From: `render` swaps those of the request. Knows nothing
of modes, stores or handlers.
"""

import logging
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .errors import ReplyError
from .req_msg import EventReqMsg, ReqMsg
from .wire import xmlio

log = logging.getLogger("wx_mp_svr")

MAX_ARTICLES = 8


@dataclass(frozen=True, slots=True)
class RspMsg:
    """What all replies share.

    Attributes:
        msg_type: WeChat's name for the kind.
        required: The field without which WeChat shows its fault notice, if there is one.
    """

    msg_type: ClassVar[str] = ""
    required: ClassVar[str] = ""

    def _elements(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class EmptyRspMsg(RspMsg):
    """Acknowledge without a reply; the same as returning None or ""."""


@dataclass(frozen=True, slots=True)
class TextRspMsg(RspMsg):
    r"""文本. Newlines are ``\n``; ``<a href="https://...">...</a>`` is a link. WeChat takes 2,047 bytes of UTF-8."""

    msg_type: ClassVar[str] = "text"
    content: str

    def _elements(self) -> dict[str, Any]:
        return {"Content": self.content}


@dataclass(frozen=True, slots=True)
class ImageRspMsg(RspMsg):
    """图片. The media_id of an uploaded image, or of one that a user sent (kept for 3 days). No animated GIF."""

    msg_type: ClassVar[str] = "image"
    required: ClassVar[str] = "media_id"
    media_id: str

    def _elements(self) -> dict[str, Any]:
        return {"Image": {"MediaId": self.media_id}}


@dataclass(frozen=True, slots=True)
class VoiceRspMsg(RspMsg):
    """语音. The media_id of an uploaded recording, or of one that a user sent (kept for 3 days)."""

    msg_type: ClassVar[str] = "voice"
    required: ClassVar[str] = "media_id"
    media_id: str

    def _elements(self) -> dict[str, Any]:
        return {"Voice": {"MediaId": self.media_id}}


@dataclass(frozen=True, slots=True)
class VideoRspMsg(RspMsg):
    """视频. The media_id of an uploaded video."""

    msg_type: ClassVar[str] = "video"
    required: ClassVar[str] = "media_id"
    media_id: str
    title: str = ""
    description: str = ""

    def _elements(self) -> dict[str, Any]:
        return {"Video": {"MediaId": self.media_id, **_given(Title=self.title, Description=self.description)}}


@dataclass(frozen=True, slots=True)
class MusicRspMsg(RspMsg):
    """音乐. Only the cover is required: the media_id of an uploaded thumb."""

    msg_type: ClassVar[str] = "music"
    required: ClassVar[str] = "thumb_media_id"
    thumb_media_id: str
    title: str = ""
    description: str = ""
    music_url: str = ""
    hq_music_url: str = ""

    def _elements(self) -> dict[str, Any]:
        optional = _given(
            Title=self.title, Description=self.description, MusicUrl=self.music_url, HQMusicUrl=self.hq_music_url
        )
        return {"Music": {**optional, "ThumbMediaId": self.thumb_media_id}}


@dataclass(frozen=True, slots=True)
class Article:
    """One article of a `NewsRspMsg`. `pic_url`: JPG or PNG, 360x200 for the first article, 200x200 for the others."""

    title: str
    description: str = ""
    pic_url: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class NewsRspMsg(RspMsg):
    """图文. One article after an ordinary message, up to eight after an event: WeChat's rule since 2018."""

    msg_type: ClassVar[str] = "news"
    articles: Sequence[Article]

    def _elements(self) -> dict[str, Any]:
        items = [
            {"Title": a.title, "Description": a.description, "PicUrl": a.pic_url, "Url": a.url} for a in self.articles
        ]
        return {"ArticleCount": len(items), "Articles": {"item": items}}


@dataclass(frozen=True, slots=True)
class TransferCustomerServiceRspMsg(RspMsg):
    """转客服: hand the user over to human agents, to the one named if one is named (``name@account``)."""

    msg_type: ClassVar[str] = "transfer_customer_service"
    kf_account: str = ""

    def _elements(self) -> dict[str, Any]:
        return {"TransInfo": {"KfAccount": self.kf_account}} if self.kf_account else {}


def _given(**elements: str) -> dict[str, str]:
    return {name: value for name, value in elements.items() if value}


def render(rsp: RspMsg, req: ReqMsg, *, now: int) -> str:
    """Write the plain packet that answers *req*; To and From are swapped. Silence is "".

    Args:
        rsp: Already checked by `fit`.
        req: Whom it answers.
        now: Unix time in seconds.
    """
    if not rsp.msg_type:
        return ""
    cdata = xmlio.cdata
    return (
        f"<xml><ToUserName>{cdata(req.from_user_name)}</ToUserName><FromUserName>{cdata(req.to_user_name)}</FromUserName>"
        f"<CreateTime>{now}</CreateTime><MsgType><![CDATA[{rsp.msg_type}]]></MsgType>{xmlio.dump(rsp._elements())}</xml>"
    )


def fit(rsp: RspMsg, req: ReqMsg, *, strict: bool) -> RspMsg:
    """Check a reply against WeChat's rules before it leaves.

    Args:
        rsp: What the handler returned.
        req: What it answers.
        strict: In development, say so instead of mending it silently.

    Returns:
        The reply, mended where that is possible: several articles to an ordinary message become the first, and a reply
        without content becomes silence.

    Raises:
        ReplyError: WeChat would show its fault notice: a field is missing or is not text. When strict, also for what
            would be mended.
    """
    _check_types(rsp)
    if strict:
        _check_habits(rsp, req)
    if rsp.required and not getattr(rsp, rsp.required):
        raise ReplyError(
            f"{type(rsp).__name__} needs {rsp.required}: WeChat shows its fault notice without it / "
            f"{type(rsp).__name__} 缺少 {rsp.required}，发出去用户会看到「该公众号提供的服务出现故障」"
        )
    if isinstance(rsp, TextRspMsg) and not xmlio.legal(rsp.content).strip():
        if strict:
            raise ReplyError(
                'TextRspMsg needs content; return None or "" to acknowledge without a reply / '
                "文本是空白的：不想回复就返回 None"
            )
        return EmptyRspMsg()
    if isinstance(rsp, NewsRspMsg):
        limit = MAX_ARTICLES if isinstance(req, EventReqMsg) else 1
        if strict and not 1 <= len(rsp.articles) <= limit:
            raise ReplyError(
                f"NewsRspMsg has {len(rsp.articles)} articles; WeChat takes 1 after an ordinary message, "
                f"1 to {MAX_ARTICLES} after an event / "
                f"有 {len(rsp.articles)} 篇图文：回复普通消息只能 1 篇，事件 1～{MAX_ARTICLES} 篇"
            )
        return replace(rsp, articles=tuple(rsp.articles[:limit])) if rsp.articles else EmptyRspMsg()
    return rsp


def _check_habits(rsp: RspMsg, req: ReqMsg) -> None:
    """Say, in development, what is no fault of form but not what its author meant."""
    content = rsp.content if isinstance(rsp, TextRspMsg) else ""
    if content == "success":
        raise ReplyError('"success" would be sent as a text; return None to acknowledge / 不想回复请返回 None')
    if rsp.msg_type and req.answerable == "no":
        event = req.event if isinstance(req, EventReqMsg) else req.msg_type
        log.warning(
            "a reply to %s: nobody sees it, WeChat shows no answer to this event / 这个事件的回复用户看不到", event
        )
    if "\\n" in content:
        log.warning(
            r"a text holds \n, a backslash and an n, which users see as that / 文本里有字面的 \n，用户会原样看到"
        )


def _check_types(rsp: RspMsg) -> None:
    parts: Sequence[Any] = [rsp]
    if isinstance(rsp, NewsRspMsg):
        parts = rsp.articles
        if not isinstance(parts, list | tuple) or not all(isinstance(article, Article) for article in parts):
            raise ReplyError(
                "NewsRspMsg.articles must be a list of Article / NewsRspMsg 的 articles 要是 Article 的列表"
            )
    for part in parts:
        for name in type(part).__slots__:
            value = getattr(part, name)
            if not isinstance(value, str):
                field = f"{type(part).__name__}.{name}"
                raise ReplyError(
                    f"{field} must be text (str), not {type(value).__name__} / "
                    f"{field} 要是文本，不能是 {type(value).__name__}"
                )


_Said = RspMsg | str | Article | Sequence[Article] | None

Reply = (
    _Said
    | Generator[str, None, str | None]
    | Iterator[str]
    | Coroutine[Any, Any, _Said | Iterator[str]]
    | AsyncIterator[str]
)
"""What a handler may return, and be: a reply object, a str, an `Article` or several, None to acknowledge; a generator of
str, a coroutine or an async generator of the same."""
