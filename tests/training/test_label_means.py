"""The loss of an evaluation, whatever its batches."""

import numpy as np
import tiny

import keras_coconut


def test_evaluation_is_the_mean_over_labels(text_model):
    """Rows that fill the last batch up weigh nothing, whatever the batches."""
    problems = tiny.problems(9)
    curriculum = keras_coconut.Curriculum(1)
    found = [
        text_model.evaluate(
            problems, batch_size=size, curriculum=curriculum, verbose=0
        )
        for size in (9, 8, 2)
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5)
