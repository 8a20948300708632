"""How an element becomes a value: read once, at the border, and leniently.

WeChat sends placeholders, blanks and new kinds without asking, so that what is missing or unreadable is None (text: ""). A
dataclass declares each field together with WeChat's name for it; `build` fills it. Knows nothing of XML or of messages.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from functools import cache
from typing import Any, TypeVar

Fields = Mapping[str, Any]
"""Elements by name, as xmlio reads them: text is str, children are a dict, repeated elements are a list."""

T = TypeVar("T")


class Raw(dict[str, Any]):
    """Everything that came, by WeChat's names; and, beside it, the session: copies of a message share both."""

    session: Any = None


_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?")
_SECONDS = re.compile(r"[0-9]{1,11}")


def verbatim(value: Any) -> str:
    """Read text as it came, blanks included; of a repeated element the first, of one with children its own text."""
    if isinstance(value, str):  # nearly always, and an abstract class like Mapping is slow to ask
        return value
    while isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, Mapping):
        value = value.get("#text")
    return value if isinstance(value, str) else ""


def text(value: Any) -> str:
    """Read text without the white space around it: WeChat's card events have some outside their CDATA."""
    return verbatim(value).strip()


def integer(value: Any) -> int | None:
    """Read a whole number, None for whatever is not one (``xxxx``, ``1.5``, full-width or 5,000 digits)."""
    digits = text(value)
    return int(digits) if _INTEGER.fullmatch(digits) else None


def decimal(value: Any) -> float | None:
    """Read a decimal number, None for whatever is not a finite one."""
    digits = text(value)
    number = float(digits) if _DECIMAL.fullmatch(digits) else math.nan
    return number if math.isfinite(number) else None


def seconds(value: Any) -> int | None:
    """Read a Unix time in seconds, None for whatever is not one."""
    digits = text(value)
    return int(digits) if _SECONDS.fullmatch(digits) else None


def wire(*elements: str, read: Callable[[Any], Any] = text, default: Any = "") -> Any:
    """Declare a field together with the XML element that it is read from.

    Args:
        elements: WeChat's name; further ones where WeChat itself spells it in several ways.
        read: How the element becomes a value.
        default: What stands for an absent element.
    """
    return field(default=default, metadata={"wire": elements, "read": read})


def whole(*elements: str) -> Any:
    """Declare an ``int | None`` field."""
    return wire(*elements, read=integer, default=None)


def number(*elements: str) -> Any:
    """Declare a ``float | None`` field."""
    return wire(*elements, read=decimal, default=None)


def moment(*elements: str) -> Any:
    """Declare an ``int | None`` field that holds a Unix time in seconds."""
    return wire(*elements, read=seconds, default=None)


def part(element: str, cls: type[Any]) -> Any:
    """Declare a field whose element has children: a dataclass of its own, with defaults when the element is absent."""

    def read(value: Any) -> Any:
        while isinstance(value, list):
            value = value[0] if value else {}
        return build(cls, value if isinstance(value, Mapping) else {})

    return field(default_factory=lambda: build(cls, {}), metadata={"wire": (element,), "read": read})


def many(path: str, read: Callable[[Any], Any] | type[Any] = text) -> Any:
    """Declare a tuple field for an element that stands once or many times.

    Args:
        path: ``PicList/item``: the element's name, after those of its parents. All parents of that name are searched,
            since WeChat sometimes closes a list and opens it again. ``A|B/item`` where WeChat itself spells the first in
            several ways.
        read: How one element becomes a value, or the dataclass that its children fill.
    """
    names, *rest = path.split("/")

    def read_all(value: Any) -> tuple[Any, ...]:
        found = value if isinstance(value, list) else [value]
        for name in rest:
            found = [item for parent in found if isinstance(parent, Mapping) for item in _as_list(parent.get(name))]
        if isinstance(read, type):
            return tuple(build(read, item) for item in found if isinstance(item, Mapping))
        return tuple(read(item) for item in found)

    return field(default=(), metadata={"wire": tuple(names.split("|")), "read": read_all})


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


@cache
def plan_of(cls: type[Any]) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    """Look at a dataclass once: (WeChat's name, our name, how to read) of each field that comes from the wire.

    Where WeChat has several names the first one stands last, so that it counts.
    """
    return tuple(
        (element, f.name, f.metadata["read"]) for f in fields(cls) for element in reversed(f.metadata.get("wire", ()))
    )


def build(cls: type[T], fields: Fields, **extra: Any) -> T:
    """Build a dataclass from *fields*; elements that are absent leave their defaults, unknown ones are left alone."""
    values = {name: read(fields[element]) for element, name, read in plan_of(cls) if element in fields}  # type: ignore
    return cls(**values, **extra)
