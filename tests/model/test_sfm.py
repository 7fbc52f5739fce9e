"""Spatial fusion: weights that sum to 1, the axis of the local softmax, and slow twins."""

import itertools
import math

import pytest
import torch
from torch import nn

from sadinet.model.sfm import ClassificationHead, GlobalAttention, LocalAttention, PooledHead

from ..reference import sfm as slow

CHANNELS = (3, 5, 6, 7)


def taps(batch: int = 2, size: tuple[int, int] = (16, 24)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, c, size[0] >> i, size[1] >> i, generator=generator) for i, c in enumerate(CHANNELS)]


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_weights_are_shares_of_the_levels_at_every_pixel(upsampling):
    attention = GlobalAttention(CHANNELS, features=4, upsampling=upsampling)
    equal, weights = attention.weights(taps())
    assert [tuple(level.shape) for level in equal] == [(2, 4, 16, 24)] * 4
    assert weights.shape == (2, 4, 16, 24)
    assert weights.min() > 0
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 16, 24))
    assert weights.std() > 0.01


def test_coarse_levels_are_repeated_or_interpolated():
    nearest, _ = GlobalAttention(CHANNELS, features=4, upsampling="nearest").weights(taps())
    block = nearest[3].view(2, 4, 2, 8, 3, 8)
    assert torch.equal(block, block[:, :, :, :1, :, :1].expand_as(block))
    smooth, _ = GlobalAttention(CHANNELS, features=4, upsampling="bilinear").weights(taps())
    assert len(smooth[3][0, 0].unique()) > 6


@pytest.mark.parametrize("kind", ["sum", "level"])
@pytest.mark.parametrize("residual", [False, True])
def test_every_output_has_the_shape_of_its_tap(kind, residual):
    attention = GlobalAttention(CHANNELS, features=4, kind=kind, residual=residual).eval()
    maps = attention(taps())
    assert [m.shape for m in maps] == [t.shape for t in taps()]
    plain = GlobalAttention(CHANNELS, features=4, kind=kind).eval()
    plain.load_state_dict(attention.state_dict())
    for y, base, tap in zip(maps, plain(taps()), taps(), strict=True):
        torch.testing.assert_close(y, base + tap if residual else base)


def test_the_weighted_sum_matches_the_slow_twin():
    attention = GlobalAttention(CHANNELS, features=4).double().eval()
    attention.restore = nn.ModuleList(nn.Identity() for _ in CHANNELS)
    features = [t.double() for t in taps(1, (8, 16))]
    equal, _ = attention.weights(features)
    projections = [(p.weight.flatten().tolist(), p.bias.item()) for p in attention.project]
    expected = torch.tensor(slow.global_sum([level[0].tolist() for level in equal], projections), dtype=torch.float64)
    for fused in attention(features):  # every output is made of the same sum
        torch.testing.assert_close(fused[0], expected, atol=1e-6, rtol=1e-6)  # the softmax runs in float32


def test_per_level_outputs_see_their_own_level_weighted():
    attention = GlobalAttention(CHANNELS, features=4, kind="level").eval()
    attention.restore = nn.ModuleList(nn.Identity() for _ in CHANNELS)
    equal, weights = attention.weights(taps())
    for i, fused in enumerate(attention(taps())):
        torch.testing.assert_close(fused, equal[i] * weights[:, i, None])


@pytest.mark.parametrize("kind", ["col", "row", "hw", "chan"])
def test_local_attention_matches_the_slow_twin(kind):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    y = LocalAttention(kind)(x)
    for b in range(2):
        expected = torch.tensor(slow.local(x[b].tolist(), kind), dtype=torch.float64)
        torch.testing.assert_close(y[b], expected, atol=1e-6, rtol=1e-6)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(LocalAttention(kind)(channels_last), y)


@pytest.mark.parametrize(("kind", "count", "dims"), [("col", 4, 2), ("row", 5, 3), ("hw", 20, (2, 3)), ("chan", 3, 1)])
def test_the_mean_local_weight_is_one_unless_told_otherwise(kind, count, dims):
    x = torch.randn(2, 3, 4, 5)
    weights = LocalAttention(kind)(x) / x
    torch.testing.assert_close(weights.mean(dims), torch.ones_like(weights.mean(dims)))
    plain = LocalAttention(kind, rescale=False)(x)
    torch.testing.assert_close(plain * count, LocalAttention(kind)(x))


def test_columns_run_downwards():
    """One bright row of six: seen down each column it wins, seen along itself it is flat."""
    x = torch.zeros(1, 1, 6, 4)
    x[0, 0, 2] = 3.0
    down = LocalAttention("col")(x)[0, 0]
    share = math.exp(3) / (math.exp(3) + 5)
    torch.testing.assert_close(down[2], torch.full((4,), 3 * 6 * share))
    torch.testing.assert_close(LocalAttention("row")(x)[0, 0, 2], torch.full((4,), 3.0))
    assert torch.equal(LocalAttention("none")(x), x)


def test_local_attention_keeps_a_low_precision_type():
    x = torch.randn(2, 3, 4, 5).bfloat16()
    assert LocalAttention("col")(x).dtype == torch.bfloat16


@pytest.mark.parametrize("local", ["col", "none"])
def test_the_head_is_the_chain_of_the_text(local):
    widths = (8, 12, 16, 20)
    head = ClassificationHead(CHANNELS, widths=widths, outputs=9, local=local, rescale=True).eval()
    maps = taps()
    y = head.increase[0](maps[0])
    for i in (1, 2, 3):
        y = LocalAttention(local)(head.increase[i](maps[i]) + head.reduce[i - 1](y))
        assert y.shape == (2, widths[i], 16 >> i, 24 >> i)
    vector = head(maps)
    assert vector.shape == (2, 9)
    torch.testing.assert_close(vector, head.final(y).mean((2, 3)))
    assert [r[0].in_channels for r in head.reduce] == [a for a, _ in itertools.pairwise(widths)]


def test_the_pooled_head_sees_means_only():
    head = PooledHead(CHANNELS, outputs=9)
    maps = taps()
    shuffled = [m.flatten(2)[:, :, torch.randperm(m[0, 0].numel())].view_as(m) for m in maps]
    torch.testing.assert_close(head(maps), head(shuffled))
    assert head(maps).shape == (2, 9)
    assert head(maps).min() >= 0
