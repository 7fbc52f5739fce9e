"""PyTorch as the one that computes heatmaps, on a CPU or a GPU."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import ConfigError
from .model.network import SadiNet


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
        self._device = find_device(device)
        self.device = str(self._device)
        self.network = network.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        answer: Tensor = self.network.backbone_heatmaps(self._inputs(images)).float()
        if answer.is_cuda:
            torch.cuda.synchronize(answer.device)  # done means done: whoever times it
        return answer

    @torch.inference_mode()
    def moments(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation ``(B, K, 2)`` of a network that answers with its mean, see `SadiNet.regress`."""
        mean, deviation = (part.double().cpu().numpy() for part in self.network.regress(self._inputs(images)))
        return mean, deviation

    def _inputs(self, images: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        # Rows of RGB pixels are what torch calls channels last: this is a view, and stays one.
        return pixels.permute(0, 3, 1, 2).float() / 255
