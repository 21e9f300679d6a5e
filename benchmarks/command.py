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
from command_line import check_new_file, check_packages
from flag_sections import Section, expect, expect_some_of, given

from benchmarks.shapes import DTYPES, FAMILIES, PRESETS, Shape
from benchmarks.specs import (
    MEASURES,
    MODES,
    OFFICIAL_MEASURES,
    UNNAMED_MODES,
    WITH_FLOOR,
    check_installed,
    check_sizes,
)

FLAGS = flags.FLAGS
_SIZES = {
    "layers": "Layers",
    "hidden": "Hidden size",
    "heads": "Heads",
    "vocabulary": "Tokens",
    "family": "Family of the backbone",
    "key_value_heads": "Heads of keys and values of a Llama",
    "intermediate": "Width of the feed-forward layers",
    "batch": "Rows of a batch",
    "question": "Positions of the longest question",
    "padding": "Share of left padding in the shortest question",
    "thoughts": "Thoughts",
    "iterations": "Times that all thoughts are computed at once, or 0",
    "response": "Positions of a response",
    "dtype": "Type of the computation",
}
_CHOICES = {"dtype": DTYPES, "family": FAMILIES}
_MODES = tuple(dict.fromkeys(mode for of in MODES.values() for mode in of))

measured = Section("What is measured")
measured.several("measures", ["train"], f"Some of {', '.join(MEASURES)}.")
measured.several(
    "backends",
    [],
    f"Some of {', '.join(MODES)}; all that are installed if unset.",
)
measured.several(
    "modes",
    [],
    "Some of eager and compile (PyTorch), graph (TensorFlow) and xla; all but "
    "compile that apply if unset.",
)
measured.switch("rematerialize", False, "With the measure memory.")
measured.switch(
    "engines", True, "Whether keras_coconut.engines serves, for both models."
)
measured.count("tokens", 16, "With the measure generate: tokens to generate.")

sizes = Section("Sizes")
sizes.choice("preset", "small", sorted(PRESETS), "All sizes at once.")
for _field in dataclasses.fields(Shape):
    _help = f"{_SIZES[_field.name]}, instead of the preset's."
    if _field.name in _CHOICES:
        sizes.choice(_field.name, None, _CHOICES[_field.name], _help)
    elif _field.type is float:
        sizes.number(_field.name, None, _help, least=0, below=1)
    else:
        # `Shape` knows what is too small.
        sizes.count(_field.name, None, _help, least=None)

repeated = Section("How often")
repeated.count("rounds", 5, "Times that each figure is taken.")
repeated.count("steps", 2, "Training steps in a round.")
repeated.switch(
    "keep_memory",
    False,
    "Tell glibc to keep memory that is freed, in all processes alike. On some "
    "virtual machines fresh memory takes ten times as long from one minute to "
    "the next. Not for the measure memory.",
)

official = Section("The authors' code")
official.text(
    "official", None, "A checkout of facebookresearch/coconut.", value="FOLDER"
)
official.text(
    "official_python", sys.executable, "Its interpreter.", value="FILE"
)

output = Section("Output")
output.text("json", None, "File for the results.", value="FILE")
output.text(
    "plot", None, "PNG file for the ratios to the baseline.", value="FILE"
)
output.switch("overwrite", False, "Replace the files of --json and --plot.")

expect_some_of("backends", tuple(MODES))
expect_some_of("modes", _MODES)
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
        for mode in FLAGS.modes or UNNAMED_MODES[backend]
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
    if given(["tokens"]) and "generate" not in measures:
        raise app.UsageError(
            "--tokens is for --measures=generate only. Received: "
            f"--measures={','.join(FLAGS.measures)}"
        )
    if FLAGS.official:
        check_official(measures)
    elif given(["official_python"]):
        raise app.UsageError("--official_python needs --official")
    if FLAGS.json:
        check_new_file("--json", FLAGS.json, ".json", FLAGS.overwrite)
    if FLAGS.plot:
        check_new_file("--plot", FLAGS.plot, ".png", FLAGS.overwrite)
        check_packages(["matplotlib"], "--plot")
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
    if chosen_shape().family != "gpt2":
        raise app.UsageError(
            "--official needs --family=gpt2: the authors' code is measured "
            f"with a GPT-2. Received: --family={chosen_shape().family}"
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
