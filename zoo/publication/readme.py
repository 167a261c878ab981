"""The zoo in words: its README, licence and citation, and what `analyze.py` reports."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.analysis.summary import count
from zoo.disk import files, paths
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.escape import code, literal, markdown, one_line, quoted
from zoo.format.runs import Runs
from zoo.format.train_metrics import EXACT, RUNNING, UNKNOWN, train_metrics

LISTED = 20  # unfinished or missing models, at most; the others are counted
SPLITS = {"test": "test", "val": "validation", "train": "training"}  # from the best to score a model on
FEW = 10  # numbers of a factor that are listed; of more, the range is given

LICENCE = """\
SPDX-License-Identifier: CC-BY-4.0

This model zoo is licensed under the Creative Commons Attribution 4.0 International licence (CC BY 4.0).
You may share and adapt it, for any purpose, as long as you give appropriate credit (see CITATION.cff), link to the
licence, and say what you changed.

https://creativecommons.org/licenses/by/4.0/legalcode
"""

UNKNOWN_LICENCE = """\
The models of this zoo were trained and published elsewhere. Their licence is the one that they were published under,
and is not known here: see where they come from in README.md.
"""

CITATION = """\
cff-version: 1.2.0
message: If you use this model zoo, please cite it and the paper whose protocol it follows.
type: dataset
title: {title}
authors:
  - name: {makers}
{licence}keywords: [model zoo, population of neural networks, weight space, hyperparameters, {data}]
references:
  - type: conference-paper
    title: "Model Zoos: A Dataset of Diverse Populations of Neural Network Models"
    authors:
      - {{family-names: Schürholt, given-names: Konstantin}}
      - {{family-names: Taskiran, given-names: Diyar}}
      - {{family-names: Knyazev, given-names: Boris}}
      - {{family-names: Giró-i-Nieto, given-names: Xavier}}
      - {{family-names: Borth, given-names: Damian}}
    year: 2022
    collection-title: "Advances in Neural Information Processing Systems 35, Datasets and Benchmarks Track"
    url: "https://arxiv.org/abs/2209.14764"
"""

README = """\
# {name}

A model zoo: {models} of the architecture {model} with {parameters} parameters each, trained as classifiers of
{data} over a grid of hyperparameters. The zoo has the weights of every model at every epoch, from 0, its
initialisation, to {epochs}: {states}.

{status}
{provenance}
{origin}## Generating factors

What varies from model to model:

| factor | values |
|---|---|
{factors}

## Protocol

What is the same for all models (`config.json` has all of it):

| setting | value |
|---|---|
{protocol}

Images: {images}.
Layers with weights: {layers}; {length:,} numbers in all.

## Accuracy

Of the {finished}, after epoch {epochs}, in %:

| | mean | std | min | median | max |
|---|---|---|---|---|---|
{accuracy}

{train_metrics}

![Box plots of test accuracy at every epoch](analysis/{over_epochs})

![Histogram of test accuracy after the last epoch](analysis/{final})

The same by the values of each factor: `analysis/{by_factor}`.

## How to load it

With the project that made it:

```python
from zoo import ZooDataset

dataset = ZooDataset({folder}, split="train")  # about 70 % of the models; 15 % each in val and test
weights, properties = dataset[0]  # a model's weights [{length}] at an epoch, and a dict: factors, accuracies ...
dataset.weights, dataset.properties  # all of them: a tensor [samples, {length}] and a table
```

Without it, in this folder, with PyTorch, pandas and safetensors:

```python
{plain}
```

No tensor here needs code to load: keep `weights_only=True`.

## Files

| file | content |
|---|---|
{files}

States that a model does not have, because its training is unfinished or diverged, are NaN in the weights.

## Licence and citation

{licence} Please cite this zoo (`CITATION.cff`), and the paper
whose file layout it follows:

