r"""
Title: Notebooks from their sources, run from start to end
Author: the keras_coconut developers
Date created: 2026/11/27
Description: Check and run the notebooks, or write them with their outputs.

`make notebooks` runs each notebook on two backends, with the smaller constants
of `SHRUNK`, without network. It compares each `.ipynb` with its source, too:

    python examples/make_notebooks.py
    python examples/make_notebooks.py first_look prosqa --backends torch jax

The sources are examples/notebooks/*.py, in jupytext's percent format. After a
change, run a notebook as it is and write its outputs:

    python examples/make_notebooks.py first_look --write

`--sources` updates text and comments, or the address of the repository, without
running it. `--files FOLDER` copies what a notebook finds in its folder, such
as models that it has trained before.
"""

import argparse
import ast
import concurrent.futures
import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import jupytext
import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "notebooks"
# The address of the repository on GitHub, which Colab opens and pip installs.
REPOSITORY = "OWNER/keras_coconut"
BADGE = (
    "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    f"(https://colab.research.google.com/github/{REPOSITORY}/blob/main/"
    "examples/notebooks/{name}.ipynb)\n\n"
)
# Without extras: Colab's own Keras, KerasHub and backends stay as they are.
INSTALL = (
    f'%pip install -q "keras_coconut @ git+https://github.com/{REPOSITORY}"'
)
# What `make notebooks` changes in each: lines that stand there exactly once.
SHRUNK = {
    "first_look": {
        "EPOCHS_OF_STAGES = [2, 1, 2, 3]": "EPOCHS_OF_STAGES = [1, 1, 1, 1]",
        "STEPS_PER_EPOCH = 120": "STEPS_PER_EPOCH = 4",
        "TEST_PROBLEMS = 500": "TEST_PROBLEMS = 20",
    },
    "prosqa": {
        "EPOCHS_OF_STAGES = [25, 20, 12, 12, 11]": (
            "EPOCHS_OF_STAGES = [1, 1, 1, 1, 1]"
        ),
        "STEPS_PER_EPOCH = 100": "STEPS_PER_EPOCH = 2",
        "TRAIN_PROBLEMS, TEST_PROBLEMS = 50_000, 500": (
            "TRAIN_PROBLEMS, TEST_PROBLEMS = 200, 24"
        ),
        "PAIRS = 200": "PAIRS = 4",
    },
    "gsm8k": {
        "PROBLEMS = 48": "PROBLEMS = 16",
        "TEST_PROBLEMS = 16": "TEST_PROBLEMS = 8",
        "MAX_LENGTH = 48": "MAX_LENGTH = 8",
    },
    "backends": {
        "STEPS = 100": "STEPS = 4",
        "LAYERS, HIDDEN = 4, 256": "LAYERS, HIDDEN = 1, 16",
    },
    "devices": {"STEPS = 40": "STEPS = 8"},
    "own_data": {
        "EPOCHS_OF_STAGES = [2, 1, 2, 2]": "EPOCHS_OF_STAGES = [1, 1, 1, 1]",
        "STEPS_PER_EPOCH = 100": "STEPS_PER_EPOCH = 4",
        "TEST_PROBLEMS = 500": "TEST_PROBLEMS = 20",
        "ROWS = 20_000": "ROWS = 600",
    },
    "report_card": {
        "EPOCHS_OF_STAGES = [2, 1, 2, 3]": "EPOCHS_OF_STAGES = [1, 1, 1, 1]",
        "STEPS_PER_EPOCH = 120": "STEPS_PER_EPOCH = 4",
        "TEST_PROBLEMS = 300": "TEST_PROBLEMS = 200",
        "PAIRS = 100": "PAIRS = 4",
    },
}
# What stands for files that a notebook downloads; see notebook_stand_ins.py.
OFFLINE = {
    "gsm8k": {
        'PRESET = "hf://HuggingFaceTB/SmolLM2-135M"': 'PRESET = "preset"',
        "splits = kc.load_gsm8k()": 'splits = kc.load_gsm8k(folder="gsm8k")',
    },
}
# Each on PyTorch, and one more.
BACKENDS = {
    "first_look": ["torch", "jax"],
    "prosqa": ["torch", "jax"],
    "gsm8k": ["torch", "tensorflow"],
    "backends": ["torch", "jax"],
    "devices": ["torch", "jax"],
    "own_data": ["torch", "tensorflow"],
    "report_card": ["torch", "jax"],
}
_CHOICE = re.compile(r'^os\.environ\["KERAS_BACKEND"\] = "\w+"$', re.M)
# The longest that a cell may take, in seconds.
PATIENCE = {False: 600, True: 7200}


def read_source(name: str):
    """Returns a notebook without outputs, with its badge and its first cell."""
    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    header, *cells = notebook.cells
    header.source = BADGE.format(name=name) + header.source
    install = nbformat.v4.new_code_cell(INSTALL)
    notebook.cells = [header, install, *cells]
    for number, cell in enumerate(notebook.cells):
        # Stable: jupytext draws new ones each time.
        cell.id, cell.metadata = f"cell-{number}", {}
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    return notebook


def changed(notebook, changes: dict[str, str]):
    """Returns a copy with other lines.

    Raises:
        ValueError: If a line does not stand in exactly one cell, once.
    """
    notebook = copy.deepcopy(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for old, new in changes.items():
        lines = [cell.source.split("\n") for cell in code]
        places = [
            (cell, at)
            for cell, inside in enumerate(lines)
            for at, line in enumerate(inside)
            if line == old
        ]
        if len(places) != 1:
            raise ValueError(
                "A line that is replaced must stand in a notebook exactly "
                f"once. Received: {old!r}, which stands there {len(places)} "
                "times"
            )
        ((cell, at),) = places
        lines[cell][at] = new
        code[cell].source = "\n".join(lines[cell])
    return notebook


def changes_of(name: str, backend: str | None) -> dict[str, str]:
    """Returns the lines to replace; for a `backend`, also smaller constants."""
    changes = {INSTALL: "", **OFFLINE.get(name, {})}
    if backend is not None:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        (own,) = _CHOICE.findall(text)
        changes[own] = f'os.environ["KERAS_BACKEND"] = "{backend}"'
        changes.update(SHRUNK[name])
    return changes


def run(name: str, backend: str | None, files: pathlib.Path | None = None):
    """Runs a notebook in a folder of its own and returns it with its outputs.

    Args:
        name: string, a key of `SHRUNK`.
        backend: string. `None` runs it as it is, on its own backend.
        files: path. A folder whose content it finds in its own. Optional.
    """
    source = read_source(name)
    notebook = changed(source, changes_of(name, backend))
    with tempfile.TemporaryDirectory() as folder:
        if files is not None:
            shutil.copytree(files, folder, dirs_exist_ok=True)
        elif name in OFFLINE:
            subprocess.run(
                [sys.executable, HERE / "notebook_stand_ins.py", folder],
                check=True,
                env={**os.environ, "KERAS_BACKEND": backend or "torch"},
            )
        nbclient.NotebookClient(
            notebook,
            timeout=PATIENCE[backend is None],
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()
    for cell, executed in zip(source.cells, notebook.cells, strict=True):
        if cell.cell_type == "code":
            check_picture(executed)
            cell.outputs = shown(executed.outputs)
            cell.execution_count = executed.execution_count
    return source


def shown(outputs) -> list:
    """Returns outputs without stderr, with consecutive lines as one.

    On stderr, other packages write paths and devices of this machine.
    """
    found = []
    for output in outputs:
        if output.output_type != "stream":
            found.append(output)
        elif output.name == "stdout":
            if found and found[-1].output_type == "stream":
                found[-1].text += output.text
            else:
                found.append(output)
    return found


def check_picture(cell):
    """Raises a `ValueError` for a cell that draws and shows no picture."""
    last = cell.source.split("\n")[-1]
    kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
    if last.startswith("kc.plot_") and "image/png" not in kinds:
        raise ValueError(
            f"A plot at the end of a cell must be shown. Received: {last!r}, "
            f"and outputs of the kinds {kinds}"
        )


def differences(name: str) -> list[str]:
    """Says where a written notebook is not its source with outputs."""
    path = FOLDER / f"{name}.ipynb"
    if not path.exists():
        return [f"{path.name} has not been written"]
    written, source = nbformat.read(path, as_version=4), read_source(name)
    if [cell.source for cell in written.cells] != [
        cell.source for cell in source.cells
    ]:
        return [f"{path.name} is not what {name}.py says"]
    return [
        f"{path.name}: cell {number} holds an error, or has not been run"
        for number, cell in enumerate(written.cells)
        if cell.cell_type == "code"
        and cell.source != INSTALL
        and (
            cell.execution_count is None
            or any(output.output_type == "error" for output in cell.outputs)
        )
    ]


def write(name: str, files: pathlib.Path | None):
    """Runs a notebook as it is and writes it with its outputs."""
    start = time.perf_counter()
    notebook = run(name, None, files)
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")
    print(f"{name}.ipynb written, {time.perf_counter() - start:.0f} s")


def write_source(name: str) -> str:
    """Updates the text and the comments of a notebook and keeps its outputs.

    Returns:
        What is wrong, or an empty string. A notebook with another program
        stays as it is: the outputs would not be its own.
    """
    path = FOLDER / f"{name}.ipynb"
    if not path.exists():
        return f"{path.name} has not been written: write it with --write"
    source = read_source(name)
    cells = [cell for cell in source.cells if cell.cell_type == "code"]
    written = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    # The first cell installs the library; it has no outputs.
    if programs(cells[1:]) != programs(written[1:]):
        return (
            "Only text and comments of a notebook may change without running "
            f"it. Received: {path.name} with other code than {name}.py; write "
            "it with --write"
        )
    for cell, run_before in zip(cells, written, strict=True):
        cell.outputs = run_before.outputs
        cell.execution_count = run_before.execution_count
    nbformat.write(source, path)
    print(f"{path.name} written, with the outputs that it had")
    return ""


def programs(cells) -> list[str]:
    """Returns what cells do, without comments and layout."""
    return [program(cell.source) for cell in cells]


def program(source: str) -> str:
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:
        # With a magic command, which is not Python.
        return source


def check(name: str, backend: str) -> list[str]:
    """Runs a notebook with small constants; returns what went wrong."""
    start, wrong = time.perf_counter(), []
    try:
        run(name, backend)
    except (
        nbclient.exceptions.CellExecutionError,
        TimeoutError,
        ValueError,
        # A kernel that died, or stand-ins that could not be made.
        RuntimeError,
        subprocess.CalledProcessError,
    ) as error:
        wrong = [f"{name} on {backend}: {error}"]
    seconds = time.perf_counter() - start
    outcome = "failed" if wrong else "ran"
    print(f"{name} on {backend} {outcome}, {seconds:.0f} s", flush=True)
    return wrong


def processes(text: str) -> int:
    """Reads a number of processes, or `auto`: as many as there are cores."""
    count = (os.cpu_count() or 1) if text == "auto" else int(text)
    if count < 1:
        raise ValueError(f"expected at least 1. Received: {count}")
    return count


def main():
    parser = argparse.ArgumentParser(description="Runs the notebooks.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SHRUNK)}")
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=["tensorflow", "jax", "torch"],
        help="for all notebooks, in place of two for each",
    )
    parser.add_argument(
        "--processes",
        type=processes,
        default=2,
        metavar="N",
        help="processes at a time; `auto`: one per core",
    )
    parser.add_argument("--write", action="store_true", help="as they are")
    parser.add_argument(
        "--sources",
        action="store_true",
        help="update text and comments without a run",
    )
    parser.add_argument("--files", type=pathlib.Path, help="for --write")
    given = parser.parse_args()
    sources = {path.stem for path in FOLDER.glob("*.py")}
    if sources != set(SHRUNK):
        parser.error(f"SHRUNK must name the sources: {sorted(sources)}")
    names = given.names or list(SHRUNK)
    for name in names:
        if name not in SHRUNK:
            parser.error(f"a name must be one of {list(SHRUNK)}, not {name!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.write and given.sources:
        parser.error("--write runs a notebook and --sources does not")
    if given.files and not given.write:
        parser.error("--files needs --write")
    for name in names:
        if given.write and name in OFFLINE and not given.files:
            parser.error(
                f"--write of {name} needs --files with {OFFLINE[name]}"
            )
    if given.write:
        for name in names:
            write(name, given.files)
        return
    if given.sources:
        sys.exit("\n".join(filter(None, map(write_source, names))) or None)
    # Several run at a time, and their threads would compete for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Programs that run a few times: optimizing them takes longer.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 "
        "--xla_cpu_use_fusion_emitters=false",
    )
    wrong = [line for name in names for line in differences(name)]
    with concurrent.futures.ThreadPoolExecutor(given.processes) as pool:
        runs = [
            pool.submit(check, name, backend)
            for name in names
            for backend in (given.backends or BACKENDS[name])
        ]
        for each in runs:
            wrong += each.result()
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
