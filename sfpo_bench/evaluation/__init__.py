"""Evaluations: sample a model on benchmarks, keep every sample, grade, score, compare. No torch is loaded here."""
