"""One GPU: what a training step costs for three shapes of models with made-up weights, beside other loops.

    python -m benchmarks.gpu OUT [STEPS] [DEVICE] [SHAPE ...]

A step samples a group of responses of fixed length to each prompt and updates the weights: GRPO with one pass over the
batch, SFPO with four. Beside them a plain loop over transformers (`generate`, padded rows, each with its own prompt)
and, where TRL is installed, its GRPOTrainer. It needs torch, transformers and this package. Each contestant
is a process of its own, a first step warms it up, and the numbers are medians of STEPS (3) more.

    sampled tokens/s   response tokens over the seconds of sampling
    trained tokens/s   tokens of a pass times passes, over the seconds of the update; prompts count as often as they are
                       computed: once a group here, once a response in the other loops
    MFU                model FLOPs of those passes over the device's peak, which the table names
    reposition         share of the update
    scalar reads       numbers that a step reads from the device, each of which makes the host wait

OUT/gpu.json and OUT/gpu.md hold the table. DEVICE=cpu tries the script out on the processor. A contestant that fails,
such as for want of memory, has its last message in the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import trl_loop
from sfpo_bench.models.shapes import PUBLISHED, Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

GROUP, FAST_PASSES, RATE = 8, 3, 1e-6


@dataclass(frozen=True, slots=True)
class Setting:
    """A shape of model and the size of a step."""

    shape: Shape
    prompts: int
    prompt_tokens: int
    response_tokens: int
    micro_batch_tokens: int

    @property
    def responses(self) -> int:
        return self.prompts * GROUP

    @property
    def length(self) -> int:
        """Tokens of a prompt and its response."""
        return self.prompt_tokens + self.response_tokens


SETTINGS: Mapping[str, Setting] = {
    "arithmetic": Setting(Shape(16, 64, 192, 2, 4, 4, 16, tied=True, qkv_bias=True), 32, 8, 12, 16_384),
    "SmolLM2-135M": Setting(Shape(49152, 576, 1536, 30, 9, 3, 64, tied=True), 32, 64, 128, 16_384),
    "1.5B": Setting(PUBLISHED["Qwen/Qwen2.5-Math-1.5B"], 16, 128, 512, 16_384),
}
CONTESTANTS = {"GRPO": 1, "SFPO, K = 3": FAST_PASSES + 1, "plain transformers loop": 1, "TRL": 1}  # passes


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `work_tokens` are the tokens of a pass, `work_flops` its model FLOPs, forward and backward."""

    sampling_s: float
    update_s: float
    work_tokens: float
    work_flops: float
    reposition_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant in one setting; `failure` is the message of one that did not get through."""

    setting: str
    contestant: str
    failure: str = ""
    step_s: float = 0.0
    sampling_share: float = 0.0
    update_share: float = 0.0
    reposition_share: float = 0.0
    sampled_tokens_per_second: float = 0.0
    trained_tokens_per_second: float = 0.0
    flops_utilization: float = 0.0
    memory_gb: float = 0.0
    scalar_reads: int = 0
    peak: str = ""


def main(out: Path, steps: int, device: str, names: list[str]) -> None:
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: torch sees none; DEVICE=cpu tries the script out on the processor")
    out.mkdir(parents=True, exist_ok=True)
    here = [name for name in CONTESTANTS if name != "TRL" or importlib.util.find_spec("trl") is not None]
    found = [contest(name, contestant, steps, device) for name in names or SETTINGS for contestant in here]
    about = "the processor" if device == "cpu" else torch.cuda.get_device_name()
    content = {"device": about, "torch": torch.__version__, "steps": steps, "found": [asdict(one) for one in found]}
    (out / "gpu.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    peaks = "; ".join(sorted({one.peak for one in found if one.peak}))
    table = "\n".join([f"{about}, torch {torch.__version__}, {steps} steps each; peak: {peaks}", "", *rows(found)])
    (out / "gpu.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def contest(name: str, contestant: str, steps: int, device: str) -> Measured:
    """One contestant, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", name, contestant, str(steps), device]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    last = ran.stdout.strip().splitlines()[-1:]
    if ran.returncode or not last:
        said = ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"]
        return Measured(name, contestant, said[-1][:200])
    return Measured(**json.loads(last[0]))


