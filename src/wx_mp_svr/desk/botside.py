"""What a bot in this process says while it works on a message: its log lines, which handler, how long, the traceback.

Log records in, notes for the page out.
"""

import logging
from collections.abc import Callable
from typing import Any

from ..complaints import traceback_of
from ..handling.drive import AT_WORK
from ..handling.routes import place

Note = dict[str, Any]


class BotSide(logging.Handler):
    """Tells of each log line that is written while a handler is at work.

    Args:
        tell: Called with the message's fields, and with the note: ``level`` and ``text``; of a handler's end also
            ``handler`` (where it is written) and ``took`` (seconds on its clock); of an exception ``traceback``.
    """

    def __init__(self, tell: Callable[[dict[str, Any], Note], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a line."""
        req = AT_WORK.get()
        if req is None:
            return
        try:
            note: Note = {"level": record.levelname, "text": record.getMessage()}
            if (handler := getattr(record, "handler", None)) is not None:
                note.update(handler=place(handler), took=getattr(record, "took", None))
            if record.exc_info and record.exc_info[1] is not None:
                note["traceback"] = traceback_of(record.exc_info[1])
            self._tell(dict(req.raw), note)
        except Exception:
            self.handleError(record)
