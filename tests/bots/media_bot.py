"""Images and voice come back; what was said is repeated."""

from wx_mp_svr import ImageRspMsg, VoiceRspMsg, WxMpServer

server = WxMpServer(token="Bots123", store="memory:")


@server.image
def image(req):
    return ImageRspMsg(req.media_id)


@server.voice
def voice(req):
    return req.recognition or VoiceRspMsg(req.media_id)
