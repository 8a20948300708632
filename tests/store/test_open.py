"""Stores are opened by a URL, or by nothing at all; one line says where pushes are remembered, and never a password."""

import logging
import traceback

import pytest

from wx_mp_svr.errors import ConfigError
from wx_mp_svr.store import digest, open_default_store, open_store
from wx_mp_svr.store.memory import MemoryStore
from wx_mp_svr.store.redis import RedisStore
from wx_mp_svr.store.sqlite import SQLiteStore


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)  # a store that an earlier test has left down tells more each second


@pytest.mark.parametrize("url", ["memory:", "memory://", "memory:///"])
def test_memory(url):
    """Nothing else stands in such a URL."""
    assert isinstance(open_store(url), MemoryStore)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:rel.db", "rel.db"),
        ("sqlite:deep/er/rel.db", "deep/er/rel.db"),
        ("sqlite:./rel.db", "rel.db"),
        ("sqlite:{here}/abs.db", "abs.db"),
        ("sqlite://{here}/abs.db", "abs.db"),
        ("sqlite:文件 夹/库.db", "文件 夹/库.db"),
        ("sqlite:with:colon@at.db", "with:colon@at.db"),
    ],
)
def test_sqlite(tmp_path, url, path):
    """``sqlite:rel``, ``sqlite:/abs``, and ``sqlite:///abs`` as others write it."""
    store = open_store(url.format(here=tmp_path))
    assert isinstance(store, SQLiteStore)
    assert list(tmp_path.iterdir()) == []
    store.set("a", 1, 60)
    assert (tmp_path / path).exists()


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379",
        "redis://127.0.0.1:6379/3",
        "redis://:password@127.0.0.1:6379/3",
        "redis://user:password@127.0.0.1:6379/3",
        "rediss://127.0.0.1:6379/0",
        "unix:///tmp/redis.sock",
        "unix://:password@/tmp/redis.sock?db=1",
    ],
)
def test_redis(url):
    """Nothing is connected to yet."""
    assert isinstance(open_store(url), RedisStore)


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", ":", "rel.db", "/var/lib/db", "C:\\db.sqlite3", "Redis", "内存"),
        *("sqlite", "sqlite:", "sqlite://", "sqlite:///", "memory:x", "mysql://localhost/db", "http://127.0.0.1"),
    ],
)
def test_any_other_url_is_a_config_error(url):
    """Which says in two languages what there is."""
    with pytest.raises(ConfigError) as caught:
        open_store(url)
    message = str(caught.value)
    assert "memory:" in message and "sqlite:PATH" in message and "redis://" in message
    assert "应为" in message


@pytest.mark.parametrize("url", ["redis:127.0.0.1", "redis:/127.0.0.1", "redis://127.0.0.1:port", "unix:/tmp/x.sock"])
def test_a_redis_url_of_another_form_is_a_config_error(url):
    """Its message shows one."""
    with pytest.raises(ConfigError, match="redis://"):
        open_store(url)


SECRET = "hunter2Secret"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:6379/0",
        f"redis://user:{SECRET}@127.0.0.1:6379/0",
        f"redis://user:{SECRET}%40@127.0.0.1:6379/0",
        f"redis://user:x@{SECRET}@127.0.0.1:6379/0",
        f"redis://127.0.0.1:6379/0?password={SECRET}",
        f"redis://127.0.0.1:6379/0?db=1&password={SECRET}@x",
        f"unix://:{SECRET}@/tmp/redis.sock",
        f"redis://:{SECRET}/slash@127.0.0.1:6379/0",
        f"redis://:{SECRET}#hash@127.0.0.1:6379/0",
        f"redis://:{SECRET}?mark@127.0.0.1:6379/0",
        f"redis:{SECRET}@127.0.0.1",
        f"reddis://:{SECRET}@127.0.0.1:6379/0",
    ],
)
def test_no_password_gets_into_the_log_or_an_error(caplog, url):
    """Nor into the traceback of the error that redis-py raised underneath (B120)."""
    told = ""
    try:
        told = repr(open_store(url))
    except ConfigError as exc:
        told = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
    assert SECRET not in caplog.text
    assert SECRET not in told


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory:", "memory:"),
        ("sqlite:a.db", " in a.db"),
        ("sqlite:///X/a.db", " in /X/a.db"),
        ("redis://:pw@10.1.2.3:6379/4", "10.1.2.3:6379/4"),
    ],
)
def test_one_line_says_where_pushes_are_remembered(caplog, url, said):
    """The first thing to ask when a second worker does not know what the first one does."""
    open_store(url)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "wx_mp_svr"]
    assert "pushes are remembered in" in line and said in line


# -- without a URL


def test_the_default_is_a_file_in_the_folder(tmp_path, caplog):
    """The folder is made; a second worker finds the same file."""
    folder = tmp_path / "in" / "stance"
    one, other = open_default_store(folder), open_default_store(folder)
    assert isinstance(one, SQLiteStore)
    one.set("a", 1, 60)
    assert other.get("a") == 1
    assert (folder / "wx-mp-svr.sqlite3").exists()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"pushes are remembered in {folder / 'wx-mp-svr.sqlite3'}"] * 2


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/nowhere"])
def test_where_no_folder_can_be_it_is_memory_with_a_warning(tmp_path, caplog, folder):
    """In two languages, with the setting that mends it."""
    (tmp_path / "file").write_text("")
    store = open_default_store(tmp_path / folder)
    assert isinstance(store, MemoryStore)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "memory only" in record.getMessage() and "WX_MP_STORE" in record.getMessage()
    assert "请设置" in record.getMessage()


def test_what_stands_for_parts_in_a_key_depends_on_each_of_them_and_on_where_one_ends():
    """And is the same in every process and version: a new one finds what the last has kept."""
    assert digest("gh_1", "oUser") == "3420b6a57492eb54305037784c1b60c5"
    assert len({digest("a", "bc"), digest("ab", "c"), digest("abc"), digest("a", "bc", ""), digest()}) == 5
