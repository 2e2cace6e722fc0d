"""An exported file needs nothing but ONNX Runtime: python plain_onnxruntime.py model.int8.onnx picture.jpg map.png"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
picture = np.asarray(Image.open(sys.argv[2]).convert("RGB"))  # (H, W, 3) uint8, any size
(classmap,) = session.run(["classmap"], {"image": picture[None]})  # (1, H, W) uint8
Image.fromarray(classmap[0]).save(sys.argv[3])
