"""WeChat's side of the street: builds, signs and encrypts pushes, retries them, opens replies and judges them.

For your tests (`WxMpServer.test_client`), the simulator and the command line. Uses `signature` and `crypto`, which known
answers hold, but never `envelope` or `exchange`.
"""

from ..wire import Mode
from .client import DEADLINE_SECONDS, FAULT_NOTICE, FakeWeChat, Faults
from .judge import Check, Link, Result, Try

__all__ = ["DEADLINE_SECONDS", "FAULT_NOTICE", "Check", "FakeWeChat", "Faults", "Link", "Mode", "Result", "Try"]
