"""Comparisons, sweeps and studies, which consist of many runs, and the resource plan of a run."""
