"""Where pushes are remembered: the Store protocol, and the URLs that stores are opened by."""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ..clock import REAL, Clock
from ..errors import ConfigError, StoreError, UnfitStoreError

log = logging.getLogger("wx_mp_svr")

PROBE = "is anybody there"  # a key that nobody keeps anything behind


class Store(Protocol):
    """Six verbs over JSON values with a time to live. Give your own object to keep pushes elsewhere.

    Every verb may raise StoreError when the store cannot be reached; pushes are then remembered in the process.
    """

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers, in whatever thread or process."""

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""


def is_down(store: Store) -> bool:
    """Whether a guarded store is down: what is not found in it then may be there all the same."""
    return bool(getattr(store, "down", False))


def digest(*parts: str) -> str:
    """Return what stands for *parts* in a key: they are strangers' text, of any length and with any separator in it."""
    return hashlib.blake2b(repr([*parts]).encode(), digest_size=16).hexdigest()


def open_store(url: str, clock: Clock = REAL) -> Store:
    """Open a store by its URL; nothing is connected to before the first use.

    Args:
        url: ``memory:``, ``sqlite:PATH`` or ``redis://host:port/database`` (also ``rediss://`` and ``unix://``).
        clock: For what is over in memory; the others are shared, and go by the machine's.

    Raises:
        ConfigError: The URL is of no such form, or redis-py is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest.strip("/"):
        from .memory import MemoryStore

        log.info("pushes are remembered in memory:, and not across workers and restarts")
        return MemoryStore(clock=clock.now)
    if scheme == "sqlite" and rest.strip("/"):
        from .sqlite import SQLiteStore

        path = "/" + rest.lstrip("/") if rest.startswith("//") else rest
        log.info("pushes are remembered in %s", path)
        return SQLiteStore(path)
    try:
        from .redis import RedisStore, address_of
    except ImportError as exc:
        raise ConfigError(
            "the store is on Redis, but redis-py is missing: pip install redis / 缺少 redis 库：pip install redis"
        ) from exc
    try:
        store = RedisStore(url)
        log.info("pushes are remembered in %s", address_of(url))
        return store
    except ValueError:  # not as the cause: its text may hold the password
        raise ConfigError(
            "the store must be memory:, sqlite:PATH, or like redis://127.0.0.1:6379/0 or redis://:PASSWORD@HOST:6379/0 "
            "with special characters percent-encoded / 应为 memory:、sqlite:路径，或 redis://主机:端口/库号，"
            "密码中的特殊字符须百分号编码"
        ) from None


def try_store(store: Store) -> None:
    """Ask once, so that what can never work is said at start; what may come up later is only warned of.

    Raises:
        ConfigError: Waiting will not help.
    """
    try:
        store.get(PROBE)
    except UnfitStoreError as exc:
        english, _, chinese = str(exc).rpartition(" / ")
        raise ConfigError(f"WX_MP_STORE: {exc}", [("WX_MP_STORE", english, chinese)]) from exc
    except StoreError as exc:
        log.warning("the store does not answer yet: %s / 存储现在没有应答，会继续尝试", exc)


def open_default_store(folder: Path) -> Store:
    """Open a database file that a second worker and a restart find again; memory where the folder cannot be written."""
    from .memory import MemoryStore
    from .sqlite import SQLiteStore

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
    except OSError as exc:
        log.warning(
            "pushes are remembered in memory only, not across workers and restarts: %s; set WX_MP_STORE / "
            "无法写入状态目录，消息去重只在本进程内有效：请设置 WX_MP_STORE",
            exc,
        )
        return MemoryStore()
    log.info("pushes are remembered in %s", folder / "wx-mp-svr.sqlite3")
    return SQLiteStore(folder / "wx-mp-svr.sqlite3")
