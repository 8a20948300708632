"""WeChat's side of the street, played by somebody else: wechatpy's crypto over real HTTP.

Builds packets, pushes them in each mode, opens and judges the replies. Nothing of the package under test is imported, so
that the two can only agree by both doing what WeChat does.
"""

import http.client
import itertools
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.utils import WeChatSigner

Mode = Literal["plain", "compatible", "safe"]
Query = str | Mapping[str, str] | Iterable[tuple[str, str]]

TIMEOUT = 20  # seconds: a bound for a test that hangs, no expectation
GH_ID = "gh_0123456789ab"
TEXT_FIELDS = {
    # of one text, by WeChat's names, as the rooms behind the XML get it
    "ToUserName": "gh_1",
    "FromUserName": "o1",
    "CreateTime": "1700000000",
    "MsgType": "text",
    "Content": "你好",
    "MsgId": "1",
}

_numbers = itertools.count(1)


def sign(*parts: str) -> str:
    """WeChat's digest, as wechatpy works it out."""
    signer = WeChatSigner()
    signer.add_data(*parts)
    return signer.signature


# -- packets ---------------------------------------------------------------------------------------------------------


def cdata(value: str) -> str:
    return "<![CDATA[" + value.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def packet(**elements: str | int | None) -> str:
    """One packet as WeChat writes it: a new user and a new MsgId each time, unless given; None leaves an element out."""
    number = next(_numbers)
    head = {
        "ToUserName": GH_ID,
        "FromUserName": f"oUser{number:023d}",
        "CreateTime": int(time.time()),
        "MsgType": "text",
        "MsgId": 6_054_768_590_064_713_728 + number,
    }
    if elements.get("MsgType") == "event":
        del head["MsgId"]
    lines = [
        f"<{name}>{cdata(value) if isinstance(value, str) else value}</{name}>"
        for name, value in {**head, **elements}.items()
        if value is not None
    ]
    return "<xml>" + "\n".join(lines) + "\n</xml>"


def text(content: str, **elements: str | int | None) -> str:
    return packet(**{"Content": content, **elements})


def event(name: str, **elements: str | int | None) -> str:
    return packet(**{"MsgType": "event", "Event": name, **elements})


# -- HTTP ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: status, headers in their order, body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def comparable(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """All that a stranger could tell two answers apart by, but for the time of day."""
        return self.status, [(key, value) for key, value in self.headers if key.lower() != "date"], self.body


