"""A WeChat to try a bot with: signs, encrypts and pushes, three times if it must, and opens the replies."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from ..clock import REAL, Clock, FastClock
from ..config import Settings
from ..wire import Mode
from ..wire.crypto import Cipher
from ..wire.signature import sign
from .judge import Check, Judge, Link, Result, Try, is_chunked, split_links
from .line import HttpTarget, Line, WsgiTarget
from .packets import first, new_msg_id, new_second, write_xml

FAULT_NOTICE = "该公众号提供的服务出现故障，请稍后再试"
DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong between WeChat and the bot.

    Attributes:
        delay: Seconds that each request is under way; they count among WeChat's 5.
        drop: The tries, from 1, that never arrive.
        skew: Seconds that WeChat's wall clock is ahead of ours.
    """

    delay: float = 0.0
    drop: frozenset[int] = frozenset()
    skew: float = 0.0


@dataclass(eq=False, repr=False)  # repr=False: it holds secrets
class FakeWeChat:
    """Plays WeChat against a bot.

    Args:
        target: A WSGI application, or the URL that stands in the account's server settings.
        token: The account's Token.
        appid: Its AppID; for the AES modes.
        aes_key: Its EncodingAESKey; for the AES modes.
        mode: "plain", "compatible" or "safe"; by default safe with a key, plain without.
        path: Where a WSGI application expects its pushes.
        openid: The user who sends, unless a call names another one.
        account: The account's original ID.
        time_scale: Multiplies WeChat's 5 seconds, for a bot that keeps real time.
        tries: How often WeChat pushes in all.
        clock: WeChat's, and where handlers may sleep.
        on_try: Called with (result, try) after each delivery, for whoever wants to watch.
        faults: What goes wrong on the way.
        failures: Where the bot's handlers leave what they raise, each with its user: it is raised in what that user does
            next, or while time passes.

    Attributes:
        talk: What this user has sent, and what became of it.
    """

    target: Any
    _: KW_ONLY
    token: str
    appid: str = ""
    aes_key: str = ""
    mode: Mode | None = None
    path: str = "/wx_mp_cb"
    openid: str = "oFakeUser0000000000000000001"
    account: str = "gh_fakeaccount1"
    time_scale: float = 1.0
    tries: int = 3
    clock: Clock = REAL
    on_try: Callable[[Result, Try], None] | None = None
    faults: Faults = Faults()
    failures: list[tuple[str, BaseException]] | None = None
    talk: list[Result] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._users: dict[str, FakeWeChat] = {}
        self._home = threading.get_ident()
        self.mode = self.mode or ("safe" if self.aes_key else "plain")
        self._cipher = Cipher(self.aes_key, self.appid) if self.aes_key else None
        if self.clock is REAL and self.time_scale != 1.0:
            self.clock = FastClock(1 / self.time_scale, wall=REAL.wall)
        http = isinstance(self.target, str)
        self._post = HttpTarget(self.target) if http else WsgiTarget(self.target, self.path)

    @property
    def server(self) -> Any:
        """The server under test: of `WxMpServer.test_client`, the copy that it has made."""
        return self.target

    def user(self, name: str) -> "FakeWeChat":
        """Return the same WeChat in the hands of another user, with a talk and a session of their own.

        Args:
            name: Any; the same name is the same user.
        """
        if name not in self._users:
            self._users[name] = replace(self, openid=f"o{name}")
            self._users[name]._users = self._users
        return self._users[name]

    @property
    def session(self) -> dict[str, Any]:
        """What the bot remembers of this user (of `WxMpServer.test_client`)."""
        with self.clock.foreground(), self.server.session_of(self.account, self.openid) as session:
            return dict(session)

    # -- what a user does --------------------------------------------------------------------------------------------

    def send_text(self, content: str, *, bizmsgmenuid: str = "", openid: str = "") -> Result:
        """Send a text, as if typed."""
        elements = {"bizmsgmenuid": bizmsgmenuid} if bizmsgmenuid else {}
        return self._send_msg("text", openid, {"Content": content, **elements})

    def send_image(
        self, media_id: str = "media_id", pic_url: str = "http://mmbiz.qpic.cn/fake", *, openid: str = ""
    ) -> Result:
        """Send an image."""
        return self._send_msg("image", openid, {"PicUrl": pic_url, "MediaId": media_id})

    def send_voice(
        self, media_id: str = "media_id", voice_format: str = "amr", recognition: str = "", *, openid: str = ""
    ) -> Result:
        """Send a recording."""
        elements = {"MediaId": media_id, "Format": voice_format, "MediaId16K": f"{media_id}_16k"}
        return self._send_msg("voice", openid, {**elements, **({"Recognition": recognition} if recognition else {})})

    def send_video(
        self, media_id: str = "media_id", thumb_media_id: str = "thumb_media_id", *, openid: str = ""
    ) -> Result:
        """Send a video."""
        return self._send_msg("video", openid, {"MediaId": media_id, "ThumbMediaId": thumb_media_id})

    def send_shortvideo(
        self, media_id: str = "media_id", thumb_media_id: str = "thumb_media_id", *, openid: str = ""
    ) -> Result:
        """Send a short video."""
        return self._send_msg("shortvideo", openid, {"MediaId": media_id, "ThumbMediaId": thumb_media_id})

    def send_location(
        self,
        latitude: float = 23.13,
        longitude: float = 113.36,
        label: str = "位置",
        scale: int = 20,
        *,
        openid: str = "",
    ) -> Result:
        """Send a place. WeChat's X is the latitude."""
        where = {"Location_X": f"{latitude:.6f}", "Location_Y": f"{longitude:.6f}"}
        return self._send_msg("location", openid, {**where, "Scale": scale, "Label": label})

    def send_link(
        self, title: str, description: str = "", url: str = "https://example.com", *, openid: str = ""
    ) -> Result:
        """Send a link."""
        return self._send_msg("link", openid, {"Title": title, "Description": description, "Url": url})

    def subscribe(self, scene: str = "", *, openid: str = "") -> Result:
        """Follow the account, perhaps by the QR code of a scene."""
        elements = {"EventKey": f"qrscene_{scene}", "Ticket": "TICKET"} if scene else {"EventKey": ""}
        return self.send_event("subscribe", elements, openid=openid)

    def unsubscribe(self, *, openid: str = "") -> Result:
        """Unfollow the account."""
        return self.send_event("unsubscribe", {"EventKey": ""}, openid=openid)

    def send_event(
        self, name: str, elements: Mapping[str, Any] | str | None = None, *, key: str | None = None, openid: str = ""
    ) -> Result:
        """Let an event happen: ``send_event("CLICK", key="V1001")``.

        Args:
            name: WeChat's name (``CLICK``).
            elements: Its own elements by WeChat's names; a dict makes children, a list repeats. A text is its key.
            key: Its EventKey.
            openid: Whose.
        """
        if isinstance(elements, str):
            elements, key = None, elements
        own = {**({} if key is None else {"EventKey": key}), **(elements or {})}
        return self.send_xml(self.build("event", {"Event": name, **own}, openid=openid))

    def tap(self, link: "Link | Result", *, openid: str = "") -> Result:
        """Tap a menu link (of a result: its last one), which sends its words as a text.

        Raises:
            ValueError: There is no such link.
            TypeError: It is none.
        """
        if not isinstance(link, Result | Link):
            raise TypeError(
                f"tap takes a link or a result, not {link!r}; to type words use send_text / 输入文字请用 send_text"
            )
        if isinstance(link, Result):
            openid = openid or first(link.xml, "FromUserName")  # whose it is
            links = [found for found in link.links if found.words]
            if not links:
                raise ValueError(f"the reply has no link to tap: {link.content!r}")
            link = links[-1]
        return self.send_text(link.words, bizmsgmenuid=link.menu_id, openid=openid)

    def read(self, result: Result) -> str:
        """Tap through to the end of an answer, and return its whole text, without slow text and links.

        Pages follow each other as the user reads them: where a page ends within a paragraph, there is a blank line.
        """
        own: Any = getattr(self.server, "settings", Settings())
        said = ""
        while True:
            words, link = _until_link(result.content, own.ready_text)
            if words not in (own.slow_text, own.end_text):
                said += words
            if link is None:
                return said.rstrip()
            result = self.tap(link, openid=first(result.xml, "FromUserName"))

    def _send_msg(self, msg_type: str, openid: str, elements: Mapping[str, Any]) -> Result:
        return self.send_xml(self.build(msg_type, {**elements, "MsgId": new_msg_id()}, openid=openid))

    def sleep(self, seconds: float) -> Any:
        """Sleep on this client's clock: ``wechat.sleep(7)`` in a `def` handler, ``await wechat.sleep(7)`` in an async one.

        In the test itself it lets time pass.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.clock.sleep(seconds)
            if threading.get_ident() == self._home:  # not in a handler that sleeps
                self._raise_failure()
            return None
        return self.clock.sleep_async(seconds)

    def build(self, msg_type: str, elements: Mapping[str, Any], *, openid: str = "") -> str:
        """Build a plain packet."""
        openid = openid or self.openid
        created = self._seconds() if "MsgId" in elements else new_second(openid, self._seconds())
        head = {"ToUserName": self.account, "FromUserName": openid, "CreateTime": created}
        return write_xml({**head, "MsgType": msg_type, **elements})

    # -- what WeChat does --------------------------------------------------------------------------------------------

    def verify_url(self, echostr: str = "") -> Try:
        """Ask, as on saving the settings, whether the URL is this account's."""
        echostr = echostr or str(secrets.randbelow(10**19))
        query = urlencode([*self._signed(), ("echostr", echostr)])
        attempt = Try(1, 0.0, query=query)
        with self.clock.foreground():
            self._deliver("GET", attempt)
        if attempt.status is not None:
            right = attempt.status == 200 and attempt.reply == echostr.encode() and not is_chunked(attempt)
            attempt.checks.append(Check("echostr", "ok" if right else "wrong", f"{attempt.reply[:80]!r}"))
        return attempt

    def send_xml(self, xml: str, *, sealed: tuple[str, bytes] | None = None) -> Result:
        """Push a packet: 5 seconds, three tries with the same timestamp, nonce and body, the fault notice.

        Args:
            xml: The plain packet.
            sealed: Its query string and body as `seal` made them, to push the very same request once more.
        """
        with self.clock.foreground():
            result = self._push(Result(xml), *(sealed or self.seal(xml)))
        self.talk.append(result)
        self._raise_failure(first(xml, "FromUserName"))
        return result

    def _raise_failure(self, openid: str = "") -> None:
        for failure in self.failures or []:
            if openid in ("", failure[0]):
                self.failures.remove(failure)  # type: ignore[union-attr]
                raise failure[1]

    def _push(self, result: Result, query: str, body: bytes) -> Result:
        begun = self.clock.now()
        for number in range(1, self.tries + 1):
            attempt = Try(number, self.clock.now() - begun, query=query, body=body)
            self._deliver("POST", attempt)
            result.tries.append(attempt)
            if attempt.status is not None:
                self._judge(attempt, result)
            if self.on_try:
                self.on_try(result, attempt)
            if attempt.good:
                break
        else:
            result.type, result.content, result.fields = "fault", FAULT_NOTICE, {}
        result.elapsed = self.clock.now() - begun
        return result

    def seal(self, xml: str) -> tuple[str, bytes]:
        """Return the query string and the body of a push in this account's mode."""
        params = self._signed()
        (_, timestamp), (_, nonce) = params[1:]
        if openid := first(xml, "FromUserName"):
            params.append(("openid", openid))
        if self.mode == "plain" or self._cipher is None:
            return urlencode(params), xml.encode()
        encrypted = self._cipher.encrypt(xml.encode())
        params += [("encrypt_type", "aes"), ("msg_signature", sign(self.token, timestamp, nonce, encrypted))]
        if self.mode == "compatible":
            body = xml.rstrip().removesuffix("</xml>") + f"<Encrypt><![CDATA[{encrypted}]]></Encrypt>\n</xml>"
        else:
            body = write_xml({"ToUserName": first(xml, "ToUserName"), "Encrypt": encrypted})
        return urlencode(params), body.encode()

    def _seconds(self) -> int:
        return int(self.clock.wall() + self.faults.skew)

    def _signed(self) -> list[tuple[str, str]]:
        timestamp, nonce = str(self._seconds()), str(secrets.randbelow(10**10))
        return [("signature", sign(self.token, timestamp, nonce)), ("timestamp", timestamp), ("nonce", nonce)]

    def _deliver(self, method: str, attempt: Try) -> None:
        """Make one request, and hang up after WeChat's 5 seconds, connecting included."""
        clock = self.clock
        line = Line(clock)

        def call() -> None:
            lost = attempt.number in self.faults.drop
            if (self.faults.delay and line.hung_up.wait(self.faults.delay)) or lost:
                return
            try:
                self._post(method, attempt.query, attempt.body, line)
            except Exception as exc:
                line.error = f"{type(exc).__name__}: {exc}"
            line.end()

        begun = clock.now()
        clock.start(call, "fake-wechat")
        # Not by when this thread wakes up: on a busy machine that may be much later.
        in_time = line.ended.wait(DEADLINE_SECONDS) and line.ended_at - begun <= DEADLINE_SECONDS
        attempt.elapsed = (line.ended_at if in_time else clock.now()) - begun
        if not in_time:
            line.hang_up()
            attempt.error = "timeout"
        elif line.error:
            attempt.error = line.error
        else:
            attempt.status, attempt.headers, attempt.reply = line.status, line.headers, line.reply

    def _judge(self, attempt: Try, result: Result) -> None:
        """Look at an answer as strictly as WeChat does, and read it."""
        judge = Judge(self.token, self._cipher if self.mode != "plain" else None, result.xml)
        reply = judge.look(attempt)
        if attempt.good:
            result.fields = reply
            result.type = str(reply.get("MsgType", ""))
            result.content = str(reply.get("Content", ""))


def _until_link(content: str, ready_text: str) -> tuple[str, Link | None]:
    """Return a page's words up to the link that leads on, and that link; a mention of another answer is none."""
    words = ""
    for part in split_links(content):
        if isinstance(part, Link) and part.menu_id.startswith("wxmp-"):  # not one of the bot's own
            return (words.removesuffix(ready_text), None) if words.endswith(ready_text) else (words, part)
        words += part if isinstance(part, str) else part.label
    return words, None
