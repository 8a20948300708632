"""The files of demo/deploy, each started for real: the unit's command line, gunicorn's settings, nginx's site."""

import configparser
import http.client
import json
import os
import pwd
import re
import runpy
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import servers
import wechat as other_side
from certificates import certify
from documents import BLOCK
from documents import DEPLOY as WHOLE
from waiting import until

from wx_mp_svr.config import Settings
from wx_mp_svr.desk import envfile
from wx_mp_svr.testing import FakeWeChat

DEPLOY = servers.DEMO / "deploy"
BOTS = Path(__file__).parent / "bots"
SITE = (DEPLOY / "nginx.conf").read_text("utf-8")
UNIT = (DEPLOY / "wx-mp-svr.service").read_text("utf-8")
ENV = (DEPLOY / "env.example").read_text("utf-8")
APPID = "wx0e2d1c0b9a8f7e6d"
CALLBACK = servers.CALLBACK
DEFAULTS = Settings()


# -- what the tests change, and nothing else ---------------------------------------------------------------------------


def site_here(directory: Path, ports: Mapping[str, int], **more: str) -> str:
    """nginx.conf with the ports and folders of a test in place of a server's."""
    return replaced(
        SITE,
        {
            "listen 80;": f"listen 127.0.0.1:{ports['http']};",
            "listen 443 ssl;": f"listen 127.0.0.1:{ports['https']} ssl;",
            "/etc/letsencrypt/live/example.com/": f"{directory}/",
            "/var/log/nginx/": f"{directory}/",
            "/var/www/html": f"{directory}/html",
            "server 127.0.0.1:5001 ": f"server 127.0.0.1:{ports['gunicorn']} ",
            **more,
        },
    )


def unit_here(directory: Path) -> str:
    """wx-mp-svr.service with a folder of the test in place of /opt/wx-bot and /etc."""
    return replaced(UNIT, {"/opt/wx-bot": str(directory), "/etc/wx-mp-svr.env": str(directory / "wx-mp-svr.env")})


def env_here(settings: Mapping[str, str]) -> str:
    """env.example filled in as README.md says: the AppID, what keygen prints at the end, then the test's settings."""
    keys = wx_mp_svr("keygen", "--env").stdout
    more = "".join(f"{name}={value}\n" for name, value in settings.items())
    return edited(ENV, "sudo sed -i", "/etc/wx-mp-svr.env") + keys + more


def edited(text: str, begin: str, end: str) -> str:
    """What the first sed of README.md that begins and ends so makes of a text; the domain stays example.com."""
    line = next(line for line in WHOLE.commands if line.startswith(begin) and line.endswith(end))
    program = line.split('"')[1].replace("$DOMAIN", "example.com").replace("$APPID", APPID)
    done = subprocess.run(["sed", program], input=text, capture_output=True, check=True, timeout=10, encoding="utf-8")
    return done.stdout


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"{old!r} is no longer in the file"
        text = text.replace(old, new)
    return text


# -- how each is read and started --------------------------------------------------------------------------------------


