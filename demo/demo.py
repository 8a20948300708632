"""回声公众号：文本、图片、语音原样返回。运行 python demo.py，或在模拟器里：wx-mp-svr dev demo.py。"""

from wx_mp_svr import ImageReqMsg, ImageRspMsg, TextReqMsg, VoiceReqMsg, VoiceRspMsg, WxMpServer


class Echo(WxMpServer):
    def on_message(self, req):
        match req:
            case TextReqMsg(content=text):
                return text
            case ImageReqMsg(media_id=media):
                return ImageRspMsg(media)
            case VoiceReqMsg(media_id=media):
                return VoiceRspMsg(media)
        return "暂不支持ECHO的消息类型"

    def on_subscribe(self, event):
        return "欢迎关注"


server = Echo()

if __name__ == "__main__":
    server.run()
