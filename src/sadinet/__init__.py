"""Human pose estimation with SADI-Net.

    import sadinet
    estimator = sadinet.load()
    poses = estimator.predict("photo.jpg")

The names below are the public interface; they are imported when first used, so that ``import sadinet`` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint, save_checkpoint
    from .crops import SIX_SCALES, Inference
    from .draw import draw_heatmaps, draw_poses
    from .errors import CheckpointError, ConfigError, DataError, ImageError, SadinetError
    from .estimator import Estimator
    from .experiment import Experiment
    from .images import read_image, write_image
    from .media.sources import Failure, Frame, read_frames
    from .models import embedded_models, load
    from .persons.boxes import read_boxes
    from .persons.detect import Detections, Detector, find_detector
    from .persons.streaming import stream_frames
    from .poses import Poses
    from .predicting.results import read_poses
    from .presets import preset
    from .skeleton import COCO, LSP, MPII, Skeleton
    from .training.train import train
    from .values import override

__version__ = "0.1.0"

_HOME = {
    "checkpoint": ("load_checkpoint", "save_checkpoint"),
    "persons.boxes": ("read_boxes",),
    "persons.detect": ("Detections", "Detector", "find_detector"),
    "draw": ("draw_heatmaps", "draw_poses"),
    "errors": ("CheckpointError", "ConfigError", "DataError", "ImageError", "SadinetError"),
    "crops": ("SIX_SCALES", "Inference"),
    "estimator": ("Estimator",),
    "experiment": ("Experiment",),
    "images": ("read_image", "write_image"),
    "models": ("embedded_models", "load"),
    "poses": ("Poses",),
    "presets": ("preset",),
    "predicting.results": ("read_poses",),
    "skeleton": ("COCO", "LSP", "MPII", "Skeleton"),
    "media.sources": ("Failure", "Frame", "read_frames"),
    "persons.streaming": ("stream_frames",),
    "training.train": ("train",),
    "values": ("override",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "COCO",
    "LSP",
    "MPII",
    "SIX_SCALES",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Detections",
    "Detector",
    "Estimator",
    "Experiment",
    "Failure",
    "Frame",
    "ImageError",
    "Inference",
    "Poses",
    "SadinetError",
    "Skeleton",
    "draw_heatmaps",
    "draw_poses",
    "embedded_models",
    "find_detector",
    "load",
    "load_checkpoint",
    "override",
    "preset",
    "read_boxes",
    "read_frames",
    "read_image",
    "read_poses",
    "save_checkpoint",
    "stream_frames",
    "train",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sadinet' has no attribute '{name}'")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
