"""Evaluation of a model that a server with OpenAI's API serves (rollout=openai)."""
