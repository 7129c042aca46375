"""The cells of the study: rule, learning rate and condition, and the controls of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.algorithms.update_rules import SlowFast
from sfpo_bench.reports.formats import ratio_text


class StudyMethod(StrEnum):
    """The rule of a cell.

    `repeat` is Repeat(K + 1) at SFPO's learning rate. `shortened` is the same rule at equal displacement: its rate is
    (alpha K + 1) / (K + 1) times SFPO's.
    """

    grpo = "grpo"
    sfpo = "sfpo"
    repeat = "repeat"
    shortened = "shortened"
    kl_stop = "kl_stop"
    gxpo = "gxpo"
    lookahead = "lookahead"


_NAMES = {
    StudyMethod.grpo: "GRPO",
    StudyMethod.gxpo: "GXPO",
    StudyMethod.lookahead: "Lookahead",
}


@dataclass(frozen=True, slots=True)
class StudyCell:
    """One arm of the study. `rate_factor` multiplies the tuned learning rate.

    `fast_passes` is 0 for rules without K, `alpha` is 0 for rules without alpha.

        StudyCell("base", StudyMethod.sfpo, 3, 0.8, 0.5)      SFPO with K = 3, alpha = 0.8 at half the tuned rate
    """

    condition: str
    method: StudyMethod
    fast_passes: int = 0
    alpha: float = 0.0
    rate_factor: float = 1.0

    @property
    def key(self) -> str:
        """The key of the arm, which is also its folder name: `base-k3-sfpo-a80-x50`."""
        if self.method is StudyMethod.grpo:
            return self.method.value
        passes = f"-k{self.fast_passes}" if self.fast_passes else ""
        alpha = f"-a{_percent(self.alpha)}" if self.alpha else ""
        return f"{self.condition}{passes}-{self.method.value}{alpha}-x{_percent(self.rate_factor)}"

    @property
    def label(self) -> str:
        """The name of the arm in tables."""
        if self.method is StudyMethod.grpo:
            return _NAMES[self.method]
        return f"{self.condition}: {self.rule} × {ratio_text(self.rate_factor)}"

    @property
    def rule(self) -> str:
        """The name of the rule in tables, without its learning rate."""
        count = self.fast_passes + 1
        return {
            **_NAMES,
            StudyMethod.sfpo: f"SFPO, K = {self.fast_passes}, alpha = {self.alpha:g}",
            StudyMethod.repeat: f"Repeat({count})",
            StudyMethod.shortened: f"Repeat({count}) at the displacement of alpha = {self.alpha:g}",
            StudyMethod.kl_stop: f"Repeat({count}), KL stop",
        }[self.method]

    @property
    def rate_share(self) -> float:
        """The learning rate of the cell divided by the tuned one."""
        if self.method is not StudyMethod.shortened:
            return self.rate_factor
        return (
            self.rate_factor * SlowFast(fast_passes=self.fast_passes, alpha=self.alpha).reach / (self.fast_passes + 1)
        )

    @property
    def at_equal_rate(self) -> StudyCell:
        """The control at the same learning rate: Repeat(K + 1)."""
        return StudyCell(self.condition, StudyMethod.repeat, self.fast_passes, 0.0, self.rate_factor)

    @property
    def at_equal_displacement(self) -> StudyCell:
        """The control with equal displacement under constant gradients: Repeat(K + 1) at a lower learning rate."""
        return StudyCell(self.condition, StudyMethod.shortened, self.fast_passes, self.alpha, self.rate_factor)


def _percent(value: float) -> str:
    return f"{100 * value:g}".replace(".", "_")
