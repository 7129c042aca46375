"""Which responses of a batch are trained on, and with what weight: one small file per method."""
