"""Poses on two free photographs that come with scikit-image: draws them and prints where everything is."""

import json
from pathlib import Path

from skimage import data

import sadinet

PHOTOGRAPHS = {
    "photographer": (data.camera(), [[0.0, 60.0, 335.0, 511.0]]),  # grey, 512 x 512; a box around the man
    "astronaut": (data.astronaut(), None),  # no box: the person fills the picture
}


def main(out: Path = Path("demo")) -> None:
    estimator = sadinet.load()
    for name, (photograph, boxes) in PHOTOGRAPHS.items():
        image = sadinet.read_image(photograph)
        poses = estimator.predict(image, boxes)
        picture, answer = out / f"{name}.jpg", out / f"{name}.json"
        out.mkdir(parents=True, exist_ok=True)
        sadinet.write_image(sadinet.draw_poses(image, poses), picture)
        answer.write_text(json.dumps(poses.to_json(), indent=1) + "\n")
        print(f"{name}: drawn in {picture}, keypoints in {answer}")


if __name__ == "__main__":
    main()
