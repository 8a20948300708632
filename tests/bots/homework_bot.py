"""Homework, one question after the other: where a pupil is stands in the session."""

from wx_mp_svr import WxMpServer

server = WxMpServer(token="Bots123", store="memory:")
QUESTIONS = [("3+4=?", "7"), ("6*7=?", "42")]


@server.text("开始")
def begin(req):
    req.session["at"] = 0
    return QUESTIONS[0][0]


@server.on_message
def answer(req):
    at = req.session.get("at")
    if at is None:
        return "发「开始」"
    if req.content.strip() != QUESTIONS[at][1]:
        return "再想想"
    if at + 1 == len(QUESTIONS):
        req.session.clear()
        return "全对"
    req.session["at"] = at + 1
    return QUESTIONS[at + 1][0]
