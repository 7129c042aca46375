"""Whole runs of objectives that remember steps: killed, they end with the same bits; and what they remember counts."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import command
from tests.in_process import sfpo_bench
from tests.training.test_kill_and_resume import _DIE
from tests.training.test_runs_with_a_critic import IN_STEP_3, SHORT, ended

# Several passes at a high rate, so that the bound on the ratio is met.
PPO_BR = (
    *("train", "algorithm=repeat", "algorithm/objective=ppo_br", "algorithm.objective.window=2", "run_name=run"),
    *(*SHORT, "learner.learning_rate=2e-3", "rollout.prompts=16"),
)


@pytest.mark.slow
def test_a_clip_range_that_follows_entropy_and_reward_survives_a_kill(tmp_path: Path) -> None:
    """Killed in step 3, taken up from step 2."""
    for name in ("whole", "killed", "plain"):
        (tmp_path / name).mkdir()
    died = subprocess.run(
        command(PPO_BR, _DIE + IN_STEP_3), cwd=tmp_path / "killed", capture_output=True, text=True, timeout=280
    )
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for name, more in (("whole", ()), ("killed", ()), ("plain", ("algorithm/objective=clipped",))):
        kept = [argument for argument in PPO_BR if name != "plain" or "objective" not in argument]
        done = sfpo_bench(tmp_path / name, *kept, *more)
        assert done.code == 0, done.err
    whole, killed, plain = (tmp_path / name / "results" / "runs" / "run" for name in ("whole", "killed", "plain"))
    assert ended(killed) == ended(whole)
    first, *later = zip(_losses(plain), _losses(whole), strict=True)
    assert first[0] == first[1] and all(fixed != moved for fixed, moved in later), "from the second step on it counts"
    kept_state = json.loads((killed / "checkpoints" / "step-000002" / "state.json").read_text())["rule"]
    assert len(kept_state["objective 0: rewards"]) == 2 and kept_state["objective 0: entropy"] > 0


def _losses(run: Path) -> list[list[float]]:
    """Of each step, the losses of its passes."""
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [[stage["loss"] for stage in record["stages"]] for record in records if "stages" in record]