def one(name: str, contestant: str, steps: int, device: str) -> Measured:
    """Measure a contestant in this process."""
    import torch

    from sfpo_bench.training.device_peaks import peak_of

    setting, place = SETTINGS[name], torch.device(device)
    dtype = torch.float32 if name == "arithmetic" else torch.bfloat16
    torch.manual_seed(0)
    with place:
        model = _model(setting.shape, dtype)
    if contestant == "TRL":
        records, reads = trl_steps(model, setting, steps, place), 0
    else:
        step = plain_step if contestant.startswith("plain") else own_step
        act = step(model, setting, CONTESTANTS[contestant], place)
        records = [act(number) for number in range(steps + 1)][1:]
        reads = _reads(lambda: act(steps + 1))
    peak = peak_of(place, dtype)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if place.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    sampling, update, reposition = (
        median(getattr(record, key) for record in records) for key in ("sampling_s", "update_s", "reposition_s")
    )
    passes, work = CONTESTANTS[contestant], records[-1]
    flops = passes * work.work_flops / update
    return Measured(
        name, contestant, "",
        step_s=sampling + update,
        sampling_share=sampling / (sampling + update),
        update_share=update / (sampling + update),
        reposition_share=reposition / update,
        sampled_tokens_per_second=setting.responses * setting.response_tokens / sampling,
        trained_tokens_per_second=passes * work.work_tokens / update,
        flops_utilization=flops / peak.flops_per_second if peak.flops_per_second else 0.0,
        memory_gb=memory / 1e9,
        scalar_reads=reads,
        peak=peak.source,
    )  # fmt: skip


def own_step(model: PreTrainedModel, setting: Setting, passes: int, device: torch.device) -> Callable[[int], Step]:
    """A step of this package's engine and learner."""
    import torch

    from sfpo_bench.algorithms.advantages.group import group_advantages
    from sfpo_bench.algorithms.objectives import Clipped
    from sfpo_bench.algorithms.update_rules import OnePass, SlowFast
    from sfpo_bench.core.types import Sampling
    from sfpo_bench.models.flops import forward_flops
    from sfpo_bench.rollout.protocol import NoiseStream, Request
    from sfpo_bench.rollout.transformers_engine import TransformersEngine
    from sfpo_bench.settings.training import LearnerSettings, Precision
    from sfpo_bench.training.batch import assemble
    from sfpo_bench.training.learner import LocalLearner
    from sfpo_bench.training.throughput import PassTokens

    precision = Precision.float32 if model.dtype == torch.float32 else Precision.bfloat16
    settings = LearnerSettings(learning_rate=RATE, precision=precision, micro_batch_tokens=setting.micro_batch_tokens)
    # No token ends a response, so that all have the same length.
    engine = TransformersEngine(model, _tokenizer(setting.shape.vocabulary), frozenset(), setting.responses)
    learner = LocalLearner(model, Clipped(), settings, 1.0)
    rule = OnePass() if passes == 1 else SlowFast(fast_passes=passes - 1, alpha=0.8)

    def step(number: int) -> Step:
        begun = _now(device)
        requests = [
            Request(str(place), tuple(row), tuple(range(GROUP))) for place, row in enumerate(_prompts(setting, number))
        ]
        completions = engine.generate(
            requests, Sampling(1.0, setting.response_tokens), NoiseStream(0, "rollout", number)
        )
        sampled = _now(device)
        rewards_PG = _rewards(setting)
        batch = assemble(completions, group_advantages(rewards_PG).reshape(-1), setting.response_tokens)
        learner.begin_step(number + 1, batch)
        rule.update(learner, batch)
        readings = learner.end_step()
        updated = _now(device)
        work = PassTokens.of(batch, needs_every_row=False)
        flops = 3 * forward_flops(setting.shape, work.tokens, work.pairs)
        return Step(sampled - begun, updated - sampled, work.tokens, flops, readings.reposition_seconds)

    return step


