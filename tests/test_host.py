"""The app that a server is mounted in: its dispatch is left out exactly as long as it cannot notice."""

import io

import flask
import pytest
from flask import Flask, Request, Response, signals
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest

from wx_mp_svr import WxMpServer
from wx_mp_svr.front import Front
from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"token": "HostsToken", "mode": "plain"}
PATH = "/wx_mp_cb"


class Host(Flask):
    """An app of a class of its own, as any may be."""


def host(app=None, **settings):
    """An app and a server in it; `app.dispatched` says how often Flask's dispatch was asked."""
    app = app or Flask("host", static_folder=None)
    WxMpServer(app=app, store="memory:", on_message=lambda req: "好", **{**ACCOUNT, **settings})
    watch(app)
    return app


def watch(app):
    app.dispatched = 0
    front = app.wsgi_app if isinstance(app.wsgi_app, Front) else None
    inner = front._inner if front else app.wsgi_app

    def counting(*args):
        app.dispatched += 1
        return inner(*args)

    if front:
        front._inner = counting
    else:
        app.wsgi_app = counting


def push(app, **account):
    return FakeWeChat(app, **{"token": ACCOUNT["token"], **account}).send_text("hi").content


def test_where_nothing_of_the_app_would_run_its_dispatch_is_left_out():
    app = host()
    assert (push(app), push(app), app.dispatched) == ("好", "好", 0)


# -- who listens ---------------------------------------------------------------------------------------------------------

HEARD = []


def hear(*args, **kwargs):
    HEARD.append(args)


def hear_response(response):
    HEARD.append(response)
    return response


def app_wide(blueprint_hook, function):
    def listen(app):
        blueprint = flask.Blueprint("pages", "pages")
        getattr(blueprint, blueprint_hook)(function)
        app.register_blueprint(blueprint)

    return listen


class OwnRequest(Request):
    def __init__(self, *args, **kwargs):
        HEARD.append("request")
        super().__init__(*args, **kwargs)


class OwnResponse(Response):
    def __init__(self, *args, **kwargs):
        HEARD.append("response")
        super().__init__(*args, **kwargs)


class OwnSessions(SecureCookieSessionInterface):
    def open_session(self, app, request):
        HEARD.append("session")


def around_the_view(app):
    (name,) = app.view_functions
    view = app.view_functions[name]
    app.view_functions[name] = lambda: (hear(), view())[1]


LISTENERS = {
    "before_request": lambda app: app.before_request(hear),
    "after_request": lambda app: app.after_request(hear_response),
    "teardown_request": lambda app: app.teardown_request(hear),
    "url_value_preprocessor": lambda app: app.url_value_preprocessor(hear),
    "before_app_request of a blueprint": app_wide("before_app_request", hear),
    "after_app_request of a blueprint": app_wide("after_app_request", hear_response),
    "teardown_app_request of a blueprint": app_wide("teardown_app_request", hear),
    "app_url_value_preprocessor of a blueprint": app_wide("app_url_value_preprocessor", hear),
    "a request class": lambda app: setattr(app, "request_class", OwnRequest),
    "sessions": lambda app: setattr(app, "session_interface", OwnSessions()),
    "a function around the view": around_the_view,
}


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("first", [True, False], ids=["from the start", "later"])
def test_who_listens_is_told_of_every_push(name, first):
    """However late it began to listen."""
    app = host()
    if not first:
        push(app)
    LISTENERS[name](app)
    HEARD.clear()
    assert (push(app), app.dispatched) == ("好", 1)
    assert HEARD


SIGNALS = ["request_started", "request_finished", "request_tearing_down", "appcontext_pushed", "appcontext_popped"]


@pytest.mark.parametrize("name", SIGNALS)
def test_receivers_of_signals_listen_until_they_are_disconnected(name):
    app, signal = host(), getattr(signals, name)
    HEARD.clear()
    with signal.connected_to(hear, app):
        assert (push(app), app.dispatched) == ("好", 1)
        assert HEARD
    assert (push(app), app.dispatched) == ("好", 1)


