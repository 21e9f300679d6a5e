"""One measurement in a fresh process; prints one line of JSON.

KERAS_BACKEND=jax python -m benchmarks.worker '{"what": "train", "shape":
    {"layers": 2}, "mode": "xla", "rounds": 5, "steps": 2}'

`generate` needs `tokens` as well, and `memory` needs `which`, baseline or
coconut, and takes `rematerialize`. All take `engines`. Sizes that are left out
are those of `Shape`.
"""

import json
import os
import sys

from benchmarks.specs import read_spec


def main(arguments):
    try:
        if len(arguments) != 1:
            raise ValueError(
                "expected one argument, an object in JSON. Received: "
                f"{len(arguments)} arguments"
            )
        what, shape, rest = read_spec(
            json.loads(arguments[0]), os.environ.get("KERAS_BACKEND")
        )
    except ValueError as error:
        sys.exit(f"benchmarks.worker: {error}")
    # Here and not above: Keras takes seconds to import.
    from benchmarks import measures
    from keras_coconut import engines

    engines.enabled = rest.pop("engines", True)
    result = measures.MEASURES[what](shape, **rest)
    result["versions"] = measures.versions()
    result["device"] = measures.device()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
