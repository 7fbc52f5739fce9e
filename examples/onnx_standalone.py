"""An exported network without sadinet: numpy, Pillow and onnxruntime are enough.

    sadinet export lsp-t lsp-t.onnx --decode
    python onnx_standalone.py lsp-t.onnx photo.jpg        one person, who fills the picture

Prints one line of JSON: x and y [pixels of the picture, 0-based, integers are centres] and score of every keypoint.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, picture = sys.argv[1:] or ("lsp-t.onnx", "photo.jpg")
told = json.loads(Path(model).with_suffix(".json").read_text())
names, size = told["reading"]["skeleton"]["keypoints"], told["reading"]["input_size"]

image = ImageOps.exif_transpose(Image.open(picture)).convert("RGB")
side = max(image.size)  # of the square that is shown to the network, here around the whole picture
left, top = ((image.width - side) / 2, (image.height - side) / 2)  # its corner, counted from the picture's corner
step = side / size
whole = max(1, int(step))  # of a large picture first means of whole * whole pixels, so that nothing aliases
look = np.array([step, 0, left, 0, step, top]) / whole
shrunk = image.reduce(whole).transform((size, size), Image.Transform.AFFINE, tuple(look), Image.Resampling.BILINEAR)

session = onnxruntime.InferenceSession(model)
images = np.asarray(shrunk, np.uint8)[None]  # (1, size, size, 3) RGB: no further preparation
batch = session.get_inputs()[0].shape[0]
images = np.repeat(images, batch if isinstance(batch, int) else 1, axis=0)
xy, score = (answer[0] for answer in session.run(["xy", "score"], {"images": images}))

xy = (xy + 0.5) * step + (left, top) - 0.5  # pixels of the crop to pixels of the picture
print(json.dumps({n: [round(float(v), 2) for v in (*p, s)] for n, p, s in zip(names, xy, score, strict=True)}))
