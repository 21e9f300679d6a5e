"""Runs the benchmarks on every installed backend; prints a table, then JSON.

    python -m benchmarks --preset base
    python -m benchmarks --preset small --backends jax,torch --measures train
    python -m benchmarks --preset base \
        --official ~/coconut --official_python ~/coconut/.venv/bin/python

Each measurement runs in a process of its own with its `KERAS_BACKEND`, one at a
time. Beside each figure stands the floor: the same backbone reading as many
tokens once, teacher-forced, with logits on the response only.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys

from absl import app, flags

from benchmarks import plot
from benchmarks.shapes import PRESETS, Shape

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "small", sorted(PRESETS), "Sizes to measure.")
for _field in dataclasses.fields(Shape):
    _define = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }[_field.type]
    _define(_field.name, None, f"Instead of the preset's {_field.name}.")
flags.DEFINE_list("backends", [], "Backends; all that are installed if empty.")
flags.DEFINE_list(
    "modes", [], "eager, graph (TensorFlow), xla; those that apply if empty."
)
flags.DEFINE_list(
    "measures", ["train"], "train, growth, generate, compile, memory."
)
flags.DEFINE_bool("rematerialize", False, "For the measure of memory.")
flags.DEFINE_bool(
    "keep_memory",
    False,
    "Tell glibc to keep memory that is freed, in all processes alike. On some "
    "virtual machines fresh memory takes ten times as long from one minute to "
    "the next. Not for the measure of memory.",
)
flags.DEFINE_integer("rounds", 5, "Times that each figure is taken.")
flags.DEFINE_integer("steps", 2, "Training steps in a round.")
flags.DEFINE_integer("tokens", 16, "Tokens to generate.")
flags.DEFINE_string("official", None, "A checkout of facebookresearch/coconut.")
flags.DEFINE_string("official_python", sys.executable, "Its interpreter.")
flags.DEFINE_string("json", None, "File for the results.")
flags.DEFINE_string("plot", None, "PNG file for the ratios to the floor.")

# JAX always compiles; PyTorch's compiler takes minutes here and is left out.
MODES = {
    "tensorflow": ("graph", "xla"),
    "jax": ("xla",),
    "torch": ("eager",),
}


def run_worker(backend, spec):
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(spec)]
    return last_line(command, environment)


def last_line(command, environment=()):
    environment = {**os.environ, **dict(environment)}
    if FLAGS.keep_memory:
        environment["MALLOC_MMAP_MAX_"] = "0"
        environment["MALLOC_TRIM_THRESHOLD_"] = str(2**40)
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True
    )
    if finished.returncode:
        return {"error": finished.stderr.strip().splitlines()[-1]}
    return json.loads(finished.stdout.splitlines()[-1])


def middle(values):
    """Median and range, as text."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.3g} s ({low:.3g}-{high:.3g})"


def ratio(values, others):
    return statistics.median(values) / statistics.median(others)


def describe(what, result):
    """One line for people, and the ratio to the floor if there is one."""
    if "error" in result:
        return f"failed: {result['error']}", None
    if what == "train":
        found = ratio(result["coconut"], result["floor"])
        return (
            f"{middle(result['coconut'])} a step, floor "
            f"{middle(result['floor'])}: {found:.2f} of the floor"
        ), found
    if what == "compile":
        found = sum(result["stages"]) / result["floor"]
        stages = " + ".join(f"{seconds:.1f}" for seconds in result["stages"])
        return (
            f"{stages} = {sum(result['stages']):.1f} s, floor "
            f"{result['floor']:.1f} s: {found:.2f} of the floor"
        ), found
    if what == "growth":
        medians = {
            int(thoughts): statistics.median(taken)
            for thoughts, taken in result["coconut"].items()
        }
        most = max(medians)
        found = (medians[most] / medians[0] - 1) / most
        steps = ", ".join(f"{k}: {v:.3g} s" for k, v in medians.items())
        return f"{steps}: {100 * found:.2f}% of the first a thought", None
    if what == "memory":
        found = result["coconut"] / result["floor"]
        return (
            f"{result['coconut'] / 2**30:.2f} GiB, floor "
            f"{result['floor'] / 2**30:.2f} GiB: {found:.2f} of the floor"
        ), found
    return f"{middle(result['coconut'])} a question", None


def measure(backend, mode, what, shape):
    spec = {
        "what": what,
        "shape": dataclasses.asdict(shape),
        "mode": mode,
        "rounds": FLAGS.rounds,
        "steps": FLAGS.steps,
    }
    if what == "generate":
        spec["tokens"] = FLAGS.tokens
    if what != "memory":
        return run_worker(backend, spec)
    # Peaks of two processes, each of which did nothing else.
    result = {}
    for which in ("floor", "coconut"):
        spec["rematerialize"] = FLAGS.rematerialize
        found = run_worker(backend, {**spec, "which": which})
        if "error" in found:
            return found
        result.update(found)
        result[which] = result.pop("peak")
    return result


def main(_):
    shape = dataclasses.replace(
        PRESETS[FLAGS.preset],
        **{
            field.name: FLAGS[field.name].value
            for field in dataclasses.fields(Shape)
            if FLAGS[field.name].value is not None
        },
    )
    print(f"{FLAGS.preset}: {shape}", flush=True)
    backends = FLAGS.backends or [
        backend for backend in MODES if importlib.util.find_spec(backend)
    ]
    results = []
    for what in FLAGS.measures:
        for backend in backends:
            for mode in FLAGS.modes or MODES[backend]:
                if mode not in MODES[backend]:
                    continue
                result = measure(backend, mode, what, shape)
                text, found = describe(what, result)
                print(f"{what:9}{backend:11}{mode:6}{text}", flush=True)
                results.append(
                    {
                        "what": what,
                        "backend": backend,
                        "mode": mode,
                        "of_floor": found,
                        **result,
                    }
                )
    if FLAGS.official:
        spec = {
            "shape": dataclasses.asdict(shape),
            "rounds": FLAGS.rounds,
            "tokens": FLAGS.tokens,
            "measures": FLAGS.measures,
        }
        script = str(pathlib.Path(__file__).with_name("official.py"))
        result = last_line(
            [FLAGS.official_python, script, FLAGS.official, json.dumps(spec)]
        )
        if "error" in result:
            print(f"official: failed: {result['error']}")
        else:
            for name, unit in (("train", "step"), ("generate", "question")):
                if name in result:
                    print(f"official: {middle(result[name])} a {unit}")
            if "peak" in result:
                print(f"official: {result['peak'] / 2**30:.2f} GiB")
        results.append({"what": "official", **result})
    if FLAGS.plot:
        plot.draw(plot.bars(results), FLAGS.plot)
    report = {
        "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
        "shape": dataclasses.asdict(shape),
        "results": results,
    }
    if FLAGS.json:
        pathlib.Path(FLAGS.json).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    app.run(main)
