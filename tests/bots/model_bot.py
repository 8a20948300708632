"""A language model that speaks slowly, sentence by sentence, and remembers what was said."""

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")


async def model(history):
    """Stand for a model: a sentence for each line of the history, then many more."""
    for line in history:
        yield f"你说过{line}。"
    for n in range(60):
        yield f"第{n}句，说来话长，慢慢道来，不要着急。"


@server.on_message
async def chat(req):
    async with req.session as session:
        session["history"] = [*session.get("history", []), req.content][-3:]
        history = session["history"]
    async for piece in model(history):
        yield piece
