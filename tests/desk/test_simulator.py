"""The simulator: its API as a stranger and as the page sees it, and the page itself in a real Chromium."""

import json
import logging
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace

import pytest
import servers
from waiting import until

from wx_mp_svr import Article, WxMpServer
from wx_mp_svr.desk.echo import echo
from wx_mp_svr.desk.simulator import make_app, serve
from wx_mp_svr.desk.simulator.talk import KINDS, Talk
from wx_mp_svr.events import EVENTS
from wx_mp_svr.req_msg import KINDS as MESSAGES
from wx_mp_svr.testing import FAULT_NOTICE, FakeWeChat
from wx_mp_svr.testing.packets import read_xml

ACCOUNT = {
    "token": "SimulatorToken7",
    "appid": "wx0a1b2c3d4e5f6a7b",
    "aes_key": "simulatorSIMULATORsimulatorSIMULATOR0123456",
}
BASE = "http://127.0.0.1:5002"
KEY = "the-key-of-the-tests"
SCALE = 0.05
MODES = ("plain", "compatible", "safe")
HEAD = {"Content-Type": "application/json"}


def bot(on_message=echo, time_scale=SCALE, **settings):
    server = WxMpServer(
        on_message=on_message,
        on_subscribe=lambda event: "欢迎关注",
        **{**ACCOUNT, **settings},
        store="memory:",
    )
    server.scale = time_scale  # at which the page begins
    return server


def scale_of(target):
    return {"time_scale": getattr(target, "scale", 1.0)}


def wsgi(status="200 OK", body=b"success", seconds=0.0):
    """A bot of three lines, which may be as broken as it likes."""
    return servers.always(lambda environ: time.sleep(seconds) or body, status)


class Page:
    """What the page's JavaScript does, without it."""

    def __init__(self, target, **settings):
        self.app = make_app(target, **{**ACCOUNT, **scale_of(target), **settings}, key=KEY)
        self.client = self.app.test_client()

    def get(self, path, **options):
        return self.client.get(f"/{KEY}/{path}", base_url=BASE, **{"buffered": True, **options})

    def post(self, path, body=None):
        return self.client.post(f"/{KEY}/{path}", base_url=BASE, json=body if body is not None else {})

    def send(self, **spec):
        answer = self.post("push", spec)
        assert answer.status_code == 200, answer.text
        return answer.json["ids"]

    def text(self, content="你好", **spec):
        (number,) = self.send(msg_type="text", elements={"Content": content}, **spec)
        return self.done(number)

    def done(self, *numbers, seconds=10):
        """Wait for pushes to end, and return them; of several, a list."""

        def ended():
            found = {push["id"]: push for push in self.saved()["pushes"]}
            return set(numbers) <= found.keys() and [found[number] for number in numbers]

        pushes = until(ended, lambda: f"pushes {numbers} did not end", seconds)
        return pushes[0] if len(numbers) == 1 else pushes

    def saved(self):
        return json.loads(self.get("talk.json").text)

    def state(self):
        return self.snapshot()["state"]

    def snapshot(self):
        response = self.get("events", buffered=False)
        assert response.mimetype == "text/event-stream"
        first = next(iter(response.response))
        response.close()
        return json.loads(first.decode().splitlines()[0].removeprefix("data: "))


# -- who gets in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/events", "/wrong/", "/wrong/events", f"/{KEY}x/", "/é/"])
def test_nothing_answers_without_the_key(path):
    answer = Page(bot()).client.get(path, base_url=BASE)
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["push", "state", "clear", "build", "talk.json", "push/1/again"])
def test_no_action_without_the_key(path):
    page = Page(bot())
    assert page.client.post(f"/wrong/{path}", base_url=BASE, json={}).status_code == 403
    assert page.saved()["pushes"] == []


@pytest.mark.parametrize(
    "host", ["evil.example:5002", "127.0.0.1", "127.0.0.1:80", "localhost.evil:5002", "[::1]:5002", ""]
)
def test_a_foreign_host_header_is_refused(host):
    """A name that an attacker lets point to 127.0.0.1 is not ours (DNS rebinding)."""
    page = Page(bot())
    assert page.get("", headers={"Host": host}, environ_overrides={"SERVER_PORT": "5002"}).status_code == 403
    assert page.get("").status_code == 200
    assert page.get("", headers={"Host": "localhost:5002"}).status_code == 200


def test_a_form_of_another_site_cannot_post():
    """Even with the key it would have to be JSON, which needs the browser's leave."""
    page = Page(bot())
    answer = page.client.post(f"/{KEY}/push", base_url=BASE, data='{"xml": "<xml/>"}', content_type="text/plain")
    assert answer.status_code == 415


def test_a_browsers_ticket_is_good_once():
    """Who comes second may be the user: then both stay outside."""
    page = Page(bot())
    ticket = page.app.config["TICKET"]

    def enter(code):
        return page.client.get(f"/open/{code}", base_url=BASE)

    assert (enter("guessed").status_code, ticket.key) == (403, "")
    first = enter(ticket.code)
    assert (first.status_code, first.location) == (302, f"/{ticket.key}/")
    assert len({KEY, ticket.key, ticket.code, Page(bot()).app.config["TICKET"].code}) == 4
    assert page.client.get(first.location, base_url=BASE, buffered=True).status_code == 200
    second = enter(ticket.code)
    assert (second.status_code, second.content_type) == (403, "text/plain; charset=utf-8")
    assert "只能用一次" in second.text
    assert page.client.get(first.location, base_url=BASE).status_code == 403
    assert page.get("").status_code == 200


def test_a_talk_that_is_opened_has_32_megabytes_at_most():
    def status(size):
        told = {"CONTENT_LENGTH": str(size)}  # the body itself need not be there
        path = f"/{KEY}/talk.json"
        return page.client.post(path, base_url=BASE, data=b"{}", headers=HEAD, environ_overrides=told).status_code

    page, most = Page(bot()), 32 * 1024 * 1024
    assert (status(most), status(most + 1)) == (400, 413)