def plain_step(model: PreTrainedModel, setting: Setting, passes: int, device: torch.device) -> Callable[[int], Step]:
    """A step as a short script over transformers writes it: rows with their own prompts, all logits."""
    import torch

    from sfpo_bench.models.flops import training_flops

    generate: Any = model.generate  # transformers types it as a tensor
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    rows_at_once = max(1, setting.micro_batch_tokens // setting.length)
    kept: dict[str, Any] = {
        "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "pad_token_id": 0, "eos_token_id": None,
        "min_new_tokens": setting.response_tokens, "max_new_tokens": setting.response_tokens,
    }  # fmt: skip
    flops = training_flops(setting.shape, [setting.length] * setting.responses)

    def step(number: int) -> Step:
        begun = _now(device)
        prompts_BL = torch.tensor(_prompts(setting, number), device=device).repeat_interleave(GROUP, dim=0)
        with torch.no_grad():
            rows_BS: Tensor = generate(prompts_BL, attention_mask=torch.ones_like(prompts_BL), **kept)
        sampled = _now(device)
        rewards_PG = _rewards(setting).to(device)
        centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
        advantages_B = (centred_PG / (rewards_PG.std(dim=1, keepdim=True) + 1e-6)).flatten()
        for part_BS, own_B in zip(rows_BS.split(rows_at_once), advantages_B.split(rows_at_once), strict=True):
            logits_BTV = model(part_BS, use_cache=False).logits[:, setting.prompt_tokens - 1 : -1].float()
            targets_BT = part_BS[:, setting.prompt_tokens :]
            log_probs_BT = logits_BTV.log_softmax(-1).gather(2, targets_BT[..., None])[..., 0]
            ratios_BT = (log_probs_BT - log_probs_BT.detach()).exp()
            loss = -(ratios_BT * own_B[:, None]).sum() / (setting.responses * setting.response_tokens)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        updated = _now(device)
        return Step(sampled - begun, updated - sampled, float(setting.responses * setting.length), flops)

    return step


def trl_steps(model: PreTrainedModel, setting: Setting, steps: int, device: torch.device) -> list[Step]:
    """Steps of TRL's GRPOTrainer on the same model and lengths; of its step, what is not sampling is its update."""
    watch = Timed(setting, device)
    rows_at_once = max(GROUP, 2 ** ((setting.micro_batch_tokens // setting.length).bit_length() - 1))
    rows_at_once = min(rows_at_once, setting.responses)
    settings = {
        **trl_loop.fixed_lengths(setting.response_tokens, GROUP, RATE),
        "max_steps": steps + 1,
        "per_device_train_batch_size": rows_at_once,
        "gradient_accumulation_steps": setting.responses // rows_at_once,
        "gradient_checkpointing": False,
        "bf16": str(model.dtype).endswith("bfloat16"),
        "use_cpu": device.type == "cpu",
    }
    texts = [" ".join(f"w{token}" for token in row) for number in range(steps + 1) for row in _prompts(setting, number)]
    trl_loop.train(model, _tokenizer(setting.shape.vocabulary), texts, settings, watch)
    return watch.steps[1:]


class Timed:
    """The steps of TRL's trainer, as they end."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.steps: list[Step] = []
        self._setting, self._device = setting, device
        self._begun = self._sampled_s = 0.0

    def begin(self) -> None:
        self._begun = _now(self._device)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        begun = _now(self._device)
        yield
        self._sampled_s = _now(self._device) - begun

    def end(self) -> None:
        from sfpo_bench.models.flops import training_flops

        update_s = _now(self._device) - self._begun - self._sampled_s
        lengths = [self._setting.length] * self._setting.responses
        work = training_flops(self._setting.shape, lengths)
        self.steps.append(Step(self._sampled_s, update_s, float(sum(lengths)), work))


def rows(found: list[Measured]) -> list[str]:
    """The table in Markdown."""
    head = [
        "| | | step, s | sampling | update | reposition | sampled tokens/s | trained tokens/s | MFU | memory, GB "
        "| scalar reads |",
        "|:--|:--|" + "--:|" * 9,
    ]
    return head + [
        f"| {one.setting} | {one.contestant} | "
        + (f"{one.failure} |" + " |" * 8 if one.failure else " | ".join(_cells(one)) + " |")
        for one in found
    ]


def _cells(one: Measured) -> list[str]:
    return [
        f"{one.step_s:.3f}",
        f"{one.sampling_share:.0%}",
        f"{one.update_share:.0%}",
        f"{one.reposition_share:.2%}",
        f"{one.sampled_tokens_per_second:,.0f}",
        f"{one.trained_tokens_per_second:,.0f}",
        f"{one.flops_utilization:.1%}",
        f"{one.memory_gb:.2f}",
        str(one.scalar_reads or ""),
    ]


def _model(shape: Shape, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary, "hidden_size": shape.hidden, "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size, "tie_word_embeddings": shape.tied, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    made: Any = Qwen2ForCausalLM(Qwen2Config(**sizes)) if shape.qkv_bias else LlamaForCausalLM(LlamaConfig(**sizes))
    model: PreTrainedModel = made.to(dtype).eval()
    return model


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Words `w0`, `w1`, … for the tokens; the last is padding, and stands for the end that no response reaches."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({f"w{token}": token for token in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = WhitespaceSplit()
    last = f"w{vocabulary - 1}"
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=last, eos_token=last, unk_token="w0")


def _prompts(setting: Setting, step: int) -> list[list[int]]:
    import torch

    source = torch.Generator().manual_seed(step)
    drawn_PL = torch.randint(
        1, setting.shape.vocabulary - 1, (setting.prompts, setting.prompt_tokens), generator=source, device="cpu"
    )
    found: list[list[int]] = drawn_PL.tolist()
    return found


def _rewards(setting: Setting) -> Tensor:
    """Half of every group is right, [P, G]."""
    import torch

    return torch.tensor(trl_loop.rewards(setting.responses)).view(setting.prompts, GROUP)


def _now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reads(act: Callable[[], object]) -> int:
    """How many numbers a step reads from its tensors; on a processor these are the reads that would make it wait."""
    from torch.utils._python_dispatch import TorchDispatchMode

    counted: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            counted[function.__name__.partition(".")[0]] += 1
            return function(*args, **(kwargs or {}))

    with Counting():  # type: ignore[no-untyped-call]  # torch types it not
        act()
    return counted["_local_scalar_dense"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        name, contestant, count, where = sys.argv[2:]
        print(json.dumps(asdict(one(name, contestant, int(count), where))))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("out", type=Path, metavar="OUT")
        parser.add_argument("steps", type=int, nargs="?", default=3, metavar="STEPS")
        parser.add_argument("device", nargs="?", default="cuda", metavar="DEVICE")
        parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SETTINGS))
        asked = parser.parse_args()
        main(asked.out, asked.steps, asked.device, asked.shapes)
