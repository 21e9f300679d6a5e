"""One model, several threads: what each gets is what it would get alone."""

import threading

import numpy as np
import tiny
from keras import ops

THREADS, CALLS = 4, 40


def in_threads(function, arguments):
    """Calls a function in threads that begin at once; returns the results."""
    results = [None] * len(arguments)
    together = threading.Barrier(len(arguments))

    def run(index):
        together.wait()
        try:
            results[index] = function(*arguments[index])
        except Exception as error:
            results[index] = error

    threads = [
        threading.Thread(target=run, args=(index,))
        for index in range(len(arguments))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def make_model():
    return tiny.compiled(tiny.text_model(layers=2, longest=192))


# Of several lengths, and so of several programs.
ASKED = [
    ("start 1, +1" + "x" * (32 * (i % 3)), i % 3, 4 + i % 2) for i in range(6)
]


def ask(model, question, num_thoughts, max_length):
    (tokens,) = model.generate_tokens(
        [question], num_thoughts=num_thoughts, max_length=max_length
    )
    return tokens


def test_generation():
    """First calls at once, many calls, and one thread alone afterwards."""
    alone = make_model()
    expected = [ask(alone, *asked) for asked in ASKED]
    model = make_model()

    def many(first):
        order = [(first + i) % len(ASKED) for i in range(CALLS)]
        return [i for i in order if ask(model, *ASKED[i]) != expected[i]]

    assert in_threads(many, [(i,) for i in range(THREADS)]) == [[]] * THREADS
    assert [ask(model, *asked) for asked in ASKED] == expected


def test_thoughts():
    alone = make_model()
    expected = [alone.think([q], k) for q, k, _ in ASKED]
    model = make_model()

    def many(first):
        found = []
        for i in range(12):
            at = (first + i) % len(ASKED)
            question, count, _ = ASKED[at]
            thoughts = model.think([question], count)
            found.append(np.abs(thoughts - expected[at]).max(initial=0))
        return max(found)

    for worst in in_threads(many, [(i,) for i in range(THREADS)]):
        assert worst < 1e-5


def test_calls():
    """A plain call of the model takes no lock."""
    model = make_model()
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    expected = ops.convert_to_numpy(model(x))

    def many():
        return max(
            np.abs(ops.convert_to_numpy(model(x)) - expected).max()
            for _ in range(5)
        )

    for worst in in_threads(many, [()] * THREADS):
        assert worst < 1e-5
