"""Where the processes of a machine meet: beside the database, or in a folder that nobody else can have prepared."""

import fcntl
import os
import stat
import tempfile

import pytest

from wx_mp_svr.store.locks import Locks, locked
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.place import local_folder, place_of, spare_of
from wx_mp_svr.store.redis import RedisStore
from wx_mp_svr.store.spare import Spare
from wx_mp_svr.store.sqlite import SQLiteStore

REDIS = "redis://:secret@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "runtime"))
    return tmp_path / "runtime"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folder of a machine, without one of systemd's."""
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"wx-mp-svr-{os.getuid()}"


def locked_in(place, folder):
    """Whether a lock that is taken there lies in *folder*, under a name that ends as ours do."""
    assert place.locks.take("me") is not None
    return [path.parent.name[-6:] for path in folder.rglob("me")] == ["-alive"]


def test_processes_that_share_a_database_file_meet_beside_it(tmp_path, folder):
    place = place_of(SQLiteStore(tmp_path / "data" / "bot.db"))
    assert place.alone  # a file is one machine's
    assert locked_in(place, tmp_path / "data")
    assert (tmp_path / "data" / "bot.db-alive" / "me").exists()
    assert not folder.exists()


def test_processes_that_share_a_redis_meet_in_the_local_folder(folder):
    place = place_of(RedisStore(REDIS))
    assert not place.alone
    assert locked_in(place, folder)


def test_a_memory_is_shared_with_nobody(folder):
    assert place_of(MemoryStore()) == (None, False)
    assert not spare_of(MemoryStore()).shared
    assert not folder.exists()


def test_each_store_has_a_spare_of_its_own_for_all_processes(tmp_path, folder):
    stores = [SQLiteStore(tmp_path / "a.db"), SQLiteStore(tmp_path / "b.db"), RedisStore(REDIS)]
    for n, store in enumerate(stores):
        spare = spare_of(store)
        assert spare.shared
        spare.ask(lambda spare, n=n: spare.set("n", n, 60))
        assert spare_of(store).ask(lambda spare: spare.get("n")) == n
    files = sorted(path.name for path in folder.iterdir() if path.suffix == ".sqlite3")
    assert len(files) == 3
    assert all(name.endswith("-spare.sqlite3") for name in files)


@pytest.mark.parametrize("given", ["/run/bot", "/run/bot:/run/other"])
def test_the_folder_that_systemd_gives_is_taken(given, monkeypatch):
    """Of several the first."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", given)
    assert str(local_folder()) == "/run/bot"


def test_without_one_it_is_made_in_the_temporary_folder_for_this_user_alone(temporary):
    assert [local_folder(), local_folder()] == [temporary] * 2
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["open to others", "open to a group", "a link", "a file", "another user's"])
def test_a_folder_that_another_user_may_have_prepared_is_not_trusted(temporary, trap, monkeypatch):
    """Each process is on its own then."""
    if trap.startswith("open"):
        temporary.mkdir()
        temporary.chmod(0o701 if trap == "open to others" else 0o710)
    elif trap == "a link":
        (temporary.parent / "theirs").mkdir(mode=0o700)
        temporary.symlink_to(temporary.parent / "theirs")
    elif trap == "a file":
        temporary.touch(mode=0o700)
    else:
        temporary.mkdir(mode=0o700)
        mine = os.getuid()
        ours = iter([mine, mine + 1])  # the name of the folder, then whose it is
        monkeypatch.setattr(os, "getuid", lambda: next(ours))
    assert local_folder() is None


def test_where_there_are_no_users_nobody_meets(temporary, monkeypatch):
    """Windows."""
    monkeypatch.delattr(os, "getuid")
    assert local_folder() is None
    assert place_of(RedisStore(REDIS)) == (None, False)


# -- locked files ------------------------------------------------------------------------------------------------------


def test_a_lock_is_held_until_it_is_given_up(tmp_path):
    folder = tmp_path / "a" / "b"
    mine, theirs = Locks(folder), Locks(folder)
    assert theirs.is_held("me") is None  # there is no such file
    file = mine.take("me")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "me").stat().st_mode) == 0o600
    assert not os.get_inheritable(file)
    assert [theirs.is_held("me") for _ in range(2)] == [True, True]
    assert theirs.take("me") is None
    assert theirs.take("you") is not None
    mine.give_up("me", file)
    assert theirs.is_held("me") is None
    mine.give_up("you", os.open(folder / "you", os.O_RDONLY))  # whoever removed it first


def test_a_lock_that_nobody_holds_is_removed(tmp_path):
    locks = Locks(tmp_path)
    os.close(locks.take("gone"))
    assert locks.is_held("gone") is False
    assert locks.is_held("gone") is None


def test_who_locks_a_folder_keeps_the_others_out(tmp_path):
    file = os.open(tmp_path, os.O_RDONLY)
    try:
        with locked(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)


def test_what_cannot_be_told_is_held(tmp_path):
    """Nobody is called dead by mistake."""
    (tmp_path / "folder").mkdir()
    assert Locks(tmp_path).is_held("folder") is True


# -- the spare ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_the_verdict_and_when_to_look_again(tmp_path, shared):
    path = tmp_path / "spare" if shared else None
    tmp_path.joinpath("spare").touch()
    here, there = Spare(path), Spare(path)
    assert (here.shared, here.down, here.until) == (shared, False, 0.0)
    here.say_down(1_700_000_000.5)
    assert (here.down, here.until) == (True, 1_700_000_000.5)
    assert (there.down, there.until) == ((True, 1_700_000_000.5) if shared else (False, 0.0))
    there.say_up()
    here.say_up()
    assert (here.down, there.down) == (False, False)
    assert not list(tmp_path.glob("*-down"))


def test_a_spare_is_asked_once_again_if_it_fails_and_then_memory_takes_its_place(tmp_path, caplog):
    spare, asked = Spare(tmp_path / "spare"), []

    def ask(store, failures):
        asked.append(type(store))
        if len(asked) <= failures:
            raise OSError("busy")
        return "answer"

    for failures, kinds in [
        (0, [SQLiteStore]),
        (1, [SQLiteStore] * 2),
        (2, [SQLiteStore, SQLiteStore, MemoryStore]),
        (0, [MemoryStore]),
    ]:
        asked.clear()
        assert spare.ask(lambda store, failures=failures: ask(store, failures)) == "answer"
        assert asked == kinds
    assert not spare.shared
    assert caplog.text.count("the local file fails, too") == 1


def test_a_spare_in_memory_that_fails_tells_who_asked():
    def fail(store):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        Spare().ask(fail)


def test_a_verdict_that_cannot_be_written_is_this_processs_own(tmp_path, caplog):
    spare = Spare(tmp_path / "nowhere" / "spare")
    spare.say_down(5.0)
    assert (spare.shared, spare.down, spare.until) == (False, True, 5.0)
    assert "the local file fails, too" in caplog.text


def test_each_of_two_who_find_a_killed_process_at_once_is_told(tmp_path, monkeypatch):
    """Both look at its file; one has removed it when the other comes to do so."""
    locks, flock = Locks(tmp_path), fcntl.flock
    os.close(locks.take("killed"))

    def flock_as_another_removes(file, how):
        flock(file, how)
        (tmp_path / "killed").unlink()

    monkeypatch.setattr(fcntl, "flock", flock_as_another_removes)
    assert locks.is_held("killed") is False
    monkeypatch.undo()
    assert locks.is_held("killed") is None
