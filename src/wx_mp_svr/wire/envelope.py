"""What WeChat posts <-> plain XML, in each mode.

Query and body in, plain XML out, and the way back. Joins signature and crypto; the order of its steps is the security of
this package. Knows nothing of HTTP, clocks or message kinds.
"""

import logging
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ..errors import BadCiphertext, BadParams, BadXml, Downgrade
from . import Mode, signature, xmlio
from .crypto import Cipher

log = logging.getLogger("wx_mp_svr")

MAX_QUERY = 4096  # bytes; WeChat's has about 200

_TIMESTAMP = re.compile(r"[0-9]{10}")
# The two elements that WeChat sends in safe mode.
_SAFE_BODY = re.compile(
    rb"\s*<xml>\s*<ToUserName><!\[CDATA\[[\w@.-]*\]\]></ToUserName>\s*"
    rb"<Encrypt><!\[CDATA\[([A-Za-z0-9+/]+={0,2})\]\]></Encrypt>\s*</xml>\s*"
)
_NONCE = re.compile(r"[!-~]{1,128}")
# What WeChat sends with a push, in its order: nothing twice, nothing percent-encoded.
_USUAL_QUERY = re.compile(
    r"signature=([0-9a-f]{40})&timestamp=([0-9]{10})&nonce=([0-9A-Za-z]{1,128})&openid=[0-9A-Za-z_-]{0,64}"
    r"(?:&encrypt_type=aes&msg_signature=([0-9a-f]{40}))?"
)


class Params(NamedTuple):
    """WeChat's query parameters; "" for what was not sent."""

    signature: str = ""
    timestamp: str = ""
    nonce: str = ""
    msg_signature: str = ""
    encrypt_type: str = ""
    echostr: str = ""


_PARAMS = frozenset(Params._fields)


def read_params(query: str) -> Params:
    """Read WeChat's parameters from a query string. Others (``openid``, the URL's own) are left alone.

    Raises:
        BadParams: One is given twice (two readers could see two different values), the timestamp is not 10 digits, or
            the nonce not 1 to 128 printable ASCII characters. Moving digits between the two, which the signature would
            not notice, is thereby bounded.
    """
    usual = _USUAL_QUERY.fullmatch(query)
    if usual is not None:
        signature, timestamp, nonce, msg_signature = usual.groups("")
        return Params(signature, timestamp, nonce, msg_signature, "aes" if msg_signature else "")
    if len(query) > MAX_QUERY:
        raise BadParams(f"the query is over {MAX_QUERY} bytes")
    found: dict[str, str] = {}
    quoted = "%" in query or "+" in query
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if quoted:
            name, value = _unquote(name), _unquote(value)
        if name in _PARAMS:
            if name in found:
                raise BadParams(f"{name} is given twice")
            found[name] = value
    params = Params(**found)
    if not _TIMESTAMP.fullmatch(params.timestamp) or not _NONCE.fullmatch(params.nonce):
        raise BadParams("timestamp or nonce is missing or not of its form")
    return params


def _unquote(value: str) -> str:
    # surrogateescape keeps bytes that are not UTF-8, so that an echostr goes back as it came.
    return unquote_to_bytes(value.replace("+", " ")).decode("utf-8", "surrogateescape")


class Letter(NamedTuple):
    """An opened push.

    Attributes:
        xml: The plain packet, authentic.
        cipher: What it was sealed with and the reply must be sealed with; None for plain.
    """

    xml: bytes
    cipher: Cipher | None


class Envelope:
    """Opens pushes and seals replies for one account.

    Args:
        token: The Token of the settings page.
        mode: From the configuration, never from the request.
        ciphers: The current key, then the previous one if it is kept; empty in plain mode.
    """

    def __init__(self, token: str, mode: Mode, ciphers: tuple[Cipher, ...] = ()) -> None:
        self._token = token
        self._mode = mode
        self._ciphers = ciphers

    def verify_url(self, params: Params) -> str:
        """Return the echostr that proves to WeChat that this URL is ours (all modes; the echostr is always plain).

        Raises:
            BadParams: There is no echostr.
            BadSignature: Whoever asks does not know our Token; the echostr is not for them.
        """
        signature.verify(params.signature, self._token, params.timestamp, params.nonce)
        if not params.echostr:
            raise BadParams("echostr is missing")
        return params.echostr

    def open(self, params: Params, body: bytes) -> Letter:
        """Verify and, in AES mode, decrypt a push.

        Raises:
            Refused: One of its leaves, whichever check fails first.
        """
        if self._mode == "plain":
            return self._open_plain(params, body)
        if self._mode == "safe" or self._claims_aes(params, body):
            return self._open_aes(params, body)
        return self._open_plain(params, body)

    def _claims_aes(self, params: Params, body: bytes) -> bool:
        # Any sign of AES means AES only, so that nobody talks a compatible server out of checking msg_signature.
        return params.encrypt_type == "aes" or bool(params.msg_signature) or b"<Encrypt" in body

    def _open_plain(self, params: Params, body: bytes) -> Letter:
        if self._mode == "plain" and (params.encrypt_type == "aes" or params.msg_signature):
            raise Downgrade("an AES push, but no EncodingAESKey is configured")
        signature.verify(params.signature, self._token, params.timestamp, params.nonce)
        return Letter(body, None)

    def _open_aes(self, params: Params, body: bytes) -> Letter:
        if self._mode == "safe" and params.encrypt_type != "aes":
            raise Downgrade("a plain push to a server in safe mode")
        encrypted = _encrypt_of(body)
        # `signature` is not looked at: it says nothing about the body, msg_signature does.
        signature.verify(params.msg_signature, self._token, params.timestamp, params.nonce, encrypted)
        current, *previous = self._ciphers
        try:
            return Letter(current.decrypt(encrypted), current)
        except BadCiphertext:
            if not previous:
                raise
        letter = Letter(previous[0].decrypt(encrypted), previous[0])
        log.info("opened a push with the previous EncodingAESKey")
        return letter

    def close(self, xml: str, cipher: Cipher | None, *, nonce: str, now: int) -> str:
        """Seal a reply.

        Args:
            xml: The plain reply.
            cipher: That of the letter which is answered; None leaves the reply plain.
            nonce: That of the request; WeChat's own example answers with it.
            now: Unix time in seconds.
        """
        if cipher is None:
            return xml
        encrypted = cipher.encrypt(xml.encode())
        msg_signature = signature.sign(self._token, str(now), nonce, encrypted)
        # TimeStamp and MsgSignature, unlike in the query: the spelling that WeChat wants in replies.
        return (
            f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt><MsgSignature><![CDATA[{msg_signature}]]></MsgSignature>"
            f"<TimeStamp>{now}</TimeStamp><Nonce>{xmlio.cdata(nonce)}</Nonce></xml>"
        )


def _encrypt_of(body: bytes) -> str:
    """Return the ciphertext in the outer XML.

    Raises:
        BadXml: The body is no XML, or `Encrypt` does not stand in it once.
    """
    usual = _SAFE_BODY.fullmatch(body)
    if usual is not None:  # no parser for bytes that nobody has authenticated yet
        return usual[1].decode()
    encrypted = xmlio.load(body).get("Encrypt", "")
    # An empty Encrypt would make msg_signature equal to the plain signature, which leaks from any access log.
    if not isinstance(encrypted, str) or not (encrypted := encrypted.strip()):
        raise BadXml("Encrypt stands once and is not empty")
    return encrypted
