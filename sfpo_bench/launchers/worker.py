"""A worker process: works in one folder after another, as told on standard input, in one line of JSON each.

    parent -> worker   {"folder": "results/arithmetic/runs/sfpo/seed-0003", "processes": 1}
    worker -> parent   {"folder": ..., "outcome": "finished", "message": ...}   or one of the other outcomes of a turn

`python -m sfpo_bench.launchers.worker N`: replies go to file descriptor N. What is printed goes to a file of the
parent's. The worker never talks to the tracking store, nor to the study of a sweep.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sfpo_bench.launchers.protocol import Reply
from sfpo_bench.launchers.turn import take_turn


def main() -> None:
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # what this process starts must not keep the pipe open
    replies = os.fdopen(descriptor, "w", encoding="utf-8")
    parent = os.getppid()
    for line in sys.stdin:
        asked = json.loads(line)
        folder = str(asked["folder"])
        reply = take_turn(Path(folder), parent, processes=int(asked["processes"])) or Reply("died", "")
        answer = {"folder": folder, "outcome": reply.outcome, "message": reply.message}
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
