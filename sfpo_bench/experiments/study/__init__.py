"""Studies: tune, compare, choose checkpoints, evaluate, score, in parts that a kill cannot undo. No torch here."""
