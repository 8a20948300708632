"""One locked file per process: who holds it lives. The system itself lets go of it when the process ends, however it ends.

By flock and never by lockf: with that a process would find its own lock free, and let go of those of SQLite. Knows nothing
of stores or beats.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out that lock the same folder, and wait for them; not on Windows."""
    if fcntl is None:
        yield
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


class Locks:
    """The lock files of the processes of one machine that share a folder.

    Args:
        folder: Where they are; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, name: str) -> int | None:
        """Take the lock of that name.

        Returns:
            The file that holds it, open until `give_up`; None where files cannot be locked (Windows, some network file
            systems).
        """
        if fcntl is None:
            return None
        file = -1
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if file >= 0:
                os.close(file)
            return None
        return file

    def give_up(self, name: str, file: int) -> None:
        """Let go of a lock."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()
        os.close(file)

    def is_held(self, name: str) -> bool | None:
        """Whether a process holds the lock of that name; None when there is no such file.

        A file that nobody holds is removed, while we hold it: whoever takes the name anew makes a new one.
        """
        if fcntl is None:
            return None
        try:
            file = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            return True  # it cannot be told: nobody is called dead by mistake
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
            return False
        except OSError:
            return True
        finally:
            os.close(file)
