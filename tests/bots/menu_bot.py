"""A menu with keys, a scene on a poster, a welcome."""

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")


@server.event("CLICK", key="V1001")
def today(event):
    return "今日歌曲"


@server.event("CLICK")
def other(event):
    return f"按了 {event.event_key}"


@server.scan("42")
def poster(event):
    return "你从海报来"


@server.on_subscribe
def welcome(event):
    return "欢迎"
