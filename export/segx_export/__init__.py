"""Turns a finished run into measured, compressed ONNX files: see export.py for the way through."""
