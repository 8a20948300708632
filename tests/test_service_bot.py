"""demo/service_bot.py: late answers by customer service, as a process of its own, between two WeChats over real HTTP.

Pushes come from `FakeWeChat`; what the bot sends by itself goes to a stand-in for WeChat's API. Each user has a trouble of
their own, and all of them ask at once, since each answer takes the twenty seconds that it takes.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import servers
from wechat_api import BROKEN, CUT, HTML, SECRET, wechat_api

from wx_mp_svr.testing import FakeWeChat, Result

APPID = "wx0000000000000000"
ACCOUNT = {"token": "xxx", "appid": APPID, "aes_key": "x" * 43}
SLOW = "这个问题要多想一会儿，想好了马上发给您。"
HINT = "发「慢」字开头的话，或者图片、链接：二十秒后我再答复。"
MENTION = "您之前的问题有回复了："
LONG = "慢" + "".join(f"第 {n} 句，" + "字" * 40 + "。" for n in range(60))  # four pieces


@dataclass
class Story:
    """What a user asks, what goes wrong, how many pieces they get by customer service, and what the log says."""

    asks: str
    faults: tuple = ()
    gets: int = 0
    log: str = ""


STORIES = {
    "text": Story("慢", gets=1),
    "long": Story(LONG, gets=4),
    "image": Story("image", gets=1),
    "busy": Story("慢慢", (-1,), gets=1),
    "42001": Story("慢慢", (42001,), gets=1),
    "40014": Story("慢慢", (40014,), gets=1),
    "40001": Story("慢慢", (40001, 40001), log="AppSecret 不对，或 access_token 被别的程序作废了"),
    "45015": Story("慢慢", (45015,), log="这位用户超过 48 小时没发消息"),
    "48001": Story("慢慢", (48001,), log="这个号没有客服接口的权限"),
    "43004": Story("慢慢", (43004,), log="查微信的全局返回码（43004 require subscribe）"),
    "cut": Story("慢慢", (CUT,), log="微信的接口没有应答：检查网络和 WX_API（None ConnectionError）"),
    "502": Story("慢慢", (BROKEN,), log="微信的接口没有应答：检查网络和 WX_API（None WeChatClientException）"),
    "a proxy's page": Story("慢慢", (HTML,), log="微信的接口没有应答：检查网络和 WX_API（None not JSON）"),
    "half": Story(LONG, (None, None, 45047), gets=2, log="发给这位用户的条数用完了"),
    "too long": Story(LONG * 2, gets=5),
    "another kind": Story("link"),
}
DELIVERED = ("text", "long", "image", "busy", "42001", "40014")


@dataclass
class Outcome:
    """What a user saw: at once, by customer service, and with the next message."""

    first: Result
    sent: list
    calls: int
    second: Result
    fetched: list  # by tapping


def live(wechat, api, story):
    """One user's half a minute."""
    api.fail(wechat.openid, *story.faults)
    begun = time.monotonic()
    send = {"image": wechat.send_image, "link": lambda: wechat.send_link("题", "述")}
    first = send.get(story.asks, lambda: wechat.send_text(story.asks))()
    time.sleep(max(0.0, begun + 23 - time.monotonic()))
    sent, calls = list(api.sent[wechat.openid]), api.calls[wechat.openid]
    second = wechat.send_text("你好")
    fetched = [wechat.tap(second)] if second.links else []
    while fetched and fetched[-1].links:
        fetched.append(wechat.tap(fetched[-1]))
    return Outcome(first, sent, calls, second, fetched)


@pytest.fixture(scope="module")
def api():
    with wechat_api(APPID) as served:
        yield served


@pytest.fixture(scope="module")
def told(api, tmp_path_factory):
    """All stories at once: {name: outcome}, and the log."""
    directory = tmp_path_factory.mktemp("service")
    settings = {"WX_API": api.url, "WX_APPSECRET": SECRET}
    with servers.bot(directory, "service_bot", **settings) as bot, ThreadPoolExecutor(len(STORIES)) as pool:
        users = [FakeWeChat(bot.url, **ACCOUNT, openid=f"oService{number:020}") for number in range(len(STORIES))]
        outcomes = pool.map(live, users, [api] * len(STORIES), STORIES.values())
        yield dict(zip(STORIES, outcomes, strict=True)), bot.log_text()


@pytest.mark.parametrize("name", STORIES)
def test_the_slow_text_promises_a_message_and_has_no_link(told, name):
    first = told[0][name].first
    assert (first.content, first.links, len(first.tries)) == (SLOW, [], 3)


