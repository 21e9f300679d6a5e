"""Layers on PyTorch without padding.

Apart from attention, a layer computes each position separately. So the real
positions of all rows can be joined into one row, and padding takes no time.
Shapes then depend on the values of the mask, which rules out a compiler, and on
an accelerator means a wait for the device.
"""


class Packed:
    """The real positions of a span in one row; see `latent.forward.Padded`."""

    def __init__(self, mask):
        self.shape = mask.shape
        self.index = mask.flatten().nonzero().squeeze(1)

    def pack(self, x):
        return x.flatten(0, 1).index_select(0, self.index)[None]

    def spread(self, x):
        rows, length = self.shape
        spread = x.new_zeros((rows * length, *x.shape[2:]))
        spread = spread.index_copy(0, self.index, x[0])
        return spread.unflatten(0, (rows, length))
