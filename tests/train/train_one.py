"""Trains in a process of its own: train_one.py RUN.toml [a.b=c ...]"""

import sys

from groundling.train.settings import read_run
from train.small_runs import trainer

if __name__ == "__main__":
    trainer(read_run(sys.argv[1], sys.argv[2:])).train()
