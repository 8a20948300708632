"""A simulator that is started again: the talk goes on, and a page that was open finds it, and nobody else."""

import hashlib
import hmac
import os
import stat
import time

import pytest

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk.simulator import make_app
from wx_mp_svr.desk.simulator.keeping import KEEP_SECONDS, Keeping

BASE = "http://127.0.0.1:5002"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path


def start(what="bot.py 5002"):
    keeping = Keeping(what)
    server = WxMpServer(token="KeepingTests1", store="memory:", on_message=lambda req: req.content)
    app = make_app(server, token="KeepingTests1", keeping=keeping)
    return app, keeping


def sign(secret, challenge):
    return hmac.new(secret.encode(), challenge.encode(), hashlib.sha256).hexdigest()


def come_back(app, secret, challenge=None):
    client = app.test_client()
    challenge = challenge or client.get("/back", base_url=BASE).json["challenge"]
    body = {"challenge": challenge, "proof": sign(secret, challenge)}
    return client.post("/back", base_url=BASE, json=body)


def test_the_talk_goes_on_and_an_open_page_gets_the_new_key(folder):
    app, keeping = start()
    talk = app.config["TALK"]
    talk.push(talk.build({"msg_type": "text", "elements": {"Content": "还在吗"}}))
    keeping.save(talk.pause())
    again, _ = start()
    assert [push["fields"]["Content"] for push in again.config["TALK"].until(9)] == ["还在吗"]
    assert again.config["KEY"] != app.config["KEY"]
    assert come_back(again, keeping.secret).json == {"key": again.config["KEY"]}


def test_nobody_else_is_let_in(folder):
    """Not with another secret, not with a challenge that was answered, not with one of one's own, not from another host."""
    app, keeping = start()
    assert come_back(app, "guessed").status_code == 403
    client = app.test_client()
    challenge = client.get("/back", base_url=BASE).json["challenge"]
    assert come_back(app, keeping.secret, challenge).status_code == 200
    assert come_back(app, keeping.secret, challenge).status_code == 403
    assert come_back(app, keeping.secret, "mine").status_code == 403
    assert client.post("/back", base_url=BASE, json={"challenge": "é", "proof": "é"}).status_code == 403
    assert client.get("/back", base_url="http://evil.example:5002").status_code == 403


def test_the_file_is_for_this_user_and_for_an_hour(folder):
    _, keeping = start()
    keeping.save("{}")
    (file,) = folder.glob("simulator-*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Keeping("bot.py 5002").secret == keeping.secret
    assert Keeping("other.py 5002").secret != keeping.secret
    old = time.time() - KEEP_SECONDS - 1
    os.utime(file, (old, old))
    assert Keeping("bot.py 5002").talk == ""
    assert list(folder.glob("simulator-*.json")) == []


@pytest.mark.parametrize("text", ["", "[]", '{"talk": "{}"}', "\ud800"])
def test_a_file_that_cannot_be_read_is_none(text, folder):
    _, keeping = start()
    keeping.save("{}")
    (file,) = folder.glob("simulator-*.json")
    file.write_bytes(text.encode(errors="surrogatepass"))
    assert Keeping("bot.py 5002").talk == ""
