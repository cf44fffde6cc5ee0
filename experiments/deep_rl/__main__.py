"""The command `python -m experiments.deep_rl`."""

from experiments.deep_rl.study import Options, main
from experiments.frame import command

if __name__ == "__main__":
    command.run(main, Options)
