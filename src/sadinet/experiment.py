"""Experiments: complete, frozen, named values, with one typed way to change them and one way to write them down."""

import dataclasses
import json
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .data.augment import AugmentConfig
from .errors import ConfigError
from .heatmaps import Decoding
from .model.config import LossConfig, NetworkConfig
from .skeleton import LSP, MPII, Skeleton

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        dataset: See `sadinet.data.splits`; ``"lsp+lspet"``, ``"mpii"``, ``"toy"``...
        keep_duplicates: Train also on near-duplicates of test images.
        augment: Random changes of the training examples.
    """

    dataset: str = "lsp+lspet"
    keep_duplicates: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained (paper Sec. IV-A; values it does not give: decision 007).

    Attributes:
        epochs: Passes over the training persons.
        batch_size: Persons per step, over all processes.
        learning_rate: Adam's, at its highest.
        schedule: ``"steps"``: divided by 10 at each milestone; ``"cosine"``: down to 0 over the epochs.
        milestones: Epochs of the steps.
        warmup_epochs: Rises linearly to its highest over these first epochs.
        weight_decay: Decoupled (AdamW) where positive.
        ema: Decay per step of the average of the weights that is evaluated and kept; 0: none.
        precision: ``"bfloat16"`` computes the network under autocast; weights stay float32.
        seed: Of weights, order and augmentation.
        accumulate: Pieces a batch is cut into, one after the other, to save memory.
        norm: Batch norm over each process's share (``"batch"``), over all processes (``"sync"``, GPUs only), or with
            ``"frozen"`` statistics.
        clip_norm: Largest norm of the gradient; 0: any.
    """

    epochs: int = 210
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = (170, 200)
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    accumulate: int = 1
    norm: Literal["batch", "sync", "frozen"] = "batch"
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        if (
            self.epochs < 1
            or self.batch_size < 2
            or self.learning_rate <= 0
            or not 0 <= self.ema < 1
            or self.accumulate < 1
        ):
            raise ConfigError(
                "training: epochs >= 1, batch_size >= 2 (batch norm), learning_rate > 0, 0 <= ema < 1 and "
                "accumulate >= 1 must hold"
            )
        if min(self.warmup_epochs, self.weight_decay, self.clip_norm) < 0 or not 0 <= self.seed < 2**63:
            raise ConfigError("training: warmup_epochs, weight_decay, clip_norm >= 0 and 0 <= seed < 2**63 must hold")


@dataclass(frozen=True)
class Experiment:
    """All that decides a training but the place of its data and the machine.

    Attributes:
        name: The preset it started from.
        skeleton: The keypoints.
        network: Its shape.
        loss: What is minimised.
        data: What it learns from.
        training: How.
        decoding: How keypoints are read from heatmaps.
    """

    name: str
    skeleton: Skeleton
    network: NetworkConfig
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: Decoding = "quarter"

    def __post_init__(self) -> None:
        if self.network.keypoints != len(self.skeleton):
            raise ConfigError(
                f"network.keypoints={self.network.keypoints} but the keypoint set '{self.skeleton.name}' "
                f"has {len(self.skeleton)}"
            )
        regressed, trained = self.network.answer == "mean", self.loss.kind != "mse" or self.loss.coordinate_weight > 0
        if regressed and not trained:
            raise ConfigError("network.answer=mean is not trained by loss.kind=mse: give loss.kind=rle")
        if self.loss.kind == "rle" and not regressed:
            raise ConfigError("loss.kind=rle trains no heatmaps: give network.answer=mean, or loss.kind=mse+rle")


SIZES = {"b": 1.0, "s": 0.5, "t": 0.25}
"""Widths of the networks: the paper's, half, a quarter."""


def _sized(network: NetworkConfig, width: float) -> NetworkConfig:
    """The network with all its channels times ``width``."""

    def wide(*channels: int) -> tuple[int, ...]:
        return tuple(round(c * width) for c in channels)

    backbone, fusion = network.backbone, network.fusion
    return dataclasses.replace(
        network,
        backbone=dataclasses.replace(
            backbone, channels=wide(*backbone.channels), features=round(backbone.features * width)
        ),
        fusion=dataclasses.replace(
            fusion,
            features=round(fusion.features * width),
            widths=wide(*fusion.widths),
            outputs=round(fusion.outputs * width),
        ),
    )


