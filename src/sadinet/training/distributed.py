"""The processes of one training: alone, or several started by ``torchrun``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """This process among ``size``.

    Attributes:
        rank: Number of this process, 0 writes files.
        size: Number of processes.
        local_rank: Number on its machine: the GPU it takes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process; all must ask."""
        return any(self.gather(flag))

    def gather(self, value: Any) -> list[Any]:
        """The ``value`` of every process, in the order of their ranks; all must call."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, module: nn.Module) -> None:
        """Copies parameters and buffers of the first process to all others."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of ``tensor`` over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor


ALONE = World()
"""The only process."""


@contextmanager
def world(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """Joins the processes that ``torchrun`` started, if it did; leaves them at the end.

    Args:
        device: Where to compute; of several GPUs each process takes its own.

    Yields:
        This process, and its device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE, device
        return
    here = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        device = torch.device("cuda", here.local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield here, device
    finally:
        dist.destroy_process_group()
