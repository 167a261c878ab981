"""Which kind of population lies at a path."""

from pathlib import Path

from zoo.dataset.folder import open_folder
from zoo.dataset.zip_file import open_zip
from zoo.errors import ZooError
from zoo.foreign.opening import open_foreign
from zoo.format.source import Opener, Source
from zoo.installation import command

# The first that recognises a path opens it. Readers of populations made elsewhere go behind ours.
OPENERS: list[Opener] = [open_folder, open_zip, open_foreign]


def open_source(path: Path | str) -> Source:
    """Raises ZooError for what is no zoo, and for a damaged one."""
    for opener in OPENERS:
        if source := opener(Path(path)):
            return source
    made = f"a folder that `{command('analyze')}` made, or a zip file of one"
    raise ZooError(f"{path} is no zoo: give {made}, or models from elsewhere (docs/foreign.md)")
