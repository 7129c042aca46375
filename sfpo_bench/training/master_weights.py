"""The fp32 weights an optimizer moves, beside the module that computes with them."""

from __future__ import annotations

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

# An optimizer of one parameter group.
MakeOptimizer = Callable[[list[Tensor]], Optimizer]


class MasterWeights:
    """Trainable parameters in fp32, their optimizer, and one anchor to come back to.

    Where the module itself is fp32 or fp64 its parameters are the masters; where it runs in bf16 or fp16 each
    parameter has an fp32 master of its own, gradients are summed there, and `publish` rounds masters to the module.
    Such gradients are taken over one by one as a backward pass makes them: the module never holds all of its own.
    While it computes them (`split`), the masters of a bf16 module are its weights and the bits that these lack, and
    their memory holds the gradients; `step` joins one after another.

    Reposition works in place on the masters from one extra copy (`algorithms.anchor`). From a snapshot to the
    reposition that uses it the anchor is part of the state of a run (`anchor_tensors`); SFPO's is used within its step,
    Lookahead's some steps later.
    """

    def __init__(self, module: nn.Module, make_optimizer: MakeOptimizer, *, anchor_on_host: bool = False) -> None:
        self._working = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.masters = {name: _master(p) for name, p in self._working.items()}
        self.optimizer = make_optimizer(list(self.masters.values()))
        self._anchor: Anchor[str] = Anchor(on_host=anchor_on_host)
        self._anchor_is_awaited = False
        self._records = StepRecords(on_host=anchor_on_host)
        self._clip_factor = 1.0
        # Of bf16 parameters: the bits that they lack of their masters while these are split.
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
            # Rows of the tokens at hand instead of a gradient as large as the vocabulary.
            # [rows met, H] in place of [V, H] in every micro-batch; `_collect` adds them to the dense fp32 gradient.
            embedding.sparse = self._name_of_copied(embedding.weight) is not None

    def leaf(self, parameter: Tensor) -> Tensor | None:
        """A second leaf over a parameter's memory whose gradient is taken over at once: that of a head need not wait
        for that of the embedding it is tied to. None where gradients are not taken over."""
        name = self._name_of_copied(parameter)
        if name is None:
            return None
        leaf = parameter.detach().requires_grad_(True)
        leaf.register_post_accumulate_grad_hook(_collecting(weakref.ref(self), name))
        return leaf

    def _name_of_copied(self, parameter: Tensor) -> str | None:
        """The name of a whole, trainable parameter that has an fp32 master."""
        for name, own in self._working.items():
            if own is parameter and own is not self.masters[name] and not isinstance(own, DTensor):
                return name
        return None

    def zero_gradients(self) -> None:
        """Forget every gradient; one that no backward pass brings counts as zero."""
        for master in self.masters.values():
            master.grad = None

    @contextmanager
    def split(self) -> Iterator[None]:
        """Inside the block the masters of bf16 parameters lend their memory to their gradients, until `step` moves
        them; at its end they are what they were or what `step` made of them, bit for bit. It begins and ends without
        gradients.
        Inside, the module must not be changed but by `step`, nor a master read."""
        self.zero_gradients()
        for name, low in self._low_bits.items():
            # bf16 weight and these 16 bits together are the fp32 master, bit for bit: its memory is free meanwhile.
            low_bits(local(self.masters[name]), low)
            self._split.add(name)
        try:
            yield
        finally:
            self.zero_gradients()  # of a step that was not taken
            for name in list(self._split):
                self._join(name)

    @torch.no_grad()
    def _join(self, name: str) -> None:
        """Make a master whole again; its gradient, if there is one, moves to memory of its own."""
        if name in self._split:
            self._split.remove(name)
            master = self.masters[name]
            # The gradient lies in the master's memory, which is about to be overwritten.
            master.grad = None if master.grad is None else master.grad.clone()
            join(local(self._working[name]), self._low_bits[name], local(master))

    def collect_gradients(self) -> None:
        """Add what gradients the module still holds to the fp32 ones; call after each micro-batch. Those of an ordinary
        backward pass are there already."""
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
            # Rows of one token are summed first: on a GPU `index_add_` of equal rows has no fixed order.
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
    def _settle(self) -> None:
        """Gradients that no backward pass has brought become zeros: a step without signal still moves the moments."""
        for name, master in self.masters.items():
            if master.grad is None:
                master.grad = self._memory_for_gradient(name).zero_()

    def clip_gradients(self, max_norm: float) -> float:
        """Scale gradients to at most `max_norm` (inf: leave them); returns the norm before, finite or not."""
        self._settle()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.masters.values() if p.grad is not None])
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        factor = float(max_norm / (norm + 1e-6))
        self._clip_factor = factor if torch.isfinite(norm) and factor < 1 else 1.0
        # torch would multiply by 1 where nothing is to be clipped, which is a pass over all gradients.
        if self._clip_factor < 1:
            torch.nn.utils.clip_grads_with_norm_(self.masters.values(), max_norm, norm)
        return float(norm)

    def step(self) -> None:
        """One optimizer step, published to the module. The gradients are used up."""
        self._settle()
        if not self._split and not self._records.compares_weights:
            for name, master in self.masters.items():
                self._records.add_gradient(name, master.grad, self._clip_factor)
            self.optimizer.step()
            self.publish()
            self.zero_gradients()
            return
        [group] = self.optimizer.param_groups
        # One parameter at a time: copies of all of them together would undo what lending saved.
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
        """Round masters to a module that runs in another precision."""
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
        """Remember the weights, and the optimizer's state where reposition is to touch it."""
        self._anchor_is_awaited = True
        self._anchor.take(self._anchored(), moments)

    def recording(
        self, name: str, quantity: StepQuantity = StepQuantity.clipped_gradient
    ) -> AbstractContextManager[None]:
        """Inside, what is recorded of each `step` is added up under `name`."""
        return self._records.under(name, quantity)

    def squares(self) -> list[float]:
        """Sums of squares of what was recorded, this rank's part, record by record and weight by weight."""
        return self._records.squares()

    def reposition(self, alpha: float | Elementwise, moments: Moments, squares: Sequence[float] = ()) -> None:
        """Pull the masters back towards the anchor (`Anchor.reposition`), published to the module. Of sharded weights
        each rank moves its own, without a word to the others: `squares` of all ranks are given."""
        self._anchor_is_awaited = False
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
        """Take over weights by name; names and shapes must be those of the masters."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(weights[name])
        self.publish()

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer's state as flat tensors, `<parameter>/<slot>`."""
        return {
            f"{name}/{slot}": value
            for name, master in self.masters.items()
            for slot, value in _tensors(self.optimizer.state[master]).items()
        }

    def load_optimizer_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a state that `optimizer_tensors` returned."""
        for key, value in tensors.items():
            name, slot = key.rsplit("/", 1)
            master = self.masters[name]
            self.optimizer.state[master][slot] = value.to(master.device, copy=True)

    def anchor_tensors(self) -> dict[str, Tensor]:
        """The anchor's weights, and its optimizer state as `<parameter>/<slot>`, while a reposition waits for them;
        empty otherwise."""
        if not self._anchor_is_awaited:
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
        """Take up an anchor that `anchor_tensors` returned."""
        self._anchor_is_awaited = bool(tensors)
        if not tensors:
            return
        state: dict[str, dict[str, Tensor]] = {name: {} for name in self.masters}
        for key in tensors.keys() - self.masters.keys():
            name, slot = key.rsplit("/", 1)
            state[name][slot] = tensors[key].to(self.masters[name].device)
        self._anchor.put({name: tensors[name].to(m.device) for name, m in self.masters.items()}, state)


def _collecting(masters: weakref.ref[MasterWeights], name: str) -> Callable[[Tensor], None]:
    """The hook that takes a gradient over. It must not own what owns the parameter: through a hook, which C++ holds,
    such a circle is never found, and the weights of every run of a worker would stay."""

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
