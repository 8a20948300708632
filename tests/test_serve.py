"""`run()`: what is not let onto an address that others can reach, where there is no listening, and what is served."""

import gc
import logging
import re
import signal
import socket
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from flask import Flask
from servers import free_port
from waiting import until
from werkzeug.serving import BaseWSGIServer

from wx_mp_svr import ConfigError, config
from wx_mp_svr.serve import _try_to_listen, serve

OWN = {"token": "ServesToken"}
DEMO = {"token": config.DEMO_TOKEN}


@pytest.mark.parametrize(
    ("account", "host", "debug", "words"),
    [
        (DEMO, "0.0.0.0", False, "the demo's Token, AES key or AppID are known to everybody, and 0.0.0.0 can be"),
        (DEMO, "192.0.2.1", True, "the demo's Token, AES key or AppID are known to everybody, and 192.0.2.1 can be"),
        (OWN, "0.0.0.0", True, "debug=True is for your own machine, and 0.0.0.0 can be reached by others"),
    ],
)
@pytest.mark.parametrize("by_argument", [True, False])
def test_others_reach_neither_the_demos_account_nor_a_program_that_is_being_written(
    account, host, debug, words, by_argument
):
    settings = config.load({**account, **({} if by_argument else {"host": host})}, {}, {})
    with pytest.raises(ConfigError) as error:
        serve(Flask("app"), settings, host=host if by_argument else None, port=None, debug=debug)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("account", [DEMO, OWN])
@pytest.mark.parametrize("by_argument", [True, False])
def test_a_port_that_is_taken_is_told_with_its_address(account, by_argument):
    """On this machine anything goes, as far as that."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = config.load({**account, **({} if by_argument else {"port": port})}, {}, {})
        with pytest.raises(ConfigError) as error:
            serve(Flask("app"), settings, host=None, port=port if by_argument else None, debug=True)
    english, chinese = str(error.value).split(" / ")
    assert english.startswith(f"127.0.0.1:{port} is in use: ")
    assert chinese.startswith(f"127.0.0.1:{port} 已被占用")


def test_a_port_that_was_just_left_can_be_listened_on():
    """Connections of before are still in the system's hands for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0] as connection:
            connection.shutdown(socket.SHUT_RDWR)
    for host in ("127.0.0.1", "localhost", "", "0.0.0.0"):
        _try_to_listen(host, address[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "坏" * 70])
def test_an_address_of_no_machine_of_ours_is_told(host):
    with pytest.raises(ConfigError) as error:
        _try_to_listen(host, 5001)
    english, chinese = str(error.value).split(" / ")
    assert english.startswith(f"{host}:5001 is no address of this machine")
    assert chinese.startswith(f"{host}:5001 不是本机的地址")


def test_whatever_else_keeps_one_from_listening_is_told_in_its_own_words(monkeypatch):
    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ConfigError) as error:
        _try_to_listen("127.0.0.1", 5001)
    cause = "[Errno 5] Input/output error"
    assert str(error.value) == f"127.0.0.1:5001 cannot be listened on: {cause} / 127.0.0.1:5001 监听不了：{cause}"
    assert isinstance(error.value.__cause__, OSError)


# -- what is served ----------------------------------------------------------------------------------------------------

SERVERS = pytest.mark.parametrize("server", ["waitress", "flask"])
MINE = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@contextmanager
def ended_by_its_own_signal_only():
    """Fail, and leave the process alive, where `serve` does not listen to SIGTERM."""

    def unheard(*_):
        raise AssertionError("serve() does not listen to SIGTERM")

    before = signal.signal(signal.SIGTERM, unheard)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def while_served(monkeypatch, server):
    """Serve in this thread, as a script does, let another thread visit, and end it as a process manager does."""
    if server == "flask":
        monkeypatch.setitem(sys.modules, "waitress", None)
    for name in ("werkzeug", "waitress.queue", "wx_mp_svr"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "level", logger.level)
        monkeypatch.setattr(logger, "handlers", logger.handlers[:])

    def tell(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr({name: value for name, value in environ.items() if name.isupper()}).encode()]

    def serve_and_visit(visit, app=tell, *, port=None, **given):
        port = free_port() if port is None else port
        settings = config.load({**OWN, "max_held": 1, "port": port, **given}, {}, {})

        def story():
            try:
                return visit(port)
            finally:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

        with ended_by_its_own_signal_only(), ThreadPoolExecutor(1) as pool:
            visited = pool.submit(story)
            try:
                serve(app, settings, host=None, port=None, debug=False)
            except SystemExit as end:  # Flask's; waitress comes back
                assert end.code == 0
            answer = visited.result()
        with warnings.catch_warnings():  # waitress leaves its socket to the end of the process
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        return answer

    return serve_and_visit


def connected(port):
    """Return a connection, once somebody listens."""

    def attempt():
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=20)

    return until(attempt)


