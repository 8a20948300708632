"""How a `ConfigError` that ends a program is shown: for the person who wrote it, without a traceback.

Chinese first, a block for each mistake, and where in the program it is.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import ConfigError

_PACKAGE = str(Path(__file__).parent)


def show_plainly() -> None:
    """See to it that a `ConfigError` which nobody catches is shown as a message. All other exceptions stay as they are."""
    if not getattr(sys.excepthook, "is_ours", False):
        sys.excepthook = _Hook(sys.excepthook)


class _Hook:
    is_ours = True

    def __init__(self, others: Callable[..., Any]) -> None:
        self._others = others

    def __call__(self, kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        if isinstance(exc, ConfigError) and sys.stderr is not None:
            print(message_of(exc), file=sys.stderr)
        else:
            self._others(kind, exc, trace)


def message_of(exc: ConfigError) -> str:
    """Return what its author gets to read."""
    where = place_of(exc)
    head = f"设置有 {len(exc.problems)} 处错误" if exc.problems else "不能启动"
    lines = [f"wx-mp-svr：{head}{f'（{where}）' if where else ''}"]
    return "\n".join([*lines, *_blocks(exc)])


def _blocks(exc: ConfigError) -> Iterator[str]:
    if not exc.problems:
        english, _, chinese = str(exc).rpartition(" / ")
        yield f"\n  {chinese}" + (f"\n    {english}" if english else "")
    for setting, english, chinese in exc.problems:
        yield f"\n  {setting} {chinese}\n    {setting} {english}"


def place_of(exc: BaseException) -> str:
    """Return the line of the user's own program at which it was raised: "bot.py:12"."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not _is_foreign(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def traceback_of(exc: BaseException) -> str:
    """Return the traceback from the first line of the user's own program on."""
    frames = exc.__traceback__
    while frames is not None and _is_foreign(frames.tb_frame.f_code.co_filename) and frames.tb_next:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(exc), exc, frames)).rstrip()


def _is_foreign(file: str) -> bool:
    return file.startswith((_PACKAGE, "<frozen")) or "site-packages" in Path(file).parts
