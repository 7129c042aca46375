"""SFPO for other trainers: an optimizer wrapper, and a callback for TRL's GRPOTrainer."""
