"""Pages: cut at natural places, to the byte, and the same every time."""

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wx_mp_svr.delivery.pages import cut, settled, split_text

FAMILY = "👨‍👩‍👧"  # three people joined by two ZWJ
FLAGS = "🇨🇳🇫🇷"  # four regional indicators
LINK = '<a href="https://example.com/a">链接</a>'
CAPITALS = '<A HREF="https://example.com/a">链接</A>'


def pages_of(text, limit):
    pages = []
    while text:
        end = cut(text, limit)
        pages.append(text[:end])
        text = text[end:]
    return pages


@pytest.mark.parametrize(
    ("text", "limit", "first"),
    [
        ("短", 10, "短"),
        ("一二三四五", 9, "一二三"),  # three bytes each
        ("第一段。\n\n第二段很长很长", 30, "第一段。\n\n"),  # a blank line before the sentence behind it
        ("第一行没有句号\n第二行。还有", 36, "第一行没有句号\n"),
        ("一句话。第二句话还没有完", 21, "一句话。"),
        ("他说：“好。”然后走了很远很远", 30, "他说：“好。”"),
        ("One sentence. And another one", 22, "One sentence."),
        ("3.14159 is pi and so on", 14, "3.14159 is pi "),
        ("no-place-to-cut-at-all", 10, "no-place-t"),
        ("一，二，三四五六七", 16, "一，二，"),
        ("很早\n" + "长" * 20, 40, "很早\n" + "长" * 11),  # a place in the first half would waste the page
        ("a" * 14 + "\n" + "a" * 30, 30, "a" * 14 + "\n" + "a" * 15),
        ("a" * 15 + "\n" + "a" * 30, 30, "a" * 15 + "\n"),
        ("看" + LINK + "看", len(("看" + LINK).encode()), "看" + LINK),  # a link that just fits stays
        ("字🇨字字", 7, "字🇨"),  # half a flag is a sign like any other
    ],
)
def test_a_page_ends_at_the_most_natural_place_in_its_second_half(text, limit, first):
    assert text[: cut(text, limit)] == first


@pytest.mark.parametrize(
    "whole",
    [FAMILY, "🇨🇳", "é", "का", "👍🏽", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", LINK, CAPITALS, "🇦🇿", "👍🏻", "👍🏿", "한", "\r\n"],
    ids=ascii,
)
def test_no_page_ends_inside_what_a_reader_sees_as_one(whole):
    """Whatever the limit, the sign or the link stands whole on one page."""
    for before, limit in itertools.product(range(32), (90, 91, 92)):  # the limit falls on each of its bytes
        text = "字" * before + whole + "字" * 40
        for page in pages_of(text, limit):
            assert page.count(whole) or not set(page) & (set(whole) - {"字"}), (before, limit, page)


def test_flags_are_cut_between_flags():
    text = "🇨🇳" * 20
    assert all(len(page) % 2 == 0 for page in pages_of(text, 30))


def test_a_link_that_is_longer_than_a_page_is_cut_all_the_same():
    text = f'<a href="https://example.com/{"x" * 300}">链接</a>'
    assert "".join(pages_of(text, 100)) == text


@given(
    st.lists(st.sampled_from([*"字a .。\n<>/", FAMILY, FLAGS, LINK, "\u0301"]), max_size=400).map("".join),
    st.integers(60, 200),
)
@example("字" * 100, 60)
@example(LINK * 5, 120)
def test_pages_put_together_are_the_text_again(text, limit):
    """To the byte, each within its limit, and cut at the same place when cut again."""
    pages = pages_of(text, limit)
    assert "".join(pages) == text
    assert all(0 < len(page.encode()) <= limit for page in pages)
    assert pages_of(text, limit) == pages


@pytest.mark.parametrize(
    ("text", "max_bytes", "pieces"),
    [
        ("", 10, []),
        ("一句话。第二句话还没有完", 21, ["一句话。", "第二句话还没有", "完"]),
        ("😀字字", 2, ["😀", "字", "字"]),  # no sign fits: one a piece, or it would never end
        ("a" * 2049, 2048, ["a" * 2048, "a"]),
    ],
)
def test_a_text_is_split_as_pages_are_cut(text, max_bytes, pieces):
    assert split_text(text, max_bytes) == pieces
    if max_bytes == 2048:
        assert split_text(text) == pieces


@pytest.mark.parametrize(
    ("growing", "shown"),
    [
        ("第一句。第二句还没", "第一句。"),
        ("一个字", "一个"),  # the last sign may still grow
        ("看" + "👨", "看"),
        ("看👨\u200d👩", "看"),  # and become a family
        ("", ""),
        ("字", ""),
        ("三个字。" + "字" * 8, "三个字。" + "字" * 7),  # in the first third a place would show too little
        ("四个字的。" + "字" * 7, "四个字的。"),
        ("看这里 <a href='https://exam", "看这里 "),
        ("看这里 <A HREF='https://exam", "看这里 "),
        ("<a", ""),
        ("<a href='https://exam", ""),
        ("<a href='https://e.com' title='一句。两句。'>三句。", ""),  # no place in a link is a natural one
        ("完整的一句。", "完整的一句。"),
        ("好。" + "字" * 7, "好。" + "字" * 6),  # a place in the first third would show too little
        ("好，好。" + "字" * 5, "好，好。"),
    ],
)
def test_of_a_growing_text_only_what_will_not_change_is_shown(growing, shown):
    assert growing[: settled(growing)] == shown


@pytest.mark.parametrize("before", ["", "看", "看。\n"])
def test_a_growing_text_is_never_shown_with_half_a_link(before):
    text = f"{before}{LINK}吧，还有{LINK}"
    for end in range(len(text)):
        shown = text[:end][: settled(text[:end])]
        assert len(re.findall("<a", shown)) == len(re.findall("</a>", shown)), shown
