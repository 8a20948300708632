"""The path of a push, top to bottom: query + body -> answer.

    request -> verify -> decrypt -> parse -> claim -> handler -> reply -> encrypt -> response

No Flask, no clock, no global: read it and you have read the program.
"""

import logging
import time
from typing import NamedTuple

from . import xmlio
from .background import Background
from .envelope import Envelope, Params, read_params
from .errors import ClockSkew, Refused, TooLarge
from .kinds import read_msg

log = logging.getLogger("wx_mp_svr")

TEXT = "text/plain; charset=utf-8"
XML = "text/xml; charset=utf-8"

HELLO = "微信公众号服务运行正常。此地址供微信服务器回调，请填写到公众平台「服务器配置」的 URL 中。\n"


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT


ACK = Answer(200, b"success")  # never encrypted, in no mode
FORBIDDEN = Answer(403, b"forbidden")
TOO_LARGE = Answer(413, b"too large")
HANG_UP = Answer(503, b"")  # sent when WeChat has hung up already; it pushes again


class Exchange:
    """One request in, one answer out, for one account.

    Args:
        envelope: Opens pushes and seals replies.
        background: Runs handlers, once per push.
        window: How far a timestamp may be from our clock, in seconds; 0 for any.
        max_body: The size limit in bytes.
    """

    def __init__(self, envelope: Envelope, background: Background, *, window: int, max_body: int) -> None:
        self._envelope = envelope
        self._background = background
        self._window = window
        self._max_body = max_body
        self._refusals = RefusalLog()

    def verify_url(self, query: str, *, now: float, remote: str = "-") -> Answer:
        """Answer the GET with which WeChat asks, on saving the settings, whether this URL is ours.

        Args:
            query: The query string as it came.
            now: Unix time in seconds.
            remote: Who asks, for the log.
        """
        if not any(name in query for name in ("signature", "timestamp", "nonce", "echostr")):
            return Answer(200, HELLO.encode())  # somebody opened the URL in a browser
        try:
            params = read_params(query)
            self._check_clock(params, now)
            echostr = self._envelope.verify_url(params)
        except Refused as err:
            return self._refuse(err, now, remote)
        log.info("verified the URL for WeChat")
        return Answer(200, echostr.encode("utf-8", "surrogateescape"))

    def answer(self, query: str, body: bytes, *, now: float, remote: str = "-", threaded: bool = True) -> Answer:
        """Answer a push.

        Args:
            query: The query string as it came.
            body: The body as it came, read up to one byte over the limit.
            now: Unix time in seconds.
            remote: Who asks, for the log.
            threaded: Whether other threads serve the requests that come while this one waits.
        """
        begun = time.monotonic()
        try:
            if len(body) > self._max_body:
                raise TooLarge(f"over {self._max_body} bytes")
            params = read_params(query)
            self._check_clock(params, now)
            letter = self._envelope.open(params, body)  # verify, decrypt
            req = read_msg(xmlio.load(letter.xml, authentic=True))  # parse
        except Refused as err:
            return self._refuse(err, now, remote)
        if req is None:
            log.warning("a push without MsgType, FromUserName or ToUserName, acknowledged")
            return ACK
        # claim, handler, reply
        outcome = self._background.answer(req, letter.xml, timestamp=int(params.timestamp), threaded=threaded)
        if log.isEnabledFor(logging.INFO):
            kind, took = type(req).__name__, (time.monotonic() - begun) * 1000
            log.info("push kind=%s outcome=%s try=%d ms=%.0f", kind, outcome.how, outcome.tries, took)
        if outcome.xml is None:
            return HANG_UP
        if not outcome.xml:
            return ACK
        sealed = self._envelope.close(outcome.xml, letter.cipher, nonce=params.nonce, now=int(now))  # encrypt
        return Answer(200, sealed.encode(), XML)

    def _check_clock(self, params: Params, now: float) -> None:
        skew = int(params.timestamp) - int(now)
        if self._window and abs(skew) > self._window:
            raise ClockSkew(skew)

    def _refuse(self, err: Refused, now: float, remote: str) -> Answer:
        self._refusals.tell(err, now, remote)
        return TOO_LARGE if err.http_status == TOO_LARGE.status else FORBIDDEN


class RefusalLog:
    """Says why pushes are refused, without letting strangers fill the disk: `BURST` lines a minute for each reason."""

    BURST = 5

    def __init__(self) -> None:
        self._minutes: dict[str, tuple[int, int]] = {}  # by reason: which minute, how many in it

    def tell(self, err: Refused, now: float, remote: str) -> None:
        """Write one line, or count it when there were enough; nothing in it is the sender's text.

        Args:
            err: Why; its hint is said with the minute's first line of that reason.
            now: Unix time in seconds.
            remote: Who asked.
        """
        minute = int(now) // 60
        last, count = self._minutes.get(err.reason, (minute, 0))
        count = count + 1 if last == minute else 1
        self._minutes[err.reason] = (minute, count)
        if count <= self.BURST:
            why = f"; probably: {err.hint}" if err.hint and count == 1 else ""
            log.warning("refused reason=%s remote=%s: %s%s", err.reason, remote, err, why)
        if count == self.BURST:
            log.warning("refused reason=%s: no more of these lines for this minute", err.reason)
