"""The command `python -m experiments.studies.contextual_rates`."""

from experiments.frame import study
from experiments.studies.contextual_rates.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