@pytest.mark.parametrize(
    "path", ["", "static/main.js", "static/style.css", "static/kinds.json", "talk.json", "nothing"]
)
def test_the_browser_is_told_to_run_and_load_nothing_else(path):
    headers = Page(bot()).get(path).headers
    assert headers["Content-Security-Policy"].split("; ") == [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


def test_the_page_needs_nothing_from_elsewhere():
    page = Page(bot())
    html = page.get("").text
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == ["static/icon.svg", "static/style.css", "static/main.js"]
    types = {"main.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
    assert {name: page.get(f"static/{name}").mimetype for name in types} == types
    assert (
        page.get("static/main.js").mimetype_params
        == page.get("static/style.css").mimetype_params
        == {"charset": "utf-8"}
    )
    assert page.get("static/kinds.json").mimetype == "application/json"
    assert page.get("talk.json").headers["Content-Disposition"] == 'attachment; filename="wechat-talk.json"'
    assert page.get("talk.json").mimetype == "application/json"
    page.text()
    assert page.get("push/1/curl").content_type == "text/plain; charset=utf-8"
    for path in ("none.js", "..", "__init__.py", "../talk.py", "%2e%2e/talk.py", "..%5ctalk.py"):
        assert page.get(f"static/{path}").status_code == 404


def test_no_secret_reaches_the_browser():
    """Neither the Token nor the EncodingAESKey, in no mode, nowhere."""
    page = Page(bot())
    for mode in MODES:
        page.post("state", {"mode": mode})
        page.text(f"in {mode}")
    seen = [page.get(path).text for path in ("", "talk.json", "static/kinds.json")]
    seen += [page.get(f"push/{number}/{form}").text for number in (1, 2, 3) for form in ("curl", "pytest")]
    seen.append(json.dumps(page.snapshot()))
    for secret in (ACCOUNT["token"], ACCOUNT["aes_key"]):
        assert not [text for text in seen if secret in text]


def test_serve_tells_its_url_and_ends_on_ctrl_c(tmp_path):
    """The URL holds a key that nobody can guess, and no other address of this machine answers."""
    code = (
        "from wx_mp_svr.desk.simulator import serve\n"
        "serve('http://127.0.0.1:9/', token='abc', port=0, open_browser=False, on_ready=lambda u: print(u, flush=True))"
    )
    env = servers.environment(tmp_path, {})
    with servers.printing(code, env) as process:
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url)
        with urllib.request.urlopen(url) as answer:
            assert "微信公众号模拟器" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            urllib.request.urlopen(url[:-2] + "/")
        caught.value.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", urllib.parse.urlsplit(url).port), timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def served_until_ctrl_c(visit, target, **given):
    """Serve in this thread, let another one visit, and press Ctrl-C; return what was found."""

    def story(url):
        try:
            return visit(url)
        finally:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    visits = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as pool:
            serve(
                bot(), **{**ACCOUNT, "port": 0, "on_ready": lambda url: visits.append(pool.submit(story, url)), **given}
            )
            return visits[0].result()
    except KeyboardInterrupt:
        pytest.fail("serve() does not end on Ctrl-C")
    finally:
        signal.signal(signal.SIGINT, before)


def test_serve_opens_a_browser_with_a_ticket_and_keeps_the_talk(monkeypatch, tmp_path, caplog):
    """For that of this folder. The key does not stand in the browser's command line, and no address is logged."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def visit(url):
        ticket = until(lambda: opened)[0]
        with urllib.request.urlopen(ticket) as answer:
            page = answer.url
        body = json.dumps({"msg_type": "text", "elements": {"Content": "还在吗"}}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{page}push", body, HEAD)).close()
        until(lambda: kept(page))
        return url, ticket, page

    def kept(url):
        with urllib.request.urlopen(f"{url}talk.json") as answer:
            return [push["fields"]["Content"] for push in json.loads(answer.read())["pushes"]]

    url, ticket, page = served_until_ctrl_c(visit, bot())
    base, key = url[:-33], url[-33:-1]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", base)
    assert re.fullmatch(rf"{base}open/[\w-]{{32}}", ticket)
    assert re.fullmatch(rf"{base}[\w-]{{32}}/", page)
    assert key not in ticket + page
    assert "GET" not in caplog.text

    assert served_until_ctrl_c(kept, bot(max_held=9), open_browser=False) == ["还在吗"]
    assert len(opened) == 1


def test_who_leaves_before_the_page_is_there_leaves_no_file_open():
    """Python would say so (ResourceWarning), and pytest fail."""

    def visit(url):
        where = urllib.parse.urlsplit(url)
        for _ in range(3):
            with socket.create_connection((where.hostname, where.port), timeout=5) as browser:
                browser.sendall(f"GET {where.path} HTTP/1.0\r\nHost: {where.netloc}\r\n\r\n".encode())
                assert browser.recv(1) == b"H"  # the rest is thrown away: the connection is reset
        with urllib.request.urlopen(url) as answer:
            return answer.headers["Content-Type"], answer.read()

    kind, page = served_until_ctrl_c(visit, bot(), open_browser=False)
    assert kind == "text/html; charset=utf-8"
    assert page.startswith(b"<!doctype html>") and page.rstrip().endswith(b"</html>")


def test_a_taken_port_is_said(capsys):
    with servers.in_thread(wsgi()) as url, pytest.raises(OSError, match="taken"):
        serve(bot(), **ACCOUNT, port=int(url.rsplit(":")[-1]), open_browser=False)


# -- every message and event -----------------------------------------------------------------------------------------


def test_every_kind_of_the_protocol_is_in_the_table():
    rows = {(row["msg_type"], row["event"].lower()) for row in KINDS}
    assert {kind for kind, event in rows if not event} >= MESSAGES.keys()
    assert {event for _, event in rows} >= EVENTS.keys()


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_is_sent_and_understood(mode):
    """The elements arrive as they stand in the table, nested and repeated ones as well."""
    seen, lock = [], threading.Lock()

    def note(req):
        with lock:
            seen.append(req)

    server = bot(note, mode=mode, time_scale=1.0, **({"aes_key": None} if mode == "plain" else {}))
    server.on_event(note)
    page = Page(server, mode=mode)
    numbers = []
    for start in range(0, len(KINDS), 20):  # a few at a time, as a person would
        chunk = [
            page.send(**{name: row[name] for name in ("msg_type", "event", "elements")})[0]
            for row in KINDS[start : start + 20]
        ]
        numbers += chunk
        page.done(*chunk)
    pushes = page.done(*numbers)
    assert [push["tries"][0]["outcome"] for push in pushes] == ["answered"] * len(KINDS)
    types = {type(req).__name__ for req in seen}
    assert len(types) > 80
    assert page.done(numbers[9])["reply"]["content"] == "欢迎关注"


def test_the_pytest_export_of_every_kind_passes(monkeypatch):
    """The text that is copied is a test, and it holds."""
    page = Page(bot(), mode="safe")
    other = bot()
    monkeypatch.setitem(sys.modules, "demo", SimpleNamespace(server=other))
    for row in KINDS:
        (number,) = page.send(**{name: row[name] for name in ("msg_type", "event", "elements")})
        page.done(number)
    text = page.get(f"push/{number}/pytest").text
    assert text.count("wechat.send_") == len(KINDS)
    names = {}
    exec(compile(text, "copied", "exec"), names)
    names["test_talk"]()


def run_copied(page, number, monkeypatch, server):
    """Run what is copied against a bot; a talk of one push has a name of its own."""
    monkeypatch.setitem(sys.modules, "demo", SimpleNamespace(server=server))
    text = page.get(f"push/{number}/pytest").text
    names = {}
    exec(compile(text, "copied", "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test()
    return text


def test_the_pytest_export_holds_the_whole_talk(monkeypatch):
    """What the bot remembers comes about as it did; links are tapped, and what was repeated is repeated."""

    def count(req):
        if req.content == "长":
            return "很长。" * 500
        req.session["n"] = req.session.get("n", 0) + 1
        return str(req.session["n"])

    page = Page(bot(count))
    page.text("一")
    page.text("二", openid="oAnother")
    page.text("三")
    (same,) = page.post("push/3/again", {"new": False}).json["ids"]
    page.done(same)
    long = page.text("长")
    (link,) = [part for part in long["reply"]["parts"] if not isinstance(part, str)]
    (tap,) = page.send(msg_type="text", elements={"Content": link["words"], "bizmsgmenuid": link["menu_id"]})
    page.done(tap)
    text = run_copied(page, tap, monkeypatch, bot(count))
    assert [text.count(call) for call in (".send_text(", ".send_xml(result_3.xml)", ".tap(result_5)")] == [4, 1, 1]
    assert text.count("content == '2'") == 2  # and the other user's is their first


def test_a_saved_talk_holds_what_the_bot_remembers():
    def count(req):
        req.session["n"] = req.session.get("n", 0) + 1
        return str(req.session["n"])

    page, other = Page(bot(count)), Page(bot(count))
    page.text()
    page.text()
    assert list(page.saved()["sessions"].values()) == [{"n": 2}]
    assert other.post("talk.json", page.saved()).status_code == 200
    assert other.text()["reply"]["content"] == "3"
    assert "sessions" not in Page(bot()).saved()


def test_the_pytest_export_expects_what_came_whatever_it_was(monkeypatch):
    """News, a fault notice, nothing, a page with a link whose number is another one each time."""
    answers = {"news": Article("题目", "摘要"), "broken": {"no": "reply"}, "nothing": None, "long": "很长。" * 500}
    page = Page(bot(lambda req: answers[req.content]))
    for content, expected in (
        ("news", "'Title': '题目'"),
        ("broken", "出错"),
        ("nothing", "result.type == ''"),
        ("long", "startswith('很长。"),
    ):
        push = page.text(content)
        assert expected in run_copied(page, push["id"], monkeypatch, bot(lambda req: answers[req.content]))


def test_the_pytest_export_names_the_module_that_holds_the_bot(monkeypatch, tmp_path):
    """A script's own name, not __main__."""
    server, script = bot(), ModuleType("__main__")
    script.__file__, script.my_bot = str(tmp_path / "echo_bot.py"), server
    page = Page(server)
    page.text()
    assert page.get("push/1/pytest").text.startswith("from demo import server  #")
    monkeypatch.setitem(sys.modules, "a_script", script)
    text = page.get("push/1/pytest").text
    assert text.startswith("from echo_bot import my_bot\n")
    assert "my_bot.test_client()" in text


@pytest.mark.parametrize("mode", MODES)
def test_the_pytest_export_for_a_url_asks_that_url(mode, monkeypatch):
    """With the account of the environment: none of it is in the text."""
    server = bot(mode=mode, **({"aes_key": None} if mode == "plain" else {}))
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(f"WX_MP_{name.upper()}", value)
    with servers.in_thread(server) as base:
        page = Page(f"{base}/wx_mp_cb", mode=mode)
        page.text()
        text = page.get("push/1/pytest").text
        assert f"FakeWeChat('{base}/wx_mp_cb', token=os.environ" in text
        assert not [value for value in ACCOUNT.values() if value in text]
        names = {}
        exec(compile(text, "copied", "exec"), names)
        names["test_text"]()


def test_the_pytest_export_for_another_wsgi_application_is_a_test_too():
    page = Page(wsgi())
    page.text()
    text = page.get("push/1/pytest").text
    compile(text, "copied", "exec")
    assert "FakeWeChat(server, token=os.environ" in text


def test_the_bot_remembers_its_talks_when_its_speed_changes():
    runs = []
    page = Page(bot(lambda req: runs.append(req.msg_id) or req.content, time_scale=1.0))
    page.text("one")
    page.post("state", {"scale": 0.05})
    (same,) = page.post("push/1/again", {"new": False}).json["ids"]
    assert page.done(same)["reply"]["content"] == "one"
    assert len(runs) == 1


def test_the_curl_export_is_the_exact_request():
    page = Page("http://127.0.0.1:9/wx?own=1", mode="safe")
    page.post("state", {"scale": SCALE})
    push = page.text("it's $HOME `x` \\ 你好\n第二行")
    words = shlex.split(page.get(f"push/{push['id']}/curl").text, comments=True)
    assert words[0] == "curl"
    assert words[words.index("--data-raw") + 1] == push["request"]["body"]
    assert f"http://127.0.0.1:9/wx?own=1&{push['request']['query']}" in words


def test_custom_xml_goes_out_as_it_is():
    """Broken XML, too: that is what it is for."""
    page = Page(bot(), mode="plain")
    (number,) = page.send(xml="<xml><broken")
    push = page.done(number)
    assert (push["request"]["body"], push["fields"]) == ("<xml><broken", {})
    assert (
        page.post("build", {"msg_type": "event", "event": "CLICK", "elements": {"EventKey": "k"}})
        .json["xml"]
        .count("<Event>")
    )


def nested(depth):
    return {"A": nested(depth - 1)} if depth else {}


AT_THE_EDGE = [
    # what is just possible, and what becomes of it where it is another thing
    ({"scale": 0.01}, {}),
    ({"scale": 1}, {}),
    ({"users": ["o" * 64, "-_9"]}, {}),
    ({"users": [f"o{n}" for n in range(50)]}, {}),
    ({"users": ["o1", "o2", "o1"]}, {"users": ["o1", "o2"]}),
    ({"faults": {}}, {"faults": {"delay": 0, "drop": [], "duplicate": False, "skew": 0}}),
    (
        {"faults": {"delay": 60, "drop": [3, 1, 3], "duplicate": 1, "skew": -(10**8)}},
        {"faults": {"delay": 60, "drop": [1, 3], "duplicate": False, "skew": -(10**8)}},
    ),
    ({"faults": {"delay": 0, "drop": [], "duplicate": True, "skew": 10**8}}, {}),
    ({"menu": {"button": []}}, {}),
    ({"menu": {"button": [{"name": "a", "sub_button": [{"name": "b"}] * 5}] * 3, "x": 1}}, {"menu": None}),
    ({"mode": "compatible"}, {}),
]


@pytest.mark.parametrize(("wanted", "becomes"), AT_THE_EDGE)
def test_what_is_just_possible_is_taken(wanted, becomes):
    page = Page(bot())
    assert page.post("state", wanted).status_code == 200
    if becomes == {"menu": None}:
        becomes = {"menu": {"button": wanted["menu"]["button"]}}  # and nothing else of it
    for name, value in {**wanted, **becomes}.items():
        assert page.state()[name] == value


@pytest.mark.parametrize(
    "elements",
    [nested(7), {"A": "x" * 65_536}, {"A" * 64: "x"}, {"_a.b-c9": 1}, {"A": [{"B": "x"}, {"B": ["y"]}]}],
)
def test_elements_may_be_as_large_as_a_packet(elements):
    page = Page(wsgi(), mode="plain", aes_key="")
    assert page.post("build", {"msg_type": "text", "elements": elements}).status_code == 200


def test_what_is_built_has_a_head_of_its_kind():
    page = Page(wsgi())
    page.post("state", {"users": ["oFirst"]})

    def built(**spec):
        return read_xml(page.post("build", spec).json["xml"])

    text = built(msg_type="text", elements={"Content": "a"})
    assert (text["FromUserName"], text["MsgType"], text["Content"], "Event" in text) == ("oFirst", "text", "a", False)
    assert int(text["MsgId"]) > 0
    event = built(msg_type="event", event="CLICK", elements={"EventKey": "k"}, openid="oOther")
    assert (event["FromUserName"], event["Event"], event["EventKey"], "MsgId" in event) == (
        *("oOther", "CLICK", "k", False),
    )
    assert built(elements={"InfoType": "x"}) == {"InfoType": "x"}
    assert page.post("build", {"xml": "x" * 65_536}).json == {"xml": "x" * 65_536}
    assert len(page.send(msg_type="text", count=20)) == 20


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("push", []),
        ("push", {"xml": 5}),
        ("push", {"xml": "x" * 70_000}),
        ("push", {"xml": "\ud800"}),
        ("push", {"msg_type": "text", "elements": {"Content": None}}),
        ("push", {"msg_type": "text", "elements": {"a b": "x"}}),
        ("push", {"msg_type": "text", "elements": []}),
        ("push", {"msg_type": "text", "elements": {"A": True}}),
        ("push", {"msg_type": 1}),
        ("push", {"msg_type": "text", "count": 21}),
        ("push", {"msg_type": "text", "count": True}),
        ("push", {"msg_type": "text", "count": 0}),
        ("push", {"msg_type": "x" * 201}),
        ("push", {"msg_type": "text", "openid": "\ud800"}),
        ("push", {"msg_type": "event", "event": 1}),
        ("push", {"xml": "x" * 65_537}),
        ("push", {"msg_type": "text", "elements": {"A": 1.5}}),
        ("push", {"msg_type": "text", "elements": {"1A": "x"}}),
        ("push", {"msg_type": "text", "elements": {"A" * 65: "x"}}),
        ("push", {"msg_type": "text", "elements": {"Ａ": "x"}}),
        ("push", {"msg_type": "text", "elements": {"A": "x" * 65_537}}),
        ("push", {"msg_type": "text", "elements": nested(8)}),
        ("state", {"token": "x"}),
        ("state", {"mode": "none"}),
        ("state", {"mode": "plain", "scale": 2}),
        ("state", {"scale": 0}),
        ("state", {"scale": 0.009}),
        ("state", {"scale": 1.001}),
        ("state", {"scale": "1"}),
        ("state", {"scale": True}),
        ("state", {"users": []}),
        ("state", {"users": ["<b>"]}),
        ("state", {"users": "o1"}),
        ("state", {"users": [1]}),
        ("state", {"users": ["o" * 65]}),
        ("state", {"users": [f"o{n}" for n in range(51)]}),
        ("state", {"faults": []}),
        ("state", {"faults": {"delay": "1"}}),
        ("state", {"faults": {"delay": 61}}),
        ("state", {"faults": {"delay": -1}}),
        ("state", {"faults": {"drop": 1}}),
        ("state", {"faults": {"drop": [0]}}),
        ("state", {"faults": {"drop": [4]}}),
        ("state", {"faults": {"skew": 10**8 + 1}}),
        ("state", {"faults": {"skew": -(10**8) - 1}}),
        ("state", {"menu": []}),
        ("state", {"menu": {"button": {}}}),
        ("state", {"menu": {"button": [{"name": "a", "sub_button": [{"name": "b"}] * 6}]}}),
        ("state", {"menu": {"button": [{"name": "a", "sub_button": [{"name": ""}]}]}}),
        ("state", {"menu": {"button": [{"name": "a", "sub_button": {}}]}}),
        ("state", {"menu": {"button": [{"name": "a" * 20_000}]}}),
        ("state", {"menu": {"button": [{"name": 1}]}}),
        ("state", {"menu": {"button": [{"name": "a"}] * 4}}),
        ("state", {"menu": {"button": [{"name": ""}]}}),
        ("state", {"menu": {"button": [{}] * 4}}),
        ("state", {"menu": {"button": ["x"]}}),
        ("talk.json", {}),
        ("talk.json", {"wx-mp-svr": "talk", "pushes": [1]}),
        ("talk.json", {"wx-mp-svr": "talk", "pushes": [{"id": 1}]}),
        ("talk.json", {"wx-mp-svr": "talk", "pushes": [], "sessions": {"o": 1}}),
        ("talk.json", {"wx-mp-svr": "talk", "pushes": [], "sessions": {"<b>": {}}}),
    ],
)
def test_nonsense_is_refused(path, body):
    page = Page(bot())
    before = page.snapshot()
    assert page.post(path, body).status_code == 400
    assert page.snapshot() == before


