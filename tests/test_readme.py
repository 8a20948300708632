"""The README says what is so: its examples run, its tables are those of the code."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import servers

from wx_mp_svr.config import Settings
from wx_mp_svr.events import EVENTS
from wx_mp_svr.req_msg import KINDS

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ENVIRONMENT = {
    "WX_MP_APPID": "wx0123456789abcdef",
    "WX_MP_TOKEN": "ReadmeToken",
    "WX_MP_AES_KEY": "r" * 43,
    "WX_MP_STORE": "memory:",
    "WX2_STORE": "memory:",
}


def rows(heading):
    """Return the cells of the table below a heading."""
    part = README.split(heading, 1)[1]
    table = re.search(r"\n\|.*?\n\n", part + "\n\n", re.DOTALL)[0].strip().splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table[2:]]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_runs(example, tmp_path):
    program = tmp_path / "bot.py"
    program.write_text(example.replace('if __name__ == "__main__":', "if False:"), "utf-8")
    env = servers.environment(tmp_path, ENVIRONMENT)
    done = subprocess.run([sys.executable, "-W", "error", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_table_of_settings_is_that_of_the_code():
    table = {cells[0]: cells[1:] for cells in rows("## 全部设置")}
    assert list(table) == [field.name for field in fields(Settings)]
    for field in fields(Settings):
        variable, default, about = table[field.name]
        assert variable == f"WX_MP_{field.name.upper()}"
        assert about == field.metadata["about"]
        if field.name not in ("mode", "store") and field.default != "":
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            shown = str(int(field.default)) if isinstance(field.default, bool) else shown
            assert default == f"{shown} {field.metadata['unit']}".strip()


def test_the_table_of_events_is_that_of_the_code():
    answerable = {"yes": "能", "no": "不能", "?": "未说明"}
    expected = [
        [name, cls.__name__, cls.__doc__.split(".")[0], answerable[cls.answerable]] for name, cls in EVENTS.items()
    ]
    assert rows("<details><summary>全部事件</summary>") == expected


def test_the_table_of_messages_is_that_of_the_code():
    table = rows("## 消息与事件")
    kinds = {kind: cls for (kind, event), cls in KINDS.items() if not event and kind != "event"}
    assert [(cells[0], cells[1]) for cells in table] == [(kind, cls.__name__) for kind, cls in kinds.items()]
    for kind, _, described in table:
        names = re.findall(r"[a-z_0-9]+", re.sub(r"（.*?）", "", described))
        assert set(names) <= {field.name for field in fields(kinds[kind])}
