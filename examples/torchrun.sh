#!/bin/sh
# One run in four processes of this machine, each on a GPU of its own, or all on the processor where there is none.
# On two machines: the same on both, with --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 in place of
# --standalone, and an output_root that both see.
exec python -m torch.distributed.run --standalone --nproc-per-node="${PROCESSES:-4}" \
    -m sfpo_bench train algorithm=sfpo "$@"
