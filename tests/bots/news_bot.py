"""News: one article to a message, several to a menu."""

from wx_mp_svr import Article, WxMpServer

server = WxMpServer(token="Bots123", store="memory:")
ARTICLES = [Article(f"标题{n}", "摘要", "https://example.com/p.jpg", f"https://example.com/{n}") for n in range(3)]


@server.on_message
def message(req):
    return ARTICLES[0]


@server.on_event
def event(event):
    return ARTICLES
