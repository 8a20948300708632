"""What of a simulator outlasts it for an hour: its talk, and the secret by which a page that is still open is known again.

Each start has another key for its address: while no simulator runs, another user's program may listen at its port and read
the old one in what an open page asks. So the page proves that it has the secret without saying it. Knows nothing of Flask.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections import deque
from pathlib import Path

from ...store.place import local_folder

KEEP_SECONDS = 3600


class Keeping:
    """A file for one bot and port.

    Args:
        what: Names the bot and the port.
        folder: Where the file is when this user has no folder that outlasts us; without it nothing is kept then.

    Attributes:
        talk: As `Talk.pause` wrote it before, "" when there was none.
        secret: What pages of this simulator are told.
    """

    def __init__(self, what: str, folder: Path | None = None) -> None:
        folder = local_folder() or folder
        self._file = folder and folder / f"simulator-{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"
        before = _read(self._file) if self._file else {}
        self.talk: str = before.get("talk", "")
        self.secret: str = before.get("secret") or secrets.token_urlsafe(32)
        self._challenges: deque[str] = deque(maxlen=50)

    def save(self, talk: str) -> None:
        """Keep a talk for the next start; readable for this user only."""
        if not self._file:
            return
        with contextlib.suppress(OSError):  # a full disk must not spoil the end
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.unlink(missing_ok=True)
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(file, "w", encoding="utf-8") as kept:
                json.dump({"secret": self.secret, "talk": talk}, kept)

    def challenge(self) -> str:
        """Return what a page that comes back has to sign: once, and soon."""
        self._challenges.append(secrets.token_urlsafe(24))
        return self._challenges[-1]

    def is_known(self, challenge: str, proof: str) -> bool:
        """Whether *proof* is the HMAC-SHA256, in hex, of one of our challenges by the secret."""
        try:
            self._challenges.remove(challenge)
        except ValueError:
            return False
        right = hmac.new(self.secret.encode(), challenge.encode(), "sha256").hexdigest()
        return hmac.compare_digest(right.encode(), proof.encode())


def _read(file: Path) -> dict[str, str]:
    """Return what was kept, unless it is old; what nobody came back for is deleted."""
    for kept in file.parent.glob("simulator-*.json"):
        with contextlib.suppress(OSError):
            if time.time() - kept.stat().st_mtime > KEEP_SECONDS:
                kept.unlink()
    try:
        found = json.loads(file.read_text("utf-8"))
        return {name: found[name] for name in ("talk", "secret")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
