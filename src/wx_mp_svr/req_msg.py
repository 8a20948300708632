"""What users send: the seven ordinary messages, the general message, and the general event.

Fields (a dict, from `xmlio`) in, a frozen dataclass out. Everything is read once, here, and leniently: WeChat sends
placeholders where numbers belong, and new kinds without asking. What is missing or unreadable is None (text: ""), and
`raw` keeps what came. Knows nothing of XML, signatures or handlers. The events stand in `events.py`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

from .sessions import Session

Fields = Mapping[str, Any]
"""Elements by name, as xmlio reads them: text is str, children are a dict, repeated elements are a list."""

T = TypeVar("T")

_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


# -- how an element becomes a value ----------------------------------------------------------------------------------


def verbatim(value: Any) -> str:
    """Read text as it came, blanks included; of a repeated element the first, of one with children its own text."""
    if isinstance(value, str):  # nearly always, and an abstract class like Mapping is slow to ask
        return value
    while isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, Mapping):
        value = value.get("#text", "")
    return value if isinstance(value, str) else ""


def text(value: Any) -> str:
    """Read text without the white space around it: WeChat's card events have some outside their CDATA."""
    return (value if isinstance(value, str) else verbatim(value)).strip()


def integer(value: Any) -> int | None:
    """Read a whole number, None for whatever is not one (``xxxx``, ``1.5``, full-width or 5,000 digits)."""
    digits = text(value)
    return int(digits) if _INTEGER.fullmatch(digits) else None


def decimal(value: Any) -> float | None:
    """Read a decimal number, None for whatever is not a finite one."""
    digits = text(value)
    number = float(digits) if _DECIMAL.fullmatch(digits) else math.nan
    return number if math.isfinite(number) else None


def seconds(value: Any) -> int | None:
    """Read a Unix time in seconds, None for whatever is not one."""
    digits = text(value)
    return int(digits) if _SECONDS.fullmatch(digits) else None


def wire(*elements: str, read: Callable[[Any], Any] = text, default: Any = "") -> Any:
    """Declare a field together with the XML element that it is read from.

    Args:
        elements: WeChat's name; further ones where WeChat itself spells it in several ways.
        read: How the element becomes a value.
        default: What stands for an absent element.
    """
    return field(default=default, metadata={"wire": elements, "read": read})


def whole(*elements: str) -> Any:
    """Declare an ``int | None`` field."""
    return wire(*elements, read=integer, default=None)


def number(*elements: str) -> Any:
    """Declare a ``float | None`` field."""
    return wire(*elements, read=decimal, default=None)


def moment(*elements: str) -> Any:
    """Declare an ``int | None`` field that holds a Unix time in seconds."""
    return wire(*elements, read=seconds, default=None)


def part(element: str, cls: type[Any]) -> Any:
    """Declare a field whose element has children: a dataclass of its own, with defaults when the element is absent."""

    def read(value: Any) -> Any:
        while isinstance(value, list):
            value = value[0] if value else {}
        return build(cls, value if isinstance(value, Mapping) else {})

    return field(default_factory=lambda: build(cls, {}), metadata={"wire": (element,), "read": read})


def many(path: str, read: Callable[[Any], Any] | type[Any] = text) -> Any:
    """Declare a tuple field for an element that stands once or many times.

    Args:
        path: ``PicList/item``: the element's name, after those of its parents. All parents of that name are searched,
            since WeChat sometimes closes a list and opens it again.
        read: How one element becomes a value, or the dataclass that its children fill.
    """
    first, *rest = path.split("/")

    def read_all(value: Any) -> tuple[Any, ...]:
        found = value if isinstance(value, list) else [value]
        for name in rest:
            found = [item for parent in found if isinstance(parent, Mapping) for item in _as_list(parent.get(name))]
        if isinstance(read, type):
            return tuple(build(read, item) for item in found if isinstance(item, Mapping))
        return tuple(read(item) for item in found)

    return field(default=(), metadata={"wire": (first,), "read": read_all})


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


@cache
def plan_of(cls: type[Any]) -> tuple[tuple[str, tuple[str, ...], Callable[[Any], Any]], ...]:
    """Look at a dataclass once: (our name, WeChat's names, how to read) of each field that comes from the wire."""
    return tuple((f.name, f.metadata["wire"], f.metadata["read"]) for f in fields(cls) if "wire" in f.metadata)


def build(cls: type[T], fields: Fields, **extra: Any) -> T:
    """Build a dataclass from *fields*; elements that are absent leave their defaults, unknown ones are left alone."""
    values = extra
    for name, elements, read in plan_of(cls):  # type: ignore[arg-type]  # every class is hashable
        for element in elements:
            if element in fields:
                values[name] = read(fields[element])
                break
    return cls(**values)


# -- the messages ----------------------------------------------------------------------------------------------------


class _WithSession:
    """Holds the session beside the fields: it is no part of the message."""

    __slots__ = ("_session",)
    _session: Session

    @property
    def session(self) -> Session:
        """What the bot remembers of this user: a dict of JSON values, see `Session`.

        Raises:
            RuntimeError: Outside of a handler.
        """
        try:
            return self._session
        except AttributeError:
            raise RuntimeError("req.session is there in handlers only") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReqMsg(_WithSession):
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
    raw: Fields = field(default_factory=dict, repr=False, hash=False)

    @property
    def openid(self) -> str:
        """The user's OpenID."""
        return self.from_user_name


def bind_session(req: ReqMsg, session: Session) -> None:
    """Give a message its session, before a handler gets the message."""
    object.__setattr__(req, "_session", session)  # a message is frozen, and nothing of the message changes


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
class EventReqMsg(ReqMsg):
    """Something happened. Also stands for events that we do not know, component notices and the container probe.

    Attributes:
        event: WeChat's name as it came; compare without regard to case. For a component notice its ``InfoType``, for the
            container probe its ``action``.
        event_key: What the event is about: a menu key, a URL, a scene.
    """

    answerable: ClassVar[Literal["yes", "no", "?"]] = "?"

    event: str = wire("Event", "InfoType", "action")
    event_key: str = wire("EventKey")


KINDS: dict[str, type[ReqMsg]] = {
    "text": TextReqMsg,
    "image": ImageReqMsg,
    "voice": VoiceReqMsg,
    "video": VideoReqMsg,
    "shortvideo": ShortVideoReqMsg,
    "location": LocationReqMsg,
    "link": LinkReqMsg,
    "file": FileReqMsg,
}
"""Which class stands for which message, by MsgType in lower case. The events have a table of their own, `EVENTS`."""
