"""Batches prepared ahead by threads or processes, within one epoch.

Keras' own workers run into the next epochs before a callback has set their
stage: they would fetch batches of the old stage.
"""

import concurrent.futures.process
import warnings


class Prefetcher:
    """Gets the batches of a `VaryingBatches`, in order, from its workers.

    A context manager, which ends the workers.

    Args:
        dataset: a `VaryingBatches`. With `workers` of 1 and no
            `use_multiprocessing` its batches are made as they are asked for.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        # Threads or processes, started when the first batch is asked for.
        self._executor, self._ended = None, False
        self._state, self._coming = None, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended = True
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
        self._coming.clear()

    def __call__(self, index):
        """Returns the batch `index` of the epoch in which the dataset is."""
        dataset = self._dataset
        if dataset.workers <= 1 and not dataset.use_multiprocessing:
            return dataset[index]
        if self._ended:
            # TensorFlow reads ahead in its own thread, even outside a `fit`.
            raise RuntimeError("the workers of this dataset have ended")
        if self._executor is None:
            self._executor = _start(dataset)
        state = dataset.state
        if state != self._state:
            # What an epoch that ended early has left.
            self._state, self._coming = state, {}
        ahead = max(dataset.max_queue_size, dataset.workers)
        for coming in range(index, min(index + ahead, len(dataset))):
            if coming not in self._coming:
                self._coming[coming] = self._executor.submit(
                    *self._job(state, coming)
                )
        try:
            return self._coming.pop(index).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise RuntimeError(
                f"a worker process of the dataset ended before it had made "
                f"batch {index}: the system may have stopped it for its memory "
                "(`workers` says how many there are)"
            ) from error

    def _job(self, state, index):
        if self._dataset.use_multiprocessing:
            return _make_in_process, state, index
        return self._dataset.__getitem__, index


def _start(dataset):
    workers = max(dataset.workers, 1)
    if not dataset.use_multiprocessing:
        return concurrent.futures.ThreadPoolExecutor(workers)
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, initializer=_receive, initargs=(dataset,)
    )
    with warnings.catch_warnings():
        # JAX warns of every fork, for the sake of programs that go on to use
        # it. These compute with NumPy alone.
        warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)
        executor.submit(int).result()
    return executor


# In a worker process, the dataset that it makes batches of.
_received = None


def _receive(dataset):
    global _received
    _received = dataset


def _make_in_process(state, index):
    if _received.state != state:
        _received.state = state
    return _received[index]
