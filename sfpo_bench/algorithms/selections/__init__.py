"""Selections and weights of responses, one file per method."""
