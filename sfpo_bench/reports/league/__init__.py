"""The table of a league: many methods on one task, tied where the runs cannot tell them apart."""
