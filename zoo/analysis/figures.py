"""Figures of a zoo, each drawn from one of its tables."""

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zoo.analysis.style import BLUE, ORANGE, canvas

BOXES = 26  # at most: every other one of 51 epochs
FEW = 20  # models, of which each is drawn as a dot
PALE_BLUE = "#cfe0ef"
STYLE: dict[str, Any] = {
    "patch_artist": True,
    "boxprops": {"facecolor": PALE_BLUE, "edgecolor": BLUE},
    "whiskerprops": {"color": BLUE},
    "capprops": {"color": BLUE},
    "medianprops": {"color": ORANGE, "linewidth": 1.5},
    "flierprops": {"marker": ".", "markersize": 5, "markeredgecolor": "none", "markerfacecolor": BLUE, "alpha": 0.5},
}


def accuracy_over_epochs(states: pd.DataFrame, title: str) -> Figure:
    """Box plots of test accuracy at the first, the last, and evenly spaced epochs; `states` as in metrics.csv."""
    figure, axes = canvas(title)
    last = states["epoch"].max()
    step = math.ceil((last + 1) / BOXES)
    # the first and the last epoch, and between them as many as there is room for
    shown = states[states["epoch"].isin({0, *range(last, step - 1, -step)})]
    groups: dict[Any, pd.Series] = dict(iter(shown.groupby("epoch")["test_acc"]))
    axes.boxplot(
        [100 * accuracies for accuracies in groups.values()],
        positions=list(groups),
        widths=0.6 * step,
        manage_ticks=False,
        **STYLE,
    )
    if states["id"].nunique() <= FEW:
        axes.plot(shown["epoch"], 100 * shown["test_acc"], "o", color=BLUE, markersize=4, alpha=0.6, zorder=3)
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(-0.6 * step, last + 0.6 * step))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def final_accuracy(accuracies: pd.Series, title: str) -> Figure:
    """Histogram of test accuracies after the last epoch [models]; they are NaN where there are no test images."""
    figure, axes = canvas(title)
    axes.set(xlabel="test accuracy after the last epoch (%)", ylabel="models")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if accuracies.isna().all():
        reason = "no model is finished yet" if accuracies.empty else "there are no test images"
        axes.text(0.5, 0.5, reason, ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return figure
    percent, median = 100 * accuracies, 100 * accuracies.median()
    reach = (min(percent.min(), median - 1), max(percent.max(), median + 1))  # equal accuracies need some width too
    axes.hist(percent, bins=min(40, 5 + math.isqrt(len(percent))), range=reach, color=PALE_BLUE, edgecolor=BLUE)
    axes.axvline(median, color=ORANGE, linewidth=2, label=f"median {median:.1f}")
    axes.margins(y=0.2)  # room for the legend
    axes.legend(frameon=False, loc="upper left")
    return figure
