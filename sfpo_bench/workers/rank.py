"""Entry point of a rank that torchrun starts for a job in several processes.

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
    # Only rank 0 takes the folder's lock.
    reply = run_job(job, os.getppid(), waits=rank == 0)
    if reply is not None:
        write_reply(job.folder, rank, reply)
    # torchrun kills the other ranks, which would wait for a failed one forever, if this one exits with an error.
    sys.exit(reply is None or reply.ending == JobEnding.failed)


if __name__ == "__main__":
    main()
