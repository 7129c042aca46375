"""Penalties added to a policy-gradient loss, each with its own normalization; one file per method."""
