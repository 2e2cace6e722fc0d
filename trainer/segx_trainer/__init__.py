"""Fits networks: data in, a run folder out. Knows nothing of ONNX, quantization or serving."""
