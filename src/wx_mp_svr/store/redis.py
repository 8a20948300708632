"""The store on a Redis server: shared by several machines. The only importer of redis."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from ..errors import StoreError, UnfitStoreError
from .values import dump, load

TIMEOUT_SECONDS = 0.3  # WeChat waits 5 s in all
MAX_CONNECTIONS = 64
POOL_WAIT_SECONDS = 2.0  # waiting for a free connection is a burst of ours, not a slow server

PREFIX = "wxmp:"

T = TypeVar("T")


class RedisStore:
    """Items on a Redis server (4 or later).

    Attributes:
        address: The URL without its secrets.

    Args:
        url: ``redis://[:password@]host:port/database``, ``rediss://...`` or ``unix://...``.
    """

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=POOL_WAIT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            decode_responses=True,
            encoding_errors="replace",  # what somebody else wrote is no outage
            # Never asked twice: of an `add` whose answer was lost, the second would say that somebody else was first.
            retry=Retry(NoBackoff(), 0),
        )
        try:
            cast(Any, pool).make_connection()  # connects to nothing yet, but looks at the URL's parameters
        except TypeError as exc:
            raise ValueError("the URL has a parameter that redis-py does not know") from exc
        self.address = address_of(url)
        self._redis = Redis(connection_pool=pool)

    def get(self, key: str) -> Any:
        """Return the value, None when there is none or its time is over."""
        return load(self._ask(lambda: self._redis.get(PREFIX + key)))

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values that there are."""
        if not keys:
            return {}
        values: Any = self._ask(lambda: self._redis.mget([PREFIX + key for key in keys]))
        found = {key: load(value) for key, value in zip(keys, values, strict=True)}
        return {key: value for key, value in found.items() if value is not None}

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Keep *value* for *ttl* seconds."""
        self._ask(lambda: self._redis.set(PREFIX + key, dump(value), px=_milliseconds(ttl)))

    def add(self, key: str, value: Any, ttl: float) -> bool:
        """Keep *value* if there is none; true for exactly one of all callers."""
        return bool(self._ask(lambda: self._redis.set(PREFIX + key, dump(value), px=_milliseconds(ttl), nx=True)))

    def incr(self, key: str, ttl: float) -> int:
        """Count up from 1 and return the count; *ttl* starts with the first."""

        def count() -> Any:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(PREFIX + key, 0, px=_milliseconds(ttl), nx=True)
                pipe.incr(PREFIX + key)
                return pipe.execute()[1]

        return int(self._ask(count))

    def delete(self, *keys: str) -> None:
        """Forget; what is not there is no error."""
        if keys:
            self._ask(lambda: self._redis.delete(*(PREFIX + key for key in keys)))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (AuthenticationError, NoPermissionError) as exc:
            raise UnfitStoreError(
                f"Redis: {exc}; look at user and password in WX_MP_STORE / "
                "Redis 拒绝登录：请核对 WX_MP_STORE 里的用户名和密码"
            ) from exc
        except (RedisError, OSError) as exc:
            if "DB index is out of range" in str(exc):
                raise UnfitStoreError(f"Redis: {exc} / Redis 没有这个库号：请改 WX_MP_STORE 末尾的数字") from exc
            raise StoreError(f"Redis: {type(exc).__name__}: {exc}") from exc


def address_of(url: str) -> str:
    """Return the part of a URL that may be shown: a password may stand before the host, or among the parameters."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _milliseconds(ttl: float) -> int:
    return max(1, int(ttl * 1000))
