"""The public face in a user's program, as type checkers see it: good lines pass, and each bad line is found."""

import json
import subprocess
import sys
from pathlib import Path

from servers import environment

USAGE = Path(__file__).with_name("typing_usage.py")


def test_a_users_program_passes_mypy_strict(tmp_path):
    """Read without this project's mypy settings, from a folder elsewhere, as a user's own check would."""
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    program = tmp_path / "bot.py"
    program.write_text(USAGE.read_text())
    # The paths that Python itself would import from, since the package is read where it is installed.
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)]
    env = environment(tmp_path, {})
    result = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr


def test_pyright_finds_each_bad_line_and_no_other(tmp_path):
    """Editors ask it. What mypy is told to ignore is what pyright must find."""
    program = tmp_path / "bot.py"
    program.write_text(USAGE.read_text())
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard", "enableTypeIgnoreComments": false}')
    # Pyright's own rules in the build that registries have with all that it needs.
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    done = subprocess.run(
        command, env=environment(tmp_path, {}), cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=110
    )
    found = {row["range"]["start"]["line"] + 1 for row in json.loads(done.stdout)["generalDiagnostics"]}
    bad = {number for number, line in enumerate(USAGE.read_text().splitlines(), 1) if "# type: ignore" in line}
    assert found == bad, done.stdout
