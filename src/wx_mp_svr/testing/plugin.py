"""For pytest: the fixture `wechat`, a WeChat that pushes to a copy of your bot. Nothing loads it unasked.

In conftest.py beside the bot::

    pytest_plugins = ["wx_mp_svr.testing.plugin"]

The bot is ``server`` in ``bot.py``; another one is named in pytest's settings (``wx_mp_server = "package.module:name"``).
Where nothing is set, it gets the demo's account, as in ``python bot.py``.
"""

import importlib
import os
from typing import Any

import pytest

from ..config import demo_account
from .client import FakeWeChat


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare which bot it is."""
    parser.addini("wx_mp_server", "the bot under test, module:name", default="bot:server")


def pytest_configure(config: pytest.Config) -> None:
    """Give a bot that is imported the account which a bot that is run would get."""
    patch = pytest.MonkeyPatch()
    for name, value in demo_account({}, {}, os.environ).items():
        patch.setenv(name, value)
    config.add_cleanup(patch.undo)


@pytest.fixture(scope="session")
def wx_mp_server(pytestconfig: pytest.Config) -> Any:
    """The bot."""
    module, _, name = pytestconfig.getini("wx_mp_server").partition(":")
    return getattr(importlib.import_module(module), name or "server")


@pytest.fixture
def wechat(wx_mp_server: Any) -> FakeWeChat:
    """A WeChat for one test; the bot's copy remembers nothing of other tests."""
    client: FakeWeChat = wx_mp_server.test_client()
    return client
