"""Named experiments: every row of the paper's tables, in three widths, for each data set; and those of one's own."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .data.coco import own_datasets
from .data.splits import read_skeleton
from .errors import ConfigError
from .experiment import Experiment
from .model.config import NetworkConfig
from .skeleton import LSP, MPII, Skeleton
from .values import override

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

OWN = (
    *("training.epochs=60", "training.batch_size=16", "training.schedule=cosine", "training.warmup_epochs=1"),
    *("training.ema=0.99", "loss.target=unbiased", "loss.alpha=0.1", "decoding=dark"),
)
"""Changes for data sets of one's own, which are small as a rule and have no paper to follow (decision 026)."""


def _preset(dataset: str, size: str, variant: str) -> Experiment:
    return _experiment(dataset, size, variant, *DATASETS[dataset])


def _experiment(dataset: str, size: str, variant: str, skeleton: Skeleton, changes: tuple[str, ...]) -> Experiment:
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


def preset(name: str, data: Path | None = None) -> Experiment:
    """The experiment called ``name``.

    Args:
        name: Data set - size - variant, such as ``lsp-b-rfm``.
        data: Where a data set of one's own is looked for, see `sadinet.data.splits.read_split`; its keypoints decide
            the experiment's.

    Raises:
        ConfigError: If there is none.
        DataError: If the annotation of one's own data set is damaged.
    """
    if name in PRESETS:
        return PRESETS[name]()
    if data is not None and (parts := _own_parts(name)) is not None:
        dataset, size, variant = parts
        changes = (f"data.dataset={dataset}", *OWN)
        return _experiment(dataset, size, variant, read_skeleton(dataset, data), changes)
    own = [] if data is None else [f"{dataset}-t" for dataset in own_datasets(data) if dataset not in DATASETS]
    listed = f" ({', '.join(own)})" if own else ""
    raise ConfigError(
        f"no experiment is called '{name}'; names are {{{'|'.join((*DATASETS, 'FOLDER'))}}}-{{{'|'.join(SIZES)}}}, "
        f"then, if wanted, one of {', '.join(v for v in VARIANTS if v)}; FOLDER is a data set of your own in --data"
        f"{listed}"
    )


def _own_parts(name: str) -> tuple[str, str, str] | None:
    """Data set, size and variant of the name of an experiment on data of one's own; None if it is no such name."""
    for size in SIZES:
        for variant in VARIANTS:
            dataset = name.removesuffix(f"-{size}{variant}")
            if dataset not in ("", name, *DATASETS):
                return dataset, size, variant
    return None
