"""The file of settings as systemd's ``EnvironmentFile=`` reads it, and where a shell would read it differently.

Text in, values and words out. Nothing is expanded and nothing is run.
"""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = r"""'[^']*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)"""
_LINE = re.compile(
    rf"""
    [ \t]* (?: [#;] [^\r\n]*  # a comment, or
    | (?P<name> [^=\r\n]*) =
      (?P<quoted> (?: [ \t]* (?:{_QUOTED}) )*)  # a value may begin with quotes, which may hold line ends
      [ \t]* (?P<rest> (?: \\. | [^\\\r\n] )*)
    | [^\r\n]* )
    (?: \r?\n | \r | \Z )""",
    re.VERBOSE | re.DOTALL,
)


class Assignment(NamedTuple):
    """One setting as it stands in the file.

    Attributes:
        line: Its number, from 1.
        name: May be no name at all: systemd then drops the line.
        value: As systemd gives it to the service.
        raw: The text that it was read from.
    """

    line: int
    name: str
    value: str
    raw: str


def assignments(text: str) -> Iterator[Assignment]:
    """Yield what systemd reads: a backslash joins lines, and ``#`` begins no comment behind a value."""
    line = 1
    for found in _LINE.finditer(text):
        if found["name"] is not None:
            value = "".join(map(_unquoted, re.findall(_QUOTED, found["quoted"], re.DOTALL))) + _unescaped(found["rest"])
            yield Assignment(line, found["name"].strip(), value, found[0].removesuffix("\n"))
        line += found[0].count("\n")


def _unquoted(part: str) -> str:
    inner = part[1:].removesuffix(part[0])
    if part[0] == "'":
        return inner
    return re.sub(r"\\(?:\n|([\"\\$`]))", lambda found: found[1] or "", inner)


def _unescaped(rest: str) -> str:
    """Return a value without quotes: blanks at its end do not count, but behind a backslash."""
    return re.sub(r"\\(?:\n|(.))", lambda found: found[1] or "", re.sub(r"(?<!\\)\s+\Z", "", rest), flags=re.DOTALL)


def read(text: str) -> dict[str, str]:
    """Return the settings; the last one of a name holds. Lines that begin with no name are dropped, as systemd does."""
    return {found.name: found.value for found in assignments(text) if _NAME.fullmatch(found.name)}


_BY_NAME = (
    (r"\ufeff.*", "文件开头有 BOM，systemd 读不到这一行：另存为「UTF-8 无 BOM」"),
    (r"export\s.*", "有 export，systemd 会忽略这一行：去掉 export"),
    (r"(?!(?:[A-Za-z_]\w*)$).*", "等号前不是变量名，systemd 会忽略这一行"),
)
_BY_TEXT = (
    (r"[^=]*\s=.*|[^=]*=[ \t]+\S.*", "等号两边有空格，用 sh 读会出错：去掉空格"),
    (r"[^=]*=[^'\"]*\s#.*", "行尾的 # 不是注释，systemd 会把它当成值的一部分：注释另起一行"),
    (r".*\r", "行尾是 Windows 的换行（CRLF），用 sh 读会多一个字符：另存为 LF"),
)


def oddities(text: str) -> Iterator[str]:
    """Say in Chinese, line by line, what systemd drops or what a shell (``set -a; . FILE``) would read differently."""
    for found in assignments(text):
        if words := _first(_BY_NAME, found.name) or _first(_BY_TEXT, found.raw) or _by_shell(found):
            yield f"第 {found.line} 行：{words}"


def _first(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((words for pattern, words in table if re.fullmatch(pattern, text, re.DOTALL)), "")


def _by_shell(found: Assignment) -> str:
    try:
        same = shlex.split(found.raw.replace("\\\n", ""), comments=True) == [f"{found.name}={found.value}"]
    except ValueError:
        return "引号没有成对"
    bare = re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\$`])*\"", "", found.raw, flags=re.DOTALL)  # neither escaped nor quoted
    if not same or re.search(r"[$`;&|<>()]", bare):
        return "sh 会读成别的值：给值加上单引号"
    return ""