_HEATMAPS_ALONE = ("network.learn_distribution=false", "loss.kind=mse")


def _newell(stacks: int) -> tuple[str, ...]:
    shape = ("kind=classic", "channels=256", "blocks=1", f"stacks={stacks}")
    return (*(f"network.backbone.{change}" for change in shape), *_HEATMAPS_ALONE)


VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "": ("SADI-Net as the paper has it (Table V, smooth-running loss)", ()),
    "-hourglass": (
        "Tables III and IV, Hourglass: basic blocks, heatmap loss alone",
        ("network.backbone.block=basic", "network.learn_distribution=false", "loss.kind=mse"),
    ),
    "-rfm": ("Table III, RFM: no SFM and DLM", ("network.learn_distribution=false", "loss.kind=mse")),
    "-rfm-no-gate": (
        "Table III, split: dilation without squeeze-excite",
        ("network.learn_distribution=false", "loss.kind=mse", "network.backbone.gate=none"),
    ),
    "-rfm-no-dilation": (
        "Table III, split: squeeze-excite without dilation",
        ("network.learn_distribution=false", "loss.kind=mse", "network.backbone.dilation=0"),
    ),
    "-hourglass-dlm": ("Table IV, Hourglass + SFM + DLM", ("network.backbone.block=basic",)),
    "-detached": ("Table IV, control: no gradient from SFM and DLM to the backbone", ("network.fusion.detach=true",)),
    "-mse": ("Table V, MSE: SFM and DLM are there but not trained", ("loss.kind=mse",)),
    "-rle": ("Table V, likelihood with the standard normal (Eq. 4)", ("loss.kind=mse+rle",)),
    "-nll": ("Table V, likelihood of the flow alone", ("loss.kind=mse+nll",)),
    "-predicted": ("Learnable heatmaps against the predicted ones", ("loss.distribution_target=predicted",)),
    "-both": ("Learnable heatmaps against targets and predictions", ("loss.distribution_target=both",)),
    "-gauss": ("Control: a Gaussian in place of the flow", ("network.distribution.kind=gauss",)),
    "-no-global": ("No global attention", ("network.fusion.attention=none",)),
    "-no-local": ("No local attention", ("network.fusion.local=none",)),
    "-coordinates": ("With a small loss on the mean (not in the paper)", ("loss.coordinate_weight=0.01",)),
    "-newell2": ("Stacked hourglass (Newell et al.), two stacks", _newell(2)),
    "-newell8": ("Stacked hourglass (Newell et al.), eight stacks", _newell(8)),
    "-hrnet": (
        "HRNet-W32 (Sun et al.)",
        (
            *("network.backbone.kind=hrnet", "network.backbone.channels=32,64,128,256"),
            *("network.backbone.blocks=1,1,4,3", *_HEATMAPS_ALONE),
        ),
    ),
    "-simple": (
        "SimpleBaseline with ResNet-50 (Xiao et al.)",
        ("network.backbone.kind=simple", "network.backbone.blocks=3,4,6,3", *_HEATMAPS_ALONE),
    ),
    "-regression": (
        "The mean is the answer, trained by the likelihood alone (Li et al., RLE)",
        (
            *("network.answer=mean", "loss.kind=rle", "network.distribution.normalize_features=true"),
            "network.distribution.sigma_init=0.5",
        ),
    ),
}
"""Suffixes of preset names: what they are, and their changes to the full model, in the paper's widths."""

DATASETS: dict[str, tuple[Skeleton, tuple[str, ...]]] = {
    "lsp": (LSP, ("data.dataset=lsp+lspet",)),
    "mpii": (MPII, ("data.dataset=mpii",)),
    "toy": (
        LSP,
        (
            "data.dataset=toy",
            "network.input_size=64",
            "training.epochs=20",
            "training.batch_size=16",
            "training.milestones=15,18",
            "loss.sigma=1",
        ),
    ),
}
"""First parts of preset names: keypoints and changes."""


