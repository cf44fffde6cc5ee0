"""The command `python -m experiments.studies.private_loss`."""

from experiments.frame import study
from experiments.studies.private_loss.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
