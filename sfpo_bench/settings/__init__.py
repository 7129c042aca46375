"""The settings: every schema, how Hydra composes them, and what is checked before anything is loaded. No torch here."""
