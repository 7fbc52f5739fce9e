"""The smoothers once more, slowly: one keypoint, one coordinate or one fit at a time."""

import numpy as np


def one_euro(points, times, size, min_cutoff, beta, speed_cutoff):
    """One sure keypoint ``[(x, y), ...]`` through the 1€ filter, as in its paper, with one speed for x and y."""

    def gain(cutoff, passed):
        return 1 / (1 + 1 / (2 * np.pi * cutoff) / passed)

    x, y = points[0]
    u = v = 0.0
    out = [(x, y)]
    for before, now, t0, t1 in zip(points, points[1:], times, times[1:], strict=False):
        a = gain(speed_cutoff, t1 - t0)
        u = a * (now[0] - before[0]) / (t1 - t0) / size + (1 - a) * u
        v = a * (now[1] - before[1]) / (t1 - t0) / size + (1 - a) * v
        b = gain(min_cutoff + beta * np.sqrt(u**2 + v**2), t1 - t0)
        x, y = b * now[0] + (1 - b) * x, b * now[1] + (1 - b) * y
        out.append((x, y))
    return np.array(out)


def smooth_track(xy, score, times, width):
    """Every keypoint at every time by a weighted least-squares fit of its own."""
    out = np.full(xy.shape, np.nan)
    for t, k in np.ndindex(xy.shape[:2]):
        if np.isnan(xy[t, k]).any():
            continue
        near = [i for i in range(len(times)) if abs(times[i] - times[t]) <= 3 * width and not np.isnan(xy[i, k]).any()]
        if len(near) == 1:
            out[t, k] = xy[t, k]
            continue
        root = np.sqrt([score[i, k] * np.exp(-(((times[i] - times[t]) / width) ** 2) / 2) for i in near])
        line = np.stack([np.ones(len(near)), (times[near] - times[t]) / width], 1)
        for c in (0, 1):
            out[t, k, c] = np.linalg.lstsq(line * root[:, None], xy[near, k, c] * root, rcond=None)[0][0]
    return out
