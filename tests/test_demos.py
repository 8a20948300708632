"""Each demo as its user starts it, a process of its own, pushed to over real HTTP."""

import itertools
import re
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import servers
from llm_endpoint import CUT, STOP, endpoint

from wx_mp_svr.testing import FakeWeChat

PLAIN = {"token": "xxx"}
ACCOUNT = {**PLAIN, "appid": "wx0000000000000000", "aes_key": "x" * 43}
TIME = r" \n (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
LABEL = "\n\n（内容由AI生成）"
USERS = itertools.count(1)


@contextmanager
def serving(directory, program, gunicorn=False, **settings):
    """A demo as its user starts it; gives its URL."""
    with servers.bot(directory, program, workers=gunicorn, **settings) as bot:
        yield bot.url


def is_now(content, words):
    """Whether it is *words* and the time of day, to the letter as in the article."""
    found = re.fullmatch(re.escape(words) + TIME, content)
    return found and abs(time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) - time.time()) < 60


@pytest.mark.parametrize("path", sorted(servers.DEMO.glob("*.py")), ids=lambda path: path.name)
def test_a_demo_is_short(path):
    """It is read before it is run."""
    assert len(path.read_text("utf-8").splitlines()) <= 120


# -- keyword_bot -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gunicorn", [False, True], ids=["python", "gunicorn"])
def test_the_keyword_bot_does_what_the_article_says(tmp_path, gunicorn):
    """Plain mode: greeting, repeating, the image back, and silence for the rest."""
    with serving(tmp_path, "keyword_bot", gunicorn) as url:
        wechat = FakeWeChat(url, **PLAIN)
        assert wechat.verify_url().good
        for greeting in ("你好", "你好啊，在吗"):
            assert is_now(wechat.send_text(greeting).content, "hello!!")
        for other in ("在吗？你好", "1 < 2 ]]> &amp;", "hello"):
            assert is_now(wechat.send_text(other).content, f"复述：{other}")
        image = wechat.send_image("media-7")
        assert (image.type, image.media_id) == ("image", "media-7")
        for silent in (wechat.send_voice(), wechat.send_video(), wechat.send_location(), wechat.subscribe()):
            assert [attempt.reply for attempt in silent.tries] == [b"success"]


# -- stock_bot -------------------------------------------------------------------------------------------------------


def rows(database):
    with closing(sqlite3.connect(database)) as db:
        return {openid: values for openid, *values in db.execute("SELECT openid, threshold, stocks FROM users")}


GOOD = [
    ("设置 5", 5.0, None),
    ("设置0.01", 0.01, None),
    ("设置：20%", 20.0, None),
    ("设置 ５．５％", 5.5, None),
    ("订阅 600519", None, "600519"),
    ("订阅600519，000001、300750", None, "600519 000001 300750"),
    ("订阅 600519\n600519", None, "600519"),
    ("订阅" + "".join(f" {600000 + n}" for n in range(20)), None, " ".join(str(600000 + n) for n in range(20))),
]
BAD = [
    *["设置", "设置 ", "设置 0", "设置 -1", "设置 20.01", "设置 100", "设置 abc", "设置 5 6", "设置 1e1", "设置 nan"],
    *["设置 1.234", "设置 五", "设置 ٥", "设置 5;DROP TABLE users", "设置 " + "9" * 600],
    *["订阅", "订阅 60051", "订阅 6005190", "订阅 贵州茅台", "订阅 ，", "订阅 600519 abc", "订阅 sh600519"],
    *["订阅 ٠٠٠٠٠١", "订阅 " + " ".join(["600519", *(f"{n:06}" for n in range(20))])],
]


def test_the_stock_bot_keeps_good_values_and_refuses_bad_ones(tmp_path):
    """Bad values get an example of a good one, and change nothing."""
    database = tmp_path / "stock.db"
    with serving(tmp_path, "stock_bot", STOCK_DB=str(database)) as url:
        wechat = FakeWeChat(url, **ACCOUNT, openid="o-old")
        assert is_now(wechat.send_text("设置 5").content, "设置成功")
        assert is_now(wechat.send_text("订阅 600519").content, "订阅成功")
        for text in BAD:
            content = wechat.send_text(text).content
            assert content.startswith(f"没有{text[:2]}："), (text, content)
            assert f"例如：{text[:2]} " in content
        assert rows(database) == {"o-old": [5.0, "600519"]}
        for number, (text, *_) in enumerate(GOOD):
            assert is_now(wechat.send_text(text, openid=f"o{number}").content, f"{text[:2]}成功"), text
        new = {f"o{number}": values for number, (_, *values) in enumerate(GOOD)}
        assert rows(database) == {"o-old": [5.0, "600519"], **new}
        assert is_now(wechat.send_text("重新设置 5").content, "我来学你说：重新设置 5")
        assert wechat.send_image().type == ""


