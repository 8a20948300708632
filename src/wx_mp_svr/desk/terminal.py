"""What the commands show on a terminal: words without secrets or control characters, bubbles, a sign of life.

Knows nothing of commands and of what they ask.
"""

import itertools
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from .. import config
from ..testing import Result
from ..testing.judge import without_links
from .files import PICTURED
from .findings import Finding

_DEMO = (config.DEMO_APPID, config.DEMO_TOKEN, config.DEMO_AES_KEY)
_secrets: set[str] = set()


def hide(environ: Mapping[str, str], prefix: str = "WX_MP_") -> None:
    """Never show the secrets of these settings from now on, whoever puts them into words (the demo's are none)."""
    given = {environ.get(f"{prefix}{name}", "").strip() for name in ("TOKEN", "AES_KEY", "AES_KEY_OLD")}
    _secrets.update(secret for secret in given if len(secret) >= 3 and secret not in _DEMO)


def hidden(words: str) -> str:
    """Return *words* without the secrets."""
    for secret in sorted(_secrets, key=len, reverse=True):
        words = words.replace(secret, "***")
    return words


def say(words: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print, but nothing that a bot could steer a terminal with."""
    steering = ("Cc", "Cf", "Cs")  # categories of Unicode; newlines and what joins emoji are welcome
    clean = (c if c in "\n\u200d" or unicodedata.category(c) not in steering else "?" for c in hidden(words))
    plain = "".join(clean)
    click.echo(plain if fg is None or os.environ.get("NO_COLOR") else click.style(plain, fg=fg), err=err)


@contextmanager
def spinner(words: str = "等待回复") -> Iterator[None]:
    """Show on a terminal, and only there, that something is going on."""
    done = threading.Event()

    def spin() -> None:
        for mark in itertools.cycle("|/-\\"):
            if done.wait(0.1):
                return click.echo("\r            \r", err=True, nl=False)
            click.echo(f"\r{mark} {words}", err=True, nl=False)

    thread = threading.Thread(target=spin if sys.stderr.isatty() else done.wait, name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _width(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
    return len(line) + wide - sum(unicodedata.combining(c) > 0 or c in "\u200d\ufe0f" for c in line)


def bubble(text: str) -> str:
    """Draw what the user sees."""
    lines = text.split("\n")
    width = max(map(_width, lines))
    drawn = "\n".join(f"│ {line}{' ' * (width - _width(line))} │" for line in lines)
    return f"┌{'─' * (width + 2)}┐\n{drawn}\n└{'─' * (width + 2)}┘"


def shown(result: Result) -> str:
    """Return a reply as text; of a link in it, the label."""
    if result.type not in PICTURED:
        return without_links(result.content)
    parent = result.fields.get("Articles" if result.type == "news" else result.type.capitalize()) or {}
    children = parent.get("item", [parent])
    return "\n".join(" ".join([PICTURED[result.type], *filter(None, child.values())]) for child in children)


_MARKS = {"ok": ("[正常]", "green"), "warning": ("[注意]", "yellow"), "error": ("[错误]", "red")}


def tell(finding: Finding) -> None:
    """Print a finding in one line."""
    mark, colour = _MARKS[finding.level]
    cause, fix = (f"：{finding.cause}" if finding.cause else ""), (f" -> {finding.fix}" if finding.fix else "")
    say(f"{mark} {finding.name}{cause}{fix}", fg=colour)
