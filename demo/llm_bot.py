"""大模型公众号：接任何兼容 OpenAI 的接口，边生成边回复，记得上文。先 pip install openai，再像这样运行：
OPENAI_BASE_URL=https://api.deepseek.com OPENAI_MODEL=deepseek-chat OPENAI_API_KEY=sk-... python llm_bot.py
模型能看图就加上 OPENAI_VISION=1：把图片的网址交给它，由它那边下载。"""

import os
import re
import threading

from llm_text import Plain
from openai import AsyncOpenAI, OpenAI

from wx_mp_svr import ConfigError, ImageReqMsg, TextReqMsg, VoiceReqMsg, WxMpServer

NAMES = ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY")
if missing := [name for name in NAMES if not re.fullmatch("[!-~]+", os.environ.get(name, ""))]:
    hint = "大模型的接口地址、模型名、密钥，里面没有空格和中文；不需要密钥的随便填"
    raise ConfigError(f"请先设置环境变量 {'、'.join(missing)}（{hint}）")
MODEL, VISION = os.environ["OPENAI_MODEL"], os.environ.get("OPENAI_VISION") == "1"
PROMPT = "你是微信公众号里的助手。用中文回答，简明扼要。"
LABEL = "（内容由AI生成）"  # 2025 年 9 月起，法规要求标明
TURNS, CHARS = 6, 2000  # 记住最近几轮问答，每条最多多少字
BROKEN = (None, "cut off", "content_filter", "sensitive", "network_error")  # 没有答完的几种结束
SORRY, CLOSED = "大模型没有回应，请重试。", "机器人还没有准备好，请稍后再来。"
FAULTS = (  # 错误像什么；日志里说怎么办；对用户说什么。第一个像的算
    (r"^402|insufficient|arrear|overdue|current.quota|余额|欠费", "账户没有余额了：去服务商那里充值", CLOSED),
    (r"^401", "密钥不对：核对 OPENAI_API_KEY，它要属于 OPENAI_BASE_URL 那一家", CLOSED),
    (r"content.?filter|inspection|sensitive|exists.risk|敏感|不安全", "没有通过内容审核", "这个不能聊，换个话题吧。"),
    (r"^4(?=.*(model|模型)).*(not.{,3}(exist|found)|不存在)", f"没有 {MODEL} 这个模型：核对 OPENAI_MODEL", CLOSED),
    (r"^4.*(image|vision|multimodal|图)", "模型看不了图：换一个，或去掉 OPENAI_VISION", "图片看不了，请发送「清空」。"),
    (r"^40[45]|no event", "网址不对：OPENAI_BASE_URL 要写到版本号（例如 /v1）为止，后面没有别的", CLOSED),
    (r"^API(Conn|Time)|^Read|^RemoteProto|cut off", "连不上、断线或超时：检查 OPENAI_BASE_URL 和网络", SORRY),
    (r"^429", "超过了服务商的限速：等一等，或换一档", "问的人太多，请稍后再试。"),
    (r"^ConnectionError (stop|length)", "没写出回答，多半想到了上限：调高输出上限", "没想出来，请换个问法。"),
    (r"", "大模型出错了", SORRY),
)

server = WxMpServer()
client = AsyncOpenAI(timeout=60, max_retries=1)  # 60 秒没有新内容算超时


def explain(exc):
    """在日志里用一行说清原因和办法；返回对用户说的话。"""
    error = f"{getattr(exc, 'status_code', type(exc).__name__)} {getattr(exc, 'body', None) or exc}".replace("\n", " ")
    cure, words = next(row[1:] for row in FAULTS if re.search(row[0], error, re.IGNORECASE))
    server.app.logger.error("大模型没有答完：%s（%.200s）", cure, error.replace(os.environ["OPENAI_API_KEY"], "***"))
    return words


def try_model():
    """启动时先问一句，好让密钥、网址、模型名的错误现在就看到，而不是等到第一个用户。"""
    try:
        hello = [{"role": "user", "content": "你好"}]
        model = OpenAI(timeout=20, max_retries=1)
        with model.chat.completions.create(model=MODEL, messages=hello, stream=True) as stream:
            if not next(iter(stream), None):
                raise ConnectionError("no event")
    except Exception as exc:
        explain(exc)


threading.Thread(target=try_model, daemon=True).start()


@server.on_subscribe
def welcome(event):
    return "欢迎关注！打字、语音都可以问我；发送「清空」开始新对话。回答由AI生成，请注意核实。"


@server.text("清空", "新对话")
def forget(req):
    req.session.update(talk=req.session.get("talk", 0) + 1, history=[])
    return "好的，我们重新开始。"


@server.on_message
async def chat(req):
    match req:
        case TextReqMsg(content=question) | VoiceReqMsg(recognition=question) if question.strip():
            asked = {"role": "user", "content": question[:CHARS]}
        case ImageReqMsg(pic_url=url) if VISION:
            picture = {"type": "image_url", "image_url": {"url": url}}  # 由大模型那边下载，我们不碰
            asked = {"role": "user", "content": [{"type": "text", "text": "请看这张图片。"}, picture]}
        case _:
            yield "请用文字或语音提问（语音需要在公众平台开启语音识别）。"
            return
    async with req.session as session:  # 读完就放开：生成回答要很久，别让下一个问题等着
        talk, history = session.get("talk", 0), session.get("history", [])
    messages = [{"role": "system", "content": PROMPT}, *history, asked]
    plain, finished, exc = Plain(), None, None
    try:
        async for chunk in await client.chat.completions.create(model=MODEL, messages=messages, stream=True):
            for choice in chunk.choices:  # 有的模型把想的过程放在 reasoning_content 里，不看它就是了
                finished = choice.finish_reason or finished or "cut off"
                yield plain.feed(choice.delta.content or "")
    except Exception as error:
        exc = error
    yield plain.feed("\n")
    said = plain.said.strip()
    whole = said and not exc and finished not in BROKEN
    if not whole:
        words = explain(exc or ConnectionError(finished or "no event"))
        yield f"\n（回答到这里中断了：{words}）" if said else words
    if said:
        yield "\n" + LABEL
    async with req.session as session:  # 答完整了才记；这期间用户说过「清空」，就不记了
        if whole and talk == session.get("talk", 0):
            turn = [asked, {"role": "assistant", "content": said[:CHARS]}]
            session["history"] = [*session.get("history", []), *turn][-2 * TURNS :]


if __name__ == "__main__":
    server.run()
