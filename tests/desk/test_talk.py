"""The talk of the simulator without its page: what it keeps, what watchers hear, and which saved talks it opens."""

import copy
import json
import socket
import threading
from contextlib import contextmanager

import pytest
import servers
from servers import always
from waiting import until

from wx_mp_svr import WxMpServer
from wx_mp_svr.clock import REAL, FastClock
from wx_mp_svr.desk.simulator import talk as talks
from wx_mp_svr.desk.simulator.talk import KINDS, MAX_LINE, MAX_LINES, MENU, Talk, new_openid
from wx_mp_svr.testing import FakeWeChat

TOKEN, APPID, KEY = "TalksToken", "wx0a1b2c3d4e5f6a7b", "t" * 43
SAFE = {"appid": APPID, "aes_key": KEY}


@contextmanager
def hanging():
    """A bot that answers when this ends, and how often it was asked."""
    go, asked = threading.Event(), []

    def app(environ, start_response):
        asked.append(environ)
        go.wait(20)
        return always()(environ, start_response)

    try:
        yield app, asked
    finally:
        go.set()


def talk_of(target=None, *, name="名字", account=SAFE, **more):
    return Talk(FakeWeChat(target or always(), token=TOKEN, **account), name=name, **more)


def state_of(talk):
    return json.loads(next(talk.watch()))["state"]


def pushes_of(talk):
    return json.loads(next(talk.watch()))["pushes"]


def say(talk, content="你好", **spec):
    return talk.push(talk.build({"msg_type": "text", "elements": {"Content": content}, **spec}))


def over(talk, *numbers):
    return [until(lambda n=n: not (push := talk.get(n))["running"] and push) for n in numbers]


# -- what the page begins with -----------------------------------------------------------------------------------------


def test_a_talk_begins_with_the_account_without_its_secrets():
    talk = talk_of(secret="known again")
    state = state_of(talk)
    [user] = state.pop("users")
    assert state == {
        "name": "名字",
        "target": "本进程内",
        "problem": "",
        "broken": False,
        "appid": APPID,
        "token": "******",
        "aes_key": "******",
        "modes": ["plain", "compatible", "safe"],
        "mode": "safe",
        "scale": 1.0,
        "bot_scales": False,
        "faults": {"delay": 0, "drop": [], "duplicate": False, "skew": 0},
        "secret": "known again",
        "keeps": 500,
        "fresh": True,
        "menu": MENU,
    }
    assert (user[0], len(user)) == ("o", 28)
    assert user.isalnum()


def test_without_a_key_there_is_only_plain_mode_and_a_url_is_shown():
    state = state_of(talk_of("http://127.0.0.1:1/wx", account={}))
    assert (state["target"], state["aes_key"], state["modes"], state["mode"]) == (
        *("http://127.0.0.1:1/wx", "", ["plain"], "plain"),
    )


def test_people_who_make_up_openids_get_other_ones():
    made = {new_openid() for _ in range(200)}
    assert len(made) == 200
    assert all(one.isalnum() and len(one) == 28 and one.startswith("o") for one in made)


def test_a_bot_that_could_not_be_loaded_is_pushed_nothing():
    talk = talk_of(broken="语法错误")
    assert (state_of(talk)["broken"], state_of(talk)["problem"]) == (True, "语法错误")
    with pytest.raises(ValueError, match="没有加载成功"):
        say(talk)
    talk.follow()
    assert pushes_of(talk) == []


def test_whether_the_bot_can_be_reached_is_said_and_taken_back():
    port = servers.free_port()
    talk = talk_of(f"http://127.0.0.1:{port}/wx")
    talk.look()
    cause = "没有程序在监听这个端口。先启动服务（python bot.py 或 wx-mp-svr demo），并核对端口"
    assert until(lambda: state_of(talk)["problem"]) == f"连接 127.0.0.1:{port}：{cause}"
    with socket.create_server(("127.0.0.1", port)):
        talk.look()
        until(lambda: state_of(talk)["problem"] == "")


def test_the_first_user_follows_once_where_there_is_somebody_to_welcome_them():
    nobody = talk_of(f"http://127.0.0.1:{servers.free_port()}/wx")
    nobody.follow()
    assert pushes_of(nobody) == []
    with servers.in_thread(always()) as base:
        talk = talk_of(f"{base}/wx")
        talk.follow()
        talk.follow()
        [push] = over(talk, 1)
    assert (push["fields"]["Event"], push["fields"]["EventKey"]) == ("subscribe", "")
    assert push["openid"] == state_of(talk)["users"][0]
    assert len(pushes_of(talk)) == 1


