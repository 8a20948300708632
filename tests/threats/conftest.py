"""A server in each of the three modes, shared by a chapter."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest
from live import Live


@pytest.fixture(scope="module", autouse=True)
def _clean_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("WX_MP_"):
                patch.delenv(name)
        patch.setenv("WX_MP_STORE", "memory:")  # each server here is alone
        yield


@pytest.fixture(scope="module")
def plain() -> Iterator[Live]:
    with Live(mode="plain").serving() as live:
        yield live


@pytest.fixture(scope="module")
def compatible() -> Iterator[Live]:
    with Live(mode="compatible").serving() as live:
        yield live


@pytest.fixture(scope="module")
def safe() -> Iterator[Live]:
    with Live(mode="safe").serving() as live:
        yield live


@pytest.fixture(params=["plain", "safe"])
def live(request: pytest.FixtureRequest) -> Live:
    """One that reads packets as they come, and one that reads them unsealed: the modes with AES do that alike."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["plain", "compatible", "safe"])
def each_mode(request: pytest.FixtureRequest) -> Live:
    """For what the mode decides. What is refused or answered before the mode is looked at needs but one of them."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["compatible", "safe"])
def aes(request: pytest.FixtureRequest) -> Live:
    """The two modes with AES."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def listener() -> Iterator[Callable[[], bool]]:
    """A port where a fetch would be noticed; gives its number and whether somebody called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def was_called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        was_called.url = f"http://127.0.0.1:{server.getsockname()[1]}/x"  # type: ignore[attr-defined]
        yield was_called
