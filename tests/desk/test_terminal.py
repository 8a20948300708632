"""What a terminal shows: no secret, nothing that steers it, and a bubble as wide as its words."""

import io
import sys
import threading

import pytest

from wx_mp_svr.config import DEMO_AES_KEY, DEMO_APPID, DEMO_TOKEN
from wx_mp_svr.desk import terminal
from wx_mp_svr.desk.findings import Finding
from wx_mp_svr.desk.terminal import bubble, hidden, hide, say, shown, spinner, tell
from wx_mp_svr.testing import Result


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    """Those of other tests are none here."""
    monkeypatch.setattr(terminal, "_secrets", set())
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_the_secrets_of_the_settings_are_hidden_and_no_other_words():
    hide({"WX_MP_TOKEN": " Token7 ", "WX_MP_AES_KEY": "Token7Key", "WX_MP_AES_KEY_OLD": "old", "WX_MP_APPID": "wx1"})
    assert hidden("Token7 Token7Key Token7 old wx1") == "*** *** *** *** wx1"
    hide({"SHOP_TOKEN": "Shop7", "WX_MP_TOKEN": "Other7"}, "SHOP_")
    assert hidden("Shop7 Other7 Token7") == "*** Other7 ***"


@pytest.mark.parametrize("token", ["", "ab", DEMO_TOKEN, DEMO_AES_KEY, DEMO_APPID])
def test_what_is_no_secret_is_shown(token):
    hide({"WX_MP_TOKEN": token, "WX_MP_AES_KEY": token})
    assert hidden(f"a {token} b abc XXXX") == f"a {token} b abc XXXX"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("你好 👨\u200d👩\nabc", "你好 👨\u200d👩\nabc"),
        ("a\x1b[31m\x9b\r\tb", "a?[31m???b"),
        ("a\u202eb\ufeff", "a?b?"),
        ("\ud800", "?"),
        ("the Token7!", "the ***!"),
    ],
)
def test_nothing_that_is_said_steers_a_terminal(words, said, capsys):
    hide({"WX_MP_TOKEN": "Token7"})
    say(words)
    assert capsys.readouterr() == (f"{said}\n", "")
    say(words, err=True)
    assert capsys.readouterr() == ("", f"{said}\n")


def coloured(monkeypatch, call):
    """What is echoed, with the colours that a terminal would get."""
    said = []
    monkeypatch.setattr(terminal.click, "echo", lambda words, err: said.append((words, err)))
    call()
    return said


@pytest.mark.parametrize(
    ("level", "line"),
    [
        ("ok", "\x1b[32m[正常] 名称：原因 -> 办法\x1b[0m"),
        ("warning", "\x1b[33m[注意] 名称：原因 -> 办法\x1b[0m"),
        ("error", "\x1b[31m[错误] 名称：原因 -> 办法\x1b[0m"),
    ],
)
def test_a_finding_is_one_line_in_its_colour(level, line, monkeypatch):
    assert coloured(monkeypatch, lambda: tell(Finding(level, "名称", "原因", "办法"))) == [(line, False)]
    assert coloured(monkeypatch, lambda: say("a")) == [("a", False)]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = line.partition("m")[2].removesuffix("\x1b[0m")
    assert coloured(monkeypatch, lambda: tell(Finding(level, "名称", "原因", "办法"))) == [(plain, False)]


def test_a_finding_without_cause_or_fix_is_shorter(capsys):
    tell(Finding("ok", "名称"))
    tell(Finding("ok", "名称", "原因"))
    assert capsys.readouterr().out == "[正常] 名称\n[正常] 名称：原因\n"


BUBBLES = {
    "a": ["┌───┐", "│ a │", "└───┘"],
    "你好\na": ["┌──────┐", "│ 你好 │", "│ a    │", "└──────┘"],
    "Ｗ\n1": ["┌────┐", "│ Ｗ │", "│ 1  │", "└────┘"],
    "！a\n\ncafe\u0301": ["┌──────┐", "│ ！a  │", "│      │", "│ cafe\u0301 │", "└──────┘"],
    "👨\u200d\u2764\ufe0f\nabc": ["┌─────┐", "│ 👨\u200d\u2764\ufe0f │", "│ abc │", "└─────┘"],
}


@pytest.mark.parametrize(("text", "lines"), BUBBLES.items(), ids=range(len(BUBBLES)))
def test_a_bubble_is_as_wide_as_its_widest_line(text, lines):
    assert bubble(text).split("\n") == lines


LINK = '<a href="http://a/">看</a>'
SHOWN = [
    (Result("", [], "text", f"好{LINK}"), "好看"),
    (Result("", [], "", ""), ""),
    (Result("", [], "image", "", {"Image": {"MediaId": "m"}}), "[图片] m"),
    (Result("", [], "voice", "", {"Voice": {"MediaId": "m"}}), "[语音] m"),
    (Result("", [], "video", "", {"Video": {"MediaId": "m", "Title": "", "Description": "d"}}), "[视频] m d"),
    (Result("", [], "music", "", {"Music": {"Title": "t", "ThumbMediaId": "m"}}), "[音乐] t m"),
    (
        Result("", [], "news", "", {"Articles": {"item": [{"Title": "1", "Url": "u"}, {"Title": "2"}]}}),
        "[图文] 1 u\n[图文] 2",
    ),
    (Result("", [], "image", "", {}), "[图片]"),
    (Result("", [], "news", "", {"Articles": ""}), "[图文]"),
]


@pytest.mark.parametrize(("result", "text"), SHOWN)
def test_a_reply_is_shown_as_text(result, text):
    assert shown(result) == text


class Terminal(io.StringIO):
    def __init__(self):
        super().__init__()
        self.turned = threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        if text.startswith("\r\\"):
            self.turned.set()
        return super().write(text)


def test_a_spinner_turns_and_leaves_nothing_behind(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with spinner("检查中"):
        assert stderr.turned.wait(10)
    assert stderr.getvalue().startswith("\r| 检查中\r/ 检查中\r- 检查中\r\\ 检查中")
    assert stderr.getvalue().endswith("\r            \r")
    assert "spinner" not in {thread.name for thread in threading.enumerate()}


def test_where_there_is_no_terminal_nothing_turns(capsys):
    with spinner():
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "spinner"] == [True]
    assert capsys.readouterr() == ("", "")
