"""The files of a database: whose they are, and who may read them. They hold users' messages.

Another user of this machine could have made them beforehand, to read along or to plant answers.
"""

import contextlib
import logging
import os
import stat
from pathlib import Path

from ..errors import UnfitStoreError
from .locks import locked

log = logging.getLogger("wx_mp_svr")

BESIDE = ("", "-wal", "-shm")  # what SQLite keeps beside the database has the same texts in it


def secure(path: Path) -> None:
    """Make the file with mode 0600, its folders with 0700; of what is there see that it is ours and closed to others.

    Raises:
        UnfitStoreError: It belongs to somebody else, or may not be written.
        OSError: The disk is full, or the like.
    """
    try:
        _make_folder(path.parent)
        try:
            # Exclusively: to close a file that is in use here would let go of SQLite's locks on it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            for name in BESIDE:
                _close_to_others(path.with_name(path.name + name))
    except IsADirectoryError as exc:
        raise UnfitStoreError(
            f"SQLite: {exc.filename} is a folder; name a file in it / {exc.filename} 是一个目录：请写到文件名，例如 "
            f"sqlite:{exc.filename}/bot.sqlite3"
        ) from exc
    except (PermissionError, NotADirectoryError) as exc:
        raise UnfitStoreError(
            f"SQLite: {exc.strerror}: {exc.filename}; give this user the folder, or name another file / "
            f"没有权限写 {exc.filename}：请改权限，或换一个路径"
        ) from exc


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        return
    mode = folder.stat().st_mode
    if hasattr(os, "getuid") and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        log.warning(
            "anybody on this machine may write to %s, where users' messages are kept; make it yours alone: chmod 700 / "
            "本机任何人都能写这个目录，里面有用户的消息：请 chmod 700",
            folder,
        )


def _close_to_others(file: Path) -> None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(None, "it is a folder", str(file))
    if not hasattr(os, "getuid"):  # Windows
        return
    if status.st_uid != os.getuid():
        raise UnfitStoreError(
            f"SQLite: {file} belongs to another user of this machine (uid {status.st_uid}), who could read and change "
            f"what is kept; remove it or name another file / {file} 属于本机的另一个用户，不能用：请删掉它，或换一个路径"
        )
    if not os.access(file, os.W_OK):
        if not file.exists():  # whoever used the database last takes -wal and -shm along
            return
        raise PermissionError(None, "no permission to write", str(file))
    if status.st_mode & 0o077:
        with contextlib.suppress(FileNotFoundError):
            file.chmod(0o600)
            if file.stat().st_mode & 0o077:
                log.warning("others may read %s, and its file system knows no modes / 本机的其他用户能读这个文件", file)


def move_aside(path: Path, inode: int) -> None:
    """Move a damaged database out of the way, so that a new one can be begun; the last such copy is kept.

    Args:
        path: Where it is.
        inode: Which file it was that failed; another process may have begun a new one meanwhile.
    """
    with locked(path.parent), contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino != inode:
            return
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        for name in BESIDE[1:]:
            path.with_name(path.name + name).unlink(missing_ok=True)
        log.error(
            "the database was damaged; it is kept as %s, and a new one is begun / 数据库损坏了：已改名保留，并新建了一个",
            aside,
        )
