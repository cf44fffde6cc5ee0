"""The command `python -m experiments.studies.calvano_collusion`."""

from experiments.frame import study
from experiments.studies.calvano_collusion.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
