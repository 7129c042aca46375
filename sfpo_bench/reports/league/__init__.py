"""The table of a league: many methods on one task, with groups of methods that the runs do not tell apart."""
