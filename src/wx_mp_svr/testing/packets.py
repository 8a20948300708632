"""Packets as WeChat writes them."""

import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

_last_msg_id = 0
_msg_id_lock = threading.Lock()


def new_msg_id() -> int:
    """Return a MsgId that this process has not used."""
    global _last_msg_id
    with _msg_id_lock:
        _last_msg_id = max(_last_msg_id + 1, time.time_ns() // 1000 * 10)
        return _last_msg_id


def renewed(xml: str) -> str:
    """Return a packet as if it were sent now: otherwise the bot knows it already, or it is too old."""
    xml = re.sub(r"<CreateTime>.*?</CreateTime>", f"<CreateTime>{int(time.time())}</CreateTime>", xml, count=1)
    return re.sub(r"<MsgId>.*?</MsgId>", f"<MsgId>{new_msg_id()}</MsgId>", xml, count=1)


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
    """Return a packet's elements; none where it is not well-formed."""
    try:
        return read_elements(ET.fromstring(xml))  # noqa: S314 (a developer's own packet, and expat bounds entities)
    except (ET.ParseError, ValueError):
        return {}


def first(xml: str, name: str) -> str:
    """Return an element's text from a packet that need not be well-formed."""
    found = re.search(rf"<{name}>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))", xml, re.DOTALL)
    return (found[1] if found[1] is not None else found[2]).strip() if found else ""
