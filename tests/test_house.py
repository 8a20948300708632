"""The house stays as drawn: its face, who may know whom, and how large it may get."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import wx_mp_svr
from wx_mp_svr import errors, events, req_msg, rsp_msg

PACKAGE = Path(wx_mp_svr.__file__).parent
MAX_FILE_LINES, MAX_PACKAGE_LINES = 400, 5000
LONGER = {"events"}  # a table in the shape of classes

# Which module may import which: only from rows above its own, and of those only what stands in its set. `None` stands for
# "any row above": modules that are still to come, or that join everything.
MAY_IMPORT = {
    "errors": set(),
    "forking": set(),
    "signature": {"errors"},
    "crypto": {"errors", "forking"},
    "xmlio": {"errors"},
    "envelope": {"errors", "signature", "crypto", "xmlio"},
    "config": {"errors", "crypto", "envelope"},
    "pages": set(),
    "store.memory": {"forking"},
    "store.values": {"errors"},
    "store.sqlite": {"errors", "forking", "store.values"},
    "store.redis": {"errors", "store.values"},
    "store": {"errors", "store.memory", "store.sqlite", "store.redis"},
    "store.guarded": {"errors", "forking", "store", "store.memory"},
    "workers": {"forking"},
    "watcher": {"forking", "store"},
    "sessions": {"errors", "config", "forking", "store", "watcher"},
    "req_msg": {"errors", "sessions"},
    "events": {"req_msg"},
    "kinds": {"errors", "req_msg", "events"},
    "rsp_msg": {"errors", "xmlio", "req_msg"},
    "routes": {"errors", "req_msg", "events"},
    "handlers": {"errors", "req_msg", "routes", "rsp_msg"},
    "hooks": {"errors", "routes", "handlers"},
    "links": {"config", "req_msg", "store"},
    "answers": {"xmlio", "config", "req_msg", "rsp_msg", "pages", "store", "links"},
    "runs": {
        "errors", "forking", "config", "req_msg", "kinds", "rsp_msg", "routes", "handlers", "store", "workers", "watcher",
        "sessions", "answers",
    },
    "background": {"forking", "config", "req_msg", "rsp_msg", "store", "links", "watcher", "answers", "runs"},
    "exchange": {"errors", "xmlio", "envelope", "kinds", "background"},
    "testing": {"errors", "signature", "crypto", "xmlio", "config", "req_msg", "events", "rsp_msg"},
    "diagnosis": {"errors", "config", "workers", "exchange", "testing"},
    "front": {"exchange"},
    "server": None,
    "simulator": None,
    "cli": None,
    "__main__": {"cli"},
    "__init__": None,
}  # fmt: skip

# Third parties, and the only modules that may know them.
THIRD_PARTIES = {
    "Crypto": {"crypto"},
    "xmltodict": {"xmlio"},
    "flask": {"server", "simulator", "cli"},
    "werkzeug": {"front", "server", "simulator", "cli"},
    "click": {"cli"},
    "redis": {"store.redis"},
    "_typeshed": {"server", "simulator", "testing"},  # types of WSGI, never at run time
    "typing_extensions": {"events"},  # the type checker's own, never at run time
}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1]) if parts[-1] == "__init__" and len(parts) > 1 else ".".join(parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def row_of(module):
    """A module's row; `simulator.page` stands in the row of `simulator`."""
    return module if module in MAY_IMPORT else module.split(".")[0]


