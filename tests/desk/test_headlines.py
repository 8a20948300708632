"""What the simulator says at once of a push: one headline with cause and cure, in the words of `check`."""

import threading
import time

import pytest
import servers
from servers import always
from waiting import until

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk.simulator import make_app
from wx_mp_svr.testing.packets import read_xml, write_xml

ACCOUNT = {
    "token": "HeadlineTests7",
    "appid": "wx0a1b2c3d4e5f6a7b",
    "aes_key": "headlinesHEADLINESheadlinesHEADLINES0123456",
}
OTHER_KEY = "another" + ACCOUNT["aes_key"][7:]
SCALE = 0.3  # or what a busy machine holds up counts as pushes that come late


def talk_with(target, scale=1.0, **account):
    return make_app(target, time_scale=scale, **{**ACCOUNT, **account}).config["TALK"]


def bot(on_message, **settings):
    return WxMpServer(on_message=on_message, store="memory:", **{**ACCOUNT, **settings})


def over(talk, number):
    push = until(lambda: (push := talk.get(number))["finding"] and push)
    until(lambda: not push["running"])
    return push


def say(talk, content="你好"):
    return over(talk, talk.push(talk.build({"msg_type": "text", "elements": {"Content": content}})))


def headline(push):
    return push["finding"]["level"], push["finding"]["cause"], push["finding"]["fix"]


def slow(seconds):
    """A bot whose handler takes so many of WeChat's seconds."""

    def handler(req):
        time.sleep(seconds * SCALE)
        return "想好了"

    return talk_with(bot(handler), SCALE)


def raising(req):
    raise KeyError(req.content)


def packet_of(content):
    """A bot of somebody else's: a packet in plain mode, whatever is in it."""

    def app(environ, start_response):
        xml = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        user, account = (read_xml(xml)[name] for name in ("FromUserName", "ToUserName"))
        head = {"ToUserName": user, "FromUserName": account, "CreateTime": 1700000000, "MsgType": "text"}
        start_response("200 OK", [("Content-Type", "text/xml")])
        return [write_xml({**head, "Content": content}).encode()]

    return app


HEADLINES = {
    "the handler raises": (
        lambda: talk_with(bot(raising)),
        ("error", "处理函数多半出错了，用户看到：抱歉，出错了", "看服务器日志中的错误堆栈"),
    ),
    "another Token": (
        lambda: talk_with(bot(raising), token="SomebodyElses1"),
        ("error", "多半是服务器上的 Token 与这里的 WX_MP_TOKEN 不一致", "两边和公众平台填同一个 Token 后重启"),
    ),
    "another EncodingAESKey": (
        lambda: talk_with(bot(raising), aes_key=OTHER_KEY),
        ("error", "多半是服务器上的 EncodingAESKey 或 AppID 与这里的不一致", "两边和公众平台填同样的值"),
    ),
    "nobody listens": (
        lambda: talk_with(f"http://127.0.0.1:{servers.free_port()}/wx_mp_cb"),
        ("error", "没有程序在监听这个端口", "先启动服务"),
    ),
    "6 seconds": (lambda: slow(6), ("warning", "第 2 次推送才有回复（", "处理函数超过了 5 秒")),
    "12 seconds": (lambda: slow(12), ("warning", "第 3 次推送才有回复（", "处理函数超过了 5 秒")),
    "20 seconds": (lambda: slow(20), ("warning", "处理函数没有在 5 秒内完成（", "用户要点链接才看到回复")),
    "403 of somebody else": (
        lambda: talk_with(always(b"<h1>Denied</h1>", "403 Forbidden", kind="text/html")),
        ("error", "POST 被服务前面的程序拒绝（HTTP 403）", "放行这个路径"),
    ),
    "garbage": (
        lambda: talk_with(always(b"<xml><oops"), mode="plain"),
        ("error", "回复不是合格的 XML：'<xml><oops'", "按微信的格式回复 XML"),
    ),
    "too long": (
        lambda: talk_with(packet_of("长" * 700), mode="plain"),
        ("error", "文本超过 2047 字节，一个汉字是 3 字节", "分成几条"),
    ),
    "a good bot": (lambda: talk_with(bot(lambda req: "好")), ("ok", "秒内得到文本回复：好", "")),
    "nothing to say": (lambda: talk_with(bot(lambda req: None)), ("warning", "收到了，但没有回复内容", "看服务器日志")),
}


@pytest.mark.parametrize("case", HEADLINES)
def test_a_headline_names_cause_and_cure(case):
    make, (level, cause, fix) = HEADLINES[case]
    said = headline(say(make()))
    assert said[0] == level
    assert cause in said[1]
    assert fix in said[2]


