"""What can't be trained is refused in a line, before anything is written."""

from collections.abc import Callable

import pytest
import pytorch_lightning as pl

from zoo.errors import ZooError
from zoo.node.grid import Grid
from zoo.sweep.check import check


class Patient(pl.callbacks.EarlyStopping):
    def __init__(self) -> None:
        super().__init__("val_loss")


TORCH = "torch.optim.lr_scheduler"


def schedule(target: str, *more: str) -> list[str]:
    return [f"+schedule._target_={target}", "+schedule._partial_=true", *more]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (schedule(f"{TORCH}.CosineAnnealingLR"), "schedule.name=constant.*missing 1 required.*'T_max'"),
        (schedule(f"{TORCH}.OneCycleLR", "+schedule.max_lr=0.1"), "You must define either total_steps OR"),
        (schedule(f"{TORCH}.StepLR", "+schedule.step=3"), "unexpected keyword argument 'step'"),
        (schedule(f"{TORCH}.ReduceLROnPlateau"), "ReduceLROnPlateau waits for a metric"),
        (schedule(f"{TORCH}.NoSuchLR"), "schedule.name=constant"),
        (schedule("builtins.id"), "builtins.id makes no schedule"),
        (["schedule=multi_step", "schedule.interval=batch"], "schedule.interval=batch: must be step .* or epoch"),
        (["optim=rmsprop", "optim.momentum=0", "schedule=one_cycle", "optim.lr=abc"], "optim.lr=abc"),
        (["augmentation=crop_flip", "augmentation.padding=-1"], "augmentation.padding=-1"),
        (["augmentation=crop_flip", "+augmentation.mirror=true"], "augmentation.mirror=True.*unexpected keyword"),
        (["augmentation=flip_rotation", "augmentation.degrees=some"], "augmentation.degrees=some"),
        (["~init.weight"], "init=kaiming_uniform: its YAML file must have `weight`.*conf/init/uniform.yaml"),
        (["~init.weight", "+init._target_=torch.nn.init.ones_", "+init._partial_=true"], "must have `weight`"),
        (["init.weight=3"], "must have `weight`"),
        (["~init.bias"], "and `bias`, a number"),
        (["optim._target_=torch.optim.LBFGS", *(f"~optim.{key}" for key in ("weight_decay", "betas", "eps", "fused"))],
         "optim.name=adam.*closure"),
        (["data.size=abc"], 'data.size="abc": must be a whole number of pixels'),
        (["data.size=2.5"], "data.size=2.5: must be a whole number of pixels"),
        (["data.channels=abc"], 'data.channels="abc": must be a whole number'),
        (["data.std=[0]"], "data.std=.0.: must be a list of finite numbers"),
        (["~data.train"], "data.train is missing: set it to a whole number"),
        (["immaterial=[optim.lr]"], "immaterial: what is no part of a model's name is the same for all sweeps"),
        (["immaterial.0=seed"], "immaterial: what is no part"),
        (["~immaterial"], "immaterial: what is no part"),
        (["immaterial=5"], "immaterial: what is no part"),
        (["immaterial=[1]"], "immaterial: what is no part"),
        (["+trainer.callbacks=[5]"], "trainer.callbacks: 5: must be the _target_ of a Callback"),
        (["~trainer"], "trainer=None: the config must have this group"),
        (["trainer.devices=2"], "trainer.devices=2: must be 1.*docs/scaling.md"),
        (["+trainer.max_steps=5"], "trainer.max_steps=5: all models of a zoo are trained"),
        (["+trainer.precison=bf16-mixed"], "Did you mean precision"),
        (["+trainer.callbacks=[{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val_acc}]"],
         "trainer.callbacks, EarlyStopping: all models of a zoo are trained"),
        (["+trainer.callbacks=[{_target_: pytorch_lightning.callbacks.ModelCheckpoint}]"],
         "trainer.callbacks, ModelCheckpoint: every epoch of every model is written"),
        (["+trainer.callbacks={_target_: pytorch_lightning.callbacks.GradientAccumulationScheduler, "
          "scheduling: {0: 2}}"],
         "trainer.callbacks, GradientAccumulationScheduler: give a larger batch_size"),
        (["+trainer.callbacks={_target_: pytorch_lightning.callbacks.EMAWeightAveraging}"],
         "trainer.callbacks, EMAWeightAveraging: the average is kept beside the model"),
        (["+trainer.callbacks={_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.1}"],
         "trainer.callbacks, StochasticWeightAveraging: the average is kept beside the model"),
        (["+trainer.callbacks={_target_: tests.sweep.test_check.Patient}"], "trainer.callbacks, Patient: all models"),
        (["+trainer.callbacks={_target_: pytorch_lightning.callbacks.Timer, duration: '00:00:01:00'}"],
         "trainer.callbacks, Timer, duration=00:00:01:00: all models of a zoo are trained for"),
        (["+trainer.callbacks=[{_target_: builtins.dict}]"], "must be the _target_ of a Callback"),
        (["+trainer.callbacks=[{_target_: no.such.Callback}]"], "trainer.callbacks: .*no"),
        (["trainer.logger=[{_target_: pytorch_lightning.loggers.CSVLogger, sve_dir: x}]"], "trainer.logger: .*sve_dir"),
        (["+trainer.callbacks={_target_: pytorch_lightning.callbacks.LearningRateMonitor}"],
         "trainer.callbacks, LearningRateMonitor: it has nowhere to log to. Give trainer.logger=true"),
        (["+trainer.profiler={_target_: builtins.dict}"], "trainer.profiler: .*must be the _target_ of a Profiler"),
        (["+trainer.profiler=slow"], "trainer.profiler=slow: must be one of simple, advanced, pytorch"),
        (["trainer.logger=csv"], "trainer.logger: csv: must be the _target_ of a Logger"),
    ],
)  # fmt: skip
def test_refused(grid: Callable[..., Grid], overrides: list[str], message: str) -> None:
    with pytest.raises(ZooError, match=message) as caught:
        check(list(grid(*overrides)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        schedule(f"{TORCH}.CosineAnnealingWarmRestarts", "+schedule.T_0=5", "+schedule.interval=epoch"),
        schedule(f"{TORCH}.StepLR", "+schedule.step_size=5"),
        schedule(f"{TORCH}.ExponentialLR", "+schedule.gamma=0.9"),
        schedule(f"{TORCH}.LinearLR"),
        schedule(
            f"{TORCH}.CyclicLR", "+schedule.base_lr=0.1", "+schedule.max_lr=0.2", "+schedule.cycle_momentum=false"
        ),
        schedule(f"{TORCH}.PolynomialLR", "+schedule.total_iters=${total_steps:}"),
        ["schedule=one_cycle"],
        ["schedule=cosine", "+trainer.limit_train_batches=0.5"],
        ["schedule=multi_step"],
        ["augmentation=flip_rotation"],
        ["trainer.logger=true"],
        ["trainer.logger=true", "+trainer.callbacks={_target_: pytorch_lightning.callbacks.LearningRateMonitor}"],
        ["+trainer.profiler={_target_: pytorch_lightning.profilers.AdvancedProfiler}"],
        ["~optim.lr", "~optim.weight_decay"],
        ["optim._target_=torch.optim.Rprop", *(f"~optim.{key}" for key in ("weight_decay", "betas", "eps", "fused"))],
    ],
)
def test_accepted(grid: Callable[..., Grid], overrides: list[str]) -> None:
    check(list(grid(*overrides)))


def test_an_optimizer_without_a_rate_has_no_released_key_for_it(grid: Callable[..., Grid]) -> None:
    [node] = grid("~optim.lr", "~optim.weight_decay")
    assert not {"optim::lr", "optim::wd", "optim::momentum"} & node.released.keys()
    assert node.name.startswith("tanh_kaiming_uniform_adam_dropout0_seed0_")


def test_a_limit_below_one_batch_is_refused(grid: Callable[..., Grid]) -> None:
    with pytest.raises(ZooError, match="trainer.limit_train_batches=0.1: leaves none of the 4 batches"):
        check(list(grid("+trainer.limit_train_batches=0.1")))
