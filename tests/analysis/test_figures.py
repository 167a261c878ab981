from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.format.test_escape import NASTY
from zoo.analysis.figures import BOXES, accuracy_over_epochs, final_accuracy
from zoo.analysis.style import ORANGE, write
from zoo.format.escape import one_line


def states(models: int, epochs: int) -> pd.DataFrame:
    """Test accuracies at the epochs 0 to `epochs`; a model's grows by 1 % an epoch."""
    rows = [(id, epoch, (id + epoch) / 100) for id in range(models) for epoch in range(epochs + 1)]
    return pd.DataFrame(rows, columns=["id", "epoch", "test_acc"])


def medians(figure: Figure) -> dict[float, float]:
    """By epoch."""
    lines = [line for line in figure.axes[0].lines if line.get_color() == ORANGE]
    return {float(np.mean(line.get_xdata())): float(line.get_ydata()[0]) for line in lines}


@pytest.mark.parametrize(("models", "epochs"), [(1, 1), (2, 2), (3, 25), (101, 50), (21, 60), (5, 53)])
def test_boxes_are_few_evenly_spaced_and_true(models: int, epochs: int) -> None:
    drawn = medians(accuracy_over_epochs(states(models, epochs), "title"))
    shown = sorted(drawn)
    assert len(shown) <= BOXES and shown[0] == 0 and shown[-1] == epochs
    # evenly spaced back from the last epoch; the initialisation may stand a little further off
    gaps = np.diff(shown)
    assert len(set(gaps[1:])) <= 1 and all(gaps[0] >= gaps)
    assert epochs > BOXES or shown == list(range(epochs + 1))
    for epoch, median in drawn.items():
        assert median == pytest.approx((models - 1) / 2 + epoch)


def test_51_epochs_are_26_boxes_from_0_to_50() -> None:
    assert sorted(medians(accuracy_over_epochs(states(30, 50), "title"))) == list(range(0, 51, 2))


@pytest.mark.parametrize("accuracies", [[], [0.5], [0.91] * 7, np.linspace(0.85, 0.94, 1000), [0.1, 0.95]])
def test_the_histogram_counts_every_model(tmp_path: Path, accuracies: list[float]) -> None:
    figure = final_accuracy(pd.Series(accuracies, dtype=float), "title")
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == len(accuracies)
    write(tmp_path / "figure.png", figure)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_without_test_images_the_figures_say_so_or_are_empty(tmp_path: Path) -> None:
    final = final_accuracy(pd.Series([np.nan, np.nan]), "title")
    assert [text.get_text() for text in final.axes[0].texts] == ["there are no test images"]
    write(tmp_path / "final.png", final)
    write(tmp_path / "epochs.png", accuracy_over_epochs(states(2, 2).assign(test_acc=np.nan), "title"))


@pytest.mark.filterwarnings("ignore:Glyph")  # of letters that the font lacks
@pytest.mark.parametrize("title", [*NASTY, "long " * 50, "x" * 250], ids=lambda title: ascii(title[:20]))
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    for figure in (accuracy_over_epochs(states(2, 2), title), final_accuracy(pd.Series([0.5]), title)):
        figure.set_dpi(20)
        figure.canvas.draw()
        drawn = figure.axes[0].title.get_text()
        assert drawn.replace("\n", "").replace(" ", "") == one_line(title).replace(" ", "")
