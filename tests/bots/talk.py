"""What the bots of all queues say. The words of a message say what to do; each run is noted in Redis, with its process."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from redis import Redis

from wx_mp_svr import SubscribeEvent, TextReqMsg

notes = Redis.from_url(os.environ["BROKER"])


def on_message(req: TextReqMsg) -> Any:
    verb, *words = req.content.split()
    runs = notes.rpush(f"runs:{req.content}", os.getpid())
    if verb == "sleep":
        time.sleep(float(words[0]))
    if verb == "hang" and runs == 1:
        time.sleep(float(words[0]))
    if verb == "write":
        return write(*words)
    if verb == "awrite":
        return awrite(*words)
    if verb == "raise":
        raise ValueError(req.content)
    return f"done: {req.content}"


async def on_subscribe(event: SubscribeEvent) -> str:
    notes.rpush(f"runs:{event.event_key}", os.getpid())
    return f"welcome {event.event_key}"


def write(pieces: str, pause: str, *quick: str) -> Iterator[str]:
    """Yield so many sentences with a pause before each; those in the beginning may go without."""
    for number in range(int(pieces)):
        if number >= int("".join(quick) or 0):
            time.sleep(float(pause))
        yield sentence(number)


async def awrite(*words: str) -> AsyncIterator[str]:
    for piece in write(*words):
        yield piece


def sentence(number: int) -> str:
    return f"第 {number} 句，" + "字" * 30 + "。\n"
