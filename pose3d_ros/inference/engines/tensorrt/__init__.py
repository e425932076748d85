"""TensorRT: building, running and memory."""
