"""Networks as ONNX: the graph, small numbers, the file and its check."""
