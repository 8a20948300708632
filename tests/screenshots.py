"""Makes the pictures of the documents: ``python tests/screenshots.py`` writes images/*.png, or only those that are named.

Needs Debian's chromium with CJK and emoji fonts, and Playwright from PyPI.
"""

import importlib
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import servers
import waiting
from llm_endpoint import endpoint
from playwright.sync_api import Browser, Page, sync_playwright

from wx_mp_svr import WxMpServer
from wx_mp_svr.desk.echo import echo
from wx_mp_svr.desk.simulator import make_app

IMAGES = Path(__file__).resolve().parent.parent / "images"
ACCOUNT = {
    "token": "Screenshots7",
    "appid": "wx0a1b2c3d4e5f6a7b",
    "aes_key": "screenshotsSCREENSHOTSscreenshotsSCREEN0123",
}
ARGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
).split()
MAX_BYTES = 400 * 1024
SCALE = 0.2  # of the times in a talk with a slow bot


def slow(req: Any) -> Any:
    time.sleep(17 * SCALE)
    return (
        "秋天的西湖，三日足矣：\n\n第一天　断桥、白堤、孤山，傍晚看雷峰夕照。\n"
        "第二天　灵隐寺、龙井村，喝一杯茶。\n第三天　九溪十八涧，满陇桂雨。"
    )


def bot(on_message: Callable[[Any], Any]) -> WxMpServer:
    return WxMpServer(on_message=on_message, on_subscribe=lambda _: "欢迎关注", **ACCOUNT, store="memory:")


FRUIT = '''"""水果摊：问价钱。"""

from wx_mp_svr import WxMpServer

PRICES = {"苹果": 5, "香蕉": 4}

server = WxMpServer()


@server.text
def price(req):
    return f"{req.content}：{PRICES[req.content]} 元一斤"


@server.on_subscribe
def welcome(event):
    return "欢迎光临！发水果的名字问价钱。"


if __name__ == "__main__":
    server.run()
'''


def say(page: Page, text: str) -> None:
    page.fill("#input", text)
    page.press("#input", "Enter")


def until(page: Page, selector: str, count: int) -> None:
    while page.locator(selector).count() < count:
        page.wait_for_timeout(30)


def demo(page: Page) -> None:
    until(page, ".line.bot", 1)  # the welcome
    say(page, "你好😁")
    until(page, ".line.bot", 2)
    page.click("#plus")
    page.click(".tiles button:text-is('图片')")
    page.fill("dialog input[name=MediaId]", "西湖.jpg")
    page.click("dialog .primary")
    until(page, ".line.bot", 3)
    page.click("[aria-label=发送语音]")
    page.fill("dialog input[name=MediaId]", "voice-2")
    page.click("dialog .primary")
    until(page, ".line.bot", 4)


def slow_answer(page: Page) -> None:
    until(page, ".line.bot", 1)  # the welcome
    say(page, "帮我排一个三天的西湖行程")
    until(page, ".words-link", 1)
    page.wait_for_timeout(900)
    page.click(".words-link")
    until(page, ".line.bot", 3)
    page.click("#timeline .push:nth-child(2) button.try >> nth=2")


def in_short(page: Page) -> None:
    until(page, ".line.bot", 1)  # the welcome
    say(page, "帮我排一个三天的西湖行程")
    until(page, ".words-link", 1)
    page.click(".words-link")
    until(page, ".line.bot", 3)


def shoot(
    browser: Browser,
    file: Path,
    url: str,
    act: Callable[[Page], None],
    *,
    width: int = 1220,
    height: int,
    scale: float = 2,
    dark: bool = False,
) -> None:
    size: Any = {"width": width, "height": height}
    scheme: Any = "dark" if dark else "light"
    page = browser.new_page(
        viewport=size, device_scale_factor=scale, locale="zh-CN", timezone_id="Asia/Shanghai", color_scheme=scheme
    )
    page.goto(url)
    page.wait_for_selector("#menu button", state="attached")
    act(page)
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)
    page.screenshot(path=file)
    page.context.close()


def tell(
    browser: Browser,
    file: Path,
    name: str,
    server: WxMpServer,
    act: Callable[[Page], None],
    time_scale: float = 1,
    **how: Any,
) -> None:
    """Shoot a talk with a bot in this process."""
    app = make_app(server, **ACCOUNT, key="k", name=name, time_scale=time_scale)
    with servers.in_thread(app) as url:
        user = {"users": ["oPictureOfTheUser0000000001"]}  # always the same face
        app.test_client().post("/k/state", base_url=url, json=user)
        shoot(browser, file, f"{url}/k/", act, **how)