def imports_of(module):
    """Yield (module of ours or None, third party or None) of every import, wherever it stands, TYPE_CHECKING included."""
    path = FILES[module]
    package = list(path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            absolute = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            absolute = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            absolute = [".".join(["wx_mp_svr", *base, alias.name]) for alias in node.names]
        else:
            continue
        for name in absolute:
            first, *rest = name.split(".")
            if first != "wx_mp_svr":
                yield None, first
                continue
            while rest and ".".join(rest) not in FILES:
                rest.pop()
            yield ".".join(rest) or "__init__", None


# -- the face --------------------------------------------------------------------------------------------------------


def public_classes(module):
    return {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def test_all_is_sorted_complete_and_importable():
    """Public is what a user types: each error, message, event and reply, the server and the Store protocol."""
    face = wx_mp_svr.__all__
    assert list(face) == sorted(set(face))
    expected = set().union(*map(public_classes, (errors, req_msg, events, rsp_msg))) | {"WxMpServer", "Store"}
    assert expected - set(face) == set()
    for name in face:
        assert getattr(wx_mp_svr, name).__module__.startswith("wx_mp_svr.")


def test_the_face_holds_imports_only():
    """No logic, no `try: import`; only the events are made later."""
    body = ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
    assert [type(node) for node in body] == [ast.Expr, *[ast.ImportFrom] * (len(body) - 2), ast.If]


def test_starting_does_not_make_the_events():
    """They take as long as the rest; the first event, or whoever names one, makes them."""
    program = """
import sys
import wx_mp_svr
server = wx_mp_svr.WxMpServer(token="HouseToken", store="memory:")
assert "wx_mp_svr.events" not in sys.modules and "wx_mp_svr.testing" not in sys.modules
assert wx_mp_svr.ClickEvent.__name__ == "ClickEvent"
assert "wx_mp_svr.events" in sys.modules
try:
    wx_mp_svr.ClikcEvent
except AttributeError as exc:
    assert "ClikcEvent" in str(exc)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_package_is_typed():
    """For users' type checkers."""
    assert (PACKAGE / "py.typed").exists()


def test_messages_and_replies_are_frozen_dataclasses_with_slots():
    """Values: they can be compared, matched and shared between threads."""
    for name in wx_mp_svr.__all__:
        cls = getattr(wx_mp_svr, name)
        if cls.__module__ in (events.__name__, req_msg.__name__, rsp_msg.__name__):
            assert dataclasses.is_dataclass(cls), name
            assert cls.__dataclass_params__.frozen, name
            assert "__slots__" in vars(cls), name


# -- who may know whom -----------------------------------------------------------------------------------------------


def test_the_table_of_imports_points_up_only():
    """So there are no circles."""
    rows = list(MAY_IMPORT)
    for number, (module, allowed) in enumerate(MAY_IMPORT.items()):
        assert (allowed or set()) <= set(rows[:number]), module


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_its_row_allows(module):
    """Not even under TYPE_CHECKING, not even inside a function. A new file needs a row."""
    row, rows = row_of(module), list(MAY_IMPORT)
    assert row in MAY_IMPORT, f"{module} has no row in MAY_IMPORT"
    allowed = set(rows[: rows.index(row)]) if MAY_IMPORT[row] is None else MAY_IMPORT[row]
    for ours, third in imports_of(module):
        if ours is not None:
            assert row_of(ours) in allowed or row_of(ours) == row != ours, f"{module} imports {ours}"
        elif third not in sys.stdlib_module_names:
            assert third in THIRD_PARTIES, f"{module} imports {third}, a dependency that we do not have"
            assert row in THIRD_PARTIES[third], f"{module} imports {third}"


# -- how large, how well said ----------------------------------------------------------------------------------------


def lines_of(module):
    return len(FILES[module].read_text("utf-8").splitlines())


@pytest.mark.parametrize("module", sorted(FILES.keys() - LONGER))
def test_a_file_fits_into_one_head(module):
    """Over 400 lines it is two files."""
    assert lines_of(module) <= MAX_FILE_LINES


def code_lines_of(name):
    """How many lines hold code: blank lines, comments and docstrings aside."""
    source = FILES[name].read_text("utf-8")
    documentation = set()
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            documentation |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(1 for n, line in lines if line.strip() and line.strip()[0] != "#" and n not in documentation)


def test_the_package_stays_small():
    """All of it can be read in an evening."""
    assert sum(map(code_lines_of, FILES)) < MAX_PACKAGE_LINES


def undocumented(node, path=""):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {getattr(mark, "attr", getattr(mark, "id", "")) for mark in child.decorator_list}
            public = not child.name.startswith("_") and not marks & {"setter", "overload"}  # the other one says it
            if public and ast.get_docstring(child) is None:
                yield path + child.name
            if public and isinstance(child, ast.ClassDef):
                yield from undocumented(child, f"{path}{child.name}.")


@pytest.mark.parametrize("module", FILES)
def test_whatever_is_public_says_what_it_is(module):
    """Each module, class, function and method has a docstring."""
    tree = ast.parse(FILES[module].read_text("utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    assert list(undocumented(tree)) == []
