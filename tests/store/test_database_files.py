"""The files of the SQLite store: whose they are, who reads them, and what becomes of one that is damaged or deleted."""

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import servers
from waiting import until

from wx_mp_svr import ConfigError, StoreError, WxMpServer
from wx_mp_svr.store.secure import move_aside
from wx_mp_svr.store.sqlite import SQLiteStore
from wx_mp_svr.testing import FakeWeChat

TOKEN = "StoreFiles1"
NOBODY = 65534


def modes(folder):
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.is_file()}


def mounted(path):
    return WxMpServer(token=TOKEN, store=f"sqlite:{path}", on_message=lambda req: req.content)


def said(path):
    """What the start says of it; one line in both languages, for a person to act on."""
    with pytest.raises(ConfigError) as caught:
        mounted(path)
    words = str(caught.value)
    assert words.startswith("WX_MP_STORE: SQLite: ")
    assert "\n" not in words
    return words


def test_b136_files_and_folders_that_we_make_are_for_us_alone(tmp_path):
    """Whatever umask somebody has."""
    before = os.umask(0)
    try:
        store = SQLiteStore(tmp_path / "a" / "b" / "bot.db")
        store.set("k", "v", 60)
    finally:
        os.umask(before)
    folder = tmp_path / "a" / "b"
    assert {stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent)} == {0o700}
    assert modes(folder) == {"bot.db": 0o600, "bot.db-wal": 0o600, "bot.db-shm": 0o600}


def test_b136_ours_and_too_open_is_tightened(tmp_path, caplog):
    """The folder that was there before is left as it is."""
    tmp_path.chmod(0o755)
    for name in ("bot.db", "bot.db-wal", "bot.db-shm"):
        (tmp_path / name).touch(0o666)
        (tmp_path / name).chmod(0o666)
    SQLiteStore(tmp_path / "bot.db").set("k", "v", 60)
    assert set(modes(tmp_path).values()) == {0o600}
    assert caplog.text == ""
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_b136_where_the_file_system_knows_no_modes_others_may_read_along_and_it_is_warned_of(
    mode, tmp_path, caplog, monkeypatch
):
    """As on a USB stick: there chmod changes nothing."""
    (tmp_path / "bot.db").touch()
    (tmp_path / "bot.db").chmod(mode)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    SQLiteStore(tmp_path / "bot.db").set("k", "v", 60)
    assert f"others may read {tmp_path / 'bot.db'}, and its file system knows no modes" in caplog.text


@pytest.mark.parametrize("beside", ["", "-wal", "-shm"])
def test_b136_another_users_file_is_a_config_error(beside, tmp_path):
    """Made beforehand with mode 0666, to read along or to plant answers."""
    (tmp_path / "bot.db").touch(0o600)
    planted = tmp_path / f"bot.db{beside}"
    planted.touch()
    planted.chmod(0o666)
    os.chown(planted, NOBODY, NOBODY)
    words = said(tmp_path / "bot.db")
    assert f"{planted} 属于本机的另一个用户" in words
    assert stat.S_IMODE(planted.stat().st_mode) == 0o666


@pytest.mark.parametrize(("mode", "warned"), [(0o777, True), (0o1777, False), (0o755, False)])
def test_b136_a_folder_that_anybody_may_write_is_warned_of(mode, warned, tmp_path, caplog):
    """A sticky one is safe: nobody can replace our file."""
    tmp_path.chmod(mode)
    mounted(tmp_path / "bot.db")
    assert ("本机任何人都能写这个目录" in caplog.text) == warned


def test_what_never_was_a_database_is_a_config_error(tmp_path):
    """Somebody's notes are not written over."""
    (tmp_path / "notes.txt").write_text("milk, eggs\n" * 100)
    assert "不是数据库文件：请换一个路径" in said(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "milk, eggs\n" * 100


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "bot.db").mkdir()
    assert "是一个目录：请写到文件名" in said(tmp_path / "bot.db")
    (tmp_path / "file").touch()
    assert "没有权限写" in said(tmp_path / "file" / "bot.db")


def test_the_error_names_its_setting_once_in_each_language(tmp_path):
    """`check` shows it like any other setting that is wrong."""
    with pytest.raises(ConfigError) as caught:
        WxMpServer(token="StoreFiles1", store=f"sqlite:{tmp_path}")
    ((name, english, chinese),) = caught.value.problems
    assert name == "WX_MP_STORE"
    assert english == f"SQLite: {tmp_path} is a folder; name a file in it"
    assert chinese.startswith(f"{tmp_path} 是一个目录")


def test_without_permission_the_start_says_so():
    """As another user than root, who may do anything."""
    program = (
        "import os, sys\n"
        "from wx_mp_svr import ConfigError, WxMpServer\n"
        "WxMpServer(token='StoreFiles1', store='sqlite:' + sys.argv[1] + '.of.root')\n"  # all that it needs is loaded
        "os.setgid(65534); os.setuid(65534)\n"
        "try: WxMpServer(token='StoreFiles1', store='sqlite:' + sys.argv[1])\n"
        "except ConfigError as exc: print(exc)\n"
    )
    # Not in pytest's folder, which every start of a pytest closes to others.
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder)
        closed.chmod(0o755)
        command = [sys.executable, "-c", program, str(closed / "bot.db")]
        env = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, env=env)
    assert f"没有权限写 {closed / 'bot.db'}：请改权限，或换一个路径" in done.stdout, done.stderr


