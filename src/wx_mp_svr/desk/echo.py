"""The bot of ``wx-mp-svr demo``: text, image and voice come back, as with the article's demo account."""

from typing import Any

from ..req_msg import ImageReqMsg, TextReqMsg, VoiceReqMsg
from ..rsp_msg import ImageRspMsg, VoiceRspMsg
from ..server import WxMpServer


def echo(req: Any) -> Any:
    """Answer a message."""
    match req:
        case TextReqMsg(content=text):
            return text
        case ImageReqMsg(media_id=media):
            return ImageRspMsg(media)
        case VoiceReqMsg(media_id=media):
            return VoiceRspMsg(media)
    return "暂不支持ECHO的消息类型"


if __name__ == "__main__":
    server = WxMpServer(on_message=echo, on_subscribe=lambda event: "欢迎关注", store="memory:")
