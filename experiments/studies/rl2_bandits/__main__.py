"""The command `python -m experiments.studies.rl2_bandits`."""

from experiments.frame import command
from experiments.studies.rl2_bandits.study import Options, main

if __name__ == "__main__":
    command.run(main, Options)
