"""Make a zoo of a sweep: sweeps/<name> -> zoos/<name> and zoos/<name>.zip. See `python analyze.py --help`."""

from zoo.analyze import main

if __name__ == "__main__":
    main()
