"""What WeChat posts to a candidate, made before the clock runs, and what is to come back."""

import random
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from wx_mp_svr.testing.packets import new_msg_id, write_xml
from wx_mp_svr.wire.crypto import Cipher, ReusedCipher
from wx_mp_svr.wire.signature import sign

TOKEN, AES_KEY, APPID = "bench0token", "benchbenchbenchbenchbenchbenchbenchbenchben", "wxbench0000000000"
CALLBACK, ACCOUNT = "/wx_mp_cb", "gh_0123456789ab"
USERS = 1000

WsgiApp = Callable[[dict[str, Any], Any], Any]

# Of a text with this the encrypted body has about 700 bytes.
FILLER = "请问明天上午去机场的大巴几点发车，在哪一站上车，票价多少，可以带几件行李？"


@dataclass(frozen=True)
class Push:
    """One push.

    Attributes:
        query: The query string.
        body: What is posted.
        expected: The Content of the reply; "" for an acknowledgement.
    """

    query: str
    body: bytes
    expected: str = ""


def answer(msg_type: str, content: str) -> str:
    """Return what every candidate's handler says."""
    return f"你说：{content}" if msg_type == "text" else f"收到 {msg_type}"


def _mixed() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one of everything, and a text more often; of a VIEW an account hears much, and it says nothing to it."""
    media = "media-id-0123456789-0123456789-0123456789-0123456789-0123456789"
    yield "image", {"PicUrl": "http://mmbiz.qpic.cn/mmbiz_jpg/0123456789/0", "MediaId": media}
    yield "voice", {"MediaId": media, "Format": "amr", "MediaId16K": f"{media}_16k"}
    yield "video", {"MediaId": media, "ThumbMediaId": media}
    yield "location", {"Location_X": "23.134521", "Location_Y": "113.358803", "Scale": 20, "Label": "广州市海珠区"}
    yield "link", {"Title": "公众平台官网链接", "Description": "公众平台官网链接", "Url": "https://example.com/a?b=c"}
    yield "event", {"Event": "subscribe", "EventKey": "qrscene_123123", "Ticket": "TICKET"}
    yield "event", {"Event": "SCAN", "EventKey": "SCENE_VALUE", "Ticket": "TICKET"}
    yield "event", {"Event": "CLICK", "EventKey": "V1001_TODAY_MUSIC"}
    yield "event", {"Event": "VIEW", "EventKey": "https://example.com/page", "MenuId": 123456}
    for _ in range(4):
        yield "text", {"Content": FILLER}


class Sender:
    """WeChat, as far as it makes pushes, and faster: each from a user of many, with a MsgId of its own.

    Args:
        mode: "safe" or "plain".
    """

    def __init__(self, mode: str) -> None:
        self._cipher = ReusedCipher(AES_KEY, APPID) if mode == "safe" else None
        self._mixed = list(_mixed())

    def texts(self, count: int) -> list[Push]:
        """Make pushes of ordinary texts."""
        return [self.text(f"{FILLER} {number:04}") for number in range(count)]

    def mixed(self, count: int) -> list[Push]:
        """Make pushes of all kinds in turn."""
        kinds = (self._mixed[number % len(self._mixed)] for number in range(count))
        return [self._push(msg_type, dict(elements)) for msg_type, elements in kinds]

    def text(self, content: str) -> Push:
        """Make the push of one text."""
        return self._push("text", {"Content": content})

    def seal(self, xml: bytes, expected: str = "") -> Push:
        """Make a push of a packet, whatever it says."""
        signed = [("timestamp", str(int(time.time()))), ("nonce", str(random.randrange(10**9, 10**10)))]
        values = [value for _, value in signed]
        query = [("signature", sign(TOKEN, *values)), *signed, ("openid", "oBenchUser")]
        if self._cipher is None:
            return Push(urlencode(query), xml, expected)
        encrypted = self._cipher.encrypt(xml)
        query += [("encrypt_type", "aes"), ("msg_signature", sign(TOKEN, *values, encrypted))]
        return Push(urlencode(query), write_xml({"ToUserName": ACCOUNT, "Encrypt": encrypted}).encode(), expected)

    def _push(self, msg_type: str, elements: dict[str, Any]) -> Push:
        said = "" if elements.get("Event") == "VIEW" else answer(msg_type, elements.get("Content", ""))
        if msg_type != "event":
            elements["MsgId"] = new_msg_id()
        openid = f"oBenchUser{random.randrange(USERS):018}"
        head = {"ToUserName": ACCOUNT, "FromUserName": openid, "CreateTime": int(time.time()), "MsgType": msg_type}
        return self.seal(write_xml({**head, **elements}).encode(), said)


def request_of(push: Push) -> bytes:
    """Return what goes over the wire."""
    head = (
        f"POST {CALLBACK}?{push.query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/4.0\r\nAccept: */*\r\n"
        f"Content-Type: text/xml\r\nContent-Length: {len(push.body)}\r\n\r\n"
    )
    return head.encode() + push.body


_config = Config()


def environ_of(push: Push) -> dict[str, Any]:
    """Return what gunicorn's threaded workers make of a push."""
    request = next(iter(RequestParser(_config, [request_of(push)], ("127.0.0.1", 50_000))))
    _, environ = create(request, None, ("127.0.0.1", 50_000), ("127.0.0.1", 80), _config)
    return {**environ, "wsgi.multithread": True}


