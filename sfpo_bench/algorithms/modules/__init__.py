"""Modules trained beside the policy, one file per kind."""