# -- settings ----------------------------------------------------------------------------------------------------------

FAULTS = {"delay": 0, "drop": [], "duplicate": False, "skew": 0}
BUTTON = {"name": "好", "type": "click", "key": "k"}
READ = [
    ({"mode": "compatible"}, {"mode": "compatible"}),
    ({"scale": 0.01}, {"scale": 0.01}),
    ({"scale": 1}, {"scale": 1}),
    ({"faults": {}}, {"faults": FAULTS}),
    ({"faults": {"delay": 60}}, {"faults": {**FAULTS, "delay": 60}}),
    ({"faults": {"drop": [3, 1, 3]}}, {"faults": {**FAULTS, "drop": [1, 3]}}),
    ({"faults": {"duplicate": True}}, {"faults": {**FAULTS, "duplicate": True}}),
    ({"faults": {"duplicate": 1}}, {"faults": FAULTS}),
    ({"faults": {"skew": -(10**8)}}, {"faults": {**FAULTS, "skew": -(10**8)}}),
    ({"users": ["o_1", "o-2", "o_1"]}, {"users": ["o_1", "o-2"]}),
    ({"users": ["o" * 64]}, {"users": ["o" * 64]}),
    ({"users": [f"o_{n}" for n in range(50)]}, {"users": [f"o_{n}" for n in range(50)]}),
    ({"menu": {"button": []}}, {"menu": {"button": []}}),
    ({"menu": {"button": [BUTTON] * 3, "more": 1}}, {"menu": {"button": [BUTTON] * 3}}),
    ({"menu": {"button": [{"name": "下", "sub_button": [BUTTON] * 5}]}}, None),
]
REFUSED = [
    ({"colour": "red"}, "没有这样的设置"),
    ({"mode": "secure"}, "没有 EncodingAESKey"),
    ({"scale": 0.009}, "须为 0.01 到 1 之间的数"),
    ({"scale": 1.01}, "须为 0.01 到 1 之间的数"),
    ({"scale": True}, "须为 0.01 到 1 之间的数"),
    ({"scale": "1"}, "须为 0.01 到 1 之间的数"),
    ({"faults": []}, "故障设置不对"),
    ({"faults": {"drop": 1}}, "故障设置不对"),
    ({"faults": {"drop": [0]}}, "须为 1 到 3 之间的数"),
    ({"faults": {"drop": [4]}}, "须为 1 到 3 之间的数"),
    ({"faults": {"delay": -1}}, "须为 0 到 60 之间的数"),
    ({"faults": {"delay": 61}}, "须为 0 到 60 之间的数"),
    ({"faults": {"skew": 10**8 + 1}}, "须为 -1e[+]08 到 1e[+]08 之间的数"),
    ({"users": []}, "用户须有 1～50 个"),
    ({"users": [f"o_{n}" for n in range(51)]}, "用户须有 1～50 个"),
    ({"users": "o_1"}, "用户须有 1～50 个"),
    ({"users": [1]}, "OpenID 由字母、数字"),
    ({"users": ["o" * 65]}, "OpenID 由字母、数字"),
    ({"users": ["ｏ"]}, "OpenID 由字母、数字"),
    ({"menu": []}, "菜单须为"),
    ({"menu": {"button": {}}}, "菜单须为"),
    ({"menu": {"button": [BUTTON] * 4}}, "菜单须为"),
    ({"menu": {"button": [{**BUTTON, "key": "k" * 20_000}]}}, "菜单须为"),
    ({"menu": {"button": [1]}}, "每个按钮须有 name"),
    ({"menu": {"button": [{"name": ""}]}}, "每个按钮须有 name"),
    ({"menu": {"button": [{"name": "下", "sub_button": {}}]}}, "每个按钮须有 name"),
    ({"menu": {"button": [{"name": "下", "sub_button": [BUTTON] * 6}]}}, "每个按钮须有 name"),
    ({"menu": {"button": [{"name": "下", "sub_button": [{}]}]}}, "每个按钮须有 name"),
]


