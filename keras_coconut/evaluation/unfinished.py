"""What an evaluation has finished that is broken off: an equal call goes on.

It lasts as long as the process. A results file lasts longer; see journal.py.
"""

import contextlib
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from keras_coconut.evaluation.made_by import weights_hash
from keras_coconut.execution import replicas
from keras_coconut.progress import Progress

# What is kept in all. The oldest responses are forgotten first.
_MOST_BYTES = 40_000_000
# Of the objects that hold the responses of one evaluation.
_BYTES_APART = 2_000


class Memory:
    """The finished responses of an evaluation that may be broken off.

    It is used like a `Journal`, and keeps what it is given if the whole work,
    of which the evaluation may be a part, is not finished.

    Args:
        model: the `ContinuousThoughtLM` that answers.
        describe: function of the hash of the weights that returns what the
            responses depend on. `None` if none may be used again.

    Attributes:
        responses: dictionary. The token ids of each response, by its number.
        seconds: float. The time that they took.
    """

    # Nothing outlasts the process.
    place = "this process keeps what is done"

    def __init__(self, model, describe: Callable[[str], Mapping] | None):
        self.responses: dict[int, list[int]] = {}
        self.seconds = 0.0
        if replicas.num_processes() > 1:
            # They may be broken off at different responses.
            describe = None
        self._describe, self._model = describe, model
        self._progress: Progress | None = None
        # The two hashes of a `_Kept`, once they are known.
        self._made_by: tuple[str, str] | None = None
        with _lock:
            earlier = _kept[::-1]
        if describe is None or not earlier:
            return
        # The hash of the weights takes the longest: first the rest.
        about = weights = None
        with contextlib.suppress(ValueError):
            about = _about(describe)
        for kept in earlier:
            if kept.made_by[0] == about:
                weights = weights or weights_hash(model)
                if kept.made_by[1] == weights:
                    self._made_by = kept.made_by
                    self.responses = kept.responses()
                    self.seconds = kept.seconds
                    return

    @property
    def continues(self) -> bool:
        """Whether an equal call goes on with these responses."""
        if self._made_by is not None:
            return True
        if self._describe is None:
            return False
        try:
            self._describe("")
        except ValueError:  # Of a sampler with odd settings.
            return False
        return True

    def belongs_to(self, progress: Progress) -> None:
        """Keeps the responses if this work, or the whole of it, fails."""
        self._progress = progress

    def __enter__(self):
        self._last = time.perf_counter()
        return self

    def add(self, row: int, tokens: list[int]) -> None:
        """Takes a response down."""
        self.responses[row] = tokens
        self._count()

    def __exit__(self, kind, error, trace):
        self._count()
        if self._progress is None or not self.responses:
            return
        whole = self._progress.whole
        if kind is None and whole is self._progress:
            # It is finished, unless its last line cannot be shown.
            whole.when_ended(self._end)
            return
        # At once: when the whole ends, the model may be another one.
        try:
            self._settle()
        except KeyboardInterrupt:
            # A second Ctrl-C does not wait for the hash.
            if kind is None:
                self._settle()
            raise
        finally:
            if self._made_by is None:
                self._describe = None
            else:
                # The whole holds neither the model nor its thoughts.
                whole.when_ended(self._pack(self._made_by).end)

    def close(self) -> None:
        """Does what a `Journal` does with its file: nothing."""

    remove = close

    def _end(self, finished):
        """Does what `_Kept.end` does, and hashes no weights in vain."""
        if not finished:
            self._settle()
        if self._made_by is not None:
            self._pack(self._made_by).end(finished)

    def _settle(self):
        """Finds out what the responses were made by, if it can be told."""
        if self._made_by is None and self._describe is not None:
            # An error of a device may come again: the first one is reported.
            with contextlib.suppress(Exception):
                about = _about(self._describe)
                self._made_by = about, weights_hash(self._model)

    def _pack(self, made_by):
        return _Kept(made_by, self.responses, self.seconds)

    def _count(self):
        last, self._last = self._last, time.perf_counter()
        self.seconds += self._last - last


def _about(describe):
    """Returns a hash of all that responses depend on but the weights."""
    text = json.dumps(describe(""), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Kept:
    """The responses of a `Memory`, in few bytes.

    Args:
        made_by: tuple of two hashes, of the weights and, before it, of all
            else that the responses depend on.
        responses, seconds: those of the `Memory`.
    """

    def __init__(self, made_by, responses, seconds):
        self.made_by, self.seconds = made_by, seconds
        # An object for each response would take more than its tokens.
        lengths = list(map(len, responses.values()))
        tokens = itertools.chain.from_iterable(responses.values())
        self._rows = np.array(list(responses), "int32")
        self._lengths = np.array(lengths, "int32")
        self._tokens = np.fromiter(map(int, tokens), "int32", sum(lengths))

    @property
    def size(self):
        """The number of bytes, at most."""
        arrays = self._rows, self._lengths, self._tokens
        return sum(array.nbytes for array in arrays) + _BYTES_APART

    def responses(self):
        tokens = iter(self._tokens.tolist())
        return {
            row: list(itertools.islice(tokens, length))
            for row, length in zip(self._rows.tolist(), self._lengths.tolist())
        }

    def end(self, finished):
        """Forgets the responses of finished work, and keeps the others.

        What an earlier call or another thread has left of the same work is
        replaced; of what is kept the most responses stay.
        """
        with _lock:
            others, equal = [], []
            for kept in _kept:
                same = kept.made_by == self.made_by
                (equal if same else others).append(kept)
            if not finished:
                others.append(
                    max([self, *equal], key=lambda kept: len(kept._rows))
                )
            while sum(kept.size for kept in others) > _MOST_BYTES:
                del others[0]
            _kept[:] = others


# Several threads may evaluate at once.
_lock = threading.Lock()
_kept: list[_Kept] = []


def forget() -> None:
    """Forgets all responses that are kept."""
    with _lock:
        _kept.clear()


def explain(
    error: KeyboardInterrupt, progress: Progress, memory, partial, answered
) -> None:
    """Gives an interruption the results so far, and says where they stay.

    It stays a `KeyboardInterrupt`: with another class a program would end with
    another status, and a shell would go on with its script.

    Args:
        error: the `KeyboardInterrupt`, raised again by the caller.
        progress: the open `Progress` of the work.
        memory: the `Memory` or the `Journal` of the work.
        partial: the results so far, or `None`.
        answered: sequence of the indices of the problems that they are about.
    """
    vars(error).update(partial=partial, answered=tuple(answered))
    whole = progress.whole
    text = f"{whole.name}: {whole.done} of {whole.total} {whole.unit} are done"
    if whole.done and memory.continues:
        text += f", and an equal call goes on from there: {memory.place}"
    if whole.done:
        text += (
            ". The error's `partial` holds the results so far; a notebook has "
            "the error in `sys.last_value`"
        )
    error.args = (text,)


@contextlib.contextmanager
def part_of(found: dict, name, complete: Callable = lambda part, _: part):
    """Adds results of other parts to those of an interrupted part.

    Args:
        found: dictionary of the results of the parts that are finished.
        name: the key of the part that runs.
        complete: function of the part's results and the indices of their
            problems that returns what `found` would hold.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        partial, answered = dict(found), getattr(error, "answered", ())
        # Of a part that itself has parts, earlier ones may be finished.
        part = vars(error).get("partial")
        if part is not None:
            partial[name] = complete(part, answered)
        vars(error).update(partial=partial or None, answered=answered)
        raise
