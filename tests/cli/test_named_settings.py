"""A message that names a setting names one that the verb it comes from has."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sfpo_bench
from sfpo_bench.cli.hydra_store import VERB_SETTINGS
from sfpo_bench.core.errors import RunFailed
from sfpo_bench.core.options import IsDataclass
from sfpo_bench.experiments.study.suite import settings_named_as_in_a_study
from sfpo_bench.settings.config import KINDS, RunConfig
from sfpo_bench.settings.evaluation import EvaluateSettings
from sfpo_bench.settings.search import GoalSettings, ParameterSettings

PACKAGE = Path(sfpo_bench.__file__).parent
TRAINING = ("train", "compare", "sweep", "study")
# Which verbs can raise what a module raises: the longest prefix counts. Modules that are not here are no one's alone.
VERBS_OF = {
    "cli/import_runs": ("import",),
    "cli/export_logs": ("export-logs",),
    "importing/mllog_export": ("export-logs",),
    "importing/": ("import",),
    **{f"cli/{verb}.": (verb,) for verb in (*TRAINING, "evaluate", *VERB_SETTINGS) if verb != "import"},
    "cli/multirun": ("sweep",),
    "evaluation/": ("evaluate",),
    "comparison/": ("compare", "study"),
    "sweep/": ("sweep", "compare"),
    "search/": ("sweep", "compare"),
    "study/": ("study",),
    **{f"{place}": TRAINING for place in ("config", "run.", "build", "algorithms/", "training/", "tasks/", "inputs")},
    **{f"{place}": (*TRAINING, "evaluate") for place in ("models/", "rollout/", "workers/")},
    # Read by these alone.
    **{f"evaluation/{place}": ("scores",) for place in ("tables", "scores", "sample_logs/", "shared_forms")},
    "models/lora": TRAINING,
    "training/checkpoint": (),  # some of it evaluates, some of it trains
    "comparison/identity": ("compare",),
}
# Named on purpose for another verb than the one that speaks, which the message says.
SAYS_WHICH = re.compile(r"sfpo-bench (\w+)|\btrain with\b|\(in (?:train|evaluate)\b|\(evaluate |with task=")
# Of plug-ins' and other programs' own words, and of no setting: an index of a loop, a column, an example.
NO_SETTINGS = {"a", "n", "key", "axis", "applies_weights", "memory"}
SECTIONS = (
    "algorithm|comparison|data|evaluation|launcher|learner|model|rollout|sampling|study|sweep|task|tracking|training"
)
WORD = r"[a-z][a-z_0-9]*"
ASSIGNED = re.compile(rf"(?<![\w.{{}}/$-])({WORD}(?:\.{WORD})*) ?=(?!=)")
DOTTED = re.compile(rf"(?<![\w.{{}}/$-])((?:{SECTIONS})(?:\.{WORD})+)(?![\w(/])")


def declared(schema: IsDataclass, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(schema):
        value = getattr(schema, field.name)
        yield prefix + field.name
        if isinstance(value, dict):
            yield f"{prefix}{field.name}.*"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from declared(value, f"{prefix}{field.name}.")


def settings_of(verb: str) -> set[str]:
    if verb in VERB_SETTINGS:
        return set(declared(VERB_SETTINGS[verb]()))
    found = set(declared(EvaluateSettings() if verb == "evaluate" else RunConfig()))
    kinds = {key: cls for key, cls in KINDS.items() if key in found or verb != "evaluate"}
    for key, classes in kinds.items():
        found |= {key, *(name for cls in classes.values() for name in declared(cls(), f"{key}."))}
    if verb == "evaluate":
        return found
    return found | {
        "experiment",
        *declared(ParameterSettings(), "sweep.parameters.*."),
        *declared(GoalSettings(), "sweep.goals.*."),
    }


SETTINGS = {verb: settings_of(verb) for verb in (*TRAINING, "evaluate", *VERB_SETTINGS)}


def has(verb: str, key: str) -> bool:
    """Whether the verb has the setting: by its whole name, or, in a message on one part of it, by the name's end."""
    return any(
        one == key
        or one.endswith(f".{key}")
        or one.startswith(f"{key}.")
        or (one.endswith(".*") and key.startswith(one.removesuffix("*")))
        for one in SETTINGS[verb]
    )


def raised_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text that stands in a `raise`, and those of names that stand there; what is filled in is `{}`."""
    tree = ast.parse(path.read_text())
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    names = {name.id for error in raised for name in ast.walk(error) if isinstance(name, ast.Name)}
    named = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id in names for target in node.targets)
    ]
    for root in (*raised, *named):
        inside: set[int] = set()
        for node in ast.walk(root):
            if isinstance(node, ast.JoinedStr):
                inside |= {id(value) for value in node.values}
                parts = (value.value if isinstance(value, ast.Constant) else "{}" for value in node.values)
                yield node.lineno, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield node.lineno, node.value


def verbs_of(place: str) -> tuple[str, ...]:
    fitting = [prefix for prefix in VERBS_OF if place.startswith(prefix)]
    return VERBS_OF[max(fitting, key=len)] if fitting else ()


def mentions() -> Iterator[tuple[str, str, str]]:
    """Place, setting and message of every mention."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith("integrations/"):
            continue  # arguments of functions of Python, and settings of other trainers
        for line, text in raised_texts(path):
            for key in dict.fromkeys((*ASSIGNED.findall(text), *DOTTED.findall(text))):
                if key not in NO_SETTINGS and " " in text:
                    yield f"{place}:{line}", key, text


MENTIONS = list(mentions())


def test_every_setting_that_a_message_names_is_one_of_a_verb_that_can_raise_it() -> None:
    assert len(MENTIONS) > 150 and any(key == "rollout.over_long" for _, key, _ in MENTIONS)
    wrong = [
        (place, key, [verb for verb in verbs_of(place) if not has(verb, key)])
        for place, key, text in MENTIONS
        if not SAYS_WHICH.search(text)
    ]
    assert [one for one in wrong if one[2]] == []
    # Where nobody knows the verb, some verb has the setting.
    assert [one[:2] for one in wrong if not verbs_of(one[0]) and not any(has(v, one[1]) for v in SETTINGS)] == []


def test_the_check_finds_a_setting_that_a_verb_does_not_have() -> None:
    assert has("train", "learner.learning_rate") and not has("evaluate", "learner.learning_rate")
    assert has("evaluate", "sampling.samples") and not has("export", "device")
    assert not any(has(verb, "learner.learningrate") for verb in SETTINGS)


def test_a_study_speaks_of_the_settings_of_its_evaluations_by_its_own_names() -> None:
    with pytest.raises(RunFailed) as caught, settings_named_as_in_a_study():
        raise RunFailed("more time (grading_seconds=20), or sampling.samples = 1; my.problems=3, device=cpu stay")
    named = "more time (study.evaluation.grading_seconds=20), or study.evaluation.sampling.samples = 1"
    assert str(caught.value) == f"{named}; my.problems=3, device=cpu stay"
    names = re.findall(r"study\.[\w.]+", named)
    assert len(names) == 2 and set(names) <= SETTINGS["study"]
