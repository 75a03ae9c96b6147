"""``python -m kf2v`` is the command line."""

from kf2v.cli import main

if __name__ == "__main__":
    main()
