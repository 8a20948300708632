"""Loads the program of a bot as ``python bot.py`` would, up to where it would begin to serve, and finds the server in it.

A file or a module in; a `WxMpServer`, or what is wrong with the program in words for its author, out.
"""

import importlib.util
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from .. import complaints
from ..errors import ConfigError
from ..server import WxMpServer, mounted_in


class LoadError(Exception):
    """The program cannot be loaded; the words are for its author."""


class _Serving(BaseException):
    """The program has come to where it would serve. No Exception, which a program may catch."""

    def __init__(self, served: Any) -> None:
        super().__init__("taken over by wx-mp-svr dev")
        self.served = served


@contextmanager
def _taking_over() -> Iterator[None]:
    """Let `run` come back with what it would have served."""

    def run(served: Any, *_: Any, **__: Any) -> None:
        raise _Serving(served)

    owners: dict[Any, Any] = {cls: cls.run for cls in (WxMpServer, Flask)}
    for cls in owners:
        cls.run = run
    try:
        yield
    finally:
        for cls, own in owners.items():
            cls.run = own


def is_file(target: str) -> bool:
    """Whether *target* (``bot.py``, ``bot.py:server``, ``package.module:server``) names a file."""
    return split(target)[0].endswith(".py")


def split(target: str) -> tuple[str, str]:
    """Return program and name of a target; the name may be ""."""
    program, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return program, name
    return target, ""


def where(target: str) -> tuple[str, str]:
    """Return the module that an import would name, and the server's name in it."""
    program, name = split(target)
    return Path(program).stem if is_file(target) else program, name or "server"


def load(target: str) -> WxMpServer:
    """Run a program until it serves, or to its end, and return its server.

    Args:
        target: A file or a module, and after a colon the server's name, where there are several.

    Raises:
        LoadError: It has no server, or a mistake.
    """
    program, name = split(target)
    folder = str(Path(program).absolute().parent) if is_file(target) else str(Path.cwd())
    sys.path.insert(0, folder)
    sys.argv = [program]
    run: Callable[..., Mapping[str, Any]] = runpy.run_path
    if not is_file(target):
        run = runpy.run_module
        if not _is_module(program):
            file = program.replace(".", "/") + ".py"
            raise LoadError(f"没有 {program} 这个模块：在它所在的目录里运行，或写文件名，例如 wx-mp-svr dev {file}")
    try:
        with _taking_over():
            return _found(run(program, run_name="__main__"), program, name)
    except _Serving as serving:
        return _served(serving.served, program)
    except LoadError:
        raise
    except ConfigError as exc:
        raise LoadError(complaints.message_of(exc)) from exc
    except SyntaxError as exc:
        shown = "".join(traceback.format_exception_only(exc)).strip()
        cure = "：文件不是 UTF-8，请另存为 UTF-8" if "codec can't decode" in str(exc) else ""
        raise LoadError(f"语法错误（{exc.filename}:{exc.lineno}）{cure}\n\n{shown}") from exc
    except SystemExit as exc:
        raise LoadError(f"{program} 没有运行 WxMpServer 就结束了：{exc.code}") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise LoadError(f"{_cure(exc)}\n\n{complaints.traceback_of(exc)}") from exc


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _cure(exc: BaseException) -> str:
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        package = _PACKAGES.get(exc.name, exc.name)
        return f"缺少 {exc.name} 这个包：pip install {package}（要装进这个 Python：{sys.executable}）"
    cure = "（它是包里的模块：写 wx-mp-svr dev 包名.模块名）" if "no known parent package" in str(exc) else ""
    return f"加载时出错：{type(exc).__name__}: {exc}{cure}"


_PACKAGES = {"dotenv": "python-dotenv", "yaml": "pyyaml", "PIL": "pillow", "bs4": "beautifulsoup4"}


def _served(served: Any, program: str) -> WxMpServer:
    if isinstance(served, WxMpServer):
        return served
    servers = mounted_in(served)
    if len(servers) == 1:
        return servers[0]
    raise LoadError(_count(len(servers), [], program))


def _found(names: Mapping[str, Any], program: str, name: str) -> WxMpServer:
    """Return the server that stands in a program which does not serve by itself."""
    if name:
        value = names.get(name)
        if isinstance(value, WxMpServer):
            return value
        if isinstance(value, Flask):
            return _served(value, program)
        what = f"没有 {name}" if name not in names else f"的 {name} 不是 WxMpServer"
        raise LoadError(f"{program} 里{what}")
    servers = {key: value for key, value in names.items() if isinstance(value, WxMpServer)}
    if len(set(map(id, servers.values()))) == 1:
        return next(iter(servers.values()))
    raise LoadError(_count(len(servers), list(servers), program))


def _count(count: int, names: list[str], program: str) -> str:
    if not count:
        return f"{program} 里没有 WxMpServer：写 server = WxMpServer()，或在文件末尾写 Bot().run()（Bot 是你的子类）"
    choice = "、".join(f"{program}:{name}" for name in names) or f"{program}:名字"
    return f"{program} 里有 {count} 个 WxMpServer，指明要哪一个：{choice}"
