"""A network being trained: one step, and everything that the next step depends on."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..checkpoint import load_weights
from ..data.dataset import Batch
from ..errors import ConfigError
from ..experiment import Experiment, TrainingConfig
from ..geometry import resample
from ..model.config import LIKELIHOODS, STRIDE
from ..model.loss import joint_loss, to_units
from ..model.network import Output, SadiNet
from .distributed import World


def learning_rate(config: TrainingConfig, epoch: float) -> float:
    """The learning rate ``epoch`` (a fraction) epochs into the training."""
    if epoch < config.warmup_epochs:
        return config.learning_rate * max(epoch / config.warmup_epochs, 1e-3)
    if config.schedule == "steps":
        return config.learning_rate * 0.1 ** sum(epoch >= milestone for milestone in config.milestones)
    share = (epoch - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


class Learner:
    """Network, optimizer and average of weights.

    Args:
        experiment: What is trained.
        device: Where.
        world: This process among those that train together; each gets its share of a batch.
        compiled: Compile the network.
        recompute: Compute the hourglass's activations again in the backward pass instead of keeping them.
    """

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device,
        world: World,
        *,
        compiled: bool = False,
        recompute: bool = False,
    ) -> None:
        config = experiment.training
        parts = world.size * config.accumulate
        if config.batch_size % parts or config.batch_size // parts < 2:
            raise ConfigError(
                f"training.batch_size={config.batch_size} cannot be shared by {world.size} processes times "
                f"training.accumulate={config.accumulate}: give a multiple of {parts}, at least {2 * parts}"
            )
        self.experiment, self.device, self.world = experiment, device, world
        torch.manual_seed(config.seed)
        network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
        if config.norm == "sync" and world.size > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self.network: SadiNet = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.backbone.recompute(recompute)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=device.type == "cuda",
        )
        self.average = AveragedModel(self.network, multi_avg_fn=self._average, use_buffers=True) if config.ema else None
        if compiled:
            self.network.compile()
        self._forward: nn.Module = self.network
        if world.size > 1:
            unused = experiment.network.learn_distribution and experiment.loss.kind in ("mse", "rle")
            ids = [device] if device.type == "cuda" else None
            self._forward = DistributedDataParallel(self.network, device_ids=ids, find_unused_parameters=unused)
        self._input_to_heatmap = torch.from_numpy(resample(1 / STRIDE)).float().to(device)
        self._steps_done = 0

    def _average(self, kept: Any, new: Any, _: Any) -> None:
        """EMA with a decay that starts low, so that the first weights are forgotten."""
        seen = self._steps_done
        decay = min(self.experiment.training.ema, (1 + seen) / (10 + seen))
        get_ema_multi_avg_fn(decay)(kept, new, None)  # type: ignore[no-untyped-call]

    @property
    def evaluated(self) -> SadiNet:
        """The network whose weights are scored and kept: the average, if there is one."""
        return self.network if self.average is None else self.average.module  # type: ignore[return-value]

    def step(self, batch: Batch, *, epoch: float, done: int) -> dict[str, Tensor]:
        """One update with this process's share of a batch.

        Args:
            batch: The share.
            epoch: Epochs into the training, a fraction; sets the learning rate.
            done: Steps done before this one.

        Returns:
            The detached terms of the loss over the share.
        """
        config = self.experiment.training
        self._steps_done = done
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, epoch)
        self.network.train()
        if config.norm == "frozen":
            _freeze_norm(self.network)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        parts = list(_split(batch, config.accumulate))
        for number, part in enumerate(parts):
            hold = isinstance(self._forward, DistributedDataParallel) and number + 1 < len(parts)
            with self._forward.no_sync() if hold else nullcontext():  # type: ignore[operator]
                terms = self._losses(part)
                (terms["total"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / len(parts)
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return sums

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        experiment = self.experiment
        xy = batch.xy.to(self.device, non_blocking=True)
        xy = xy @ self._input_to_heatmap[:, :2].T + self._input_to_heatmap[:, 2]
        side = experiment.network.input_size // STRIDE
        likelihood = experiment.loss.kind in LIKELIHOODS
        with torch.autocast(self.device.type, torch.bfloat16, enabled=experiment.training.precision == "bfloat16"):
            inputs = batch.inputs(self.device)
            output: Output = self._forward(inputs, to_units(xy, (side, side)) if likelihood else None)
        return joint_loss(output, xy, batch.labelled.to(self.device, non_blocking=True), experiment.loss)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in values.items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        load_weights(self.network, part("network."), "the state of the training")
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            number, name = key.split(".", 1)
            moments.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.average is not None:
            self.average.load_state_dict(part("average."))

    def begin_with(self, tensors: dict[str, Tensor]) -> None:
        """Takes over weights; the average begins with them too."""
        self.network.load_state_dict(tensors)
        if self.average is not None:
            self.average.module.load_state_dict(tensors)


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in equal consecutive pieces."""
    for rows in torch.arange(len(batch.xy)).chunk(parts):
        piece = slice(int(rows[0]), int(rows[-1]) + 1)
        yield Batch(batch.images[piece], batch.xy[piece], batch.labelled[piece], batch.gains[piece], batch.index[piece])


def _freeze_norm(network: nn.Module) -> None:
    """Batch norms use and keep their running statistics."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
