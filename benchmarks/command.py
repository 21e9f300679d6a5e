"""The flags of `python -m benchmarks`, and what goes together.

Nothing here imports Keras: what is wrong is said at once.
"""

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys

from absl import app, flags

from benchmarks.flag_checks import check_new_file, expect, expect_some_of
from benchmarks.shapes import DTYPES, PRESETS, Shape
from benchmarks.specs import (
    MEASURES,
    MODES,
    OFFICIAL_MEASURES,
    WITH_FLOOR,
    check_installed,
    check_sizes,
)

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "small", sorted(PRESETS), "Sizes to measure.")
for _field in dataclasses.fields(Shape):
    _help = f"Instead of the preset's {_field.name}."
    if _field.name == "dtype":
        flags.DEFINE_enum("dtype", None, DTYPES, _help)
    else:
        _define = {int: flags.DEFINE_integer, float: flags.DEFINE_float}
        _define[_field.type](_field.name, None, _help)
flags.DEFINE_list("backends", [], "Backends; all that are installed if empty.")
flags.DEFINE_list(
    "modes", [], "eager, graph (TensorFlow), xla; those that apply if empty."
)
flags.DEFINE_list("measures", ["train"], f"Some of {', '.join(MEASURES)}.")
flags.DEFINE_bool("rematerialize", False, "For the measure of memory.")
flags.DEFINE_bool(
    "engines", True, "Whether keras_coconut.engines serves, for both models."
)
flags.DEFINE_bool(
    "keep_memory",
    False,
    "Tell glibc to keep memory that is freed, in all processes alike. On some "
    "virtual machines fresh memory takes ten times as long from one minute to "
    "the next. Not for the measure of memory.",
)
flags.DEFINE_integer(
    "rounds", 5, "Times that each figure is taken.", lower_bound=1
)
flags.DEFINE_integer("steps", 2, "Training steps in a round.", lower_bound=1)
flags.DEFINE_integer("tokens", 16, "Tokens to generate.", lower_bound=1)
flags.DEFINE_string("official", None, "A checkout of facebookresearch/coconut.")
flags.DEFINE_string("official_python", sys.executable, "Its interpreter.")
flags.DEFINE_string("json", None, "File for the results.")
flags.DEFINE_string("plot", None, "PNG file for the ratios to the baseline.")
flags.DEFINE_bool("overwrite", False, "Replace the files of --json and --plot.")

expect_some_of("backends", tuple(MODES))
expect_some_of(
    "modes", tuple(dict.fromkeys(mode for of in MODES.values() for mode in of))
)
expect_some_of("measures", MEASURES)
expect("measures", bool, "at least one measure")
expect(
    "official",
    lambda folder: os.path.isfile(os.path.join(folder, "coconut.py")),
    "a folder that holds coconut.py of facebookresearch/coconut",
)
expect(
    "official_python",
    lambda path: shutil.which(path) is not None,
    "an interpreter that can be run",
)


def chosen_shape() -> Shape:
    """Returns the preset's sizes with those of the flags in their place."""
    changes = {
        field.name: FLAGS[field.name].value
        for field in dataclasses.fields(Shape)
        if FLAGS[field.name].value is not None
    }
    try:
        shape = dataclasses.replace(PRESETS[FLAGS.preset], **changes)
        for measure in FLAGS.measures:
            check_sizes(shape, measure, FLAGS.tokens)
    except ValueError as error:
        raise app.UsageError(str(error)) from None
    return shape


def chosen_pairs() -> list[tuple[str, str]]:
    """Returns the backends and modes to measure, each with each that it has.

    Raises:
        app.UsageError: If a backend is not installed, or if a backend or a
            mode that was asked for would not be measured at all.
    """
    for backend in FLAGS.backends:
        try:
            check_installed(backend)
        except ValueError as error:
            raise app.UsageError(f"--backends: {error}") from None
    backends = FLAGS.backends or [
        backend for backend in MODES if importlib.util.find_spec(backend)
    ]
    pairs = [
        (backend, mode)
        for backend in backends
        for mode in FLAGS.modes or MODES[backend]
        if mode in MODES[backend]
    ]
    for flag, chosen, found in (
        ("backends", FLAGS.backends, {backend for backend, _ in pairs}),
        ("modes", FLAGS.modes, {mode for _, mode in pairs}),
    ):
        left_out = [name for name in chosen if name not in found]
        if left_out:
            modes = "; ".join(
                f"{backend} has {' and '.join(MODES[backend])}"
                for backend in backends
            )
            raise app.UsageError(
                f"--{flag}: {left_out[0]} does not go with the other flags "
                f"({modes}). Received: --backends={','.join(backends)} "
                f"--modes={','.join(FLAGS.modes)}"
            )
    if not pairs:
        raise app.UsageError(
            "--backends: expected at least one installed backend of "
            f"{', '.join(MODES)}. Received: none is installed"
        )
    return pairs


def check_flags() -> None:
    """Raises a `UsageError` for flags that are ignored or fail later."""
    measures = set(FLAGS.measures)
    if FLAGS.rematerialize and "memory" not in measures:
        raise app.UsageError(
            "--rematerialize is for --measures=memory only. Received: "
            f"--measures={','.join(FLAGS.measures)}"
        )
    if FLAGS.keep_memory and "memory" in measures:
        raise app.UsageError(
            "--keep_memory must be left out with --measures=memory, whose "
            "figures it would change"
        )
    if FLAGS["tokens"].present and "generate" not in measures:
        raise app.UsageError(
            "--tokens is for --measures=generate only. Received: "
            f"--measures={','.join(FLAGS.measures)}"
        )
    if FLAGS.official:
        check_official(measures)
    elif FLAGS["official_python"].present:
        raise app.UsageError("--official_python needs --official")
    if FLAGS.json:
        check_new_file("--json", FLAGS.json, ".json", FLAGS.overwrite)
    if FLAGS.plot:
        check_new_file("--plot", FLAGS.plot, ".png", FLAGS.overwrite)
        if importlib.util.find_spec("matplotlib") is None:
            raise app.UsageError("--plot needs matplotlib, which is missing")
        if not measures & set(WITH_FLOOR):
            raise app.UsageError(
                f"--plot needs one of the measures {', '.join(WITH_FLOOR)}. "
                f"Received: --measures={','.join(FLAGS.measures)}"
            )


def check_official(measures) -> None:
    """Raises a `UsageError` unless the authors' code can be measured."""
    if not measures & set(OFFICIAL_MEASURES):
        raise app.UsageError(
            "--official needs one of the measures "
            f"{', '.join(OFFICIAL_MEASURES)}. Received: "
            f"--measures={','.join(FLAGS.measures)}"
        )
    code = (
        "import importlib.util as u, sys; "
        "sys.exit(not all(map(u.find_spec, ('torch', 'transformers'))))"
    )
    if subprocess.run(
        [FLAGS.official_python, "-c", code], check=False
    ).returncode:
        raise app.UsageError(
            "--official_python must be an interpreter that has torch and "
            f"transformers. Received: {FLAGS.official_python}"
        )
