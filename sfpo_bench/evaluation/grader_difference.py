"""Differences between our grader and that of a sample log, as blocks of a report and as a table of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sfpo_bench.evaluation.sample_logs.arms import ArmAgreement
from sfpo_bench.reports.document import Block, bullets, heading, line, paragraph, table
from sfpo_bench.results.csv_text import rows_csv

_SHOWN = 10
_COLUMNS = ("arm", "benchmark", "problem", "sample", "their_grade", "theirs", "ours", "gold", "extracted", "status")


def difference_blocks(agreements: Sequence[ArmAgreement]) -> list[Block]:
    """Return the counts of changed grades and their problems as blocks; no blocks if no log has a grade."""
    if not agreements:
        return []
    rows = [
        (
            *(one.arm, one.benchmark, one.agreement.their_grade, f"{one.agreement.samples:,}"),
            *(f"{one.agreement.both_correct:,}", f"{one.agreement.gained:,}", f"{one.agreement.lost:,}"),
        )
        for one in agreements
    ]
    header = ("arm", "benchmark", "their grade", "samples", "both correct", "only ours", "only theirs")
    changed = [one for one in agreements if one.agreement.changed]
    return [
        heading(2, "Our grades against those of the logs"),
        paragraph(
            "Samples that both graders graded as correct or wrong: how many are correct by both, by ours only, and by "
            "that of the log only."
        ),
        table(header, rows, left=3),
        *(bullets([line(_problems_text(one)) for one in changed]) if changed else []),
    ]


def _problems_text(one: ArmAgreement) -> str:
    ways = []
    for title, theirs in (("correct only by ours", False), ("correct only by theirs", True)):
        problems = list(dict.fromkeys(each.problem for each in one.agreement.changed if each.theirs is theirs))
        if problems:
            more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            ways.append(f"{title}: problems {', '.join(problems[:_SHOWN])}{more}")
    return f"{one.arm} on {one.benchmark}, {one.agreement.their_grade}: {'; '.join(ways)}."


def difference_csv(agreements: Sequence[ArmAgreement]) -> str:
    """Return a CSV with one row for each sample that only one grader calls correct."""
    rows = (
        {**asdict(each), "arm": one.arm, "ours": not each.theirs, "status": each.status.value}
        for one in agreements
        for each in one.agreement.changed
    )
    return rows_csv(_COLUMNS, rows)
