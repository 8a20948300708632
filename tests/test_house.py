"""The house stays as drawn: its face, who may know whom, and how large it may get."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import wx_mp_svr
from wx_mp_svr import errors, events, req_msg, rsp_msg

PACKAGE = Path(wx_mp_svr.__file__).parent
# Which module may import which: only from rows above its own, and of those only what stands in its set. `None` stands for
# "any row above": modules that are still to come, or that join everything.
MAY_IMPORT = {
    # rooms below all wings
    "errors": set(),
    "living": set(),
    "forking": {"living"},
    "clock": set(),
    "fields": set(),
    "session": set(),
    # bytes <-> plain XML <-> fields
    "wire": set(),
    "wire.signature": {"errors"},
    "wire.crypto": {"errors", "forking"},
    "wire.xmlguard": {"errors"},
    "wire.xmlio": {"errors", "wire.xmlguard"},
    "wire.envelope": {"errors", "wire", "wire.signature", "wire.crypto", "wire.xmlio"},
    # the settings, and what users send and get
    "mistakes": set(),
    "config": {"errors", "wire", "mistakes"},
    "req_msg": {"fields", "session"},
    "events": {"fields", "req_msg"},
    "messages": {"errors", "fields", "req_msg", "events"},
    "rsp_msg": {"errors", "wire.xmlio", "req_msg"},
    # where it is kept, and who lives
    "store.memory": {"forking"},
    "store.values": set(),
    "store.locks": set(),
    "store.secure": {"errors", "store.locks"},
    "store.sqlite": {"errors", "forking", "store.secure", "store.values"},
    "store.redis": {"errors", "store.values"},
    "store": {"clock", "errors", "store.memory", "store.sqlite", "store.redis"},
    "store.alive": {"clock", "forking", "store", "store.locks"},
    "store.spare": {"store.memory", "store.sqlite"},
    "store.late": {"forking", "store"},
    "store.guarded": {"clock", "forking", "store", "store.alive", "store.late", "store.spare", "store.values"},
    "store.place": {"store", "store.locks", "store.spare"},
    # the user's code
    "handling": set(),
    "handling.workers": {"clock", "forking"},
    "handling.sessions": {
        "clock", "config", "errors", "forking", "session", "store", "store.alive", "handling.workers",
    },
    "handling.routes": {"errors", "req_msg", "events"},
    "handling.handlers": {"errors", "req_msg", "rsp_msg", "handling.routes"},
    "handling.registry": {"errors", "req_msg", "rsp_msg", "handling.routes", "handling.handlers"},
    "handling.drive": {
        "clock", "errors", "req_msg", "rsp_msg", "handling.handlers", "handling.routes", "handling.sessions",
        "handling.workers",
    },
    # the promise
    "delivery": set(),
    "delivery.rules": set(),
    "delivery.house": {"forking", "delivery.rules"},
    "delivery.pages": set(),
    "delivery.push": {"fields", "req_msg", "store"},
    "delivery.ledger": {"clock", "store"},
    "delivery.which_try": {"clock", "forking", "delivery.ledger", "delivery.rules"},
    "delivery.links": {"req_msg"},
    "delivery.texts": {
        "clock", "config", "req_msg", "rsp_msg", "wire.xmlio", "delivery.ledger", "delivery.links", "delivery.pages",
        "delivery.push",
    },
    "delivery.answer": {
        "clock", "req_msg", "rsp_msg", "wire.xmlio", "delivery.ledger", "delivery.push", "delivery.rules",
        "delivery.texts",
    },
    "delivery.watcher": {"clock", "forking", "store", "store.alive"},
    "delivery.runs": {
        "clock", "config", "forking", "living", "messages", "req_msg", "rsp_msg", "session", "store", "store.alive",
        "store.place",
        "handling.drive",
        "handling.handlers", "handling.routes", "handling.sessions", "handling.workers", "delivery.answer",
        "delivery.ledger", "delivery.push", "delivery.rules", "delivery.texts",
    },
    "delivery.tries": {
        "clock", "config", "messages", "req_msg", "store", "delivery.answer", "delivery.house", "delivery.ledger",
        "delivery.push", "delivery.rules", "delivery.runs", "delivery.texts", "delivery.watcher", "delivery.which_try",
    },
    "delivery.arrivals": {
        "clock", "config", "req_msg", "store", "delivery.house", "delivery.ledger", "delivery.links", "delivery.push",
        "delivery.rules", "delivery.runs", "delivery.texts", "delivery.tries", "delivery.which_try",
    },
    # the corridor and the shell
    "exchange": {"errors", "messages", "wire", "wire.envelope", "wire.xmlio", "delivery.arrivals"},
    "front": {"exchange"},
    "host": set(),
    # WeChat's side of the street
    "testing": {"errors", "clock", "config", "events", "req_msg", "rsp_msg", "wire", "wire.signature", "wire.crypto"},
    "serve": {"config", "errors"},
    "complaints": {"errors"},
    "server": None,
    "desk": None,
    "__main__": {"desk"},
    "__init__": None,
}  # fmt: skip

# Third parties, and the only modules that may know them.
THIRD_PARTIES = {
    "Crypto": {"wire.crypto"},
    "xmltodict": {"wire.xmlio"},
    "flask": {"host", "serve", "server", "desk"},
    "werkzeug": {"front", "serve", "server", "desk"},
    "click": {"desk"},
    "pytest": {"testing"},  # of who loads the plugin
    "redis": {"store.redis"},
    "_typeshed": {"serve", "server", "desk", "testing"},  # types of WSGI, never at run time
    "typing_extensions": {"events", "server"},  # the type checker's own, never at run time
}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1]) if parts[-1] == "__init__" and len(parts) > 1 else ".".join(parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def row_of(module):
    """A module's row; `simulator.page` stands in the row of `simulator`."""
    while module not in MAY_IMPORT and "." in module:
        module = module.rpartition(".")[0]
    return module


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
    expected = set().union(*map(public_classes, (errors, req_msg, events, rsp_msg)))
    expected |= {"WxMpServer", "Store", "split_text", "Reply"}
    assert expected - set(face) == set()
    for name in set(face) - {"Reply"}:  # which is a union, and knows no module
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


MAX_FLOORS = 13


def test_no_room_stands_on_more_than_thirteen_floors():
    """Outside of the desk; a room that is read needs those below it, and no more. Circles would never end."""

    @cache
    def floor_of(module):
        below = {ours for ours, _ in imports_of(module) if ours not in (None, module) and not is_face(ours)}
        return 1 + max(map(floor_of, below), default=0)

    def is_face(module):
        return FILES[module].name == "__init__.py" and module not in ("store", "wire")

    floors = {module: floor_of(module) for module in FILES if not is_face(module) and not module.startswith("desk")}
    del floors["__main__"]
    assert max(floors.values()) <= MAX_FLOORS, sorted(floors.items(), key=lambda item: -item[1])[:5]


# -- how well said ---------------------------------------------------------------------------------------------------


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
