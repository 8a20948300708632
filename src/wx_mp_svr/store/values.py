"""What a shared store keeps: JSON and nothing else, since who reads a pickle runs it."""

import json
from typing import Any

# Made once: json.dumps makes one for each call. Escapes to ASCII: a lone surrogate in a user's text is no UTF-8.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dump(value: Any) -> str:
    """Write a value; TypeError or ValueError for what JSON does not have."""
    return _ENCODER.encode(value)


def load(text: str | bytes | None) -> Any:
    """Read a value; what somebody else wrote counts as missing, and is no outage."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
