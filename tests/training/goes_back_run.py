"""A run whose weights are ruined once, and which goes back; as JSON.

    torchrun --nproc_per_node=2 tests/training/goes_back_run.py FOLDER

`test_health_monitor.py` compares it with the undisturbed run of one process.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parent))


def main(folder):
    import test_health_monitor as tests

    import keras_coconut

    with keras_coconut.distribute() as devices:
        watch = tests.monitor("go_back", rate_factor=1, skip_batches=False)
        _, history = tests.train(
            tests.Poison(tests.to_nan, 8),
            monitor=watch,
            folder=folder,
            made=tests.make(dropout=0.0),
        )
    found = {"process": devices.process, "returns": watch.num_returns}
    # At once: lines of several processes must not mix.
    sys.stdout.write(json.dumps({**found, **history.history}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
