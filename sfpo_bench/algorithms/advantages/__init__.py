"""Advantages, one file per method."""
