"""demo/llm_bot.py with models that think, see, refuse or are not there: a process of its own, over real HTTP.

How it answers otherwise is in test_demos.py.
"""

import itertools
import re
import runpy

import pytest
import servers
from llm_endpoint import CUT, FILTERED, PAGE, STOP, TOO_LONG, endpoint
from waiting import until

from wx_mp_svr import ConfigError
from wx_mp_svr.testing import FakeWeChat

ACCOUNT = {"token": "xxx", "appid": "wx0000000000000000", "aes_key": "x" * 43}
LABEL = "\n\n（内容由AI生成）"
KEY = "sk-0123456789abcdef"
USERS = itertools.count(1)


def settings_for(model, **changed):
    return {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": KEY, "OPENAI_MODEL": "test-model", **changed}


@pytest.fixture(scope="module")
def model():
    with endpoint() as served:
        yield served


@pytest.fixture(scope="module")
def bot(model, tmp_path_factory):
    with servers.bot(tmp_path_factory.mktemp("llm"), "llm_bot", **settings_for(model, OPENAI_VISION="1")) as bot:
        yield bot


@pytest.fixture
def wechat(bot):
    """A user of this test's own."""
    return FakeWeChat(bot.url, **ACCOUNT, openid=f"oThink{next(USERS):022}")


def pieces(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


# -- models that think -------------------------------------------------------------------------------------------------

# What the model says; what the user sees; what is remembered, if it is not the same.
THOUGHTS = {
    "plain": ("<think>\n想一想\n\n再想想\n</think>\n\n好的。", "好的。"),
    "in one line": ("<think>想</think>好的。", "好的。"),
    "nothing": ("<think>\n\n</think>\n\n好的。", "好的。"),
    "other names": ("<Thinking>想</Thinking>\n好的。\n<thought>\n又想\n</thought>\n就这样。", "好的。\n就这样。"),
    "a fence in it": ("<think>\n```python\nx = 1\n</think>\n**好的**\n- 一", "好的\n• 一", "**好的**\n- 一"),
    "Markdown around it": ("> **<think>** 想\n想 **</think>**\n\n好的。", "好的。"),
    "a list of it": ("- <think>\n想\n</think>\n好的。", "好的。"),
    "one more": ("<think>一</think>\n先说。\n<think>\n二\n</think>\n后说。", "先说。\n后说。"),
    "a mention in it": ("<think>\n标签 <think> 是什么\n</think>\n好的。", "好的。"),
    "without a beginning": ("想一想。\n再想\n</think>\n\n好的。", "想一想。\n再想\n————\n好的。", "好的。"),
    "a word about it": ("用 `<think>` 标签。\n`<think>` 不关上也行。", "用 <think> 标签。\n<think> 不关上也行。", ...),
    "code with it": ("```\n<think>\nx\n</think>\n```\n好的。", "<think>\nx\n</think>\n好的。", ...),
    "less than": ("若 i<n 则停。\n好的。", "若 i<n 则停。\n好的。"),
}


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("name", THOUGHTS)
def test_what_the_model_thinks_is_neither_shown_nor_remembered(wechat, model, name, size):
    """However it is cut into pieces, whatever Markdown is around it or in it."""
    text, shown, *remembered = THOUGHTS[name]
    question = f"想 {name} {size}"
    model.say(question, *pieces(text, size))
    assert wechat.send_text(question).content == shown + LABEL
    wechat.send_text("然后呢？")
    kept = {(): shown, (...,): text}.get(tuple(remembered)) or remembered[0]
    assert model.told("然后呢？") == [question, kept]


def test_thoughts_in_a_field_of_their_own_are_not_looked_at(wechat, model):
    choice = {"index": 0, "delta": {"content": None, "reasoning_content": "想一想"}, "finish_reason": None}
    model.say("另想", {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}, "好的。")
    assert wechat.send_text("另想").content == f"好的。{LABEL}"
    wechat.send_text("然后呢？")
    assert model.told("然后呢？") == ["另想", "好的。"]


@pytest.mark.parametrize("parts", [("<think>\n想不完",), ("<think>\n想不完", TOO_LONG), ("<think>想</think>\n",)])
def test_of_a_model_that_only_thought_the_user_is_told_and_nothing_is_remembered(wechat, model, bot, parts):
    question = f"只想 {len(parts)} {parts[0]}".strip()
    model.say(question, *parts)
    assert wechat.send_text(question).content == "没想出来，请换个问法。"
    wechat.send_text("然后呢？")
    assert model.told("然后呢？") == []
    assert "没写出回答，多半想到了上限：调高输出上限" in last_line(bot)


# -- models that see ---------------------------------------------------------------------------------------------------


def test_a_picture_is_handed_over_by_its_address_and_never_fetched_by_us(wechat, model):
    """It is the model's side that fetches it; a question about it comes with the next message."""
    url = f"{model.url}/picture.jpg"  # a request for it would be answered with an error, and be noticed
    model.say(url, "一只猫。")
    assert wechat.send_image(pic_url=url).content == f"一只猫。{LABEL}"
    assert wechat.send_text("什么品种？").content == f"答：什么品种？{LABEL}"
    picture = [{"type": "text", "text": "请看这张图片。"}, {"type": "image_url", "image_url": {"url": url}}]
    assert model.told("什么品种？") == [picture, "一只猫。"]
    assert model.fetched == []


def test_a_picture_that_the_model_cannot_read_names_the_way_out(wechat, model, bot):
    model.say("http://x/old.jpg", "Failed to download image", status=400)
    assert wechat.send_image(pic_url="http://x/old.jpg").content == "图片看不了，请发送「清空」。"
    assert "模型看不了图：换一个，或去掉 OPENAI_VISION" in last_line(bot)


# -- what goes wrong ---------------------------------------------------------------------------------------------------

NO_KEY = "密钥不对：核对 OPENAI_API_KEY，它要属于 OPENAI_BASE_URL 那一家"
NO_URL = "网址不对：OPENAI_BASE_URL 要写到版本号（例如 /v1）为止，后面没有别的"
NO_MODEL = "没有 test-model 这个模型：核对 OPENAI_MODEL"
NO_MONEY = "账户没有余额了：去服务商那里充值"
CENSORED = "没有通过内容审核"
TOO_FAST = "超过了服务商的限速：等一等，或换一档"
GONE = "连不上、断线或超时：检查 OPENAI_BASE_URL 和网络"
OTHER = "大模型出错了"
CLOSED, SORRY, BUSY = "机器人还没有准备好，请稍后再来。", "大模型没有回应，请重试。", "问的人太多，请稍后再试。"
CHANGE = "这个不能聊，换个话题吧。"

# How providers say it: the status, the message (or the whole body); what the log says, and what the user reads.
FAULTS = [
    (401, f"Incorrect API key provided: {KEY}.", NO_KEY, CLOSED),
    (402, "Insufficient Balance", NO_MONEY, CLOSED),
    (429, "You exceeded your current quota, please check your plan and billing details.", NO_MONEY, CLOSED),
    (429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}}, NO_MONEY, CLOSED),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, NO_MONEY, CLOSED),
    (400, {"error": {"code": "Arrearage", "message": "Access denied, ... good standing."}}, NO_MONEY, CLOSED),
    (403, {"error": {"code": "AccountOverdueError", "message": "overdue balance"}}, NO_MONEY, CLOSED),
    (400, "Content Exists Risk", CENSORED, CHANGE),
    (400, {"error": {"code": "data_inspection_failed", "message": "Input data may be inap."}}, CENSORED, CHANGE),
    (400, {"error": {"code": "1301", "message": "内容可能包含不安全或敏感内容"}}, CENSORED, CHANGE),
    (400, {"error": {"type": "content_filter", "message": "high risk"}}, CENSORED, CHANGE),
    (404, "The model `test-model` does not exist or you do not have access to it.", NO_MODEL, CLOSED),
    (404, 'model "test-model" not found, try pulling it first', NO_MODEL, CLOSED),
    (404, "Not found the model test-model or Permission denied", NO_MODEL, CLOSED),
    (400, "Model Not Exist", NO_MODEL, CLOSED),
    (400, {"error": {"code": "1211", "message": "模型不存在，请检查模型代码。"}}, NO_MODEL, CLOSED),
    (404, "no such page", NO_URL, CLOSED),
    (405, "Method Not Allowed", NO_URL, CLOSED),
    (429, "Rate limit reached for requests", TOO_FAST, BUSY),
    (400, "This model's maximum context length is 4096 tokens.", OTHER, SORRY),
    (500, "boom", OTHER, SORRY),
    (503, "overloaded", OTHER, SORRY),
]