# -- what can be done with it ----------------------------------------------------------------------------------------


def test_the_inspector_knows_everything_about_a_try():
    page = Page(bot())
    push = page.text("你好😁")
    (attempt,) = push["tries"]
    assert "<Encrypt>" in push["request"]["body"]
    assert "你好😁" in push["xml"]
    assert "你好😁" in attempt["xml"]
    assert "<MsgSignature>" in attempt["reply"]
    assert attempt["bytes"] == len(attempt["reply"].encode())
    assert {check["level"] for check in attempt["checks"]} == {"ok"}
    traces = [*push["request"]["signatures"], *attempt["signatures"]]
    assert [trace["name"] for trace in traces] == ["signature", "msg_signature", "MsgSignature"]
    for trace in traces:
        assert trace["sha1"] == trace["claimed"]
        assert ["Token", "******"] in trace["parts"]
        assert "******" in trace["joined"]


def test_a_resent_message_is_new_and_a_repeated_one_is_known():
    runs = []
    page = Page(bot(lambda req: runs.append(req.msg_id) or req.content))
    first = page.text("one")
    (same,) = page.post("push/1/again", {"new": False}).json["ids"]
    assert page.done(same)["xml"] == first["xml"]
    assert len(runs) == 1
    (new,) = page.post("push/1/again", {"new": True}).json["ids"]
    page.done(new)
    burst = page.post("push/1/again", {"new": True, "burst": True}).json["ids"]
    page.done(*burst)
    assert (len(burst), len(runs), len(set(runs))) == (10, 12, 12)
    assert page.post("push/99/again").status_code == 404
    assert page.get("push/99/curl").status_code == 404