@pytest.mark.parametrize("name", DELIVERED)
def test_what_is_delivered_is_whole_and_never_mentioned_again(told, name):
    outcome, story = told[0][name], STORIES[name]
    assert len(outcome.sent) == story.gets
    if story.asks == "image":
        assert outcome.sent[0]["image"] == {"media_id": "media_id"}
    else:
        assert "".join(message["text"]["content"] for message in outcome.sent) == f"想好了：{story.asks}"
    assert outcome.second.content == HINT


@pytest.mark.parametrize("name", [name for name in STORIES if name not in DELIVERED])
def test_what_is_not_delivered_is_mentioned_and_stays_behind_its_link(told, name):
    """Whole, whatever part of it has arrived."""
    outcome, story = told[0][name], STORIES[name]
    assert len(outcome.sent) == story.gets
    assert outcome.second.content.startswith(f"{HINT}\n\n{MENTION}")
    if story.asks == "link":
        assert outcome.fetched[0].articles[0].title == "题"
    else:
        text = "".join(page.content.split("\n\n<a")[0] for page in outcome.fetched)
        assert text == f"想好了：{story.asks}"


def test_an_answer_of_too_many_pieces_says_so_in_the_last_that_is_allowed(told):
    *pieces, last = [message["text"]["content"] for message in told[0]["too long"].sent]
    assert f"想好了：{LONG * 2}".startswith("".join(pieces))
    assert "随便发一条消息，再点「查看回复」" in last


def test_nothing_is_tried_for_ever(told):
    """A token that is never valid is replaced once."""
    assert {name: outcome.calls for name, outcome in told[0].items()} == {
        name: len(story.faults) + story.gets - story.faults.count(None) for name, story in STORIES.items()
    }


def test_each_failure_is_one_line_in_the_log_with_its_cure_and_without_secrets(told, api):
    log = told[1]
    lines = [line for line in log.splitlines() if "一条客服消息没有送达，用户下次发消息时能取：" in line]
    assert len(lines) == len([story for story in STORIES.values() if story.log])
    for story in STORIES.values():
        assert story.log == "" or len([line for line in lines if story.log in line]) == 1
    assert not any(secret in log for secret in (SECRET, *api.tokens, "Traceback"))


STARTS = {
    "good": ({}, ()),
    "AppSecret": ({"WX_APPSECRET": "wrong"}, (), "AppSecret 不对：到公众平台核对"),
    "AppID": ({"WX_MP_APPID": "wx0123456789abcdef"}, (), "AppID 不对：核对 WX_MP_APPID"),
    "IP": (
        {},
        (40164,),
        "IP 不在白名单里：到公众平台的「IP白名单」加上它（40164 invalid ip 203.0.113.9, not in whitelist）",
    ),
    "a proxy's page": ({}, (HTML,), "微信的接口没有应答：检查网络和 WX_API（None not JSON）"),
    "nobody": ({"WX_API": "http://127.0.0.1:9"}, (), "微信的接口没有应答：检查网络和 WX_API（None ConnectionError）"),
    "no AppSecret": ({"WX_APPSECRET": ""}, ()),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_is_set_up_wrongly_is_said_at_start(tmp_path, name):
    """In one line; the bot goes on, since all but customer service works."""
    settings, faults, *cures = STARTS[name]
    with wechat_api(APPID) as api:
        api.fail("token", *faults)
        own = {**servers.DEMO_ACCOUNT, "WX_API": api.url, "WX_APPSECRET": SECRET, "NO_PROXY": "*", **settings}
        command = [sys.executable, "-c", "import service_bot"]
        env = servers.environment(tmp_path, own)
        done = subprocess.run(command, env=env, cwd=servers.DEMO, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "还发不了客服消息" in line]
    assert [cure in line for cure, line in zip(cures, said, strict=True)] == [True] * len(cures)
    assert api.asked_for_token == (0 if name in ("no AppSecret", "nobody") else 1)
    assert SECRET not in done.stderr


def test_two_workers_use_one_token(tmp_path):
    """WeChat's stable token: what the one gets does not end what the other has."""
    with wechat_api(APPID) as api:
        settings = {"WX_API": api.url, "WX_APPSECRET": SECRET}
        with servers.bot(tmp_path, "service_bot", workers=True, **settings):
            pass
    assert (api.asked_for_token, len(api.tokens)) == (2, 1)
