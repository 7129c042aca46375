"""Which tokens of a batch lose their policy-gradient loss: one small file per method."""
