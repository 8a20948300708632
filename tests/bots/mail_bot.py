"""Notes go out by mail; an error is told kindly and reported."""

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")
outbox, reports = [], []


@server.on_message
def mail(req):
    if "@" not in req.content:
        raise ValueError("no address")
    outbox.append(req.content)
    return "已发送"


@server.on_error
def failed(exc, req):
    reports.append(str(exc))
    return "没有发出去：请写上邮箱地址"
