"""Problem sets by name: benchmarks, training sets, their cards, and suites for selection or report."""

from sfpo_bench.problems.card import AnswerType, Card, card, known_sets
from sfpo_bench.problems.data_settings import DataSettings
from sfpo_bench.problems.load import ProblemSet, load_problem_set
from sfpo_bench.problems.overlap import Overlap, overlaps
from sfpo_bench.problems.prompts import PromptTemplate, prompt_template
from sfpo_bench.problems.suites import Role, Suite, SuiteChoice, choice_on, suite

__all__ = [
    "AnswerType",
    "Card",
    "DataSettings",
    "Overlap",
    "ProblemSet",
    "PromptTemplate",
    "Role",
    "Suite",
    "SuiteChoice",
    "card",
    "choice_on",
    "known_sets",
    "load_problem_set",
    "overlaps",
    "prompt_template",
    "suite",
]
