"""Checks of this installation. Each yields findings: green, yellow or red, with a fix."""
