"""What a check finds in short: the exit code that sums it up, and words that are cut where they may be."""

import pytest

from wx_mp_svr.desk.findings import Finding, cut, exit_code


def found(level, code=3):
    return Finding(level, "name", exit_code=code)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([found("ok", 2), found("warning", 4)], 0),
        ([Finding("error", "name")], 3),
        ([found("error", 3), found("error", 4)], 4),
        ([found("error", 4), found("error", 2), found("error", 3)], 2),
        ([found("error", 4), found("ok", 2)], 4),
    ],
)
def test_the_exit_code_is_that_of_what_one_would_mend_first(findings, code):
    """As the help of the commands has it: 2 for the settings, 3 for the bot, 4 for the way there."""
    assert exit_code(findings) == code


def test_a_finding_needs_no_words():
    assert Finding("ok", "name") == ("ok", "name", "", "", 3)


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("." * 60, 60, "." * 60),
        ("." * 61, 60, "." * 60 + "…"),
        ("字" * 61, 60, "字" * 60 + "…"),
        ("ab cd", 5, "ab cd"),
        ("ab cde", 5, "ab …"),
        ("ab+/=9", 5, "…"),
        ("a-bcdef", 5, "a-…"),
        ("", 5, ""),
    ],
)
def test_no_word_is_cut_in_two(text, length, shown):
    assert cut(text, length) == shown
    if length == 60:
        assert cut(text) == shown
