"""Ctrl-C, or a request to terminate, as of a batch system: what trains ends at once, and can go on later."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 130


class Interrupted(BaseException):
    """No Exception, which code of others may catch and go on; nor KeyboardInterrupt, which Lightning ends itself."""


@contextmanager
def interruptible(progress: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C (SIGINT) and SIGTERM end the process, with a line that holds `progress()`, how far it came."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Interrupted:
        print(f"\nStopped: {progress()}. The same command again goes on from there.", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