def _preset(dataset: str, size: str, variant: str) -> Experiment:
    skeleton, changes = DATASETS[dataset]
    whole = Experiment(f"{dataset}-{size}{variant}", skeleton, NetworkConfig(keypoints=len(skeleton)))
    chosen = override(whole, (*changes, *VARIANTS[variant][1]))
    return dataclasses.replace(chosen, network=_sized(chosen.network, SIZES[size]))


PRESETS: dict[str, Callable[[], Experiment]] = {
    f"{dataset}-{size}{variant}": partial(_preset, dataset, size, variant)
    for dataset in DATASETS
    for size in SIZES
    for variant in VARIANTS
}
"""Named experiments, data set - size - variant: ``PRESETS["lsp-b"]()`` is the paper's on LSP."""


def preset(name: str) -> Experiment:
    """The experiment called ``name``."""
    try:
        return PRESETS[name]()
    except KeyError:
        raise ConfigError(
            f"no experiment is called '{name}'; names are {{{'|'.join(DATASETS)}}}-{{{'|'.join(SIZES)}}}, "
            f"then, if wanted, one of {', '.join(v for v in VARIANTS if v)}"
        ) from None


def override(experiment: T, changes: Iterable[str]) -> T:
    """``experiment`` with fields changed, each written ``part.field=value``; lists as ``1,2,3``.

    Raises:
        ConfigError: For an unknown field (the known ones are named) or a value of the wrong type.
    """
    tree = to_dict(experiment)
    for change in changes:
        path, separator, text = change.partition("=")
        if not separator:
            raise ConfigError(f"'{change}': write part.field=value, for instance training.epochs=5")
        *parents, leaf = path.strip().split(".")
        node, kind = tree, type(experiment)
        for parent in parents:
            kind = _field_type(kind, parent, path)
            node = node[parent]
        node[leaf] = _parse(text.strip(), _field_type(kind, leaf, path), path)
    return from_dict(type(experiment), tree)


def to_dict(value: Any) -> Any:
    """A frozen dataclass as plain dicts, lists and scalars, ready for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_dict(v) for v in value]
    return value


def to_json(experiment: Experiment) -> str:
    """The experiment as JSON that `from_json` reads."""
    return json.dumps(to_dict(experiment), indent=2)


def from_json(text: str, source: str = "the experiment") -> Experiment:
    """The inverse of `to_json`; ``source`` names the text in errors."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ConfigError(f"{source}: not JSON ({error})") from None
    return from_dict(Experiment, tree)


def from_dict(kind: type[T], tree: Any, path: str = "") -> T:
    """The dataclass ``kind`` from `to_dict`'s output, every value checked; missing fields keep their defaults."""
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.rstrip('.') or kind.__name__}: expected fields, got {tree!r}")
    values = {
        name: _checked(value, _field_type(kind, name, f"{path}{name}"), f"{path}{name}") for name, value in tree.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{path.rstrip('.') or kind.__name__}: {error}") from None


def _field_type(kind: Any, name: str, path: str) -> Any:
    hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    names = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if name not in names:
        known = ", ".join(names) or "no fields"
        raise ConfigError(f"unknown field '{path}': {getattr(kind, '__name__', kind)} has {known}")
    return hints[name]


def _parse(text: str, kind: Any, path: str) -> Any:
    """``text`` from the command line as the JSON value of a field of type ``kind``."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return [_parse(part.strip(), item, path) for part in text.split(",") if part.strip()]
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is str or get_origin(kind) is Literal:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # the wrong type, which `_checked` explains


def _checked(value: Any, kind: Any, path: str) -> Any:
    """``value`` as an instance of ``kind``, or a ConfigError that says what was expected."""
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_dict(kind, value, f"{path}.")
    if origin is Literal and value in args:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) == len(value):
            return tuple(_checked(v, k, f"{path}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        return _checked(value, next(k for k in args if k is not type(None)), path)
    if (
        kind is float
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    ):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    expected = " | ".join(map(repr, args)) if origin is Literal else getattr(kind, "__name__", str(kind))
    raise ConfigError(f"{path}={value!r}: expected {kind if origin is tuple else expected}")
