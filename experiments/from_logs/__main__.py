"""The command `python -m experiments.from_logs`."""

from experiments.frame import command
from experiments.from_logs.study import Options, main

if __name__ == "__main__":
    command.run(main, Options, main.__doc__)