@dataclass
class Letter:
    """A push before it is posted; tests tamper with it."""

    query: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A reply that WeChat would have shown to the user."""

    root: ET.Element
    nonce: str | None = None  # of the envelope
    timestamp: str | None = None

    def __getitem__(self, path: str) -> str | None:
        return self.root.findtext(path)

    @property
    def names(self) -> list[str]:
        return [element.tag for element in self.root]


@dataclass(frozen=True)
class WeChat:
    """WeChat, as one account is set up on its settings page."""

    url: str
    token: str
    aes_key: str
    appid: str
    mode: Mode = "safe"
    crypto: WeChatCrypto = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crypto", WeChatCrypto(self.token, self.aes_key, self.appid))

    # -- what WeChat does --

    def verify(self, echostr: str = "4375120948345356249") -> HttpAnswer:
        """Ask whether this URL is ours, as on saving the settings page."""
        return self.get({**self.stamp(), "echostr": echostr})

    def push(self, xml: str | bytes, mode: Mode | None = None) -> HttpAnswer:
        letter = self.letter(xml, mode)
        return self.post(letter.query, letter.body)

    def ask(self, xml: str, mode: Mode | None = None) -> Reply | None:
        """Push a packet and judge the reply; None for an acknowledgement."""
        return self.open(self.push(xml, mode), xml, mode)

    # -- the way there --

    def stamp(self, timestamp: str | None = None, nonce: str | None = None) -> dict[str, str]:
        """The three parameters that every request carries."""
        timestamp = str(int(time.time())) if timestamp is None else timestamp
        nonce = str(1_320_562_132 + next(_numbers)) if nonce is None else nonce
        return {"signature": sign(self.token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}

    def letter(
        self, xml: str | bytes, mode: Mode | None = None, *, timestamp: str | None = None, nonce: str | None = None
    ) -> Letter:
        """Put a packet into the envelope of a mode."""
        query = {**self.stamp(timestamp, nonce), "openid": "oNotSignedByAnybody"}
        body = xml.encode() if isinstance(xml, str) else xml
        if (mode or self.mode) == "plain":
            return Letter(query, body)
        encrypted = PrpCrypto(self.crypto.key).encrypt(body, self.appid).decode()
        msg_signature = sign(self.token, query["timestamp"], query["nonce"], encrypted)
        query |= {"encrypt_type": "aes", "msg_signature": msg_signature}
        encrypt = f"<Encrypt><![CDATA[{encrypted}]]></Encrypt>\n</xml>".encode()
        if (mode or self.mode) == "compatible":
            return Letter(query, body.rpartition(b"</xml>")[0] + encrypt)
        return Letter(query, f"<xml><ToUserName><![CDATA[{GH_ID}]]></ToUserName>\n".encode() + encrypt)

    def envelope(self, encrypt: str, **changes: str) -> Letter:
        """An envelope around any ciphertext, with the msg_signature that belongs to it."""
        query = {**self.stamp(), "encrypt_type": "aes"}
        query["msg_signature"] = sign(self.token, query["timestamp"], query["nonce"], encrypt)
        body = f"<xml><ToUserName><![CDATA[{GH_ID}]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
        return Letter({**query, **changes}, body.encode())

    def get(self, query: Query) -> HttpAnswer:
        return self.request("GET", query)

    def post(self, query: Query, body: bytes, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        return self.request("POST", query, body, {"Content-Type": "text/xml"} if headers is None else headers)

    def request(
        self,
        method: str,
        query: Query = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
    ) -> HttpAnswer:
        """Send one request over a connection of its own."""
        target = urllib.parse.urlsplit(self.url)
        if not isinstance(query, str):
            pairs = query.items() if isinstance(query, Mapping) else query
            query = urllib.parse.urlencode(list(pairs), quote_via=urllib.parse.quote, safe="")
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=TIMEOUT)
        try:
            address = (target.path if path is None else path) + (f"?{query}" if query else "")
            connection.request(method, address, body, {"User-Agent": "Mozilla/4.0", "Accept": "*/*", **(headers or {})})
            response = connection.getresponse()
            return HttpAnswer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    # -- the way back --

    def open(self, answer: HttpAnswer, xml: str, mode: Mode | None = None) -> Reply | None:
        """Judge an answer as WeChat does; what it would not show to the user is an AssertionError."""
        assert answer.status == 200, (answer.status, answer.body[:300])
        if answer.body in (b"success", b""):
            assert (answer.header("Content-Type") or "").startswith("text/plain")
            return None
        assert (answer.header("Content-Type") or "").partition(";")[0] in ("text/xml", "application/xml")
        sealed = (mode or self.mode) != "plain"
        reply = self._unseal(answer.body) if sealed else Reply(ET.fromstring(answer.body))
        asked = ET.fromstring(xml)
        assert reply.root.tag == "xml"
        assert len(set(reply.names)) == len(reply.names), reply.names
        assert reply["ToUserName"] == (asked.findtext("FromUserName") or "").strip()
        assert reply["FromUserName"] == (asked.findtext("ToUserName") or "").strip()
        created = reply["CreateTime"] or ""
        assert created.isascii()
        assert created.isdigit()
        assert len(created) == 10
        assert abs(int(created) - time.time()) < 60
        return reply

    def _unseal(self, body: bytes) -> Reply:
        root = ET.fromstring(body)
        names = [element.tag for element in root]
        assert (root.tag, sorted(names)) == ("xml", ["Encrypt", "MsgSignature", "Nonce", "TimeStamp"])
        encrypt, signature, timestamp, nonce = (
            root.findtext(name) or "" for name in ("Encrypt", "MsgSignature", "TimeStamp", "Nonce")
        )
        assert len(timestamp) == 10
        assert timestamp.isdigit()
        # Raises for a signature or an AppID that is not ours.
        inner = self.crypto.decrypt_message({"Encrypt": encrypt}, signature, timestamp, nonce)
        return Reply(ET.fromstring(inner), nonce, timestamp)
