"""What differs between a checkout and an installed package: where the configs lie, how two commands are typed."""

from pathlib import Path

PACKAGE = Path(__file__).parent
IS_CHECKOUT = not (PACKAGE / "conf").is_dir()  # setup.py puts it there
CONF = (PACKAGE.parent if IS_CHECKOUT else PACKAGE) / "conf"


def command(name: str) -> str:
    """How the user types `train` or `analyze`."""
    return f"python {name}.py" if IS_CHECKOUT else f"python -m zoo {name}"
