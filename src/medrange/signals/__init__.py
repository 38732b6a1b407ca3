"""HyperSpy signal classes: axes, metadata and chunk mapping around the kernels."""
