"""SFPO as an optimizer wrapper, for any loop that takes optimizer steps on one batch of rollouts.

    optimizer = SlowFastOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-6))
    for batch in batches:
        optimizer.begin_batch()
        for _ in range(optimizer.passes):
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()

For equal gradients the weights equal those of `sfpo_bench.algorithms.update_rules.SlowFast`, bit for bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sfpo_bench.algorithms.anchor import Anchor, Anchored, local
from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.triggers import Trigger

_OWN_KEY = "slow_fast"


class SlowFastOptimizer(Optimizer):
    """Wraps `inner` so that the steps on one batch are K fast passes, a reposition and one slow pass (SFPO).

    With theta_0 the weights at `begin_batch` and theta_K those after K passes of `steps_per_pass` steps each:

        reposition   theta = theta_0 + alpha * (theta_K - theta_0)    in place, right after the K-th pass's last step

    followed by one more pass (arXiv:2510.04072, Algorithm 1). K = 0 or alpha = 0 is one pass, alpha = 1 with carried
    moments is K + 1 passes, both equal to `inner` alone. After the trigger fires, every later batch has one pass.

    Batch boundaries are explicit: `begin_batch`, then exactly `passes * steps_per_pass` attempts, each a `step` or a
    `skip`. An attempt counts whether or not it changed the weights. Any other order raises `RuntimeError`.

    Parameter groups, state and defaults are those of `inner`, without copies. The one extra copy is the anchor, as
    large as the trainable parameters. It is allocated at the first snapshot, reused, and freed after the trigger fires.
    It is on the parameters' devices or in CPU memory (`anchor_device="cpu"`). With `moments` other than carry the
    optimizer state has an anchor too.

    Sharded parameters (DTensor, as in FSDP2) are repositioned shard by shard, without communication. For parameters in
    bf16 or fp16 the interpolation is rounded to that precision, so fp32 parameters are recommended.
    """

    # With it torch.amp.GradScaler calls `step` also when gradients overflow, and sets `found_inf`.
    _step_supports_amp_scaling = True

    inner: Optimizer

    def __init__(
        self,
        inner: Optimizer,
        *,
        fast_passes: int = 3,
        alpha: float = 0.8,
        moments: Moments | str = Moments.carry,
        trigger: Trigger | None = None,
        anchor_device: str | None = None,
    ) -> None:
        """Settings as in `SlowFast`; raises `ValueError`, or the trigger's `ConfigError`, for invalid ones."""
        if not isinstance(inner, Optimizer):
            raise TypeError(f"inner is a {type(inner).__name__}, expected a torch.optim.Optimizer to wrap")
        if fast_passes < 0:
            raise ValueError(f"fast_passes = {fast_passes}, expected 0 or more fast passes over each batch")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha = {alpha}, expected a share of the fast update between 0 and 1")
        if anchor_device not in (None, "cpu"):
            raise ValueError(f"anchor_device = {anchor_device!r}, expected None (beside the parameters) or 'cpu'")
        self.inner = inner
        self.fast_passes = fast_passes
        self.alpha = alpha
        self.moments = Moments(moments)
        self.trigger = trigger or Trigger()
        self.trigger.check("trigger")
        self.anchor_device = anchor_device
        self._open_passes = self._steps_per_pass = self._attempts = 0
        self._anchor: Anchor[Tensor] = Anchor(on_host=anchor_device == "cpu")
        # Not Optimizer.__init__, which would create separate groups and state; this does the rest of it, hooks
        # included.
        super().__setstate__({})

    # The batch.

    @property
    def passes(self) -> int:
        """The number of passes over the open batch, or else over the next one: K + 1, or 1 without a fast stage."""
        if self.batch_is_open:
            return self._open_passes
        return self.fast_passes + 1 if self.alpha > 0 and not self.trigger.fired else 1

    @property
    def batch_is_open(self) -> bool:
        """True from `begin_batch` to the batch's last attempt."""
        return self._open_passes > 0

    def begin_batch(self, steps_per_pass: int = 1) -> None:
        """Start a batch, with `steps_per_pass` attempts per pass; call it with the weights that sampled the batch.

        Takes the snapshot when the fast stage is on. Raises `RuntimeError` inside a batch.
        """
        if steps_per_pass < 1:
            raise ValueError(f"steps_per_pass = {steps_per_pass}, expected at least one optimizer step in a pass")
        if self.batch_is_open:
            raise RuntimeError(
                f"begin_batch after {self._attempts} of {self._expected_attempts} optimizer steps of the present "
                f"batch; take {self.passes} passes of {self._steps_per_pass} steps first"
            )
        self._open_passes, self._steps_per_pass, self._attempts = self.passes, steps_per_pass, 0
        if self._open_passes > 1:
            self._anchor.take(self._anchored(), self.moments)
        else:  # permanent, since a trigger stays fired
            self._anchor.drop()

    # torch declares `step` by overloads.
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one attempt: a step of `inner`, then the reposition if it is due; return what `inner` returns.

        Under a `torch.amp.GradScaler` gradients are unscaled here, and an attempt whose gradients overflowed does not
        step `inner`. Raises `RuntimeError` outside a batch.
        """
        self._require_open("step")
        loss = None
        if self._gradients_are_usable():
            loss = self.inner.step() if closure is None else self.inner.step(closure)
        self._count_attempt()
        return loss

    def skip(self) -> None:
        """Count one attempt without a step, such as one with a non-finite gradient norm."""
        self._require_open("skip")
        self._count_attempt()

    def observe(self, step: int, entropy: float) -> bool:
        """Pass the trigger the policy's mean token entropy, in nats, at the initial weights of training step `step`.

        Returns True when it fires now; every later batch then has one pass.
        """
        return self.trigger.observe(step, entropy)

    @property
    def _expected_attempts(self) -> int:
        return self._open_passes * self._steps_per_pass

    @property
    def _reposition_is_pending(self) -> bool:
        return self._open_passes > 1 and self._attempts < self._expected_attempts - self._steps_per_pass

    def _require_open(self, verb: str) -> None:
        if not self.batch_is_open:
            raise RuntimeError(
                f"{verb} outside a batch: call begin_batch first, then take `passes` passes of `steps_per_pass` "
                "optimizer steps; all those of the last batch were taken"
            )

    def _count_attempt(self) -> None:
        was_awaited = self._reposition_is_pending
        self._attempts += 1
        if was_awaited and not self._reposition_is_pending:
            self._anchor.reposition(self._anchored(), self.alpha, self.moments)
        if self._attempts == self._expected_attempts:
            self._close()

    def _close(self) -> None:
        self._open_passes = self._steps_per_pass = self._attempts = 0

    @torch.no_grad()
    def _gradients_are_usable(self) -> bool:
        """False when a GradScaler found infinite gradients; unscales them as it would when it has not done so."""
        found_inf, scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        if found_inf is not None and bool(found_inf):
            return False
        if scale is not None:
            inverse = scale.double().reciprocal().float()
            for parameter in self._parameters():
                if parameter.grad is not None:
                    grad = local(parameter.grad)
                    grad.mul_(inverse.to(grad.device))
        return True

    def _anchored(self) -> dict[Tensor, Anchored]:
        """Every trainable parameter with its state and group in `inner`."""
        return {
            parameter: Anchored(parameter, self.inner.state.get(parameter, {}), group)
            for group in self.inner.param_groups
            for parameter in group["params"]
            if parameter.requires_grad
        }

    def _parameters(self) -> Iterator[Tensor]:
        """The parameters in `state_dict` order. Not cached, since sharding and loading replace the groups."""
        for group in self.inner.param_groups:
            yield from group["params"]

    # Attributes of the wrapped optimizer.

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.inner.param_groups = groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        return self.inner.state

    @state.setter
    def state(self, state: defaultdict[Tensor, Any]) -> None:
        self.inner.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        return self.inner.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.inner.defaults = defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.inner.zero_grad(set_to_none=set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to `inner`; raises `RuntimeError` while a reposition is pending, as it would have no anchor."""
        if self._reposition_is_pending:
            raise RuntimeError("add_param_group in the fast stage of a batch: add parameters between batches")
        self.inner.add_param_group(param_group)

    def register_state_dict_pre_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        return self.inner.register_state_dict_pre_hook(hook, prepend)

    def register_state_dict_post_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        return self.inner.register_state_dict_post_hook(hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        return self.inner.register_load_state_dict_pre_hook(hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        return self.inner.register_load_state_dict_post_hook(hook, prepend)

    # Saving.

    def state_dict(self) -> dict[str, Any]:
        """The state of `inner`, and under `slow_fast` the trigger, the position in the batch and a pending anchor.

        Of sharded parameters the anchor is this rank's shard. Plain values and tensors only.
        """
        places = {parameter: place for place, parameter in enumerate(self._parameters())}
        awaited = self._reposition_is_pending
        own = {
            "open_passes": self._open_passes,
            "steps_per_pass": self._steps_per_pass,
            "attempts": self._attempts,
            "trigger": {"kind": str(self.trigger.kind), **self.trigger.state()},
            "anchor": {places[p]: anchor for p, anchor in self._anchor.weights.items()} if awaited else {},
            "anchor_state": {places[p]: dict(slots) for p, slots in self._anchor.state.items()} if awaited else {},
        }
        return {**self.inner.state_dict(), _OWN_KEY: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`, or a plain state of an optimizer like `inner` (then between batches).

        Raises `ValueError` for a state inside a batch with other `fast_passes`, or with another trigger.
        """
        own = state_dict.get(_OWN_KEY)
        if own is not None:
            self._check_fits(own)
        self.inner.load_state_dict({key: value for key, value in state_dict.items() if key != _OWN_KEY})
        self._close()
        if own is None:
            return
        self._open_passes, self._steps_per_pass = own["open_passes"], own["steps_per_pass"]
        self._attempts = own["attempts"]
        self.trigger.restore({key: value for key, value in own["trigger"].items() if key != "kind"})
        parameters = list(self._parameters())
        self._anchor.put(
            {parameters[place]: anchor for place, anchor in own["anchor"].items()},
            {parameters[place]: slots for place, slots in own["anchor_state"].items()},
        )

    def _check_fits(self, own: Mapping[str, Any]) -> None:
        if own["open_passes"] not in (0, 1, self.fast_passes + 1):
            raise ValueError(
                f"the saved state is in the middle of a batch of {own['open_passes']} passes, expected "
                f"{self.fast_passes + 1}: set fast_passes={own['open_passes'] - 1}"
            )
        if own["trigger"]["kind"] != self.trigger.kind:
            raise ValueError(
                f"the saved state has a trigger of kind {own['trigger']['kind']!r}, this optimizer one of kind "
                f"{self.trigger.kind!r}: make it with the trigger of the saved run"
            )

    def __getstate__(self) -> dict[str, Any]:
        """All attributes except those set by schedulers and scalers; `inner` has groups, state and defaults."""
        return {name: value for name, value in self.__dict__.items() if name not in ("step", "found_inf", "grad_scale")}
