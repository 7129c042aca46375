"""The metrics of a training step by key; journal, MLflow and report columns use the same keys.

Statistics of a stage (`StageStats`) have keys `<stage>/<statistic>`, for example `fast_1/clip_fraction`.
"""

from __future__ import annotations

# Metrics of collectors other than `group`.
COLLECTOR_METRICS: dict[str, str] = {
    "sampling_rounds": "rounds of problems that dynamic sampling took (absent without it, as the next three)",
    "sampled_groups_with_signal_share": "share of the groups sampled that are neither all right nor all wrong",
    "sampled_correct_share": "share of all responses sampled that are graded correct, left out of the batch or not",
    "filled_groups_share": "share of the batch's groups that have no signal, since the last round is over",
    "replayed_responses": "responses of earlier steps in the batch (absent without replay, as the next two)",
    "replay_buffer_responses": "responses that could have been drawn for it",
    "replay_age_mean": "mean age of those in the batch, updates (absent where there are none)",
    "shared_tokens_share": "share of the tokens of a tree's responses that they have in common with an earlier one "
    "(absent without trees, as the next)",
    "filled_responses_share": "share of the responses that fill places of branches which ended early",
    "dropped_problems": "problems that drop_solved has dropped so far (absent without it)",
    "majority_share_mean": "mean part of a prompt's responses that gave the most frequent answer (with m_grpo only)",
    "unlabelled_groups_share": "share of prompts whose majority is no label (with m_grpo only)",
    "left_out_share": "share of the batch's responses that are left out for their low entropy (with m_grpo only)",
    "solution_reward_mean": "mean reward of the reference solutions, which are in no other scalar (with temp_samp)",
    "entropy_seconds": "a forward pass over the responses, for their entropies (with m_grpo only)",
}

STEP_METRICS: dict[str, str] = {
    "reward_mean": "mean reward of the step's responses",
    "reward_std": "population standard deviation of the step's rewards",
    "correct_share": "share of responses graded correct",
    **COLLECTOR_METRICS,
    "grading_failed_share": "share of responses sampled whose grading took too long or broke; above 1 % the run stops",
    "flipped_rewards": "rewards of the step that are flipped (absent without training.reward_flip_probability)",
    "groups_without_signal_share": "share of groups whose advantages are all zero",
    "response_tokens_mean": "mean response length, tokens, the end-of-sequence token included",
    "prompt_tokens_mean": "mean prompt length, tokens",
    "response_tokens_max": "length of the longest response, tokens",
    "truncated_share": "share of responses cut at the token limit",
    "entropy": "mean token entropy over the whole batch at the step's starting weights, nats",
    "engine_ratio_mean": "mean over tokens of trainer probability / engine probability at the starting weights, raw",
    "engine_ratio_max": "largest such ratio",
    "engine_effective_sample_share": "effective sample size of those ratios as a share of the tokens; 1 is a match",
    "alpha": "reposition coefficient in force (absent for rules without one; 0 once the fast stage is off)",
    "trigger_z": "z-score of the entropy in the trigger's window (absent until the window is full)",
    "displacement": "Euclidean norm of the change of the weights over the step",
    "fast_slow_cosine": "cosine between the fast displacement and the slow step (absent without a fast stage)",
    "learning_rate": "learning rate of the step",
    "rollout_seconds": "generating the responses",
    "grading_seconds": "grading them",
    "old_log_prob_seconds": "log-probs at the starting weights where a pass of their own computes them",
    "fast_seconds": "the fast passes",
    "reposition_seconds": "snapshot and interpolation of the weights",
    "slow_seconds": "the slow pass, or all passes of a rule without a fast stage",
    "update_seconds": "the whole update",
    "push_seconds": "handing the new weights to the rollout engine, checks of the engine included",
    "parity_seconds": "of them, comparing the engine's log-probs with the trainer's (absent without a check)",
    "parity_max": "largest difference of their log-probs in that check, nats (absent without one)",
    "parity_mean": "mean difference of their log-probs in that check, nats (absent without one)",
    "parity_bound": "what parity_max may be at most (absent without a check)",
    "engine_restarts": "times the rollout engine had to be started again since the process began",
    "cached_prompt_share": "share of the step's prompt tokens the engine found in its prefix cache",
    "step_seconds": "the whole step, without evaluation and checkpoint",
    "checkpoint_seconds": "writing the checkpoint that preceded this step (0 when there was none)",
}

# Metrics of each module trained beside the policy, as `<module>/<statistic>`, for example `critic/loss`.
MODULE_METRICS: dict[str, str] = {
    "loss": "mean over tokens of what the module's optimizer steps minimise, before each; mean over the steps",
    "gradient_norm": "mean gradient norm of those steps, before clipping",
    "optimizer_steps": "optimizer steps that the module took; the costs of a run count the policy's alone",
    "learning_rate": "learning rate of those steps",
    "explained_variance": "1 - Var(return - score) / Var(return) over the step's tokens, of the scores before those "
    "steps (absent where all returns are equal)",
    "seconds": "taking them; a part of update_seconds",
}
