"""Evaluations: sample a model on benchmarks, store every sample, grade, score, compare. Does not import torch."""