def test_a_dropped_try_is_made_up_for_by_the_next():
    page = Page(bot())
    page.post("state", {"faults": {"drop": [1]}})
    push = page.text("again")
    assert [attempt["outcome"] for attempt in push["tries"]] == ["hung-up", "answered"]
    assert push["reply"]["content"] == "again"


def test_a_delayed_request_counts_among_the_five_seconds():
    page = Page(bot())
    page.post("state", {"faults": {"delay": 6}})
    assert page.text()["reply"]["type"] == "fault"
    page.post("state", {"faults": {"delay": 1}, "scale": 0.5})
    assert 1 <= page.text()["tries"][0]["elapsed"] < 5


def test_a_duplicate_arrives_beside_the_original_and_runs_nothing():
    runs = []

    def slowly(req):
        runs.append(req)
        time.sleep(0.05)
        return "once"

    page = Page(bot(slowly))
    page.post("state", {"faults": {"duplicate": True}})
    page.text()
    original, copy = page.done(1, 2)
    assert copy["copy_of"] == 1
    assert copy["request"] == original["request"]
    assert (original["reply"]["content"], copy["reply"]["content"], len(runs)) == ("once", "once", 1)
    assert [len(push["tries"]) for push in (original, copy)] == [1, 1]  # each has its own
    talk = page.saved()
    assert page.post("talk.json", talk).status_code == 200  # and so the saved talk is whole
    assert len(page.saved()["pushes"]) == 2


@pytest.mark.parametrize("depth", [17, 300, 990, 10_000])
def test_a_reply_that_is_nested_without_end_does_not_keep_its_push_running(depth):
    deep = b"<xml>" + b"<a>" * depth + b"</a>" * depth + b"</xml>"
    page = Page(wsgi(body=deep), mode="plain")
    push = page.text()
    assert push["running"] is False
    assert push["reply"]["type"] == "fault"


def test_a_wrong_clock_is_refused_by_the_bot():
    page = Page(bot())
    page.post("state", {"faults": {"skew": -400}})
    push = page.text()
    assert [attempt["status"] for attempt in push["tries"]] == [403, 403, 403]
    assert push["reply"]["content"] == FAULT_NOTICE


def test_the_speed_of_a_bot_in_this_process_changes_with_wechats():
    server = bot(time_scale=1.0)
    page = Page(server)
    assert (page.state()["scale"], page.state()["bot_scales"]) == (1.0, True)
    page.post("state", {"scale": 0.05})
    assert page.text("fast")["scale"] == 0.05
    assert not server.app.testing  # the page talks to a copy, and this server stays as it is
    assert Page(wsgi()).state()["bot_scales"] is False


def test_without_a_key_there_is_plain_mode_only():
    page = Page(wsgi(), aes_key="")
    assert page.state()["modes"] == ["plain"]
    assert page.post("state", {"mode": "safe"}).status_code == 400


def test_users_and_menu_can_be_changed():
    page = Page(bot())
    (first,) = page.state()["users"]
    menu = {"button": [{"type": "click", "name": "你好", "key": "k"}]}
    assert page.post("state", {"users": [first, "oSecond"], "menu": menu}).status_code == 200
    assert (page.state()["users"], page.state()["menu"]) == ([first, "oSecond"], menu)
    assert page.text(openid="oSecond")["openid"] == "oSecond"


def test_a_talk_is_saved_and_opened():
    page, other = Page(bot()), Page(bot())
    page.text("kept")
    talk = page.saved()
    other.text("gone")
    assert other.post("talk.json", talk).status_code == 200
    (push,) = other.saved()["pushes"]
    assert (push["reply"]["content"], push["id"]) == ("kept", 2)
    assert other.state()["users"] == page.state()["users"]
    assert other.post("clear").status_code == 200
    assert other.saved()["pushes"] == []


def test_the_oldest_pushes_are_forgotten(monkeypatch):
    monkeypatch.setattr("wx_mp_svr.desk.simulator.talk.MAX_PUSHES", 3)
    page = Page(bot())
    for number in range(5):
        page.text(str(number))
    assert [push["id"] for push in page.saved()["pushes"]] == [3, 4, 5]


