"""Where our grader and that of a sample log differ, as blocks of a report and as a table of samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict

from sfpo_bench.evaluation.sample_logs.arms import ArmAgreement
from sfpo_bench.reports.document import Block, bullets, heading, line, paragraph, table

_SHOWN = 10
_COLUMNS = ("arm", "benchmark", "problem", "sample", "their_grade", "theirs", "ours", "gold", "extracted", "status")


def difference_blocks(agreements: Sequence[ArmAgreement]) -> list[Block]:
    """How many grades changed each way, and the problems; nothing where no log has a grade."""
    if not agreements:
        return []
    rows = [
        (
            *(one.arm, one.benchmark, one.agreement.their_grade, f"{one.agreement.samples:,}"),
            *(f"{one.agreement.both_correct:,}", f"{one.agreement.gained:,}", f"{one.agreement.lost:,}"),
        )
        for one in agreements
    ]
    header = ("arm", "benchmark", "their grade", "samples", "both correct", "only here", "only there")
    changed = [one for one in agreements if one.agreement.changed]
    return [
        heading(2, "Our grades against those of the logs"),
        paragraph(
            "Samples that have a grade of their own there, right or wrong, and one here; correct by both graders, here "
            "alone, and there alone."
        ),
        table(header, rows, left=3),
        *(bullets([line(_problems_text(one)) for one in changed]) if changed else []),
    ]


def _problems_text(one: ArmAgreement) -> str:
    ways = []
    for title, theirs in (("correct only here", False), ("correct only there", True)):
        problems = list(dict.fromkeys(each.problem for each in one.agreement.changed if each.theirs is theirs))
        if problems:
            more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            ways.append(f"{title}: problems {', '.join(problems[:_SHOWN])}{more}")
    return f"{one.arm} on {one.benchmark}, {one.agreement.their_grade}: {'; '.join(ways)}."


def difference_csv(agreements: Sequence[ArmAgreement]) -> str:
    """One row for each sample that one grader alone calls correct."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in agreements:
        for each in one.agreement.changed:
            writer.writerow({**asdict(each), "arm": one.arm, "ours": not each.theirs, "status": each.status.value})
    return out.getvalue()
