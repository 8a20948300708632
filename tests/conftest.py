"""Servers that several tests share, started once."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
import servers
from wechat import WeChat

MODES = ("plain", "compatible", "safe")
FRONTS = ("demo", "gunicorn", "nginx")
CHROMIUM = "/usr/bin/chromium"
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


@pytest.fixture(scope="session")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, servers.Running]]]:
    """The demo, served in three ways: mode -> front -> a server that answers. A mode starts when a test asks for it."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:

        @cache
        def serve(mode: str) -> dict[str, servers.Running]:
            home = tmp_path_factory.mktemp(mode)
            settings = settings_of(mode)
            for front in FRONTS:
                (home / front).mkdir()
            demo = pool.submit(lambda: stack.enter_context(servers.demo(home / "demo", **settings)))
            gunicorn = stack.enter_context(
                servers.gunicorn(home / "gunicorn", socket=home / "gunicorn.sock", **settings)
            )
            backend = {"nginx": f"http://unix:{home / 'gunicorn.sock'}:"}
            return {
                "demo": demo.result(),
                "gunicorn": gunicorn,
                **stack.enter_context(servers.nginx(home / "nginx", backend)),
            }

        yield serve


@pytest.fixture(scope="session", params=[(front, mode) for front in FRONTS for mode in MODES], ids="-".join)
def wechat(request: pytest.FixtureRequest, fronts: Callable[[str], dict[str, servers.Running]]) -> WeChat:
    """WeChat in front of each of the nine servers."""
    front, mode = request.param
    return WeChat(fronts(mode)[front].url, **ACCOUNT, mode=mode)


@pytest.fixture(scope="session", params=FRONTS)
def front(request: pytest.FixtureRequest, fronts: Callable[[str], dict[str, servers.Running]]) -> WeChat:
    """WeChat in front of each kind of server, in safe mode: for what the mode does not decide."""
    return WeChat(fronts("safe")[request.param].url, **ACCOUNT, mode="safe")


# Stories in real seconds and through real servers: each of these files takes one worker a minute or two.
LONG = (
    "test_runner",
    "test_processes",
    "test_end_to_end",
    "test_simulator",
    "test_demos",
    "test_deploy",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files: whichever comes last, the other workers wait for it."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Keep what tests print encodable: some log lone surrogates, which no worker could send to its master."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, without a page."""
    if not shutil.which(CHROMIUM):
        pytest.fail(
            f"{CHROMIUM} is missing, but these tests need a real browser: apt-get install chromium fonts-noto-cjk"
        )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("playwright is missing: pip install playwright (its own browsers are not needed)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()
