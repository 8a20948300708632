"""`run()` before it serves: what is not let onto an address that others can reach, and where there is no listening."""

import socket

import pytest
from flask import Flask

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