> K. Schürholt, D. Taskiran, B. Knyazev, X. Giró-i-Nieto and D. Borth. Model Zoos: A Dataset of Diverse Populations of
> Neural Network Models. NeurIPS 2022, Datasets and Benchmarks. [arXiv:2209.14764](https://arxiv.org/abs/2209.14764)
"""

PLAIN = """\
import json

import pandas as pd
import torch
from safetensors.torch import load_file

from model import build

models = pd.read_csv("models.csv")
STATES
model = models.iloc[0]
vector = states[model["id"], model["last_epoch"]]

# the same state as a network, on the IMAGES images
NETWORK
SPLIT = torch.load("dataset.pt", weights_only=True)["SPLITset"]
with torch.inference_mode():
    predicted = network(SPLIT["images"]).argmax(1)
print((predicted == SPLIT["labels"]).double().mean().item(), "RELATION", model["SPLIT_acc"])"""

# of a zoo that has no images, or not the class
STATES_ALONE = """\
import json

import pandas as pd
from safetensors.torch import load_file

models = pd.read_csv("models.csv")
STATES
model = models.iloc[0]
vector = states[model["id"], model["last_epoch"]]

# the same state as tensors by name
architecture = json.load(open("architecture.json"))
tensors = architecture["tensors"]
pieces = vector.split([tensor["length"] for tensor in tensors])
shaped = [piece.reshape(tensor["shape"]) for piece, tensor in zip(pieces, tensors)]
state = dict(zip(architecture["variants"][model["variant"]], shaped))"""

ORIGIN = """\
## Where it comes from

Made from {source} by `python -m zoo convert`. {about}

"""

FROM_FOLDER = """\
run = f"models/{model['node']}"
network = build(json.load(open(f"{run}/params.json"))).eval()
checkpoint = f"{run}/checkpoint_{model['last_epoch']:06d}/checkpoints"
network.load_state_dict(torch.load(checkpoint, weights_only=True))"""

FROM_ARCHIVE = """\
params = ZipFile("runs.zip").read(f"{model['node']}/params.json")
network = build(json.loads(params)).eval()
architecture = json.load(open("architecture.json"))
tensors = architecture["tensors"]
pieces = vector.split([tensor["length"] for tensor in tensors])
shaped = [piece.reshape(tensor["shape"]) for piece, tensor in zip(pieces, tensors)]
network.load_state_dict(dict(zip(architecture["variants"][model["variant"]], shaped)))"""

ONE_FILE = """\
states = load_file("weights.safetensors")["weights"]  # [models, epochs, parameters], rows as in models.csv"""

SHARDS = """\
index = json.load(open("weights.safetensors.index.json"))  # which models are in which file
states = load_file(index["shards"][0]["file"])["weights"]  # [models, epochs, parameters], rows as in models.csv"""

LICENCE_LINK = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/legalcode)."

TRAIN_METRICS = {
    RUNNING: """\
Validation and test metrics are of the state at that epoch, in evaluation mode. Training loss and accuracy are running
means over the epoch's own training steps (`train_metrics` is `running`), dropout and augmentation included, as in the
zoos of 2022; at epoch 0 they are of the state.""",
    EXACT: "All metrics are of the state at that epoch, in evaluation mode (`train_metrics` is `exact`).",
    UNKNOWN: "How the metrics were measured is not known.",
}

FILES = (
    (paths.config, "the search pattern, the training protocol, and the commands that trained the zoo"),
    (paths.nodes, "every model of the search pattern, and what varies among them"),
    (paths.images, "the images as the models saw them: `trainset`, `valset`, `testset`, each `images` and `labels`"),
    (paths.model_source, "the model class, and `build(params)`, which makes a model; needs PyTorch alone"),
    (paths.architecture, "every tensor of a model: shape, place in the weight vector, key in the state dict"),
    (paths.index_dict, "where each layer lies in the weight vector, in the form of the 2022 zoos"),
    (paths.models, "a row per model: hyperparameters, status, metrics after its last epoch"),
    (paths.metrics, "a row per model and epoch: losses, accuracies"),
    (paths.binary_tables, "both tables in binary, since these are large"),
    (paths.weights, "all states as one float32 tensor `weights` [models, epochs, parameters]"),
    (paths.weights_index, "the weights are several files: which models are in which"),
    (paths.runs, "a folder per model: `params.json`, `result.json`, `checkpoint_*/checkpoints` (a state dict each)"),
    (paths.runs_archive, "the same as one zip file, without the checkpoints that follow from the weights"),
    (paths.summary, "the numbers of this text"),
    (paths.citation, "how to cite the zoo"),
    (paths.licence, "CC BY 4.0"),
    (paths.checksums, "the sha256 of every file: `sha256sum -c SHA256SUMS` checks them"),
)
LATER = (paths.licence, paths.checksums)  # written when the text is


def document(zoo: Path, summary: Mapping[str, Any]) -> None:
    """Write README.md, LICENSE and CITATION.cff into a zoo that is complete but for these."""
    config, architecture = files.read_json(paths.config(zoo)), Architecture.load(paths.architecture(zoo))
    converted = "converted" in config
    files.write_text(paths.licence(zoo), UNKNOWN_LICENCE if converted else LICENCE)
    files.write_text(paths.citation(zoo), citation(summary, data_of(config), converted))
    files.write_text(paths.readme(zoo), readme(zoo, summary, config, architecture))


