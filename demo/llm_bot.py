"""大模型公众号：接任何兼容 OpenAI 的接口，边生成边回复，记得上文。先 pip install openai，再像这样运行：
OPENAI_BASE_URL=https://api.deepseek.com OPENAI_MODEL=deepseek-chat OPENAI_API_KEY=sk-... python llm_bot.py"""

import os
import re

from openai import AsyncOpenAI, RateLimitError

from wx_mp_svr import ConfigError, TextReqMsg, VoiceReqMsg, WxMpServer

# 演示用的值，只能在本机使用；上线前设置同名环境变量，换成自己的。
os.environ.setdefault("WX_MP_APPID", "wx0000000000000000")
os.environ.setdefault("WX_MP_TOKEN", "xxx")
os.environ.setdefault("WX_MP_AES_KEY", "x" * 43)
if missing := [name for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY") if not os.environ.get(name)]:
    raise ConfigError(f"请先设置环境变量 {'、'.join(missing)}（大模型的接口地址、模型名、密钥；不需要密钥的随便填）")
PROMPT = "你是微信公众号里的助手。用中文回答，简明扼要。"
LABEL = "（内容由AI生成）"  # 2025 年 9 月起，法规要求标明
TURNS, CHARS = 6, 2000  # 记住最近几轮问答，每条最多多少字

server = WxMpServer()
client = AsyncOpenAI(timeout=60, max_retries=1)  # 60 秒没有新内容算超时


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
        case _:
            yield "请用文字或语音提问（语音需要在公众平台开启语音识别）。"
            return
    async with req.session as session:  # 读完就放开：生成回答要很久，别让下一个问题等着
        talk, history = session.get("talk", 0), session.get("history", [])
    messages = [{"role": "system", "content": PROMPT}, *history, asked]
    answer, finished, plain = "", None, Plain()
    try:
        model = os.environ["OPENAI_MODEL"]
        async for chunk in await client.chat.completions.create(model=model, messages=messages, stream=True):
            for choice in chunk.choices:
                answer += choice.delta.content or ""
                finished = choice.finish_reason or finished
                yield plain.feed(choice.delta.content or "")
        if not answer or not finished:
            raise ConnectionError("the stream ended before the answer did")
    except Exception as exc:  # 超时、断线、接口报错：原因在日志里
        server.app.logger.exception("大模型没有答完")
        if not answer:
            yield "问的人太多，请稍后再试。" if isinstance(exc, RateLimitError) else "抱歉，大模型没有回应，请重试。"
            return
    yield plain.feed("\n\n" if finished else "\n\n（回答到这里中断了，请再问一次。）\n") + LABEL
    async with req.session as session:  # 答完整了才记；这期间用户说过「清空」，就不记了
        if finished and talk == session.get("talk", 0):
            turn = [asked, {"role": "assistant", "content": answer[:CHARS]}]
            session["history"] = [*session.get("history", []), *turn][-2 * TURNS :]


class Plain:
    """把一点点到来的 Markdown 逐行变成纯文本：微信不显示 Markdown，只认得 <a>。"""

    RULES = (
        (r"^\s*[|:*_-][ |:*_-]{2,}$", "————"),  # 分隔线、表头下面的线
        (r"^\s*\|(.*)\|\s*$", lambda row: " ｜ ".join(map(str.strip, row[1].split("|")))),  # 表格的一行
        (r"^\s*#{1,6}\s+(.*)", r"【\1】"),  # 标题
        (r"^(\s*)[-*+]\s+", r"\1• "),  # 列表
        (r"!?\[([^\[\]]+)\]\((https?://[^\s)\"]+)[^)]*\)", r'<a href="\2">\1</a>'),  # 链接、图片
        # 行内代码原样留下；粗体、斜体去掉星号，2**3 和 2 * 3 不动。
        (r"`([^`]+)`|(?<![\w)])\*\*|\*\*(?![\w(])|(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])", r"\1\2"),
    )
    rest, code = "", False

    def feed(self, piece):
        *lines, rest = (self.rest + piece).split("\n")
        whole = re.match(r"(?:\w[^*_`|\[\]!]*[。！？])?", "" if self.code else rest)[0]  # 没有标记的整句不等换行
        self.rest = rest[len(whole) :]
        return "".join(map(self.line, lines)) + whole

    def line(self, line):
        if line.lstrip().startswith(("```", "~~~")):  # 代码块的首尾
            self.code = not self.code
            return ""
        for pattern, plain in () if self.code else self.RULES:
            line = re.sub(pattern, plain, line, flags=re.ASCII)
        return line + "\n"


if __name__ == "__main__":
    server.run()
