"""What torchrun starts: one of the processes that do a job together.

    python -m torch.distributed.run --standalone --nproc-per-node=2 \\
        -m sfpo_bench.workers.rank sfpo_bench.training.run:train RUN
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sfpo_bench.workers.job import Job, JobEnding, run_job
from sfpo_bench.workers.torchrun import write_reply


def main() -> None:
    job, rank = Job(sys.argv[1], Path(sys.argv[2])), int(os.environ["RANK"])
    # Rank 0 holds the folder's lock: the others neither wait for it nor take it.
    reply = run_job(job, os.getppid(), waits=rank == 0)
    if reply is not None:
        write_reply(job.folder, rank, reply)
    # A rank that fails would leave the others waiting for it; torchrun ends them when one of them exits so.
    sys.exit(reply is None or reply.ending == JobEnding.failed)


if __name__ == "__main__":
    main()
