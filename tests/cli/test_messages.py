"""What a user sees for wrong input: one message, exit code 2, at once, without torch."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Cli, command

# Ends the process loudly when torch is imported, and says at the end which heavy modules were.
NO_TORCH = """
import sys, importlib.abc
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "mlflow", "vllm"):
            raise SystemExit(f"imported {name}")
sys.meta_path.insert(0, Refuse())
"""

WRONG = {
    "trian": "'trian' is not a verb; did you mean train? expected one of train, compare",
    "xyz": "'xyz' is not a verb; expected one of train, compare",
    "train steps=3": "steps is not a setting; did you mean training.steps?",
    "train learning_rate=3": "did you mean algorithm.modules.learning_rate or learner.learning_rate?",
    "train model.path=x": "model.path is not a setting; it is one with model=hf; model has kind",
    "train algorithm.update_rule.alpha=0.3": "it is one with algorithm/update_rule=lookahead or algorithm/update_rule=",
    "evaluate samples=3": "samples is not a setting; did you mean sampling.samples?",
    "evaluate nowhere": "nowhere is not a run folder: it does not exist",
    "train experiment=own model=embedded task.path=.": "task.path = '.': found a folder, expected a file",
    "train experiment=own model=embedded": "task.path = '': names no file",
    "train description=${nope}": "${nope} names no setting; expected the full name of one",
    "train description=${oc.env:SFPO_NOPE}": "the environment variable SFPO_NOPE is not set",
    "train =3": "=3 has no name of a setting; expected KEY=VALUE",
    "train learner.recompute_layers=abc": "learner.recompute_layers: found 'abc', expected true or false",
    "show": "no run is named; expected sfpo-bench show RUN",
    "train algoritm=sfpo": "algoritm is not a setting; did you mean algorithm?",
    "train algorithm=sfpoo": "Could not find 'algorithm/sfpoo' Available options in 'algorithm': ",
    "train algorithm=gspo algorithm/objective=cispo": "algorithm=gspo sets algorithm.objective.clip_low, which the chosen",
    "train experiment=paper/none": "arithmetic own own_quick smollm2_addition paper/deepseek-r1-distill-qwen-1.5b",
    "train algorithm=sfpo algorithm.update_rule.alph=1": "did you mean alpha? algorithm.update_rule has ",
    "train algorithm=sfpo algorithm.update_rule.alpha=1.5": "algorithm.update_rule.alpha = 1.5 is out of range: expected [0, 1]",
    "train algorithm=sfpo algorithm.update_rule.alpha=nan": "algorithm.update_rule.alpha = nan is out of range",
    "train algorithm=sfpo algorithm.update_rule.fast_passes=-1": "expected [0, inf)",
    "train algorithm=sfpo algorithm.update_rule.moments=carried": "expected one of [carry, restore, interpolate]",
    "train algorithm=sfpo algorithm.update_rule.trigger.threshold=6": "largest z-score is sqrt(window - 1) = 5.385",
    "train learner.learning_rate=fast": "learner.learning_rate: found 'fast', expected a number",
    "train learner.learning_rate=0": "learner.learning_rate = 0 is out of range: expected (0, inf)",
    "train learner.mini_batch_prompts=5": "does not divide into mini-batches of learner.mini_batch_prompts = 5",
    "train rollout.group=1": "set rollout.group to at least 2",
    "train rollout.temperature=0": "rollout.temperature = 0 is out of range",
    "train +learner.speed=3": "`+` may add whole groups only",
    "train ++learner.speed=3": "`+` may add whole groups only",
    "train ~learner.learning_rate": "settings cannot be removed",
    "train learner.learning_rate": "sets nothing; expected KEY=VALUE",
    "train run_name=a=b": """write "run_name='a=b'\"""",
    "train seed=1,2": "search over them with `sfpo-bench train --multirun`",
    "report ü=x": "ü=x is not a comparison folder",
    "train experiment=own": "model.path is empty",
    "train experiment=own model.path=./nowhere": "model.path = ./nowhere does not exist",
    "train experiment=own model.path=no-such/model task=arithmetic": "and the hub does not answer",
    "train experiment=own model=embedded task.path=nowhere.jsonl": "nowhere.jsonl",
    "train experiment=own model.path=C:\\Users\\me\\model": "C:\\Users\\me\\model does not exist",
    "train experiment=own model.path='~no-such-user/m'": "~no-such-user/m does not exist",
    "train experiment=smollm2_addition model.cache=nowhere": "sfpo-bench fetch smollm2",
    "train algorithm/objective=custom": "expected `module:Class`",
    "train algorithm/objective=custom algorithm.objective.factory=no_such:Thing": "importing no_such failed",
    "train algorithm/objective=custom algorithm.objective.factory=json:Thing": "json has no Thing",
    "train algorithm/objective=custom algorithm.objective.factory=json:JSONDecoder": "the class lacks",
    "compare learner.learning_rate=1e-4": "arm grpo sets learner.learning_rate itself",
    "compare comparison.baseline=ppo": "'ppo' is not an arm; the arms are grpo, sfpo",
    "compare comparison.arms.grpo.overrides=[algoritm]": "comparison.arms.grpo.overrides",
    "compare comparison.arms.grpo.lable=x": "did you mean label?",
    "compare experiment=own model=embedded task=arithmetic": "comparison.arms is empty",
    "compare evaluation.responses=0": "no responses are evaluated on it",
    "report nowhere": "nowhere is not a comparison folder",
    "show nowhere": "nowhere is not a run folder",
    "show nowhere step=-1": "step = -1 is out of range",
    "export nowhere out": "nowhere is not a run folder",
    "export nowhere checkpoint=first": "expected one of [last, best]",
    "sync output_root=nowhere": "output_root = nowhere does not exist",
    "fetch gpt": "name = 'gpt' cannot be fetched",
}


