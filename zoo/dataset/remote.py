"""The table of a zoo's models, from a folder, a file or a URL, where it can be without anything else of the zoo."""

import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pandas as pd

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.reading import reading

SCHEMES = ("http://", "https://")
FILE = "file://"
TIMEOUT = 60  # seconds without an answer
LARGEST = 2**31  # bytes of a table


def read_models(path: Path | str) -> pd.DataFrame:
    """models.csv of a zoo: a row per model. `path`: the zoo's folder, or that table; either can be a URL.

    Nothing else of the zoo is read, or need be there. Of a local zip file, a sweep, or models from elsewhere, it is the
    table of models that ZooDataset has of it. Raises ZooError if there is none, or it is damaged in itself.
    """
    if isinstance(path, str) and path.startswith(SCHEMES):
        name = paths.models(Path()).name
        url = path if path.split("?")[0].endswith(".csv") else f"{path.rstrip('/')}/{name}"
        return tables.models_in(url, fetched(url), None)
    local = Path(local_path(path) if isinstance(path, str) and path.startswith(FILE) else path)
    file = paths.models(local) if local.is_dir() else local
    if file.suffix != ".csv" or not file.exists():
        from zoo.dataset.opening import open_source  # PyTorch takes seconds, and a table has no use for it

        return open_source(local).models
    with reading(file):
        return tables.models_in(file, file.read_bytes(), None)


def local_path(url: str) -> str:
    """Of a URL file://PATH."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ZooError(f"{url} is a file of the machine {parts.netloc!r}: write file:///PATH for one of this machine")
    return urllib.request.url2pathname(parts.path)


def fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise ZooError(f"{url} can't be read ({error}): look whether the address is right") from error
    if len(content) > LARGEST:
        raise ZooError(f"{url} is larger than {LARGEST:,} bytes: download the zoo")
    return content
