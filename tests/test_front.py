"""The shell in front of Flask: which requests it answers itself, and which it leaves to the application behind it."""

from wsgiref.util import setup_testing_defaults

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.exchange import Answer
from wx_mp_svr.front import Front


def asked(app, **changes):
    """Return the status of one request and its body; a change to None leaves a variable out."""
    environ = {}
    setup_testing_defaults(environ)
    environ = {name: value for name, value in {**environ, **changes}.items() if value is not None}
    statuses = []
    body = b"".join(app(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0], body


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"PATH_INFO": "/wx"}, b"ours"),
        ({"PATH_INFO": "/wx/", "REQUEST_METHOD": "POST"}, b"ours"),
        ({"PATH_INFO": "/wx//"}, b"theirs"),
        ({"PATH_INFO": "/wx/more"}, b"theirs"),
        ({"PATH_INFO": "/wx", "REQUEST_METHOD": "HEAD"}, b"theirs"),
        ({"PATH_INFO": "/wx", "REQUEST_METHOD": "OPTIONS"}, b"theirs"),
        ({"PATH_INFO": ""}, b"theirs"),
        ({"PATH_INFO": None}, b"theirs"),  # PEP 3333: what is empty may be left out
    ],
)
def test_one_path_is_ours_and_all_else_is_left_to_flask(changes, body):
    def flask(environ, start_response):
        start_response("200 OK", [])
        return [b"theirs"]

    app = Front(flask)
    app.take(["/wx", "/wx/"], lambda environ, read: Answer(200, b"ours"))
    assert asked(app, **changes) == ("200 OK", body)


def test_a_server_answers_a_request_without_a_path():
    status, _ = asked(WxMpServer(token="FrontToken", store="memory:"), PATH_INFO=None)
    assert status == "404 NOT FOUND"
