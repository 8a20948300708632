"""The public face as a user's type checker sees it; ``mypy --strict`` reads this file, nobody runs it."""

import asyncio

from flask import Flask

from wx_mp_svr import (
    Article,
    ClickEvent,
    ConfigError,
    EmptyRspMsg,
    EventReqMsg,
    ImageReqMsg,
    ImageRspMsg,
    LocationReqMsg,
    MusicRspMsg,
    NewsRspMsg,
    ReqMsg,
    RspMsg,
    SubscribeEvent,
    TextReqMsg,
    TextRspMsg,
    TransferCustomerServiceRspMsg,
    VideoRspMsg,
    VoiceReqMsg,
    VoiceRspMsg,
    WxMpServer,
)


class Bot(WxMpServer):
    """By subclass; what a handler returns may be as narrow as its author likes."""

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


class AsyncBot(WxMpServer):
    async def on_message(self, req: ReqMsg) -> str:
        await asyncio.sleep(0)
        return req.from_user_name


def echo(req: ReqMsg) -> str:
    return req.content if isinstance(req, TextReqMsg) else str(req.raw.get("MediaId", ""))


def welcome(event: SubscribeEvent) -> Article:
    return Article(title=event.event_key)


async def later(req: ReqMsg) -> list[Article]:
    return [Article(req.msg_type, url=req.msg_id)]


def by_argument() -> WxMpServer:
    return WxMpServer(
        on_message=echo,
        on_subscribe=welcome,
        on_event=later,
        on_error=lambda exc, req: None,
        appid="wx1234567890abcdef",
        token="token",
        mode="plain",
        window=300,
    )


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

    return server


def mounted() -> Flask:
    app = Flask(__name__)
    server = WxMpServer(on_message=echo, app=None)
    try:
        server.init_app(app)
    except ConfigError as exc:
        raise SystemExit(str(exc)) from exc
    return app


if __name__ == "__main__":
    Bot().run()
    AsyncBot().run("127.0.0.1", 5001, debug=False)
