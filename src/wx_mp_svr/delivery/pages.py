"""Cutting long text into pages.

Text in, the place of a cut out. The pages put together are the text again, to the byte; the same text is always cut at
the same place. Knows nothing of replies or links.
"""

import re
import unicodedata

# The most natural place first: after a blank line, a line, a sentence, a clause, a word.
_PLACES = [
    re.compile(r"\n[ \t\u3000]*\n"),
    re.compile(r"\n"),
    re.compile(r"[。！？…；!?;][”’」』）)\"']*|\.(?=\s)"),
    re.compile(r"[，、：,:]|\s"),
]
# What WeChat shows as a link: an <a> with an href, which closes soon. Everything else that begins with <a is prose.
_LINK = re.compile(r"<a\s[^<>]{0,1000}?href\s*=[^<>]{0,1000}>[^<]{0,400}</a>", re.IGNORECASE)
# What may yet grow into one: a tag of ASCII that has not ended, or one with an href.
_BEGUN = re.compile(
    r"<(?:a(?:\s(?:[\x20-;=?-~\s]{0,1000}|[^<>]{0,1000}?href\s*=[^<>]{0,1000}(?:>[^<]{0,400}(?:</?a?)?)?))?)?\Z",
    re.IGNORECASE,
)
LINK_CHARS = 2500  # the longest link
_ZWJ = "\u200d"

Spans = list[tuple[int, int]]


def cut(text: str, limit: int) -> int:
    """Return how many characters of *text* make a page of at most *limit* bytes.

    A page ends at the most natural place in its second half, never inside ``<a>...</a>`` (unless a link alone is longer
    than a page), a UTF-8 sequence or an emoji cluster.
    """
    # One page and what a link may reach beyond it: however long the text is, a page costs the same.
    text = text[: limit + LINK_CHARS]
    end = len(text[:limit].encode()[:limit].decode(errors="ignore"))
    if end == len(text):
        return end
    links = _links(text)
    return _natural_place(text, end // 2, end, links) or _last_boundary(text, end, links)


def split_text(text: str, max_bytes: int = 2048) -> list[str]:
    """Split a text as this package cuts its pages: at natural places, never inside a link or an emoji.

    For customer-service messages, which have the same limit as passive replies.

    Args:
        text: Of any length.
        max_bytes: Of each piece, in UTF-8.

    Returns:
        Pieces that together are the text; none for an empty text.
    """
    pieces, position = [], 0
    while position < len(text):
        window = text[position : position + max_bytes + LINK_CHARS]
        chars = max(1, cut(window, max_bytes))
        pieces.append(window[:chars])
        position += chars
    return pieces


def settled(text: str) -> int:
    """Return how many characters of a text that is still growing can be shown: up to its last sentence, line or word.

    What is left out may yet grow into something else (a link, an emoji cluster); 0 when there is nothing to show.
    """
    links = _links(text)
    begun = _BEGUN.search(text, max(0, len(text) - LINK_CHARS))
    if begun is not None:
        links.append((begun.start(), len(text) + 1))
    end = len(text)
    place = _natural_place(text, end // 3, end, links) or _last_boundary(text, max(0, end - 1), links)
    return 0 if _link_around(place, links) else place


def _links(text: str) -> Spans:
    return [link.span() for link in _LINK.finditer(text)] if "<" in text else []


def _natural_place(text: str, start: int, end: int, links: Spans) -> int:
    """Return the last of the most natural places; 0 where there is none."""
    for place in _PLACES:
        for position in reversed([match.end() for match in place.finditer(text, start, end)]):
            if not _link_around(position, links) and not _inside_cluster(text, position):
                return position
    return 0


def _last_boundary(text: str, end: int, links: Spans) -> int:
    link = _link_around(end, links)
    if link is not None and link[0]:
        return link[0]
    return next((i for i in range(end, 0, -1) if not _inside_cluster(text, i)), end)


def _link_around(position: int, links: Spans) -> tuple[int, int] | None:
    return next(((start, end) for start, end in links if start < position < end), None)


def _inside_cluster(text: str, position: int) -> bool:
    """Whether a cut here would split what a reader sees as one sign (accents, skin tones, flags, joined emoji)."""
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if before == _ZWJ or after == _ZWJ or (before, after) == ("\r", "\n"):
        return True
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U000e0020" <= after <= "\U000e007f":  # the tags of a regional flag
        return True
    if _is_regional(before) and _is_regional(after):  # a flag is two of these
        count = 0
        while count < position and _is_regional(text[position - 1 - count]):
            count += 1
        return count % 2 == 1
    return False


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
