"""Where the processes of this machine that share a store meet: beside the database file, or in a local folder for Redis."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import Store
from .locks import Locks


class Place(NamedTuple):
    """Where processes meet.

    Attributes:
        locks: Their locked files, None where each is alone or cannot be known.
        alone: Whether there are no other machines.
    """

    locks: Locks | None = None
    alone: bool = False


def place_of(store: Store) -> Place:
    """Return where the processes of this machine meet that use *store*."""
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        return Place(Locks(path.with_name(path.name + "-alive")), alone=True)
    address = getattr(store, "address", None)
    folder = local_folder() if isinstance(address, str) else None
    if folder is None:
        return Place()
    digest = hashlib.sha256(str(address).encode()).hexdigest()[:16]
    return Place(Locks(folder / f"{digest}-alive"))


def local_folder() -> Path | None:
    """Return a folder of this user's own that all processes of this service see; None when there is none to be trusted.

    systemd's RuntimeDirectory= where there is one; else one in the temporary folder, where other users could have made it
    beforehand: it must be ours, no link, and closed to others.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"wx-mp-svr-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    safe = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if safe else None
