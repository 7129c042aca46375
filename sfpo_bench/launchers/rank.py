"""What torchrun starts: one of the processes that train a run together.

python -m torch.distributed.run --standalone --nproc-per-node=2 -m sfpo_bench.launchers.rank RUN
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sfpo_bench.launchers.torchrun import write_reply
from sfpo_bench.launchers.turn import take_turn


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    # The folder is rank 0's: the others neither wait for its lock nor take it.
    reply = take_turn(folder, os.getppid(), waits=rank == 0)
    assert reply is not None
    write_reply(folder, rank, reply)
    # A rank that fails would leave the others waiting for it; torchrun ends them when one of them exits so.
    sys.exit(reply.outcome == "failed")


if __name__ == "__main__":
    main()
