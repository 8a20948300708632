"""One handler that looks at the type, as programs for wechatpy do."""

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")


@server.on_message
def message(req):
    if req.msg_type == "text":
        return req.content[::-1]
    if req.msg_type == "location":
        return f"{req.location_x:.2f},{req.location_y:.2f}"
    return None


@server.on_event
def event(event):
    return f"事件 {event.event}" if event.event.lower() == "click" else None
