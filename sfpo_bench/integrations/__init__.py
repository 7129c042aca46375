"""SFPO for trainers that are not ours: an optimizer around an optimizer, and what makes TRL's GRPOTrainer use it."""
