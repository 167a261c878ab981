"""Models of a zoo evaluated and trained again; what a params.json of anyone's may not ask for."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import train_sweep
from tests.curation.test_verify import anew, copied, edit_json, row_of
from zoo.analyze import make_zoo
from zoo.curation.known import (
    build_known,
    known_initialisation,
    known_model,
    known_optimizer,
    known_schedule,
    require_known,
)
from zoo.curation.recompute import chosen, recompute
from zoo.curation.retrain import first_too_far, retrain, summary
from zoo.curation.verification import Verified, verify
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.record import read_records
from zoo.format.runs import Runs

pytestmark = pytest.mark.usefixtures("without_drawing")

OLD = Path(__file__).parents[1] / "version_0_1_0" / "zoos" / "tiny"


def again(done: Verified, trust: bool = False) -> list[str]:
    assert done.zoo
    return [str(finding) for finding in recompute(done.zoo, done.sound, 0, trust)]


def test_the_records_are_what_the_weights_reach(zoo: Path) -> None:
    assert again(verify(zoo)) == []


@pytest.mark.parametrize(
    ("key", "change"), [("test_acc", 0.1), ("val_acc", -0.1), ("test_loss", 0.01), ("val_loss", 1)]
)
def test_another_metric_is_found(zoo: Path, tmp_path: Path, key: str, change: float) -> None:
    copy = copied(zoo, tmp_path)
    done = verify(copy)
    run = done.sound[3]
    assert run.records
    run.records[3][key] += change  # as if tables and checksums had been made to fit
    [finding] = again(done)
    assert finding.startswith(f"models/{run.task.node}/result.json says of epoch 3 {key} ")


def test_training_metrics_are_compared_where_they_are_of_the_state(sweep: Path, tmp_path: Path) -> None:
    nodes = train_sweep(tmp_path, "seed=range(0,2)", "trainer.max_epochs=1", "train_metrics=exact")
    make_zoo(nodes[0].sweep, tmp_path / "exact")
    done = verify(tmp_path / "exact")
    assert again(done) == []
    assert done.sound[0].records
    done.sound[0].records[1]["train_acc"] += 1 / 40
    assert "says of epoch 1 train_acc" in again(done)[0]


def test_the_choice_is_seeded(zoo: Path) -> None:
    runs = verify(zoo).sound
    assert chosen(runs, 3, 0) == chosen(runs, 3, 0)
    assert len(chosen(runs, 3, 0)) == 3 and chosen(runs, 99, 0) == runs
    assert len({tuple(run.task.model for run in chosen(runs, 3, seed)) for seed in range(5)}) > 1


def test_models_trained_again_are_the_same_bit_for_bit(zoo: Path) -> None:
    done = verify(zoo)
    assert done.zoo
    [outcome] = retrain(done.zoo, chosen(done.sound, 1, 1))
    assert (outcome.bits, outcome.distance, outcome.finding) == (True, 0.0, None)


@pytest.mark.slow
def test_many_are_trained_in_packs_by_several_processes(zoo: Path) -> None:
    done = verify(zoo)
    assert done.zoo
    outcomes = retrain(done.zoo, done.sound)
    assert [(outcome.bits, outcome.distance, outcome.finding) for outcome in outcomes] == [(True, 0.0, None)] * 8
    assert summary(outcomes) == "8 models trained again, 8 of them compared bit for bit"


def test_a_state_that_training_does_not_give_is_found(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    done = verify(copy)
    assert done.zoo
    run = done.sound[2]
    done.zoo.weights.state(run.task.model, 2)[7] += 1e-6  # in memory alone
    [outcome] = retrain(done.zoo, [run])
    name = f"models/{run.task.node}/checkpoint_000002/checkpoints"
    assert str(outcome.finding) == f"{name} is not what training it again gives, bit for bit"


def test_on_another_machine_states_are_compared_but_for_rounding(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    node = verify(copy).sound[2].task.node
    edit_json(paths.environment(paths.runs(copy) / node), lambda entries: entries[0].update(variant="another"))
    anew(copy)
    done = verify(copy)
    assert done.zoo and not done.findings.found
    run = done.sound[2]
    done.zoo.weights.state(run.task.model, 2)[7] += 1e-6
    [outcome] = retrain(done.zoo, [run])
    assert (outcome.bits, outcome.finding) == (False, None)
    assert "1 of them" not in summary([outcome]) and "1 within rounding" in summary([outcome])
    done.zoo.weights.state(run.task.model, 1)[:] += 0.1
    assert "but for rounding" in str(retrain(done.zoo, [run])[0].finding)


def test_rounding_is_told_from_another_training() -> None:
    begin, way = torch.ones(4), torch.tensor([1.0, 2, 3, 4])
    states = [begin, begin + way, begin + 2 * way]
    assert first_too_far(states, states) is None
    assert first_too_far(states, [begin * 1.001, *states[1:]]) == 0
    assert first_too_far(states, [begin, begin + 1.1 * way, begin]) == 1
    assert first_too_far(states, [begin, begin + 1.001 * way, begin + 3 * way]) is None


def test_a_params_json_of_other_values_is_found_by_the_node_s_name(zoo: Path, tmp_path: Path) -> None:
    done = verify(zoo)
    run = done.sound[0]
    assert done.zoo and run.params
    run.params["config"]["optim"]["lr"] = 0.5
    [outcome] = retrain(done.zoo, [run])
    assert str(outcome.finding).startswith(f"models/{run.task.node}/params.json has values of another node, ")


def test_unfinished_models_are_trained_as_far_as_they_were(sweep: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep, tmp_path / "tiny")
    run = next(path.parent for path in sorted(copy.glob("*/params.json")))
    paths.result(run).write_text("".join(json.dumps(record) + "\n" for record in read_records(run)[:2]))
    make_zoo(copy, tmp_path / "zoo")
    done = verify(tmp_path / "zoo")
    assert done.zoo and done.findings.found == []
    [outcome] = retrain(done.zoo, [done.sound[row_of(done.zoo.path, run)]])
    assert (outcome.bits, outcome.finding) == (True, None)


def test_a_zoo_of_version_0_1_0_is_compared_but_for_rounding(tmp_path: Path) -> None:
    copy = shutil.copytree(OLD, tmp_path / "zoo")
    anew(copy)
    done = verify(copy)
    assert done.zoo and done.findings.found == []
    assert again(done) == []
    outcomes = retrain(done.zoo, done.sound)
    assert [(outcome.bits, outcome.finding) for outcome in outcomes] == [(False, None)] * 4


KNOWN = {
    known_model: ["zoo.models.cnn.CNNSmall", "zoo.models.resnet.ResNet18", "torchvision.models.resnet18"],
    known_optimizer: ["torch.optim.Adam", "torch.optim.SGD", "torch.optim.RMSprop"],
    known_schedule: ["torch.optim.lr_scheduler.OneCycleLR", "torch.optim.lr_scheduler.CosineAnnealingLR"],
    known_initialisation: ["torch.nn.init.kaiming_uniform_", "torch.nn.init.normal_"],
}
UNKNOWN = [
    *(
        "os.system",
        "builtins.eval",
        "zoo.models.cnn.nn.Module",
        "zoo.models.cnn.activation_layer",
        "zoo.models.cnn.Tensor",
    ),
    *(
        "zoo.models.evaluate.evaluate",
        "zoo.disk.folders.remove",
        "zoo.models",
        "",
        "CNNSmall",
        "zoo..models.cnn.CNNSmall",
    ),
    *(
        "torch.load",
        "torch.hub.load",
        "torch.nn.init.torch.load",
        "torch.nn.init.warnings.warn",
        "torch.nn.init.Callable",
    ),
    *("torch.optim.Optimizer.load_state_dict", "torch.optim.lr_scheduler.torch.load", "torch.optim.adam.torch.load"),
    *("torchvision.models.get_model", "torchvision.models.resnet.load_state_dict_from_url", "torchvision.io.read_file"),
    *("torchvision.models.resnet.torch.load", "tests.fragile.Fragile"),
]


def test_what_is_known_is_a_name_in_its_own_module() -> None:
    for known, targets in KNOWN.items():
        for target in targets:
            assert known(target), target
        others = [target for own, targets in KNOWN.items() if own is not known for target in targets]
        for target in [*UNKNOWN, *others]:
            assert not known(target), target


def changed(zoo: Path, tmp_path: Path, change: Callable[[dict], Any]) -> Verified:
    """A zoo, one of whose models has another config."""
    done = verify(copied(zoo, tmp_path))
    assert done.sound[0].params
    change(done.sound[0].params["config"])
    return done


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config["model"].update(_target_="os.system"), "model._target_='os.system', which is none of"),
        (lambda config: config["optim"].update(_target_="torch.load"), "optim._target_='torch.load', which is none of"),
        (lambda config: config["init"]["weight"].update(_target_="torch.hub.load"), "init.weight._target_='torch.hub"),
        (
            lambda config: config["init"].update(_target_="torch.nn.init.normal_"),
            "init._target_='torch.nn.init.normal_'",
        ),
        (
            lambda config: config["optim"].update(lr={"_target_": "torch.optim.SGD"}),
            "optim.lr._target_='torch.optim.SGD'",
        ),
        (lambda config: config["optim"].update(lr=[{"_target_": "os.getcwd"}]), "optim.lr._target_='os.getcwd'"),
        (lambda config: config["optim"].update(lr="${oc.env:HOME}"), "optim.lr='${oc.env:HOME}', which no sweep"),
        (lambda config: config["optim"].update(_args_=[1]), "optim._args_=1, which no sweep"),
        (lambda config: config["model"].update(_recursive_=False), "model._recursive_=False, which no sweep"),
        (lambda config: config["trainer"].update(callbacks=["x"]), "trainer.callbacks is unknown"),
        (lambda config: config["trainer"].update(_target_="os.system"), "trainer._target_='os.system'"),
        (lambda config: config["sources"].update(model="0"), "its model came from a file of the user's own"),
        (lambda config: config.pop("trainer"), "is not of a training of this project"),
        (lambda config: config.update(seed={}), "is not of a training of this project|can't be a run's folder"),
    ],
)
def test_a_params_json_can_ask_for_nothing_unknown(zoo: Path, tmp_path: Path, change: Any, said: str) -> None:
    done = changed(zoo, tmp_path, change)
    assert done.zoo
    with pytest.raises(ZooError, match=said.replace("$", r"\$").replace("{", r"\{")) as error:
        retrain(done.zoo, done.sound[:1])
    assert "params.json" in str(error.value) or "run's folder" in str(error.value) or "unknown" in str(error.value)


@pytest.mark.usefixtures("without_drawing")
def test_a_model_that_went_on_from_a_zoo_is_trained_again_where_that_lies_beside_it(zoo: Path, tmp_path: Path) -> None:
    parent = copied(zoo, tmp_path)
    typed = ("init=from_zoo", f"init.zoo={parent}", "init.model=0", "trainer.max_epochs=1")
    nodes = train_sweep(tmp_path, *typed)
    make_zoo(nodes[0].sweep, tmp_path / "child")
    done = verify(tmp_path / "child")
    assert done.zoo and done.findings.found == [] and again(done) == []
    [outcome] = retrain(done.zoo, done.sound)
    assert (outcome.bits, outcome.distance, outcome.finding, outcome.reason) == (True, 0.0, None, None)
    parent.rename(tmp_path / "elsewhere")
    [outcome] = retrain(done.zoo, done.sound)
    assert outcome.finding is None
    assert f"0 models trained again, 0 of them compared bit for bit; {nodes[0].name} not retrained, because" in (
        said := summary([outcome])
    )
    assert said.endswith(f"its training went on from the zoo zoo, which is not in {tmp_path}")
    copied(OLD, tmp_path)
    [outcome] = retrain(done.zoo, done.sound)
    assert outcome.reason and "is not the zoo from which its training went on" in outcome.reason


def test_a_params_json_leads_to_no_zoo_but_one_beside_it(zoo: Path, tmp_path: Path) -> None:
    done = changed(zoo, tmp_path, lambda config: config["init"].update(name="from_zoo"))
    assert done.zoo and done.sound[0].params
    for parent in (None, "zoo", {"zoo": "../x"}, {"zoo": str(OLD)}, {"zoo": ".."}):
        done.sound[0].params["parent"] = parent
        [outcome] = retrain(done.zoo, done.sound[:1])
        assert outcome.reason and "does not say from a state of which zoo" in outcome.reason


def test_an_unknown_class_is_built_by_the_zoo_s_own_code_only_if_it_is_trusted(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    mark = tmp_path / "executed"
    source = paths.model_source(copy)
    source.write_text(source.read_text() + f"\nopen({str(mark)!r}, 'w').close()\n")
    for run in paths.runs(copy).iterdir():
        edit_json(paths.params(run), lambda params: params["config"]["model"].update(_target_="mine.Model"))
    anew(copy)
    done = verify(copy)
    with pytest.raises(ZooError, match="params.json names the model mine.Model, which is none of .* give --trust"):
        again(done)
    assert not mark.exists()
    imported = sys.modules.get("model")
    assert again(done, trust=True) == []
    assert mark.exists() and not (copy / "__pycache__").exists() and sys.modules.get("model") is imported


def test_a_model_of_another_architecture_is_refused_before_it_takes_memory(zoo: Path) -> None:
    node = verify(zoo).sound[0].task.node
    params = Runs(zoo).params(node)
    architecture = Architecture.load(paths.architecture(zoo))
    params["config"]["model"] |= {"channels_in": 10**9}
    with pytest.raises(ZooError, match="can't be built from p.json .*has the shape"):
        build_known(Path("p.json"), params, architecture, None)
    params["config"]["model"] |= {"channels_in": 1, "unheard": 2}
    with pytest.raises(ZooError, match="can't be built from p.json .*unheard"):
        build_known(Path("p.json"), params, architecture, None)


def test_weights_from_elsewhere_are_not_fetched(zoo: Path) -> None:
    architecture = Architecture.load(paths.architecture(zoo))
    model = {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"}
    with pytest.raises(ZooError, match="weights from elsewhere, which are not fetched"):
        build_known(Path("p.json"), {"config": {"model": model}}, architecture, None)
    with pytest.raises(ZooError, match="weights from elsewhere are not fetched"):
        require_known(Path("p.json"), {"model": model})
