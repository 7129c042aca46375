"""Publishes an evaluation: tables, a journal, and a run in the tracking store."""

from __future__ import annotations

from sfpo_bench.core.errors import TrackingError
from sfpo_bench.evaluation.record import Evaluation
from sfpo_bench.evaluation.scores import ScoredArm
from sfpo_bench.evaluation.tables import TableFiles, scores_plain, write_tables
from sfpo_bench.evaluation.tracked import deliver, write_journal
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.store_warnings import StoreWarnings


def publish(found: Evaluation, delivery: Delivery | None, warnings: StoreWarnings, parent_uid: str = "") -> TableFiles:
    """Write the tables and the journal and deliver them; a failing store causes a warning.

    In the store the evaluation is a child of its training run or, without one, of `parent_uid`.
    """
    arm, k = ScoredArm(found.owner.arm, (found,)), found.asked.samples
    files = write_tables([arm], arm.name, k, found.folder)
    folder = write_journal(found, scores_plain(arm, k))
    if delivery is not None and not warnings.tracking_failed:  # a store that does not respond takes minutes to fail
        try:
            deliver(found, folder, [files.markdown, files.csv], delivery, parent_uid)
        except TrackingError as error:
            warnings.tracking(error)
    return files
