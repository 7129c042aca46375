"""From the problems of a step to graded trajectories: one small file per method."""
