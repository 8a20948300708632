"""关键词公众号（明文模式）：「你好」打招呼，其他文字复述，图片发回，其余只确认收到。运行 python keyword_bot.py。"""

import re
import time

from wx_mp_svr import ImageRspMsg, WxMpServer

server = WxMpServer(mode="plain")


@server.text(re.compile("你好"))
def hello(req):
    return f"hello!! \n {now()}"


@server.text
def repeat(req):
    return f"复述：{req.content} \n {now()}"


@server.image
def send_back(req):
    return ImageRspMsg(req.media_id)


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    server.run()
