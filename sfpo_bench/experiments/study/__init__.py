"""Studies tune, compare, choose checkpoints, evaluate and score, in resumable parts. Does not import torch."""
