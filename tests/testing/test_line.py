"""How a push travels: what stands on the wire, which address is dialled, and what an application in this process sees."""

import re
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from certificates import certify

from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.testing.line import (
    MAX_REPLY_BYTES,
    TIMEOUT_SECONDS,
    HttpTarget,
    Line,
    WsgiTarget,
    dial,
    family_of,
    place_of,
)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a.example/wx", ("a.example", 80)),
        ("https://a.example/wx", ("a.example", 443)),
        ("https://u:p@A.example:8443/wx", ("a.example", 8443)),
        ("http://[::1]:5001/", ("::1", 5001)),
        ("http:///wx", ("", 80)),
    ],
)
def test_a_url_has_a_place(url, place):
    assert place_of(urlsplit(url)) == place


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_names_of_this_machine_may_be_of_any_family_and_others_are_ipv4(host):
    assert family_of(host) == socket.AF_UNSPEC
    assert family_of("a.example") == socket.AF_INET


def test_addresses_are_dialled_in_turn_and_the_last_one_says_why_not():
    dialled = []

    def connect(address, timeout):
        dialled.append((*address, timeout))
        if address[0] != "10.0.0.3":
            raise ConnectionRefusedError(address[0])
        return "connected"

    assert dial(["10.0.0.1", "10.0.0.3", "10.0.0.4"], 80, 2.5, connect) == "connected"
    assert dialled == [("10.0.0.1", 80, 2.5), ("10.0.0.3", 80, 2.5)]
    with pytest.raises(ConnectionRefusedError, match=r"10\.0\.0\.2"):
        dial(["10.0.0.1", "10.0.0.2"], 80, 2.5, connect)
    assert dialled[2:] == [("10.0.0.1", 80, 2.5), ("10.0.0.2", 80, 2.5)]


def test_a_line_knows_when_it_ended_and_whether_it_was_hung_up():
    line = Line(FastClock(wall=lambda: 0.0))
    assert (line.is_hung_up, line.ended_at, line.status, line.headers) == (False, 0.0, None, {})
    assert (line.reply, line.error, line.connection) == (b"", "", None)
    assert not line.ended.wait(0)
    line.end()
    assert line.ended.wait(0)
    assert line.ended_at > 0
    assert not line.hung_up.wait(0)
    line.hang_up()  # there is no connection yet, or it is over
    assert line.is_hung_up
    assert line.hung_up.wait(0)


class Listener:
    """Answers one request and keeps what came."""

    def __init__(self, *answer, context=None):
        self.answer = b"".join(answer)
        self.context = context
        self.came = b""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def serve(self):
        connection, _ = self.socket.accept()
        with connection, suppress(OSError):  # who asks may go away early
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            # All of it: to close over what is still on its way would take the answer back.
            while not self.is_whole() and (more := connection.recv(65536)):
                self.came += more
            connection.sendall(self.answer)
            connection.close()

    def is_whole(self):
        head, _, body = self.came.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        return b"\r\n\r\n" in self.came and len(body) >= int(length[1] if length else 0)

    def __exit__(self, *_):
        self.thread.join(10)
        self.socket.close()


def request(target, method="POST", query="a=1", body=b"<xml/>"):
    line = Line(REAL)
    target(method, query, body, line)
    return line


@pytest.mark.parametrize(
    ("url", "version", "first", "host"),
    [
        ("http://127.0.0.1:{port}", "1.0", "POST /?a=1 HTTP/1.0", "127.0.0.1:{port}"),
        ("http://u:p@127.0.0.1:{port}/wx?id=2", "1.0", "POST /wx?id=2&a=1 HTTP/1.0", "127.0.0.1:{port}"),
        ("http://localhost:{port}/wx", "1.1", "POST /wx?a=1 HTTP/1.1", "localhost:{port}"),
    ],
)
def test_a_request_goes_to_its_path_with_the_queries_of_both(url, version, first, host):
    with Listener(b"HTTP/1.1 403 No\r\nX-Kind: A\r\nContent-Length: 2\r\n\r\nok") as listener:
        line = request(HttpTarget(url.format(port=listener.port), version))
    head = listener.came.split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == first
    assert [row for row in head if row.startswith("Host:")] == [f"Host: {host.format(port=listener.port)}"]
    assert (line.status, line.reply, line.headers) == (403, b"ok", {"x-kind": "A", "content-length": "2"})


def test_wechats_version_is_the_old_one_and_an_endless_reply_is_cut():
    with Listener(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * (MAX_REPLY_BYTES + 1)) as listener:
        line = request(HttpTarget(f"http://127.0.0.1:{listener.port}/"), "GET", body=b"")
    assert listener.came.startswith(b"GET /?a=1 HTTP/1.0\r\n")
    assert b"Content-Length" not in listener.came
    assert len(line.reply) == MAX_REPLY_BYTES == 1024 * 1024
    assert TIMEOUT_SECONDS == 20


def test_who_was_hung_up_on_while_connecting_sends_nothing():
    with Listener() as listener:
        line = Line(REAL)
        line.is_hung_up = True
        HttpTarget(f"http://127.0.0.1:{listener.port}/")("GET", "a=1", b"", line)
    assert (line.status, listener.came) == (None, b"")


def test_over_https_whose_certificate_it_is_counts(tmp_path, monkeypatch):
    certify(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    with Listener(b"HTTP/1.0 200 OK\r\n\r\nok", context=context) as listener:
        line = request(HttpTarget(f"https://127.0.0.1:{listener.port}/"))
    assert (line.status, line.reply) == (200, b"ok")
    with (
        Listener(context=context) as listener,
        pytest.raises(ssl.SSLCertVerificationError, match="localhost"),
    ):
        request(HttpTarget(f"https://localhost:{listener.port}/"))


class Answer(list):
    closed = False

    def close(self):
        self.closed = True


def test_an_application_in_this_process_sees_a_request_of_wechats():
    seen, answer = {}, Answer([b"su", b"ccess"])

    def app(environ, start_response):
        seen.update(environ, body=environ["wsgi.input"].read())
        assert start_response("200 OK", [("X-Kind", "A")], None)(b"old way") is None
        return answer

    line = request(WsgiTarget(app, "/wx"), query="a=1&b=2")
    assert (line.status, line.reply, line.headers) == (200, b"success", {"x-kind": "A"})
    assert answer.closed
    expected = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/wx",
        "QUERY_STRING": "a=1&b=2",
        "CONTENT_TYPE": "text/xml",
        "CONTENT_LENGTH": "6",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.multithread": True,
        "wsgi.url_scheme": "http",
        "body": b"<xml/>",
    }
    assert {name: seen[name] for name in expected} == expected


def test_an_answer_is_closed_even_where_it_breaks_off():
    class Broken(Answer):
        def __iter__(self):
            raise KeyError("broken")

    answer = Broken()
    with pytest.raises(KeyError):
        request(WsgiTarget(lambda environ, start_response: answer, "/"))
    assert answer.closed