def read_unit(text: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's names are case-sensitive
    unit.read_string(text)
    return unit


def wx_mp_svr(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wx_mp_svr", *arguments]
    return subprocess.run(
        command, env=env and dict(env), capture_output=True, text=True, timeout=60, check=True, encoding="utf-8"
    )


@dataclass(frozen=True)
class Service:
    """A bot that runs as the unit says."""

    process: "subprocess.Popen[bytes]"
    running: servers.Running
    env: dict[str, str]
    notified: bytes  # what it told systemd

    @property
    def account(self) -> dict[str, str]:
        return {name: self.env[f"WX_MP_{name.upper()}"] for name in ("appid", "token", "aes_key")}

    @property
    def port(self) -> int:
        return int(self.env["WX_MP_PORT"])


def lay_out(directory: Path, bot: Path, env_text: str) -> tuple[list[str], dict[str, str]]:
    """Put everything where the unit looks for it; return its command and what systemd would start it with."""
    (directory / "venv/bin").mkdir(parents=True)
    program = directory / "venv/bin/gunicorn"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gunicorn "$@"\n')
    program.chmod(0o755)
    shutil.copy(bot, directory / "bot.py")
    shutil.copy(DEPLOY / "gunicorn.conf.py", directory)
    (directory / "wx-mp-svr.env").write_text(env_text, "utf-8")
    service = read_unit(unit_here(directory))["Service"]
    assert service["WorkingDirectory"] == str(directory)
    state = directory / "var-lib" / service["StateDirectory"]
    state.mkdir(int(service["StateDirectoryMode"], 8), parents=True)
    # The little that a service inherits. A dynamic user has no home.
    env = {"PATH": os.defpath, "HOME": "/nonexistent", "STATE_DIRECTORY": str(state)}
    env |= {name: value for name, value in servers.environment(directory, {}).items() if name == "PYTHONPATH"}
    env |= envfile.read(Path(service["EnvironmentFile"]).read_text("utf-8"))
    masked = ["/bin/sh", "-c", f'umask {service["UMask"]}; exec "$@"', "sh"]
    return [*masked, *shlex.split(service["ExecStart"])], env


@contextmanager
def service(directory: Path, bot: Path, **settings: str) -> Iterator[Service]:
    """Do what ``systemctl start wx-mp-svr`` does, but for the sandbox."""
    settings = {"WX_MP_PORT": str(servers.free_port()), **settings}
    command, env = lay_out(directory, bot, env_here(settings))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(env.setdefault("NOTIFY_SOCKET", str(directory / "notify")))
        notify.settimeout(servers.START_SECONDS)
        with servers.running(command, env, directory) as process:
            url = f"http://127.0.0.1:{env['WX_MP_PORT']}{CALLBACK}"
            running = servers.answering(url, process, directory)
            yield Service(process, running, env, notify.recv(4096))


@dataclass(frozen=True)
class Site:
    """An nginx that serves nginx.conf."""

    directory: Path
    ports: dict[str, int]

    @property
    def urls(self) -> dict[str, str]:
        return {scheme: f"{scheme}://127.0.0.1:{self.ports[scheme]}{CALLBACK}" for scheme in ("http", "https")}

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def all_logs(self) -> str:
        return "\n".join(path.read_text("utf-8", errors="replace") for path in self.directory.glob("*.log"))


def nginx_command(directory: Path, site_text: str) -> list[str]:
    """A minimal main configuration around the site; as root and as anybody else."""
    program = servers.installed("nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    lines = [
        user,
        "daemon off;",
        "worker_processes 1;",
        f"pid {directory}/nginx.pid;",
        f"error_log {directory}/main.error.log;",
        "events { worker_connections 768; }",
        "http {",
        f"access_log {directory}/main.access.log;",
        *(f"{kind}_temp_path {directory}/{kind};" for kind in kinds),
        f"include {directory}/wx-mp-svr.conf;",
        "}",
    ]
    (directory / "nginx.conf").write_text("\n".join(lines))
    (directory / "wx-mp-svr.conf").write_text(site_text, "utf-8")
    return [program, "-p", str(directory), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/main.error.log"]


def new_ports(gunicorn: int) -> dict[str, int]:
    return {"http": servers.free_port(), "https": servers.free_port(), "gunicorn": gunicorn}


@contextmanager
def site(
    directory: Path, gunicorn: int, *, edit: Callable[[str], str] = lambda text: text, **more: str
) -> Iterator[Site]:
    """Serve nginx.conf in front of gunicorn's port; *edit* and *more* change the file further."""
    directory.mkdir(exist_ok=True)
    certify(directory)
    ports = new_ports(gunicorn)
    command = nginx_command(directory, edit(site_here(directory, ports, **more)))
    with servers.running(command, dict(os.environ), directory) as process:
        # Its root page: that of the bot may be what the test is about.
        until(lambda: process.poll() is not None or servers.connects(ports["http"]), lambda: "nginx did not start")
        assert process.poll() is None, (directory / "log.txt").read_text()
        yield Site(directory, ports)


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    """One request of anybody; the answer has been read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


# -- the echo bot behind nginx -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Site]]:
    """demo/demo.py, served as the three files say."""
    home = tmp_path_factory.mktemp("echo")
    with ExitStack() as stack:
        bot = stack.enter_context(service(home / "opt", servers.DEMO / "demo.py"))
        yield bot, stack.enter_context(site(home / "nginx", bot.port))


@pytest.fixture
def trusting(echo: tuple[Service, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this process, and those it starts, trust the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(echo[1].directory / "fullchain.pem"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_push_travels_through_nginx_and_gunicorn_and_back(echo, trusting, scheme):
    """In safe mode, with the settings of env.example and the keys of ``keygen --env``; never redirected."""
    bot, front = echo
    wechat = FakeWeChat(front.urls[scheme], **bot.account)
    assert wechat.mode == "safe"
    result = wechat.send_text("你好，世界")
    assert (result.type, result.content) == ("text", "你好，世界")
    assert [attempt.status for attempt in result.tries] == [200]
    assert wechat.send_image("media-1").media_id == "media-1"
    assert wechat.subscribe().content == "欢迎关注"


def test_another_implementation_agrees(echo):
    """wechatpy verifies the URL and opens the reply."""
    bot, front = echo
    wechat = other_side.WeChat(front.urls["http"], **bot.account)
    answer = wechat.verify("5833258582299191661")
    assert (answer.status, answer.body) == (200, b"5833258582299191661")
    assert wechat.ask(other_side.text("你好"))["Content"] == "你好"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_check_finds_nothing_wrong(echo, trusting, scheme):
    """With the settings of the file, as README.md says."""
    bot, front = echo
    file = bot.running.log.parent / "wx-mp-svr.env"
    command = [sys.executable, "-m", "wx_mp_svr", "check", "--env-file", str(file), front.urls[scheme]]
    env = servers.environment(front.directory, {"PYTHONUTF8": "1"})
    done = subprocess.run(command, env=env, capture_output=True, timeout=60, encoding="utf-8")
    assert (done.returncode, "没有发现错误" in done.stdout) == (0, True), done.stdout + done.stderr


def test_no_log_holds_a_signature_a_nonce_or_a_user(echo, tmp_path):
    """Neither for good pushes nor for refused ones, too large ones, nor when gunicorn does not run."""
    bot, front = echo
    query = {
        "signature": "5ca1ab1e" * 5,
        "timestamp": "1600000001",
        "nonce": "1700000002",
        "openid": "oSomebodyInTheLog",
    }
    address = f"{CALLBACK}?" + "&".join(f"{name}={value}" for name, value in query.items())
    wechat = FakeWeChat(front.urls["http"], **bot.account, openid="oSomebodyWhoIsAnswered")
    answered = wechat.send_text("好").tries[0].query
    assert ask(front.ports["http"], address).status == 403
    assert ask(front.ports["http"], address, b"<xml/>").status == 403
    assert ask(front.ports["http"], address, b"x" * (DEFAULTS.max_body + 1)).status == 413
    until(lambda: f'"POST {CALLBACK}" 413' in front.log("wx-mp-svr.access"), lambda: "nginx did not log")
    until(lambda: f'"POST {CALLBACK}" 403' in bot.running.log_text(), lambda: "gunicorn did not log")
    with site(tmp_path, servers.free_port()) as orphan:
        assert ask(orphan.ports["http"], address, b"<xml/>").status == 502
        until(lambda: f'"POST {CALLBACK}" 502' in orphan.log("wx-mp-svr.access"), lambda: "nginx did not log")
    secrets = [*query.values(), "oSomebodyWhoIsAnswered"]
    secrets += [value for name, value in re.findall(r"(\w+)=(\w+)", answered) if name != "encrypt_type"]
    secrets += [bot.account["token"], bot.account["aes_key"]]
    assert len(secrets) > 9
    for log in (front.all_logs(), orphan.all_logs(), bot.running.log_text()):
        assert f"{CALLBACK}?" not in log
        assert [value for value in secrets if value in log] == []
    for line in (f'"GET {CALLBACK}" 403', f'"POST {CALLBACK}" 200'):  # and yet one sees what happened
        assert line in front.log("wx-mp-svr.access")
        assert line in bot.running.log_text()


def test_b142_what_two_servers_would_cut_differently_is_refused_by_nginx(echo):
    """Both a length and chunks: waitress would take for a request what another proxy took for a body."""
    bot, front = echo
    inner = f"POST {CALLBACK}?signature=inner HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    head = f"POST {CALLBACK}?signature=outer HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n"
    before = bot.running.log_text()
    with socket.create_connection(("127.0.0.1", front.ports["http"]), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(inner) + 5}\r\n\r\n0\r\n\r\n{inner}".encode())
        assert connection.recv(65536).split()[1] == b"400"
    assert bot.running.log_text() == before


def test_half_requests_by_the_hundred_delay_nobody(echo):
    """Three hundred heads and sixty bodies that never end: they stay with nginx, and no thread of gunicorn's waits."""
    bot, front = echo
    half = [f"GET {CALLBACK}?signature=a HTTP/1.1\r\nHost: example.com\r\n"] * 300
    half += [f"POST {CALLBACK} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5000\r\n\r\n<xml>"] * 60
    wechat = FakeWeChat(front.urls["http"], **bot.account)
    with ExitStack() as stack:
        for request in half:
            connection = socket.create_connection(("127.0.0.1", front.ports["http"]), timeout=10)
            stack.enter_context(connection).sendall(request.encode())
        answers = [wechat.send_text(f"第 {n} 句") for n in range(20)]
    assert [answer.content for answer in answers] == [f"第 {n} 句" for n in range(20)]
    assert [len(answer.tries) for answer in answers] == [1] * 20
    assert max(answer.elapsed for answer in answers) < 1


RAW = ("/%0aJournal:%20forged%20line/../wx_mp_cb", "/%0d%0aforged/../wx_mp_cb", "/%1b%5b31mforged/../wx_mp_cb")


@pytest.mark.parametrize("path", RAW)
def test_b130_a_stranger_writes_no_line_into_a_log(echo, path):
    """A path that is only decoded later than nginx has looked at it: one escaped line in each log, or none."""
    bot, front = echo
    lines = {name: len(log().splitlines()) for name, log in logs_of(bot, front).items()}
    with socket.create_connection(("127.0.0.1", front.ports["http"]), timeout=10) as connection:
        connection.sendall(
            f"GET {path}?signature=a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(65536).split()[1] in (b"403", b"400", b"404")
    until(lambda: len(front.log("wx-mp-svr.access").splitlines()) > lines["nginx"], lambda: "nginx did not log")
    for name, log in logs_of(bot, front).items():
        new = log().splitlines()[lines[name] :]
        assert not any(mark in line for line in new for mark in ("\x1b", "\r"))
        assert not any(line.startswith(("Journal", "forged")) for line in new)
        assert name == "nginx" or "forged" not in "".join(new)


def logs_of(bot, front):
    return {"nginx": lambda: front.log("wx-mp-svr.access"), "gunicorn": bot.running.log_text}


def test_a_body_that_is_too_large_never_reaches_gunicorn(echo):
    """One of exactly the limit does, and is refused there for what it is."""
    bot, front = echo
    assert ask(front.ports["http"], f"{CALLBACK}?large=1", b"x" * DEFAULTS.max_body).status == 403
    assert ask(front.ports["http"], f"{CALLBACK}?large=1", b"x" * (DEFAULTS.max_body + 1)).status == 413
    assert '" 413 ' not in bot.running.log_text()


@pytest.mark.parametrize("path", ["/", "/wx_mp_cb/", "/wx_mp_cb2", "/wx_mp_cb/..", "/.env", "/admin"])
def test_nothing_but_the_callback_path_reaches_gunicorn(echo, path):
    bot, front = echo
    answer = ask(front.ports["http"], path)
    assert (answer.status, answer.getheader("Location")) == (404, None)
    assert answer.getheader("Server") == "nginx"  # no version
    assert f'"GET {path}"' not in bot.running.log_text()


def test_a_certificate_can_be_renewed(echo):
    """What certbot puts below the web root is served, over http as well."""
    front = echo[1]
    token = front.directory / "html/.well-known/acme-challenge/token"
    token.parent.mkdir(parents=True)
    token.write_text("proof")
    assert ask(front.ports["http"], "/.well-known/acme-challenge/token").status == 200


def test_nobody_chooses_the_address_that_is_logged(echo):
    """nginx sets X-Forwarded-For; what came in it is gone."""
    bot, front = echo
    ask(front.ports["http"], CALLBACK, **{"X-Forwarded-For": "203.0.113.9"})
    until(lambda: f'127.0.0.1 "GET {CALLBACK}" 200' in bot.running.log_text(), lambda: "gunicorn did not log")
    assert "203.0.113.9" not in bot.running.log_text() + front.log("wx-mp-svr.access")


def test_slow_senders_are_cut_off_and_disturb_nobody(echo, tmp_path):
    """Half a header or half a body: nginx keeps it to itself and hangs up; here after 1 second instead of 10."""
    bot, _ = echo
    head = f"POST {CALLBACK}?slow=1 HTTP/1.1\r\nHost: example.com\r\n"
    halves = [head, head + "Content-Length: 1000\r\n\r\n<xml>"]
    with site(tmp_path, bot.port, **{"timeout 10s;": "timeout 1s;"}) as front, ExitStack() as stack:
        port = front.ports["http"]
        senders = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(60)]
        for number, sender in enumerate(senders):
            sender.sendall(halves[number % 2].encode())
        result = FakeWeChat(front.urls["http"], **bot.account).send_text("快")
        assert (result.content, len(result.tries)) == ("快", 1)
        for sender in senders:
            while sender.recv(4096):  # perhaps a 408; at the end it is closed
                pass
        until(lambda: front.log("wx-mp-svr.access").count('" 408 ') == len(senders), lambda: "nginx did not log")
    assert '" 408 ' not in bot.running.log_text()


# -- the slow bot behind nginx -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Site]]:
    """tests/bots/slow_bot.py, served as the three files say."""
    home = tmp_path_factory.mktemp("slow")
    with ExitStack() as stack:
        own = {"RUNS": str(home / "runs")}
        bot = stack.enter_context(service(home / "opt", BOTS / "slow_bot.py", **own))
        yield bot, stack.enter_context(site(home / "nginx", bot.port))


def runs_of(bot: Service, name: str) -> list[str]:
    lines = Path(bot.env["RUNS"]).read_text().splitlines()
    return [line.split()[0] for line in lines if line.split()[1:] == [name]]


def test_six_seconds_of_thinking_arrive_with_the_second_try(slow):
    """WeChat hangs up once; whichever worker the retry lands on, the answer is in the file they share."""
    bot, front = slow
    with ThreadPoolExecutor(6) as pool:
        wechats = {f"u{n}": FakeWeChat(front.urls["http"], **bot.account, openid=f"o{n}") for n in range(6)}
        results = {name: pool.submit(wechat.send_text, f"6 {name}") for name, wechat in wechats.items()}
    for name, future in results.items():
        result = future.result()
        assert result.content.startswith(f"你好{name}，"), result
        assert [attempt.status for attempt in result.tries] == [None, 200]
        assert len(runs_of(bot, name)) == 1


def test_half_a_minute_of_thinking_becomes_a_link(slow):
    """nginx waits for as long as each try is held: no try ends in a 504."""
    bot, front = slow
    wechat = FakeWeChat(front.urls["http"], **bot.account, openid="o-link")
    result = wechat.send_text("16 link")
    assert [attempt.status for attempt in result.tries] == [None, None, 200]
    assert result.links
    assert '" 504 ' not in front.log("wx-mp-svr.access")


def test_the_store_lives_in_the_state_directory_and_is_private(slow):
    """Message texts are in it."""
    bot, front = slow
    FakeWeChat(front.urls["http"], **bot.account, openid="o-state").send_text("0 state")
    files = list(Path(bot.env["STATE_DIRECTORY"]).iterdir())
    assert files
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


# -- the unit ----------------------------------------------------------------------------------------------------------


def seconds(text: str) -> float:
    return float(re.fullmatch(r"([\d.]+)s?", text)[1])  # type: ignore[index]


def directive(name: str) -> str:
    found = re.findall(rf"^ +{name} +([^;]+);", SITE, re.MULTILINE)
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def test_the_times_of_nginx_gunicorn_and_systemd_fit_together():
    """Each waits longer than the one inside it."""
    settings = runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))
    service = read_unit(UNIT)["Service"]
    assert settings["worker_class"] == "gthread"
    assert settings["threads"] >= DEFAULTS.max_held + 16  # as run() gives waitress
    assert settings["graceful_timeout"] > DEFAULTS.hang_up + DEFAULTS.grace
    assert seconds(service["TimeoutStopSec"]) > settings["graceful_timeout"]
    assert seconds(directive("proxy_read_timeout")) > 15
    assert directive("client_max_body_size") == f"{DEFAULTS.max_body // 1024}k"


def test_gunicorn_listens_where_run_would(monkeypatch):
    """WX_MP_HOST and WX_MP_PORT hold for both."""
    for name in ("WX_MP_HOST", "WX_MP_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))["bind"] == f"{DEFAULTS.host}:{DEFAULTS.port}"
    assert f"server {DEFAULTS.host}:{DEFAULTS.port} " in SITE
    assert f"proxy_pass http://wx_mp_bot{DEFAULTS.path};" in SITE
    assert f"location = {DEFAULTS.path} {{" in SITE
    monkeypatch.setenv("WX_MP_PORT", "6001")
    assert runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))["bind"] == f"{DEFAULTS.host}:6001"


