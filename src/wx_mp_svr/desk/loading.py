"""Runs the program of a bot as ``python bot.py`` would, and serves its server in our way where the program would serve.

A file or a module in; its `WxMpServer`, or what is wrong with the program in words for its author, out.
"""

import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from flask import Flask

from .. import complaints
from ..errors import ConfigError
from ..server import WxMpServer, mounted_in

Serve = Callable[[WxMpServer, str], None]
"""Takes the server, and its name in the program ("" where it has none); comes back when serving has ended."""


class LoadError(Exception):
    """The program cannot be loaded; the words are for its author."""


def is_file(target: str) -> bool:
    """Whether *target* (``bot.py``, ``bot.py:server``, ``package.module:server``) names a file."""
    return split(target)[0].endswith(".py")


def split(target: str) -> tuple[str, str]:
    """Return program and name of a target; the name may be ""."""
    program, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return program, name
    return target, ""


def module_of(target: str) -> str:
    """Return the module that an import of the program would name, "" where none can."""
    program = split(target)[0]
    name = Path(program).stem if is_file(target) else program
    return name if all(part.isidentifier() for part in name.split(".")) else ""


def run(target: str, serve: Serve) -> None:
    """Run a program: it is ``__main__``, and *serve* is called where it calls `run`, or at its end.

    Args:
        target: A file or a module, and after a colon the server's name, where there are several.
        serve: Called once.

    Raises:
        LoadError: It has no server, or a mistake; *serve* was not called.
    """
    program, name = split(target)
    main = ModuleType("__main__")
    served: list[WxMpServer] = []

    def serve_once(server: WxMpServer) -> None:
        if not served:
            served.append(server)
            serve(server, name or _name_of(server, main))

    try:
        code = _compiled(target, main)
        sys.argv = [program]
        sys.modules["__main__"] = main
        with _taking_over(program, serve_once, lambda server: not name or getattr(main, name, server) is server):
            exec(code, main.__dict__)  # noqa: S102 (it is what we are asked to run)
            if not served:
                serve_once(_found(main, program, name))
    except LoadError:
        raise
    except BaseException as exc:
        if served or isinstance(exc, KeyboardInterrupt):
            raise
        raise LoadError(_words(exc, program)) from exc


def _compiled(target: str, main: ModuleType) -> CodeType:
    program = split(target)[0]
    if is_file(target):
        sys.path.insert(0, str(Path(program).absolute().parent))
        main.__file__, main.__package__ = program, ""
        return compile(Path(program).read_bytes(), program, "exec")
    sys.path.insert(0, str(Path.cwd()))
    try:
        spec = importlib.util.find_spec(program)
    except (ImportError, ValueError):
        spec = None
    loader: Any = spec and spec.loader
    code = loader.get_code(program) if hasattr(loader, "get_code") else None
    if spec is None or code is None:
        file = program.replace(".", "/") + ".py"
        raise LoadError(f"没有 {program} 这个模块：在它所在的目录里运行，或写文件名，例如 wx-mp-svr dev {file}")
    main.__spec__, main.__file__, main.__package__ = spec, spec.origin, spec.parent
    return code  # type: ignore[no-any-return]


@contextmanager
def _taking_over(
    program: str, serve: Callable[[WxMpServer], None], is_wanted: Callable[[WxMpServer], bool]
) -> Iterator[None]:
    """Let `run` serve in our way: not in a thread, where it would be in nobody's way, and no server that is not meant."""

    def run(served: Any, *_: Any, **__: Any) -> None:
        server = served if isinstance(served, WxMpServer) else _mounted(served, program)
        if threading.current_thread() is threading.main_thread() and is_wanted(server):
            serve(server)

    owners: dict[Any, Any] = {cls: cls.run for cls in (WxMpServer, Flask)}
    for cls in owners:
        cls.run = run
    try:
        yield
    finally:
        for cls, own in owners.items():
            cls.run = own


def _mounted(app: Flask, program: str) -> WxMpServer:
    servers = mounted_in(app)
    if len(servers) != 1:
        raise LoadError(_count(len(servers), [], program))
    return servers[0]


def _found(main: ModuleType, program: str, name: str) -> WxMpServer:
    """Return the server that stands in a program which does not serve by itself."""
    names = vars(main)
    if name:
        value = names.get(name)
        if isinstance(value, Flask):
            return _mounted(value, program)
        if isinstance(value, WxMpServer):
            return value
        what = f"没有 {name}" if name not in names else f"的 {name} 不是 WxMpServer"
        raise LoadError(f"{program} 里{what}")
    servers = {key: value for key, value in names.items() if isinstance(value, WxMpServer)}
    if len(set(map(id, servers.values()))) == 1:
        return next(iter(servers.values()))
    raise LoadError(_count(len(servers), list(servers), program))


def _name_of(server: WxMpServer, main: ModuleType) -> str:
    return next((name for name, value in vars(main).items() if value is server), "")


def _count(count: int, names: list[str], program: str) -> str:
    if not count:
        return f"{program} 里没有 WxMpServer：写 server = WxMpServer()，或在文件末尾写 Bot().run()（Bot 是你的子类）"
    choice = "、".join(f"{program}:{name}" for name in names) or f"{program}:名字"
    return f"{program} 里有 {count} 个 WxMpServer，指明要哪一个：{choice}"


# -- what is wrong -----------------------------------------------------------------------------------------------------

_PACKAGES = {"dotenv": "python-dotenv", "yaml": "pyyaml", "PIL": "pillow", "bs4": "beautifulsoup4"}


def _words(exc: BaseException, program: str) -> str:
    match exc:
        case ConfigError():
            return complaints.message_of(exc)
        case SyntaxError():
            shown = "".join(traceback.format_exception_only(exc)).strip()
            cure = "：文件不是 UTF-8，请另存为 UTF-8" if "codec can't decode" in str(exc) else ""
            return f"语法错误（{exc.filename}:{exc.lineno}）{cure}\n\n{shown}"
        case SystemExit():
            return f"{program} 没有运行 WxMpServer 就结束了：{exc.code}"
        case FileNotFoundError() if exc.filename == program:
            return f"没有 {program} 这个文件"
        case ModuleNotFoundError() if exc.name:
            package = _PACKAGES.get(exc.name, exc.name)
            cure = f"缺少 {exc.name} 这个包：pip install {package}（要装进这个 Python：{sys.executable}）"
        case ImportError() if "no known parent package" in str(exc):
            cure = f"加载时出错：{exc}（它是包里的模块：写 wx-mp-svr dev 包名.模块名）"
        case _:
            cure = f"加载时出错：{type(exc).__name__}: {exc}"
    return f"{cure}\n\n{complaints.traceback_of(exc)}"
