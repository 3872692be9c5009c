"""`python -m groundling` is the same as `groundling`."""

from groundling.cli.main import main

if __name__ == "__main__":
    main()
