"""What a shared store keeps: JSON and nothing else, since who reads a pickle runs it."""

import json
from typing import Any

from ..errors import StoreError


def dump(value: Any) -> str:
    """Write a value; TypeError or ValueError for what JSON does not have."""
    # Escaped to ASCII: a lone surrogate in a user's text is no UTF-8.
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def load(text: str | bytes | None) -> Any:
    """Read a value.

    Raises:
        StoreError: Somebody else wrote it.
    """
    try:
        return None if text is None else json.loads(text)
    except ValueError as exc:
        raise StoreError("the store holds something that is not ours") from exc
