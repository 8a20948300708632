"""The bot of the experiments, in the servers that people use: on a machine of its own, started, struck and ended."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import servers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

ACCOUNT = {
    "WX_MP_TOKEN": "Chaos0Token",
    "WX_MP_APPID": "wx0123456789abcdef",
    "WX_MP_AES_KEY": "chaoschaoschaoschaoschaoschaoschaoschaoscha",
}
SENTENCE = "这是第{}句，不长也不短，说给微信那边的人听。"

BOT = f"""
import asyncio, ctypes, os, re, time
from wx_mp_svr import WxMpServer

server = WxMpServer()

def note(req):
    file = os.open(os.environ["CHAOS_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{{time.time()}} {{req.content}}\\n".encode())
    os.close(file)

@server.text(re.compile("async (?P<seconds>[0-9.]+)"))
async def think(req, seconds):
    note(req)
    await asyncio.sleep(float(seconds))
    return "答：" + req.content

@server.text(re.compile("tell (?P<pieces>[0-9]+) (?P<pause>[0-9.]+)"))
async def tell(req, pieces, pause):
    note(req)
    for n in range(int(pieces)):
        await asyncio.sleep(float(pause))
        yield {SENTENCE!r}.format(n)

@server.text(re.compile("ping"))
def ping(req):
    note(req)
    return "答：" + req.content

@server.on_message
def answer(req):
    kind, *rest = req.content.split()
    if kind == "count":
        req.session["n"] = req.session.get("n", 0) + 1
        return f"{{req.session['n']}}"
    note(req)
    if kind == "stream":
        return stream(int(rest[0]), float(rest[1]))
    if kind == "seize":  # the interpreter, as an extension does that never lets go of it
        ctypes.PyDLL(None).usleep(int(float(rest[0]) * 1_000_000))
    else:
        time.sleep(float(rest[0]))
    return "答：" + req.content

def stream(pieces, pause):
    for n in range(pieces):
        time.sleep(pause)
        yield {SENTENCE!r}.format(n)

queue, broker = os.environ.get("CHAOS_QUEUE"), os.environ["WX_MP_STORE"]
if queue == "huey":
    from huey import RedisHuey

    huey = RedisHuey(url=broker)

    @huey.task()
    def work(job):
        server.run_job(job)

    server.runner = work
if queue == "celery":
    from celery import Celery

    celery = Celery("bot", broker=broker)
    celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)
    celery.conf.broker_transport_options = {{"visibility_timeout": 120}}

    @celery.task(ignore_result=True)
    def work(job):
        server.run_job(job)

    server.runner = work.delay
if queue == "rq":
    from redis import Redis
    from rq import Queue

    REDIS_URL = broker  # for `rq worker --config bot`
    jobs = Queue(connection=Redis.from_url(broker))

    def work(job):
        server.run_job(job)

    server.runner = lambda job: jobs.enqueue(work, job)
