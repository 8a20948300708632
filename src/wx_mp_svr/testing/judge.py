"""What WeChat looks at in an answer, and what the user gets to see of it.

Its judging is its own: it uses `signature` and `crypto`, which known answers hold, and nothing of the path that made the
answer.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Literal
from urllib.parse import unquote

from ..errors import BadCiphertext
from ..rsp_msg import Article
from ..wire.crypto import Cipher
from ..wire.signature import sign
from .packets import MAX_DEPTH, depth_of, first, read_elements

MAX_TEXT_BYTES = 2047

Level = Literal["ok", "harmful", "wrong"]

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LINK = re.compile(r"<a\s[^>]*?href=(\"[^\"]*\"|'[^']*')[^>]*>(.*?)</a>", re.DOTALL)
_REPLIES = {
    # MsgType: (parent, required children)
    "text": ("", ("Content",)),
    "image": ("Image", ("MediaId",)),
    "voice": ("Voice", ("MediaId",)),
    "video": ("Video", ("MediaId",)),
    "music": ("Music", ("ThumbMediaId",)),
    "news": ("", ("ArticleCount", "Articles")),
    "transfer_customer_service": ("", ()),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that WeChat looks at in an answer.

    Attributes:
        name: What was looked at.
        level: "ok"; "harmful", when the user gets less than was meant; "wrong", when WeChat shows its fault notice.
        detail: What was found.
    """

    name: str
    level: Level
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a text reply.

    Attributes:
        label: What the user sees.
        href: Where it leads.
        words: What a tap on a menu link (``weixin://bizmsgmenu``) sends; "" for other links.
        menu_id: The ``bizmsgmenuid`` that comes with those words.
    """

    label: str
    href: str
    words: str = ""
    menu_id: str = ""


@dataclass(slots=True)
class Try:
    """One delivery of a push.

    Attributes:
        number: From 1.
        started: Seconds after the push's first try began.
        elapsed: Seconds until the answer, or until WeChat hung up.
        query: The query string.
        body: What was posted.
        status: The HTTP status; None when no answer came.
        reply: The answer's body.
        xml: The plain reply, if it could be opened.
        error: Why there is no answer.
        checks: What WeChat looked at.
        headers: The answer's headers, names in lower case.
    """

    number: int
    started: float
    elapsed: float = 0.0
    query: str = ""
    body: bytes = b""
    status: int | None = None
    reply: bytes = b""
    xml: str = ""
    error: str = ""
    checks: list[Check] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether WeChat takes this answer."""
        return self.status is not None and all(check.level != "wrong" for check in self.checks)


@dataclass(slots=True, repr=False)
class Result:
    """What became of a push.

    Attributes:
        xml: The plain packet that was sent.
        tries: Every delivery.
        type: The reply's MsgType; "" when the user sees nothing; "fault" for WeChat's fault notice.
        content: What the user reads: a text's Content, the fault notice, or "".
        fields: The reply's elements by WeChat's names; an element with children is a dict, ``item`` a list.
        elapsed: Seconds from the first try to the end.
    """

    xml: str
    tries: list[Try] = field(default_factory=list)
    type: str = ""
    content: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    elapsed: float = 0.0

    @property
    def checks(self) -> list[Check]:
        """What WeChat looked at in the last answer."""
        return self.tries[-1].checks if self.tries else []

    @property
    def links(self) -> list[Link]:
        """The links in a text reply."""
        return [part for part in split_links(self.content) if isinstance(part, Link)]

    @property
    def articles(self) -> list[Article]:
        """The articles of a news reply."""
        items = (self.fields.get("Articles") or {}).get("item", [])
        names = ("Title", "Description", "PicUrl", "Url")
        return [Article(*(str(item.get(name) or "") for name in names)) for item in items]

    def __repr__(self) -> str:
        """Say in one line what the user sees."""
        seen = f"{self.type} {self.content or self.articles or self.media_id!r}" if self.type else "nothing"
        return f"<Result: {seen} after {len(self.tries)} of WeChat's tries, {self.elapsed:.2f} s>"

    @property
    def media_id(self) -> str:
        """The media_id of an image, voice or video reply."""
        parent = self.fields.get(_REPLIES.get(self.type, ("", ()))[0])
        return str(parent.get("MediaId", "")) if isinstance(parent, dict) else ""


def split_links(text: str) -> "list[str | Link]":
    """Cut a text into plain words and links, as WeChat's client shows them."""
    parts: list[str | Link] = []
    end = 0
    for match in _LINK.finditer(text):
        parts += [text[end : match.start()], _link(match[1][1:-1], unescape(match[2]))]
        end = match.end()
    return [part for part in [*parts, text[end:]] if part != ""]


def without_links(text: str) -> str:
    """Return a text as the user reads it; of each link the label."""
    return "".join(part if isinstance(part, str) else part.label for part in split_links(text))


def _link(url: str, label: str) -> Link:
    if not url.startswith("weixin://bizmsgmenu?"):
        return Link(label, url)
    query = dict(pair.partition("=")[::2] for pair in url.partition("?")[2].split("&"))
    return Link(label, url, unquote(query.get("msgmenucontent", "")), unquote(query.get("msgmenuid", "")))


def is_chunked(attempt: Try) -> bool:
    """Whether an answer came in chunks: HTTP/1.0 knows none, WeChat would read their lengths as text."""
    return "chunked" in attempt.headers.get("transfer-encoding", "").lower()


class Judge:
    """Looks at one answer.

    Args:
        token: The account's Token.
        cipher: What the reply must be sealed with; None for plain.
        request: The plain packet that is answered.
    """

    def __init__(self, token: str, cipher: Cipher | None, request: str) -> None:
        self._token = token
        self._cipher = cipher
        self._request = request
        self._checks: list[Check] = []

    def look(self, attempt: Try) -> dict[str, Any]:
        """Note every check in *attempt* and return the reply's elements; none for an acknowledgement."""
        self._checks = attempt.checks
        self._say("HTTP 200", attempt.status == 200, f"status {attempt.status}")
        self._say("Content-Length", not is_chunked(attempt), "sent in chunks, which HTTP/1.0 does not know")
        body = attempt.reply
        if not attempt.good:
            return {}
        if not body or body == b"success":
            self._say("success", True, "acknowledged, the user sees nothing")
            return {}
        self._say("no BOM", not body.startswith(b"\xef\xbb\xbf"), "the body begins with a BOM")
        root = self._parse(body)
        if root is not None and (self._cipher or root.find("Encrypt") is not None):
            root = self._open(root, attempt)
        elif root is not None:
            attempt.xml = body.decode()
        return self._look_at_reply(root) if root is not None else {}

    def _say(self, name: str, fine: bool, detail: str = "", level: Level = "wrong") -> bool:
        self._checks.append(Check(name, "ok" if fine else level, "" if fine and name != "success" else detail))
        return fine

    def _parse(self, body: bytes) -> "ET.Element | None":
        try:
            text = body.decode()
            self._say("no control characters", not _ILLEGAL.search(text), "characters that XML does not allow")
            root = ET.fromstring(text)  # noqa: S314 (the bot's own answer, of bounded size, and expat bounds entities)
        except (UnicodeDecodeError, ET.ParseError) as exc:
            self._say("well-formed XML", False, f"{exc}; begins {body[:60]!r}")
            return None
        self._say("well-formed XML", True)
        if not self._say("not nested too deep", depth_of(root) <= MAX_DEPTH, f"over {MAX_DEPTH} levels"):
            return None
        self._say("root <xml>", root.tag == "xml", f"the root is <{root.tag}>")
        return root

    def _open(self, root: ET.Element, attempt: Try) -> "ET.Element | None":
        if self._cipher is None:
            self._say("plain reply", False, "an encrypted reply in plain mode")
            return None
        found = {name: root.findall(name) for name in ("Encrypt", "MsgSignature", "TimeStamp", "Nonce")}
        odd = [name for name, elements in found.items() if len(elements) != 1 or not elements[0].text]
        if not self._say("encrypted reply", not odd, f"missing, repeated or empty: {', '.join(odd)}"):
            return None
        encrypt, claimed, timestamp, nonce = ((elements[0].text or "") for elements in found.values())
        right = sign(self._token, timestamp, nonce, encrypt) == claimed
        if not self._say("MsgSignature", right, "not the signature of Token, TimeStamp, Nonce and Encrypt"):
            return None
        try:
            plain = self._cipher.decrypt(encrypt)
        except BadCiphertext:
            self._say("decrypt", False, "cannot be decrypted with the EncodingAESKey and AppID")
            return None
        self._say("decrypt", True)
        attempt.xml = plain.decode(errors="replace")
        return self._parse(plain)

    def _look_at_reply(self, root: ET.Element) -> dict[str, Any]:
        reply = read_elements(root)
        names = [element.tag for element in root]
        twice = sorted({name for name in names if names.count(name) > 1})
        self._say("no element twice", not twice, str(twice))
        for name, right in (("ToUserName", "FromUserName"), ("FromUserName", "ToUserName")):
            found, expected = reply.get(name), first(self._request, right)
            self._say(name, not expected or found == expected, f"is {found!r}, should be {expected!r}")
        created = str(reply.get("CreateTime", ""))
        self._say("CreateTime", bool(re.fullmatch(r"[0-9]{1,13}", created)), f"is {created!r}, should be Unix seconds")
        msg_type = str(reply.get("MsgType", ""))
        if not self._say("MsgType", msg_type in _REPLIES, f"{msg_type!r} is no reply type"):
            return reply
        parent, required = _REPLIES[msg_type]
        inner = reply.get(parent, {}) if parent else reply
        for name in required:
            present = isinstance(inner, dict) and bool(inner.get(name))
            self._say(f"{parent}.{name}".lstrip("."), present, "missing or empty")
        if msg_type == "text":
            literal = "\\n" not in str(reply.get("Content", ""))
            self._say("line ends", literal, r"a backslash and an n, which users see as that", "harmful")
            size = len(str(reply.get("Content", "")).encode())
            self._say(f"Content <= {MAX_TEXT_BYTES} bytes", size <= MAX_TEXT_BYTES, f"{size} bytes")
        if msg_type == "news":
            self._look_at_news(reply)
        return reply

    def _look_at_news(self, reply: dict[str, Any]) -> None:
        articles = reply.get("Articles")
        items = articles.get("item", []) if isinstance(articles, dict) else []
        count = str(len(items))
        self._say("ArticleCount", reply.get("ArticleCount") == count, f"is not the number of items, {count}")
        limit = 8 if first(self._request, "MsgType").lower() == "event" else 1
        self._say(f"at most {limit} articles", len(items) <= limit, f"{len(items)}, the rest is dropped", "harmful")
        odd = [item for item in items if not isinstance(item, dict) or not item.get("Title")]
        self._say("articles have a Title", not odd, "an article without a title", "harmful")
