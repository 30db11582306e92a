"""A bundle in the formats that other programs run: an ONNX file, a MONAI Bundle."""
