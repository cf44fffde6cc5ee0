"""The command `python -m experiments.ope_coverage`."""

from experiments.frame import command
from experiments.ope_coverage.study import Options, main

if __name__ == "__main__":
    command.run(main, Options)
