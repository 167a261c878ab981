"""Transforms of CNN-s models: alignment to a reference by one and by more processes, and states a second of the others.

    python benchmarks/alignment.py [--models 1000] [--processes 2]

The weights are those at the start of training (PyTorch's own initialisation), which are less alike than trained ones.
Printed are seconds of wall and of all processors, the workers' too.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from zoo.dataset.transforms import Align, Erase, Noise, PermutationSpec, Permute, Standardise, Statistics, Tokenise
from zoo.dataset.transforms.alignment import product
from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNSmall
from zoo.processes import mapping

BATCH = 256


def population(count: int) -> Tensor:
    """Weights [models, parameters]."""
    architecture = Architecture.of(CNNSmall(1))
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(architecture.flatten(CNNSmall(1).state_dict(), 0))
    return torch.stack(models)


def processors() -> float:
    """Seconds of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(what: str, job: Callable[[], Tensor]) -> Tensor:
    wall, cpu = time.perf_counter(), processors()
    result = job()
    print(f"{what:<40} {time.perf_counter() - wall:6.2f} s, processors {processors() - cpu:6.2f} s", flush=True)
    return result


def align(models: Tensor, align: Align, processes: int) -> Tensor:
    with mapping(align, processes) as aligned:
        return torch.cat(list(aligned(models.chunk(processes))))


def rate(name: str, transform: Callable[[Tensor], object], models: Tensor) -> None:
    batches = models.split(BATCH)
    transform(batches[0])
    begun, states = time.process_time(), 0
    while time.process_time() - begun < 2:
        for batch in batches:
            transform(batch)
            states += len(batch)
    per_second = states / (time.process_time() - begun)
    transform(models[0])
    begun, single = time.process_time(), 0
    while time.process_time() - begun < 1:
        transform(models[single % len(models)])
        single += 1
    alone = single / (time.process_time() - begun)
    print(f"{name:<40} {per_second:9,.0f} states a second in batches of {BATCH}, {alone:9,.0f} one by one", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(1)

    models = population(given.models)
    architecture, spec = Architecture.of(CNNSmall(1)), PermutationSpec.of(CNNSmall(1))
    aligner = Align(spec, models[0])
    print(f"alignment of {given.models} models")
    found = timed("  in this process", partial(aligner, models))
    shared = timed(
        f"  in {given.processes} processes, their start included", partial(align, models, aligner, given.processes)
    )
    assert torch.equal(found, shared)
    before, after = (product(models[0], each)[1:].mean() for each in (models, found))
    print(f"  mean inner product with the reference: {before:.2f} before, {after:.2f} after")

    print("states a second of one processor")
    rate("  Tokenise (tokens, mask, positions)", Tokenise(architecture), models)
    rate("  Standardise", Standardise(architecture).fit(models), models)
    rate("  Permute", Permute(spec, seed=0), models)
    rate("  Statistics", Statistics(architecture), models)
    rate("  Noise of layers", Noise(architecture, 0.1, "layer", seed=0), models)
    rate("  Erase", Erase(architecture, 0.1, seed=0), models)


if __name__ == "__main__":
    main()
