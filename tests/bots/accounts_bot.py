"""Several accounts from a database, mounted in one app."""

import sqlite3

from flask import Flask

from wx_mp_svr import WxMpServer

database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE account (name TEXT, token TEXT)")
database.executemany("INSERT INTO account VALUES (?, ?)", [(f"号{n}", f"Token{n}") for n in range(5)])

app = Flask(__name__)


def make(name, token, path):
    """One account; its own name is what its handler knows."""
    return WxMpServer(app=app, token=token, path=path, store="memory:", on_message=lambda req: f"{name}：{req.content}")


servers = [
    make(name, token, f"/wx/{number}")
    for number, (name, token) in enumerate(database.execute("SELECT name, token FROM account"))
]