def citation(summary: Mapping[str, Any], data: str, converted: bool = False) -> str:
    """CITATION.cff, which is YAML. `converted`: the models are others'."""
    name, models = summary["name"], count(summary["models"], "model")
    return CITATION.format(
        title=quoted(f"{name}: a model zoo of {models}"),
        makers=quoted(f"The makers of the model zoo {name}"),
        data=quoted(data),
        licence="" if converted else "license: CC-BY-4.0\n",
    )


def readme(zoo: Path, summary: Mapping[str, Any], config: Mapping[str, Any], architecture: Architecture) -> str:
    protocol, factors = config["protocol"], config["search_pattern"]
    models = tables.read(paths.models(zoo), tables.MODEL_TYPES)
    shown = [key for key in [*tables.HYPERPARAMETERS, "trainer.max_epochs"] if key in protocol]
    there = [(path(zoo), content) for path, content in FILES if path(zoo).exists() or path in LATER]
    if "converted" in config:
        there = [(path, "whose the models are" if path == paths.licence(zoo) else content) for path, content in there]
    return README.format(
        name=markdown(summary["name"]),
        folder=quoted(summary["name"]),
        models=count(summary["models"], "model"),
        model=code(protocol["model"]),
        parameters=f"{summary['parameters']:,}",
        data=code(data_of(config)),
        epochs=summary["epochs"],
        states=count(summary["states"], "state"),
        status="\n".join([*status(summary, literal), *parents(zoo, models)]),
        provenance=provenance(config),
        origin=origin(config),
        licence="That of the models (LICENSE)." if "converted" in config else LICENCE_LINK,
        factors=rows(setting(key, span(values), models) for key, values in factors.items()) or "| none | |",
        protocol=rows(setting(key, text(protocol[key]), models) for key in shown),
        images=images(config),
        layers=", ".join(f"{number} {markdown(kind)}" for kind, number in Counter(architecture.layers).items()),
        length=architecture.length,
        finished=count(summary["finished"], "finished model"),
        accuracy=rows((split, *map(percent, values.values())) for split, values in summary["accuracy"].items()),
        train_metrics=TRAIN_METRICS[train_metrics(protocol)],
        over_epochs=paths.accuracy_over_epochs(zoo).name,
        final=paths.final_accuracy(zoo).name,
        by_factor=paths.accuracy_by_factor(zoo).name,
        plain=plain_example(zoo, protocol),
        files=rows((f"`{path.relative_to(zoo)}`", content) for path, content in there),
    )


def origin(config: Mapping[str, Any]) -> str:
    """Where the models of a converted zoo come from; nothing of others."""
    if "converted" not in config:
        return ""
    said = config["converted"]
    return ORIGIN.format(source=code(said["from"]), about=said["about"])


def plain_example(zoo: Path, protocol: Mapping[str, Any]) -> str:
    """How to load the zoo without this project, and score a model on the test images, or the next best that it has."""
    states = SHARDS if paths.weights_index(zoo).exists() else ONE_FILE
    if not (paths.model_source(zoo).exists() and paths.images(zoo).exists()):
        return STATES_ALONE.replace("STATES", states)
    split = next(split for split in SPLITS if protocol[f"data.{split}"])
    running = split == "train" and train_metrics(protocol) == RUNNING
    relation = "now; while it was trained" if running else "="
    example = PLAIN.replace("STATES", states).replace("RELATION", relation)
    if paths.runs_archive(zoo).exists():
        example = example.replace("import json\n", "import json\nfrom zipfile import ZipFile\n")
        example = example.replace("NETWORK", FROM_ARCHIVE)
    example = example.replace("NETWORK", FROM_FOLDER)
    return example.replace("IMAGES", SPLITS[split]).replace("SPLIT", split)


def setting(key: str, value: str, models: pd.DataFrame) -> tuple[str, str]:
    """The cells of a hyperparameter, and whose it is if only some models have it: adam has no `optim.momentum`."""
    group, _, inner = key.partition(".")  # by the choice of the group, a model has what is in it
    if inner and {group, key} <= set(models) and 0 < models[key].notna().sum() < len(models):
        owners = models.loc[models[key].notna(), group].unique()
        value += f" (of {group}={', '.join(map(str, owners))})"
    return code(key), markdown(value)


