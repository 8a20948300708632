"""What a shared store keeps: JSON and nothing else, since who reads a pickle runs it."""

import json
from typing import Any

from ..errors import StoreError

# Made once: json.dumps makes one for each call. Escapes to ASCII: a lone surrogate in a user's text is no UTF-8.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dump(value: Any) -> str:
    """Write a value; TypeError or ValueError for what JSON does not have."""
    return _ENCODER.encode(value)


def load(text: str | bytes | None) -> Any:
    """Read a value.

    Raises:
        StoreError: Somebody else wrote it.
    """
    try:
        return None if text is None else json.loads(text)
    except ValueError as exc:
        raise StoreError("the store holds something that is not ours") from exc
