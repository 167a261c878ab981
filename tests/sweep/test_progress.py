"""What the display says, on a terminal of any width."""

import io
from pathlib import Path

import pytest
from tqdm import tqdm

from tests.tasks import write_records
from zoo.disk import paths
from zoo.sweep.progress import Tally, bar_format


@pytest.fixture
def tally() -> Tally:
    tally = Tally({Path(str(number)): 50 for number in range(1000)})
    tally.epochs = {Path(str(number)): 50 for number in range(600)}
    tally.done = set(tally.epochs)
    tally.failed = {Path("999")}
    tally.accuracy = {run: 0.912 for run in tally.done}
    return tally


def displayed(tally: Tally, width: int) -> str:
    bar = tqdm(total=50_000, initial=20_000, unit="epoch", file=io.StringIO(), ncols=width)
    bar.update(10_000)
    bar.bar_format = bar_format(bar, tally)
    try:
        return str(bar)
    finally:
        bar.disable = True  # or closing it would print


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_it_fits_the_terminal_and_has_a_bar(tally: Tally, width: int) -> None:
    line = displayed(tally, width)
    bar = line.split("|")[1]
    assert len(line) == width
    assert len(bar) >= 10 and "#" in bar and bar.endswith(" ")


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_best_accuracy_is_not_cut(tally: Tally, width: int) -> None:
    assert "91.2%" in displayed(tally, width)


def test_all_of_it_where_there_is_room(tally: Tally) -> None:
    line = displayed(tally, 200)
    assert "30000/50000 epochs, " in line
    assert line.endswith("left, 600 runs done, 1 failed, 399 left, test accuracy best 91.2%, median 91.2%")


def test_without_test_images_the_validation_accuracy_is_shown(tmp_path: Path) -> None:
    write_records(tmp_path, 2, {"train_acc": 1.0, "val_acc": 0.25, "test_acc": None})
    tally = Tally({tmp_path: 2})
    tally.update([tmp_path])
    assert tally.text() == "1 runs done, 0 failed, 0 left, validation accuracy 25.0%"


def test_a_damaged_record_is_no_end_of_the_display(tmp_path: Path) -> None:
    paths.result(tmp_path).write_text("{")
    tally = Tally({tmp_path: 2})
    tally.update([tmp_path])
    assert tally.text() == "0 runs done, 0 failed, 1 left" and tally.damaged == {tmp_path}
    write_records(tmp_path, 2, {"train_acc": 1.0, "val_acc": 0.25, "test_acc": 0.5})
    tally.update([tmp_path])
    assert tally.text() == "1 runs done, 0 failed, 0 left, test accuracy 50.0%"
