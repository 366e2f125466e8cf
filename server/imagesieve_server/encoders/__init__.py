"""The image and text encoders: model bundles, ONNX Runtime and the batcher.

May not live here: policies, verdicts, image codecs, anything of torch.
"""
