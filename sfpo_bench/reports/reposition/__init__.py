"""The report of the study that asks when reposition helps. No torch here."""
