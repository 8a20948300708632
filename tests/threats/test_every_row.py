"""The threats are numbered, chapter by chapter. Each row is named by a test, here or beside the room that it is about."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
CHAPTERS = {
    "B1 parameters": range(1, 14),
    "B2 authentication": range(20, 37),
    "B3 decryption": range(40, 52),
    "B4 XML": range(60, 77),
    "B5 handlers, timing, duplicates, store": range(80, 105),
    "B6 HTTP, operations, secrets": range(110, 129),
    "B7 found by attack": [*range(130, 140), *range(141, 146)],
}


def said_in(tree):
    """Names and docstrings of test functions and of the classes around them, and the ids of their rows."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{node.name} {ast.get_docstring(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value if re.match(r"b\d+-", node.value) else ""


@pytest.fixture(scope="module")
def named():
    """The numbers of all rows that tests name."""
    files = [*TESTS.rglob("test_*.py"), TESTS / "store_contract.py", TESTS / "threats/strange_input.py"]
    words = " ".join(
        said for file in files if file != Path(__file__) for said in said_in(ast.parse(file.read_text("utf-8")))
    )
    return {int(number) for number in re.findall(r"(?i)(?<![0-9a-z])b(\d{2,3})(?![0-9a-z])", words)}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_row_is_named_by_a_test(named, chapter):
    assert {f"B{number:02}" for number in set(CHAPTERS[chapter]) - named} == set()


def test_no_test_names_a_row_that_there_is_not(named):
    assert {f"B{number:02}" for number in named.difference(*CHAPTERS.values())} == set()
