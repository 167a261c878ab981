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
from zoo.sweep.description import Description
from zoo.sweep.log import logged
from zoo.sweep.manifest import Manifest


@contextmanager
def training(nodes: Iterable[Node], command: Sequence[str]) -> Iterator[list[Node]]:
    """While entered, this process alone trains in the nodes' sweeps, which are ready for it. Yields the nodes.

    Every node is checked before anything is written; then what their sweeps share is: config.json, nodes.csv,
    architecture.json, model.py, dataset.pt and the code that the user gave. `command`: the overrides as typed. Raises
    ZooError for a value that can't be trained, two nodes that are the same, models that can't be in one zoo, a sweep
    directory that holds models of another protocol or in which another process trains, and storage that can't be
    written.
    """
    nodes = list(nodes)
    sweeps = check(nodes)
    descriptions, images = {}, {}
    for folder, named in sweeps.items():
        Manifest.read(folder).including(named, command)
        descriptions[folder] = Description.of(named.values())
        descriptions[folder].joined(folder)
        images[folder] = prepare_images(next(iter(named.values())).config["data"])
    with files.storage_errors(), ExitStack() as held:
        for folder in sweeps:
            held.enter_context(alone_in(folder))
        for folder, named in sweeps.items():
            remove_leftovers(folder)
            # read anew: another process may have written it before the lock was ours
            Manifest.read(folder).including(named, command).write()
            descriptions[folder].joined(folder).write(folder)
            keep_sources(folder, next(iter(named.values())))
            if not paths.images(folder).exists():
                files.link_or_copy(images[folder], paths.images(folder))
            held.enter_context(logged(folder, command, len(named)))
        yield nodes


def remove_leftovers(sweep: Path) -> None:
    """Remove the temporary files that a killed process left beside the runs."""
    for path in sweep.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def keep_sources(sweep: Path, node: Node) -> None:
    """Keep the user's code as it was when the sweep began: its digest is part of the nodes' identity."""
    for group, code in user_code(node.config).items():
        kept = paths.source(sweep, group)
        if not kept.exists():
            files.write(kept, lambda file, text=code.text: file.write(text))


@contextmanager
def alone_in(sweep: Path) -> Iterator[None]:
    try:
        with files.locked(paths.lock(sweep), wait=False):
            yield
    except BlockingIOError:
        raise ZooError(
            f"{sweep} is being trained by another process: wait for it (python -m zoo status {sweep} tells how far "
            "it is), or choose another zoo.name"
        ) from None
