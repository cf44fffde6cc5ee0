"""The command `python -m experiments.regret_growth`."""

from experiments.frame import command
from experiments.regret_growth.study import Options, main

if __name__ == "__main__":
    command.run(main, Options)
