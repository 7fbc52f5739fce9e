"""The paper's tables and our own questions as named studies: rows of experiments that differ in one thing."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..experiment import Experiment
from ..presets import preset
from ..values import override

ABLATIONS = "MPII val, PCKh@0.5, mean of 14 keypoints"
"""What the numbers of the paper's Tables III to V are (see docs/paper.md)."""


@dataclass(frozen=True)
class Row:
    """One experiment of a study.

    Attributes:
        name: Its folder.
        title: As in the table.
        variant: Suffix of the preset, see `sadinet.presets.VARIANTS`.
        changes: Further changes.
        printed: Cells of the paper's row that we know: column and number.
        note: What the paper says of it in words, or what to expect.
    """

    name: str
    title: str
    variant: str = ""
    changes: tuple[str, ...] = ()
    printed: tuple[tuple[str, float], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Study:
    """A table: the first row is what the others are compared with.

    Attributes:
        name: What to ask for.
        title: Above the table.
        question: What it is to answer.
        rows: The experiments.
        printed: What the paper's numbers are scores of; empty if it has none.
    """

    name: str
    title: str
    question: str
    rows: tuple[Row, ...]
    printed: str = ""

    def row(self, name: str) -> Row:
        """The row called ``name``.

        Raises:
            ConfigError: If there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ConfigError(f"study '{self.name}' has no row '{name}'; it has: {', '.join(r.name for r in self.rows)}")


def experiment_of(
    row: Row, dataset: str, size: str, seed: int, changes: tuple[str, ...] = (), data: Path | None = None
) -> Experiment:
    """The experiment of a row; ``changes`` are those that all rows of a study get, ``data`` is as for `preset`."""
    base = preset(f"{dataset}-{size}{row.variant}", data)
    return override(base, (*row.changes, *changes, f"training.seed={seed}"))


RATES = (0.0015, 0.00075, 0.003, 0.006, 0.012)
"""Learning rates tried by the study of that name, first the one with which the others are compared."""


def _rates(name: str, title: str, variant: str) -> tuple[Row, ...]:
    """A row per learning rate."""
    return tuple(
        Row(f"{name}-{rate:g}", f"{title}, {1000 * rate:g}e-3", variant, (f"training.learning_rate={rate:g}",))
        for rate in RATES
    )


def _changed(name: str, title: str, *changes: str, note: str = "") -> Row:
    return Row(name, title, changes=changes, note=note)


_FULL = Row("sadinet", "SADI-Net")
_HOURGLASS = Row("hourglass", "Hourglass", "-hourglass", printed=(("Sho.", 95.8), ("Mean", 88.9)))

STUDIES = {
    study.name: study
    for study in (
        Study(
            "ablation-iii",
            "Table III: the receptive fortified module",
            "Does the RFM help the hourglass, and which half of it: the dilated convolution or squeeze-excite?",
            (
                _HOURGLASS,
                Row("rfm", "RFM", "-rfm", printed=(("Mean", 89.6),)),
                Row("rfm-no-gate", "dilation alone", "-rfm-no-gate"),
                Row("rfm-no-dilation", "squeeze-excite alone", "-rfm-no-dilation"),
            ),
            ABLATIONS,
        ),
        Study(
            "ablation-iv",
            "Table IV: spatial fusion and distribution learning",
            "Do SFM and DLM, which are dropped after training, help the hourglass that stays?",
            (
                _HOURGLASS,
                Row(
                    "hourglass-dlm",
                    "Hourglass + SFM + DLM",
                    "-hourglass-dlm",
                    printed=(("Sho.", 95.6), ("Mean", 89.7)),
                ),
                Row(
                    "hourglass-detached",
                    "the same, taps detached",
                    "-hourglass-dlm",
                    ("network.fusion.detach=true",),
                    note="no gradient reaches the hourglass: the same network as the first row, to the last digit",
                ),
            ),
            ABLATIONS,
        ),
        Study(
            "ablation-v",
            "Table V: losses",
            "Does the smooth-running loss help, and are the likelihoods as unstable as the paper says?",
            (
                Row(
                    *("mse", "MSE", "-rfm"),
                    printed=(("Mean", 89.3),),
                    note="SFM and DLM would get no gradient: the RFM of Table III, to the last digit",
                ),
                Row("sadinet", "smooth-running loss (SADI-Net)", printed=(("Mean", 90.1),)),
                Row("rle", "MSE + likelihood (Eq. 4)", "-rle", note="paper: a sharp drop in accuracy"),
                Row("nll", "MSE + likelihood of the flow", "-nll", note="paper: a sharp drop in accuracy"),
            ),
            ABLATIONS,
        ),
        Study(
            "losses",
            "Readings of Eq. 7, and additions to the loss",
            "What should the learnable heatmaps be compared with, and does anything beside the paper help?",
            (
                Row("sadinet", "target (SADI-Net)"),
                Row("predicted", "predicted heatmaps", "-predicted"),
                _changed("predicted-detached", "the same, detached", "loss.distribution_target=predicted-detached"),
                Row("both", "target and predicted", "-both"),
                _changed("convex", "convex, alpha 0.5", "loss.convex=true", "loss.alpha=0.5"),
                Row("coordinates", "with a loss on the mean", "-coordinates"),
                _changed("hard", "8 hardest keypoints", "loss.hard_keypoints=8"),
                _changed("trim", "without the worst 2 %", "loss.trim=0.02"),
            ),
        ),
        Study(
            "choices",
            "Where the paper is silent",
            "How much do our choices matter?",
            (
                _FULL,
                _changed("dilation-4321", "dilation 4, 3, 2, 1", "network.backbone.dilation=4,3,2,1"),
                _changed("dilation-1", "dilation 1", "network.backbone.dilation=1"),
                _changed("merge-concat", "branches concatenated", "network.backbone.merge=concat"),
                _changed("gate-post", "gate after the identity", "network.backbone.gate=post_add"),
                _changed("taps-encoder", "taps on the way down", "network.backbone.taps=encoder"),
                _changed("global-level", "global attention, no sum", "network.fusion.attention=level"),
                Row("global-none", "no global attention", "-no-global"),
                _changed("local-row", "local attention along rows", "network.fusion.local=row"),
                _changed("local-hw", "local attention over pixels", "network.fusion.local=hw"),
                _changed("local-chan", "local attention over channels", "network.fusion.local=chan"),
                Row("local-none", "no local attention", "-no-local"),
                _changed("peak-1", "learnable peak 1", "network.distribution.normalization=canonical"),
                _changed("reweight", "predicted times density", "network.distribution.reweight=true"),
                _changed("flow", "density: flow alone", "network.distribution.kind=flow"),
                _changed("mix", "density: mean of both", "network.distribution.kind=mix"),
                _changed("smooth", "density: convolved", "network.distribution.kind=smooth"),
                Row("gauss", "density: Gaussian (control)", "-gauss"),
                _changed("alpha-0.01", "alpha 0.01", "loss.alpha=0.01"),
                _changed("alpha-0.1", "alpha 0.1", "loss.alpha=0.1"),
                _changed("alpha-0.5", "alpha 0.5", "loss.alpha=0.5"),
                _changed("alpha-2", "alpha 2", "loss.alpha=2"),
            ),
        ),
        Study(
            "rates",
            "Learning rates",
            "Is one of the two worse, or does it only ask for another learning rate?",
            (*_rates("rfm", "RFM", "-rfm"), *_rates("sadinet", "SADI-Net", "")),
        ),
        Study(
            "baselines",
            "Compared systems",
            "How does SADI-Net compare with other networks trained in the same way, from noise?",
            (
                Row("hourglass", "Hourglass", "-hourglass"),
                _FULL,
                Row("newell2", "stacked hourglass, 2 stacks", "-newell2"),
                Row("newell8", "stacked hourglass, 8 stacks", "-newell8"),
                Row("hrnet", "HRNet", "-hrnet", note="in full width (b) HRNet-W32"),
                Row("simple", "SimpleBaseline", "-simple", note="in full width (b) with ResNet-50"),
                Row("regression", "regression by likelihood (RLE)", "-regression"),
            ),
        ),
    )
}
"""The studies by name."""


def study(name: str) -> Study:
    """The study called ``name``.

    Raises:
        ConfigError: If there is none.
    """
    if name not in STUDIES:
        raise ConfigError(f"no study is called '{name}'; there are: {', '.join(STUDIES)}")
    return STUDIES[name]