"""

# As systemd starts a service whose socket it keeps: the socket is file 3, and the process is told so.
_WITH_SOCKET = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"

SHIPPED = ("gunicorn", "-c", str(ROOT / "demo" / "deploy" / "gunicorn.conf.py"), "bot:server")
SERVERS: dict[str, Sequence[str]] = {
    "shipped": SHIPPED,
    "one": (*SHIPPED[:-1], "--workers", "1", "bot:server"),
    "three": (*SHIPPED[:-1], "--workers", "3", "bot:server"),
    "sync": ("gunicorn", "-k", "sync", "--workers", "4", "bot:server"),
    "small": ("gunicorn", "-k", "gthread", "--workers", "2", "--threads", "8", "bot:server"),
    "gevent": ("gunicorn", "-k", "gevent", "--workers", "2", "bot:server"),
    "uwsgi": ("uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "4", "--module", "bot:server"),
    "uwsgi-threads": (
        *("uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "2", "--threads", "128"),
        *("--listen", "100", "--module", "bot:server"),
    ),
    "waitress": ("-c", "from bot import server; server.run()"),
}

# Their workers, each taking several jobs at once; RQ's take one each.
WORKERS: dict[str, Sequence[str]] = {
    "huey": ("-m", "huey.bin.huey_consumer", "bot.huey", "-w", "4"),
    "celery": ("-m", "celery", "-A", "bot", "worker", "--concurrency", "4"),
    "rq": ("-m", "rq.cli", "worker-pool", "--config", "bot", "-n", "4"),
}


class Machine:
    """A bot on a machine of its own: only its processes see its runtime directory.

    Its socket is kept open while the bot is not there, as systemd does with wx-mp-svr.socket; uWSGI and waitress have their
    own.

    Args:
        folder: For its files; its bot.py lies in the folder above.
        server: One of `SERVERS`.
        settings: Beside the account's.
        queue: One of `WORKERS`, if handlers run there.
    """

    def __init__(self, folder: Path, server: str, settings: dict[str, str], queue: str = "") -> None:
        self.folder = folder
        (folder / "runtime").mkdir(parents=True)
        own = {"RUNTIME_DIRECTORY": str(folder / "runtime"), "CHAOS_QUEUE": queue, **settings}
        self._queue = queue
        self.queue_workers: list[subprocess.Popen[bytes]] = []
        self.port = servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}/wx_mp_cb"
        self._environment = servers.environment(folder, {**ACCOUNT, "WX_MP_PORT": str(self.port), **own})
        self._environment["PYTHONPATH"] = f"{ROOT / 'src'}:{folder.parent}"
        first, *rest = SERVERS[server]
        python = [sys.executable] if first == "-c" else [sys.executable, "-m", first]
        if first == "uwsgi":
            python = [shutil.which("uwsgi") or "uwsgi"]
            rest += ["--virtualenv", sys.prefix]
        self._command = [*python, *(["-c"] if first == "-c" else []), *(word.format(port=self.port) for word in rest)]
        self._socket: socket.socket | None = None
        if first == "gunicorn":
            self._socket = socket.create_server(("127.0.0.1", self.port), backlog=4096)
        self.start()
        for _ in range(2 if queue else 0):
            self.start_queue_worker()
        servers.answering(self.url, self.process, folder)

    def start(self) -> None:
        """Start the bot."""
        command, environment, files = self._command, self._environment, ()
        if self._socket is not None:
            command = [sys.executable, "-c", _WITH_SOCKET, *command]
            environment = {**environment, "LISTEN_FDS": "1"}
            files = (3,)
        self.process = self._run(command, environment, pass_fds=files, preexec_fn=self._as_file_3 if files else None)

    def start_queue_worker(self) -> None:
        """Start one more worker of the task queue."""
        self.queue_workers.append(self._run([sys.executable, *WORKERS[self._queue]], self._environment))

    def kill_queue_worker(self) -> None:
        """Kill the oldest worker of the task queue, with all its processes."""
        _kill(self.queue_workers.pop(0))

    def _run(self, command: Sequence[str], environment: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **more,
            )

    def _as_file_3(self) -> None:
        assert self._socket is not None
        os.dup2(self._socket.fileno(), 3, inheritable=True)

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()] or [pid]

    def figures(self) -> list[tuple[int, int, int]]:
        """Return of each process that answers its memory in MB, its threads, and its open files."""
        found = []
        for pid in self.workers():
            status = Path(f"/proc/{pid}/status").read_text()
            values = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            found.append((int(values.get("VmRSS", 0)) // 1024, int(values.get("Threads", 0)), files))
        return found

    def kill(self) -> None:
        """Kill all processes that answer, at once."""
        _kill(self.process)

    def reload(self) -> None:
        """What ExecReload does."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """What systemctl stop does, waiting as long as the unit allows."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(45)
        self.kill()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        while self.queue_workers:
            self.kill_queue_worker()
        if self._socket is not None:
            self._socket.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
