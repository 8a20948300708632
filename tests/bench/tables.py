"""Figures and tables, in the terminal and in the README alike."""

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TOLERANCE = 1.05


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table: words to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not at else ":") for at, width in enumerate(widths)) + "|"
    return "\n".join([_line(head, widths), rule, *(_line(row, widths) for row in rows)]) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (width - len(cell)) if not at else " " * (width - len(cell)) + cell
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles; the middle one is the median."""
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def mark(value: float, goal: float | None, digits: int = 2, tolerance: float = TOLERANCE) -> str:
    """Write a figure, with a "!" when it is over its goal by more than the tolerance."""
    return f"{value:.{digits}f}" + ("!" if goal is not None and value > goal * tolerance else "")


def machine() -> str:
    """Say what the figures come from."""
    libraries = ("flask", "werkzeug", "wechatpy", "WeRoBot", "pycryptodome", "xmltodict", "redis", "gunicorn")
    found = ", ".join(f"{name} {known}" for name in libraries if (known := _version(name)))
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_processor()}, {os.cpu_count()} cores, load {load}\n{python}, {sys.platform}; {found}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