DECIDERS = {
    "MAX_CONTENT_LENGTH": (lambda app: app.config.update(MAX_CONTENT_LENGTH=10), 413),
    "host matching": (lambda app: setattr(app.url_map, "host_matching", True), 404),
    "TRUSTED_HOSTS": (lambda app: app.config.update(TRUSTED_HOSTS=["bot.example.com"]), None),
    "SERVER_NAME": (lambda app: app.config.update(SERVER_NAME="bot.example.com"), None),
    "a response class": (lambda app: setattr(app, "response_class", OwnResponse), 403),
}


@pytest.mark.parametrize("name", DECIDERS)
def test_what_decides_about_requests_decides_about_ours(name):
    """As it does about any view's; two of them only in some versions of Flask."""
    app, (decide, status) = host(), DECIDERS[name]
    decide(app)
    got = app.test_client().post(PATH, data="x" * 100).status_code
    assert status in (got, None)
    assert app.dispatched == 1


def test_an_app_of_its_own_class_may_have_its_own_dispatch():
    app = host(Host("host"))
    assert (push(app), app.dispatched) == ("好", 1)


WAY = ["full_dispatch_request", "preprocess_request", "dispatch_request", "process_response", "handle_exception"]


@pytest.mark.parametrize("name", WAY)
def test_who_puts_a_method_in_the_place_of_flasks_own_is_asked(name):
    app = host()
    setattr(app, name, getattr(app, name))
    assert (push(app), app.dispatched) == ("好", 1)


@pytest.mark.parametrize("name", WAY)
def test_so_is_who_does_that_for_all_apps(name, monkeypatch):
    """As tracing tools do."""
    app, method = host(), getattr(Flask, name)
    monkeypatch.setattr(Flask, name, lambda *args: method(*args))
    assert (push(app), app.dispatched) == ("好", 1)


def test_an_apps_test_can_look_at_the_request_afterwards():
    app = host()
    with app.test_client() as client:
        assert client.post(PATH).status_code == 403
        assert flask.request.path == PATH


# -- who does not --------------------------------------------------------------------------------------------------------


def pages(app):
    blueprint = flask.Blueprint("pages", "pages", url_prefix="/pages")
    blueprint.before_request(hear)
    blueprint.teardown_request(hear)
    blueprint.add_url_rule("/", "index", lambda: "首页")
    app.register_blueprint(blueprint)


DEAF = {
    "a blueprint with hooks of its own": pages,
    "URL defaults": lambda app: app.url_defaults(hear),
    "error pages": lambda app: app.register_error_handler(404, hear),
    "a catch-all page": lambda app: app.add_url_rule("/<path:rest>", "all", lambda rest: "页面", methods=["POST"]),
    "APPLICATION_ROOT": lambda app: app.config.update(APPLICATION_ROOT="/bot"),
    "a secret key": lambda app: app.config.update(SECRET_KEY="secret"),
    "another view, added later": lambda app: app.add_url_rule(PATH, "second", hear, methods=["GET", "POST"]),
}


@pytest.mark.parametrize("name", DEAF)
def test_what_would_not_run_for_our_view_keeps_nothing_from_being_quick(name):
    app = host()
    DEAF[name](app)
    HEARD.clear()
    assert (push(app), app.dispatched, HEARD) == ("好", 0, [])


@pytest.mark.parametrize("name", DEAF)
def test_and_does_not_run_for_the_view(name):
    """What the test before relies on."""
    app = host()
    app.before_request(lambda: None)
    DEAF[name](app)
    HEARD.clear()
    assert (push(app), app.dispatched, HEARD) == ("好", 1, [])


def test_teardown_of_application_contexts_is_called_for_the_handlers_own():
    app, over = host(), []
    app.teardown_appcontext(over.append)
    assert (push(app), app.dispatched, over) == ("好", 0, [None])


# -- the same answers ----------------------------------------------------------------------------------------------------

