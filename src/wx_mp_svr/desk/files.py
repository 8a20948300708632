"""Files that a developer hands to a command: one packet, or a talk that the simulator has saved.

What cannot be pushed is refused before anything is pushed, with its line and the reason, in Chinese.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers.expat import errors

from ..testing.packets import MAX_DEPTH, depth_of

_CODES = {
    # expat's words for what beginners do, and ours
    errors.XML_ERROR_NO_ELEMENTS: "没有写完（或者是空的）",
    errors.XML_ERROR_UNCLOSED_TOKEN: "没有写完",
    errors.XML_ERROR_UNCLOSED_CDATA_SECTION: "CDATA 没有结束（缺 ]]>）",
    errors.XML_ERROR_TAG_MISMATCH: "开始和结束的标签对不上",
    errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT: "</xml> 后面还有内容",
    errors.XML_ERROR_UNDEFINED_ENTITY: "没有这个实体：& 要写成 &amp;",
    errors.XML_ERROR_INVALID_TOKEN: "有 XML 里不能这样写的字符：& 要写成 &amp;，< 要写成 &lt;",
}


class FileError(ValueError):
    """A file that cannot be pushed; the words are Chinese."""


def read(path: str, encoding: str = "utf-8-sig") -> str:
    """Return a file's text.

    Raises:
        FileError: It cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding)
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise FileError(f"{path} 不是 UTF-8 文件（第 {line} 行）：另存为 UTF-8") from exc
    except OSError as exc:
        raise FileError(f"读不了 {path}（{exc.strerror or type(exc).__name__}）") from exc


def packet(path: str) -> str:
    """Return the packet in a file.

    Raises:
        FileError: It cannot be read, or is no well-formed XML.
    """
    xml = read(path)
    _check(xml, path)
    return xml


def _check(xml: str, where: str) -> None:
    try:
        root = ET.fromstring(xml.strip())  # noqa: S314 (a developer's own packet, and expat bounds entities)
    except ET.ParseError as exc:
        said = errors.messages.get(exc.code, "")
        line = exc.position[0] + len(xml[: len(xml) - len(xml.lstrip())].splitlines())
        raise FileError(f"{where} 第 {line} 行：{_CODES.get(said, said)}") from exc
    except ValueError as exc:  # a lone surrogate
        raise FileError(f"{where}：有不能写进文件的字符") from exc
    if depth_of(root) > MAX_DEPTH:
        raise FileError(f"{where}：嵌套超过 {MAX_DEPTH} 层")


def talk(path: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return the document of a saved talk and its pushes; for one packet there is no document.

    Raises:
        FileError: It cannot be read, is neither, or holds a packet that is no well-formed XML.
    """
    text = read(path)
    if text.lstrip().startswith("<"):
        _check(text, path)
        return None, [{"xml": text.strip()}]
    try:
        document = json.loads(text)
        found = [push for push in document["pushes"] if isinstance(push["xml"], str)]
    except json.JSONDecodeError as exc:
        raise FileError(f"{path} 第 {exc.lineno} 行：不是 XML，也不是合格的 JSON（{exc.msg}）") from exc
    except (KeyError, TypeError, RecursionError):
        found = []
    if not found:
        raise FileError(f"{path} 里没有对话：应为模拟器保存的 JSON，或一个 XML 文件")
    for number, push in enumerate(found, 1):
        if not _is_push(push):
            raise FileError(f"{path} 里的第 {number} 次推送不是模拟器保存的样子")
        _check(push["xml"], f"{path} 里的第 {number} 次推送")
    return document, found


def _is_push(push: Mapping[str, Any]) -> bool:
    """Whether a push is as the simulator saves it, as far as it is looked at here; a stranger may have written it."""
    if not all(isinstance(push.get(name), int | None) for name in ("id", "copy_of")):
        return False
    match push.get("reply"):
        case None:
            return True
        case {"type": str(), "parts": list(parts), "fields": dict()}:
            return all(isinstance(part, str) or (isinstance(part, dict) and _is_link(part)) for part in parts)
    return False


def _is_link(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("label"), str)


PICTURED = {"image": "[图片]", "voice": "[语音]", "video": "[视频]", "music": "[音乐]", "news": "[图文]"}


def as_shown(push: Mapping[str, Any]) -> str:
    """Return what the user has seen of a saved reply, without what differs each time: numbers in links, times."""
    reply = push.get("reply")
    if reply is None:
        return "（没有保存）"
    kind = reply["type"]
    if kind in PICTURED:
        inner = reply["fields"].get("Articles" if kind == "news" else kind.capitalize())
        return f"{PICTURED[kind]} {json.dumps(inner, ensure_ascii=False, sort_keys=True)}"
    return "".join(part if isinstance(part, str) else part["label"] for part in reply["parts"]) or "（没有回复）"
