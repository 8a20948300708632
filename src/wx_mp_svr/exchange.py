"""The path of a push, top to bottom: query + body -> answer.

    request -> verify -> decrypt -> parse -> claim -> handler -> reply -> encrypt -> response

No Flask, no clock, no global: read it and you have read the program.
"""

import logging
from typing import NamedTuple

from .delivery.arrivals import Arrivals
from .errors import ClockSkew, Refused, TooLarge
from .messages import read_msg
from .wire import HELLO, xmlio
from .wire.envelope import Envelope, Params, read_params

log = logging.getLogger("wx_mp_svr")

TEXT = "text/plain; charset=utf-8"
XML = "text/xml; charset=utf-8"


CLOUD = (
    "WeChat's cloud hosting (x-wx-source) pushes without a signature, which anybody could forge: use a URL of your own / "
    "微信云托管的消息推送没有签名，无法验证：请在公众平台填写自己的服务器地址"
)
NO_BODY = "the body got lost on the way / 请求体是空的：反向代理或中间件丢掉了它？"
WECOM = "a GET with msg_signature is WeCom's, and this is for Official Accounts / 这是企业微信的回调，本框架用于公众号"


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
        arrivals: Runs handlers, once per push.
        window: How far a timestamp may be from our clock, in seconds; 0 for any.
        max_body: The size limit in bytes.
    """

    def __init__(self, envelope: Envelope, arrivals: Arrivals, *, window: int, max_body: int) -> None:
        self._envelope = envelope
        self._arrivals = arrivals
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
        if not query:  # somebody opened the URL in a browser
            log.info("a GET without a query; if it was WeChat's, a proxy has dropped it / 收到不带参数的 GET")
            return Answer(200, HELLO.encode())
        try:
            params = read_params(query)
            self._check_clock(params, now)
            echostr = self._envelope.verify_url(params)
        except Refused as err:
            names = {pair.partition("=")[0] for pair in query.split("&")}
            if "msg_signature" in names and "signature" not in names:
                err.hint = WECOM
            return self._refuse(err, now, remote)
        log.info("verified the URL for WeChat")
        return Answer(200, echostr.encode("utf-8", "surrogateescape"))

    def answer(
        self,
        query: str,
        body: bytes,
        *,
        now: float,
        remote: str = "-",
        threaded: bool = True,
        from_cloud: bool = False,
    ) -> Answer:
        """Answer a push.

        Args:
            query: The query string as it came.
            body: The body as it came, read up to one byte over the limit.
            now: Unix time in seconds.
            remote: Who asks, for the log.
            threaded: Whether other threads serve the requests that come while this one waits.
            from_cloud: Whether it says that WeChat's cloud hosting has sent it, which signs nothing.
        """
        try:
            if len(body) > self._max_body:
                raise TooLarge(f"over {self._max_body} bytes")
            params = read_params(query)
            self._check_clock(params, now)
            letter = self._envelope.open(params, body)  # verify, decrypt
            req = read_msg(xmlio.load(letter.xml, authentic=True))  # parse
        except Refused as err:
            if from_cloud:
                err.hint = CLOUD
            elif not body:
                err.hint = NO_BODY
            return self._refuse(err, now, remote)
        if req is None:
            log.warning(
                "a push without MsgType, FromUserName or ToUserName, acknowledged / "
                "收到缺少 MsgType、FromUserName 或 ToUserName 的推送，只确认收到"
            )
            return ACK
        # claim, handler, reply
        outcome = self._arrivals.answer(req, letter.xml, timestamp=int(params.timestamp), threaded=threaded)
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
        why = f"; probably: {err.hint}" if err.hint else ""
        if count <= self.BURST:
            log.warning("refused reason=%s remote=%s: %s%s", err.reason, remote, err, why if count == 1 else "")
        if count == self.BURST:
            # With the hint once more: the first line may have been a stranger's, long before WeChat came.
            log.warning("refused reason=%s: no more of these lines for this minute%s", err.reason, why)
