"""The public face as a user's type checker sees it; ``mypy --strict`` reads this file, nobody runs it.

Where a comment tells the checker to ignore a mistake, it has to find one: strict mode complains of a comment too many.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from flask import Flask

from wx_mp_svr import (
    Article,
    ClickEvent,
    ConfigError,
    EmptyRspMsg,
    EventReqMsg,
    ImageReqMsg,
    ImageRspMsg,
    LinkReqMsg,
    LocationEvent,
    LocationReqMsg,
    MusicRspMsg,
    NewsRspMsg,
    Reply,
    ReqMsg,
    RspMsg,
    ScanEvent,
    Session,
    ShortVideoReqMsg,
    SubscribeEvent,
    TemplateSendJobFinishEvent,
    TextReqMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoReqMsg,
    VideoRspMsg,
    ViewEvent,
    VoiceReqMsg,
    VoiceRspMsg,
    WxMpServer,
)

# -- by subclass; what a handler returns may be as narrow as its author likes -------------------------------------------
from wx_mp_svr.testing import FakeWeChat


class Bot(WxMpServer):
    def on_message(self, req: ReqMsg) -> RspMsg | str | None:
        match req:
            case TextReqMsg(content="帮助"):
                return "发送文字、图片或语音"
            case TextReqMsg(content=text):
                shouted: str = text.upper()
                return shouted
            case ImageReqMsg(media_id=media):
                return ImageRspMsg(media)
            case VoiceReqMsg(media_id=media, recognition=said):
                return VoiceRspMsg(media_id=media) if not said else TextRspMsg(content=said)
            case LocationReqMsg(location_x=x, location_y=y) if x is not None and y is not None:
                return f"{x:.1f}, {y:.1f}"
        return None

    def on_subscribe(self, event: SubscribeEvent) -> str:
        scene: str = event.scene
        return f"欢迎关注 {event.openid} {scene}"

    def on_event(self, event: EventReqMsg) -> NewsRspMsg | EmptyRspMsg:
        if isinstance(event, ClickEvent) and event.event_key == "NEWS":
            return NewsRspMsg([Article("标题", description="描述", pic_url="", url="")])
        return EmptyRspMsg()

    def on_error(self, exc: Exception, req: ReqMsg) -> str | None:
        return None if req.create_time is None else type(exc).__name__

    def on_late_reply(self, req: ReqMsg, reply: RspMsg) -> None:
        if isinstance(reply, TextRspMsg):
            print(req.openid, reply.content)


class AsyncBot(WxMpServer):
    async def on_message(self, req: ReqMsg) -> str:
        await asyncio.sleep(0)
        return req.from_user_name

    async def on_subscribe(self, event: SubscribeEvent) -> list[Article]:
        return [Article(event.ticket)]

    async def on_event(self, event: EventReqMsg) -> None:
        await asyncio.sleep(0)

    async def on_error(self, exc: Exception, req: ReqMsg) -> TextRspMsg:
        return TextRspMsg(str(exc))

    async def on_late_reply(self, req: ReqMsg, reply: RspMsg) -> None:
        await asyncio.sleep(0)


class StreamingBot(WxMpServer):
    def on_message(self, req: ReqMsg) -> Iterator[str]:
        yield req.msg_type
        yield req.msg_id

    async def on_subscribe(self, event: SubscribeEvent) -> AsyncIterator[str]:
        yield "欢迎"
        yield event.scene


class TextOnlyBot(WxMpServer):
    def on_message(self, message: TextReqMsg) -> str:  # the name is the author's
        return message.content


# -- by argument -------------------------------------------------------------------------------------------------------


def echo(req: ReqMsg) -> str:
    return req.content if isinstance(req, TextReqMsg) else str(req.raw.get("MediaId", ""))


def welcome(event: SubscribeEvent) -> Article:
    return Article(title=event.event_key)


async def later(req: ReqMsg) -> list[Article]:
    return [Article(req.msg_type, url=req.msg_id)]


def spell(req: TextReqMsg) -> Iterator[str]:
    yield from req.content


def hand_over(req: ReqMsg, reply: RspMsg) -> None:
    print(req.openid, reply.msg_type)


def enqueue(job: dict[str, Any]) -> None:
    key: str = job["key"]
    print(key)


def by_argument() -> WxMpServer:
    return WxMpServer(
        on_message=echo,
        on_subscribe=welcome,
        on_event=later,
        on_error=lambda exc, req: None,
        on_late_reply=hand_over,
        runner=enqueue,
        appid="wx1234567890abcdef",
        token="token",
        mode="plain",
        window=300,
    )


def streaming_by_argument() -> WxMpServer:
    return WxMpServer(on_message=spell, on_subscribe=None, on_error=None, on_late_reply=None, runner=None, app=None)


# -- by decorator ------------------------------------------------------------------------------------------------------


def by_decorator() -> WxMpServer:
    server = WxMpServer(env_prefix="WX_SECOND_")

    @server.on_message
    def answer(req: ReqMsg) -> MusicRspMsg:
        return MusicRspMsg("thumb", title="t", description="d", music_url="http://x/", hq_music_url="http://x/")

    @server.on_subscribe
    async def greet(event: SubscribeEvent) -> VideoRspMsg:
        return VideoRspMsg("media", "title", "description")

    @server.on_event
    def hear(event: EventReqMsg) -> None:
        print(event.event, event.raw)

    @server.on_error
    def sorry(exc: Exception, req: ReqMsg) -> TransferCustomerServiceRspMsg:
        return TransferCustomerServiceRspMsg("agent@account")

    @server.on_late_reply
    async def late(req: ReqMsg, reply: RspMsg) -> None:
        await asyncio.sleep(0)

    return server


def by_route(server: WxMpServer) -> None:
    @server.text("帮助", "?", re.compile(r"天气\s*(?P<city>.*)"))
    def weather(req: TextReqMsg, city: str | None = None) -> str:
        return f"{city or req.content}：晴"

    @server.text(re.compile("新闻"))
    async def news(req: TextReqMsg) -> NewsRspMsg:
        return NewsRspMsg((Article("标题"),))

    @server.text("背诗")
    def poem(req: TextReqMsg) -> Iterator[str]:
        yield "床前明月光，"
        yield "疑是地上霜。"

    @server.text
    async def chat(req: TextReqMsg) -> AsyncIterator[str]:
        async with req.session as session:
            session["count"] = session.get("count", 0) + 1
        yield req.content

    @server.image
    def picture(req: ImageReqMsg) -> ImageRspMsg | Article:
        return Article("图片", pic_url=req.pic_url) if req.pic_url else ImageRspMsg(req.media_id)

    @server.voice
    def voice(req: VoiceReqMsg) -> VoiceRspMsg:
        return VoiceRspMsg(req.media_id)

    @server.video
    def video(req: VideoReqMsg | ShortVideoReqMsg) -> VideoRspMsg:
        return VideoRspMsg(req.media_id, title="t")

    @server.location
    async def place(req: LocationReqMsg) -> list[Article]:
        return [Article(req.label)]

    @server.link
    def link(req: LinkReqMsg) -> None:
        print(req.title, req.url)

    @server.event("CLICK", key="V1001")
    def today(event: ClickEvent) -> list[Article]:
        return [Article("今日"), Article("昨日")]

    @server.event("VIEW")
    def view(event: ViewEvent) -> EmptyRspMsg:
        return EmptyRspMsg()

    @server.event("SCAN")
    @server.event("subscribe", key="qrscene_shop")
    async def scan(event: ScanEvent | SubscribeEvent) -> str:
        return event.scene

    @server.event("LOCATION")
    def where(event: LocationEvent) -> None:
        degrees: float | None = event.latitude
        print(degrees)

    @server.event("TEMPLATESENDJOBFINISH")
    def sent(event: TemplateSendJobFinishEvent) -> None:
        status: str = event.status
        print(status)

    # What a decorator gives back is the function itself, whose type is kept.
    forecast: str = weather(TextReqMsg(content="天气"), city="北京")
    coming: Awaitable[NewsRspMsg] = news(TextReqMsg(content="新闻"))
    pieces: Iterator[str] = poem(TextReqMsg(content="背诗"))
    answer: AsyncIterator[str] = chat(TextReqMsg(content="你好"))
    shown: ImageRspMsg | Article = picture(ImageReqMsg(media_id="m"))
    said: VoiceRspMsg = voice(VoiceReqMsg(media_id="m"))
    items: list[Article] = today(ClickEvent(event_key="V1001"))
    scanned: Awaitable[str] = scan(ScanEvent(event_key="1"))
    print(forecast, coming, pieces, answer, shown, said, items, scanned)


# -- what a bot remembers ----------------------------------------------------------------------------------------------


def remember(req: ReqMsg) -> str:
    session: Session = req.session
    session["name"] = req.openid
    with req.session as held:
        count: int = held.get("count", 0) + 1
        held["count"] = count
        held.update(last=req.msg_id)
    req.session.setdefault("history", []).append(count)
    del req.session["name"]
    names: list[str] = sorted(req.session)
    return ", ".join(names) if "count" in req.session else str(len(req.session))


async def remember_later(req: ReqMsg) -> str:
    async with req.session as session:
        history: list[str] = session.pop("history", [])
        session.clear()
    return "".join(history)


# -- around the handlers -----------------------------------------------------------------------------------------------


def mounted() -> Flask:
    app = Flask(__name__)
    server = WxMpServer(on_message=echo, app=None)
    try:
        server.init_app(app)
    except ConfigError as exc:
        raise SystemExit("\n".join(chinese for _, _, chinese in exc.problems)) from exc
    WxMpServer(app=app, env_prefix="WX_SECOND_", path="/second")
    return app


def queued(server: WxMpServer) -> None:
    def work(job: dict[str, Any]) -> None:
        server.run_job(job)

    server.runner = work
    server.runner = lambda job: len(job)  # a queue's own result is nobody's business
    runner: Callable[[dict[str, Any]], Any] | None = server.runner
    server.runner = None
    print(runner)


def tested(server: WxMpServer) -> None:
    wechat = server.test_client(time_scale=0.1, max_held=1)
    result = wechat.send_text("你好", openid="oAnother")
    content: str = result.content
    anna: FakeWeChat = wechat.user("anna")
    whole: str = anna.read(result)
    kept: dict[str, Any] = anna.session
    titles: list[str] = [article.title for article in result.articles]
    print(whole, kept, titles, anna.talk)
    statuses: list[int | None] = [attempt.status for attempt in result.tries]
    complaints: list[str] = [check.detail for check in result.checks if check.level != "ok"]
    words: list[str] = [link.words for link in wechat.tap(result).links]
    fields: dict[str, Any] = result.fields
    media: str = wechat.send_image("media").media_id
    kind: str = wechat.send_event("CLICK", {"EventKey": "V1001"}).type
    seconds: float = wechat.subscribe("shop").elapsed
    stats: dict[str, Any] = server.stats()
    print(content, statuses, complaints, words, fields, media, kind, seconds, stats)


# -- what the checker finds --------------------------------------------------------------------------------------------


def for_text(req: TextReqMsg) -> str:
    return req.content


def wrong_return(req: TextReqMsg) -> int:
    return len(req.content)


def any_reply(req: ReqMsg) -> Reply:
    return "好" if isinstance(req, TextReqMsg) else None


def with_parentheses(server: WxMpServer) -> None:
    server.image()(lambda req: req.media_id)
    server.text()(for_text)
    server.on_message()(any_reply)
    WxMpServer(on_message=any_reply, token="abc", port=80, slow_text=None, hold=4)


def wrong(server: WxMpServer, req: ReqMsg) -> None:
    TextRspMsg(5)  # type: ignore[arg-type]
    TextRspMsg("a").content = "b"  # type: ignore[misc]
    ImageRspMsg()  # type: ignore[call-arg]
    NewsRspMsg(Article("a"))  # type: ignore[arg-type]
    NewsRspMsg(["a"])  # type: ignore[list-item]
    Article("a", link="http://a/")  # type: ignore[call-arg]
    WxMpServer(on_message="text")  # type: ignore[arg-type]
    server.text(5)  # type: ignore[call-overload]
    server.image("text")  # type: ignore[call-overload]
    server.image(for_text)  # type: ignore[type-var]
    server.text(wrong_return)  # type: ignore[type-var]
    server.text("帮助")(wrong_return)  # type: ignore[type-var]
    server.event("CLICK")(wrong_return)  # type: ignore[type-var]
    WxMpServer(tokn="abc")  # type: ignore[call-arg]
    WxMpServer(port="80")  # type: ignore[arg-type]
    WxMpServer(on_message=wrong_return)  # type: ignore[arg-type]
    server.event(echo)  # type: ignore[arg-type]
    server.runner = "queue"  # type: ignore[assignment]
    server.run(prt=80)  # type: ignore[call-arg]
    print(req.content)  # type: ignore[attr-defined]
    req.msg_id = "1"  # type: ignore[misc]
    req.session[5] = "five"  # type: ignore[index]


if __name__ == "__main__":
    Bot().run()
    AsyncBot().run("127.0.0.1", 5001, debug=False)