def test_a_page_that_cannot_keep_up_is_let_go():
    """It connects again and gets everything anew; the pushes never wait for it."""
    talk = Talk(FakeWeChat(wsgi(), **ACCOUNT, mode="plain"), name="")
    watching = talk.watch()
    next(watching)
    for _ in range(1001):
        talk.configure({"scale": 0.5})
    assert len(list(watching)) <= 1
    assert talk.push("<xml/>") == 1


def test_too_many_pushes_at_once_are_refused(monkeypatch):
    monkeypatch.setattr("wx_mp_svr.desk.simulator.talk.MAX_RUNNING", 2)
    page = Page(wsgi(seconds=0.2))
    page.send(msg_type="text", elements={}, count=2)
    assert page.post("push", {"msg_type": "text"}).status_code == 400


# -- the page in Chromium --------------------------------------------------------------------------------------------

GREEN, WHITE, LINK = "rgb(149, 236, 105)", "rgb(255, 255, 255)", "rgb(87, 107, 149)"


@pytest.fixture(scope="module")
def tabs(chromium):
    """Open a page that writes down what it asks for and what fails; the next test gets it again.

    A new one, or one of another site, would cost a process, and animations would cost as much as all the rest.
    """
    context = chromium.new_context(locale="zh-CN", reduced_motion="reduce")
    free = []

    def listen(page):
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("dialog", lambda dialog: (page.troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("console", lambda message: page.troubles.append(message.text) if message.type == "error" else None)
        page.set_default_timeout(8000)
        return page

    @contextmanager
    def tab():
        page = free.pop() if free else listen(context.new_page())
        page.requested, page.troubles = [], []
        yield page
        page.goto(lobby)
        free.append(page)

    with servers.in_thread(wsgi()) as lobby:  # where a page waits that nobody looks at
        yield tab
        context.close()


@pytest.fixture
def visit(tabs):
    """Open the page of a bot; at the end nothing may have been asked for but this machine, and nothing have failed."""
    stack = ExitStack()

    def open_page(target, width=1280, height=800, fresh=False, dark=False, **settings):
        app = make_app(target, **{**ACCOUNT, **scale_of(target), **settings}, key=KEY, name="回声公众号")
        base = stack.enter_context(servers.in_thread(app))
        if not fresh:  # or the first user follows the account
            app.test_client().post(f"/{KEY}/clear", base_url=base, json={})
        page = stack.enter_context(tabs())
        stack.callback(lambda: check(page, base))
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.goto(f"{base}/{KEY}/")
        page.wait_for_selector("#menu button", state="attached")
        return page

    def check(page, base):
        assert page.troubles == []
        assert [url for url in page.requested if not url.startswith((base, "data:"))] == []

    with stack:
        yield open_page


def say(page, text):
    page.fill("#input", text)
    page.press("#input", "Enter")


def pick(page, tile):
    page.click("#plus")
    page.click(f".tiles button:text-is('{tile}')")


def bubbles(page, who, kind=".bubble"):
    return page.locator(f"#log .line.{who} {kind}")


def shows(page, selector, count):
    """Wait until so many are there. Not `wait_for_function`, whose eval the page's policy forbids."""
    end = time.monotonic() + 8
    while page.locator(selector).count() != count:
        assert time.monotonic() < end, f"{page.locator(selector).count()} {selector} instead of {count}"
        page.wait_for_timeout(20)


def unfold(page):
    """Open what is folded because it is good."""
    page.evaluate("for (const block of document.querySelectorAll('#detail details')) block.open = true")
    page.wait_for_selector("#detail .checks li")


def style(locator, name):
    return locator.evaluate("(node, name) => getComputedStyle(node).getPropertyValue(name)", name)


def test_a_text_goes_out_green_on_the_right_and_comes_back_white_on_the_left(visit):
    page = visit(bot())
    say(page, "你好😁")
    mine, theirs = bubbles(page, "user"), bubbles(page, "bot")
    theirs.wait_for()
    assert (mine.inner_text(), theirs.inner_text()) == ("你好😁", "你好😁")
    assert (style(mine, "background-color"), style(theirs, "background-color")) == (GREEN, WHITE)
    log, right, left = (node.bounding_box() for node in (page.locator("#log"), mine, theirs))
    middle = log["x"] + log["width"] / 2
    assert right["x"] > middle > left["x"] + left["width"]
    assert right["y"] < left["y"]
    faces = [page.locator(f"#log .line.{who} .avatar").bounding_box() for who in ("user", "bot")]
    assert all(face["width"] == face["height"] == 40 for face in faces)
    assert faces[0]["x"] > right["x"] + right["width"]
    assert faces[1]["x"] + 40 < left["x"]
    assert re.fullmatch(r"\d\d:\d\d", page.locator("#log .time").inner_text())
    assert page.input_value("#input") == ""


def test_newlines_and_blanks_stay(visit):
    page = visit(bot())
    page.fill("#input", "一")
    page.press("#input", "Shift+Enter")
    page.type("#input", "  二")
    page.click("#send")
    bubbles(page, "bot").wait_for()
    assert bubbles(page, "bot").text_content() == "一\n  二"
    assert bubbles(page, "bot").bounding_box()["height"] > 60


def test_an_image_and_a_voice_come_back(visit):
    page = visit(bot())
    pick(page, "图片")
    page.fill("dialog input[name=MediaId]", "my-picture")
    page.press("dialog input[name=MediaId]", "Enter")
    bubbles(page, "bot", ".picture").wait_for()
    assert [node.inner_text() for node in page.locator("#log .picture").all()] == ["my-picture", "my-picture"]
    mine, theirs = (bubbles(page, who, ".picture").bounding_box() for who in ("user", "bot"))
    assert mine["x"] > theirs["x"]
    page.click("[aria-label=发送语音]")
    page.click("dialog .primary")
    bubbles(page, "bot", ".voice").wait_for()
    seconds = [node.inner_text() for node in page.locator("#log .voice").all()]
    assert re.fullmatch(r"\d+″", seconds[0])
    assert seconds[0] == seconds[1]
    assert style(bubbles(page, "user", ".voice"), "background-color") == GREEN


def test_following_is_welcomed(visit):
    page = visit(bot())
    pick(page, "关注")
    bubbles(page, "bot").wait_for()
    assert page.locator("#log .system").inner_text() == "已关注"
    assert bubbles(page, "bot").inner_text() == "欢迎关注"
    pick(page, "取消关注")
    page.wait_for_selector("#log .system:text('已取消关注')")


def test_a_slow_answer_takes_three_tries_and_waits_behind_its_link(visit):
    release = threading.Event()

    def slow(req):
        release.wait(30)
        return "想好了：四十二"

    # At ten times the speed a busy machine's 0.4 s would be 4: a push that old means a full house, which answers at once.
    page = visit(bot(slow, time_scale=0.3), height=1000)
    say(page, "为什么？")
    page.wait_for_selector(".try[data-outcome=running]")
    link = page.locator("#log .line.bot .words-link")
    link.wait_for()
    rows = page.locator("#timeline button.try")
    assert [row.get_attribute("data-outcome") for row in rows.all()] == ["hung-up", "hung-up", "answered"]
    bars = [row.bounding_box() for row in rows.all()]
    assert bars[0]["x"] + bars[0]["width"] == pytest.approx(bars[1]["x"], abs=12)
    assert style(link, "color") == LINK
    release.set()
    link.click()
    page.wait_for_selector("#log .line.bot .bubble:text('四十二')")
    assert "查看回复" in bubbles(page, "user").last.inner_text()
    rows.first.click()
    assert "微信挂断了连接" in page.inner_text("#detail")


@pytest.mark.parametrize(
    ("target", "speed", "outcome", "check"),
    [
        pytest.param(wsgi("500 INTERNAL SERVER ERROR", b"oops"), "1", "error", "HTTP 200", id="500"),
        pytest.param(wsgi(seconds=1), "0.05", "hung-up", "", id="hangs"),
        pytest.param(wsgi(body=b'{"errcode": 0}'), "1", "error", "well-formed XML", id="garbage"),
    ],
)
def test_a_broken_bot_gets_the_fault_notice(visit, target, speed, outcome, check):
    page = visit(target, mode="plain")
    with page.expect_response("**/state"):
        page.select_option("#speed", speed)
    if speed != "1":
        page.wait_for_selector("#toolbar .hint:text('只有微信的 5 秒加快了')")
    say(page, "在吗")
    page.wait_for_selector(f"#log .system:text-is('{FAULT_NOTICE}')")
    rows = page.locator("#timeline button.try").all()
    assert [row.get_attribute("data-outcome") for row in rows] == [outcome] * 3
    wrong = page.locator("#detail .checks .wrong code").all_inner_texts()
    assert wrong == ([check] if check else [])
    assert ("微信挂断了连接" in page.inner_text("#detail")) == (outcome == "hung-up")
    assert bubbles(page, "bot").count() == 0


def test_the_inspector_shows_packets_signature_and_checks(visit):
    page = visit(bot(), height=1400)
    say(page, "看看")
    page.wait_for_selector("#detail .headline.ok")
    unfold(page)
    shown = page.inner_text("#detail")
    for expected in (
        "<Content><![CDATA[看看]]></Content>", "<Encrypt>", "msg_signature 的由来", "按字典序排列", "******", "SHA-1",
        "元素不重复", "no element twice", "通过", "字节", "encrypt_type", "content-type", "200",
    ):  # fmt: skip
        assert expected in shown, expected
    assert ACCOUNT["token"] not in page.content()
    with page.expect_response("**/state"):
        page.select_option("#mode", "plain")
    say(page, "明文")
    page.wait_for_selector("#detail .wrong:has-text('HTTP 200')")  # the bot is in safe mode and says no
    page.click("#timeline button.try >> nth=0")
    assert "看看" in page.inner_text("#detail")


def test_what_is_copied_as_pytest_runs(visit, tmp_path):
    page = visit(bot())
    say(page, "你好😁 'quoted' \\n")
    page.wait_for_selector("#detail .headline.warning:has-text('反斜杠加 n')")
    page.click("text=复制为 pytest")
    text = page.input_value("#copied")
    assert "server.test_client()" in text
    (tmp_path / "test_copied.py").write_text(text)
    env = {
        **servers.environment(tmp_path, servers.DEMO_ACCOUNT),
        "PYTHONPATH": f"{servers.DEMO}:{':'.join(filter(None, sys.path))}",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_copied.py"]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    page.keyboard.press("Escape")
    page.click("text=复制为 curl")
    assert page.input_value("#copied").startswith("# 时间戳")


HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)><b>bold</b>"
    '<a href="javascript:alert(3)">run</a><a href="data:text/html,<script>alert(4)</script>">data</a>'
    "<a href='weixin://bizmsgmenu?msgmenucontent=%3Cimg src=x onerror=alert(5)%3E&msgmenuid=1'><img src=x></a>"
)


def test_whatever_a_bot_sends_stays_text(visit):
    """No script runs, no element is made, no picture is fetched."""

    def hostile(req):
        if req.content == "news":
            return Article(
                "<script>alert(6)</script>",
                "<img src=x onerror=alert(7)>",
                "http://127.0.0.1:9/p",
                "javascript:alert(8)",
            )
        return HOSTILE

    page = visit(bot(hostile))
    say(page, "<img src=x onerror=alert(9)>")
    bubbles(page, "bot").wait_for()
    assert bubbles(page, "user").inner_text() == "<img src=x onerror=alert(9)>"
    assert "<script>alert(1)</script><img src=x onerror=alert(2)><b>bold</b>run" in bubbles(page, "bot").inner_text()
    say(page, "news")
    page.wait_for_selector(".news")
    page.click(".words-link")
    shows(page, ".line.user", 3)
    page.click("#timeline button.try >> nth=0")
    assert page.locator("script").count() == 1
    assert page.locator("img, iframe, object, b b, #log b b").count() == 0
    assert page.locator("a[href^=javascript], a[href^='data:']").count() == 0
    assert page.locator("[onerror], [onclick]").count() == 0


def test_links_open_in_a_new_tab_that_knows_nothing_of_us(visit):
    page = visit(bot(lambda req: '看<a href="https://example.com/a?b=1&c=2">这里</a>或 https://example.com/d。'))
    say(page, "link")
    links = bubbles(page, "bot").locator("a")
    links.first.wait_for()
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://example.com/a?b=1&c=2",
        "https://example.com/d",
    ]
    for link in links.all():
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")
        assert style(link, "color") == LINK


