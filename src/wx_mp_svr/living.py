"""Who of a kind is alive: a set that keeps nobody alive, and may be asked while other threads add to it.

Without a lock, since one that is held elsewhere would never be let go of in a forked child.
"""

import weakref
from typing import Generic, TypeVar

T = TypeVar("T")


class Living(Generic[T]):
    """Objects, for as long as somebody else holds them."""

    def __init__(self) -> None:
        self._by_id: weakref.WeakValueDictionary[int, T] = weakref.WeakValueDictionary()

    def add(self, one: T) -> None:
        """Note that it lives."""
        self._by_id[id(one)] = one

    def all(self) -> list[T]:
        """Return those that live now."""
        # `valuerefs` copies in one step of the interpreter; a WeakSet cannot be walked while it grows.
        return [one for ref in self._by_id.valuerefs() if (one := ref()) is not None]
