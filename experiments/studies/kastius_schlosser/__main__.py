"""The command `python -m experiments.studies.kastius_schlosser`."""

from experiments.frame import study
from experiments.studies.kastius_schlosser.study import STUDY

if __name__ == "__main__":
    study.command(STUDY)