def test_the_menu_sends_its_events(visit):
    heard = []
    server = bot()
    server.on_event(lambda event: heard.append((event.event, event.event_key)) or f"按了 {event.event_key}")
    page = visit(server)
    page.click("[aria-label=切换到菜单]")
    page.click("#menu >> text=今日歌曲")
    page.wait_for_selector("#log .bubble:text('按了 V1001_TODAY_MUSIC')")
    page.click("#menu >> text=更多")
    page.click("#menu >> text=帮助")
    page.wait_for_selector("#log .bubble:text('按了 V1001_HELP')")
    page.click("#menu >> text=官网")
    page.wait_for_selector("#log .system a[href='https://example.com/']")
    until(lambda: len(heard) == 3)  # the page shows it when it is sent
    assert heard == [("CLICK", "V1001_TODAY_MUSIC"), ("CLICK", "V1001_HELP"), ("VIEW", "https://example.com/")]


def test_the_menu_is_edited_as_wechats_api_takes_it(visit):
    page = visit(bot())
    page.click("#more")
    assert ACCOUNT["appid"] in page.inner_text("dialog")
    page.fill("#menu-json", "{")
    page.click("text=保存菜单")
    page.wait_for_selector("#toast:has-text('不是 JSON')")
    page.fill("#menu-json", '{"button": [{"type": "click", "name": "<b>新</b>", "key": "k"}]}')
    page.click("text=保存菜单")
    page.wait_for_selector("dialog", state="hidden")
    page.click("[aria-label=切换到菜单]")
    page.wait_for_selector("#menu .entry button:text-is('<b>新</b>')")
    assert page.locator("#menu .entry").count() == 1


def test_a_form_sends_nested_elements_and_xml(visit):
    page = visit(bot())
    pick(page, "全部种类")
    page.select_option("#kind", label="扫码推事件　scancode_push")
    page.fill("dialog input[name=ScanResult]", "result-1")
    page.click("text=编辑 XML")
    xml = page.input_value("#xml")
    assert "<ScanResult><![CDATA[result-1]]></ScanResult>" in xml
    page.fill("#xml", xml.replace("result-1", "result-2"))
    page.click("dialog .primary")
    page.wait_for_selector("#detail pre:has-text('result-2')")
    pick(page, "自定义 XML")
    page.fill("#xml", "<xml><MsgType>new_kind</MsgType></xml>")
    page.click("dialog .primary")
    page.wait_for_selector("#log .system:text-is('new_kind')", state="attached")


def test_two_users_have_two_talks(visit):
    page = visit(bot())
    say(page, "第一位")
    bubbles(page, "bot").wait_for()
    page.select_option("#user", "+")
    shows(page, "#user option", 3)
    shows(page, "#log .line", 0)
    say(page, "第二位")
    bubbles(page, "bot").wait_for()
    assert bubbles(page, "user").inner_text() == "第二位"
    page.select_option("#user", index=0)
    page.wait_for_selector("#log .bubble:text('第一位')")


def test_faults_are_set_in_the_page(visit):
    page = visit(bot())
    page.click("#faults summary")
    page.check("#drop-1")
    page.wait_for_selector("#faults.active")
    say(page, "补上")
    bubbles(page, "bot").wait_for()
    rows = page.locator("#timeline button.try").all()
    assert [row.get_attribute("data-outcome") for row in rows] == ["hung-up", "answered"]


