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
_LINK = re.compile(r"<a\b.*?(?:</a>|\Z)", re.DOTALL | re.IGNORECASE)
_ZWJ = "\u200d"


def cut(text: str, limit: int) -> int:
    """Return how many characters of *text* make a page of at most *limit* bytes.

    A page ends at the most natural place in its second half, never inside ``<a>...</a>`` (unless a link alone is longer
    than a page), a UTF-8 sequence or an emoji cluster.
    """
    end = len(text.encode()[:limit].decode(errors="ignore"))
    if end == len(text):
        return end
    return _natural_place(text, end // 2, end) or _last_boundary(text, end)


def settled(text: str) -> int:
    """Return how many characters of a text that is still growing can be shown: up to its last sentence, line or word.

    What is left out may yet grow into something else (a link, an emoji cluster); 0 when there is nothing to show.
    """
    end = _natural_place(text, len(text) // 3, len(text)) or _last_boundary(text, max(0, len(text) - 1))
    return 0 if _inside_link(text, end) else end


def _natural_place(text: str, start: int, end: int) -> int:
    """Return the last of the most natural places; 0 where there is none."""
    for place in _PLACES:
        for position in reversed([match.end() for match in place.finditer(text, start, end)]):
            if not _inside_link(text, position) and not _inside_cluster(text, position):
                return position
    return 0


def _last_boundary(text: str, end: int) -> int:
    link = _inside_link(text, end)
    if link is not None and link.start():
        return link.start()
    return next((i for i in range(end, 0, -1) if not _inside_cluster(text, i)), end)


def _inside_link(text: str, position: int) -> "re.Match[str] | None":
    for link in _LINK.finditer(text) if "<" in text else ():
        if link.start() < position and (position < link.end() or not link[0].endswith("</a>")):
            return link
    return None


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
