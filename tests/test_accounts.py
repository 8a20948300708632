"""Several accounts in one Flask app, and an app that goes on being somebody else's."""

import threading

import flask
import pytest
from flask import Flask, current_app, g

from wx_mp_svr import ConfigError, WxMpServer
from wx_mp_svr.testing import FakeWeChat

ONE = {"token": "AccountOne", "appid": "wx1111111111111111", "aes_key": "1" * 43}
TWO = {"token": "AccountTwo", "appid": "wx2222222222222222", "aes_key": "2" * 43}


def host_app():
    """An application with pages, hooks and error pages of its own."""
    app = Flask("host")
    app.config["MOTTO"] = "慢慢来"
    app.seen = []

    @app.get("/")
    def index():
        return "首页"

    @app.before_request
    def before():
        app.seen.append(flask.request.path)

    @app.after_request
    def after(response):
        response.headers["X-Host"] = "host"
        return response

    @app.errorhandler(403)
    @app.errorhandler(404)
    @app.errorhandler(405)
    def own_page(error):
        return f"自己的 {error.code} 页面", error.code

    return app


def environment_of(monkeypatch, prefix, account, **settings):
    for name, value in {**account, **settings, "store": "memory:"}.items():
        monkeypatch.setenv(f"{prefix}{name.upper()}", value)


def test_two_accounts_in_one_app(monkeypatch):
    """Each with its own environment names, path, keys, handlers, store and sessions."""
    app = host_app()
    environment_of(monkeypatch, "WX_MP_", ONE)
    environment_of(monkeypatch, "SHOP_", TWO, path="/shop")
    servers = {"one": WxMpServer(app=app), "two": WxMpServer(app=app, env_prefix="SHOP_")}
    for name, server in servers.items():

        @server.on_message
        def count(req, name=name):
            req.session["count"] = req.session.get("count", 0) + 1
            return f"{name} {req.content} {req.session['count']}"

    assert (servers["one"].settings.path, servers["two"].settings.path) == ("/wx_mp_cb", "/shop")
    wechats = [FakeWeChat(app, **ONE), FakeWeChat(app, **TWO, path="/shop")]
    for n in (1, 2):
        assert [wechat.send_text("你好").content for wechat in wechats] == [f"one 你好 {n}", f"two 你好 {n}"]
    for stranger in (FakeWeChat(app, **TWO), FakeWeChat(app, **ONE, path="/shop")):
        assert [attempt.status for attempt in stranger.send_text("你好").tries] == [403] * 3


def test_two_accounts_share_a_store_and_nothing_in_it(tmp_path):
    """The same user, the same MsgId, the same second: one run for each account."""
    app, url = Flask("host"), f"sqlite:{tmp_path / 'shared.db'}"
    wechats = []
    for path, account, original_id in (("/one", ONE, "gh_one"), ("/two", TWO, "gh_two")):
        server = WxMpServer(app=app, path=path, store=url, **account)

        @server.on_message
        def remember(req, path=path):
            req.session["paths"] = [*req.session.get("paths", []), path]
            return str(req.session["paths"])

        wechats.append((FakeWeChat(app, **account, path=path), original_id))
    for wechat, original_id in wechats:
        xml = wechat.build("text", {"Content": "hi", "MsgId": 7, "CreateTime": 1, "ToUserName": original_id})
        assert wechat.send_xml(xml).content == f"['/{original_id[3:]}']"


def test_settings_may_stand_in_app_config():
    """Under the environment's names; an argument goes before them."""
    app = Flask("host")
    app.config.update({f"WX_MP_{name.upper()}": value for name, value in ONE.items()}, WX_MP_STORE="memory:")
    app.config["WX_MP_PATH"], app.config["WX_MP_WINDOW"] = "/cb", 60
    server = WxMpServer(app=None, path="/other", on_message=lambda req: "好")
    server.init_app(app)
    assert (server.settings.path, server.settings.window) == ("/other", 60)
    assert FakeWeChat(app, **ONE, path="/other").send_text("hi").content == "好"


def test_an_app_factory():
    """The server is made first and mounted later, once."""
    server = WxMpServer(app=None, store="memory:", **ONE)

    @server.text("帮助")
    def help_(req):
        return current_app.config["MOTTO"]

    def create_app():
        app = host_app()
        server.init_app(app)
        return app

    app = create_app()
    assert server.app is app
    assert FakeWeChat(app, **ONE).send_text("帮助").content == "慢慢来"
    with pytest.raises(ConfigError, match="mounted already"):
        create_app()


