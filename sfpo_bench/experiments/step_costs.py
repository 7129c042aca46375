"""A cost model of a training step: fitted on measured steps of one device, and extrapolated to many devices.

Seconds of a step's parts, with R responses on a device in c parallel chunks, L tokens of the longest, N tokens with
each prompt counted once, S of them in groups with a signal, k passes, k' = k plus the passes without a gradient (one of
them if several mini-batches need old log-probs), u optimizer steps in all passes and m micro-batches:

    rollout    r0 + r1 c L + r2 N              sequential decoding steps, and the work in them
    grading    g0 + g1 R
    update     u0 + u1 u + u2 k' N + u3 k S    optimizer steps, forward and backward passes
    push       p0
    exchange   m (2 b + 4) P (D - 1) / D / bandwidth      only with D > 1 devices: weights of P parameters are gathered
               for every forward and backward pass in b bytes, fp32 gradients are reduced; rollout weights gathered once

Every coefficient is at least 0. Rollouts are distributed over devices by whole prompts and updates by rows, so c and L
stay constant while N decreases. This module loads no model, and imports scipy only to fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, MissingDataError


@dataclass(frozen=True, slots=True)
class StepShape:
    """The work of a step over all devices.

    The step takes `passes` passes over the batch, with gradients for `signal_share` of its tokens. `forwards_beside`
    and `backwards_beside` are passes without and with a gradient for other models and statistics, in units of policy
    passes. The batch is sampled and graded `rounds` times.
    """

    prompts: int
    group: int
    prompt_tokens_mean: float
    response_tokens_mean: float
    response_tokens_max: float
    side_by_side: int
    signal_share: float
    passes: int
    optimizer_steps: int
    micro_batch_tokens: int
    forwards_beside: float = 0.0
    backwards_beside: float = 0.0
    rounds: float = 1.0

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.group < 1 or self.passes < 1:
            raise ConfigError(f"{self} is no step; expected at least one prompt, response and pass")

    @property
    def tokens(self) -> float:
        """Tokens of the batch, with each prompt counted once."""
        return self.prompts * (self.prompt_tokens_mean + self.group * self.response_tokens_mean)


@dataclass(frozen=True, slots=True)
class StepSeconds:
    """Seconds of a step by part."""

    rollout: float
    grading: float
    update: float
    push: float
    exchange: float = 0.0

    @property
    def in_turn(self) -> float:
        """Seconds of a step as the trainer takes it, one part after another."""
        return self.rollout + self.grading + self.update + self.push + self.exchange

    @property
    def overlapped(self) -> float:
        """Seconds if the next step's rollouts ran during this update, on other devices and weights one step old.

        This is the longer of the two. The trainer does not do this."""
        return max(self.rollout + self.grading, self.update + self.exchange) + self.push


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """The median step of a run on one device."""

    name: str
    shape: StepShape
    seconds: StepSeconds


@dataclass(frozen=True, slots=True)
class StepCosts:
    """The fitted coefficients and the device they were measured on.

    `rollout` has r0, r1, r2; `grading` g0, g1; `update` u0 to u3; `push` is p0."""

    device: str
    parameters: int
    rollout: tuple[float, ...]
    grading: tuple[float, ...]
    update: tuple[float, ...]
    push: float

    def predict(self, shape: StepShape, network: Network | None = None, parameters: int | None = None) -> StepSeconds:
        """Return the seconds of a step of this shape on the network's devices (default: one).

        For another model size, rollout, update and push are scaled by the number of parameters, which holds if weights
        and matrix products dominate."""
        network = network or Network(1)
        size = 1.0 if parameters is None else parameters / self.parameters
        per_device = _on_one(shape, network.devices)
        return StepSeconds(
            rollout=size * _dot(self.rollout, _rollout(per_device)),
            grading=_dot(self.grading, _grading(per_device)),
            update=size * _dot(self.update, _update(_rows_on_one(shape, network.devices))),
            push=size * self.push,
            exchange=network.seconds(shape, self.parameters if parameters is None else parameters),
        )

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> StepCosts:
        """Return costs written by `save`; raises `ConfigError` or `MissingDataError`."""
        if not path.is_file():
            raise MissingDataError(f"{path} does not exist; `python benchmarks/step_costs.py` measures and writes one")
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            lists = {key: tuple(map(float, raw[key])) for key in ("rollout", "grading", "update")}
            return cls(**{**raw, **lists})
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} holds no step costs ({error!r}); expected a file that benchmarks/step_costs.py wrote"
            ) from error


@dataclass(frozen=True, slots=True)
class Network:
    """Devices and their bandwidth.

    `gigabytes_per_second` is what each device sends and receives at once; it is assumed, not measured. Each weight is
    sent in `weight_bytes`. Communication does not overlap with computation."""

    devices: int
    gigabytes_per_second: float = 50.0
    weight_bytes: int = 2

    def seconds(self, shape: StepShape, parameters: int) -> float:
        """Return the seconds for gathering weights and reducing gradients in one step."""
        if self.devices == 1:
            return 0.0
        per_step = max(
            1.0, shape.tokens / self.devices / shape.micro_batch_tokens * shape.passes / shape.optimizer_steps
        )
        micro_batches = math.ceil(per_step) * shape.optimizer_steps
        volume = micro_batches * (2 * self.weight_bytes + 4) + self.weight_bytes
        return volume * parameters * (1 - 1 / self.devices) / (self.gigabytes_per_second * 1e9)


def fit(device: str, parameters: int, measured: Sequence[MeasuredStep]) -> StepCosts:
    """Return the nonnegative coefficients with the least squared relative error.

    Raises `ConfigError` for fewer than five measured shapes, since the update has four coefficients.
    """
    if len(measured) < 5:
        raise ConfigError(f"{len(measured)} measured steps; expected at least 5 of different shapes to fit costs on")
    return StepCosts(
        device=device,
        parameters=parameters,
        rollout=_fitted([_rollout(one.shape) for one in measured], [one.seconds.rollout for one in measured]),
        grading=_fitted([_grading(one.shape) for one in measured], [one.seconds.grading for one in measured]),
        update=_fitted([_update(one.shape) for one in measured], [one.seconds.update for one in measured]),
        push=_fitted([(1.0,) for _ in measured], [one.seconds.push for one in measured])[0],
    )


def left_out(device: str, parameters: int, measured: Sequence[MeasuredStep]) -> dict[str, float]:
    """Return predicted over measured seconds of each step, from costs fitted on all others (leave-one-out)."""
    found = {}
    for one in measured:
        costs = fit(device, parameters, [other for other in measured if other is not one])
        found[one.name] = costs.predict(one.shape).in_turn / one.seconds.in_turn
    return found


def _on_one(shape: StepShape, devices: int) -> StepShape:
    """Return the rollouts of the device with the most work."""
    return _replace(shape, prompts=math.ceil(shape.prompts / devices))


def _rows_on_one(shape: StepShape, devices: int) -> StepShape:
    """Return the update rows of the device with the most work: whole groups, or responses if devices exceed prompts."""
    if devices <= shape.prompts:
        return _on_one(shape, devices)
    return _replace(shape, prompts=1, group=math.ceil(shape.prompts * shape.group / devices))


def _replace(shape: StepShape, prompts: int, group: int | None = None) -> StepShape:
    return StepShape(**{**asdict(shape), "prompts": prompts, "group": shape.group if group is None else group})


def _rollout(shape: StepShape) -> tuple[float, ...]:
    # A round is sampled after the previous one is graded.
    chunks = shape.rounds * math.ceil(shape.prompts * shape.group / shape.side_by_side)
    return 1.0, chunks * shape.response_tokens_max, shape.tokens * shape.rounds


def _grading(shape: StepShape) -> tuple[float, ...]:
    return 1.0, shape.prompts * shape.group * shape.rounds


def _update(shape: StepShape) -> tuple[float, ...]:
    forwards = shape.passes + (shape.optimizer_steps > shape.passes) + shape.forwards_beside
    backwards = shape.passes * shape.signal_share + shape.backwards_beside
    return 1.0, float(shape.optimizer_steps), forwards * shape.tokens, backwards * shape.tokens


def _dot(coefficients: Sequence[float], features: Sequence[float]) -> float:
    return sum(coefficient * feature for coefficient, feature in zip(coefficients, features, strict=True))


def _fitted(features: Sequence[Sequence[float]], seconds: Sequence[float]) -> tuple[float, ...]:
    import numpy as np
    from scipy.optimize import nnls

    weights = 1.0 / np.maximum(np.asarray(seconds), 1e-9)
    table = np.asarray(features) * weights[:, None]
    # Scale the columns: tokens are in the thousands, passes are few.
    sizes = np.maximum(np.linalg.norm(table, axis=0), 1e-300)
    found, _ = nnls(table / sizes, np.ones(len(table)))
    return tuple(float(value) for value in found / sizes)
