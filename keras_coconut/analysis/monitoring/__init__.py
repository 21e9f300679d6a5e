"""Figures during training: the callback, and files for TensorBoard."""
