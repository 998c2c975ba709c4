"""`python -m revenant` is the command `revenant`."""

from revenant.cli import main

if __name__ == "__main__":
    main(prog_name="revenant")
