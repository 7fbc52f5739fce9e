"""What computes heatmaps: PyTorch, or onnxruntime for exported networks. The one place that knows devices."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import ConfigError
from .model.network import SadiNet


class Backend(Protocol):
    """Makes heatmaps of crops.

    Attributes:
        name: ``"torch"`` or ``"onnxruntime"``.
        device: Where it computes.
    """

    name: str
    device: torch.device

    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB, B at least 1."""
        ...


def find_device(name: str | torch.device | None) -> torch.device:
    """The device called ``name``; None: a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch without CUDA
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device '{name}' cannot be used ({reason}); give cpu, or leave it out") from None
    return device


class TorchBackend:
    """A network in PyTorch.

    Args:
        network: Trained; moved to ``device`` and to evaluation mode.
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """

    name = "torch"

    def __init__(self, network: SadiNet, device: str | torch.device | None = None) -> None:
        self.device = find_device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        # Rows of RGB pixels are what torch calls channels last: this is a view, and stays one.
        answer: Tensor = self.network.backbone_heatmaps(pixels.permute(0, 3, 1, 2).float() / 255).float()
        return answer
