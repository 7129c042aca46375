"""The designs of studies by their names in `study.design`. To add one, write a class and add its line here."""

from __future__ import annotations

from collections.abc import Mapping

from sfpo_bench.experiments.study.design import StudyDesign
from sfpo_bench.experiments.study.league import MethodsLeague
from sfpo_bench.experiments.study.reposition import RepositionStudy
from sfpo_bench.experiments.study.suite import ScoredOnSuite
from sfpo_bench.settings.study import DesignName

DESIGNS: Mapping[DesignName, StudyDesign] = {
    DesignName.suite: ScoredOnSuite(),
    DesignName.league: MethodsLeague(),
    DesignName.reposition: RepositionStudy(),
}
