"""The command `python -m experiments.studies.ferreira_inventory`."""

from experiments.frame import study
from experiments.studies.ferreira_inventory.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
