"""What users send: the seven ordinary messages, the general message, and the general event.

Frozen dataclasses, filled by `fields.build`. What is missing or unreadable is None (text: ""), and `raw` keeps what came.
Knows nothing of XML, signatures or handlers. The events stand in `events.py`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .fields import Fields, Raw, moment, number, text, verbatim, whole, wire
from .session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ReqMsg:
    """What every push carries, whatever its kind. Also stands for kinds that we do not know yet.

    Attributes:
        to_user_name: The account's original ID (``gh_...``).
        from_user_name: The sender's OpenID.
        create_time: Unix time in seconds, None when unreadable.
        msg_type: Lower case.
        msg_id: Up to 64 bits; text, since JSON and JavaScript would round it. Empty on most events.
        raw: Everything that came, by WeChat's names; repeated elements are lists.
        answerable: Whether the user gets to see a passive reply: "yes", "no" (there is no conversation to answer
            into; always acknowledged), or "?" (WeChat does not say; a handler's reply is sent, nothing else).
    """

    answerable: ClassVar[Literal["yes", "no", "?"]] = "yes"

    to_user_name: str = wire("ToUserName")
    from_user_name: str = wire("FromUserName")
    create_time: int | None = moment("CreateTime")
    msg_type: str = wire("MsgType", read=lambda value: text(value).lower())
    msg_id: str = wire("MsgId", "MsgID")
    raw: Fields = field(default_factory=Raw, repr=False, hash=False)

    @property
    def openid(self) -> str:
        """The user's OpenID."""
        return self.from_user_name

    @property
    def session(self) -> Session:
        """What the bot remembers of this user: a dict of JSON values, see `Session`.

        Raises:
            RuntimeError: Outside of a handler.
        """
        session: Session | None = getattr(self.raw, "session", None)
        if session is None:
            raise RuntimeError("req.session is there in handlers only")
        return session


def bind_session(req: ReqMsg, session: Session) -> None:
    """Give a message its session, before a handler gets the message."""
    raw = req.raw
    if not isinstance(raw, Raw):
        raw = Raw(raw)
        object.__setattr__(req, "raw", raw)  # a message is frozen, and nothing of the message changes
    raw.session = session


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromArticle(ReqMsg):
    """The seven ordinary messages: they say which article they were sent from, if any."""

    msg_data_id: str = wire("MsgDataId")
    idx: int | None = whole("Idx")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReqMsg(_FromArticle):
    """文本消息. Kinds that WeChat does not forward (stickers) arrive as text, too: 【收到不支持的消息类型，暂无法显示】.

    Attributes:
        content: What the user wrote, blanks and newlines included.
        bizmsgmenuid: The id of the menu link that the user tapped, if one was tapped. As forgeable as the text itself.
    """

    content: str = wire("Content", read=verbatim)
    bizmsgmenuid: str = wire("bizmsgmenuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReqMsg(_FromArticle):
    """图片消息. Never fetch `pic_url` unchecked: see to it that it leads to WeChat."""

    pic_url: str = wire("PicUrl")
    media_id: str = wire("MediaId")


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceReqMsg(_FromArticle):
    """语音消息.

    Attributes:
        format: ``amr``, ``speex``, ...
        media_id_16k: The same recording with 16 kHz, where WeChat offers it.
        recognition: What was said, where speech recognition is switched on.
    """

    media_id: str = wire("MediaId")
    format: str = wire("Format")
    media_id_16k: str = wire("MediaId16K")
    recognition: str = wire("Recognition")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReqMsg(_FromArticle):
    """视频消息."""

    media_id: str = wire("MediaId")
    thumb_media_id: str = wire("ThumbMediaId")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortVideoReqMsg(_FromArticle):
    """小视频消息."""

    media_id: str = wire("MediaId")
    thumb_media_id: str = wire("ThumbMediaId")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationReqMsg(_FromArticle):
    """地理位置消息.

    Attributes:
        location_x: Latitude (纬度) in degrees. X is the latitude in WeChat's packets.
        location_y: Longitude (经度) in degrees.
        scale: The map's zoom.
    """

    location_x: float | None = number("Location_X")
    location_y: float | None = number("Location_Y")
    scale: int | None = whole("Scale")
    label: str = wire("Label")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReqMsg(_FromArticle):
    """链接消息."""

    title: str = wire("Title")
    description: str = wire("Description")
    url: str = wire("Url")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReqMsg(ReqMsg):
    """文件消息: not in WeChat's list, but it arrives.

    Attributes:
        file_total_len: Bytes.
    """

    title: str = wire("Title")
    description: str = wire("Description")
    file_key: str = wire("FileKey")
    file_md5: str = wire("FileMd5")
    file_total_len: int | None = whole("FileTotalLen")


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniProgramPageReqMsg(ReqMsg):
    """小程序卡片: not in WeChat's list for accounts, but it arrives.

    Attributes:
        app_id: The mini program's.
        page_path: Which of its pages.
    """

    title: str = wire("Title")
    app_id: str = wire("AppId")
    page_path: str = wire("PagePath")
    thumb_url: str = wire("ThumbUrl")
    thumb_media_id: str = wire("ThumbMediaId")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReqMsg(ReqMsg):
    """Something happened. Also stands for events that we do not know, and component notices.

    Attributes:
        event: WeChat's name as it came; compare without regard to case. For a component notice its ``InfoType``.
        event_key: What the event is about: a menu key, a URL, a scene.
    """

    answerable: ClassVar[Literal["yes", "no", "?"]] = "?"

    event: str = wire("Event", "InfoType")
    event_key: str = wire("EventKey")


ALIASES = {"freepublishjobfinish": "publishjobfinish"}
"""Events that WeChat's own pages spell in two ways, in lower case."""

KINDS: dict[str, type[ReqMsg]] = {
    "text": TextReqMsg,
    "image": ImageReqMsg,
    "voice": VoiceReqMsg,
    "video": VideoReqMsg,
    "shortvideo": ShortVideoReqMsg,
    "location": LocationReqMsg,
    "link": LinkReqMsg,
    "file": FileReqMsg,
    "miniprogrampage": MiniProgramPageReqMsg,
}
"""Which class stands for which message, by MsgType in lower case. The events have a table of their own, `EVENTS`."""