def fail(browser: Browser, file: Path) -> None:
    """``wx-mp-svr dev`` with a handler that does not know every fruit."""

    def act(page: Page) -> None:
        until(page, ".line.bot", 1)  # the welcome
        say(page, "苹果")
        until(page, ".line.bot", 2)
        say(page, "西瓜")
        until(page, ".line.bot", 3)
        page.click("#log .failed-mark")
        page.wait_for_selector("#detail .bot-side.failed")

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "bot.py").write_text(FRUIT, "utf-8")
        ports = ["--port", str(servers.free_port()), "--bot-port", str(servers.free_port())]
        command = [sys.executable, "-m", "wx_mp_svr", "dev", "bot.py", "--no-browser", *ports]

        def log() -> str:
            return (directory / "log.txt").read_text("utf-8")

        with servers.running(command, servers.environment(directory, {"PYTHONUTF8": "1"}), directory):
            url = waiting.until(lambda: re.search(r"http://127.0.0.1:\d+/\S+/$", log(), re.MULTILINE), log, 30)
            shoot(browser, file, url[0], act, height=820, scale=1.5)


def talk_to_model(browser: Browser, file: Path) -> None:
    """demo/llm_bot.py with a local model, which takes its time before the second half of its first answer."""
    gate = threading.Event()
    trip, rain = "西湖三天怎么玩？", "第二天下雨怎么办？"

    def act(page: Page) -> None:
        until(page, ".line.bot", 1)  # the welcome
        say(page, trip)
        until(page, ".words-link", 1)
        gate.set()
        page.click(".words-link")
        until(page, ".line.bot", 3)
        say(page, rain)
        until(page, ".line.bot", 4)
        page.click("#timeline .push:nth-child(2) button.try >> nth=2")

    with endpoint() as model:
        half = (
            "### 三天行程\n- **第一天** 断桥、白堤、孤山，傍晚看雷峰夕照。\n- **第二天** 灵隐寺、龙井村，喝一杯茶。\n",
            "- **第三天** 九溪十八涧，满陇桂雨。\n\n详见[西湖景区](https://westlake.hangzhou.gov.cn/)。",
        )
        model.say(trip, half[0], gate, half[1])
        model.say(rain, "把第二天的龙井村换成**茶叶博物馆**，灵隐寺照旧：雨中的飞来峰更好看。")
        account = {f"WX_MP_{name.upper()}": value for name, value in ACCOUNT.items()}
        os.environ.update(account, WX_MP_STORE="memory:")
        os.environ.update(OPENAI_BASE_URL=model.url, OPENAI_API_KEY="sk-local", OPENAI_MODEL="local")
        sys.path.append(str(servers.DEMO))
        server = importlib.import_module("llm_bot").server
        tell(browser, file, "西湖小助手", server, act, height=900, scale=1.5)


def draw(browser: Browser, file: Path) -> None:
    """The settings form of the platform, with what belongs into each field: a drawing, since a screenshot is not ours."""
    html = (Path(__file__).parent / "settings_form.html").read_text("utf-8")
    for name, value in ACCOUNT.items():
        html = html.replace(f"{{{{{name}}}}}", value)
    # Text makes large files. 1960 pixels are still twice as many as a README is wide.
    page = browser.new_page(viewport={"width": 1400, "height": 100}, device_scale_factor=1.4)
    page.set_content(html)
    page.screenshot(path=file, full_page=True)
    page.context.close()


PICTURES: dict[str, Callable[[Browser, Path], None]] = {
    "demo": partial(tell, name="回声公众号", server=bot(echo), act=demo, height=760),
    "dark": partial(tell, name="回声公众号", server=bot(echo), act=demo, height=760, dark=True),
    "slow": partial(tell, name="行程小助手", server=bot(slow), time_scale=SCALE, act=slow_answer, height=720),
    "narrow": partial(tell, name="行程小助手", server=bot(slow), time_scale=SCALE, act=in_short, width=390, height=760),
    "failed": fail,
    "llm": talk_to_model,
    "配置公众号": draw,
}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=servers.installed("chromium"), args=ARGS)
        for name in sys.argv[1:] or PICTURES:
            PICTURES[name](browser, IMAGES / f"{name}.png")
        browser.close()
    for file in sorted(IMAGES.glob("*.png")):
        print(f"images/{file.name}: {file.stat().st_size // 1024} KB")
        if file.stat().st_size > MAX_BYTES:
            sys.exit("too large for a README")


if __name__ == "__main__":
    main()
