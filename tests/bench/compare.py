"""What a message costs, beside an empty Flask view, wechatpy and WeRoBot: ``python tests/bench/compare.py`` (see --help).

Part "cost": CPU time in one process on one core, as ratios to an empty Flask POST view. Part "tail": the slowest of
100,000 messages on SQLite, with 1,000 and 1,000,000 rows in its table. Part "body": cost over the body's size, and hostile
bodies. Part "start": import and idle memory. Part "gunicorn": throughput, latency and the server's CPU
under load.

Not a test, nothing asserts, except that every candidate has to answer correctly. What misses its goal by more than 5 % is
marked with a "!".
"""

import argparse
import importlib.util
import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "src")]

NEEDED = {name: name for name in ("wechatpy", "cryptography", "werobot", "redis", "gunicorn")}


def main() -> None:
    """Read the options and play the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", nargs="+", choices=("cost", "tail", "body", "start", "gunicorn"), help="only these")
    add("--quick", action="store_true", help="a tenth of the rounds, for a first look")
    add("--rounds", type=int, default=60, help='of part "cost"; the others have theirs in proportion')
    add("--messages", type=int, default=200, help='for each candidate and round of part "cost"')
    options = parser.parse_args()
    if missing := [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]:
        raise SystemExit(f"first: pip install {' '.join(missing)}")
    logging.getLogger("wx_mp_svr").addHandler(logging.NullHandler())  # refusals are meant here

    import body
    import cost
    import start
    import tables
    import tail
    import throughput

    rounds = max(2, options.rounds // 10 if options.quick else options.rounds)
    parts = {
        "cost": lambda: cost.run(rounds, options.messages),
        "tail": lambda: tail.run(3, 10_000 if options.quick else tail.MESSAGES),
        "body": lambda: body.run(max(3, rounds // 6)),
        "start": lambda: start.run(max(3, rounds // 3)),
        "gunicorn": lambda: throughput.run(max(1, rounds // 6)),
    }
    print(tables.machine())
    for name in options.part or parts:
        print(f"\n## {name}\n\n{parts[name]()}", flush=True)


if __name__ == "__main__":
    main()
