"""Imports runs of other trainers as a comparison of this package. Does not import torch.

log.py          common form of a log: rows of numbers by step
reader.py, readers.py       protocol of a reader, and the table that selects one by the contents of a file
csv_log.py, json_log.py, mllog_runs.py, tensorboard_log.py, trackio_log.py, wandb_export.py, wandb_log.py   the readers
mlflow_log.py   reader for a tracking store, which is given by its URI
naming.py       arm and seed of a run
fields.py       meaning of the names in a log, and presets for TRL, verl, prime-rl and MLPerf
curves.py       conversion of a log's rows to checked evaluations with costs
comparison.py   writing them as a comparison's folder for `report`, `list` and the notebooks
"""
