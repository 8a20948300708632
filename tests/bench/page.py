"""How quick the simulator's page stays: ``python tests/bench/page.py`` prints a table. Not a test, nothing asserts.

Milliseconds of the browser's main thread for each push of a talk that has grown so long already, and the memory at the end.
The first line is what typing alone costs, without a push: a browser that is driven from outside pays for it in every line.
"""

import argparse
import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "src")]

import servers  # noqa: E402
from playwright.sync_api import CDPSession, Page, sync_playwright  # noqa: E402

from wx_mp_svr import WxMpServer  # noqa: E402
from wx_mp_svr.desk.simulator import make_app  # noqa: E402

ACCOUNT = {
    "token": "BenchPage7",
    "appid": "wxbench0000000000",
    "aes_key": "benchbenchbenchbenchbenchbenchbenchbenchben",
}
SAMPLE = 50  # pushes of one figure
PAUSE_MS = 60


def figures(devtools: CDPSession) -> dict[str, float]:
    return {entry["name"]: entry["value"] for entry in devtools.send("Performance.getMetrics")["metrics"]}


def say(page: Page, first: int, count: int, end: str = "Enter") -> None:
    """Type so many messages; each has been answered and drawn when the next one comes."""
    for number in range(first, first + count):
        page.fill("#input", f"第 {number} 条")
        page.press("#input", end)
        page.wait_for_timeout(PAUSE_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=int, nargs="+", default=[100, 1000, 3000], help="lengths of the talk")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    server = WxMpServer(on_message=lambda req: f"你说：{req.content}", store="memory:", **ACCOUNT)
    app = make_app(server, **ACCOUNT, key="k", name="基准", time_scale=1.0)
    print("| pushes | ms per push | JS heap, MB |\n|---|---|---|")
    with servers.in_thread(app) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=servers.installed("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/k/")
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def measure(title: str, first: int, end: str = "Enter") -> None:
            before = figures(devtools)["TaskDuration"]
            say(page, first, SAMPLE, end)
            after = figures(devtools)
            spent = (after["TaskDuration"] - before) / SAMPLE * 1000
            print(f"| {title} | {spent:.1f} | {after['JSHeapUsedSize'] / 1e6:.1f} |", flush=True)

        measure("typing alone", 0, end="Shift")
        said = 0
        for length in options.at:
            say(page, said, length - said)
            measure(f"{length:,}", length)
            said = length + SAMPLE
        browser.close()


if __name__ == "__main__":
    main()