@pytest.mark.parametrize("line", list(WRONG))
def test_wrong_input_gets_one_message_and_exit_code_two_without_torch(line: str, cli: Cli) -> None:
    done = cli(*line.split(), check=False, prelude=NO_TORCH)
    assert WRONG[line] in done.stderr, done.stdout + done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    ["--help", "train --help", "compare --help", "show --help", "--version", "train --cfg job", "train --info defaults",
     pytest.param("train --hydra-help", marks=pytest.mark.slow), "list"],
)  # fmt: skip
def test_help_needs_no_torch_and_no_time(line: str, cli: Cli) -> None:
    # CPU seconds of the child: on an idle core they are what a user waits, on a busy one the clock says nothing.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = cli(*line.split(), prelude=NO_TORCH)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.strip()
    # Hydra's own page copies every schema once for each preset, so its time grows with them; ours must not.
    bound = 6 if "--hydra-help" in line else 3
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < bound


@pytest.mark.parametrize("line", ["--cfg job seed=7 threads=1", "seed=7 --cfg job threads=1", "seed=7 threads=1 -c job",
                                  "--resolve seed=7 -c job -p seed"])  # fmt: skip
def test_flags_of_hydra_may_stand_anywhere(line: str, cli: Cli) -> None:
    assert "7" in cli("train", *line.split()).stdout


def test_info_takes_its_kind_or_none(cli: Cli) -> None:
    assert "defaults" in cli("train", "--info", "defaults-tree", "seed=7").stdout.lower()
    assert "seed" in cli("train", "--info", "seed=7").stdout.lower()


def test_help_shows_settings_and_those_of_the_kind_that_is_chosen_with_their_ranges(cli: Cli) -> None:
    text = cli("train", "algorithm/update_rule=slow_fast", "--help").stdout
    assert "algorithm.update_rule.alpha = 0.8" in text and "[0, 1]" in text
    assert "learner.learning_rate" in text and "experiment" in text and "smollm2_addition" in text


def test_reports_import_without_torch_hydra_and_mlflow(cli: Cli) -> None:
    cli("--version", prelude=NO_TORCH.replace('"vllm"', '"vllm", "hydra", "omegaconf"') + "import sfpo_bench.reports")


def complete(cli: Cli, line: str) -> list[str]:
    prelude = f"import os; os.environ['COMP_LINE'] = {line!r}"
    return cli("-sc", "query=bash", prelude=prelude).stdout.split()


def test_completion_knows_verbs_groups_and_settings(cli: Cli) -> None:
    assert complete(cli, "sfpo-bench tr") == ["train"]
    assert {"algorithm=sfpo", "algorithm=sfpo_paper"} <= set(complete(cli, "sfpo-bench train algorithm=sf"))
    assert "learner.learning_rate=" in " ".join(complete(cli, "sfpo-bench compare learner.learning"))


def test_completion_can_be_installed(cli: Cli) -> None:
    assert "complete -o" in cli("train", "-sc", "install=bash").stdout


@pytest.mark.parametrize("line", ["train --plan", "doctor", "methods", "--help"])
def test_a_reader_that_has_gone_is_no_fault(line: str, tmp_path: Path) -> None:
    """As `sfpo-bench methods | head -1`: no message, and the exit code of SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command(tuple(line.split())), cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
