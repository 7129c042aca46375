"""Decides whether the times of a comparison's arms can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from sfpo_bench.reports.summary import ArmSummary

CLOCK_TOLERANCE = 0.10


def clock_problem(arms: Sequence[ArmSummary]) -> str | None:
    """Return why the arms' times cannot be compared, or None if they can.

    Reasons are different devices, different numbers of processes, and clocks that disagree by more than 10 %: CPU
    seconds per training second and process must agree between arms. If every process computes in one CPU thread, they
    must also be within 10 % of 1, because waiting for a processor on a shared machine lowers them. With several threads
    or a GPU, no fixed value is expected.
    """
    devices = dict.fromkeys(curve.device for arm in arms for curve in arm.curves if curve.device)
    if len(devices) > 1:
        return f"runs differ in device ({'; '.join(devices)})"
    processes = sorted({curve.processes for arm in arms for curve in arm.evaluated()})
    if len(processes) > 1:
        return f"runs differ in processes ({', '.join(str(count) for count in processes)})"
    shares = cpu_shares(arms)
    if not shares:
        return None
    disagreement = _disagreement(list(shares.values()), one_thread_each(arms))
    if disagreement <= CLOCK_TOLERANCE:
        return None
    size = f"{100 * disagreement:.0f} %" if disagreement < 10 else "a factor of ten"
    return f"CPU and wall-clock seconds disagree by {size} (bound {100 * CLOCK_TOLERANCE:.0f} %)"


def cpu_shares(arms: Sequence[ArmSummary]) -> dict[str, float]:
    """Return CPU seconds per training second and process by the arm's label, if known."""
    return {arm.label: arm.cpu_per_wall for arm in arms if arm.cpu_per_wall is not None}


def one_thread_each(arms: Sequence[ArmSummary]) -> bool:
    """Return True if every process of every run computes in a single CPU thread."""
    return all(
        arm.settings.get("threads") == 1 and all(curve.device in ("", "cpu") for curve in arm.evaluated())
        for arm in arms
    )


def _disagreement(shares: Sequence[float], alone: bool) -> float:
    low, high = min(shares), max(shares)
    between_arms = high / low - 1 if low > 0 else float("inf")
    return max(abs(low - 1), abs(high - 1), between_arms) if alone else between_arms
