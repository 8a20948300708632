"""Plays schedules drawn from seeds against the real delivery: ``python tests/simulation/run.py --seeds 10000``.

Prints ``N schedules, 0 violations``; or the story of the first failing seed, which replays exactly, and exits with 1.
"""

import argparse
import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "src")]

from world import World  # noqa: E402


def play(seed: int) -> World:
    """Play one schedule."""
    world = World(seed)
    world.lines = []
    try:
        world.play()
    except AssertionError as exc:
        world.violations.append(f"{type(exc).__name__}: {exc}")
    return world


def main() -> None:
    """Read the options and play."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first")
    options = parser.parse_args()
    logging.getLogger("wx_mp_svr").addHandler(logging.NullHandler())
    logging.getLogger("wx_mp_svr").propagate = False
    notices = 0
    for seed in range(options.first, options.first + options.seeds):
        world = play(seed)
        notices += world.notices
        if world.violations:
            print(*world.stage.story, *world.violations, f"seed {seed}", sep="\n")
            sys.exit(1)
    print(f"{options.seeds} schedules, 0 violations ({notices} notices where tries were reset)")


if __name__ == "__main__":
    main()
