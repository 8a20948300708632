"""Bodies that are made to be expensive. Each is XML for a body of so many bytes, the limit or what fits into it encrypted.

A part goes into a message that is otherwise as it should be, so that it gets as far as it can; a document stands alone.
"""

from collections.abc import Callable, Iterator

ELEMENTS = 1980  # just under the limit of 2000
DEPTH = 14  # just under the limit of 16, with the root and the message

Maker = Callable[[int], str]

_HEAD = (
    "<ToUserName><![CDATA[gh_bench]]></ToUserName><FromUserName><![CDATA[oBenchUser]]></FromUserName>"
    "<CreateTime>1700000000</CreateTime><MsgId>{id}</MsgId>"
)
TEXT = f"<xml>{_HEAD}<MsgType>text</MsgType>{{part}}</xml>"
EVENT = f"<xml>{_HEAD}<MsgType>event</MsgType><Event>bench</Event>{{part}}</xml>"


def _fill(piece: str, begin: str = "", end: str = "") -> Maker:
    """Return what repeats a piece until the size is reached."""
    return lambda size: begin + piece * ((size - len((begin + end).encode())) // len(piece.encode())) + end


def _numbered(begin: str, end: str, count: int = ELEMENTS) -> Maker:
    """Return what spreads the size over so many elements of different names; "#" is the number."""

    def make(size: int) -> str:
        most = min(count, size // len((begin + end).replace("#", "1000")))
        pieces = [(begin.replace("#", str(number)), end.replace("#", str(number))) for number in range(most)]
        room = (size - sum(len(before + after) for before, after in pieces)) // most
        return "".join(before + "x" * room + after for before, after in pieces)

    return make


def _deep(size: int) -> str:
    """Return branches, all as deep as is allowed, as many as are allowed."""
    branch = "<a>" * DEPTH + "</a>" * DEPTH
    return branch * min(size // len(branch), ELEMENTS // DEPTH)


def _laughs(size: int) -> str:
    laughs = [f"<!ENTITY e{number} '{f'&e{number - 1};' * 10}'>" for number in range(1, size // 100)]
    declared = f"<!DOCTYPE xml [<!ENTITY e0 'ha'>{''.join(laughs)}]>"
    return f"{declared}<xml><Content>&e{len(laughs)};</Content></xml>"


def _quadratic(size: int) -> str:
    half = size // 2
    declared = f"<!DOCTYPE xml [<!ENTITY e '{'x' * half}'>]>"
    return f"{declared}<xml><Content>{'&e;' * (half // 3 - 40)}</Content></xml>"


PARTS: dict[str, Maker] = {
    "nesting": lambda size: "<a>" * (size // 7) + "</a>" * (size // 7),
    "nesting, never closed": _fill("<a>"),
    "nesting at the limit": _deep,
    "siblings": _fill("<a/>"),
    "siblings at the limit, one name": lambda size: "<a>b</a>" * ELEMENTS,
    "siblings at the limit, own names": _numbered("<e#>", "</e#>"),
    "siblings at the limit, CDATA": _numbered("<e#><![CDATA[", "]]></e#>"),
    "siblings at the limit, comments": _numbered("<!---->\n<e#>a<!-- b -->", "</e#>", 1300),
    "attributes": _fill(" a='b'", "<Content", "/>"),
    "attributes, own names": lambda size: "<a" + "".join(f" a{number}=''" for number in range(size // 10)) + "/>",
    "attributes at the limit": _numbered('<e# a="" b="" c="', '"/>'),
    "one long attribute": _fill("x", '<a b="', '"/>'),
    "one long name": lambda size: f"<{'a' * (size // 2 - 4)}></{'a' * (size // 2 - 4)}>",
    "quotes, never closed": _fill("<a \"'"),
    "tags, never closed": _fill("<"),
    "entities of XML": _fill("&amp;", "<Content>", "</Content>"),
    "character references": _fill("&#38;", "<Content>", "</Content>"),
    "unknown entities": _fill("&a;", "<Content>", "</Content>"),
    "comments": _fill("<!---->"),
    "comments in a text": _fill("a<!---->", "<Content>", "</Content>"),
    "comments, never closed": _fill("<!--"),
    "processing instructions": _fill("<?a?>"),
    "CDATA sections": _fill("<![CDATA[a]]>", "<Content>", "</Content>"),
    "CDATA, never closed": _fill("<![CDATA["),
    "white space": _fill(" \n", "<Content>", "</Content>"),
    "white space between elements": _fill(" ", "", "<Content/>"),
    "white space in a tag": _fill(" ", "<Content", "/>"),
    "control characters": _fill("\x01", "<Content>", "</Content>"),
    "carriage returns": _fill("\r", "<Content>", "</Content>"),
    "brackets": _fill("]", "<Content><![CDATA[", "]]></Content>"),
    "tags in a text": _fill("<b>x</b>", "<Content><![CDATA[", "]]></Content>"),
    "]]> in a text": _fill("]]>", "<Content><![CDATA[", "]]></Content>"),
    "ends in a text": _fill("]]></Content>", "<Content><![CDATA[", "]]></Content>"),
    "begins in a text": _fill("]]><Content><![CDATA[", "<Content><![CDATA[", "]]></Content>"),
    "titles in a title": _fill("]]><Title><![CDATA[", "<Title><![CDATA[", "]]></Title>"),
    "titles, never closed": _fill("<Title><![CDATA[]]>"),
    "begins and ends in turn": _fill("]]></Title><Title><![CDATA[", "<Title><![CDATA[", "]]></Title>"),
    "blank text, begins elsewhere": _fill("<Content><![CDATA[", '<Content> x</Content><a b=""><![CDATA[', "]]></a>"),
    "blank text, blanks elsewhere": _fill(
        "]]> ", '<Content> x</Content><a b=""><![CDATA[<Content><![CDATA[', "]]></a>"
    ),
    "words of a link, blanks": _fill(" ", "<Content><![CDATA[查看回复", "]]></Content>"),
    "a link's id": _fill("1", "<Content>x</Content><bizmsgmenuid>wxmp-", "</bizmsgmenuid>"),
    "numbers": _fill("1", "<Content>x</Content><Location_X>1", "</Location_X>"),
    "truncated": _fill("x", "<Content><![CDATA["),
}
EVENT_PARTS: dict[str, Maker] = {
    "event with ids at the limit": _numbered("<e#Id>", "</e#Id>"),
    "event, ids in depth": lambda size: "<List>" * 10 + _numbered("<e#Code>", "</e#Code>")(size - 200) + "</List>" * 10,
    "event with a long key": _fill("x", "<EventKey>", "</EventKey>"),
}
DOCUMENTS: dict[str, Maker] = {
    "billion laughs": _laughs,
    "quadratic entities": _quadratic,
    "long declaration": _fill(" ", "<?xml version='1.0'", "?><xml/>"),
    "declarations": _fill("<?xml ?>"),
    "white space before the root": _fill(" ", "", "<xml><a/></xml>"),
    "roots": _fill("<xml>"),
    "ends of the root": _fill("</xml> ", "<xml><a/>"),
    "Encrypt twice": _fill("<Encrypt>AAAA</Encrypt>", "<xml>", "</xml>"),
    "Encrypt with blanks": _fill("A ", "<xml><Encrypt>", "</Encrypt></xml>"),
    "Encrypt of the greatest size": _fill("AAAA", "<xml><Encrypt><![CDATA[", "]]></Encrypt></xml>"),
}


def bodies(size: int) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Yield what there is: a name, and what makes the XML with a MsgId of its own."""
    for frame, parts in ((TEXT, PARTS), (EVENT, EVENT_PARTS)):
        for name, make in parts.items():
            part = make(size - len(frame) - 20)
            yield name, lambda number, frame=frame, part=part: frame.format(id=number, part=part).encode()
    for name, make in DOCUMENTS.items():
        document = make(size)
        yield name, lambda number, document=document: document.encode()
    for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        for name in ("nesting", "siblings", "attributes", "]]> in a text"):
            part = PARTS[name](size // (4 if coding == "utf-32" else 2) - len(TEXT) - 20)
            yield (
                f"{name}, {coding}",
                lambda number, part=part, coding=coding: TEXT.format(id=number, part=part).encode(coding),
            )
