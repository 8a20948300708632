"""One of several processes that share a store; what to do comes line by line, see `store_contract.Crew`.

A program of its own: what tests need else takes longer to import than all that it does.
"""

import importlib
import json
import os
import sys
import time
from typing import Any


def work() -> None:
    """Be one of the crew."""
    store: Any = None
    for line in sys.stdin:
        question = json.loads(line)
        answer: Any = None
        try:
            if recipe := question.get("open"):
                module, _, name = recipe[0].partition(":")
                store = getattr(importlib.import_module(module), name)(recipe[1])
            if question.get("fork") and os.fork():
                os._exit(0)
            if calls := question.get("calls"):
                while time.monotonic() < question["start"]:
                    pass
                answer = [getattr(store, verb)(*arguments) for verb, *arguments in calls]
        except Exception as exc:
            answer = f"{type(exc).__name__}: {exc}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    work()
