"""`python -m jaxprice.live demo`: a simulated shop behind a server, see `jaxprice.live.demo`."""

import sys


def main() -> None:
    """Read the command line and run the demo."""
    import tyro

    from jaxprice.live import demo

    if sys.argv[1:2] != ["demo"]:
        print("usage: python -m jaxprice.live demo [--help]", file=sys.stderr)
        sys.exit(2)
    try:
        options = tyro.cli(demo.Options, args=sys.argv[2:], prog="python -m jaxprice.live demo")
        counts = demo.main(options)
    except ImportError as error:
        print(f"{error}; pip install 'jaxprice[serve]' installs what a server needs", file=sys.stderr)
        sys.exit(2)
    except ValueError as error:
        print(f"jaxprice.live: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        return
    print(", ".join(f"{name} {number}" for name, number in counts.items()))


if __name__ == "__main__":
    main()
