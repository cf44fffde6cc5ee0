"""The command `python -m experiments.studies.gatti_pinheiro`."""

from experiments.frame import study
from experiments.studies.gatti_pinheiro.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
