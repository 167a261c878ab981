"""A zoo made whole: from whatever fills a folder with models, to its analysis, documents, checksums and archive."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.analysis.analysis import Analysis
from zoo.analysis.analyze import analyze, summarise_zoo
from zoo.disk import files, paths
from zoo.disk.folders import alone, replacing, zip_folder
from zoo.disk.paths import archive, folder_lock
from zoo.format import manifest
from zoo.publication import readme


def make_zoo(zoo: Path, fill: Callable[[Path], Mapping[str, str]], analyses: Sequence[Analysis] = ()) -> dict[str, Any]:
    """Make the zoo that `fill` puts into an empty folder, and its zip file, or make them anew; return its summary.

    `fill` returns why a model is missing, for each that is. The zoo appears when it is complete; until then an older
    one stays. What was analysed of an older one with the same models is kept. The summary has `failed`: why an analysis
    failed, for each that did.
    """
    with replacing(zoo, archive(zoo)) as new:
        missing = fill(new)
        summary = summarise_zoo(new, zoo.name, missing)
        failed = analyze(new, analyses, zoo)
        finish(new, summary)
    return summary | {"failed": failed}


def analyze_again(zoo: Path, analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Make analyses of a zoo that is there, and its documents and zip file anew; return its summary, as above."""
    with alone(folder_lock(zoo)):
        failed = analyze(zoo, analyses, zoo)
        summary = summarise_zoo(zoo, zoo.name, files.read_json(paths.summary(zoo))["missing"])
        finish(zoo, summary)
        zip_folder(zoo, archive(zoo))
    return summary | {"failed": failed}


def finish(zoo: Path, summary: Mapping[str, Any]) -> None:
    readme.document(zoo, summary)
    manifest.write(zoo)
