"""Painting takes half a minute; the picture waits behind the link."""

import time

from wx_mp_svr import ImageRspMsg, WxMpServer

server = WxMpServer(token="Bots123", store="memory:", slow_text="正在作画，请稍后点击：")
sleep = time.sleep  # a test puts its own here


@server.on_message
def paint(req):
    sleep(30)
    return ImageRspMsg(f"painting of {req.content}")
