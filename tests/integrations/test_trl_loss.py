"""On one batch the loss of GRPO and its gradient are TRL's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sfpo_bench.algorithms.objectives import Clipped, Normalization
from sfpo_bench.settings.training import LearnerSettings, OptimizerKind
from sfpo_bench.training.learner import LocalLearner
from tests.training.policies import batch, on_cpu, policy

pytest.importorskip("trl", reason="TRL lives in an environment of its own: make test-trl")
from tests.integrations.test_trl import Seen, grpo


@pytest.mark.parametrize(
    ("loss_type", "normalization"), [("grpo", Normalization.response_mean), ("bnpo", Normalization.token_mean)]
)
def test_loss_and_gradient_in_fp32_are_trls(loss_type: str, normalization: Normalization, tmp_path: Path) -> None:
    """Unequal prompts and responses, log-probs of other weights as the old ones: some ratios are clipped."""
    data = batch(4, seed=3)
    trainer = grpo(tmp_path, Seen(), loss_type=loss_type, max_steps=1)
    model = trainer.model
    model.load_state_dict(policy(dtype=torch.float32).state_dict())
    learner = LocalLearner(
        policy(seed=1, dtype=torch.float32),
        Clipped(normalization=normalization),
        LearnerSettings(optimizer=OptimizerKind.sgd, learning_rate=1.0, gradient_clip_norm=0.0, mini_batch_prompts=4),
        1.0,
    )
    learner.begin_step(1, data)
    with torch.no_grad():
        old_BT = learner._scorer.score(on_cpu(data)).log_probs_BT
        learner._score_start(data)
    learner.masters.load({name: p.detach() for name, p in policy(dtype=torch.float32).named_parameters()})
    before = {name: master.detach().clone() for name, master in learner.masters.masters.items()}
    ours = learner.optimize(data, "pass_1")
    assert ours.clip_fraction > 0.05

    width, rows = int(data.prompt_tokens_P.max()), data.owners_B
    prompt_ids = torch.zeros(len(data), width, dtype=torch.long)
    prompt_mask = torch.zeros_like(prompt_ids)
    for row, owner in enumerate(rows.tolist()):
        tokens = int(data.prompt_tokens_P[owner])
        prompt_ids[row, width - tokens :] = data.prompts_PL[owner, :tokens]
        prompt_mask[row, width - tokens :] = 1
    inputs: dict[str, Any] = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": data.responses_BT,
        "completion_mask": data.response_mask_BT().long(),
        "advantages": data.advantages_BT[:, 0].float(),
        "old_per_token_logps": old_BT,
        "num_items_in_batch": data.response_tokens_B.sum(),
    }
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer._compute_loss(model, inputs)
    theirs.backward()
    assert ours.loss == pytest.approx(float(theirs.detach()), abs=1e-5)
    for name, parameter in model.named_parameters():
        step = before[name] - learner.masters.masters[name].detach()
        assert torch.allclose(step, parameter.grad, atol=1e-5), name
