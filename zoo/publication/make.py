"""A zoo made whole: from whatever fills a folder with models, to its analysis, documents, checksums and archive."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.analysis.analyze import analyze
from zoo.disk.folders import replacing
from zoo.disk.paths import archive
from zoo.format import manifest
from zoo.publication import readme


def make_zoo(zoo: Path, fill: Callable[[Path], Mapping[str, str]]) -> dict[str, Any]:
    """Make the zoo that `fill` puts into an empty folder, and its zip file, or make them anew; return its summary.

    `fill` returns why a model is missing, for each that is. The zoo appears when it is complete; until then an older
    one stays.
    """
    with replacing(zoo, archive(zoo)) as new:
        missing = fill(new)
        summary = analyze(new, zoo.name, missing)
        readme.document(new, summary)
        manifest.write(new)
    return summary
