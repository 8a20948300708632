"""What a person reads when a program ends with a mistake of theirs: the place, and what to do in both languages."""

import sys

import pytest

from wx_mp_svr import ConfigError, WxMpServer, complaints

PROBLEMS = [("WX_MP_TOKEN", "is missing", "缺少 Token"), ("WX_MP_PORT", "must be a number", "必须是数字")]


def raised(program, file="bot.py"):
    """Run a program, and return what it raises."""
    try:
        exec(compile(program, file, "exec"), {"WxMpServer": WxMpServer, "ConfigError": ConfigError})
    except Exception as exc:
        return exc


def test_each_mistake_is_a_block_with_the_place_on_top():
    exc = raised("x = 1\n\nWxMpServer(token='a b', appid='gh_1')\n")
    head, _, *rest = complaints.message_of(exc).split("\n")
    assert head == "wx-mp-svr：设置有 2 处错误（bot.py:3）"
    assert rest[:2] == [
        "  WX_MP_APPID 这是原始ID（gh_ 开头），AppID 以 wx 开头",
        "    WX_MP_APPID is the account's original ID (gh_...); the AppID begins with wx",
    ]
    assert rest[2] == ""


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (
            ConfigError("x", PROBLEMS),
            "wx-mp-svr：设置有 2 处错误\n"
            "\n  WX_MP_TOKEN 缺少 Token\n    WX_MP_TOKEN is missing\n"
            "\n  WX_MP_PORT 必须是数字\n    WX_MP_PORT must be a number",
        ),
        (
            ConfigError("the path / is taken / 路径被占用"),
            "wx-mp-svr：不能启动\n\n  路径被占用\n    the path / is taken",
        ),
        (ConfigError("一个错误"), "wx-mp-svr：不能启动\n\n  一个错误"),
    ],
)
def test_without_a_place_there_is_the_message_alone(exc, message):
    assert complaints.message_of(exc) == message


def test_the_place_is_the_last_line_of_the_users_own():
    program = "def make():\n    return WxMpServer(tokn='a')\n\nmake()\n"
    assert complaints.place_of(raised(program)) == "bot.py:2"
    assert complaints.place_of(raised(program, "/x/site-packages/lib.py")) == f"{__file__}:{own_line()}"
    assert complaints.place_of(raised(program, "<frozen lib>")) == f"{__file__}:{own_line()}"
    assert complaints.place_of(raised(program, "/x/my-site-packages.py")) == "/x/my-site-packages.py:2"
    assert complaints.place_of(ConfigError("x")) == ""


def own_line():
    return raised.__code__.co_firstlineno + 3


def test_a_traceback_begins_in_the_users_own_program():
    program = compile("{}['a']", "bot.py", "exec")
    try:
        exec(compile("exec(program)", complaints.__file__, "exec"), {"program": program})
    except KeyError as exc:
        text = complaints.traceback_of(exc.with_traceback(exc.__traceback__.tb_next))
    assert text.splitlines() == [
        *("Traceback (most recent call last):", '  File "bot.py", line 1, in <module>', "KeyError: 'a'"),
    ]


def test_where_no_line_is_the_users_own_the_last_one_is_shown():
    def foreign():
        exec(compile("{}['a']", complaints.__file__, "exec"))

    try:
        foreign()
    except KeyError as exc:
        text = complaints.traceback_of(exc.with_traceback(exc.__traceback__.tb_next.tb_next))
    assert complaints.__file__ in text
    assert complaints.traceback_of(KeyError("a")) == "KeyError: 'a'"


@pytest.fixture
def hook(monkeypatch):
    others = []
    monkeypatch.setattr(sys, "excepthook", lambda *given: others.append(given))
    complaints.show_plainly()
    return others


def shown(exc):
    given = type(exc), exc, exc.__traceback__
    sys.excepthook(*given)
    return given


def test_a_config_error_is_shown_plainly_and_all_else_as_ever(hook, capsys):
    shown(ConfigError("wrong / 错了"))
    assert capsys.readouterr() == ("", "wx-mp-svr：不能启动\n\n  错了\n    wrong\n")
    assert hook == []
    other = shown(raised("{}['a']"))
    assert other[2] is not None
    assert hook == [other]


def test_it_is_hooked_once_and_without_a_terminal_others_are_asked(hook, monkeypatch):
    ours = sys.excepthook
    complaints.show_plainly()
    assert sys.excepthook is ours
    monkeypatch.setattr(sys, "stderr", None)
    given = shown(ConfigError("x"))
    assert hook == [given]
