"""Non-maximum suppression once more, slowly: every box against every surer one that counts, straight from the words."""


def overlap(a, b):
    """Intersection over union of two boxes (xyxy)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def suppress(boxes, score, max_overlap):
    """Indices of the boxes that count, the surest first."""
    kept = []
    for index in sorted(range(len(score)), key=lambda i: (-score[i], i)):
        if all(overlap(boxes[index], boxes[other]) <= max_overlap for other in kept):
            kept.append(index)
    return kept
