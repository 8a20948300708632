"""The bot that `load.py` puts under load: ``gunicorn 'bots:bot("def")'``.

A text that begins with "slow" takes 12 seconds, any other 0.1; the answer repeats the text. Each run of the handler leaves
a line in the file ``BENCH_RUNS``, whichever process it is in; ``GET /bench`` tells what `WxMpServer.stats` says.
"""

import asyncio
import os
import time
from typing import Any

from wx_mp_svr import WxMpServer

SLOW_SECONDS = 12.0
FAST_SECONDS = 0.1

_runs = os.open(os.environ["BENCH_RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def bot(kind: str) -> WxMpServer:
    """Return a bot whose handler is a ``def`` or an ``async def``."""
    server = WxMpServer(on_message={"def": answer, "async": answer_async}[kind])
    server.app.add_url_rule("/bench", "bench", server.stats)
    return server


def answer(req: Any) -> str:
    time.sleep(_begin(req.content))
    return f"answer to {req.content}"


async def answer_async(req: Any) -> str:
    await asyncio.sleep(_begin(req.content))
    return f"answer to {req.content}"


def _begin(text: str) -> float:
    os.write(_runs, f"{text}\n".encode())
    return SLOW_SECONDS if text.startswith("slow") else FAST_SECONDS
