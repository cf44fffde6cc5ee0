"""The command `python -m experiments.meta_pricing`."""

from experiments.frame import command
from experiments.meta_pricing.study import Options, main

if __name__ == "__main__":
    command.run(main, Options)