@pytest.mark.parametrize(("wanted", "read"), READ, ids=str)
def test_settings_are_read(wanted, read):
    talk = talk_of()
    before = state_of(talk)
    talk.configure(wanted)
    assert state_of(talk) == {**before, **(read or wanted)}


@pytest.mark.parametrize(("wanted", "words"), REFUSED, ids=str)
def test_settings_that_are_none_change_nothing(wanted, words):
    talk = talk_of()
    before = state_of(talk)
    with pytest.raises(ValueError, match=words):
        talk.configure({"users": ["o_new"], **wanted})
    assert state_of(talk) == before


def test_a_bot_in_this_process_gets_the_clock_of_each_scale():
    """A copy of it each time; and none where the scale stays as it is."""

    def rescale(scale):
        asked.append(scale)
        copies.append(WxMpServer(token=TOKEN, store="memory:", on_message=lambda req: f"{scale:g}"))
        return copies[-1], clocks[scale]

    asked, copies, clocks = [], [], {0.5: FastClock(2), 0.25: FastClock(4)}
    talk = talk_of(account={}, rescale=rescale)
    assert state_of(talk)["bot_scales"] is True
    for scale in (1, 0.5, 0.5, 0.25):
        talk.configure({"scale": scale})
    talk.configure({"mode": "plain"})
    assert asked == [0.5, 0.25]
    [push] = over(talk, say(talk))
    assert (push["scale"], push["reply"]["content"]) == (0.25, "0.25")


def test_a_push_keeps_the_settings_that_it_began_with():
    with hanging() as (app, asked):
        talk = talk_of(app)
        talk.configure({"mode": "plain", "scale": 0.5})
        first = say(talk)
        until(lambda: asked)
        talk.configure({"mode": "compatible", "scale": 1})
        second = say(talk)
    pushes = over(talk, first, second)
    assert [(push["mode"], push["scale"]) for push in pushes] == [("plain", 0.5), ("compatible", 1)]
    assert ["encrypt_type=aes" in push["request"]["query"] for push in pushes] == [False, True]


def test_faults_are_told_as_far_as_a_push_met_them():
    """It was answered on its first try, which came late."""
    talk = talk_of()
    talk.configure({"faults": {"delay": 0.01, "drop": [2], "skew": -3}})
    [push] = over(talk, say(talk))
    assert push["faults"] == ["每次晚 0.01 秒送达", "微信的时钟慢 3 秒"]
    talk.configure({"scale": 0.01, "faults": {"drop": [1, 3]}})
    [push] = over(talk, say(talk))
    assert push["faults"] == ["丢掉第 1 次推送"]


ELEMENTS = [
    ({}, ""),
    ({"A": "x"}, "<A><![CDATA[x]]></A>"),
    ({"A": 5}, "<A>5</A>"),
    ({"A": ["x", {"B": "y"}]}, "<A><![CDATA[x]]></A><A><B><![CDATA[y]]></B></A>"),
    ({"A": {"B": {"C-1.a_": {}}}}, "<A><B><C-1.a_></C-1.a_></B></A>"),
]


@pytest.mark.parametrize(("elements", "written"), ELEMENTS, ids=str)
def test_elements_become_a_packet(elements, written):
    assert talk_of().build({"elements": elements}).replace("\n", "") == f"<xml>{written}</xml>"


def test_a_message_has_an_id_and_an_event_a_name_and_both_a_user():
    talk = talk_of()
    talk.configure({"users": ["o_1", "o_2"]})
    numbers = [
        talk.push(talk.build({"msg_type": "text", "elements": {"Content": "x"}, "openid": "o_2"})),
        talk.push(talk.build({"msg_type": "text", "event": "CLICK"})),
        talk.push(talk.build({"msg_type": "event", "event": "CLICK", "elements": {"EventKey": "k"}})),
    ]
    text, other, event = (push["fields"] for push in over(talk, *numbers))
    assert [fields["FromUserName"] for fields in (text, other, event)] == ["o_2", "o_1", "o_1"]
    assert text["MsgId"] != other["MsgId"]
    assert int(text["MsgId"]) > 10**15
    assert (event["Event"], event["EventKey"]) == ("CLICK", "k")
    assert "MsgId" not in event
    assert "Event" not in other


