"""Part "start": what importing the package costs over importing Flask, and the memory of a process with an app.

Every figure is from a fresh process; the kinds take turns.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pushes import AES_KEY, APPID, CALLBACK, TOKEN, Sender, environ_of
from tables import mark, quartiles, table

IMPORT_GOAL, MEMORY_GOAL = 1.7, 1.3
SOURCE = Path(__file__).resolve().parent.parent.parent / "src"

FLASK, OURS = "flask", "wx_mp_svr"
IMPORTS = {
    FLASK: "import flask",
    OURS: "import wx_mp_svr",
    "flask and wechatpy": "import flask, wechatpy, wechatpy.crypto, wechatpy.utils",
    "flask and WeRoBot": "import flask, werobot, werobot.contrib.flask, werobot.crypto",
}
TIMED = "import time; begun = time.process_time(); {statement}; print(time.process_time() - begun)"

BARE = "bare Flask"
SERVER = f"""
from wx_mp_svr import WxMpServer
app = WxMpServer(on_message=lambda req: "hello", token={TOKEN!r}, aes_key={AES_KEY!r}, appid={APPID!r},
                 path={CALLBACK!r}, store=STORE)
"""
APPS = {
    BARE: f"""
from flask import Flask
app = Flask("bare")
app.add_url_rule({CALLBACK!r}, "callback", lambda: "success", methods=["GET", "POST"])
""",
    "ours, memory store": SERVER.replace("STORE", '"memory:"'),
    "ours, SQLite store": SERVER.replace("STORE", '"sqlite:bench.sqlite3"'),
}
# The push comes by stdin, so that what makes it is not in the process that is measured.
RESIDENT = """
import io, json, os, sys
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
environ, body = json.load(sys.stdin)
{make}
idle = resident()
environ.update({{"wsgi.input": io.BytesIO(body.encode()), "wsgi.errors": sys.stderr}})
b"".join(app(environ, lambda status, headers, exc_info=None: status.startswith("200") or sys.exit(status)))
print(json.dumps([idle, resident()]))
"""


def run(rounds: int) -> str:
    """Measure, and return the tables."""
    title = f"Fresh processes, {rounds} of each kind; CPU time of the import alone.\n\n"
    return title + imports(rounds) + "\n" + memory(rounds)


def imports(rounds: int) -> str:
    """Measure imports."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(rounds + 1):
        for name, statement in IMPORTS.items():
            spent = float(_python(TIMED.format(statement=statement)))
            if turn:  # the first one compiles
                seconds[name].append(spent * 1000)
    rows = []
    for name, figures in seconds.items():
        low, middle, high = quartiles([own / base for own, base in zip(figures, seconds[FLASK], strict=True)])
        goal = IMPORT_GOAL if name == OURS else None
        said = f"{goal:.2f}" if goal else ""
        rows.append([name, f"{quartiles(figures)[1]:.0f}", mark(middle, goal), f"{low:.2f} - {high:.2f}", said])
    return table(["import", "CPU ms", "x flask", "quartiles", "goal"], rows)


def memory(rounds: int) -> str:
    """Measure what processes hold before and after their first message."""
    idle: dict[str, list[float]] = {name: [] for name in APPS}
    used: dict[str, list[float]] = {name: [] for name in APPS}
    for _ in range(rounds):
        for name, make in APPS.items():
            push = Sender("safe").text("hello")
            environ = {key: value for key, value in environ_of(push).items() if isinstance(value, str | bool)}
            before, after = json.loads(_python(RESIDENT.format(make=make), json.dumps([environ, push.body.decode()])))
            idle[name].append(before)
            used[name].append(after)
    rows = []
    for name in APPS:
        (_, before, _), (_, after, _) = quartiles(idle[name]), quartiles(used[name])
        goal = None if name == BARE else MEMORY_GOAL
        ratios = [mark(own / quartiles(base[BARE])[1], goal) for own, base in ((before, idle), (after, used))]
        rows.append([name, f"{before:.1f}", ratios[0], f"{after:.1f}", ratios[1], f"{goal:.2f}" if goal else ""])
    return table(["resident memory", "idle MB", "x bare", "after a message", "x bare", "goal"], rows)


def _python(code: str, given: str = "") -> str:
    left_out = ("WX_MP_", "PYTHONDONTWRITEBYTECODE")  # installed packages are compiled
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    env = {**inherited, "PYTHONPATH": str(SOURCE)}
    with tempfile.TemporaryDirectory(prefix="wx-mp-bench-") as folder:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, input=given, stdout=subprocess.PIPE, text=True, env=env, cwd=folder, check=True
        ).stdout
