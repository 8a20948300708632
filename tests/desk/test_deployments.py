"""Good ways to serve a bot: `check` finds nothing wrong with any of them."""

import socket
import sys
from contextlib import ExitStack, contextmanager

import flask
import pytest
import servers
from certificates import certify

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk import diagnosis, reaching

ACCOUNT = {
    "token": "Deployment1",
    "appid": "wx2c2769f8efd9abc2",
    "aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
}
PLAIN = {"token": "Deployment1"}


def bot(app=None, **account):
    own = {} if app is None else {"app": app}
    return WxMpServer(on_message=lambda req: "好", store="memory:", **own, **(account or ACCOUNT))


def environ(account, **more):
    return {f"WX_MP_{name.upper()}": value for name, value in {**account, **more}.items()}


@contextmanager
def alone(directory, stack):
    with servers.in_thread(bot()) as base:
        yield f"{base}/wx_mp_cb", environ(ACCOUNT)


@contextmanager
def plain(directory, stack):
    with servers.in_thread(bot(**PLAIN)) as base:
        yield f"{base}/wx_mp_cb", environ(PLAIN)


@contextmanager
def compatible(directory, stack):
    with servers.in_thread(bot(**ACCOUNT, mode="compatible")) as base:
        yield f"{base}/wx_mp_cb", environ(ACCOUNT, mode="compatible")


@contextmanager
def mounted(directory, stack):
    """In an app with pages and hooks of its own."""
    app = flask.Flask("host")
    app.before_request(lambda: None)
    app.add_url_rule("/", "home", lambda: "首页")
    bot(app)
    with servers.in_thread(app) as base:
        yield f"{base}/wx_mp_cb", environ(ACCOUNT)


@contextmanager
def waitress(directory, stack):
    """``run()`` with nothing in front."""
    port = servers.free_port()
    script = "from wx_mp_svr import WxMpServer; WxMpServer(store='memory:', on_message=lambda req: '好').run()"
    env = servers.environment(directory, environ(ACCOUNT, port=str(port)))
    with servers.running([sys.executable, "-c", script], env, directory) as process:
        yield servers.answering(f"http://127.0.0.1:{port}/wx_mp_cb", process, directory).url, environ(ACCOUNT)


@contextmanager
def gunicorn(directory, stack):
    """Two workers behind nginx."""
    backend = stack.enter_context(servers.gunicorn(directory, **environ(ACCOUNT)))
    (directory / "nginx").mkdir()
    base = backend.url.removesuffix("/wx_mp_cb")
    with servers.nginx_of(directory / "nginx", {"one": f"location / {{ proxy_pass {base}; }}"}) as (ports, _):
        yield f"http://127.0.0.1:{ports['one']}/wx_mp_cb", environ(ACCOUNT)


@contextmanager
def cache(directory, stack):
    """A proxy that caches all but the bot's path."""
    base = stack.enter_context(servers.in_thread(bot()))
    block = (
        "proxy_cache all; proxy_cache_key $uri; proxy_cache_valid any 1m; "
        f"location / {{ proxy_pass {base}; }} location /wx_mp_cb {{ proxy_cache off; proxy_pass {base}; }}"
    )
    zone = f"proxy_cache_path {directory}/cache keys_zone=all:1m;"
    with servers.nginx_of(directory, {"one": block}, zone) as (ports, _):
        yield f"http://127.0.0.1:{ports['one']}/wx_mp_cb", environ(ACCOUNT)


@contextmanager
def two(directory, stack):
    """Instances behind an upstream, which share nothing but the settings."""
    bases = [stack.enter_context(servers.in_thread(bot())) for _ in range(2)]
    hosts = " ".join(f"server {base.removeprefix('http://')};" for base in bases)
    block = "location / { proxy_pass http://bots; }"
    with servers.nginx_of(directory, {"one": block}, f"upstream bots {{ {hosts} }}") as (ports, _):
        yield f"http://127.0.0.1:{ports['one']}/wx_mp_cb", environ(ACCOUNT)


@contextmanager
def https(directory, stack):
    """A certificate with its chain, ninety days to go."""
    certify(directory, days=90, chain=True)
    monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "root.pem"))
    base, port = stack.enter_context(servers.in_thread(bot())), servers.free_port()
    block = (
        f"listen 127.0.0.1:{port} ssl; ssl_certificate {directory}/fullchain.pem; "
        f"ssl_certificate_key {directory}/privkey.pem; location / {{ proxy_pass {base}; }}"
    )
    with servers.nginx_of(directory, {"one": block}):
        yield f"https://127.0.0.1:{port}/wx_mp_cb", environ(ACCOUNT)


DEPLOYMENTS = [alone, plain, compatible, mounted, waitress, gunicorn, cache, two, https]


@pytest.mark.parametrize("deployed", DEPLOYMENTS, ids=lambda one: one.__name__)
def test_check_finds_nothing_wrong(deployed, tmp_path):
    """Plain and compatible mode are warned of, and nothing else."""
    with ExitStack() as stack:
        url, env = stack.enter_context(deployed(tmp_path, stack))
        settings, findings = diagnosis.read_settings(env)
        findings += diagnosis.check(settings, url)
    odd = [finding for finding in findings if finding.level != "ok"]
    expected = {"plain": ["明文模式"], "compatible": ["兼容模式"]}.get(deployed.__name__, [])
    assert [words in finding.cause for finding, words in zip(odd, expected, strict=True)] == [True] * len(expected)


def test_a_name_with_both_kinds_of_addresses_is_judged_by_ipv4():
    """WeChat never comes over IPv6, whatever stands there; here nobody does."""
    with servers.in_thread(bot()) as base:
        port = int(base.rpartition(":")[2])

        def resolve(host, _, family, kind):
            rows = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port, 0, 0))]
            return [(af, kind, 6, "", place) for af, place in rows if family in (af, socket.AF_UNSPEC)]

        assert reaching.reach(f"http://bot.example:{port}/", resolve=resolve).level == "ok"
        here = next(row for row in resolve("", port, socket.AF_UNSPEC, 1) if row[0] == socket.AF_INET6)
        only_there = reaching.reach(f"http://bot.example:{port}/", resolve=lambda *_: [here])
        assert only_there.level == "error"
