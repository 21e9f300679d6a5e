r"""Runs the benchmarks on every installed backend; prints a table, then JSON.

    python -m benchmarks --preset base
    python -m benchmarks --preset small --backends jax,torch --measures train
    python -m benchmarks --preset base \
        --official ~/coconut --official_python ~/coconut/.venv/bin/python

Each measurement runs in a process of its own with its `KERAS_BACKEND`, one at a
time. Beside each figure stands the baseline: the same backbone reading as many
tokens once, teacher-forced, with logits on the response only.

A measurement that fails stands in the table as failed. The others go on, and
the exit status at the end is 1.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

from absl import flags
from command_line import refuse_arguments, run

from benchmarks import command
from benchmarks.bars import bars, draw
from benchmarks.report import describe, describe_official

FLAGS = flags.FLAGS


def run_worker(backend, spec):
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    worker = [sys.executable, "-m", "benchmarks.worker", json.dumps(spec)]
    return last_line(worker, environment)


def last_line(arguments, environment=()):
    """Runs a measuring process; returns its result, or how it failed."""
    environment = {**os.environ, **dict(environment)}
    if FLAGS.keep_memory:
        environment["MALLOC_MMAP_MAX_"] = "0"
        environment["MALLOC_TRIM_THRESHOLD_"] = str(2**40)
    finished = subprocess.run(
        arguments, env=environment, capture_output=True, text=True
    )
    if finished.returncode < 0:
        # Without a word: killed for its memory, for example.
        killer = signal.Signals(-finished.returncode).name
        return {"error": f"the process was killed by {killer}"}
    errors = finished.stderr.strip().splitlines()
    if finished.returncode:
        status = f"the process ended with status {finished.returncode}"
        return {"error": errors[-1] if errors else status}
    try:
        return json.loads(finished.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": "the process printed no result"}


def measure(backend, mode, what, shape):
    spec = {
        "what": what,
        "shape": dataclasses.asdict(shape),
        "mode": mode,
        "rounds": FLAGS.rounds,
        "steps": FLAGS.steps,
        "engines": FLAGS.engines,
    }
    if what == "generate":
        spec["tokens"] = FLAGS.tokens
    if what != "memory":
        return run_worker(backend, spec)
    # Peaks of two processes, each of which did nothing else.
    result = {}
    for which in ("baseline", "coconut"):
        spec["rematerialize"] = FLAGS.rematerialize
        found = run_worker(backend, {**spec, "which": which})
        if "error" in found:
            return found
        result.update(found)
        result[which] = result.pop("peak")
    return result


def measure_official(shape):
    spec = {
        "shape": dataclasses.asdict(shape),
        "rounds": FLAGS.rounds,
        "tokens": FLAGS.tokens,
        "measures": FLAGS.measures,
    }
    script = str(pathlib.Path(__file__).with_name("official.py"))
    return last_line(
        [FLAGS.official_python, script, FLAGS.official, json.dumps(spec)]
    )


def main(argv):
    refuse_arguments(argv)
    shape = command.chosen_shape()
    pairs = command.chosen_pairs()
    command.check_flags()
    print(f"{FLAGS.preset}: {shape}", flush=True)
    results = []
    for what in FLAGS.measures:
        for backend, mode in pairs:
            result = measure(backend, mode, what, shape)
            text, found = describe(what, result)
            print(f"{what:9}{backend:11}{mode:6}{text}", flush=True)
            results.append(
                {
                    "what": what,
                    "backend": backend,
                    "mode": mode,
                    "of_baseline": found,
                    **result,
                }
            )
    if FLAGS.official:
        result = measure_official(shape)
        print("\n".join(describe_official(result)), flush=True)
        results.append({"what": "official", **result})
    report = {
        "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
        "shape": dataclasses.asdict(shape),
        "results": results,
    }
    if FLAGS.json:
        pathlib.Path(FLAGS.json).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report), flush=True)
    ratios = bars(results)
    if FLAGS.plot and ratios:
        draw(ratios, FLAGS.plot)
    failed = sum("error" in result for result in results)
    if failed:
        sys.exit(f"benchmarks: {failed} of {len(results)} measurements failed")


if __name__ == "__main__":
    run(main)
