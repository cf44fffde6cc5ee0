"""Command lines: a bad value gives one line on standard error and exit status 2; an interrupted run says that it resumes."""

import contextlib
import dataclasses
import errno
import io
import linecache
import sys
from pathlib import Path

import tyro

SOURCES = Path(__file__).resolve().parents[2]


def run(main, options, description=None):
    """Read the options from the command line and run a command.

    Args:
      main: function of the options; it raises a ValueError for bad ones.
      options: dataclass of the options.
      description: text of `--help`; by default the docstring of `options`.
    """
    given = parsed(options, description)
    try:
        main(given)
    except ValueError as error:
        if not _said_here(error):  # a bug, not a bad option
            raise
        refuse(error)
    except OSError as error:
        paths = [value for value in vars(given).values() if isinstance(value, Path)]
        named = error.filename is not None and any(Path(error.filename).is_relative_to(path) for path in paths)
        if not named or error.errno == errno.ENOSPC:
            raise
        refuse(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt as error:
        told = "; ".join(getattr(error, "__notes__", ())) or "nothing is lost that was saved"
        print(f"{_name()}: interrupted; {told}", file=sys.stderr)
        sys.exit(130)


def parsed(options, description=None):
    """The options of the command line; an option that takes several values needs at least one."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given = tyro.cli(options, description=description)
    except ValueError as error:
        refuse(error)
    except SystemExit as stop:
        if stop.code != 2:
            raise
        lines = [line.strip("│╭╮╰╯ ") for line in said.getvalue().splitlines()[1:]]
        end = next((k for k, line in enumerate(lines) if line.startswith("──")), len(lines))
        refuse(" ".join(line for line in lines[:end] if line and not line.startswith("For full")))
    for field in dataclasses.fields(options):
        flags = {f"--{field.name}", f"--{field.name.replace('_', '-')}"}
        if getattr(given, field.name) == () and flags.intersection(sys.argv[1:]):
            refuse(f"--{field.name} must be given at least one value, got none")
    return given


def refuse(why):
    """End with one line on standard error."""
    print(f"{_name()}: error: {' '.join(str(why).split())}", file=sys.stderr)
    sys.exit(2)


def _name():
    """The command as the user typed it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


def _said_here(error):
    """Whether this project raised an error on purpose, that is, by its own raise statement and not inside a library call."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    path = Path(last.tb_frame.f_code.co_filename)
    line = linecache.getline(str(path), last.tb_lineno).strip()
    return path.resolve().is_relative_to(SOURCES) and "site-packages" not in path.parts and line.startswith("raise")
