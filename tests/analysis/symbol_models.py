"""Models in symbols, made by hand: only their thoughts count."""

import keras_hub
import numpy as np
import tiny

import keras_coconut
from keras_coconut.datasets.prosqa import load_prosqa, symbolic_words

NODES = 20
DIM = 32
# Of a node's embedding: large, so that the best token takes it all.
SIZE = 8.0


def symbol_model(layers=1, by_hand=True, **kwargs):
    """A model that says what its last thought holds.

    Its layers add nothing, so that the logit of a node is the inner product of
    its embedding, one number that is not 0, and of the last thought after the
    final norm. Without `by_hand` it is a model of random weights.
    """
    tokenizer = keras_coconut.make_word_tokenizer(symbolic_words(NODES))
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer, separator="", markers=False
    )
    backbone = keras_hub.models.GPT2Backbone(
        tokenizer.vocabulary_size(), layers, 2, DIM, 2 * DIM, 0.0, 256
    )
    random = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        if not by_hand:
            variable.assign(random.normal(0, 0.3, variable.shape))
        elif not variable.path.endswith("gamma"):
            variable.assign(np.zeros(variable.shape))
    model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor, **kwargs)
    if by_hand:
        table = np.zeros((tokenizer.vocabulary_size(), DIM), "float32")
        for node in range(NODES):
            table[tokenizer.token_to_id(f"<{node}>")] = embedding(f"<{node}>")
        backbone.token_embedding.embeddings.assign(table)
    return tiny.compiled(model)


def embedding(symbol: str) -> np.ndarray:
    """The embedding of a node in a model made by hand."""
    vector = np.zeros(DIM, "float32")
    vector[int(symbol[1:-1])] = SIZE
    return vector


def holding(symbols) -> np.ndarray:
    """A thought that holds nodes: the sum of their embeddings."""
    return np.sum([embedding(symbol) for symbol in symbols], axis=0)


def symbol_problems(count, seed=0, **kwargs):
    """Problems in symbols, each of at least two steps."""
    return load_prosqa(
        train=0,
        validation=0,
        test=count,
        seed=seed,
        symbolic=True,
        **{"num_nodes": NODES, "min_steps": 2, "max_steps": 4, **kwargs},
    ).test
