"""Runs that were trained elsewhere, brought into the form of a comparison of this package. Loads no torch.

log.py          what every kind of log is read into: rows of numbers by step
csv_log.py, json_log.py, mlflow_log.py      the kinds
fields.py       which name of the log means what, and presets for TRL and verl
curves.py       a log's rows as evaluations with their costs, checked
comparison.py   those as a comparison's folder, which `report`, `list` and the notebooks read
"""
