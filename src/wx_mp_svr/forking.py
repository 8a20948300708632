"""Forks: locks, threads and connections do not survive them, and gunicorn forks after it has loaded the application."""

import os

from .living import Living

_aware: "Living[ForkAware]" = Living()


class ForkAware:
    """Something that must begin anew in a forked child. It calls `watch_forks` where it begins at all."""

    def begin(self) -> None:
        """Set up what does not survive a fork."""

    def before_fork(self) -> None:
        """Come to rest; `after_fork` follows in the parent."""

    def after_fork(self) -> None:
        """Go on in the parent."""

    def watch_forks(self) -> None:
        """Begin, and have the three methods called from now on, for as long as this object lives."""
        self.begin()
        _aware.add(self)


def _before() -> None:
    for aware in _aware.all():
        aware.before_fork()


def _in_parent() -> None:
    for aware in _aware.all():
        aware.after_fork()


def _in_child() -> None:
    for aware in _aware.all():
        aware.begin()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
