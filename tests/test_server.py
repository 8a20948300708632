"""The server as its author holds it: when it can be mounted, whose account it is, what its copies share, what it tells."""

import logging
import socket
from functools import partial
from wsgiref.util import setup_testing_defaults

import pytest
from flask import Flask
from waiting import until

from wx_mp_svr import ConfigError, StoreError, WxMpServer
from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.server import mounted_in
from wx_mp_svr.store.memory import MemoryStore

ACCOUNT = {"token": "ServersToken", "store": "memory:"}


def bot(**settings):
    return WxMpServer(**{**ACCOUNT, **settings})


def asked(server, **changes):
    """Return status and body of a GET; a change to None leaves a variable out."""
    environ = {}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": "/wx_mp_cb", "REMOTE_ADDR": "192.0.2.1", "QUERY_STRING": ""}
    environ = {name: value for name, value in {**environ, **changes}.items() if value is not None}
    statuses = []
    body = b"".join(server(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0], body.decode()


# -- made and mounted --------------------------------------------------------------------------------------------------


def made_in(module, monkeypatch, **settings):
    monkeypatch.setattr("os.environ", {})
    names = {
        **({"__name__": module} if module else {}),
        "WxMpServer": WxMpServer,
        "settings": {"store": "memory:", **settings},
    }
    exec("server = WxMpServer(**settings)", names)
    return names["server"]


@pytest.mark.parametrize("module", ["__main__", "__mp_main__", None])
def test_in_a_script_nothing_set_is_the_demos_account(module, monkeypatch):
    assert made_in(module, monkeypatch).settings.demo_values
    assert made_in(module, monkeypatch, mode="plain").settings.aes_key == ""
    assert not made_in(module, monkeypatch, token="mine").settings.demo_values


def test_in_a_module_it_is_a_mistake(monkeypatch):
    with pytest.raises(ConfigError, match="WX_MP_TOKEN is missing"):
        made_in("bot", monkeypatch)
    app = Flask("app")
    app.config["WX_MP_TOKEN"] = "abc"
    assert not made_in("__main__", monkeypatch, app=app).settings.demo_values


def test_an_app_of_its_own_is_named_after_the_module_that_makes_it(monkeypatch):
    assert bot().app.name == __name__
    assert made_in("test_serve", monkeypatch, token="abc").app.name == "test_serve"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tokn", "there is no setting tokn; did you mean token? / 没有 tokn 这个设置，是不是 token？"),
        (
            "zzz",
            "there is no setting zzz; the README's table 全部设置 has them all / "
            "没有 zzz 这个设置，见 README 的「全部设置」",
        ),
    ],
)
def test_a_setting_that_is_none_is_said(name, words):
    with pytest.raises(ConfigError) as error:
        bot(**{name: 1})
    assert str(error.value) == words


def test_an_attribute_that_is_none_is_said_and_what_became_of_it():
    for name, cure in (
        ("nothing", ""),
        ("filter", '; write @server.text("...") instead / 现在写作 @server.text("...")'),
    ):
        with pytest.raises(AttributeError) as error:
            getattr(bot(), name)
        assert (str(error.value), error.value.name) == (f"'WxMpServer' has no attribute '{name}'{cure}", name)


def test_a_server_waits_for_its_app_and_is_mounted_once():
    server = bot(app=None)
    assert (repr(server), server.clock) == ("<WxMpServer 'not mounted yet'>", REAL)
    for use in (
        server.stats,
        server.test_client,
        server.run,
        lambda: server.run_job({}),
        lambda: server.session_of("a", "b"),
    ):
        with pytest.raises(ConfigError, match="has no app yet"):
            use()
    app = Flask("app")
    server.init_app(app)
    assert (server.app, mounted_in(app)) == (app, [server])
    assert asked(app)[0] == "200 OK"
    assert repr(server).startswith("<WxMpServer Settings(appid='', mode='plain'")
    assert ACCOUNT["token"] not in repr(server)
    with pytest.raises(ConfigError, match="mounted already"):
        server.init_app(Flask("other"))


@pytest.mark.parametrize("taken", ["/wx_mp_cb", "/wx_mp_cb/"])
def test_a_path_that_is_taken_is_said(taken):
    app = Flask("app")
    app.add_url_rule(taken, "page", lambda: "页面")
    with pytest.raises(ConfigError, match="WX_MP_PATH: /wx_mp_cb is taken by 'page' of this app"):
        bot(app=app)
    bot(app=app, path="/wx")
    with pytest.raises(ConfigError, match="SHOP_PATH: /wx is taken"):
        bot(app=app, path="/wx", env_prefix="SHOP_")


