"""Makes the pictures of the README: ``python tests/screenshots.py`` writes images/*.png.

Needs Debian's chromium with CJK and emoji fonts, and Playwright from PyPI.
"""

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import servers
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


def slow(req: Any) -> Any:
    time.sleep(17 * 0.2)
    return (
        "秋天的西湖，三日足矣：\n\n第一天　断桥、白堤、孤山，傍晚看雷峰夕照。\n"
        "第二天　灵隐寺、龙井村，喝一杯茶。\n第三天　九溪十八涧，满陇桂雨。"
    )


def bot(on_message: Callable[[Any], Any], time_scale: float) -> WxMpServer:
    welcome = "欢迎关注"
    return WxMpServer(
        on_message=on_message, on_subscribe=lambda _: welcome, **ACCOUNT, store="memory:", time_scale=time_scale
    )


def say(page: Page, text: str) -> None:
    page.fill("#input", text)
    page.press("#input", "Enter")


def until(page: Page, selector: str, count: int) -> None:
    while page.locator(selector).count() < count:
        page.wait_for_timeout(30)


def demo(page: Page) -> None:
    page.click("#plus")
    page.click(".tiles button:text-is('关注')")
    until(page, ".line.bot", 1)
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
    say(page, "帮我排一个三天的西湖行程")
    until(page, ".words-link", 1)
    page.wait_for_timeout(900)
    page.click(".words-link")
    until(page, ".line.bot", 2)
    page.click("#timeline .push:first-child button.try >> nth=2")


STORIES = (
    ("demo", "回声公众号", bot(echo, 1.0), demo, 760),
    ("slow", "行程小助手", bot(slow, 0.2), slow_answer, 720),
)


def shoot(
    browser: Browser,
    file: Path,
    name: str,
    server: WxMpServer,
    act: Callable[[Page], None],
    height: int,
    scale: float = 2,
) -> None:
    app = make_app(server, **ACCOUNT, key="k", name=name)
    with servers.in_thread(app) as url:
        user = {"users": ["oPictureOfTheUser0000000001"]}  # always the same face
        app.test_client().post("/k/state", base_url=url, json=user)
        size: Any = {"width": 1220, "height": height}
        page = browser.new_page(viewport=size, device_scale_factor=scale, locale="zh-CN", timezone_id="Asia/Shanghai")
        page.goto(f"{url}/k/")
        page.wait_for_selector("#menu button", state="attached")
        act(page)
        page.evaluate("document.activeElement.blur()")
        page.mouse.move(0, 0)
        page.wait_for_timeout(200)
        page.screenshot(path=file)
        page.context.close()


def talk_to_model(browser: Browser, file: Path) -> None:
    """demo/llm_bot.py with a local model, which takes its time before the second half of its first answer."""
    gate = threading.Event()
    trip, rain = "西湖三天怎么玩？", "第二天下雨怎么办？"

    def act(page: Page) -> None:
        say(page, trip)
        until(page, ".words-link", 1)
        gate.set()
        page.click(".words-link")
        until(page, ".line.bot", 2)
        say(page, rain)
        until(page, ".line.bot", 3)
        page.click("#timeline .push:first-child button.try >> nth=2")

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
        shoot(browser, file, "西湖小助手", importlib.import_module("llm_bot").server, act, 900, 1.5)


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


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        for name, title, server, act, height in STORIES:
            file = IMAGES / f"{name}.png"
            shoot(browser, file, title, server, act, height)
        talk_to_model(browser, IMAGES / "llm.png")
        draw(browser, IMAGES / "配置公众号.png")
        browser.close()
    for file in sorted(IMAGES.glob("*.png")):
        print(f"images/{file.name}: {file.stat().st_size // 1024} KB")
        if file.stat().st_size > MAX_BYTES:
            sys.exit("too large for a README")


if __name__ == "__main__":
    main()