def test_each_part_of_a_stream_says_that_there_is_more():
    """Five parts, each behind the link of the one before."""
    gates = [threading.Event() for _ in range(5)]

    def stream(req):
        for number, gate in enumerate(gates, 1):
            gate.wait(30)
            yield f"第 {number} 部分。" + "字" * 600

    gates[0].set()
    gates[1].set()
    talk = talk_with(bot(stream), SCALE)
    push = say(talk, "讲五段")
    said = []
    for gate in [*gates[2:], gates[-1]]:
        said.append(headline(push))
        gate.set()
        (link,) = [part for part in push["reply"]["parts"] if not isinstance(part, str)]
        elements = {"Content": link["words"], "bizmsgmenuid": link["menu_id"]}
        push = over(talk, talk.push(talk.build({"msg_type": "text", "elements": elements})))
        if not any(not isinstance(part, str) for part in push["reply"]["parts"]):
            break
    assert all("用户点链接看余下的" in cause or "第 3 次推送" in cause for _, cause, _ in said)
    assert "用户点链接" not in headline(push)[1]


def test_a_repeated_message_says_what_the_bot_made_of_it():
    talk = talk_with(bot(lambda req: req.content))
    first = say(talk)
    repeated = over(talk, talk.again(first["id"], new=False))
    assert (repeated["repeat_of"], repeated["copy_of"]) == (first["id"], None)
    assert repeated["notes"] == [f"与 #{first['id']} 是同一条消息，又推送了一次", "回复相同"]
    assert first["notes"] == []
    assert over(talk, talk.again(first["id"], new=True))["notes"] == []


def test_a_bot_that_does_not_know_a_repeated_message_is_found_out():
    answers = iter(range(9))

    def app(environ, start_response):
        return packet_of(f"第 {next(answers)} 次")(environ, start_response)

    talk = talk_with(app, mode="plain")
    first = say(talk)
    assert over(talk, talk.again(first["id"], new=False))["notes"][1] == "回复不同：机器人可能没有去重"


def test_a_copy_that_arrives_beside_its_original_says_so():
    talk = talk_with(bot(lambda req: req.content))
    talk.configure({"faults": {"duplicate": True}})
    first = say(talk)
    copy = over(talk, first["id"] + 1)
    until(lambda: len(copy["notes"]) == 2)
    assert copy["notes"] == [f"与 #{first['id']} 是同一次推送，同时送达了两份", "回复相同"]


def test_a_simulated_fault_is_not_taken_for_the_bots():
    talk = talk_with(bot(lambda req: "好"), SCALE)
    talk.configure({"faults": {"drop": [1]}})
    assert headline(say(talk))[1].startswith("模拟的故障（丢掉第 1 次推送）之后：第 2 次推送才有回复")
    talk.configure({"faults": {"skew": -400}})
    level, cause, fix = headline(say(talk))
    assert level == "error"
    assert cause == "模拟的故障（微信的时钟慢 400 秒）之后：请求被拒绝：时钟相差太大，时间戳过期"
    assert "故障" in fix


def test_an_event_that_nobody_sees_needs_no_answer():
    talk = talk_with(bot(lambda req: "好"))
    push = over(
        talk, talk.push(talk.build({"msg_type": "event", "event": "unsubscribe", "elements": {"EventKey": ""}}))
    )
    assert headline(push) == ("ok", "机器人收到了；这种推送没有会话，用户看不到回复", "")


def test_what_the_bots_side_tells_makes_the_headline():
    """The place in the program, and what it raised; it may come after the reply."""
    talk = talk_with(bot(lambda req: "好"))
    push = say(talk)
    said = {"level": "ERROR", "text": "it raised", "handler": "hello (bot.py:22)", "took": 0.1}
    talk.note(push["fields"], {**said, "traceback": "Traceback:\n  …\nKeyError: '再见'"})
    assert headline(push) == ("error", "处理函数出错：hello (bot.py:22)　KeyError: '再见'", "看下面的错误堆栈")


def test_the_follower_is_there_once_and_before_anything_else():
    welcomed = []
    server = bot(lambda req: "好")
    server.on_subscribe(lambda event: welcomed.append(event) or "欢迎")
    talk = talk_with(server)
    talk.follow()
    talk.follow()
    assert over(talk, 1)["reply"]["content"] == "欢迎"
    assert len(welcomed) == 1
    late = talk_with(server)
    late.clear()
    late.follow()
    with pytest.raises(KeyError):
        late.get(1)
    away = talk_with(f"http://127.0.0.1:{servers.free_port()}/wx_mp_cb")
    away.follow()
    with pytest.raises(KeyError):
        away.get(1)
