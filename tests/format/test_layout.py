"""Reading checkpoints without unpickling them, beside torch.load."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoo.collation.collate import collate
from zoo.disk import files, paths
from zoo.format import layout as module
from zoo.format import states
from zoo.format.architecture import Architecture
from zoo.format.layout import Layout
from zoo.format.states import StateReader
from zoo.models.cnn import CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18

State = dict[str, Tensor]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn_small": lambda: CNNSmall(1),
    "cnn_small with dropout": lambda: CNNSmall(3, dropout=0.5),
    "cnn_large": lambda: CNNLarge(3),
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10)),
    "one number": lambda: nn.Linear(1, 1, bias=False),
    "tied": Tied,
}


def saved(value: Any, **options: Any) -> bytes:
    file = BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def flattened(content: bytes, architecture: Architecture) -> np.ndarray:
    """By torch.load."""
    return architecture.flatten(torch.load(BytesIO(content), weights_only=True), 0).numpy()


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Bit by bit: NaN is not equal to itself."""
    return one.tobytes() == other.tobytes()


@pytest.fixture
def linear() -> tuple[Architecture, State]:
    model = nn.Linear(2, 3)
    return Architecture.of(model), model.state_dict()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_other_states_are_read_as_torch_does(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    architecture = Architecture.of(make())
    layout = Layout.of(saved(make().state_dict()), architecture, 0)
    assert layout is not None
    for special in (None, torch.nan, -torch.inf, 1e-42, -0.0):
        state = make().state_dict()
        if special is not None:
            next(iter(state.values())).view(-1)[-1] = special
        files.write_torch(tmp_path / "state", state)
        content = (tmp_path / "state").read_bytes()
        assert layout.fits(content) and is_same(layout.read(content), flattened(content, architecture))


def test_every_single_change_is_seen_or_read_as_torch_does(linear: tuple[Architecture, State]) -> None:
    architecture, state = linear
    content = saved(state)
    layout = Layout.of(content, architecture, 0)
    assert layout is not None
    fitting = 0
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        if layout.fits(changed):
            fitting += 1
            assert is_same(layout.read(changed), flattened(changed, architecture))
    # 9 numbers, a digest of 40 characters, and the checksums of three files, each of them twice
    assert fitting == 4 * 9 + 40 + 3 * 2 * 4
    assert not layout.fits(content[:-1]) and not layout.fits(content + b"\0") and not layout.fits(b"")


def test_files_that_torch_names_otherwise(linear: tuple[Architecture, State], tmp_path: Path) -> None:
    """The folder in the zip file has the name of the file, unless that was saved to memory."""
    architecture, state = linear
    torch.save(state, tmp_path / "state.pt")
    content = (tmp_path / "state.pt").read_bytes()
    layout = Layout.of(content, architecture, 0)
    assert layout is not None and is_same(layout.read(content), flattened(content, architecture))
    assert not layout.fits(saved(state))


def test_views_of_one_storage(linear: tuple[Architecture, State]) -> None:
    architecture, state = linear
    whole = torch.arange(20.0)
    content = saved({"weight": whole[7:13].view(3, 2), "bias": whole[8:11]})
    layout = Layout.of(content, architecture, 0)
    assert layout is not None and is_same(layout.read(content), flattened(content, architecture))


@pytest.mark.parametrize(
    "state",
    [
        lambda state: state | {"weight": torch.zeros(2, 3).T},
        lambda state: state | {"weight": torch.zeros(1).expand(3, 2)},
        lambda state: state | {"bias": torch.zeros(3, dtype=torch.float64)},
        lambda state: state | {"bias": torch.zeros(3, dtype=torch.float16)},
    ],
    ids=["transposed", "expanded", "float64", "float16"],
)
def test_unusual_tensors_are_left_to_torch(
    linear: tuple[Architecture, State], state: Callable[[State], State], tmp_path: Path
) -> None:
    architecture, usual = linear
    content = saved(state(usual))
    assert Layout.of(content, architecture, 0) is None
    path = tmp_path / "state"
    path.write_bytes(content)
    assert is_same(StateReader(architecture).read(path, 0, None), flattened(content, architecture))


def test_whole_numbers_are_read_as_float32_and_refused_where_that_changes_them() -> None:
    model = ResNet18(1)
    architecture, state = Architecture.of(model), model.state_dict()
    layout = Layout.of(saved(state), architecture, 0)
    assert layout is not None
    state["bn1.num_batches_tracked"] += 2**24
    content = saved(state)
    assert layout.fits(content) and is_same(layout.read(content), flattened(content, architecture))
    state["bn1.num_batches_tracked"] += 1
    with pytest.raises(ValueError, match="whole number"):
        layout.read(saved(state))


@pytest.mark.parametrize("content", [b"", b"text" * 100, b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_file_of_torch(linear: tuple[Architecture, State], content: bytes) -> None:
    assert Layout.of(content, linear[0], 0) is None


def test_the_format_of_old_versions_of_torch(linear: tuple[Architecture, State]) -> None:
    architecture, state = linear
    assert Layout.of(saved(state, _use_new_zipfile_serialization=False), architecture, 0) is None


def test_numbers_that_look_like_their_places(
    linear: tuple[Architecture, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor that comes from elsewhere than it seems to: here, whose numbers are not replaced."""
    architecture, state = linear
    numbers, checksums = module.varying(saved(state))
    begin, end = numbers[-1]
    places = torch.arange(begin, end, 4, dtype=torch.int32).view(torch.float32)
    monkeypatch.setattr(module, "varying", lambda content: (numbers[:-1], checksums))
    assert Layout.of(saved(state | {"bias": places}), architecture, 0) is None


def test_a_state_of_other_keys_or_shapes_does_not_fit(linear: tuple[Architecture, State]) -> None:
    architecture, state = linear
    layout = Layout.of(saved(state), architecture, 0)
    assert layout is not None
    for other in ({"weight": state["weight"], "bia5": state["bias"]}, state | {"weight": torch.zeros(2, 3)}):
        assert not layout.fits(saved(other))


def test_one_state_of_each_variant_is_unpickled(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 32 in the sweep, whose models are sorted by dropout: with and without it, the keys differ."""
    unpickled: list[Path] = []
    state_in = states.state_in
    monkeypatch.setattr(states, "state_in", lambda path, found: unpickled.append(path) or state_in(path, found))
    (tmp_path / "zoo").mkdir()
    assert collate(sweep, tmp_path / "zoo") == {}
    assert len(unpickled) == 2 and all(path == paths.checkpoint(path.parent.parent, 0) for path in unpickled)
