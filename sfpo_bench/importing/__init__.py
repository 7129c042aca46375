"""Runs that were trained elsewhere, brought into the form of a comparison of this package. Loads no torch.

log.py          what every kind of log is read into: rows of numbers by step
reader.py, readers.py       what a reader is, and the table of them: a file is recognised by what it holds
csv_log.py, json_log.py, mllog_runs.py, tensorboard_log.py, trackio_log.py, wandb_export.py, wandb_log.py   the kinds
mlflow_log.py   runs of a tracking store, which is given by its address
naming.py       which arm and seed a run is of
fields.py       which name of the log means what, and presets for TRL, verl, prime-rl and MLPerf
curves.py       a log's rows as evaluations with their costs, checked
comparison.py   those as a comparison's folder, which `report`, `list` and the notebooks read
"""
