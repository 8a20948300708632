"""What stands between strangers' XML and the parser: limits, and the mending of what WeChat itself tears.

Text in, an error or text out; nothing is parsed here. Knows nothing of fields, messages or signatures.
"""

import re

from ..errors import BadXml

MAX_DEPTH = 16
MAX_ELEMENTS = 2000  # with their attributes
MAX_UNSIGNED = 400  # of what nobody has authenticated yet: in compatible mode a whole push beside its Encrypt, and more
MAX_ATTRIBUTES = 16  # of one element

_ATTRIBUTE = re.compile(r"=\s*[\"']")
# A CDATA section or a comment is matched whole: what looks like a tag inside is text. One that never ends is matched up
# to the end, and no tag reaches over the next `<`, so that a search of any document takes linear time. Of a tag with
# too many attributes the beginning will do; then, and where it is none, it does not end in `>`.
_MARKUP = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)"
    rf"|<(/?)([^<>\"']*(?:(?:\"[^\"<]*\"|'[^'<]*')[^<>\"']*){{0,{MAX_ATTRIBUTES + 1}}})(>?)",
    re.DOTALL,
)
# The elements whose text users write; they alone can hold a `]]>`.
_USER_TEXT = re.compile(r"<(Content|Recognition|Title|Description|Label|EventKey)><!\[CDATA\[")


def check_limits(xml: str, most: int = MAX_ELEMENTS) -> None:
    """Raise BadXml for a document that is too deep or has too many elements or attributes, before a parser sees it."""
    # An element takes one `<` at least, a level two, an attribute `="`: most messages need no closer look.
    if xml.count("<") <= 2 * MAX_DEPTH and not _ATTRIBUTE.search(xml):
        return
    depth = elements = others = 0
    for match in _MARKUP.finditer(xml):
        slash, tag, end = match.groups()
        if slash and end:
            depth -= 1
            continue
        attributes = len(_ATTRIBUTE.findall(tag)) if tag and "=" in tag else 0
        if end:
            elements += 1 + attributes
            depth += not tag.endswith("/")
        else:
            others += 1  # comments, sections, and what is no tag: no push has as many of these, either
        if depth > MAX_DEPTH or max(elements, others) > most or attributes > MAX_ATTRIBUTES:
            raise BadXml("too deep, or too many elements or attributes")


def mend(xml: str) -> str:
    """Escape the user's text in a document that a ``]]>`` in it has torn.

    Such a text reaches from its element's start to the last end of that element: whatever tags stand between are the
    user's own words, and must not become elements.
    """
    pieces, position = [], 0
    while found := _USER_TEXT.search(xml, position):
        begin, end_tag = found.end(), f"]]></{found[1]}>"
        rest = xml[begin:]
        # A link has two such texts. The one is not over where the other, whatever it says, has begun.
        reach = rest.partition("<Description><![CDATA[")[0] if found[1] == "Title" else rest
        chars = reach.rfind(end_tag)
        if chars < 0:
            chars = rest.rfind(end_tag)
        if chars < 0:
            break
        pieces += [xml[position:begin], rest[:chars].replace("]]>", "]]]]><![CDATA[>")]
        position = begin + chars
    return "".join([*pieces, xml[position:]])
