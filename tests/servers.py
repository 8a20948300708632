"""Real servers for the tests: subprocesses on 127.0.0.1, started, waited for and ended by their process id."""

import http.client
import os
import pwd
import random
import shutil
import signal
import site
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from waiting import until
from werkzeug.serving import make_server

DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_ACCOUNT = {"WX_MP_TOKEN": "xxx", "WX_MP_APPID": "wx0000000000000000", "WX_MP_AES_KEY": "x" * 43}
CALLBACK = "/wx_mp_cb"
START_SECONDS = 30
STOP_SECONDS = 5
USER_BASE = site.getuserbase()


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    log: Path

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


# Below those that the kernel gives to outgoing connections; each worker of a run has its own. None is given twice.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = list(range(10_240 + WORKER % 32, 32_000, 32))
random.shuffle(PORTS)


def free_port() -> int:
    """Find a port that nobody takes until it is listened at."""
    while PORTS:
        port = PORTS.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail("no free port on 127.0.0.1")


# Programs that pip cannot bring, by the names that they have, and the package that does.
PACKAGES = {
    ("nginx",): "nginx-light",
    ("redis-server",): "redis-server",
    ("chromium", "chromium-browser", "google-chrome"): "chromium",
}
NEEDS = "needs the package "


def installed(name: str) -> str:
    """Find a program; a test that needs it is left out where it is not installed, and the last line of the run says so."""
    (names,) = (names for names in PACKAGES if name in names)
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    if found := next(filter(None, (shutil.which(each, path=folders) for each in names)), None):
        return found
    pytest.skip(NEEDS + PACKAGES[names])


def demo(directory: Path, **settings: str) -> AbstractContextManager[Running]:
    """``python demo/demo.py``: waitress where it is installed, else Flask's development server."""
    return bot(directory, "demo", WX_MP_HOST="127.0.0.1", **settings)


@contextmanager
def bot(directory: Path, program: str, *, workers: bool = False, **settings: str) -> Iterator[Running]:
    """``python demo/PROGRAM.py``, or two gunicorn *workers*."""
    port = free_port()
    command, account = [sys.executable, str(DEMO / f"{program}.py")], {}
    if workers:  # for them a program is a module, which must have an account of its own
        account = DEMO_ACCOUNT
        options = ["--workers", "2", "--threads", "16", "-k", "gthread", "--bind", f"127.0.0.1:{port}"]
        command = [sys.executable, "-m", "gunicorn", *options, "--chdir", str(DEMO), f"{program}:server"]
    env = environment(directory, {"WX_MP_PORT": str(port), "NO_PROXY": "127.0.0.1", **account, **settings})
    with running(command, env, directory) as process:
        yield answering(f"http://127.0.0.1:{port}{CALLBACK}", process, directory)


@contextmanager
def gunicorn(directory: Path, *, socket: Path | None = None, **settings: str) -> Iterator[Running]:
    """``gunicorn --workers 2 --threads 8 demo:server`` on a port that is free, and at *socket*."""
    address = f"127.0.0.1:{free_port()}"
    options = ["--workers", "2", "--threads", "8", "-k", "gthread", "--bind", address, "--graceful-timeout", "2"]
    options += [] if socket is None else ["--bind", f"unix:{socket}"]
    command = [sys.executable, "-m", "gunicorn", *options, "--chdir", str(DEMO), "demo:server"]
    with running(command, environment(directory, settings), directory) as process:
        yield answering(f"http://{address}{CALLBACK}", process, directory)


@contextmanager
def nginx(directory: Path, backend: str) -> Iterator[Running]:
    """One nginx in front of *backend*, ``http://host:port`` or ``http://unix:PATH:``, which answers already."""
    block = f"""
        location / {{
            proxy_pass {backend};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}"""
    with nginx_of(directory, {"bot": block}) as (ports, _):
        yield Running(f"http://127.0.0.1:{ports['bot']}{CALLBACK}", directory / "log.txt")


@contextmanager
def nginx_of(
    directory: Path, blocks: Mapping[str, str], http: str = ""
) -> Iterator[tuple[dict[str, int], subprocess.Popen[bytes]]]:
    """One nginx with a port for each of *blocks* (name -> what stands in its ``server``); gives ports and process."""
    program = installed("nginx")
    ports = {name: free_port() for name in blocks}
    servers = "\n".join(f"    server {{ listen 127.0.0.1:{ports[name]}; {block} }}" for name, block in blocks.items())
    temporary = "\n".join(
        f"    {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(
        f"""
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
{temporary}
{http}
{servers}
}}
"""
    )
    command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
    with running(command, dict(os.environ), directory) as process:
        for port in ports.values():
            listening(port, process, directory)
        yield ports, process