def test_a_reloaded_page_shows_the_same_talk(visit, tmp_path):
    page = visit(bot())
    say(page, "还在吗")
    bubbles(page, "bot").wait_for()
    page.reload()
    bubbles(page, "bot").wait_for()
    assert bubbles(page, "user").inner_text() == "还在吗"
    with page.expect_download() as download:
        page.click("#save-talk")
    download.value.save_as(tmp_path / "talk.json")
    page.click("#clear")
    page.click("dialog .danger")
    shows(page, "#log .line", 0)
    with page.expect_file_chooser() as chooser:
        page.click("#open-talk")
    chooser.value.set_files(tmp_path / "talk.json")
    bubbles(page, "bot").wait_for()


def test_a_narrow_window_has_tabs_and_no_overflow(visit):
    page = visit(bot(), width=380, height=720)
    say(page, "窄" * 60)
    bubbles(page, "bot").wait_for()
    overflow = "document.documentElement.scrollWidth > innerWidth"
    assert page.is_hidden("#inspector")
    assert page.evaluate(overflow) is False
    page.click("#tab-inspector")
    assert page.is_hidden("#phone")
    assert page.is_visible("#timeline button.try")
    assert page.evaluate(overflow) is False
    page.press("#tab-inspector", "ArrowLeft")
    assert page.is_visible("#input")


def test_everything_works_from_the_keyboard(visit):
    """Send, tap, inspect, open, close: the focus is in the input at first, always seen, and returns where it was."""

    def answer(req):
        return (
            "全文"
            if req.content == "看全文"
            else '<a href="weixin://bizmsgmenu?msgmenucontent=看全文&msgmenuid=1">看全文</a>'
        )

    page = visit(bot(answer))
    active = "(({ id, ariaLabel, innerText }) => id || ariaLabel || innerText)(document.activeElement)"

    def walk_to(name, key="Tab"):
        for _ in range(40):
            if page.evaluate(active) == name:
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"no visible focus on {name}"
                return
            page.keyboard.press(key)
        pytest.fail(f"{name} cannot be reached with {key}")

    assert page.evaluate(active) == "input"
    page.keyboard.type("键盘")
    page.keyboard.press("Enter")
    bubbles(page, "bot").wait_for()
    walk_to("看全文", "Shift+Tab")  # a tap
    page.keyboard.press("Enter")
    page.wait_for_selector("#log .bot .bubble:text-is('全文')")
    walk_to("log", "Shift+Tab")
    page.keyboard.press("ArrowUp")  # from line to line, and to the inspector
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail .headline .meta:has-text('#1 ')")
    walk_to("input")
    walk_to("plus")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first tile: an image
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    walk_to("faults-summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert page.get_attribute("#faults", "open") is None
    assert page.evaluate(active) == "faults-summary"
    walk_to(page.get_attribute(".push.chosen .try", "aria-label"))
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#detail .headline .meta:has-text('#2 ')")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert page.locator("#timeline [tabindex='0']").count() == 1  # one tab stop
    page.keyboard.press("Tab")
    assert page.evaluate(active) == "detail"
    assert page.get_attribute("#log", "role") == "log"
    unlabelled = (
        "[...document.querySelectorAll('button, input, select, textarea')]"
        ".filter((node) => !(node.innerText || node.ariaLabel || node.labels?.length)).length"
    )
    assert page.evaluate(unlabelled) == 0


def test_whoever_comes_for_the_first_time_is_welcomed_and_sees_what_to_try(visit):
    server = bot(lambda req: f"你说 {req.content}")
    page = visit(server, fresh=True)
    page.wait_for_selector("#log .bot .bubble:text-is('欢迎关注')")
    assert page.locator("#suggestions button").count() == 3
    page.click("#suggestions >> text=帮助")
    page.wait_for_selector("#log .bot .bubble:text-is('你说 帮助')")
    assert page.is_hidden("#suggestions")
    page.reload()
    page.wait_for_selector("#log .bot .bubble:text-is('你说 帮助')")
    assert page.locator("#log .system").count() == 1  # and nobody has followed twice


def test_what_a_user_does_not_see_is_said_where_it_happened(visit):
    page = visit(bot(lambda req: None if req.content == "嗯" else req.content))
    say(page, "嗯")
    page.wait_for_selector("#log .system:text-is('机器人没有回复（success）')")
    pick(page, "取消关注")
    page.wait_for_selector("#log .system small:text-is('用户看不到回复')")
    say(page, "好")
    page.wait_for_selector("#log .bot .bubble")
    page.click("text=同一 MsgId 再推")
    page.wait_for_selector("#log .system:text-is('消息 #3 又推送了一次（MsgId 相同）')")
    page.wait_for_selector("#detail .note:text-is('回复相同')")
    page.click("#faults summary")
    page.check("#duplicate")
    page.wait_for_selector("#faults.active")
    page.click("#detail .headline")  # outside
    assert page.get_attribute("#faults", "open") is None
    say(page, "双份")
    page.wait_for_selector("#log .system:text-is('同一次推送 #5 又送达一份')")
    shows(page, "#log .user .bubble", 3)


def test_three_dots_wait_for_a_slow_answer(visit):
    release = threading.Event()
    page = visit(bot(lambda req: release.wait(10) and "好", time_scale=1.0))
    say(page, "慢慢来")
    page.wait_for_selector("#log .dots .waiting")
    page.wait_for_selector("#detail .headline.running")
    release.set()
    page.wait_for_selector("#log .bot .bubble:text-is('好')")
    shows(page, "#log .dots", 0)


def test_a_bubble_and_its_row_lead_to_each_other(visit):
    page = visit(bot())
    for text in ("一", "二", "三"):
        say(page, text)
        page.wait_for_selector(f"#log .bot .bubble:text-is('{text}')")
    page.click("#log .bot .bubble:text-is('一')")
    page.wait_for_selector("#timeline .push.chosen[data-push='1']")
    page.wait_for_selector("#detail .meta:has-text('#1 ')")
    page.click("#timeline .push[data-push='2'] .what")
    shows(page, "#log .chosen", 2)
    assert page.locator("#log .chosen .bubble").all_inner_texts() == ["二", "二"]


def test_a_message_is_changed_and_sent_again(visit):
    page = visit(bot())
    say(page, "第一句")
    page.wait_for_selector("#log .bot .bubble:text-is('第一句')")
    say(page, "第二句")
    page.wait_for_selector("#log .bot .bubble:text-is('第二句')")
    page.press("#input", "ArrowUp")
    assert page.input_value("#input") == "第二句"
    page.press("#input", "ArrowUp")
    assert page.input_value("#input") == "第一句"
    page.press("#input", "ArrowDown")
    page.press("#input", "ArrowDown")
    assert page.input_value("#input") == ""
    page.hover("#log .user .bubble:text-is('第一句')")
    page.click("#log .tools >> text=改")
    assert page.input_value("#input") == "第一句"
    page.keyboard.type("，改了")
    page.keyboard.press("Enter")
    page.wait_for_selector("#log .bot .bubble:text-is('第一句，改了')")
    pick(page, "位置")
    page.fill("dialog input[name=Label]", "西湖")
    page.press("dialog input[name=Label]", "Enter")
    page.wait_for_selector("#log .card.place:has-text('西湖')")
    page.hover("#log .card.place")
    page.click("#log .tools >> text=改")
    assert page.input_value("dialog input[name=Label]") == "西湖"
    assert "地点名称" in page.inner_text("dialog")


def test_enter_sends_a_form_from_any_of_its_fields(visit):
    page = visit(bot())
    pick(page, "全部种类")
    page.fill("dialog textarea[name=Content]", "表单")
    page.press("dialog textarea[name=Content]", "Enter")
    page.wait_for_selector("#log .bot .bubble:text-is('表单')")


def test_a_picture_is_pasted(visit):
    """Whatever its size, it is made so small that it stands in the packet; nothing is fetched."""
    page = visit(bot())
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 900, height: 700 });
          const paper = canvas.getContext("2d");
          for (let n = 0; n < 4000; n += 1) {
            paper.fillStyle = `hsl(${n * 7} 80% 50%)`;
            paper.fillRect((n * 37) % 900, (n * 91) % 700, 20, 20);
          }
          const blob = await new Promise((done) => canvas.toBlob(done));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([blob], "a.png", { type: "image/png" }));
          document.querySelector("#input").dispatchEvent(new ClipboardEvent("paste", { clipboardData, cancelable: true }));
        }"""
    )
    page.wait_for_selector("#log .user .picture img")
    assert page.locator("#log .user img").evaluate("(node) => node.naturalWidth") > 60


def test_a_dead_simulator_is_said_when_somebody_types(chromium, tmp_path):
    """And a page that was open finds it again when it is started again, with its talk."""
    port = servers.free_port()
    code = (
        "from wx_mp_svr.desk.simulator import serve\n"
        "from wx_mp_svr import WxMpServer\n"
        "bot = WxMpServer(token='abc', store='memory:', on_message=lambda req: req.content)\n"
        f"serve(bot, token='abc', port={port}, open_browser=False, on_ready=lambda u: print(u, flush=True))"
    )
    env = {**servers.environment(tmp_path, {}), "RUNTIME_DIRECTORY": str(tmp_path)}
    context = chromium.new_context(locale="zh-CN")
    try:
        with servers.printing(code, env) as process:
            page = context.new_page()
            page.set_default_timeout(10000)
            page.goto(process.stdout.readline().strip())
            page.wait_for_selector("#suggestions button")
            say(page, "还在吗")
            page.wait_for_selector("#log .bot .bubble:text-is('还在吗')")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        page.wait_for_selector("#offline", state="visible")
        page.press("#input", "a")
        page.wait_for_selector("#toast:has-text('模拟器没有在运行')")
        say(page, "这句留着")
        until(lambda: page.input_value("#input") == "这句留着")
        with servers.printing(code, env) as process:
            url = process.stdout.readline().strip()
            page.wait_for_url(url)
            page.wait_for_selector("#log .bot .bubble:text-is('还在吗')")
            assert page.is_hidden("#offline")
    finally:
        context.close()


def test_the_toolbar_is_one_row_on_a_phone(visit):
    page = visit(bot(), width=390, height=760)
    say(page, "好")
    page.wait_for_selector("#log .bot .bubble")
    page.click("#tab-inspector")
    controls = page.locator("#toolbar > *:not(.spacer, .hint)").all()
    assert max(node.bounding_box()["y"] for node in controls) < min(node.bounding_box()["y"] for node in controls) + 10
    assert page.evaluate("document.documentElement.scrollWidth > innerWidth") is False


CONTRAST = """() => {
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a > 0) return null; // over a picture
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest(".sr, option, svg")) continue;
    const under = ground(node);
    if (!under) continue;
    const [one, two] = [luminance(parse(getComputedStyle(node).color)), luminance(under)];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (contrast < 4.5) bad.push([contrast, node.tagName, node.className, node.textContent].join(" "));
  }
  return bad;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(visit, dark):
    def answer(req):
        match req.content:
            case "坏":
                raise KeyError("坏")
            case "图文":
                return Article("题目", "摘要", "", "https://example.com/")
        return '看<a href="https://example.com/">这里</a>'

    page = visit(bot(answer), dark=dark, height=1400)
    for text in ("坏", "图文", "https://example.com/ 好"):
        say(page, text)
        page.wait_for_selector(f"#timeline .push:has-text('{text}') [data-outcome=answered]")
    pick(page, "取消关注")
    page.wait_for_selector("#detail .headline.ok .meta:has-text('取消关注')")
    unfold(page)
    page.click("#timeline .push >> nth=0")
    page.click("#plus")
    assert page.evaluate(CONTRAST) == []
    page.click(".tiles >> text=图片")
    assert page.evaluate(CONTRAST) == []


