"""How a training step runs on each backend."""
