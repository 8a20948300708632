"""A bot that takes as long as the message says, and leaves a line for each run."""

import os
import time

from wx_mp_svr import WxMpServer

server = WxMpServer()


@server.on_message
def on_message(req):
    """``3 小明``: sleep 3 seconds (scaled), then greet."""
    seconds, _, name = req.content.partition(" ")
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(f"{os.getpid()} {name}\n")
    time.sleep(float(seconds))
    return f"你好{name}，{os.getpid()}"
