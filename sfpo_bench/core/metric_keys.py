"""The metrics of a training step by key; journal, MLflow and report columns use the same keys.

Statistics of a stage (`StageStats`) have keys `<stage>/<statistic>`, for example `fast_1/clip_fraction`.
"""

from __future__ import annotations

# Metrics of collectors other than `group`.
COLLECTOR_METRICS: dict[str, str] = {
    "sampling_rounds": "rounds of dynamic sampling (absent without it, as the next three)",
    "sampled_groups_with_signal_share": "share of sampled groups that are neither all right nor all wrong",
    "sampled_correct_share": "share of all sampled responses that are graded correct, in the batch or not",
    "filled_groups_share": "share of the batch's groups without a signal, after the last round",
    "replayed_responses": "replayed responses in the batch (absent without replay, as the next two)",
    "replay_buffer_responses": "size of the replay buffer in responses",
    "replay_age_mean": "mean age of replayed responses in the batch, updates (absent without any)",
    "shared_tokens_share": "share of the tokens of a tree's responses that are shared with an earlier response "
    "(absent without trees, as the next)",
    "filled_responses_share": "share of responses that replace branches which ended early",
    "dropped_problems": "problems that drop_solved has dropped so far (absent without it)",
    "majority_share_mean": "mean share of a prompt's responses with the majority answer (with m_grpo only)",
    "unlabelled_groups_share": "share of prompts without a majority label (with m_grpo only)",
    "left_out_share": "share of the batch's responses left out for low entropy (with m_grpo only)",
    "solution_reward_mean": "mean reward of the reference solutions, which no other metric includes (with temp_samp)",
    "entropy_seconds": "forward pass over the responses for their entropies (with m_grpo only)",
}

# Measurements of the machine that a run was trained on; two equal runs differ in them, and no result depends on them.
MACHINE_METRICS: dict[str, str] = {
    "tokens_per_second": "tokens generated, per second of the whole step and device",
    "generated_tokens_per_second": "tokens generated, per second of the rollouts and device",
    "trained_tokens_per_second": "tokens that all passes of the update went through, each prompt once a pass, per "
    "second of the update and device",
    "update_flops_per_second": "model FLOPs of those passes (two passes backward for one forward; forward alone where "
    "there is no signal), per second of the update and device; absent for an architecture whose FLOPs are not known",
    "update_flops_utilization": "that as a share of the device's peak, which provenance.json states with its source; "
    "absent where the peak is not known",
    "host_peak_bytes": "most resident memory that a process of the run has had so far",
    "device_peak_bytes": "most memory that tensors took on a GPU in the step (absent on a CPU)",
    "rollout_share": "share of step_seconds that generated responses",
    "grading_share": "share that graded them",
    "update_share": "share of the whole update",
    "push_share": "share that handed the new weights to the rollout engine",
}

STEP_METRICS: dict[str, str] = {
    "reward_mean": "mean reward of the step's responses",
    "reward_std": "population standard deviation of the step's rewards",
    "correct_share": "share of responses graded correct",
    **COLLECTOR_METRICS,
    "grading_failed_share": "share of sampled responses whose grading timed out or failed; above 1 % the run stops",
    "flipped_rewards": "rewards of the step that are flipped (absent without training.reward_flip_probability)",
    "groups_without_signal_share": "share of groups whose advantages are all zero",
    "response_tokens_mean": "mean response length, tokens, including the end-of-sequence token",
    "prompt_tokens_mean": "mean prompt length, tokens",
    "response_tokens_max": "length of the longest response, tokens",
    "truncated_share": "share of responses truncated at the token limit",
    "entropy": "mean token entropy over the whole batch at the step's initial weights, nats",
    "engine_ratio_mean": "mean over tokens of trainer probability / engine probability at the initial weights, raw",
    "engine_ratio_max": "largest ratio of trainer probability / engine probability",
    "engine_effective_sample_share": "effective sample size of these ratios as a share of the tokens; 1 is a match",
    "alpha": "reposition coefficient of the step (absent for rules without one; 0 once the fast stage is off)",
    "trigger_z": "z-score of the entropy in the trigger's window (absent until the window is full)",
    "displacement": "update norm: Euclidean norm of the change of the weights over the step",
    "fast_slow_cosine": "cosine between the fast update and the slow step (absent without a fast stage)",
    "learning_rate": "learning rate of the step",
    "rollout_seconds": "generating the responses",
    "grading_seconds": "grading them",
    "old_log_prob_seconds": "log-probs at the initial weights, if a separate pass computes them",
    "fast_seconds": "the fast passes",
    "reposition_seconds": "snapshot and interpolation of the weights",
    "slow_seconds": "the slow pass, or all passes of a rule without a fast stage",
    "update_seconds": "the whole update",
    "push_seconds": "weight sync to the rollout engine, including its checks",
    "parity_seconds": "parity check, a part of push_seconds (absent without a check)",
    "parity_max": "largest log-prob difference in the parity check, nats (absent without one)",
    "parity_mean": "mean log-prob difference in the parity check, nats (absent without one)",
    "parity_bound": "largest accepted parity_max (absent without a check)",
    "engine_restarts": "restarts of the rollout engine since the process started",
    "cached_prompt_share": "share of the step's prompt tokens from the engine's prefix cache",
    "step_seconds": "the whole step, without evaluation and checkpoint",
    "checkpoint_seconds": "writing the checkpoint that preceded this step (0 when there was none)",
    **MACHINE_METRICS,
}


def is_timed(key: str) -> bool:
    """True for a scalar that tells how fast or large this machine was, in which equal runs differ."""
    return key in MACHINE_METRICS or "seconds" in key


# Metrics of each module trained beside the policy, as `<module>/<statistic>`, for example `critic/loss`.
MODULE_METRICS: dict[str, str] = {
    "loss": "mean token loss before each of the module's optimizer steps, averaged over the steps",
    "gradient_norm": "mean gradient norm of those steps, before clipping",
    "optimizer_steps": "the module's optimizer steps; the costs of a run count only the policy's",
    "learning_rate": "learning rate of those steps",
    "explained_variance": "1 - Var(return - score) / Var(return) over the step's tokens, of the scores before those "
    "steps (absent where all returns are equal)",
    "seconds": "time of these steps; a part of update_seconds",
}
