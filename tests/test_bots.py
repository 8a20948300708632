"""Ten kinds of bots that people run, each as short as it can be written, and driven as their users do."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent / "bots"))


@pytest.fixture
def bot(request):
    return importlib.import_module(f"{request.param}_bot")


def whole(wechat, result):
    """What a user reads who taps through to the end."""
    pages = [result.content.split("\n\n<a")[0]]
    while result.links:
        result = wechat.tap(result)
        pages.append(result.content.split("\n\n<a")[0])
    return "".join(pages)


@pytest.mark.parametrize("bot", ["keyword"], indirect=True)
def test_keywords_and_patterns(bot):
    wechat = bot.server.test_client()
    said = ["价格", " 地址\n", "查天气 明天", "查天气", "你好"]
    assert [wechat.send_text(words).content for words in said] == [
        "99 元",
        "西湖区",
        "天气：明天",
        "天气：今天",
        "试试「价格」或「查天气」",
    ]


@pytest.mark.parametrize("bot", ["menu"], indirect=True)
def test_menu_scene_and_welcome(bot):
    wechat = bot.server.test_client()
    assert wechat.send_event("CLICK", "V1001").content == "今日歌曲"
    assert wechat.send_event("CLICK", "V2").content == "按了 V2"
    assert [wechat.subscribe("42").content, wechat.send_event("SCAN", "42").content] == ["你从海报来"] * 2
    assert wechat.subscribe().content == "欢迎"


@pytest.mark.parametrize("bot", ["homework"], indirect=True)
def test_homework_in_a_session(bot):
    wechat = bot.server.test_client()
    said = ["7", "开始", "8", "7", "42", "7"]
    assert [wechat.send_text(words).content for words in said] == [
        "发「开始」",
        "3+4=?",
        "再想想",
        "6*7=?",
        "全对",
        "发「开始」",
    ]
    assert wechat.send_text("7", openid="oAnotherPupil").content == "发「开始」"


@pytest.mark.parametrize("bot", ["model"], indirect=True)
def test_a_model_that_streams_and_remembers(bot):
    wechat = bot.server.test_client()
    text = whole(wechat, wechat.send_text("一"))
    assert text.startswith("你说过一。第0句")
    assert text.count("不要着急。") == 60
    assert whole(wechat, wechat.send_text("二")).startswith("你说过一。你说过二。")


@pytest.mark.parametrize("bot", ["media"], indirect=True)
def test_image_and_voice_come_back(bot):
    wechat = bot.server.test_client()
    assert (wechat.send_image("pic").type, wechat.send_image("pic").media_id) == ("image", "pic")
    assert wechat.send_voice("sound").media_id == "sound"
    assert wechat.send_voice("sound", recognition="听见了").content == "听见了"
    assert wechat.send_text("x").type == ""


@pytest.mark.parametrize("bot", ["news"], indirect=True)
def test_news(bot):
    wechat = bot.server.test_client()
    assert [len(wechat.send_text("x").articles), len(wechat.send_event("CLICK", "k").articles)] == [1, 3]


@pytest.mark.parametrize("bot", ["painting"], indirect=True)
def test_a_picture_that_takes_half_a_minute(bot, monkeypatch):
    wechat = bot.server.test_client()
    monkeypatch.setattr(bot, "sleep", wechat.sleep)
    result = wechat.send_text("西湖")
    assert result.content.startswith("正在作画，请稍后点击：")
    while result.links:
        result = wechat.tap(result)
    assert (result.type, result.media_id) == ("image", "painting of 西湖")


@pytest.mark.parametrize("bot", ["mail"], indirect=True)
def test_mail_with_a_kind_error(bot):
    wechat = bot.server.test_client()
    assert wechat.send_text("a@example.com 你好").content == "已发送"
    assert wechat.send_text("你好").content == "没有发出去：请写上邮箱地址"
    assert (bot.outbox, bot.reports) == (["a@example.com 你好"], ["no address"])


@pytest.mark.parametrize("bot", ["accounts"], indirect=True)
def test_accounts_from_a_database(bot):
    replies = [server.test_client().send_text("在").content for server in bot.servers]
    assert replies == [f"号{n}：在" for n in range(5)]


@pytest.mark.parametrize("bot", ["type"], indirect=True)
def test_one_handler_for_all_types(bot):
    wechat = bot.server.test_client()
    assert wechat.send_text("abc").content == "cba"
    assert wechat.send_location(30.25, 120.17).content == "30.25,120.17"
    assert wechat.send_link("t").type == ""
    assert wechat.send_event("CLICK", "k").content == "事件 CLICK"
