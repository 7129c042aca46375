"""From rewards to advantages: one small file per method."""
