"""Who is where: boxes, a detector, the same person from frame to frame, keypoints without tremor."""
