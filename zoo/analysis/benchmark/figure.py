"""The benchmark as a figure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zoo.analysis import style

LEAST = -0.6  # scores below are drawn there, as arrows
METRICS = {"r2": "R²", "accuracy": "accuracy"}  # which are drawn
INCHES = 0.42  # of a target's row


def figure(table: pd.DataFrame) -> Figure:
    """The test part's scores of linear models, with their intervals: a row for each target, from w and from s(w)."""
    shown = table[table["metric"].isin(METRICS) & (table["model"] != "lightgbm")]
    targets = shown[["target", "metric"]].drop_duplicates().apply(tuple, axis=1).tolist()
    drawn, axes = style.canvas(
        "What weights tell of a model: scores on the test part", height=1.9 + INCHES * len(targets)
    )
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=style.LIGHT.faint)
    for kind, colour, shift in (("w", style.ORANGE, -0.13), ("s(w)", style.BLUE, 0.13)):
        rows = shown[shown["features"] == kind]
        places = np.array([targets.index(key) for key in zip(rows["target"], rows["metric"], strict=True)]) + shift
        score, low, high = (rows[column].clip(lower=LEAST).to_numpy(dtype=float) for column in ("test", "low", "high"))
        axes.hlines(places, low, high, color=colour, linewidth=1.5, alpha=0.6)
        outside = rows["test"].to_numpy() < LEAST
        axes.scatter(score[~outside], places[~outside], color=colour, s=36, label=f"from {kind}", zorder=3)
        axes.scatter(score[outside], places[outside], color=colour, s=36, marker="<", zorder=3)
    axes.set_yticks(
        range(len(targets)), [f"{target} ({METRICS[metric]})" for target, metric in targets], parse_math=False
    )
    axes.invert_yaxis()
    axes.set_xlim(LEAST - 0.05, 1.05)
    axes.set_xlabel("score (1 is perfect, R² of 0 is as good as the mean; lines: 95 % intervals by the bootstrap)")
    drawn.legend(loc="outside lower center", ncols=2, frameon=False)
    return drawn
