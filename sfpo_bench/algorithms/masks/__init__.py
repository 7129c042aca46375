"""Masks of token losses, one file per method."""