def test_the_stock_bot_keeps_users_apart_through_a_restart_and_two_processes(tmp_path):
    """Forty writes at once over two workers; the second half of each row comes after a restart."""
    database = tmp_path / "stock.db"
    users = [f"o{number}" for number in range(1, 21)]

    def each(url, words):
        wechats = [FakeWeChat(url, **ACCOUNT, openid=user) for user in users]
        with ThreadPoolExecutor(10) as pool:
            return list(pool.map(lambda n: wechats[n].send_text(words(n + 1)).content[:4], range(len(users))))

    with serving(tmp_path, "stock_bot", gunicorn=True, STOCK_DB=str(database)) as url:
        assert each(url, lambda n: f"设置 {n}") == ["设置成功"] * 20
    with serving(tmp_path, "stock_bot", gunicorn=True, STOCK_DB=str(database)) as url:
        assert each(url, lambda n: f"订阅 {n:06}") == ["订阅成功"] * 20
    assert rows(database) == {user: [float(n), f"{n:06}"] for n, user in enumerate(users, 1)}


# -- llm_bot ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    with endpoint() as served:
        yield served


def settings_for(model):
    own = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "sk-test", "OPENAI_MODEL": "test-model"}
    return own


@pytest.fixture(scope="module")
def llm_url(model, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("llm"), "llm_bot", **settings_for(model)) as url:
        yield url


@pytest.fixture
def wechat(llm_url):
    """A user of this test's own."""
    return FakeWeChat(llm_url, **ACCOUNT, openid=f"o{next(USERS):027}")


def good(result):
    """Whether WeChat found nothing wrong, the 2,047 bytes of a text among it."""
    return all(check.level == "ok" for check in result.checks) and len(result.content.encode()) <= 2047


def test_the_llm_bot_says_at_start_what_it_lacks(tmp_path, model):
    """And not to the first user."""
    env = servers.environment(tmp_path, {**settings_for(model), "OPENAI_API_KEY": "", "OPENAI_MODEL": ""})
    command = [sys.executable, str(servers.DEMO / "llm_bot.py")]
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
    assert ended.returncode == 1
    assert "请先设置环境变量 OPENAI_MODEL、OPENAI_API_KEY（" in ended.stderr.splitlines()[-1]


def test_a_quick_answer_says_who_wrote_it(wechat, model):
    """The endpoint gets key, model, prompt and question."""
    assert wechat.send_text("今天星期几？").content == f"答：今天星期几？{LABEL}"
    (request,) = model.asked("今天星期几？")
    assert request["model"] == "test-model"
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert set(model.keys) == {"Bearer sk-test"}


