"""What is compared: WSGI applications that answer a text with the same words. ``gunicorn 'candidates:app("safe")'``.

Those of other libraries are written as their own documentation shows it, with what can be made once made once, and
WeRoBot's sessions off. Each is imported only when it is asked for.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, abort, request
from pushes import AES_KEY, APPID, CALLBACK, TOKEN, WsgiApp, answer

from wx_mp_svr import WxMpServer

METHODS = ["GET", "POST"]


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer without looking: what it costs is the harness's own."""
    start_response("200 OK", [])
    return [b"success"]


def empty() -> WsgiApp:
    """Return the measure: a Flask view that does nothing."""
    return _with_view(lambda: "success")


def _with_view(view: Callable[[], Any]) -> WsgiApp:
    app = Flask("bench", static_folder=None)
    app.add_url_rule(CALLBACK, "callback", view, methods=METHODS)
    app.add_url_rule("/ready", "ready", lambda: "ready")
    return app


# -- ours --------------------------------------------------------------------------------------------------------------


def echo(req: Any) -> str:
    """Return at once, as a handler that runs in the request's thread does."""
    return answer(req.msg_type, getattr(req, "content", ""))


async def echo_async(req: Any) -> str:
    """Return at once, from the event loop."""
    return echo(req)


class EchoInPool:
    """Is slow once: a handler that has ever taken over 50 ms belongs to the pool."""

    slow = True

    def __call__(self, req: Any) -> str:
        if self.slow:
            self.slow = False
            time.sleep(0.1)
        return echo(req)


def ours(
    mode: str,
    *,
    store: str = "memory:",
    mounted: bool = False,
    hooks: bool = False,
    handler: Callable[[Any], Any] = echo,
    **settings: Any,
) -> WsgiApp:
    """Return a server of ours.

    Args:
        mode: "safe" or "plain".
        store: Its URL.
        mounted: In a Flask app, by `init_app`; otherwise the server is the WSGI application.
        hooks: Of that app: it hears of every request, so that the server is one of its views.
        handler: Of messages and events.
        settings: More of them.
    """
    secrets = {"appid": APPID, "aes_key": AES_KEY} if mode == "safe" else {}
    handlers = {"on_message": handler, "on_subscribe": handler, "on_event": handler}
    more = {"app": None} if mounted else {}
    server = WxMpServer(token=TOKEN, path=CALLBACK, store=store, **handlers, **secrets, **settings, **more)
    if mounted:
        server.init_app(Flask("host", static_folder=None))
    if hooks:
        server.app.before_request(lambda: None)
    server.app.add_url_rule("/ready", "ready", lambda: "ready")
    return server.app if mounted else server


# -- others ------------------------------------------------------------------------------------------------------------


def wechatpy(mode: str) -> WsgiApp:
    """Return the straight view of wechatpy's documentation."""
    from wechatpy import create_reply, parse_message
    from wechatpy.crypto import WeChatCrypto
    from wechatpy.exceptions import InvalidAppIdException, InvalidSignatureException
    from wechatpy.utils import check_signature

    crypto = WeChatCrypto(TOKEN, AES_KEY, APPID)

    def view() -> Any:
        args = request.args
        timestamp, nonce = args.get("timestamp", ""), args.get("nonce", "")
        try:
            check_signature(TOKEN, args.get("signature", ""), timestamp, nonce)
            if request.method == "GET":
                return args.get("echostr", "")
            if mode == "plain":
                msg = parse_message(request.data)
                return create_reply(answer(msg.type, msg.content), msg).render()
            xml = crypto.decrypt_message(request.data, args.get("msg_signature", ""), timestamp, nonce)
            msg = parse_message(xml)
            return crypto.encrypt_message(create_reply(answer(msg.type, msg.content), msg).render(), nonce, timestamp)
        except (InvalidSignatureException, InvalidAppIdException):
            abort(403)

    return _with_view(view)


def werobot(mode: str) -> WsgiApp:
    """Return WeRoBot's own Flask view."""
    from werobot import WeRoBot
    from werobot.contrib.flask import make_view

    secrets = {"app_id": APPID, "encoding_aes_key": AES_KEY} if mode == "safe" else {}
    robot = WeRoBot(token=TOKEN, SESSION_STORAGE=False, **secrets)
    robot.handler(lambda message: answer(message.type, message.content))
    return _with_view(make_view(robot))


BY_NAME: dict[str, Callable[[], WsgiApp]] = {
    "empty": empty,
    "safe": partial(ours, "safe"),
    "plain": partial(ours, "plain"),
    "wechatpy": partial(wechatpy, "safe"),
    "werobot": partial(werobot, "safe"),
}


def app(name: str) -> WsgiApp:
    """Return what gunicorn serves."""
    return BY_NAME[name]()
