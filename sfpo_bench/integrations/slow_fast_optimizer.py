"""SFPO as an optimizer around another one, for any loop that takes optimizer steps on one batch of rollouts.

    optimizer = SlowFastOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-6))
    for batch in batches:
        optimizer.begin_batch()
        for _ in range(optimizer.passes):
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()

The weights are those of `sfpo_bench.algorithms.update_rules.SlowFast` on the same gradients, bit for bit.
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

    and one more pass goes on from there (arXiv:2510.04072, Algorithm 1). K = 0 or alpha = 0 is one pass, alpha = 1 with
    carried moments is K + 1 passes, both without any difference from `inner` alone. Once the trigger has fired, every
    later batch is one pass.

    The boundary is explicit: `begin_batch`, then exactly `passes * steps_per_pass` attempts, each a `step` or a `skip`.
    An attempt counts whether or not it moved the weights. Anything else raises `RuntimeError`.

    Parameter groups, state and defaults ARE those of `inner`; nothing is kept twice. The one extra copy is the anchor,
    as large as the trainable parameters, allocated at the first snapshot, reused, and given back once the trigger has
    fired; it lies on the parameters' devices or in host memory (`anchor_device="cpu"`). With `moments` other than carry
    the optimizer's state has an anchor too.

    Sharded parameters (DTensor, as FSDP2 has them) are repositioned shard by shard, without communication. With
    parameters in bf16 or fp16 the interpolation is rounded to that precision; keep fp32 ones.
    """

    # torch.amp.GradScaler then calls `step` also when gradients overflowed, and says so in `found_inf`.
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
        """Settings as in `SlowFast`; `ValueError` or the trigger's `ConfigError` for one that cannot be."""
        if not isinstance(inner, Optimizer):
            raise TypeError(f"inner is a {type(inner).__name__}, expected a torch.optim.Optimizer to wrap")
        if fast_passes < 0:
            raise ValueError(f"fast_passes = {fast_passes}, expected 0 or more fast passes over each batch")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha = {alpha}, expected a share of the fast displacement between 0 and 1")
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
        # Not Optimizer.__init__, which would make groups and state of its own; this is the rest of it, hooks included.
        super().__setstate__({})

    # The batch.

    @property
    def passes(self) -> int:
        """Passes over the open batch, or between batches over the next one: K + 1, or 1 without a fast stage."""
        if self.batch_is_open:
            return self._open_passes
        return self.fast_passes + 1 if self.alpha > 0 and not self.trigger.fired else 1

    @property
    def batch_is_open(self) -> bool:
        """True from `begin_batch` to the batch's last attempt."""
        return self._open_passes > 0

    def begin_batch(self, steps_per_pass: int = 1) -> None:
        """The weights are now those that sampled a new batch; a pass over it takes `steps_per_pass` attempts.

        Takes the snapshot when the fast stage is on. `RuntimeError` in the middle of a batch.
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
        else:  # for good: a trigger latches
            self._anchor.drop()

    # torch declares `step` by overloads.
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One attempt: a step of `inner`, then the reposition where it is due.

        Under a `torch.amp.GradScaler` gradients are unscaled here, and an attempt whose gradients overflowed leaves
        `inner` alone. `RuntimeError` outside a batch. Returns what `inner` returns.
        """
        self._require_open("step")
        loss = None
        if self._gradients_are_usable():
            loss = self.inner.step() if closure is None else self.inner.step(closure)
        self._count_attempt()
        return loss

    def skip(self) -> None:
        """One attempt that the trainer leaves out, such as one with a non-finite gradient norm."""
        self._require_open("skip")
        self._count_attempt()

    def observe(self, step: int, entropy: float) -> bool:
        """Tell the trigger the policy's mean token entropy, in nats, at the weights that training step `step` started
        from; True when it fired now, which makes every later batch one pass."""
        return self.trigger.observe(step, entropy)

    @property
    def _expected_attempts(self) -> int:
        return self._open_passes * self._steps_per_pass

    @property
    def _reposition_is_awaited(self) -> bool:
        return self._open_passes > 1 and self._attempts < self._expected_attempts - self._steps_per_pass

    def _require_open(self, verb: str) -> None:
        if not self.batch_is_open:
            raise RuntimeError(
                f"{verb} outside a batch: call begin_batch first, then take `passes` passes of `steps_per_pass` "
                "optimizer steps; all those of the last batch were taken"
            )

    def _count_attempt(self) -> None:
        was_awaited = self._reposition_is_awaited
        self._attempts += 1
        if was_awaited and not self._reposition_is_awaited:
            self._anchor.reposition(self._anchored(), self.alpha, self.moments)
        if self._attempts == self._expected_attempts:
            self._close()

    def _close(self) -> None:
        self._open_passes = self._steps_per_pass = self._attempts = 0

    @torch.no_grad()
    def _gradients_are_usable(self) -> bool:
        """False when a GradScaler found them infinite; unscales them in its arithmetic when that is left to us."""
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
        """Every trainable parameter with the state and the group that `inner` has for it."""
        return {
            parameter: Anchored(parameter, self.inner.state.get(parameter, {}), group)
            for group in self.inner.param_groups
            for parameter in group["params"]
            if parameter.requires_grad
        }

    def _parameters(self) -> Iterator[Tensor]:
        """In the order of `state_dict`. Read anew each time: groups are replaced by whoever shards or loads."""
        for group in self.inner.param_groups:
            yield from group["params"]

    # What the wrapped optimizer has.

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
        """`RuntimeError` between a snapshot and its reposition: the new parameters would have no anchor."""
        if self._reposition_is_awaited:
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
        """That of `inner`, and under `slow_fast` the trigger, the place in the batch and, while a reposition waits for
        it, the anchor (of sharded parameters: this rank's shard). Plain values and tensors only."""
        places = {parameter: place for place, parameter in enumerate(self._parameters())}
        awaited = self._reposition_is_awaited
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
        """Take up what `state_dict` returned, or the plain state of an optimizer like `inner` (then between batches).

        `ValueError` for a state of other fast passes, in the middle of a batch, or of another trigger.
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
        """Everything but what schedulers and scalers put on the instance; `inner` brings groups, state and defaults."""
        return {name: value for name, value in self.__dict__.items() if name not in ("step", "found_inf", "grad_scale")}