def test_a_packet_is_pushed_as_it_was_written():
    written = "<xml> <a/>"
    assert talk_of().build({"xml": written, "msg_type": "text"}) == written
    talk_of().build({"xml": "x" * 65_536})
    with pytest.raises(ValueError, match="须为不超过 65536 字符的文本"):
        talk_of().build({"xml": "x" * 65_537})
    for name in ("msg_type", "event", "openid"):
        with pytest.raises(ValueError, match="须为不超过 200 字符的文本"):
            talk_of().build({"msg_type": "text", name: "x" * 201})
        talk_of().build({"msg_type": "text", name: "x" * 200})


def nested(depth):
    return {"A": nested(depth - 1)} if depth else {"A": "x"}


@pytest.mark.parametrize(
    "elements",
    [None, [], "x", 5, {"A": None}, {"A": True}, {"A": 1.5}, {"A": b""}, {"a b": "x"}, {"1": "x"}, {"A": ["x", None]},
     {"A" * 65: "x"}, {"Ａ": "x"}, {"A": "x" * 65_537}, {"A": "\ud800"}, nested(8)],
    ids=repr,
)  # fmt: skip
def test_elements_of_no_packet_are_refused(elements):
    talk = talk_of()
    talk.build({"elements": nested(7)})
    talk.build({"elements": {"A" * 64: "x" * 65_536}})
    with pytest.raises(ValueError, match=r"须为|surrogates"):
        talk.build({"elements": elements})


# -- what watchers hear ------------------------------------------------------------------------------------------------


def test_watchers_hear_of_everything_that_changes():
    talk = talk_of()
    watching = talk.watch()
    assert json.loads(next(watching)) == {"state": state_of(talk), "pushes": [], "all": True}
    talk.configure({"mode": "plain"})
    assert json.loads(next(watching))["state"]["mode"] == "plain"
    over(talk, say(talk))
    heard = [json.loads(next(watching)) for _ in range(4)]
    assert [list(message) for message in heard] == [["state"], ["pushes"], ["pushes"], ["pushes"]]
    assert heard[0]["state"]["fresh"] is False
    began, answered, ended = (message["pushes"][0] for message in heard[1:])
    assert (began["running"], began["tries"], began["reply"]) == (True, [], None)
    assert (answered["running"], len(answered["tries"])) == (True, 1)
    assert (ended["running"], ended["finding"]["level"]) == (False, "warning")
    talk.clear()
    assert json.loads(next(watching)) == {"state": state_of(talk), "pushes": [], "all": True}
    watching.close()


def test_a_push_is_shown_with_all_that_is_known_of_it():
    talk = talk_of(account={})
    user = state_of(talk)["users"][0]
    before = REAL.wall()
    [push] = over(talk, say(talk))
    shown = {**push}
    for name in ("xml", "request", "tries", "finding"):
        assert shown.pop(name)
    assert before * 1000 - 1 <= shown.pop("at") <= REAL.wall() * 1000
    assert shown.pop("elapsed") > 0
    fields = shown.pop("fields")
    assert (fields["Content"], fields["FromUserName"]) == ("你好", user)
    assert shown == {
        "id": 1,
        "openid": user,
        "mode": "plain",
        "scale": 1.0,
        "copy_of": None,
        "repeat_of": None,
        "silent": False,
        "running": False,
        "reply": {"type": "", "content": "", "parts": [], "fields": {}},
        "faults": [],
        "notes": [],
    }


@pytest.mark.parametrize(
    ("xml", "silent"),
    [
        ("<xml><MsgType>text</MsgType></xml>", False),
        ("<xml><InfoType>x</InfoType></xml>", True),
        ("<xml><MsgType>event</MsgType><Event>UNSUBSCRIBE</Event></xml>", True),
        ("<xml><MsgType>event</MsgType><Event>CLICK</Event></xml>", False),
        ("<xml><broken", True),
    ],
)
def test_to_some_pushes_nobody_sees_an_answer(xml, silent):
    talk = talk_of()
    [push] = over(talk, talk.push(xml))
    assert push["silent"] is silent
    assert any(row["event"] == "unsubscribe" and row["answerable"] == "no" for row in KINDS)