@dataclass(frozen=True)
class Sent:
    """What came of some pushes.

    Attributes:
        cpu: The CPU seconds that the whole process spent on each.
        statuses: Their HTTP statuses.
        last: The body of the last answer.
    """

    cpu: float
    statuses: set[str]
    last: bytes


def send(app: WsgiApp, pushes: list[Push]) -> Sent:
    """Make requests to a WSGI application, one after the other, as a server does."""
    environs = [environ_of(push) for push in pushes]
    statuses: list[str] = []
    last = b""

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        statuses.append(status)

    begun = time.process_time()
    for environ in environs:
        chunks = app(environ, start_response)
        last = b"".join(chunks)
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    spent = time.process_time() - begun
    return Sent(spent / len(pushes), set(statuses), last)


class AnswerError(Exception):
    """A candidate does not do what it is measured for."""


def check(app: WsgiApp, push: Push, mode: str) -> None:
    """Send one push and look at the answer.

    Raises:
        AnswerError: It is not what the handler said, to the user who wrote, sealed as WeChat wants it.
    """
    sent = send(app, [push])
    check_answer(sent, push, mode)


def check_answer(sent: Sent, push: Push, mode: str) -> None:
    """Look at the last answer of `sent`, which is to *push*.

    Raises:
        AnswerError: As of `check`.
    """
    if sent.statuses != {"200 OK"}:
        raise AnswerError(f"answered {sent.statuses}")
    if not push.expected:
        if sent.last != b"success":
            raise AnswerError(f"{sent.last[:100]!r} is no acknowledgement")
        return
    try:
        found = open_reply(sent.last, mode)
    except (ET.ParseError, ValueError) as exc:
        raise AnswerError(f"{sent.last[:100]!r} cannot be read: {exc}") from exc
    if found.get("Content") != push.expected or not found.get("ToUserName", "").startswith("oBenchUser"):
        raise AnswerError(f"{found} instead of {push.expected!r}")


def open_reply(body: bytes, mode: str) -> dict[str, str]:
    """Return the elements of a reply.

    Raises:
        ValueError: Its signature or its ciphertext is not good.
    """
    found = {element.tag: element.text or "" for element in ET.fromstring(body)}
    if mode == "safe":
        signed = sign(TOKEN, found["TimeStamp"], found["Nonce"], found["Encrypt"])
        if signed != found["MsgSignature"]:
            raise ValueError("MsgSignature")
        plain = Cipher(AES_KEY, APPID).decrypt(found["Encrypt"])
        found = {element.tag: element.text or "" for element in ET.fromstring(plain)}
    return found
