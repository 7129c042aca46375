"""The report of a sweep: its trials, figures and tables."""
