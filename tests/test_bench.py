"""The benchmarks measure what they say: every candidate answers, and no hostile body is refused for its size alone.

And what the README says of other libraries is so.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import servers

sys.path.append(str(Path(__file__).resolve().parent / "bench"))

import hostile
import pushes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # other people's libraries
def test_every_candidate_gives_the_same_answers():
    """A candidate that skipped its work would look cheap."""
    import cost

    logging.getLogger("wx_mp_svr").addHandler(logging.NullHandler())  # else, at exit: Redis is gone
    with cost.everyone() as everybody:
        cost.Rounds(everybody, messages=1).check()


@pytest.mark.parametrize(("size", "sealed"), [(48_000, True), (65_000, False)])
def test_hostile_bodies_are_as_large_as_is_allowed(size, sealed):
    sender = pushes.Sender("safe" if sealed else "plain")
    sizes = {name: len(sender.seal(make(1)).body) for name, make in hostile.bodies(size)}
    assert max(sizes.values()) <= 64 * 1024
    assert min(sizes.values()) > 10_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_readme_says_of_other_libraries(monkeypatch):
    """Eight seconds, and a long text: ours arrives; the others' handler runs three times, and the user sees the fault."""
    import candidates

    from wx_mp_svr.testing import FakeWeChat

    ran = []

    def think(_, content):
        ran.append(content)
        time.sleep(8 if content.startswith("慢") else 0)
        return "很长。" * 1000 if content.startswith("长") else "想好了"

    monkeypatch.setattr(candidates, "answer", think)
    account = {"token": candidates.TOKEN, "appid": candidates.APPID, "aes_key": candidates.AES_KEY}

    def talk(name):
        with servers.in_thread(candidates.app(name)) as url:
            wechat = FakeWeChat(url + candidates.CALLBACK, **account)
            assert wechat.send_text(f"快{name}").content == "想好了"
            slow, long = wechat.send_text(f"慢{name}"), wechat.send_text(f"长{name}")
            return slow.type, ran.count(f"慢{name}"), long.type, ran.count(f"长{name}")

    with ThreadPoolExecutor(3) as pool:
        seen = list(pool.map(talk, ("safe", "wechatpy", "werobot")))
    assert seen == [("text", 1, "text", 1), ("fault", 3, "fault", 3), ("fault", 3, "fault", 3)]
