"""How quick the simulator's page stays: ``python tests/bench/page.py`` prints a table. Not a test, nothing asserts.

Milliseconds of the browser's main thread for each push of a talk that has grown so long already, and the memory at the end.
The pushes come from outside, as those of a second tab do: a browser that is made to type pays for that, too.
"""

import argparse
import json
import logging
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "src")]

import servers  # noqa: E402
from playwright.sync_api import CDPSession, sync_playwright  # noqa: E402

from wx_mp_svr import WxMpServer  # noqa: E402
from wx_mp_svr.desk.simulator import make_app  # noqa: E402

ACCOUNT = {
    "token": "BenchPage7",
    "appid": "wxbench0000000000",
    "aes_key": "benchbenchbenchbenchbenchbenchbenchbenchben",
}
SAMPLE = 100  # pushes of one figure
PAUSE = 0.06  # seconds between two of them: each is drawn by itself
FILL_PAUSE = 0.01


def figures(devtools: CDPSession) -> dict[str, float]:
    return {entry["name"]: entry["value"] for entry in devtools.send("Performance.getMetrics")["metrics"]}


def push(url: str, number: int) -> None:
    """Send one message; the simulator answers when the bot has."""
    body = json.dumps({"msg_type": "text", "elements": {"Content": f"第 {number} 条"}}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10).read()


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
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # not while another process has the core
        said = 0
        for length in options.at:
            for number in range(said, length):
                push(f"{url}/k/push", number)
                time.sleep(FILL_PAUSE)
            page.wait_for_timeout(1000)  # until all is drawn
            before = figures(devtools)["TaskDuration"]
            for number in range(length, length + SAMPLE):
                push(f"{url}/k/push", number)
                time.sleep(PAUSE)
            page.wait_for_timeout(500)
            after = figures(devtools)
            said = length + SAMPLE
            spent = (after["TaskDuration"] - before) / SAMPLE * 1000
            print(f"| {length:,} | {spent:.1f} | {after['JSHeapUsedSize'] / 1e6:.1f} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
