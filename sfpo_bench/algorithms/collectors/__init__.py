"""Collectors, which sample and grade the trajectories of a step; one file per method."""