@pytest.mark.parametrize("make", [lambda app: WxMpServer(app=app, **TWO), WxMpServer(app=None, **TWO).init_app])
def test_after_the_first_request_an_account_more_is_told_the_way(make):
    """Flask takes no route then; the app goes on as it was."""
    app = host_app()
    WxMpServer(app=app, store="memory:", path="/first", on_message=lambda req: "好", **ONE)
    assert app.test_client().get("/").status_code == 200
    with pytest.raises(ConfigError, match="「运行中添加公众号」"):
        make(app)
    assert FakeWeChat(app, **ONE, path="/first").send_text("hi").content == "好"


@pytest.mark.parametrize(
    "second", [{"path": "/wx_mp_cb"}, {"path": "/wx_mp_cb/"}, {"path": "/"}], ids=lambda given: given["path"]
)
def test_a_path_that_is_taken_is_refused(second):
    """By another account, or by a page of the app: one of the two would never be asked."""
    app = host_app()
    WxMpServer(app=app, store="memory:", **ONE)
    with pytest.raises(ConfigError, match="WX_MP_PATH"):
        WxMpServer(app=app, store="memory:", **second, **TWO)


def test_the_host_keeps_its_pages_hooks_and_error_pages():
    """What is refused at our path is answered by us; everything else is the host's."""
    app = host_app()
    WxMpServer(app=app, store="memory:", on_message=lambda req: "好", **ONE)
    client = app.test_client()
    assert client.get("/").text == "首页"
    assert (client.get("/nowhere").status_code, client.get("/nowhere").text) == (404, "自己的 404 页面")
    assert (client.put("/wx_mp_cb").status_code, client.put("/wx_mp_cb").text) == (405, "自己的 405 页面")
    refused = client.post("/wx_mp_cb", data="x")
    assert (refused.status_code, refused.text, refused.headers["X-Host"]) == (403, "forbidden", "host")
    app.seen.clear()
    assert FakeWeChat(app, **ONE).send_text("hi").content == "好"
    assert app.seen == ["/wx_mp_cb"]


def test_the_host_may_answer_first():
    """A maintenance page, a limit: its hooks come before us."""
    app, ran = host_app(), []
    WxMpServer(app=app, store="memory:", on_message=ran.append, **ONE)
    app.before_request(lambda: ("维护中", 503))
    assert [attempt.status for attempt in FakeWeChat(app, **ONE).send_text("hi").tries] == [503] * 3
    assert not ran


def test_the_hosts_body_limit_applies():
    app = host_app()
    app.config["MAX_CONTENT_LENGTH"] = 100
    WxMpServer(app=app, store="memory:", on_message=lambda req: "好", **ONE)
    assert {attempt.status for attempt in FakeWeChat(app, **ONE).send_text("hi").tries} == {413}


KINDS = ["function", "pool", "generator", "async", "async generator", "on_error", "on_late_reply"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_handler_runs_in_an_application_context_and_outside_of_the_request(kind):
    app = host_app()
    heard, told = [], threading.Event()

    def look(*args):
        heard.append((current_app.config["MOTTO"], flask.has_request_context(), "mine" in g))
        g.mine = True
        told.set()
        return "好"

    def fail(req):
        raise ValueError

    def generator(req):
        yield look()

    async def coroutine(req):
        return look()

    async def stream(req):
        yield look()

    def slow(req):
        threading.Event().wait(1.6)  # over the third try of a scale of 0.1
        return "晚"

    handlers = {
        "function": {"on_message": look},
        "pool": {"on_message": look},
        "generator": {"on_message": generator},
        "async": {"on_message": coroutine},
        "async generator": {"on_message": stream},
        "on_error": {"on_message": fail, "on_error": look},
        "on_late_reply": {"on_message": slow, "on_late_reply": look},
    }
    server = WxMpServer(app=app, store="memory:", **handlers[kind], **ONE)
    wechat = server.test_client(time_scale=0.1 if kind == "on_late_reply" else 1.0)
    for _ in range(
        1 if kind in ("pool", "on_late_reply") else 2
    ):  # the second time a quick one stays in the request's thread
        told.clear()
        result = wechat.send_text("hi")
        assert told.wait(10)
        assert kind == "on_late_reply" or result.content == "好"
    assert set(heard) == {("慢慢来", False, False)}
