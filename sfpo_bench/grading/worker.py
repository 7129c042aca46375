"""A process that grades: `python -m sfpo_bench.grading.worker MEMORY_BYTES`; only here is FLINT imported.

Reads a JSON line for each request until its input ends, and writes one for each reply. The kernel kills it when a
request takes longer than its alarm, in the middle of anything.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from dataclasses import asdict

from sfpo_bench.core.types import GradeStatus
from sfpo_bench.grading.pool import READY
from sfpo_bench.grading.records import Question, Reply, Request


def main(memory_bytes: int) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default is to be killed
    logging.disable(logging.CRITICAL)
    from sfpo_bench.grading import verdicts

    verdicts.warm_up()
    replies, sys.stdout = sys.stdout, sys.stderr
    replies.write(READY.decode())
    replies.flush()
    for line in sys.stdin:
        fields, alarm_s = json.loads(line)
        request = Request(Question(fields.pop("question")), **fields)
        signal.setitimer(signal.ITIMER_REAL, alarm_s)
        try:
            reply = verdicts.reply(request)
        except MemoryError:
            # What is left of this process is not to be trusted with the next request.
            reply = Reply(GradeStatus.error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(asdict(reply)) + "\n")
        replies.flush()
        if reply.status is GradeStatus.error:
            sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
