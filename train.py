"""Train one model, or with -m a sweep of them: conf -> sweeps/<zoo.name>/<node>. See `python train.py --help`."""

from zoo.train import main

if __name__ == "__main__":
    main()
