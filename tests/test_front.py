"""The shell in front of Flask: which requests it answers itself, and which it leaves to the application behind it."""

import io
import logging
from wsgiref.util import setup_testing_defaults

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from wx_mp_svr import WxMpServer
from wx_mp_svr.exchange import Answer
from wx_mp_svr.front import FAILURE, Front, body_of, headers_of, is_from_here, read_body


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


# -- requests of this machine ------------------------------------------------------------------------------------------

HERE = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:5001"}
FROM_HERE = [
    {},
    {"REMOTE_ADDR": "127.9.9.9"},
    {"REMOTE_ADDR": "::1"},
    {"REMOTE_ADDR": "::ffff:127.0.0.1"},
    {"HTTP_HOST": "127.0.0.1"},
    {"HTTP_HOST": "LocalHost:80"},
    {"HTTP_HOST": "[::1]:5001"},
    {"HTTP_SEC_FETCH_SITE": "none"},
    {"HTTP_SEC_FETCH_SITE": "same-origin"},
    {"SERVER_SOFTWARE": "gunicorn"},
    {"HTTP_X_WX_SOURCE": "1"},
]
FROM_ELSEWHERE = [
    *({"REMOTE_ADDR": peer} for peer in ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "", "unix:", None)),
    *({"HTTP_HOST": host} for host in ("bot.example", "127.0.0.1.example", "127.0.0.1:x", "::1", "", None)),
    *({"HTTP_SEC_FETCH_SITE": site} for site in ("cross-site", "same-site", "")),
    {"SERVER_SOFTWARE": "waitress"},
    *(
        {f"HTTP_{header}": ""}
        for header in (
            *("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_REAL_IP", "FORWARDED", "VIA"),
            *("CF_CONNECTING_IP", "TRUE_CLIENT_IP", "ORIGIN"),
        )
    ),
]


@pytest.mark.parametrize("changes", FROM_HERE, ids=str)
def test_a_request_of_this_machine_for_this_machine(changes):
    assert is_from_here({**HERE, **changes}) is True


@pytest.mark.parametrize("changes", FROM_ELSEWHERE, ids=str)
def test_a_request_that_may_come_from_elsewhere(changes):
    environ = {name: value for name, value in {**HERE, **changes}.items() if value is not None}
    assert is_from_here(environ) is False


# -- answers and bodies ------------------------------------------------------------------------------------------------


def test_an_answer_has_its_length_and_is_never_guessed_at():
    assert headers_of(Answer(200, "好".encode(), "text/xml")) == [
        ("Content-Type", "text/xml"),
        ("Content-Length", "3"),
        ("X-Content-Type-Options", "nosniff"),
    ]


@pytest.mark.parametrize(
    ("status", "line"), [(403, "403 FORBIDDEN"), (503, "503 SERVICE UNAVAILABLE"), (200, "200 OK")]
)
def test_a_status_has_flasks_words(status, line):
    app = Front(lambda *_: pytest.fail("is not asked"))
    app.take(["/wx"], lambda environ, read: Answer(status, b""))
    assert asked(app, PATH_INFO="/wx") == (line, b"")


def test_what_goes_wrong_in_front_is_left_to_flask_to_raise():
    bug, seen = KeyError("a"), []

    def answer_of(environ, read):
        raise bug

    def flask(environ, start_response):
        seen.append(environ[FAILURE])
        start_response("500 X", [])
        return [b"theirs"]

    app = Front(flask)
    app.take(["/wx"], answer_of)
    assert asked(app, PATH_INFO="/wx") == ("500 X", b"theirs")
    assert seen == [bug]


@pytest.mark.parametrize(("noticed", "body"), [(lambda environ: True, b"theirs"), (lambda environ: False, b"ours")])
def test_where_flask_would_notice_it_is_asked(noticed, body):
    def flask(environ, start_response):
        start_response("200 OK", [])
        return [b"theirs"]

    app = Front(flask)
    app.take(["/wx"], lambda environ, read: Answer(200, b"ours"), noticed)
    assert asked(app, PATH_INFO="/wx") == ("200 OK", body)


@pytest.mark.parametrize(
    ("length", "limit", "body"),
    [
        ("5", 10, b"01234"),
        ("5", 3, b"012"),
        ("0", 10, b""),
        ("15", 20, b"0123456789"),  # it ends early
        ("", 10, b""),
        (None, 10, b""),
        ("x", 10, b""),
        ("-1", 10, b""),
        ("٣", 10, b""),
        ("999999999", 4, b"0123"),
    ],
)
def test_a_body_is_read_as_far_as_it_is_said_to_go_and_no_further_than_it_may(length, limit, body):
    stream = io.BytesIO(b"0123456789")
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": length}
    assert body_of(environ, limit) == body
    assert stream.tell() == len(body)


def test_a_body_in_chunks_has_no_length():
    chunked = {"wsgi.input": io.BytesIO(b"0123456789"), "CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": "chunked"}
    assert body_of({**chunked, "wsgi.input_terminated": True}, 8) == b"01234567"


class Dribbling(io.RawIOBase):
    """Gives two bytes at a time, and then raises what it was given, if anything."""

    def __init__(self, body, end=None):
        self.left, self.end, self.asked = body, end, []

    def read(self, size=-1):
        self.asked.append(size)
        if not self.left and self.end:
            raise self.end
        chunk = self.left[: min(2, size)]
        self.left = self.left[len(chunk) :]
        return chunk


def test_a_body_may_come_in_pieces():
    stream = Dribbling(b"01234567")
    assert read_body(stream, 5) == b"01234"
    assert stream.asked == [5, 3, 1]
    assert read_body(Dribbling(b"012"), 5) == b"012"


def test_a_body_that_breaks_off_is_none_and_a_limit_of_the_host_is_its_own(caplog):
    caplog.set_level(logging.DEBUG, "wx_mp_svr")
    assert read_body(Dribbling(b"01", ConnectionError("gone")), 5) == b""
    assert "a body broke off" in caplog.text
    with pytest.raises(RequestEntityTooLarge):
        read_body(Dribbling(b"01", RequestEntityTooLarge()), 5)
