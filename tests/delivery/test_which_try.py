"""Which of WeChat's tries a request is: what the table of ages does not show. That one is with the slow replies."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from wx_mp_svr.clock import REAL
from wx_mp_svr.delivery.ledger import Ledger
from wx_mp_svr.delivery.rules import Times
from wx_mp_svr.delivery.which_try import WhichTry
from wx_mp_svr.store.memory import MemoryStore


def test_many_that_come_at_once_learn_from_one_another_without_harm():
    """Each request's thread reads and writes the same few ages."""
    ledger = Ledger(MemoryStore(), REAL, keep_seconds=600, keep_answers=86400)
    which = WhichTry(ledger, Times(), REAL, fresh=False)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def come(number):
            for n in range(300):
                timestamp = int(time.time())
                age = which.judge(timestamp)
                which.first(f"p:{number}:{n}", age, timestamp)
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(come, range(8)))
    finally:
        sys.setswitchinterval(interval)
