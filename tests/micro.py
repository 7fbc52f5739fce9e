"""What the tests of training share: a network of a moment, trained on stick figures."""

import json
from pathlib import Path

from sadinet.data.lsp import read_joints
from sadinet.data.toy import TOY_LAYOUT, write_toy
from sadinet.experiment import Experiment
from sadinet.presets import preset
from sadinet.skeleton import LSP
from sadinet.training.train import Machine
from sadinet.values import override

MICRO = (
    "network.input_size=64",
    "network.backbone.channels=4,8,8,16",
    "network.backbone.blocks=1,1,1,1",
    "network.backbone.features=8",
    "network.backbone.gate_reduction=4",
    "network.fusion.features=8",
    "network.fusion.widths=8,8,16,16",
    "network.fusion.outputs=16",
    "network.distribution.table_size=17",
    "network.distribution.flow_hidden=8",
    "training.epochs=3",
    "training.batch_size=8",
    "training.schedule=cosine",
    "training.ema=0.9",
)
QUIET = Machine(device="cpu", workers=1, save_every=1e9, pictures=False, quiet=True)


def micro(*changes: str) -> Experiment:
    """A tiny experiment on the toy data, with ``changes``."""
    return override(preset("toy-t"), (*MICRO, *changes))


def toy_folder(folder: Path, count: int = 40) -> Path:
    """``folder`` with a toy data set in it."""
    if not (folder / "toy").exists():
        write_toy(folder, count, seed=3)
    return folder


OWN = {
    "L_hand": "left_wrist",
    "head": "head_top",
    "R_hand": "right_wrist",
    "L_foot": "left_ankle",
    "R_foot": "right_ankle",
}
"""Keypoints of a data set of one's own, and what LSP calls them."""


def own_folder(folder: Path, count: int = 40) -> Path:
    """``folder`` with the toy figures as a data set ``dolls``, annotated as people's own are: in COCO's format."""
    toy = toy_folder(folder / "source", count)
    images, annotations = [], []
    (folder / "dolls").mkdir(parents=True)
    (toy / "toy" / "images").rename(folder / "dolls" / "images")
    for number, joints in enumerate(read_joints(TOY_LAYOUT, toy / "toy"), 1):
        points = [(*joints[LSP.index(name), :2], 2.0) for name in OWN.values()]
        x, y, _ = zip(*points, strict=True)
        box = [min(x) - 4, min(y) - 4, max(x) - min(x) + 9, max(y) - min(y) + 9]
        images.append({"id": number, "file_name": f"{TOY_LAYOUT.stem(number)}.jpg"})
        flat = [float(value) for point in points for value in point]
        annotations.append({"id": 7 * number, "image_id": number, "category_id": 3, "keypoints": flat, "bbox": box})
    category = {"id": 3, "name": "doll", "keypoints": list(OWN), "skeleton": [[1, 2], [2, 3], [2, 4], [2, 5]]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "dolls" / "annotations.json").write_text(json.dumps(content))
    return folder
