"""XML text <-> fields (a dict of str, dict and list).

Reads what strangers send, so limits come first: no DOCTYPE, depth, elements, attributes. Writes so that no text can break
out of its element. Knows nothing of messages, signatures or modes. The only importer of xmltodict.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from ..errors import BadXml
from .xmlguard import MAX_ELEMENTS, MAX_UNSIGNED, check_limits, mend

log = logging.getLogger("wx_mp_svr")

# XML 1.0 allows none of these, yet WeChat passes on the control characters that users type.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# What may stand before the root. A DOCTYPE is not among it, and further down no XML parser accepts one, so that entities
# never come to be.
_ROOT = re.compile(r"\s*(?:<\?xml\s[^<>]*\?>\s*)?<xml[\s>]")
# What WeChat writes: names without prefix or attribute, one CDATA section or bare text without control characters, white
# space only in between; and, matched in one go, what is no such element: of a plain document only its end.
_PLAIN_BEGIN = re.compile(r"[ \t\n]*<xml>[ \t\n]*")
_NOT_PLAIN = "\x00-\x08\x0b-\x1f\ufffe\uffff"
_PLAIN_ELEMENT = re.compile(
    r"<([A-Za-z_][A-Za-z0-9_]*)>"
    rf"(?:<!\[CDATA\[([^\]{_NOT_PLAIN}]*(?:\](?!\]>)[^\]{_NOT_PLAIN}]*)*)\]\]>|([^<>&\]{_NOT_PLAIN}]*))"
    r"</\1>[ \t\n]*|(.+)",
    re.DOTALL,
)


def load(body: bytes, *, authentic: bool = False) -> dict[str, Any]:
    """Read the elements below the root ``<xml>``.

    Text is str with its blanks, empty elements are "", elements with children are a dict, repeated ones a list.

    Args:
        body: UTF-8, with or without a BOM. A declared encoding is not looked at: WeChat always sends UTF-8.
        authentic: The signature holds, so WeChat wrote this. Then a text with ``]]>`` in it, which WeChat does not
            escape and which tears its element, is read all the same.

    Raises:
        BadXml: Not UTF-8, not well-formed, not an ``<xml>`` with elements in it, or over a limit.
    """
    if b"\x00" in body[:4]:
        raise BadXml("not UTF-8")  # UTF-16 without a BOM: every second byte would pass for a control character
    try:
        xml = body.decode()
    except UnicodeDecodeError as exc:
        raise BadXml("not UTF-8") from exc
    fields = _read_plainly(xml)
    if fields is not None:
        return fields
    xml = _ILLEGAL.sub("", xml.removeprefix("\ufeff"))
    if not _ROOT.match(xml):
        raise BadXml("not an <xml> document, or one with a DOCTYPE")
    check_limits(xml, MAX_ELEMENTS if authentic else MAX_UNSIGNED)
    try:
        root = _parse(xml)
    except ExpatError as exc:
        mended = mend(xml) if authentic else xml
        if mended == xml:
            raise BadXml("not well-formed") from exc
        root = _load_mended(mended)
    if not isinstance(root, dict):
        raise BadXml("the root has no elements")
    fields = _tidy(root)
    content = fields.get("Content")
    if authentic and isinstance(content, str) and content != content.strip():
        fields["Content"] = _without_blanks_outside_cdata(content, xml)
    return fields


def _read_plainly(xml: str) -> dict[str, Any] | None:
    """Read what nearly every push looks like, one element after the other, in a fifth of a parser's time.

    Returns:
        What a parser would, or None for everything that is not quite as plain: that is the parser's.
    """
    begin = _PLAIN_BEGIN.match(xml)
    # Nobody has checked the limits yet, so the lower one holds for all; and only where a tag ends is there a last match.
    if begin is None or not 0 < xml.count("</") <= MAX_UNSIGNED:
        return None
    *elements, (_, _, _, end) = _PLAIN_ELEMENT.findall(xml, begin.end())
    fields: dict[str, Any] = {name: cdata or bare for name, cdata, bare, _ in elements}
    return fields if 0 < len(fields) == len(elements) and end.rstrip(" \t\n") == "</xml>" else None


def _parse(xml: str) -> Any:
    # The names are given outright: xmltodict strips text unless told not to, and users' leading blanks are real.
    return xmltodict.parse(xml, strip_whitespace=False, disable_entities=True)["xml"]


def _load_mended(xml: str) -> Any:
    check_limits(xml)
    try:
        return _parse(xml)
    except ExpatError as exc:
        raise BadXml("not well-formed") from exc


def _tidy(element: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the white space between elements and turn xmltodict's None for empty into "", on all levels."""
    return {
        name: _tidy_value(value)
        for name, value in element.items()
        if name != "#text" or (value and not value.isspace())
    }


def _tidy_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return [_tidy_value(item) for item in value]
    return _tidy(value)


def _without_blanks_outside_cdata(content: str, xml: str) -> str:
    """Take from *content* the white space around its CDATA section, but not the user's own inside of it."""
    inner = xml[xml.find("<Content>") + len("<Content>") : xml.rfind("</Content>")].replace("\r\n", "\n")
    section = inner.strip()
    if not section.startswith("<![CDATA[") or not section.endswith("]]>"):
        return content
    return content[len(inner) - len(inner.lstrip()) : len(content) - len(inner) + len(inner.rstrip())]


# -- writing ---------------------------------------------------------------------------------------------------------


def dump(fields: Mapping[str, Any]) -> str:
    """Write the elements of a reply, without a root.

    str goes into CDATA, int stands bare, a mapping becomes children, and a list repeats its element. Characters that XML
    does not allow are dropped: one of them would cost the user the whole reply.
    """
    return "".join(
        [
            f"<{name}>{_inner(item)}</{name}>"
            for name, value in fields.items()
            for item in (value if isinstance(value, list) else (value,))
        ]
    )


def _inner(value: Any) -> str:
    if isinstance(value, str):
        return cdata(value)
    return str(value) if isinstance(value, int) else dump(value)


def cdata(value: str) -> str:
    """Write *value* so that it cannot end its own CDATA section, and with line ends of which WeChat does not show two."""
    if "]" in value or not value.isprintable():
        value = legal(value).replace("]]>", "]]]]><![CDATA[>").replace("\r\n", "\n").replace("\r", "\n")
    return f"<![CDATA[{value}]]>"


def legal(value: str) -> str:
    """Return *value* without the characters that XML 1.0 has no place for."""
    if value.isprintable() or not _ILLEGAL.search(value):  # the first is much faster; line ends and some blanks are not
        return value
    clean = _ILLEGAL.sub("", value)
    log.warning("dropped %d characters that XML does not allow", len(value) - len(clean))
    return clean