def test_what_came_and_went_is_shown_with_the_signatures_of_both_sides():
    bot = WxMpServer(token=TOKEN, store="memory:", on_message=lambda req: "好", **SAFE)
    talk = talk_of(bot)
    [push] = over(talk, say(talk))
    [attempt] = push["tries"]
    assert push["reply"]["content"] == "好"
    for shown in (push["request"]["signatures"], attempt["signatures"]):
        assert shown
        assert TOKEN not in str(shown)
    assert push["finding"]["level"] == "ok"


def test_a_hundred_pushes_may_be_under_way_and_no_more():
    with hanging() as (app, _):
        talk = talk_of(app, account={})
        numbers = [say(talk) for _ in range(100)]
        with pytest.raises(ValueError, match="已有 100 个推送在途"):
            say(talk)
    over(talk, *numbers)
    say(talk)


def test_the_oldest_push_is_forgotten_for_a_new_one_and_watchers_are_told(monkeypatch):
    monkeypatch.setattr(talks, "MAX_PUSHES", 2)
    talk = talk_of()
    over(talk, say(talk), say(talk))
    watching = talk.watch()
    next(watching)
    over(talk, say(talk))
    assert json.loads(next(watching)) == {"forgotten": [1]}
    watching.close()
    assert [push["id"] for push in talk.until(99)] == [2, 3]


def test_a_push_that_comes_twice_at_once_is_shown_twice():
    talk = talk_of()
    talk.configure({"faults": {"duplicate": True}})
    assert say(talk) == 1
    first, second = over(talk, 1, 2)
    assert (first["copy_of"], second["copy_of"], second["repeat_of"]) == (None, 1, None)
    assert (first["xml"], first["request"]) == (second["xml"], second["request"])
    assert first["notes"] == []
    until(lambda: second["notes"] == ["与 #1 是同一次推送，同时送达了两份", "回复相同"])


def test_which_pushes_are_the_same():
    talk = talk_of()
    number = say(talk)
    again, renewed = talk.again(number, new=False), talk.again(number, new=True)
    first, second, third = over(talk, number, again, renewed)
    assert [push["repeat_of"] for push in (first, second, third)] == [None, 1, None]
    assert (first["notes"], third["notes"]) == ([], [])
    until(lambda: second["notes"] == ["与 #1 是同一条消息，又推送了一次", "回复相同"])
    broken = [talk.push("<xml><broken") for _ in range(2)]
    assert [push["repeat_of"] for push in over(talk, *broken)] == [None, None]
    head = "<FromUserName>o_1</FromUserName><CreateTime>1</CreateTime>"
    events = [talk.push(f"<xml>{head}<Event>{name}</Event></xml>") for name in ("SCAN", "VIEW", "SCAN")]
    assert [push["repeat_of"] for push in over(talk, *events)] == [None, None, events[0]]
    assert [push["id"] for push in talk.until(2)] == [1, 2]
    with pytest.raises(KeyError):
        talk.again(99, new=True)


# -- the bot's side ----------------------------------------------------------------------------------------------------


def test_what_a_bot_says_stands_with_its_message_and_has_an_end():
    talk = talk_of()
    number, other = say(talk), say(talk, "别的")
    push, _ = over(talk, number, other)
    talk.note(push["fields"], {"level": "INFO", "text": "x" * (MAX_LINE + 1)})
    assert push["bot"] == {
        "handler": "",
        "took": None,
        "lines": [{"level": "INFO", "text": "x" * MAX_LINE}],
        "failed": False,
        "runs": 0,
    }
    talk.note(push["fields"], {"level": "INFO", "text": "a", "handler": "hello (bot.py:1)", "took": 0.5})
    talk.note(push["fields"], {"level": "ERROR", "text": "b", "handler": "hi", "took": 1, "traceback": "KeyError"})
    talk.note(push["fields"], {"level": "INFO", "text": "c", "handler": "hi", "took": 2})
    bot = push["bot"]
    assert (bot["handler"], bot["took"], bot["failed"], bot["runs"]) == ("hi", 2, True, 3)
    assert bot["lines"][2] == {"level": "ERROR", "text": "b\nKeyError"}
    for _ in range(MAX_LINES):
        talk.note(push["fields"], {"level": "ERROR", "text": "more"})
    assert (len(bot["lines"]), MAX_LINES, MAX_LINE) == (100, 100, 8000)
    assert "bot" not in talk.get(other)


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_a_saved_talk_holds_no_secret_and_nothing_of_this_machine():
    talk = talk_of(secret="known again")
    [push] = over(talk, say(talk))
    talk.note(push["fields"], {"level": "INFO", "text": "/home/me/bot.py"})
    document = talk.save()
    saved = json.loads(document)
    assert list(saved) == ["wx-mp-svr", "users", "menu", "pushes"]
    assert saved["pushes"] == json.loads(json.dumps([{name: push[name] for name in push if name != "bot"}]))
    assert not any(secret in document for secret in (TOKEN, KEY, "known again", "/home/me"))
    assert "你好" in document


