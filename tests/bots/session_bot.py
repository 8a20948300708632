"""A bot that counts in `req.session`; the words of a message say how. Its notes are in the folder ``NOTES``."""

import os
import time
from pathlib import Path

from wx_mp_svr import WxMpServer

server = WxMpServer()
folder = Path(os.environ["NOTES"])


@server.text("ping")
def ping(req):
    """Touch nothing."""
    return f"pong {os.getpid()}"


@server.on_message
def on_message(req):
    """``count``: count up. ``hold NAME``: count up, and go on when there is a file of that name."""
    session = req.session
    session["n"] = session.get("n", 0) + 1
    verb, _, name = req.content.partition(" ")
    if verb == "hold":
        note(f"{name} {os.getpid()}")
        give_up = time.monotonic() + 30
        while not (folder / name).exists() and time.monotonic() < give_up:
            time.sleep(0.01)
    return f"{session['n']} {os.getpid()}"


@server.on_subscribe
async def on_subscribe(event):
    """Count up in the event loop."""
    async with event.session as session:
        session["n"] = session.get("n", 0) + 1
        return f"{session['n']} {os.getpid()}"


def note(line):
    with (folder / "notes").open("a") as notes:
        notes.write(line + "\n")
