"""Whole runs: phases that do not differ are one phase, and one without steps is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.conftest import TINY
from tests.in_process import sfpo_bench

GSPO = "{kind: clipped, ratio: {kind: sequence}, clip_low: 0.0003, clip_high: 0.0004}"
NAMED = {
    "one": "",
    "twice the same": "{a: {last_step: 2}, b: {first_step: 3, objective: {kind: clipped}}}",
    "none of the second": f"{{a: {{last_step: 4}}, b: {{first_step: 5, objective: {GSPO}}}}}",
    "two": f"{{a: {{last_step: 2}}, b: {{first_step: 3, objective: {GSPO}}}}}",
}


def test_equal_phases_are_one_and_a_phase_without_steps_is_none_bit_for_bit(tmp_path: Path) -> None:
    """SFPO with a trigger that watches: its window goes on across the border of phases."""
    hashes = {}
    for name, phases in NAMED.items():
        chosen = ["algorithm/phases=in_order", f"algorithm.phases.named={phases}"] if phases else []
        sfpo = ("algorithm=sfpo", "algorithm.update_rule.trigger.window=3", f"run_name={name.replace(' ', '_')}")
        done = sfpo_bench(tmp_path, "train", "tracking=none", *TINY, "training.steps=4", *sfpo, *chosen)
        assert done.code == 0, done.err
        last = tmp_path / "results" / "runs" / name.replace(" ", "_") / "checkpoints" / "step-000004"
        hashes[name] = hashlib.sha256((last / "weights.safetensors").read_bytes()).hexdigest()
    assert hashes["one"] == hashes["twice the same"] == hashes["none of the second"]
    assert hashes["two"] != hashes["one"]
