"""What a check finds, how bad it is, and the exit code that sums it up. Knows nothing of what is checked."""

import re
from typing import Literal, NamedTuple

SETTINGS_WRONG, BOT_WRONG, NOT_REACHABLE = 2, 3, 4  # exit codes; 0 when all is well

Level = Literal["ok", "warning", "error"]
Words = tuple[str, str]  # cause and fix


class Finding(NamedTuple):
    """What one check found."""

    level: Level  # warning: it works, but should not stay so
    name: str
    cause: str = ""
    fix: str = ""
    exit_code: int = BOT_WRONG  # if it is an error


def exit_code(findings: list[Finding]) -> int:
    """Return the exit code that sums up *findings*: the first cause in the order in which one would mend them."""
    codes = {finding.exit_code for finding in findings if finding.level == "error"}
    return next((code for code in (SETTINGS_WRONG, NOT_REACHABLE, BOT_WRONG) if code in codes), 0)


def cut(text: str, length: int = 60) -> str:
    """Shorten *text*, but not within a word: whoever prints hides whole secrets, and would not know half of one."""
    return text if len(text) <= length else re.sub(r"[0-9A-Za-z+/=]+$", "", text[:length]) + "…"