def last_line(bot):
    """Return the newest line that says what was wrong; it is written before the user is answered."""
    return [line for line in bot.log_text().splitlines() if "大模型没有答完：" in line][-1]


@pytest.mark.parametrize(("status", "error", "cure", "words"), FAULTS, ids=range(len(FAULTS)))
def test_each_refusal_has_a_cure_in_the_log_and_words_for_the_user(wechat, model, bot, status, error, cure, words):
    """In one line, and without the key."""
    before = bot.log_text().count("大模型没有答完：")
    question = f"拒绝 {next(USERS)}"
    model.say(question, error, status=status)
    assert wechat.send_text(question).content == words
    assert f"大模型没有答完：{cure}（{status} " in last_line(bot)
    assert bot.log_text().count("大模型没有答完：") == before + 1
    assert KEY not in bot.log_text()
    assert "Traceback" not in bot.log_text()


@pytest.mark.parametrize(
    ("parts", "cure", "words"),
    [
        ((PAGE,), NO_URL, CLOSED),
        ((CUT,), GONE, SORRY),
        ((STOP,), GONE, SORRY),
        ((FILTERED,), CENSORED, CHANGE),
        (("说到", FILTERED), CENSORED, f"说到\n\n（回答到这里中断了：{CHANGE}）{LABEL[1:]}"),
        (
            ("说到", {"error": {"message": "Content Exists Risk"}}),
            CENSORED,
            f"说到\n\n（回答到这里中断了：{CHANGE}）{LABEL[1:]}",
        ),
        (("<think>想", CUT), GONE, SORRY),
    ],
    ids=["page", "cut", "stopped", "filtered", "filtered later", "risk", "cut while thinking"],
)
def test_what_goes_wrong_later_is_said_as_well(wechat, model, bot, parts, cure, words):
    question = f"晚些 {next(USERS)}"
    model.say(question, *parts)
    assert wechat.send_text(question).content == words
    assert f"大模型没有答完：{cure}（" in last_line(bot)
    wechat.send_text("然后呢？")
    assert model.told("然后呢？") == []


