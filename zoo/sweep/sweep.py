"""A sweep held by one process, ready to train in."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from zoo.data.errors import DataError
from zoo.data.images import Images
from zoo.data.prepare import prepare
from zoo.disk import files, locks, paths
from zoo.errors import ZooError
from zoo.node.from_zoo import notice
from zoo.node.node import Node
from zoo.node.user_code import user_code
from zoo.sweep.check import check
from zoo.sweep.description import Description
from zoo.sweep.log import logged
from zoo.sweep.manifest import Manifest


@contextmanager
def training(nodes: Iterable[Node], command: Sequence[str], wait: bool = False) -> Iterator[list[Node]]:
    """While entered, this process alone trains in the nodes' sweeps, which are ready for it. Yields the nodes.

    Every node is checked before anything is written; then what their sweeps share is: config.json, nodes.csv,
    architecture.json, model.py, dataset.pt and the code that the user gave. `command`: the overrides as typed. Raises
    ZooError for a value that can't be trained, two nodes that are the same, models that can't be in one zoo, a sweep
    directory that holds models of another protocol or in which another process trains (or, with `wait`, waits until it
    has ended), and storage that can't be written.
    """
    nodes = list(nodes)
    sweeps = check(nodes)
    if text := notice(nodes):
        print(text, file=sys.stderr)
    descriptions, images = {}, {}
    for folder, named in sweeps.items():
        Manifest.read(folder).including(named, command)  # errors before the images are prepared
        descriptions[folder] = Description.of(named.values())
        descriptions[folder].joined(folder)
        images[folder] = prepare(next(iter(named.values())).config["data"])
        Manifest.read(folder).including(named, command, agreed_images(folder, images[folder]))
    with files.storage_errors(), ExitStack() as held:
        for folder in sweeps:
            held.enter_context(alone_in(folder, wait))
        for folder, named in sweeps.items():
            remove_leftovers(folder)
            # read anew: another process may have written it before the lock was ours
            Manifest.read(folder).including(named, command, agreed_images(folder, images[folder])).write()
            descriptions[folder].joined(folder).write(folder)
            keep_sources(folder, named.values())
            keep_images(folder, images[folder])
            held.enter_context(logged(folder, command, len(named)))
        yield nodes


def agreed_images(sweep: Path, prepared: Path) -> str:
    """The digest of the prepared images. Raises ZooError if the sweep has others, of the same name."""
    digest = Images.load(prepared).digest
    kept = readable_images(sweep)
    if kept is not None and kept.digest != digest:
        raise ZooError(
            f"{paths.images(sweep)} has other images than the raw files of data={kept.name} make now. A zoo has one "
            "protocol: choose another zoo.name, or put the former raw files back"
        )
    return digest


def readable_images(sweep: Path) -> Images | None:
    try:
        return Images.load(paths.images(sweep))
    except DataError:
        return None


def keep_images(sweep: Path, prepared: Path) -> None:
    """Put the prepared images into the sweep, where they are missing or damaged."""
    path = paths.images(sweep)
    if readable_images(sweep) is None:
        if path.exists():
            print(f"{path} is damaged, and is made anew", file=sys.stderr)
            path.unlink()
        files.link_or_copy(prepared, path)


def remove_leftovers(sweep: Path) -> None:
    """Remove the temporary files that a killed process left beside the runs."""
    for path in sweep.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def keep_sources(sweep: Path, nodes: Iterable[Node]) -> None:
    """Keep the user's code as it was when the sweep began: its digest is part of the nodes' identity.

    The file that a group's choice names is `source_GROUP.py`; what it imports, and the files of other choices, have
    their module's name behind that.
    """
    for node in {json.dumps(node.values.get("sources")): node for node in nodes}.values():
        for group, code in user_code(node.config).items():
            for module, text in code.texts.items():
                kept = paths.source(sweep, group)
                if kept.exists() and kept.read_bytes() != text:
                    kept = paths.source(sweep, f"{group}_{module}")
                if not kept.exists():
                    files.write_bytes(kept, text)


@contextmanager
def alone_in(sweep: Path, wait: bool = False) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locks.locked(paths.lock(sweep), locks.PATIENCE if wait else locks.MOMENT))
        except locks.Held as error:
            raise ZooError(
                f"{sweep} is being trained by another process: wait for it (python -m zoo status {sweep} tells how far "
                f"it is), or choose another zoo.name ({error})"
            ) from None
        except OSError as error:
            if files.is_storage(error):
                raise
            raise ZooError(f"{sweep} can't be made ({error.strerror}): choose another folder") from error
        yield