def test_a_reload_is_gunicorns_own_and_the_socket_is_where_the_bot_listens():
    """HUP starts new workers before the old ones end; the socket unit keeps the port while there is no bot."""
    assert re.findall(r"^ExecReload=.* (bot:server)$", UNIT, re.MULTILINE) == ["bot:server"]
    assert read_unit(UNIT)["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    socket = read_unit((DEPLOY / "wx-mp-svr.socket").read_text("utf-8"))["Socket"]
    assert socket["ListenStream"] == f"{DEFAULTS.host}:{DEFAULTS.port}"


def test_a_program_that_cannot_be_loaded_is_refused_before_the_running_one_hears_of_it(tmp_path):
    """By itself gunicorn ends altogether when a new worker does not start: a typing mistake would stop the service."""
    _, env = lay_out(tmp_path, servers.DEMO / "demo.py", env_here({}))
    command = re.search("^ExecReload=(.*gunicorn.*)$", unit_here(tmp_path), re.MULTILINE)[1].split()  # type: ignore[index]

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert check().returncode == 0
    with (tmp_path / "bot.py").open("a") as bot:
        bot.write("def broken(:\n")
    refused = check()
    assert (refused.returncode, "SyntaxError" in refused.stderr + refused.stdout) == (1, True)


def test_the_unit_is_sound(tmp_path):
    """Its lines say what they must; where systemd is installed, it agrees and finds the sandbox tight."""
    unit = read_unit(UNIT)
    assert unit.sections() == ["Unit", "Service", "Install"]
    expected = {
        "Type": "notify",
        "DynamicUser": "yes",  # implies NoNewPrivileges, PrivateTmp, ProtectSystem=strict
        "StateDirectory": "wx-mp-svr",
        "UMask": "0077",  # whatever the bot itself writes is private, too
        "KillMode": "mixed",
        "Restart": "always",
        "EnvironmentFile": "/etc/wx-mp-svr.env",
    }
    assert {name: unit["Service"][name] for name in expected} == expected
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    lay_out(tmp_path, servers.DEMO / "demo.py", "")
    file = tmp_path / "wx-mp-svr.service"
    file.write_text(unit_here(tmp_path), "utf-8")
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        loose = [analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", str(file)]
        done = subprocess.run(loose, capture_output=True, text=True, timeout=60)
        if "unrecognized option" not in done.stderr:  # before systemd 250
            assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_systemd_is_told_when_it_is_ready(echo):
    """Type=notify: ``systemctl start`` returns when it listens."""
    assert b"READY=1" in echo[0].notified


def test_both_workers_run(echo):
    """And nothing in gunicorn.conf.py is complained about."""
    log = echo[0].running.log_text()
    assert log.count("Booting worker") == 2
    assert "gthread" in log
    of_pushes = "refused reason=|the house is full"  # strangers', and those that a busy machine was late with
    told = "\n".join(line for line in log.splitlines() if not re.search(of_pushes, line))
    assert not re.search(r"warn|error|Traceback|Invalid", told, re.IGNORECASE), log


def test_sigterm_lets_the_message_in_hand_be_answered(tmp_path):
    """Then the service is gone, well within TimeoutStopSec and with a status that systemd calls success."""
    limit = seconds(read_unit(UNIT)["Service"]["TimeoutStopSec"])
    with service(tmp_path / "opt", BOTS / "slow_bot.py", RUNS=str(tmp_path / "runs")) as bot:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(FakeWeChat(bot.running.url, **bot.account).send_text, "2 late")
            until((tmp_path / "runs").exists, lambda: "no run began")
            bot.process.send_signal(signal.SIGTERM)
            assert answer.result().content.startswith("你好late，")
        assert bot.process.wait(limit) == 0
        until(lambda: not servers.connects(bot.port), lambda: "somebody still listens", 5)


def test_a_setting_that_is_missing_ends_the_service(tmp_path):
    """env.example as it is: the log names what to fill in, and systemd gives up after a few attempts."""
    command, env = lay_out(tmp_path, BOTS / "slow_bot.py", ENV)
    env["WX_MP_PORT"] = str(servers.free_port())
    with servers.running(command, env, tmp_path) as process:
        began = time.monotonic()
        assert process.wait(servers.START_SECONDS) != 0
        lasted = time.monotonic() - began
    log = (tmp_path / "log.txt").read_text("utf-8")
    assert "WX_MP_APPID" in log
    assert "WX_MP_TOKEN" in log
    unit = read_unit(UNIT)
    attempts = int(unit["Unit"]["StartLimitBurst"]) * (seconds(unit["Service"]["RestartSec"]) + lasted)
    assert attempts < seconds(unit["Unit"]["StartLimitIntervalSec"])


# -- env.example -------------------------------------------------------------------------------------------------------


def test_what_env_example_offers_exists_and_shows_the_default():
    """Commented lines are settings of ours with the value that holds anyway."""
    settings = {f"WX_MP_{field.name.upper()}": field.default for field in fields(Settings)}
    offered = dict(re.findall(r"^#?(WX_MP_\w+)=(.*)$", ENV, re.MULTILINE))
    assert offered.pop("WX_MP_APPID") == ""
    assert offered
    for name, value in offered.items():
        assert value == str(settings[name])


def test_a_shell_reads_the_file_as_systemd_does(tmp_path):
    """So that ``set -a; . FILE`` gives the command line the same settings."""
    file = tmp_path / "env"
    file.write_text(env_here({"WX_MP_END_TEXT": "（完）"}), "utf-8")
    listed = subprocess.run(
        ["/bin/sh", "-c", 'set -a; . "$0"; env', str(file)],
        env={"PATH": os.defpath},
        capture_output=True,
        check=True,
        timeout=10,
    )
    seen = dict(line.split("=", 1) for line in listed.stdout.decode().splitlines() if line.startswith("WX_MP_"))
    assert seen == envfile.read(file.read_text("utf-8"))
    assert set(seen) == {"WX_MP_APPID", "WX_MP_TOKEN", "WX_MP_AES_KEY", "WX_MP_END_TEXT"}


# -- nginx.conf --------------------------------------------------------------------------------------------------------


def without_tls(text: str) -> str:
    """As README.md says, before there is a certificate."""
    made = edited(text, 'sed "', "wx-mp-svr.conf >/dev/null")
    assert text.count("\n") - made.count("\n") == 4  # three directives, and what a comment says of IPv6
    return made


@pytest.mark.parametrize("edit", [str, without_tls], ids=["as-it-is", "without-tls"])
def test_nginx_finds_the_site_sound(tmp_path, edit):
    """``nginx -t``, without a warning."""
    certify(tmp_path)
    command = nginx_command(tmp_path, edit(site_here(tmp_path, new_ports(servers.free_port()))))
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "test is successful" in done.stderr
    assert "warn" not in done.stderr


def test_without_a_certificate_it_serves_http(echo, tmp_path):
    """Three directives less."""
    bot, _ = echo
    with site(tmp_path, bot.port, edit=without_tls) as front:
        assert FakeWeChat(front.urls["http"], **bot.account).send_text("http").content == "http"
        assert not servers.connects(front.ports["https"])


def test_pasted_into_a_site_of_a_panel_it_serves_and_logs_no_signature(echo, tmp_path):
    """As README.md says for 宝塔: two pieces in front, one inside, and two lines in that."""
    bot, _ = echo
    (lines,) = [code for language, code in BLOCK.findall(WHOLE.text) if language == "nginx"]
    lines = lines.replace("/www/wwwlogs/", f"{tmp_path}/")

    def panel(text: str) -> str:
        front = re.search(r"^log_format .*?;\n", text, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        front += re.search(r"^upstream .*?^}\n", text, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        inside = re.search(r"^    location = .*?^    }\n", text, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        inside = inside.replace("{\n", "{\n" + lines, 1)
        port = re.search(r"listen 127.0.0.1:(\d+);", text)[1]  # type: ignore[index]
        theirs = f"listen 127.0.0.1:{port}; server_name example.com; access_log {tmp_path}/panel.access.log;"
        return f"{front}server {{ {theirs}\n{inside}}}\n"

    with site(tmp_path, bot.port, edit=panel) as front:
        assert FakeWeChat(front.urls["http"], **bot.account).send_text("宝塔").content == "宝塔"
        until(lambda: f'"POST {CALLBACK}" 200' in front.log("wx-mp-svr.access"), lambda: "nginx did not log")
        assert "signature" not in front.all_logs()


def test_old_tls_is_not_spoken(echo, trusting):
    """What nginx and OpenSSL speak by themselves is good enough."""
    front = echo[1]
    with (
        socket.create_connection(("127.0.0.1", front.ports["https"]), 10) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname="example.com") as secured,
    ):
        assert secured.version() in ("TLSv1.2", "TLSv1.3")


# -- the image ---------------------------------------------------------------------------------------------------------

DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = (DEPLOY / "compose.yaml").read_text("utf-8")


def instructions(name: str) -> list[str]:
    """What stands behind an instruction, each time that it is there."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def image_command(text: str) -> list[str]:
    """A command in the JSON form, with this Python and this gunicorn in place of the image's."""
    program, *arguments = json.loads(text[text.index("[") :])
    return [sys.executable, *(["-m", "gunicorn"] if program == "gunicorn" else []), *arguments]


def test_what_the_image_would_run_answers_keeps_its_data_and_knows_whether_it_is_well(tmp_path):
    """CMD, ENV and HEALTHCHECK of the Dockerfile, started here: an engine is not needed to try them."""
    image = dict(word.split("=", 1) for line in instructions("ENV") for word in line.split())
    assert image["WX_MP_HOST"] == "0.0.0.0"
    assert instructions("EXPOSE") == [image["WX_MP_PORT"]] == [str(DEFAULTS.port)]
    assert instructions("VOLUME") == [image["STATE_DIRECTORY"]]
    shutil.copy(servers.DEMO / "demo.py", tmp_path / "bot.py")
    shutil.copy(DEPLOY / "gunicorn.conf.py", tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    port = servers.free_port()
    changed = {"STATE_DIRECTORY": str(tmp_path / "data"), "WX_MP_HOST": "127.0.0.1", "WX_MP_PORT": str(port)}
    env = {**servers.environment(tmp_path, {**image, **envfile.read(env_here({}))}), **changed}
    health = image_command(instructions("HEALTHCHECK")[0])

    def is_well(**settings: str) -> bool:
        return subprocess.run(health, env={**env, **settings}, capture_output=True, timeout=20).returncode == 0

    with servers.running(image_command(instructions("CMD")[0]), env, tmp_path) as process:
        bot = servers.answering(f"http://127.0.0.1:{port}{CALLBACK}", process, tmp_path)
        account = {name: env[f"WX_MP_{name.upper()}"] for name in ("appid", "token", "aes_key")}
        assert FakeWeChat(bot.url, **account).send_text("你好").content == "你好"
        assert (tmp_path / "data/wx-mp-svr.sqlite3").stat().st_size > 0
        # A proxy that the engine hands to all containers is none of its business.
        assert is_well(http_proxy="http://127.0.0.1:9")
        assert not is_well(WX_MP_PATH="/elsewhere")
    assert not is_well()


def test_the_image_has_what_it_needs_and_nothing_secret():
    """What is copied is there and let in by the ignore file; nobody's keys are; it runs as a user of its own."""
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    let_in = [line[1:] for line in ignore if line.startswith("!")]
    assert "*" in ignore
    copied = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert sorted(copied) == sorted(let_in)
    root = servers.DEMO.parent
    assert [source for source in copied if source != "bot.py" and not (root / source).exists()] == []
    (user,) = instructions("USER")
    assert int(user) > 0
    assert f"useradd --uid {user} " in DOCKERFILE


def test_the_service_of_compose_is_that_of_the_other_files():
    """The port for this machine only, and time to answer what it has in hand."""
    assert f"'127.0.0.1:{DEFAULTS.port}:{DEFAULTS.port}'" in COMPOSE
    assert f"data:{instructions('VOLUME')[0]} " in COMPOSE
    grace = int(re.search(r"stop_grace_period: (\d+)s", COMPOSE)[1])
    assert grace >= runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))["graceful_timeout"] + 5
