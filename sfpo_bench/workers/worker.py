"""A local worker process: runs jobs one after another, each read from standard input as one line of JSON.

    parent -> worker   {"function": "sfpo_bench.training.run:train", "folder": "results/arithmetic/runs/sfpo/seed-0003",
                        "processes": 1}
    worker -> parent   {"folder": ..., "ending": "finished", "message": ...}   or another `JobEnding`

`python -m sfpo_bench.workers.worker N` writes replies to file descriptor N. Printed output goes to the parent's log.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sfpo_bench.workers.job import Job, JobEnding, JobReply, run_job


def main() -> None:
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # child processes must not keep the pipe open
    replies = os.fdopen(descriptor, "w", encoding="utf-8")
    parent = os.getppid()
    for line in sys.stdin:
        request = json.loads(line)
        job = Job(str(request["function"]), Path(request["folder"]))
        reply = run_job(job, parent, processes=int(request["processes"])) or JobReply(JobEnding.died, "")
        answer = {"folder": str(job.folder), "ending": reply.ending, "message": reply.message}
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
