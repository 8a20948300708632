"""`req.session`: what a bot remembers of one user of one account, as a handler sees it.

A dict that is locked from the first touch until the handler returns or its `with` block ends. Where it is kept and who has
the lock is the keeper's: `handling.sessions` is one. Knows nothing of stores, threads or messages.
"""

from collections.abc import Generator, Iterator, MutableMapping
from typing import Any, Protocol


class Held(Protocol):
    """A session that this handler has locked."""

    data: dict[str, Any]

    def release(self, *, save: bool) -> Generator[float, None, None]:
        """Write *data* if it is to be saved, and unlock; yields how long to wait before the next step."""


User = tuple[str, str]
"""An account and the OpenID of one of its users."""


class Keeper(Protocol):
    """Locks and reads sessions."""

    def hold(self, user: User) -> Held:
        """Wait for the lock of a user's session in this thread."""

    async def hold_async(self, user: User) -> Held:
        """Wait for it in the event loop."""

    def release(self, held: Held, *, save: bool) -> None:
        """Write the data if it is to be saved, and unlock."""

    async def release_async(self, held: Held, *, save: bool) -> None:
        """Do so without blocking the event loop."""


class Session(MutableMapping[str, Any]):
    """What a bot remembers of one user: a dict of JSON values, kept for 7 days after it was last written (`keep_sessions`).

    The first touch locks and reads it; when the handler returns it is written, and when the handler raises it is not. So
    two messages of one user never overwrite each other; the second waits, and after 30 s (`session_wait`) its user gets the
    busy text. A handler that takes long should keep it only for a moment::

        with req.session as session:  # in an `async def`: async with
            history = session.get("history", [])

    It is written and unlocked at the end of the (outermost) block, not written when the block raises, and may be locked
    again later.

    Raises:
        RuntimeError: Touched in an ``async def`` without ``async with``, where waiting would stop all other handlers, or
            after the handler has returned.
        TypeError: A key is no str, or a value is not what JSON has.
    """

    __slots__ = ("_depth", "_held", "_keeper", "_over", "_user")

    def __init__(self, keeper: Keeper, user: User) -> None:
        self._keeper = keeper
        self._user = user
        self._held: Held | None = None  # while it is locked
        self._depth = 0  # of `with` blocks
        self._over = False

    def __getitem__(self, name: str) -> Any:
        return self._touch()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a key of req.session is a str, not {type(name).__name__}")
        self._touch()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._touch()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._touch())

    def __len__(self) -> int:
        return len(self._touch())

    def __repr__(self) -> str:
        """Show it without touching it."""
        return f"<Session {'not locked' if self._held is None else self._held.data}>"

    def __enter__(self) -> "Session":
        self._held = self._held or self._keeper.hold(self._user)
        self._depth += 1
        return self

    async def __aenter__(self) -> "Session":
        self._held = self._held or await self._keeper.hold_async(self._user)
        self._depth += 1
        return self

    def __exit__(self, kind: Any, exc: Any, trace: Any) -> None:
        self._depth -= 1
        if self._depth <= 0:
            self.release(save=exc is None)

    async def __aexit__(self, kind: Any, exc: Any, trace: Any) -> None:
        self._depth -= 1
        if self._depth <= 0 and (held := self._take()) is not None:
            await self._keeper.release_async(held, save=exc is None)

    @property
    def locked(self) -> bool:
        """Whether it is locked now."""
        return self._held is not None

    def release(self, *, save: bool = True) -> None:
        """Write and unlock it, if it is locked; the next touch locks and reads it again.

        Args:
            save: False to forget what was changed.
        """
        if (held := self._take()) is not None:
            self._keeper.release(held, save=save)

    def _take(self) -> Held | None:
        held, self._held, self._depth = self._held, None, 0
        return held

    def finish(self, *, save: bool = True) -> None:
        """The handler has come to its end: from now on nothing would unlock what is touched."""
        self._over = True
        if self._held is not None:
            self.release(save=save)

    def _touch(self) -> dict[str, Any]:
        if self._held is None:
            if self._over:
                raise RuntimeError("the handler has returned; use `with req.session:` here")
            self._held = self._keeper.hold(self._user)
        return self._held.data