def saved_talk():
    talk = talk_of()
    over(talk, say(talk))
    return json.loads(talk.save())


WHOLE = saved_talk()
PARTS = [
    *((name,) for name in ("at", "xml", "fields", "openid", "mode", "scale", "elapsed", "request", "reply", "tries")),
    *(("request", name) for name in ("query", "body", "params", "signatures")),
    *(("reply", name) for name in ("type", "content", "parts", "fields")),
    *(("tries", 0, name) for name in ("number", "started", "elapsed", "outcome", "headers", "checks")),
]


@pytest.mark.parametrize("path", PARTS, ids=str)
@pytest.mark.parametrize("wrong", [None, b""], ids=["missing", "wrong"])
def test_a_talk_that_lacks_something_is_not_opened(path, wrong):
    document = copy.deepcopy(WHOLE)
    holder = document["pushes"][0]
    for name in path[:-1]:
        holder = holder[name]
    if wrong is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = wrong
    talk = talk_of()
    with pytest.raises(ValueError, match="对话文件不完整"):
        talk.open(document)
    assert pushes_of(talk) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wx-mp-svr": "other"}, "这不是模拟器保存的对话"),
        ({"pushes": {}}, "这不是模拟器保存的对话"),
        ({"pushes": WHOLE["pushes"] * 501}, "这不是模拟器保存的对话"),
        ({"pushes": [{**WHOLE["pushes"][0], "tries": []}]}, "对话文件不完整"),
        ({"sessions": []}, "对话文件不完整"),
        ({"sessions": {"o_1": []}}, "对话文件不完整"),
        ({"sessions": {"<b>": {}}}, "OpenID"),
        ({"users": []}, "用户须有"),
        ({"menu": {}}, "菜单须为"),
    ],
)
def test_a_document_that_is_no_talk_is_not_opened(changes, words):
    talk = talk_of()
    with pytest.raises(ValueError, match=words):
        talk.open({**WHOLE, **changes})
    assert pushes_of(talk) == []


LINK = {"label": "看", "href": "u", "words": "", "menu_id": ""}


@pytest.mark.parametrize(
    "part", [1, {**LINK, "label": 1}, *({n: v for n, v in LINK.items() if n != name} for name in LINK)]
)
def test_a_reply_of_anything_but_words_and_links_is_not_opened(part):
    [push] = WHOLE["pushes"]
    talk = talk_of()
    talk.open({**WHOLE, "pushes": [{**push, "reply": {**push["reply"], "parts": ["好", LINK]}}]})
    with pytest.raises(ValueError, match="对话文件不完整"):
        talk.open({**WHOLE, "pushes": [{**push, "reply": {**push["reply"], "parts": ["好", part]}}]})


def test_an_opened_talk_has_numbers_of_its_own_and_only_words_of_ours():
    [push] = WHOLE["pushes"]
    odd = {"finding": {"level": "bad", "cause": "", "fix": ""}, "faults": "x", "notes": ["a", 1], "running": True}
    pushes = [{**push, "id": 7}, {**push, "id": 9, "copy_of": 7, "repeat_of": 7, **odd}, {**push, "repeat_of": 5}]
    talk = talk_of()
    over(talk, say(talk))
    talk.open({**WHOLE, "pushes": pushes * 166})
    opened = pushes_of(talk)
    assert [one["id"] for one in opened[:3]] == [2, 3, 4]
    assert len(opened) == 498
    first, second, third = opened[-3:]
    assert first["finding"] == push["finding"]
    assert (second["copy_of"], second["repeat_of"], second["running"]) == (first["id"], first["id"], False)
    assert (second["finding"], second["faults"], second["notes"]) == (None, [], ["a"])
    assert (third["copy_of"], third["repeat_of"]) == (None, None)
    assert state_of(talk)["fresh"] is False
    assert say(talk) == 500