def test_enter_belongs_to_the_input_method_while_it_composes(visit):
    page = visit(bot())
    page.fill("#input", "ni hao")
    page.dispatch_event("#input", "keydown", {"key": "Enter", "isComposing": True})
    assert page.input_value("#input") == "ni hao"


# -- in the words of check ---------------------------------------------------------------------------------------------


def test_a_bot_that_is_not_there_is_said_in_the_words_of_check():
    """Before anything is sent, and of each try; with the bot, the warning goes."""
    port = servers.free_port()
    page = Page(f"http://127.0.0.1:{port}/wx_mp_cb")
    page.snapshot()  # somebody opens the page
    problem = until(lambda: page.snapshot()["state"]["problem"])
    assert "没有程序在监听这个端口。先启动服务" in problem
    push = page.text("在吗")
    assert {attempt["advice"] for attempt in push["tries"]} == {
        "没有程序在监听这个端口。先启动服务（python bot.py 或 wx-mp-svr demo），并核对端口"
    }
    assert "ConnectionRefusedError" not in json.dumps([attempt["advice"] for attempt in push["tries"]])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (wsgi("403 FORBIDDEN", b"forbidden"), "请求被服务器拒绝（HTTP 403）。核对两边的 Token"),
        (wsgi("500 INTERNAL SERVER ERROR", b"oops"), "程序出错（HTTP 500）。看服务器日志中的错误堆栈"),
        (wsgi(body=b'{"errcode": 0}'), "回复的是 JSON"),
        (wsgi(), ""),
    ],
    ids=["403", "500", "JSON", "success"],
)
def test_what_is_wrong_with_a_try_is_said_in_the_words_of_check(target, words):
    push = Page(target).text("在吗")
    assert push["tries"][0]["advice"].startswith(words)
    assert bool(push["tries"][0]["advice"]) == bool(words)


def test_of_a_long_talk_the_newest_is_drawn_and_the_rest_on_demand(visit):
    page = visit(bot())
    for number in range(9):
        body = {"msg_type": "text", "elements": {"Content": f"第{number}批"}, "count": 10}
        assert page.request.post(f"{page.url}push", data=body).ok
    page.wait_for_selector("#log .earlier")
    shows(page, "#timeline .push", 80)
    shows(page, "#log .user .bubble", 80)
    page.click("#inspector .earlier")
    shows(page, "#timeline .push", 90)
    shows(page, "#log .user .bubble", 90)
    numbers = [int(row.get_attribute("data-push")) for row in page.locator("#timeline .push").all()]
    assert numbers == sorted(numbers)
    assert page.is_hidden("#log .earlier")


def test_what_the_server_forgets_the_page_forgets_too(visit, monkeypatch):
    """The oldest, in the chat and on the time line; what is left stands in order, and a marked text stays marked."""
    monkeypatch.setattr("wx_mp_svr.desk.simulator.talk.MAX_PUSHES", 5)
    page = visit(bot())
    for number in range(4):
        say(page, f"第{number}句")
        shows(page, "#log .bot .bubble", number + 1)
    page.wait_for_selector("#detail .headline.ok")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#detail pre'))")
    marked = page.evaluate("getSelection().toString()")
    assert "第3句" in marked
    for number in range(4, 8):  # without the page, where typing would unmark it
        page.request.post(f"{page.url}push", data={"msg_type": "text", "elements": {"Content": f"第{number}句"}})
        page.wait_for_selector(f"#log .bot .bubble:text-is('第{number}句')")
    shows(page, "#timeline .push", 5)
    assert "只留最近 5 次推送" in page.inner_text("#full")
    assert bubbles(page, "bot").all_inner_texts() == [f"第{number}句" for number in range(3, 8)]
    assert bubbles(page, "user").count() == 5
    assert page.evaluate("getSelection().toString()") == marked
