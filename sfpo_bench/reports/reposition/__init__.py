"""The report of the study on when reposition helps. Does not import torch."""