MARKDOWN = [
    ("# 一级", "【一级】"),
    ("### **三级** 标题", "【三级 标题】"),
    ("#话题 不是标题", "#话题 不是标题"),
    ("**重点**：`pip install` 和 **`code`**", "重点：pip install 和 code"),
    ("- 一", "• 一"),
    ("  * **二**：说明", "  • 二：说明"),
    ("1. **三**", "1. 三"),
    ("这是*斜体*字", "这是斜体字"),
    ("2 * 3 * 4，2**10，a*b*c", "2 * 3 * 4，2**10，a*b*c"),
    ("`**kwargs` 与 **粗体** 与 `a*b*c`", "**kwargs 与 粗体 与 a*b*c"),
    ("my_var_name 和 __init__", "my_var_name 和 __init__"),
    ("见[文档](https://a.cn/x_y?b=1&c=2)。", '见<a href="https://a.cn/x_y?b=1&c=2">文档</a>。'),
    ('[有题](https://a.cn "标题")', '<a href="https://a.cn">有题</a>'),
    ("![图](https://a.cn/1.png) [无址](#x)", '<a href="https://a.cn/1.png">图</a> [无址](#x)'),
    ("| 城市 | **气温** |", "城市 ｜ 气温"),
    ("|:-----|-----:|", "————"),
    ("| 杭州 | 25 |", "杭州 ｜ 25"),
    ("---", "————"),
    ("```python", None),
    ("# 注释 **不动**", "# 注释 **不动**"),
    ("    - x = `y`", "    - x = `y`"),
    ("```", None),
    ("a || b，**没有关上", "a || b，没有关上"),
    ("😀 结束", "😀 结束"),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_markdown_becomes_readable_however_it_is_cut_into_pieces(wechat, model, size):
    """WeChat shows the signs of Markdown as they are, but knows links."""
    text = "\n".join(markdown for markdown, _ in MARKDOWN)
    question = f"Markdown {size}"
    model.say(question, *(text[start : start + size] for start in range(0, len(text), size)))
    expected = [plain for _, plain in MARKDOWN if plain is not None]
    result = wechat.send_text(question)
    assert result.content.removesuffix(LABEL).split("\n") == expected
    assert good(result)


def test_a_slow_answer_comes_with_the_second_try(wechat, model):
    """The model goes on when WeChat has hung up for the first time."""
    gate = threading.Event()
    model.say("慢", "想一想", gate, "……好了。")
    wechat.on_try = lambda result, attempt: gate.set()
    result = wechat.send_text("慢")
    assert result.content == f"想一想……好了。{LABEL}"
    assert result.tries[0].status is None
    assert len(model.asked("慢")) == 1


def test_of_a_slower_one_the_last_try_shows_what_there_is(llm_url, model):
    """The rest is behind the link, and the label at the end of it; the first piece may end its line or not."""

    def ask(begin):
        gate, question = threading.Event(), f"更慢 {begin}".strip()
        wechat = FakeWeChat(llm_url, **ACCOUNT, openid=f"o{next(USERS):027}")
        model.say(question, begin, "第二", gate, "段。")
        first = wechat.send_text(question)
        gate.set()
        return first, wechat.tap(first).content, len(model.asked(question))

    begins = ("第一段。\n", "第一句，没有换行。")
    with ThreadPoolExecutor(2) as pool:
        for begin, (first, rest, asked) in zip(begins, pool.map(ask, begins), strict=True):
            assert len(first.tries) == 3
            assert re.fullmatch(rf"{begin.strip()}\n+<a [^>]*>下一页</a>", first.content)
            assert (rest, asked) == (f"第二段。{LABEL}", 1)


def test_a_long_answer_is_read_page_by_page(wechat, model):
    """Each within WeChat's bytes; put together they are the answer, with one label at its end."""
    lines = [f"第 {n} 条：" + "字" * 60 + "。\n" for n in range(40)]
    model.say("长", "".join(lines).rstrip())
    pages = [wechat.send_text("长")]
    while pages[-1].links:
        pages.append(wechat.tap(pages[-1]))
    assert len(pages) > 3
    assert all(map(good, pages))
    text = "".join(re.sub(r"\n\n<a [^>]*>下一页</a>$", "", page.content) for page in pages)
    assert "".join(text.split()) == "".join(("".join(lines) + LABEL).split())  # blanks before a link are dropped
    assert len(model.asked("长")) == 1


def test_a_follow_up_knows_what_was_said_but_not_what_others_said(wechat, model):
    """As the user and the model put it: without label, and in the model's Markdown."""
    model.say("推荐一本书", "读**《围城》**。")
    assert wechat.send_text("推荐一本书").content == f"读《围城》。{LABEL}"
    assert wechat.send_text("谁写的？").content == f"答：谁写的？{LABEL}"
    assert model.told("谁写的？") == ["推荐一本书", "读**《围城》**。"]
    roles = [message["role"] for message in model.asked("谁写的？")[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    wechat.send_text("你好，我是别人", openid="o-somebody-else")
    assert model.told("你好，我是别人") == []


def test_what_it_remembers_is_bounded(wechat, model):
    """Six turns, 2,000 characters of each message."""
    model.say("第 0 问", "长" * 5000)
    for number in range(9):
        wechat.send_text(f"第 {number} 问")
        if number == 1:
            assert model.told("第 1 问") == ["第 0 问", "长" * 2000]
    assert model.told("第 8 问") == [f"{mark}第 {n} 问" for n in range(2, 8) for mark in ("", "答：")]


@pytest.mark.parametrize("word", ["清空", " 新对话\n"])
def test_the_history_is_cleared_by_a_word(wechat, model, word):
    """Which the model does not get to see."""
    wechat.send_text("记住：7")
    before = len(model.requests)
    assert wechat.send_text(word).content == "好的，我们重新开始。"
    assert len(model.requests) == before
    wechat.send_text("我让你记住什么？")
    assert model.told("我让你记住什么？") == []


def test_a_second_question_does_not_wait_for_the_first(wechat, model):
    """The first one is still streaming; both are remembered, in the order in which they were answered."""
    started, gate = threading.Event(), threading.Event()
    model.say("慢慢说", "这个", started.set, gate, "说完了。")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(wechat.send_text, "慢慢说")
        assert started.wait(30)
        assert wechat.send_text("快问").content == f"答：快问{LABEL}"
        gate.set()
        assert first.result().content == f"这个说完了。{LABEL}"
    assert model.told("快问") == []
    wechat.send_text("然后呢？")
    assert model.told("然后呢？") == ["快问", "答：快问", "慢慢说", "这个说完了。"]


def test_what_was_still_streaming_when_the_talk_was_cleared_is_not_remembered(wechat, model):
    """It belongs to the talk that the user has ended."""
    started, gate = threading.Event(), threading.Event()
    model.say("旧话题", started.set, gate, "旧的。")
    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(wechat.send_text, "旧话题")
        assert started.wait(30)
        assert wechat.send_text("清空").content == "好的，我们重新开始。"
        gate.set()
        assert old.result().content == f"旧的。{LABEL}"
    wechat.send_text("新话题")
    assert model.told("新话题") == []


BUSY, FAILED, CLOSED = "问的人太多，请稍后再试。", "大模型没有回应，请重试。", "机器人还没有准备好，请稍后再来。"
BROKEN = f"（回答到这里中断了：{FAILED}）\n"


@pytest.mark.parametrize(
    ("status", "parts", "expected"),
    [
        (429, (), BUSY),
        (500, (), FAILED),
        (401, (), CLOSED),
        (200, ("说到", "一半", CUT), f"说到一半\n\n{BROKEN}{LABEL.strip()}"),
        (200, ("**一**\n", "二", STOP), f"一\n二\n\n{BROKEN}{LABEL.strip()}"),
        (200, ("说到", {"error": {"message": "overloaded"}}), f"说到\n\n{BROKEN}{LABEL.strip()}"),
        (200, (CUT,), FAILED),
        (200, (STOP,), FAILED),
        (200, ({"error": {"message": "overloaded"}},), FAILED),
        (200, (), "没想出来，请换个问法。"),
    ],
    ids=["429", "500", "401", "cut", "stopped", "error", "cut at once", "stopped at once", "error at once", "empty"],
)
def test_when_the_model_fails_the_user_gets_what_came_and_it_is_not_remembered(wechat, model, status, parts, expected):
    """The label stands under what the model wrote, and only there."""
    question = f"会失败吗 {expected} {status} {len(parts)}"
    model.say(question, *parts, status=status)
    result = wechat.send_text(question)
    assert result.content == expected
    assert good(result)
    wechat.send_text("还在吗？")
    assert model.told("还在吗？") == []


def test_what_is_no_question_is_answered_without_the_model(wechat, model):
    """Only text and what WeChat has understood of a recording are questions."""
    before = len(model.requests)
    for result in (wechat.send_voice(), wechat.send_image(), wechat.send_location(), wechat.send_text(" \n")):
        assert result.content.startswith("请用文字或语音提问")
    assert "AI" in wechat.subscribe().content
    assert len(model.requests) == before
    assert wechat.send_voice(recognition="明天下雨吗？").content == f"答：明天下雨吗？{LABEL}"


def test_two_workers_share_what_they_remember(tmp_path, model):
    """Ten users at once, three questions each, wherever they land."""

    def talk(user):
        wechat = FakeWeChat(url, **ACCOUNT, openid=user)
        return [wechat.send_text(f"{user} 的第 {n} 问").content for n in range(3)]

    with serving(tmp_path, "llm_bot", gunicorn=True, **settings_for(model)) as url, ThreadPoolExecutor(10) as pool:
        users = [f"o-worker-{number}" for number in range(10)]
        talks = dict(zip(users, pool.map(talk, users), strict=True))
    for user, replies in talks.items():
        assert replies == [f"答：{user} 的第 {n} 问{LABEL}" for n in range(3)]
        assert model.told(f"{user} 的第 2 问") == [
            f"{mark}{user} 的第 {n} 问" for n in range(2) for mark in ("", "答：")
        ]
