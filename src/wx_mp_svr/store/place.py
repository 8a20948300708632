"""Where the processes of this machine that share a store meet.

Beside the database file, or in a local folder: for Redis, and for what takes the place of a store that is down.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import Store
from .locks import Locks
from .spare import Spare


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
    path = _local_path(store)
    return Place(Locks(path.with_name(path.name + "-alive"))) if path is not None else Place()


def spare_of(store: Store) -> Spare:
    """Return what takes the place of *store* on this machine while it is down."""
    path = _local_path(store)
    return Spare(path and path.with_name(path.name + "-spare.sqlite3"))


def _local_path(store: Store) -> Path | None:
    """Return a path that stands for *store* in this machine's folder; it gives away no address and no password."""
    address = getattr(store, "path", None) or getattr(store, "address", None)
    folder = local_folder() if isinstance(address, str | Path) else None
    return folder and folder / hashlib.sha256(str(address).encode()).hexdigest()[:16]


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
