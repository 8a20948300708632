"""The public face passes ``mypy --strict`` in a user's program."""

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