STARTS = {
    "good": ({}, None),
    "wrong key": ({}, (NO_KEY, 401, "no")),
    "no /v1": ({"OPENAI_BASE_URL": "{host}"}, (NO_URL, 404, "")),
    "too much": ({"OPENAI_BASE_URL": "{host}/v1/chat/completions"}, (NO_URL, 404, "")),
    "nobody": ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, (GONE, 0, "")),
    "no host": ({"OPENAI_BASE_URL": "http://nowhere.invalid/v1"}, (GONE, 0, "")),
    "no scheme": ({"OPENAI_BASE_URL": "api.deepseek.com"}, (GONE, 0, "")),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_is_set_up_wrongly_is_said_at_start(tmp_path, name):
    """Once, before the first user asks; the bot starts all the same, since it may be a matter of minutes."""
    changed, expected = STARTS[name]
    with endpoint() as model:
        if expected and expected[1]:
            model.say("你好", expected[2], status=expected[1])
        host = model.url.removesuffix("/v1")
        env = settings_for(model, **{key: value.format(host=host) for key, value in changed.items()})
        with servers.bot(tmp_path, "llm_bot", **env) as bot:
            until(lambda: not expected or "大模型没有答完：" in bot.log_text(), bot.log_text)
            said = re.findall(r"大模型没有答完：(.*)（(?:4|Conn|API)", bot.log_text())
    assert said == ([expected[0]] if expected else [])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("OPENAI_BASE_URL", ""),
        ("OPENAI_MODEL", ""),
        ("OPENAI_API_KEY", ""),
        ("OPENAI_API_KEY", "sk 1"),
        ("OPENAI_API_KEY", "密钥"),
        ("OPENAI_API_KEY", "sk-1\n"),
    ],
)
def test_what_can_be_no_setting_ends_the_start(monkeypatch, model, name, wrong):
    monkeypatch.syspath_prepend(servers.DEMO)
    for setting, value in {**settings_for(model), name: wrong}.items():
        monkeypatch.setenv(setting, value)
    with pytest.raises(ConfigError, match=f"请先设置环境变量 {name}（大模型的接口地址、模型名、密钥"):
        runpy.run_path(str(servers.DEMO / "llm_bot.py"))
