"""Packets as WeChat writes them."""

import re
import threading
import time
import xml.etree.ElementTree as ET
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

# Bounded, or thousands of elements that never close would cost the square of their number.
_CREATE_TIME = re.compile(r"<CreateTime>[^<]{0,64}(?:<!\[CDATA\[[^<]{0,64}\]\]>)?[^<]{0,64}</CreateTime>")
_MSG_ID = re.compile(r"<MsgId>[^<]{0,64}(?:<!\[CDATA\[[^<]{0,64}\]\]>)?[^<]{0,64}</MsgId>")

MAX_DEPTH = 16

_last_msg_id = 0
_lock = threading.Lock()


def new_msg_id() -> int:
    """Return a MsgId that this process has not used."""
    global _last_msg_id
    with _lock:
        _last_msg_id = max(_last_msg_id + 1, time.time_ns() // 1000 * 10)
        return _last_msg_id


_seconds: OrderedDict[str, int] = OrderedDict()  # by sender, the last one that was used
MAX_SENDERS = 10_000


def new_second(sender: str, now: int) -> int:
    """Return a CreateTime for a packet without MsgId: WeChat never gives a sender the same second twice.

    Args:
        sender: An OpenID.
        now: Unix seconds.
    """
    with _lock:
        second = max(now, _seconds.get(sender, now - 1) + 1)
        _seconds[sender] = second
        _seconds.move_to_end(sender)
        if len(_seconds) > MAX_SENDERS:
            _seconds.popitem(last=False)
        return second


def renewed(xml: str) -> str:
    """Return a packet as if it were sent now: otherwise the bot knows it already, or it is too old."""
    now = int(time.time())
    if not first(xml, "MsgId"):
        now = new_second(first(xml, "FromUserName"), now)
    xml = _CREATE_TIME.sub(f"<CreateTime>{now}</CreateTime>", xml, count=1)
    return _MSG_ID.sub(f"<MsgId>{new_msg_id()}</MsgId>", xml, count=1)


def write_xml(elements: Mapping[str, Any]) -> str:
    """Write a packet as WeChat does: one element a line, text in CDATA, no declaration."""
    return f"<xml>{_write(elements)}</xml>"


def _write(elements: Mapping[str, Any]) -> str:
    lines = []
    for name, value in elements.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                inner = f"\n{_write(item)}"
            elif isinstance(item, int):
                inner = str(item)
            else:
                inner = f"<![CDATA[{item}]]>"  # `]]>` is not escaped: WeChat does not either
            lines.append(f"<{name}>{inner}</{name}>\n")
    return "".join(lines)


def read_elements(parent: ET.Element) -> dict[str, Any]:
    """Return the elements below *parent* by name; one with children is a dict, ``item`` a list."""
    fields: dict[str, Any] = {}
    for child in parent:
        value: Any = read_elements(child) if len(child) else (child.text or "")
        if child.tag == "item":
            fields.setdefault("item", []).append(value)
        else:
            fields[child.tag] = value
    return fields


def read_xml(xml: str) -> dict[str, Any]:
    """Return a packet's elements; none where it is not well-formed or nested deeper than `MAX_DEPTH`."""
    try:
        root = ET.fromstring(xml)  # noqa: S314 (a developer's own packet, and expat bounds entities)
    except (ET.ParseError, ValueError):
        return {}
    return read_elements(root) if depth_of(root) <= MAX_DEPTH else {}


def depth_of(root: ET.Element) -> int:
    """Return how deep elements are nested, counted no further than one level over `MAX_DEPTH`."""
    depth, level = 0, [root]
    while level and depth <= MAX_DEPTH:
        depth, level = depth + 1, [child for element in level for child in element]
    return depth


def first(xml: str, name: str) -> str:
    """Return an element's text from a packet that need not be well-formed."""
    found = re.search(rf"<{name}>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))", xml, re.DOTALL)
    return (found[1] if found[1] is not None else found[2]).strip() if found else ""