REQUESTS = {
    "nothing": dict(method="GET"),
    "forged": dict(method="POST", data="<xml></xml>", query_string="signature=1&timestamp=1234567890&nonce=1"),
    "too large": dict(method="POST", data="x" * 200_000),
    "chunked": dict(method="POST", data="x", headers={"Transfer-Encoding": "chunked"}),
    "a form": dict(method="POST", data={"a": "b"}),
    "a method": dict(method="PUT"),
    "HEAD": dict(method="HEAD"),
    "OPTIONS": dict(method="OPTIONS"),
    "a slash": dict(method="POST", path=f"{PATH}/"),
    "two slashes": dict(method="POST", path=f"{PATH}//"),
    "below another application": dict(method="POST", environ_overrides={"SCRIPT_NAME": "/bot"}),
    "with a cookie": dict(method="POST", headers={"Cookie": "session=x"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_in_front_and_as_a_view_the_answers_are_the_same(name):
    quick, view = host(), host()
    view.before_request(lambda: None)
    request = {"path": PATH, **REQUESTS[name]}
    answers = [app.test_client().open(**request) for app in (quick, view)]
    assert answers[0].status == answers[1].status
    assert sorted(answers[0].headers) == sorted(answers[1].headers)
    assert answers[0].data == answers[1].data
    assert view.dispatched == 1


def test_the_same_path_with_a_slash_may_be_a_page_of_the_app():
    app = host()
    app.add_url_rule(f"{PATH}/", "page", lambda: "页面")
    assert app.test_client().get(f"{PATH}/").text == "页面"
    assert (push(app), app.dispatched) == ("好", 1)


class Breaking(io.RawIOBase):
    def read(self, size=-1):
        raise BadRequest("the sender has hung up")


@pytest.mark.parametrize("alone", [False, True])
def test_what_goes_wrong_is_told_to_the_apps_error_handlers(alone):
    app = WxMpServer(store="memory:", **ACCOUNT).app if alone else host()
    app.register_error_handler(400, lambda exc: (f"自己的页面: {exc.description}", 400))
    response = app.test_client().post(PATH, environ_overrides={"wsgi.input": Breaking(), "CONTENT_LENGTH": "5"})
    assert (response.status_code, response.text) == (400, "自己的页面: the sender has hung up")


# -- what is put around --------------------------------------------------------------------------------------------------


def around(app):
    inner = app.wsgi_app

    def middleware(environ, start_response):
        HEARD.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = middleware


def test_what_was_put_around_the_app_before_is_asked_first():
    app = Flask("host")
    around(app)
    host(app)
    HEARD.clear()
    assert (push(app), app.dispatched, HEARD) == ("好", 1, [PATH])


def test_what_is_put_around_it_later_is_outside_of_us():
    app = host()
    around(app)
    HEARD.clear()
    assert (push(app), app.dispatched, HEARD) == ("好", 0, [PATH])


def test_a_thousand_accounts_stand_side_by_side_in_front():
    """Not one behind the other: each page of the app would go through all of them."""
    app = Flask("host", static_folder=None)
    app.add_url_rule("/page", view_func=lambda: "page")
    for n in range(1000):
        WxMpServer(app=app, store="memory:", path=f"/wx{n}", on_message=lambda req: "好", **ACCOUNT)
    assert app.test_client().get("/page").text == "page"
    assert FakeWeChat(app, token=ACCOUNT["token"], path="/wx999").send_text("hi").content == "好"


def test_several_accounts_are_quick():
    app = host()
    host(app, path="/shop", token="ShopsToken")
    assert (push(app), push(app, token="ShopsToken", path="/shop"), app.dispatched) == ("好", "好", 0)


def test_an_account_behind_something_else_is_a_view_and_the_others_stay_quick():
    app = host()
    around(app)
    WxMpServer(app=app, store="memory:", path="/shop", token="ShopsToken", mode="plain", on_message=lambda req: "好")
    assert (push(app), app.dispatched) == ("好", 0)
    assert push(app, token="ShopsToken", path="/shop") == "好"
    assert app.dispatched > 0