def test_an_app_that_has_begun_to_answer_takes_no_more_servers():
    app = Flask("app")
    app.test_client().get("/")
    with pytest.raises(ConfigError, match="has answered its first request"):
        bot(app=app)


def test_what_should_not_stay_so_is_said_at_the_start(caplog, monkeypatch):
    monkeypatch.setenv("WX_MP_TOKN", "x")
    app = Flask("app")
    app.config["WX_MP_PROT"] = 80
    bot(app=app)
    assert "plain mode: " in caplog.text
    assert "WX_MP_TOKN is not read; did you mean WX_MP_TOKEN?" in caplog.text
    assert "WX_MP_PROT is not read; did you mean WX_MP_PORT?" in caplog.text


def test_two_accounts_with_one_token_are_said_where_messages_are_not_protected(caplog):
    def said(server):
        found = "the same Token" in caplog.text
        caplog.clear()
        return found, server

    safe = {"appid": "wx0a1b2c3d4e5f6a7b", "aes_key": "k" * 43}
    first, one = said(bot(token="OneToken1"))
    second, two = said(bot(token="OneToken1"))
    third, three = said(bot(token="OneToken1", **safe))
    fourth, four = said(bot(token="OneToken2"))
    assert (first, second, third, fourth) == (False, True, False, False)
    assert len({one, two, three, four}) == 4


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_may_lack_what_it_need_not_have(caplog):
    caplog.set_level(logging.INFO, "wx_mp_svr")
    status, body = asked(bot(), QUERY_STRING=None, REMOTE_ADDR=None)
    assert (status, "运行正常" in body) == ("200 OK", True)
    asked(bot(), QUERY_STRING="a=1")
    asked(bot(), QUERY_STRING="a=1", REMOTE_ADDR="")
    assert [line.split()[2] for line in caplog.messages if line.startswith("refused")] == [
        *("remote=192.0.2.1:", "remote=-:"),
    ]


def test_one_thread_a_process_is_said_once(caplog):
    server = bot()
    for threads in (True, False, False):
        asked(server, REQUEST_METHOD="POST", **{"wsgi.multithread": threads})
        assert caplog.text.count("服务器只有一个线程") == (not threads)


@pytest.mark.parametrize(
    ("path", "statuses"),
    [("/wx_mp_cb", {"403 FORBIDDEN"}), ("/wx_mp_cb/", {"403 FORBIDDEN"}), ("/wx_mp_cb//", {"404 NOT FOUND"})],
)
def test_a_path_is_never_redirected(path, statuses):
    """WeChat does not follow. In front of Flask, and as a view of an app that has hooks."""
    view = Flask("app", static_folder=None)
    view.before_request(lambda: None)
    assert {asked(server, PATH_INFO=path, QUERY_STRING="a=1")[0] for server in (bot(), bot(app=view))} == statuses


def test_the_address_without_a_path_says_where_the_bot_is():
    status, body = asked(bot(path="/wx"), PATH_INFO="/")
    assert (status, "回调地址是 /wx（" in body) == ("404 NOT FOUND", True)
    assert "回调地址" not in asked(bot(), PATH_INFO="/other")[1]


def test_it_listens_where_its_settings_say_or_who_runs_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for run in (bot(port=port).run, partial(bot().run, port=port), partial(bot().run, "127.0.0.1", port)):
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is in use"):
                run()


def test_a_push_of_wechats_cloud_is_recognized(caplog):
    asked(bot(), REQUEST_METHOD="POST", HTTP_X_WX_SOURCE="weixin")
    assert "微信云托管" in caplog.text


# -- copies ------------------------------------------------------------------------------------------------------------


def run_elsewhere(job):
    """A task queue."""


def test_a_copy_has_a_memory_and_a_clock_of_its_own_and_keeps_no_runner_for_it(tmp_path):
    server = bot(store=f"sqlite:{tmp_path}/bot.db", runner=run_elsewhere)
    clock = FastClock(2)
    copy = server.with_clock(clock, max_held=7)
    assert (copy.clock, server.clock, copy.app) == (clock, REAL, server.app)
    assert (copy.settings.store, copy.settings.max_held, server.settings.max_held) == ("memory:", 7, 240)
    assert (copy.runner, server.runner) == (None, run_elsewhere)
    same = server.with_clock(clock, store=server.settings.store)
    assert same.runner is run_elsewhere
    assert mounted_in(server.app) == [server]


def test_a_server_keeps_what_it_remembers_in_its_store(tmp_path):
    store = f"sqlite:{tmp_path}/bot.db"
    with bot(store=store).session_of("gh_1", "o_1") as session:
        session["n"] = 1
    with bot(store=store).session_of("gh_1", "o_1") as session:
        assert dict(session) == {"n": 1}