@pytest.mark.parametrize("missing", ["level", "cause", "fix"])
def test_half_a_finding_is_none(missing):
    [push] = WHOLE["pushes"]
    finding = {"level": "ok", "cause": "c", "fix": "f"}
    for found, kept in ((finding, finding), ({k: v for k, v in finding.items() if k != missing}, None)):
        talk = talk_of()
        talk.open({**WHOLE, "pushes": [{**push, "finding": found}]})
        assert pushes_of(talk)[0]["finding"] == kept


def counting(req):
    req.session["n"] = req.session.get("n", 0) + 1
    return str(req.session["n"])


def test_what_a_bot_remembers_is_saved_and_opened_for_its_users():
    def talk_with_memory():
        server = WxMpServer(token=TOKEN, store="memory:", on_message=counting)
        return talk_of(server, account={})

    talk, other = talk_with_memory(), talk_with_memory()
    talk.configure({"users": ["o_1", "o_2", "o_3"]})
    over(talk, *(say(talk, openid=user) for user in ("o_1", "o_1", "o_2")))
    saved = json.loads(talk.save())
    assert saved["sessions"] == {"o_1": {"n": 2}, "o_2": {"n": 1}}
    over(other, say(other, openid="o_2"), say(other, openid="o_2"))
    other.open(saved)
    assert state_of(other)["users"] == ["o_1", "o_2", "o_3"]
    [push] = over(other, say(other, openid="o_2"))
    assert push["reply"]["content"] == "2"


def test_a_user_whom_the_bot_is_busy_with_is_not_waited_for():
    go, busy = threading.Event(), threading.Event()

    def slow(req):
        req.session["n"] = 1
        if req.content == "慢":
            busy.set()
            go.wait(20)
        return "好"

    talk = talk_of(WxMpServer(token=TOKEN, store="memory:", on_message=slow), account={})
    talk.configure({"users": ["o_1", "o_2", "o_3"]})
    over(talk, say(talk, openid="o_1"), say(talk, openid="o_2"))
    number = say(talk, "慢", openid="o_1")
    busy.wait(20)
    during = json.loads(talk.save())
    go.set()
    over(talk, number)
    after = json.loads(talk.save())
    assert (during["sessions"], [push["id"] for push in during["pushes"]]) == ({"o_2": {"n": 1}}, [1, 2])
    assert (after["sessions"].keys(), [push["id"] for push in after["pushes"]]) == ({"o_1", "o_2"}, [1, 2, 3])


# -- a pause -----------------------------------------------------------------------------------------------------------


def test_a_talk_goes_on_after_a_pause():
    talk = talk_of()
    talk.configure({"mode": "compatible", "scale": 0.5, "users": ["o_1"], "faults": {"skew": 1}})
    over(talk, say(talk))
    paused = json.loads(talk.pause())
    assert list(paused) == ["state", "pushes", "last_id"]
    assert list(paused["state"]) == ["mode", "scale", "faults", "users", "menu"]
    again = talk_of()
    again.resume(talk.pause())
    state = state_of(again)
    assert {name: state[name] for name in paused["state"]} == paused["state"]
    assert state["fresh"] is False
    assert pushes_of(again) == paused["pushes"]
    assert say(again) == 2


def test_what_nobody_had_answered_is_pushed_again_but_not_its_copies():
    talk = talk_of()
    over(talk, say(talk, "一"), say(talk, "二"), say(talk, "三"))
    paused = json.loads(talk.pause())
    paused["pushes"][1]["running"] = paused["pushes"][2]["running"] = True
    paused["pushes"][2]["copy_of"] = 2
    again = talk_of()
    again.resume(json.dumps(paused))
    over(again, 4)
    assert [(push["id"], push["fields"]["Content"]) for push in again.until(99)] == [(1, "一"), (4, "二")]
    broken = talk_of(broken="语法错误")
    broken.resume(json.dumps(paused))
    assert [push["id"] for push in broken.until(99)] == [1]


def test_a_mode_that_is_no_more_is_left_and_a_talk_that_never_began_is_fresh():
    again = talk_of(account={})
    again.resume(talk_of().pause())
    assert (state_of(again)["mode"], state_of(again)["fresh"]) == ("plain", True)
