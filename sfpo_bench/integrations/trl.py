"""SFPO inside TRL's GRPOTrainer.

    trainer = GRPOTrainer(model=..., reward_funcs=..., args=GRPOConfig(...), train_dataset=...)
    trainer.add_callback(SlowFastCallback(trainer, fast_passes=3, alpha=0.8))
    trainer.train()

TRL already repeats a batch (`num_iterations`): its sampler repeats the prompts, and generations are reused for
`num_iterations * steps_per_generation` micro-batches. This module adds the optimizer that repositions, its batch
boundaries, the entropy for its trigger, and a number of passes that may drop to 1 during the run. Written for TRL 1.16;
`docs/integrations.md` lists settings and limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.utils.data import IterableDataset, Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.triggers import Trigger
from sfpo_bench.integrations.slow_fast_optimizer import SlowFastOptimizer

if TYPE_CHECKING:
    from trl import GRPOTrainer


class SlowFastCallback(TrainerCallback):
    """Makes `trainer` run SFPO: K fast passes over its generations, a reposition, one slow pass.

    The trainer's optimizer is wrapped in a `SlowFastOptimizer`. `num_iterations` becomes K + 1, and 1 from the batch
    after the trigger fires. For each batch the trigger receives TRL's mean token entropy of the first pass. With one
    optimizer step per pass, this is the entropy at the weights that sampled the batch.

    A pass is `steps_per_generation / gradient_accumulation_steps` optimizer steps. TRL counts optimizer steps, so
    `max_steps`, `save_steps` and `eval_steps` must be multiples of K + 1 passes, and its learning rate schedule
    advances with each optimizer step. Invalid settings raise `ValueError`, here or when training starts.
    """

    def __init__(
        self,
        trainer: GRPOTrainer,
        *,
        fast_passes: int = 3,
        alpha: float = 0.8,
        moments: Moments | str = Moments.carry,
        trigger: Trigger | None = None,
        anchor_device: str | None = None,
    ) -> None:
        if not hasattr(trainer, "num_iterations") or not hasattr(trainer, "_get_train_sampler"):
            raise TypeError(f"trainer is a {type(trainer).__name__}, expected trl.GRPOTrainer of TRL 1.16")
        self._trainer = trainer
        self._settings: dict[str, Any] = {
            "fast_passes": fast_passes,
            "alpha": alpha,
            "moments": moments,
            "trigger": trigger or Trigger(),
            "anchor_device": anchor_device,
        }
        self.optimizer: SlowFastOptimizer | None = None
        self._most_passes = fast_passes + 1 if alpha > 0 and not self._settings["trigger"].fired else 1
        self._check(trainer)
        self._steps_per_pass = trainer.args.steps_per_generation // trainer.args.gradient_accumulation_steps
        self._batches = 0
        self._steps_in_batch = 0
        self._entropies: list[float] = []
        trainer.num_iterations = self._most_passes
        trainer.create_optimizer = self._wrapping(trainer.create_optimizer)
        trainer._get_train_sampler = self._repeating(trainer._get_train_sampler)

    # Wrappers of the trainer's optimizer and sampler.

    def _wrapping(self, create: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
        def create_optimizer(*args: Any, **kwargs: Any) -> Optimizer:
            created: Optimizer = create(*args, **kwargs)
            # A second call of `train` finds the first call's optimizer, which accelerate may have wrapped.
            if self.optimizer is None or getattr(created, "optimizer", created) is not self.optimizer:
                self.optimizer = SlowFastOptimizer(created, **self._settings)
                self._trainer.optimizer = created = self.optimizer
            return created

        return create_optimizer

    def _repeating(self, make: Callable[..., Any]) -> Callable[..., Sampler[int]]:
        def get_train_sampler(*args: Any, **kwargs: Any) -> Sampler[int]:
            one_pass = make(*args, **kwargs)
            one_pass.repeat_count = self._trainer.args.steps_per_generation
            indices = one_pass.batch_size * one_pass.mini_repeat_count * one_pass.repeat_count
            return PassSampler(one_pass, indices, self._most_passes, lambda: self._wrapped.passes)

        return get_train_sampler

    @property
    def _wrapped(self) -> SlowFastOptimizer:
        if self.optimizer is None:
            raise RuntimeError("the trainer made no optimizer, expected create_optimizer to have run before this")
        return self.optimizer

    # Callbacks of the trainer.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._check_steps(args, state)
        if self._wrapped.batch_is_open:
            raise RuntimeError(
                "the state that training begins from is in the middle of a batch, whose responses TRL does not keep: "
                "resume from a checkpoint that was written between batches"
            )
        self._set_passes()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._wrapped.batch_is_open:
            self._wrapped.begin_batch(self._steps_per_pass)
            self._steps_in_batch, self._entropies = 0, []
            self._set_passes()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._steps_in_batch += 1
        if self._steps_in_batch <= self._steps_per_pass:
            self._entropies += self._entropies_of_step()
        if not self._wrapped.batch_is_open:
            self._batches += 1
            if self._entropies:
                self._wrapped.observe(self._batches, sum(self._entropies) / len(self._entropies))

    def _set_passes(self) -> None:
        self._trainer.num_iterations = self._wrapped.passes

    def _entropies_of_step(self) -> list[float]:
        """The mean token entropies over all processes of the last optimizer step, one per micro-batch."""
        found: list[float] = self._trainer._metrics["train"].get("entropy", [])[
            -self._trainer.args.gradient_accumulation_steps :
        ]
        if not found and self._can_fire:
            raise RuntimeError("TRL recorded no entropy for this step, which the trigger needs: use trigger=None")
        return found

    # Checks of the settings.

    @property
    def _can_fire(self) -> bool:
        return type(self._settings["trigger"]) is not Trigger

    def _check(self, trainer: GRPOTrainer) -> None:
        args = trainer.args
        if args.num_iterations not in (1, self._most_passes):
            raise ValueError(
                f"num_iterations = {args.num_iterations}, expected K + 1 = {self._most_passes} for fast_passes = "
                f"{self._settings['fast_passes']}; leave it out, it is set here"
            )
        if args.steps_per_generation % args.gradient_accumulation_steps:
            raise ValueError(
                f"steps_per_generation = {args.steps_per_generation} is not a multiple of gradient_accumulation_steps "
                f"= {args.gradient_accumulation_steps}: an optimizer step would cross the end of a pass. Make it one, "
                "or leave it out to get one optimizer step in a pass"
            )
        if isinstance(trainer.optimizer, SlowFastOptimizer):
            raise ValueError(
                "the trainer was given a SlowFastOptimizer: give it the optimizer inside, it is wrapped here"
            )
        if getattr(trainer, "is_deepspeed_enabled", False):
            raise ValueError("DeepSpeed splits parameters and steps in its own optimizer: use DDP or FSDP2 instead")
        if self._can_fire and args.dataloader_num_workers > 0:
            raise ValueError(
                f"dataloader_num_workers = {args.dataloader_num_workers} reads ahead of the trigger, which changes how "
                "often a batch is repeated: set it to 0, or use no trigger"
            )
        if self._can_fire and isinstance(trainer.train_dataset, IterableDataset):
            raise ValueError(
                "the train dataset is iterable, and how often TRL repeats its prompts is fixed before training: use a "
                "map-style dataset, or no trigger"
            )

    def _check_steps(self, args: TrainingArguments, state: TrainerState) -> None:
        batch_steps = self._most_passes * self._steps_per_pass
        counted = {"max_steps": state.max_steps}
        if args.save_strategy == "steps":
            counted["save_steps"] = state.save_steps
        if args.eval_strategy == "steps":
            counted["eval_steps"] = state.eval_steps
        for name, steps in counted.items():
            if steps % batch_steps:
                raise ValueError(
                    f"{name} = {steps} optimizer steps would fall in the middle of a batch: expected a multiple of "
                    f"(K + 1) * steps per pass = {self._most_passes} * {self._steps_per_pass} = {batch_steps}"
                )


class PassSampler(Sampler[int]):
    """Repeats each run of `indices_per_pass` indices of `one_pass` `passes()` times, evaluated after each repeat.

    Its length is that for `most_passes` repeats; with fewer it goes through `one_pass` again.
    """

    def __init__(
        self, one_pass: Sampler[int], indices_per_pass: int, most_passes: int, passes: Callable[[], int]
    ) -> None:
        self._one_pass = one_pass
        self._indices_per_pass = indices_per_pass
        self._most_passes = most_passes
        self._passes = passes

    def __iter__(self) -> Iterator[int]:
        left = len(self)
        while left > 0:
            indices = iter(self._one_pass)
            while left > 0 and (batch := list(islice(indices, self._indices_per_pass))):
                taken = 0
                # The trainer prefetches one micro-batch, so `passes()` is called in the last step of each pass, or
                # before the batch's first step, when the optimizer returns the number for the coming batch.
                while taken == 0 or (taken < self._passes() and left > 0):
                    yield from batch
                    taken += 1
                    left -= len(batch)

    def __len__(self) -> int:
        return self._most_passes * len(self._one_pass)  # type: ignore[arg-type]  # any sized loader
