"""A simulator that is started again: the talk goes on, and a page that was open finds it, and nobody else."""

import hashlib
import hmac
import os
import stat
import tempfile
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


def test_a_folder_that_is_not_there_is_made_for_this_user(tmp_path, monkeypatch):
    new = tmp_path / "run" / "bot"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(new))
    keeping = Keeping("bot.py 5002")
    keeping.save("你好")
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    again = Keeping("bot.py 5002")
    assert (again.talk, again.secret) == ("你好", keeping.secret)
    keeping.save("再见")  # in the place of the other one
    assert Keeping("bot.py 5002").talk == "再见"
    assert len(list(new.iterdir())) == 1


def test_without_a_folder_of_this_users_own_another_one_is_taken_or_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    keeping = Keeping("bot.py 5002")
    keeping.save("lost")
    assert Keeping("bot.py 5002").talk == ""
    Keeping("bot.py 5002", tmp_path).save("kept")
    assert Keeping("bot.py 5002", tmp_path).talk == "kept"
    assert Keeping("bot.py 5003", tmp_path).talk == ""


def test_a_disk_that_is_full_does_not_spoil_the_end(folder):
    keeping = Keeping("bot.py 5002")
    keeping.save("{}")
    (file,) = folder.glob("simulator-*.json")
    file.unlink()
    file.mkdir()  # stands for whatever keeps it from being written
    keeping.save("{}")
    assert Keeping("bot.py 5002").talk == ""


def test_what_was_kept_for_an_hour_is_still_there_and_no_longer(folder):
    Keeping("bot.py 5002").save("{}")
    (file,) = folder.glob("simulator-*.json")
    for age, left in ((KEEP_SECONDS - 60, 1), (KEEP_SECONDS + 1, 0)):
        os.utime(file, (time.time() - age,) * 2)
        Keeping("other.py 5002")
        assert len(list(folder.glob("simulator-*.json"))) == left
    assert KEEP_SECONDS == 3600


def test_only_the_latest_challenges_are_known(folder):
    keeping = Keeping("bot.py 5002")
    challenges = [keeping.challenge() for _ in range(51)]
    known = [keeping.is_known(challenge, sign(keeping.secret, challenge)) for challenge in challenges]
    assert known == [False] + [True] * 50
    assert len(set(challenges)) == 51
    assert len(keeping.secret) > 40
