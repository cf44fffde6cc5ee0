"""The frame of experiments: command lines, saved cells, studies of published results."""