def damage(path, how):
    """Close it first, or SQLite's own pages in memory go on working."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "header":
            file.seek(16)
            file.write(b"\xff" * 84)
        else:
            file.seek(100)
            file.write(b"\xff" * (size - 100))


@pytest.mark.parametrize("how", ["header", "pages"])
def test_a_damaged_database_of_ours_is_moved_aside_and_the_bot_works(how, tmp_path, caplog):
    """Also when it is found damaged at the start; the last copy is kept."""
    path = tmp_path / "bot.db"
    store = SQLiteStore(path)
    for number in range(50):
        store.set(f"k{number}", "v" * 500, 60)
    del store
    damage(path, how)
    wechat = FakeWeChat(mounted(path), token=TOKEN)
    assert [wechat.send_text(f"你好 {n}").content for n in range(3)] == [f"你好 {n}" for n in range(3)]
    assert "数据库损坏了：已改名保留，并新建了一个" in caplog.text
    assert (tmp_path / "bot.db.damaged").exists()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert modes(tmp_path)["bot.db"] == 0o600


def test_of_a_damaged_database_only_the_very_file_is_moved_aside(tmp_path):
    """Another process may have moved it before, and begun a new one."""
    path = tmp_path / "bot.db"
    move_aside(path, 1)
    assert not path.with_name("bot.db.damaged").exists()
    path.touch()
    move_aside(path, path.stat().st_ino + 1)
    assert path.exists()
    path.with_name("bot.db-wal").touch()
    move_aside(path, path.stat().st_ino)
    assert sorted(modes(tmp_path)) == ["bot.db.damaged"]


def test_a_file_that_was_deleted_under_us_is_opened_anew(tmp_path, caplog):
    """Within a second, by every process: else each of them would go on with a file that no other can see."""
    one, two = SQLiteStore(tmp_path / "bot.db"), SQLiteStore(tmp_path / "bot.db")
    one.set("k", "v", 60)
    assert two.get("k") == "v"
    for file in tmp_path.iterdir():
        file.unlink()
    until(lambda: one.set("k", "new", 60) or two.get("k") == "new")
    assert "已重新打开" in caplog.text


def test_a_restored_copy_is_taken_up(tmp_path):
    """Somebody puts a backup in its place."""
    store = SQLiteStore(tmp_path / "bot.db")
    store.set("k", "old", 60)
    del store
    shutil.copy(tmp_path / "bot.db", tmp_path / "backup")
    store = SQLiteStore(tmp_path / "bot.db")
    store.set("k", "new", 60)
    for name in ("bot.db-wal", "bot.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "backup").replace(tmp_path / "bot.db")
    until(lambda: store.get("k") == "old")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace(":secret@", ":wrong@"), "Redis 拒绝登录"),
        (lambda url: url.replace(":secret@", ""), "Redis 拒绝登录"),
        (lambda url: url.replace("/0", "/99"), "Redis 没有这个库号"),
    ],
)
def test_a_redis_that_will_never_let_us_in_is_a_config_error(change, words, tmp_path):
    """Neither the password that was given, nor the right one, is shown."""
    with servers.redis(tmp_path, "secret") as redis:
        with pytest.raises(ConfigError) as caught:
            WxMpServer(token=TOKEN, store=change(redis.url))
        WxMpServer(token=TOKEN, store=redis.url)
    assert words in str(caught.value)
    assert not any(password in str(caught.value) for password in ("secret", "wrong"))


def test_a_redis_that_is_not_there_yet_is_only_warned_of(caplog):
    """It may come up after the bot, as after a restart of the machine."""
    server = WxMpServer(token=TOKEN, store=f"redis://127.0.0.1:{servers.free_port()}/0", on_message=lambda req: "好")
    assert "存储现在没有应答，会继续尝试" in caplog.text
    assert FakeWeChat(server, token=TOKEN).send_text("你好").content == "好"
    with pytest.raises(StoreError):
        server._store.get("k")


def test_a_file_beside_the_database_may_go_while_it_is_looked_at(tmp_path, monkeypatch):
    """Whoever used the database last takes -wal and -shm along: that is no missing permission."""
    SQLiteStore(tmp_path / "db").set("a", 1, 60)
    beside, access = tmp_path / "db-wal", os.access
    beside.touch()  # as of one who is about to close it

    def slow_access(file, mode):
        if str(file) == str(beside):
            beside.unlink(missing_ok=True)
            return False
        return access(file, mode)

    monkeypatch.setattr(os, "access", slow_access)
    assert SQLiteStore(tmp_path / "db").add("b", 1, 60)


def test_processes_that_start_together_make_the_folder_once(tmp_path, monkeypatch):
    """Another one has made it since we looked."""
    folder, exists = tmp_path / "data", Path.exists
    folder.mkdir()
    looks = []

    def exists_a_moment_later(path):
        if path == folder and not looks:
            return bool(looks.append(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", exists_a_moment_later)
    assert SQLiteStore(folder / "db").add("a", 1, 60)
    assert looks == [folder]
