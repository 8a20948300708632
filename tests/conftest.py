"""Servers that several tests share, started once."""

import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import servers
from wechat import WeChat
from xdist.scheduler import LoadFileScheduling

# What a shell starts in the background ignores Ctrl-C, and so would all that tests start and end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

MODES = ("plain", "compatible", "safe")
FRONTS = ("demo", "gunicorn", "nginx")
FULL_COLLECTION = 20  # after so many of the younger ones
ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Nobody's account, and none of the demo's values.
ACCOUNT = {
    "token": "EndToEnd9",
    "aes_key": "kWxyzABCDEFGHIJKLMNOPQRSTUVabcdefghij012345",
    "appid": "wx0e2d1c0b9a8f7e6d",
}


def settings_of(mode: str) -> dict[str, str]:
    """What a server in one mode is started with."""
    account = {"WX_MP_TOKEN": ACCOUNT["token"], "WX_MP_APPID": ACCOUNT["appid"]}
    if mode == "plain":
        return {**account, "WX_MP_MODE": mode}
    return {**account, "WX_MP_MODE": mode, "WX_MP_AES_KEY": ACCOUNT["aes_key"]}


@pytest.fixture(scope="session", autouse=True)
def _own_runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where processes of this machine meet: tests and whoever else runs a bot here must not meet each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME_DIRECTORY", str(tmp_path_factory.mktemp("runtime")))
        yield


@pytest.fixture(autouse=True)
def _hear_only_this_test(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What a thread of an earlier test still has to say is not for this one: slow answers end whenever they do."""
    earlier = set(threading.enumerate()) - {threading.current_thread()}

    def ours(_record: logging.LogRecord) -> bool:
        return threading.current_thread() not in earlier

    caplog.handler.addFilter(ours)
    yield
    caplog.handler.removeFilter(ours)


@pytest.fixture(scope="session")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], servers.Running]]:
    """The demo, served in three ways: front, mode -> a server that answers. Each starts when a test asks for it."""
    with ExitStack() as stack:

        @cache
        def backend(mode: str) -> tuple[servers.Running, Path]:
            home = tmp_path_factory.mktemp(f"gunicorn-{mode}")
            socket = home / "gunicorn.sock"
            return stack.enter_context(servers.gunicorn(home, socket=socket, **settings_of(mode))), socket

        @cache
        def serve(front: str, mode: str) -> servers.Running:
            if front == "gunicorn":
                return backend(mode)[0]
            home = tmp_path_factory.mktemp(f"{front}-{mode}")
            if front == "demo":
                return stack.enter_context(servers.demo(home, **settings_of(mode)))
            return stack.enter_context(servers.nginx(home, f"http://unix:{backend(mode)[1]}:"))

        yield serve


@pytest.fixture(scope="session", params=[(front, mode) for front in FRONTS for mode in MODES], ids="-".join)
def wechat(request: pytest.FixtureRequest, fronts: Callable[[str, str], servers.Running]) -> WeChat:
    """WeChat in front of each of the nine servers."""
    front, mode = request.param
    return WeChat(fronts(front, mode).url, **ACCOUNT, mode=mode)


@pytest.fixture(scope="session", params=FRONTS)
def front(request: pytest.FixtureRequest, fronts: Callable[[str, str], servers.Running]) -> WeChat:
    """WeChat in front of each kind of server, in safe mode: for what the mode does not decide."""
    return WeChat(fronts(request.param, "safe").url, **ACCOUNT, mode="safe")


# Stories in real seconds and through real servers: whichever of them came last, the other workers would wait for it.
FIRST = (
    "test_runner",
    "test_simulator",
    "test_demos",
    "test_llm_bot",
    "test_deploy",
    "test_readme",
    "test_service_bot",
    "test_sessions",
    "test_processes",
    "test_dev",
    "test_end_to_end",
)
# Files whose tests share nothing, or only with those of the same parameter: what stands behind this in a test's name tells
# which of them belong together.
APART = {"test_processes": "::", "test_dev": "::", "test_runner": "["}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    rank = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(FIRST)))


def pytest_collection_finish() -> None:
    """Let no full collection of garbage fall into a test: with thousands of them in memory it takes up to two seconds."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1_000_000)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Collect all garbage between two tests, when there may be much.

    The younger generations first: collected together, a socket may come before the connection that would close it, and
    Python warns of an open socket.
    """
    if gc.get_count()[2] > FULL_COLLECTION:
        gc.collect(1)
        gc.collect()


class ByFile(LoadFileScheduling):
    """A file is one worker's, so that what its tests share is started once; but for those of `APART`."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        stem = Path(file).stem
        return file + nodeid.partition(APART[stem])[2] if stem in APART else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Give the workers their tests."""
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Keep what tests print encodable: some log lone surrogates, which no worker could send to its master."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line what was left out, and which packages it needs."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    packages = [reason.partition(servers.NEEDS)[2] for reason in reasons if servers.NEEDS in reason]
    if packages:
        needed = " ".join(sorted(set(packages)))
        terminalreporter.write_line(f"{len(packages)} tests were left out: sudo apt-get install {needed}", yellow=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, without a page."""
    from playwright.sync_api import sync_playwright  # not at the top: most tests have no need of it

    program = servers.installed("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGS)
        yield browser
        browser.close()
