"""A sweep held by one process, ready to train in."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from zoo.data.images import prepare as prepare_images
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.node.node import Node
from zoo.node.user_code import user_code
from zoo.sweep.check import check
from zoo.sweep.log import logged
from zoo.sweep.manifest import Manifest


@contextmanager
def training(nodes: Iterable[Node], command: Sequence[str], wait: bool = False) -> Iterator[list[Node]]:
    """While entered, this process alone trains in the nodes' sweeps, which are ready for it. Yields the nodes.

    Every node is checked before anything is written; then what their sweeps share is: config.json, nodes.csv,
    dataset.pt and the code that the user gave. `command`: the overrides as typed. Raises ZooError for a value that
    can't be trained, two nodes that are the same, a sweep directory that holds models of another protocol or in which
    another process trains (or, with `wait`, waits until it has ended), and storage that can't be written.
    """
    nodes = list(nodes)
    sweeps = check(nodes)
    images = {}
    for folder, named in sweeps.items():
        Manifest.read(folder).including(named, command)
        images[folder] = prepare_images(next(iter(named.values())).config["data"])
    with files.storage_errors(), ExitStack() as held:
        for folder in sweeps:
            held.enter_context(alone_in(folder, wait))
        for folder, named in sweeps.items():
            # read anew: another process may have written it before the lock was ours
            Manifest.read(folder).including(named, command).write()
            keep_sources(folder, next(iter(named.values())))
            if not paths.images(folder).exists():
                files.link_or_copy(images[folder], paths.images(folder))
            held.enter_context(logged(folder, command, len(named)))
        yield nodes


def keep_sources(sweep: Path, node: Node) -> None:
    """Keep the user's code as it was when the sweep began: its digest is part of the nodes' identity."""
    for group, code in user_code(node.config).items():
        kept = paths.source(sweep, group)
        if not kept.exists():
            files.write(kept, lambda file, text=code.text: file.write(text))


@contextmanager
def alone_in(sweep: Path, wait: bool = False) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(files.locked(paths.lock(sweep), wait))
        except BlockingIOError:
            raise ZooError(
                f"{sweep} is being trained by another process: wait for it (python -m zoo status {sweep} tells how far "
                "it is), or choose another zoo.name"
            ) from None
        except OSError as error:
            if error.errno in files.STORAGE:
                raise
            raise ZooError(f"{sweep} can't be made ({error.strerror}): choose another folder") from error
        yield