def listening(port: int, process: subprocess.Popen[bytes], directory: Path) -> None:
    """Wait until *port* takes connections, whatever it then says."""
    log = directory / "log.txt"
    until(lambda: process.poll() is not None or connects(port), lambda: log.read_text(errors="replace"), START_SECONDS)
    assert process.poll() is None, log.read_text(errors="replace")


def connects(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def patient(redis_url: str) -> str:
    """Let the store wait longer for Redis than it would by itself."""
    return f"{redis_url}?socket_timeout=5&socket_connect_timeout=5"


class RedisServer:
    """A redis-server of our own that keeps nothing on disk; stopped, paused and started again at the same place."""

    def __init__(self, directory: Path, password: str = "") -> None:
        self.port = free_port()
        self.password = password
        self._log = directory / "redis.txt"
        self._folder = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `open_store` takes."""
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def patient_url(self) -> str:
        """The same for tests in which it is always up: on a busy machine an answer may take longer than our 300 ms."""
        return patient(self.url)

    def start(self) -> None:
        """Start and wait for the first answer; nothing happens when it runs."""
        if self._process is not None:
            return
        program = installed("redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        options += ["--dir", str(self._folder), "--daemonize", "no"]
        options += ["--requirepass", self.password] if self.password else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, *options], stdout=log, stderr=subprocess.STDOUT)
        process = self._process
        until(
            lambda: process.poll() is not None or self._answers(),
            lambda: self._log.read_text(errors="replace"),
            START_SECONDS,
        )
        assert process.poll() is None, self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End it; all that it kept is gone."""
        if self._process is not None:
            self._process.kill()  # also ends a paused one
            self._process.wait(STOP_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Let it hang: the kernel goes on taking connections, nobody answers them."""
        if self._process is None:
            raise RuntimeError("it does not run")
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on; nothing happens when it was not paused."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@contextmanager
def redis(directory: Path, password: str = "") -> Iterator[RedisServer]:
    """A real Redis."""
    server = RedisServer(directory, password)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def always(
    body: bytes | Callable[[Any], bytes] = b"success",
    status: str = "200 OK",
    headers: Sequence[tuple[str, str]] = (),
    *,
    kind: str = "text/plain",
) -> Any:
    """Return a WSGI application that always answers this; *body* may be a function of the WSGI environment."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        answer = body(environ) if callable(body) else body
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer))), *headers])
        return [answer]

    return app


@contextmanager
def handled_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve with a handler of http.server's from a thread of this process; gives the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False  # kept-alive connections must not hold up the end
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@contextmanager
def in_thread(app: Any) -> Iterator[str]:
    """Serve a WSGI application from a thread of this process; gives ``http://127.0.0.1:PORT``."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]  # idle connections must not hold up the end
    server.block_on_close = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(STOP_SECONDS)
        server.server_close()


# -- below: how a process is started, waited for and ended ------------------------------------------------------------


def environment(directory: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without anybody's WX_MP_ settings, with the given ones and a state folder of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WX_MP_")}
    inherited.pop("RUNTIME_DIRECTORY", None)  # which processes are on one machine is the test's to say
    if "PYTHONPATH" in inherited:  # may be relative, and gunicorn changes its folder
        paths = inherited["PYTHONPATH"].split(os.pathsep)
        inherited["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
    state = directory / "state"
    state.mkdir(parents=True, exist_ok=True)
    # A home of its own, too: gunicorn keeps a control socket there, and several run at once.
    own = {"PYTHONUNBUFFERED": "1", "STATE_DIRECTORY": str(state), "HOME": str(directory), "PYTHONUSERBASE": USER_BASE}
    return {**inherited, **own, **settings}


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, env=dict(env), cwd=directory, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


@contextmanager
def printing(code: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that says on standard output how far it is. It does not outlive a test that fails."""
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def answering(url: str, process: subprocess.Popen[bytes], directory: Path) -> Running:
    """Wait until *url* answers; fail with the server's own words when it does not."""
    server = Running(url, directory / "log.txt")
    until(lambda: process.poll() is not None or answers(url), server.log_text, START_SECONDS)
    if process.poll() is not None:
        pytest.fail(f"{process.args} ended with {process.returncode}:\n{server.log_text()}")
    # A push of the second in which a process began may be a retry of one that was lost: it gets no patience. The other
    # worker may begin a second later.
    time.sleep(2.01 - time.time() % 1)
    return server


def answers(url: str) -> bool:
    target = urllib.parse.urlsplit(url)
    try:
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=5)
        try:
            connection.request("GET", target.path)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
