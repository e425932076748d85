"""Models: where they are, how they are fetched, verified and converted to ONNX."""