def asked(port, head=MINE, body=b""):
    """Return the whole answer to a request, and hang up."""
    with connected(port) as connection:
        connection.sendall(f"{head}\r\n".encode() + body)
        answer = b""
        with suppress(ConnectionResetError):  # what was refused was not read to its end
            while more := connection.recv(65536):
                answer += more
    return answer.decode()


def status_of(answer):
    return int(answer.split()[1])


@SERVERS
def test_the_port_is_told_once_somebody_listens_there_and_no_address_is_logged(while_served, caplog):
    """Signatures, users and keys stand in the addresses."""
    caplog.set_level(logging.INFO, "wx_mp_svr")

    def visit(_):
        (port,) = until(lambda: re.findall(r"listening on http://127\.0\.0\.1:(\d+)/callback / 正在监听", caplog.text))
        with socket.create_connection(("127.0.0.1", int(port))):
            pass
        return asked(port, MINE.replace(" / ", " /?signature=0123 "))

    answer = while_served(visit, port=0, path="/callback")
    assert status_of(answer) == 200
    assert "'QUERY_STRING': 'signature=0123'" in answer
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("server", ["waitress"])
def test_that_there_are_more_requests_than_threads_is_not_told_by_waitress(while_served, caplog):
    gate = threading.Event()

    def answer(environ, start_response):
        gate.wait(20)
        start_response("200 OK", [])
        return [b""]

    def visit(port):
        with ExitStack() as stack:
            connections = [stack.enter_context(connected(port)) for _ in range(100)]  # for 17 threads
            for connection in connections:
                connection.sendall(f"{MINE}\r\n".encode())
            gate.set()
            return {connection.recv(65536)[:12] for connection in connections}

    assert while_served(visit, answer) == {b"HTTP/1.1 200"}
    assert not [record for record in caplog.records if record.name.startswith("waitress")]


@SERVERS
def test_what_is_said_is_shown_where_nobody_has_set_up_logging(while_served, monkeypatch, capsys):
    log = logging.getLogger("wx_mp_svr")
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "handlers", [])  # another test may have set it up
    port = free_port()
    while_served(asked, port=port)
    assert f"INFO in serve: listening on http://127.0.0.1:{port}/wx_mp_cb" in capsys.readouterr().err


@SERVERS
def test_what_a_proxy_says_is_left_for_the_app_to_see_and_not_believed(while_served):
    """The demo's account turns away whatever came through one."""
    said = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
    answer = while_served(
        lambda port: asked(port, MINE + "".join(f"{name}: {value}\r\n" for name, value in said.items()))
    )
    for name, value in said.items():
        assert repr(f"HTTP_{name.upper().replace('-', '_')}") + f": {value!r}" in answer
    assert "'REMOTE_ADDR': '127.0.0.1'" in answer
    assert "'SERVER_PROTOCOL': 'HTTP/1.1'" in answer


@SERVERS
def test_tries_that_are_held_do_not_keep_others_from_being_answered(while_served):
    """Each has a thread, and there are some for others; threads beyond are for connections that have nothing to say."""
    together = threading.Barrier(17)  # max_held=1, and 16 more

    def hold(environ, start_response):
        together.wait(20)
        start_response("200 OK", [])
        return [b""]

    def visit(port):
        with ExitStack() as open_ones, ThreadPoolExecutor(17) as users:
            for _ in range(110):
                open_ones.enter_context(connected(port))
            return [status_of(answer) for answer in users.map(asked, [port] * 17)]

    assert while_served(visit, hold) == [200] * 17


def request_of(size):
    """A request whose head has so many bytes."""
    head = f"{MINE}X-Filler: \r\n"
    return head.replace("Filler: ", f"Filler: {'a' * (size - len(head) - 2)}")


@pytest.mark.parametrize("server", ["waitress"])
@pytest.mark.parametrize(("size", "status"), [(16 * 1024 - 1, 200), (16 * 1024, 431)])
def test_headers_of_sixteen_kilobytes_are_refused(while_served, size, status):
    assert status_of(while_served(lambda port: asked(port, request_of(size)))) == status


@pytest.mark.parametrize("server", ["waitress"])
@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 413)])
def test_a_body_beyond_the_setting_is_refused_before_anybody_is_asked(while_served, size, status):
    head = MINE.replace("GET", "POST") + f"Content-Length: {size}\r\n"
    answer = while_served(lambda port: asked(port, head, b"x" * size), max_body=2000)
    assert status_of(answer) == status
    assert "Server: wx-mp-svr\r\n" in answer


def test_a_server_in_a_thread_leaves_signals_to_the_program(monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress", None)
    monkeypatch.setattr(BaseWSGIServer, "serve_forever", BaseWSGIServer.server_close)
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        settings = config.load({**OWN, "port": free_port()}, {}, {})
        pool.submit(serve, Flask("app"), settings, host=None, port=None, debug=False).result()
    assert signal.getsignal(signal.SIGTERM) is before
