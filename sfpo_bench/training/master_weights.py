"""fp32 master weights, their gradients and optimizer, beside the module that computes with them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from sfpo_bench.algorithms.anchor import Anchor, Anchored, local
from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.recorded import Elementwise, StepQuantity
from sfpo_bench.training.ranks import sharded_like
from sfpo_bench.training.split_weights import add_rounded, join, low_bits, round_to_bfloat16
from sfpo_bench.training.step_records import StepRecords

# Makes an optimizer with one parameter group.
MakeOptimizer = Callable[[list[Tensor]], Optimizer]


class MasterWeights:
    """fp32 master weights of the trainable parameters, their optimizer, and the anchor for reposition.

    Of an fp32 or fp64 module the parameters themselves are the masters. Of a bf16 or fp16 module each parameter has a
    separate fp32 master; gradients are accumulated in fp32, and `publish` rounds the masters to the module. A hook
    moves each such gradient to fp32 during the backward pass, so the module never holds all of its gradients.

    Inside `split`, the masters of a bf16 module are represented by the module's weights and the 16 missing bits, and
    the masters' memory holds the gradients. `step` restores one master after another.

    Reposition works in place on the masters and needs one extra copy (`algorithms.anchor`). Between a snapshot and its
    reposition the anchor is part of the run's state (`anchor_tensors`). SFPO uses it within the step, Lookahead some
    steps later.
    """

    def __init__(self, module: nn.Module, make_optimizer: MakeOptimizer, *, anchor_on_host: bool = False) -> None:
        self._working = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.masters = {name: _master(p) for name, p in self._working.items()}
        self.optimizer = make_optimizer(list(self.masters.values()))
        self._anchor: Anchor[str] = Anchor(on_host=anchor_on_host)
        self._anchor_is_pending = False
        self._records = StepRecords(on_host=anchor_on_host)
        self._clip_factor = 1.0
        # For bf16 parameters: the lower 16 bits of the masters while they are split.
        self._low_bits = {
            name: torch.empty(local(p).shape, dtype=torch.int16, device=p.device)
            for name, p in self._working.items()
            if p.dtype == torch.bfloat16
        }
        self._split: set[str] = set()
        for name, parameter in self._working.items():
            if self.masters[name] is not parameter:
                parameter.register_post_accumulate_grad_hook(_collecting(weakref.ref(self), name))
        for embedding in (part for part in module.modules() if type(part) is nn.Embedding):
            # A sparse gradient [rows used, H] instead of [V, H] in every micro-batch; `_collect` adds it to the dense
            # fp32 gradient.
            embedding.sparse = self._name_of_copied(embedding.weight) is not None

    def leaf(self, parameter: Tensor) -> Tensor | None:
        """A second leaf on a parameter's memory with its own gradient hook; None where no hook collects gradients.

        With it the gradient of an LM head is collected without waiting for that of the embedding it is tied to.
        """
        name = self._name_of_copied(parameter)
        if name is None:
            return None
        leaf = parameter.detach().requires_grad_(True)
        leaf.register_post_accumulate_grad_hook(_collecting(weakref.ref(self), name))
        return leaf

    def _name_of_copied(self, parameter: Tensor) -> str | None:
        """The name of an unsharded trainable parameter that has a separate fp32 master, or None."""
        for name, own in self._working.items():
            if own is parameter and own is not self.masters[name] and not isinstance(own, DTensor):
                return name
        return None

    def zero_gradients(self) -> None:
        """Set all gradients to None; `step` treats a missing one as zero."""
        for master in self.masters.values():
            master.grad = None

    @contextmanager
    def split(self) -> Iterator[None]:
        """Inside the block, store the gradients of bf16 parameters in the memory of their masters.

        Each master is restored by `step`, or unchanged at the end of the block, bit for bit. The block starts and ends
        without gradients. Inside it, only `step` may change the module, and masters must not be read.
        """
        self.zero_gradients()
        for name, low in self._low_bits.items():
            # The bf16 weight and these 16 bits determine the fp32 master exactly, so its memory is free.
            low_bits(local(self.masters[name]), low)
            self._split.add(name)
        try:
            yield
        finally:
            self.zero_gradients()  # if no optimizer step was taken
            for name in list(self._split):
                self._join(name)

    @torch.no_grad()
    def _join(self, name: str) -> None:
        """Restore a master and move its gradient, if any, to separate memory."""
        if name in self._split:
            self._split.remove(name)
            master = self.masters[name]
            # The gradient is in the master's memory, which `join` overwrites.
            master.grad = None if master.grad is None else master.grad.clone()
            join(local(self._working[name]), self._low_bits[name], local(master))

    def collect_gradients(self) -> None:
        """Add the gradients that the module still holds to the fp32 ones; call after each micro-batch.

        The hooks have already moved those of an ordinary backward pass.
        """
        for name, parameter in self._working.items():
            self._collect(name, parameter)

    @torch.no_grad()
    def _collect(self, name: str, leaf: Tensor) -> None:
        master, gradient = self.masters[name], leaf.grad
        if leaf is master or gradient is None:
            return
        if gradient.is_sparse:
            if master.grad is None:
                master.grad = self._memory_for_gradient(name).zero_()
            # Sum the rows of one token first: `index_add_` adds equal rows in no fixed order on a GPU.
            rows = gradient.to(master.dtype).coalesce()
            master.grad.index_add_(0, rows.indices()[0], rows.values())
        elif master.grad is None:
            master.grad = self._memory_for_gradient(name).copy_(gradient)
        else:
            add_rounded(local(master.grad), local(gradient))
        leaf.grad = None

    def _memory_for_gradient(self, name: str) -> Tensor:
        master = self.masters[name]
        return master.detach() if name in self._split else torch.empty_like(master)

    @torch.no_grad()
    def _fill_missing_gradients(self) -> None:
        """Fill missing gradients with zeros: a step without signal still updates the optimizer state."""
        for name, master in self.masters.items():
            if master.grad is None:
                master.grad = self._memory_for_gradient(name).zero_()

    def clip_gradients(self, max_norm: float) -> float:
        """Clip the gradients to norm `max_norm` (inf: no clipping); return the norm before clipping, finite or not."""
        self._fill_missing_gradients()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.masters.values() if p.grad is not None])
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        size, factor = torch.stack([norm, max_norm / (norm + 1e-6)]).tolist()
        self._clip_factor = factor if math.isfinite(size) and factor < 1 else 1.0
        # Without clipping, torch would still multiply all gradients by 1.
        if self._clip_factor < 1:
            torch.nn.utils.clip_grads_with_norm_(self.masters.values(), max_norm, norm)
        return float(size)

    def step(self) -> None:
        """Take one optimizer step, publish it to the module, and free the gradients."""
        self._fill_missing_gradients()
        if not self._split and not self._records.compares_weights:
            for name, master in self.masters.items():
                self._records.add_gradient(name, master.grad, self._clip_factor)
            self.optimizer.step()
            self.publish()
            self.zero_gradients()
            return
        [group] = self.optimizer.param_groups
        # One parameter at a time: copies of all gradients at once would undo the memory saving of `split`.
        every = group["params"]
        try:
            for name, master in self.masters.items():
                self._join(name)
                group["params"] = [master]
                with self._records.of_step(name, master, group, self._clip_factor):
                    self.optimizer.step()
                self._publish(name)
                master.grad = None
        finally:
            group["params"] = every

    def publish(self) -> None:
        """Round the masters to the module's precision."""
        for name in self._working:
            self._publish(name)

    @torch.no_grad()
    def _publish(self, name: str) -> None:
        parameter, master = self._working[name], self.masters[name]
        if name in self._low_bits:
            round_to_bfloat16(local(master), local(parameter))
        elif parameter is not master:
            parameter.copy_(master)

    def snapshot(self, moments: Moments) -> None:
        """Copy the weights to the anchor, and the optimizer state where reposition changes it."""
        self._anchor_is_pending = True
        self._anchor.take(self._anchored(), moments)

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        """Inside the block, sum `quantity` over the calls of `step` under `name`."""
        return self._records.under(name, quantity)

    def squares(self) -> list[float]:
        """This rank's sums of squares of the records, one per record and weight."""
        return self._records.squares()

    def reposition(self, alpha: float | Elementwise, moments: Moments, squares: Sequence[float] = ()) -> None:
        """Interpolate the masters towards the anchor (`Anchor.reposition`) and publish them to the module.

        Each rank moves its own shards without communication, so `squares` must be summed over all ranks.
        """
        self._anchor_is_pending = False
        share: float | Callable[[str], Tensor]
        if callable(alpha):
            recorded = self._records.recorded({name: m.numel() for name, m in self.masters.items()}, squares)
            elementwise = alpha

            def share(name: str) -> Tensor:
                return elementwise(recorded(name, self.masters[name].device))

        else:
            share = alpha
        self._anchor.reposition(self._anchored(), share, moments)
        self._records.drop()
        self.publish()

    def _anchored(self) -> dict[str, Anchored]:
        [group] = self.optimizer.param_groups
        return {name: Anchored(m, self.optimizer.state[m], group) for name, m in self.masters.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights by name to the masters; names and shapes must match."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(weights[name])
        self.publish()

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer state, keyed `<parameter>/<slot>`."""
        return {
            f"{name}/{slot}": value
            for name, master in self.masters.items()
            for slot, value in _tensors(self.optimizer.state[master]).items()
        }

    def load_optimizer_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load a state that `optimizer_tensors` returned."""
        for key, value in tensors.items():
            name, slot = key.rsplit("/", 1)
            master = self.masters[name]
            self.optimizer.state[master][slot] = value.to(master.device, copy=True)

    def anchor_tensors(self) -> dict[str, Tensor]:
        """The anchor's weights, and its optimizer state keyed `<parameter>/<slot>`; empty unless a reposition is
        pending."""
        if not self._anchor_is_pending:
            return {}
        tensors = {
            name: sharded_like(master, self._anchor.weights[name].to(master.device))
            for name, master in self.masters.items()
        }
        for name, slots in self._anchor.state.items():
            now = self.optimizer.state[self.masters[name]]
            tensors.update({f"{name}/{slot}": sharded_like(now[slot], value) for slot, value in slots.items()})
        return tensors

    def load_anchor_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load an anchor that `anchor_tensors` returned."""
        self._anchor_is_pending = bool(tensors)
        if not tensors:
            return
        state: dict[str, dict[str, Tensor]] = {name: {} for name in self.masters}
        for key in tensors.keys() - self.masters.keys():
            name, slot = key.rsplit("/", 1)
            state[name][slot] = tensors[key].to(self.masters[name].device)
        self._anchor.put({name: tensors[name].to(m.device) for name, m in self.masters.items()}, state)


def _collecting(masters: weakref.ref[MasterWeights], name: str) -> Callable[[Tensor], None]:
    """The hook that collects a parameter's gradient.

    It holds a weak reference: C++ holds hooks, so the garbage collector would never find a cycle through one, and a
    worker would keep the weights of every run.
    """

    def collect(leaf: Tensor) -> None:
        found = masters()
        if found is not None:
            found._collect(name, leaf)

    return collect


def _master(parameter: nn.Parameter) -> Tensor:
    if parameter.dtype in (torch.float32, torch.float64):
        return parameter
    return parameter.detach().float().requires_grad_(True)


def _tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
