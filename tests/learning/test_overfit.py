"""A small network learns eight stick figures by heart, and lower precision keeps everything finite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sadinet.data.dataset import Batch, PersonDataset
from sadinet.data.toy import read_toy, write_toy
from sadinet.heatmaps import decode
from sadinet.model.config import STRIDE, BackboneConfig, DistributionConfig, FusionConfig, LossConfig, NetworkConfig
from sadinet.model.loss import joint_loss
from sadinet.model.network import SadiNet
from sadinet.skeleton import LSP

SIZE = 96
SIGMA = 1.0
SMALL = NetworkConfig(
    keypoints=len(LSP),
    input_size=SIZE,
    backbone=BackboneConfig(channels=(16, 24, 32, 48), blocks=(1, 1, 1, 1), features=32),
    fusion=FusionConfig(features=16, widths=(16, 24, 32, 48), outputs=64),
    distribution=DistributionConfig(table_size=33, flow_hidden=8),
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder: Path = tmp_path_factory.mktemp("figures")
    write_toy(folder, 8, seed=3)
    dataset = PersonDataset(read_toy(folder), size=SIZE, flip_index=LSP.flip_index)
    return next(iter(dataset.batches(0, [np.arange(8)], workers=0)))


def keypoints(batch: Batch) -> Tensor:
    """[heatmap px]."""
    return (batch.xy + 0.5) / STRIDE - 0.5


def pck(heatmaps: Tensor, xy: Tensor) -> float:
    """Keypoints read within a fifth of the torso [%]."""
    torso = (xy[:, LSP.index("left_shoulder")] - xy[:, LSP.index("right_hip")]).norm(dim=-1, keepdim=True)
    found, _ = decode(heatmaps.detach(), "dark", sigma=SIGMA)
    return 100 * ((found - xy).norm(dim=-1) <= 0.2 * torso).float().mean().item()


def trained(batch: Batch, steps: int, precision: torch.dtype) -> tuple[SadiNet, list[float]]:
    """A network after ``steps`` steps on the same batch, and its losses."""
    torch.manual_seed(0)
    network = SadiNet(SMALL, sigma=SIGMA).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs, losses = batch.inputs(torch.device("cpu")), []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            output = network(inputs)
        loss = joint_loss(output, keypoints(batch), batch.labelled, LossConfig(sigma=SIGMA, target="unbiased"))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, losses


def test_eight_figures_are_learned_by_heart(batch):
    network, losses = trained(batch, 100, torch.float32)
    network.eval()
    with torch.no_grad():
        output = network(batch.inputs(torch.device("cpu")))
    assert losses[-1] < 0.1 * losses[0]
    assert pck(output.heatmaps, keypoints(batch)) == 100
    assert pck(output.distribution.heatmaps, keypoints(batch)) > 80  # from one vector per picture: later


def test_bfloat16_stays_finite_and_near_float32(batch):
    network, losses = trained(batch, 6, torch.bfloat16)
    _, precise = trained(batch, 6, torch.float32)
    assert np.isfinite(losses).all()
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in network.parameters())
    np.testing.assert_allclose(losses, precise, rtol=0.05)
    assert losses[-1] < losses[0]
