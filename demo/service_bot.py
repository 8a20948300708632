"""客服消息公众号：想得久的回答，想好了就用客服消息主动发给用户（要已认证的号）。先 pip install wechatpy，再像这样运行：
WX_APPSECRET=公众号的AppSecret python service_bot.py。没有 AppSecret 也能运行，只是迟到的回答要点链接取。"""

import os
import re
import time

from requests import RequestException
from wechatpy import WeChatClient, WeChatClientException

from wx_mp_svr import Article, ImageRspMsg, TextRspMsg, WxMpServer, split_text

SECRET = os.environ.get("WX_APPSECRET", "")
API = os.environ.get("WX_API", "https://api.weixin.qq.com")  # 本机没有固定 IP、进不了白名单时，换成自己的转发地址
MOST = 5  # 用户每发一条消息，最多发给他 5 条
TOO_LONG = ("text", {"content": "（太长了，客服消息发不完。请随便发一条消息，再点「查看回复」看全文。）"})
AGAIN = (-1, 40001, 40014, 42001)  # 微信忙，或 access_token 失效：换一个再试一次
CURES = {
    40001: "AppSecret 不对，或 access_token 被别的程序作废了：到公众平台核对 AppSecret，改好 WX_APPSECRET 再重启",
    40013: "AppID 不对：核对 WX_MP_APPID",
    40125: "AppSecret 不对：到公众平台核对，改好 WX_APPSECRET 再重启",
    40164: "这台服务器的 IP 不在白名单里：到公众平台的「IP白名单」加上它",
    45015: "这位用户超过 48 小时没发消息（点菜单、扫码、关注后只有 1 分钟），微信不让再发：等他再来",
    45047: "发给这位用户的条数用完了，他每发一条消息最多发 5 条：把回答写短些",
    48001: "这个号没有客服接口的权限：要已认证的号，看公众平台的「接口权限」；没有就去掉 WX_APPSECRET，让用户点链接",
}
SLOW_TEXT = "这个问题要多想一会儿，" + ("想好了马上发给您。" if SECRET else "请稍后点击：")
server = WxMpServer(slow_link=not SECRET, slow_text=SLOW_TEXT)


@server.text(re.compile("慢"))
@server.image
@server.link
def slow(req):
    time.sleep(20)  # 换成自己的：问大模型、画图……
    if req.msg_type == "image":
        return ImageRspMsg(req.media_id)
    if req.msg_type == "link":
        return Article(req.title, req.description, url=req.url)
    return f"想好了：{req.content}"


@server.on_message
def other(req):
    return "发「慢」字开头的话，或者图片、链接：二十秒后我再答复。"


@server.on_late_reply
def deliver(req, reply):
    """返回 True 表示已送达；没送到的，用户下次发消息时会看到取它的链接。"""
    messages = messages_of(reply)
    if not SECRET or not messages:
        return False
    try:
        for kind, body in messages if len(messages) <= MOST else [*messages[: MOST - 1], TOO_LONG]:
            client.send({"touser": req.openid, "msgtype": kind, kind: body})
    except (WeChatClientException, RequestException) as exc:
        tell("一条客服消息没有送达，用户下次发消息时能取", exc)
        return False
    return len(messages) <= MOST


def messages_of(reply):
    """一个回复变成几条客服消息；这里没写的种类（例如图文）留给链接。"""
    match reply:
        case TextRspMsg(content=text):
            return [("text", {"content": piece}) for piece in split_text(text) if piece.strip()]
        case ImageRspMsg(media_id=media):
            return [("image", {"media_id": media})]
    return []


class Client(WeChatClient):
    """wechatpy 的客户端，改用 stable_token：几个进程拿到同一个 access_token，不会互相作废。"""

    API_BASE_URL = f"{API}/cgi-bin/"

    def fetch_access_token(self):
        account = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        token = self.call("stable_token", account, params={"access_token": None})
        self.session.set(self.access_token_key, token["access_token"])
        self.expires_at = time.time() + token["expires_in"]

    def send(self, message):
        try:
            self.call("message/custom/send", message)
        except WeChatClientException as exc:
            if exc.errcode not in AGAIN:
                raise
            self.fetch_access_token()
            self.call("message/custom/send", message)

    def call(self, path, data, **more):
        result = self.post(path, data=data, **more)
        if not isinstance(result, dict):  # 例如代理的错误页
            raise WeChatClientException(None, "not JSON")
        return result


def tell(what, exc):
    """原因和办法写进日志；异常的全文里有 access_token，不写。"""
    code, message = getattr(exc, "errcode", None), getattr(exc, "errmsg", None) or type(exc).__name__
    cure = CURES.get(code) or ("查微信的全局返回码" if code else "微信的接口没有应答：检查网络和 WX_API")
    server.app.logger.error("%s：%s（%s %s）", what, cure, code, message)


# wechatpy 自己的 auto_retry 遇到一直无效的 access_token 没完没了，所以关掉，由 send 再试一次。
client = Client(server.settings.appid, SECRET, timeout=10, auto_retry=False)
if SECRET:
    try:  # 设置的错误在启动时就能看到
        client.fetch_access_token()
    except (WeChatClientException, RequestException) as exc:
        tell("还发不了客服消息", exc)

if __name__ == "__main__":
    server.run()