def status(summary: Mapping[str, Any], escaped: Callable[[str], str] = one_line) -> list[str]:
    """How many models are finished, and what became of the others: lines of a Markdown list."""
    epochs, missing = summary["epochs"], summary["missing"]
    lines = [f"- {count(summary['finished'], 'model')} finished"]
    if diverged := summary["diverged"]:
        lines.append(f"- {count(len(diverged), 'model')} diverged: weights became infinite or undefined")
    if unfinished := summary["unfinished"]:
        lines.append(f"- {count(len(unfinished), 'model')} unfinished:")
        lines += listed(escaped(f"{node}: epoch {last} of {epochs}") for node, last in unfinished.items())
    if missing:
        lines.append(f"- {count(len(missing), 'model')} missing:")
        # what is damaged first: it needs a remedy
        ordered = sorted(missing.items(), key=lambda item: item[1] == tables.UNTRAINED)
        lines += listed(escaped(f"{node}: {reason}") for node, reason in ordered)
    return lines


def provenance(config: Mapping[str, Any]) -> str:
    """Where the models come from, if from other zoos."""
    if sources := config.get("merged_from"):
        text = f"It was merged of {', '.join(map(named, sources))}."
    elif source := config.get("extracted_from"):
        text = f"It has those models of {named(source)} for which {code(config.get('where'))} is true."
    else:
        return ""
    return f"\n{text} `config.json` has their checksums, and where those models came from.\n"


def named(source: Mapping[str, Any]) -> str:
    return f"the zoo {code(source['name'])} ({count(source['models'], 'model')})"


def parents(zoo: Path, models: pd.DataFrame) -> list[str]:
    """From which other zoos' states models started, if any did: a line of a Markdown list."""
    if "init.model" not in models:
        return []
    runs = Runs(zoo)
    found = [runs.params(node).get("parent") for node in models.loc[models["init.model"].notna(), "node"]]
    names = Counter(str(parent["zoo"]) for parent in found if isinstance(parent, dict) and "zoo" in parent)
    many = ", ".join(f"{count(number, 'model')} from {code(name)}" for name, number in names.items())
    return [f"- training went on from states of other zoos: {many} (`parent` in `params.json`)"] if names else []


def listed(items: Iterable[str]) -> list[str]:
    lines = [f"  - {item}" for item in items]
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], f"  - and {more:,} more"]


def report(zoo: Path, summary: Mapping[str, Any]) -> str:
    """What `analyze.py` says at its end."""
    accuracy = {key: percent(value) for key, value in summary["accuracy"]["test"].items()}
    return "\n".join(
        [
            f"{count(summary['models'], 'model')}, {count(summary['states'], 'state')}",
            *status(summary),
            *(f"analysis {name} failed: {one_line(reason)}" for name, reason in summary.get("failed", {}).items()),
            "test accuracy of finished models, in %: mean {mean}, std {std}, min {min}, max {max}".format(**accuracy),
            f"zoo      {one_line(paths.readme(zoo))}",
            f"figures  {one_line(paths.accuracy_over_epochs(zoo))}",
            f"         {one_line(paths.final_accuracy(zoo))}",
            f"archive  {one_line(paths.archive(zoo))} ({paths.archive(zoo).stat().st_size / 1e6:,.1f} MB)",
        ]
    )


def rows(cells: Iterable[Sequence[Any]]) -> str:
    """The body of a Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def span(values: Sequence[Any]) -> str:
    """All values of a factor if they are few or no numbers, or else their range."""
    if len(values) <= FEW or not all(isinstance(value, int | float) for value in values):
        return ", ".join(map(text, values))
    return f"{text(min(values))} to {text(max(values))} ({len(values):,} values)"


def data_of(config: Mapping[str, Any]) -> str:
    """The name of the images; models that were trained elsewhere may be of several."""
    return str(config["protocol"].get("data") or ", ".join(map(str, config["search_pattern"].get("data", ["unknown"]))))


def images(config: Mapping[str, Any]) -> str:
    protocol = config["protocol"]
    if "data.train" not in protocol:  # nobody wrote it down
        return f"{code(data_of(config))}, which are not in this zoo"
    sizes = ", ".join(f"{protocol[f'data.{split}']:,} {split}" for split in ("train", "val", "test"))
    pixels = f"{protocol['data.size']} x {protocol['data.size']} pixels, " if protocol["data.size"] else ""
    channels, classes = count(protocol["data.channels"], "channel"), protocol["data.classes"]
    return f"{code(data_of(config))}, {sizes}; {pixels}{channels}, {classes} classes"
