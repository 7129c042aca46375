"""Many runs with one question: comparisons, sweeps and studies, and the plan of what a run needs."""