def test_a_client_for_tests_jumps_unless_it_is_given_a_speed():
    server = bot(on_message=lambda req: 5)
    jumping, fast = server.test_client(), server.test_client(time_scale=0.5)
    assert (jumping.clock.rate, jumping.clock._jumps, fast.clock.rate, fast.clock._jumps) == (1, True, 2, False)
    assert (jumping.token, jumping.mode, jumping.path) == (ACCOUNT["token"], "plain", "/wx_mp_cb")
    assert jumping.server.clock is jumping.clock
    assert server.test_client(max_held=3).server.settings.max_held == 3
    with pytest.raises(Exception, match="returned int"):
        jumping.send_text("x")
    assert server.test_client(raise_errors=False).send_text("x").content == "抱歉，出错了，请稍后再试。"


def test_a_slow_answer_waits_behind_the_servers_own_words():
    wechat = bot(on_message=lambda req: wechat.sleep(30) or "好", slow_text="慢慢来").test_client()
    assert wechat.send_text("x").content.startswith("慢慢来")


def test_a_runner_needs_a_store_that_its_workers_share():
    for store in ("memory:", MemoryStore()):
        with pytest.raises(ConfigError, match="a runner needs a store"):
            bot(store=store, runner=run_elsewhere)
    server = bot()
    with pytest.raises(ConfigError, match="a runner needs a store"):
        server.runner = run_elsewhere
    server.runner = None
    assert server.runner is None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_runner_gets_the_message_and_who_runs_its_job_the_handler(at_once, tmp_path):
    def take(job):
        jobs.append(job)
        wechat.server.run_job(job)

    jobs = []
    server = bot(store=f"sqlite:{tmp_path}/bot.db", on_message=lambda req: f"你说 {req.content}")
    server.runner = take if at_once else None
    wechat = server.test_client(store=f"sqlite:{tmp_path}/copy.db")
    if not at_once:
        assert (wechat.send_text("先").content, jobs) == ("你说 先", [])
        wechat.server.runner = take
    assert (wechat.send_text("好").content, len(jobs)) == ("你说 好", 1)
    wechat.server.runner = None
    assert (wechat.send_text("完").content, len(jobs)) == ("你说 完", 1)


def test_what_is_remembered_is_there_for_who_is_no_handler():
    server = bot()
    with server.session_of("gh_1", "o_1") as session:
        session["n"] = 1
    for account, openid in (("gh_1", "o_2"), ("gh_2", "o_1")):
        with server.session_of(account, openid) as session:
            assert dict(session) == {}
    with server.session_of("gh_1", "o_1") as session:
        assert dict(session) == {"n": 1}


def test_the_numbers_of_a_server_that_rests():
    stats = bot().stats()
    assert {"held", "running", "queued", "hung_up", "breaker_open", "store_down"} <= stats.keys()
    assert stats.pop("store") == "MemoryStore"
    assert set(stats.values()) == {0}


class Fragile:
    """A store of the user's own, which fails from one moment to the next."""

    def __init__(self):
        self._kept, self.dead = MemoryStore(), False

    def __getattr__(self, verb):
        if self.dead:
            raise StoreError("dead")
        return getattr(self._kept, verb)


def test_a_store_that_is_down_shows_in_the_numbers_and_keeps_no_message_waiting(caplog):
    store = Fragile()
    wechat = bot(on_message=lambda req: "好").test_client(store=store)
    assert (wechat.send_text("一").content, wechat.server.stats()["store_down"]) == ("好", 0)
    store.dead = True
    assert (wechat.send_text("二").content, wechat.server.stats()["store_down"]) == ("好", 1)
    assert wechat.server.stats()["store"] == "Fragile"
    assert "dead" in caplog.text
    store.dead = False
    until(lambda: wechat.sleep(1) or not wechat.server.stats()["store_down"])


def test_processes_with_one_database_meet_beside_it(tmp_path):
    wechat = bot(on_message=lambda req: "好").test_client(store=f"sqlite:{tmp_path}/bot.db")
    assert wechat.send_text("在").content == "好"
    assert (tmp_path / "bot.db-alive").exists()


def test_the_default_store_is_a_file_where_systemd_or_flask_keeps_such(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:/other")
    app = Flask("app", instance_path=f"{tmp_path}/instance")
    WxMpServer(token="ServersToken", app=app)
    assert [path.parent.name for path in tmp_path.rglob("*.sqlite3")] == ["state"]
    monkeypatch.delenv("STATE_DIRECTORY")
    WxMpServer(token="ServersToken", app=Flask("app", instance_path=f"{tmp_path}/instance"))
    assert {path.parent.name for path in tmp_path.rglob("*.sqlite3")} == {"state", "instance"}
