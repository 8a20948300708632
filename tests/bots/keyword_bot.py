"""Keywords and patterns, with a table of answers."""

import re

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")
ANSWERS = {"价格": "99 元", "地址": "西湖区"}


@server.text(*ANSWERS)
def answer(req):
    return ANSWERS[req.content.strip()]


@server.text(re.compile(r"查(?P<what>\S+)\s*(?P<day>今天|明天)?"))
def look_up(req, what, day):
    return f"{what}：{day or '今天'}"


@server.on_message
def otherwise(req):
    return "试试「价格」或「查天气」"
