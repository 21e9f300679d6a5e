r"""
Title: The paper's table in one command
Author: the keras_coconut developers
Date created: 2026/11/24
Description: Train and test the eight methods of Coconut's Table 1.

All eight rows on arithmetic, about 40 minutes on two CPU cores:

    python examples/reproduce_table.py --backend jax --processes 2 \
        --dataset arithmetic --scale tiny --seeds 0,1,2

The paper's ProsQA rows with a pretrained GPT-2 and the published problems, on a
GPU:

    python examples/reproduce_table.py --backend jax --dataset prosqa \
        --scale paper --folder data --methods coconut,cot,no_cot

Every run is a process of its own in a folder of its own; what is finished is
not done again, and what was interrupted resumes. Beside each accuracy stand its
controls: the same model without thoughts, with noise in their place, with those
of another problem, with their mean, and others (see `evaluate_controls`).
"""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import time

from absl import app, flags
from command_line import (
    BACKENDS,
    DRIVEN,
    METHODS,
    MOST_SEED,
    blame,
    check_backend,
    check_packages,
    refuse_arguments,
    run,
)
from flag_sections import Section, expect, expect_counts, expect_some_of
from output_folder import (
    check_can_be_made,
    check_folder,
    claim_folder,
    only_one,
    read_json,
)
from table_values import parse_change

FLAGS = flags.FLAGS

rows = Section("Rows of the table")
rows.several(
    "methods", list(METHODS), f"Methods: some of {', '.join(METHODS)}."
)
rows.several(
    "seeds",
    ["0", "1", "2"],
    "Random seed of the weights and of the order of problems.",
)

recipe = Section("Data and recipe")
recipe.choice(
    "dataset",
    "arithmetic",
    ["arithmetic", "gsm8k_aug", "prontoqa", "prosqa", "prosqa_symbolic"],
    "The problems.",
)
recipe.choice(
    "scale",
    "tiny",
    ["tiny", "small", "cpu", "paper"],
    "Sizes of the model and of its training.",
)
recipe.text(
    "folder",
    None,
    "Folder of the published files, which are read instead of making problems.",
    value="FOLDER",
)
recipe.repeated(
    "change",
    "Another value in the recipe or its curriculum, such as learning_rate=3e-4 "
    "or epochs_per_stage=2; see table_recipes.py. May be given several times.",
    value="NAME=VALUE",
)

running = Section("How it runs")
running.choice("backend", None, BACKENDS, "KERAS_BACKEND if unset.")
running.count("processes", 1, "Runs at a time, each on cores of its own.")

output = Section("Output")
output.text(
    "output",
    None,
    "Folder of the runs and of the table; runs/DATASET-SCALE if unset.",
    value="FOLDER",
)

expect("methods", bool, "at least one method")
expect_some_of("methods", METHODS)
expect_counts("seeds", most=MOST_SEED)
expect("folder", os.path.isdir, "a folder that exists")
expect("output", bool, "a folder")

RUN = pathlib.Path(__file__).with_name("table_run.py")


def parse_changes():
    """Returns what `--change` says, as a dictionary."""
    with blame("--change"):
        changes = [parse_change(change) for change in FLAGS.change]
        names = [name for name, _ in changes]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each name once. Received: {names}")
    return dict(changes)


def check_recipe(changes):
    """Returns the recipe with what is changed in it.

    Raises:
        app.UsageError: If a run would fail later: there is no such recipe, a
            change does not fit, or files are missing.
    """
    # Here and not above: Keras, which comes along, takes seconds to import.
    from table_recipes import change_recipe, check_last_stage, find_recipe

    from keras_coconut.datasets.published import PUBLISHED
    from keras_coconut.datasets.registry import DATASETS

    with blame("--dataset, --scale"):
        recipe = find_recipe(FLAGS.dataset, FLAGS.scale)
    with blame("--change"):
        recipe = change_recipe(recipe, changes)
        for method in FLAGS.methods:
            check_last_stage(recipe, method)
    if FLAGS.folder is not None:
        if FLAGS.dataset not in PUBLISHED:
            raise app.UsageError(
                f"--folder must be left out with --dataset={FLAGS.dataset}, "
                f"which has no published files. Received: {FLAGS.folder}"
            )
        if "data" in changes:
            raise app.UsageError(
                "--change=data is for problems that are made, and must be left "
                f"out with --folder. Received: --folder={FLAGS.folder}"
            )
        published = PUBLISHED[FLAGS.dataset]
        for split in (published.train, published.validation, published.test):
            if not (pathlib.Path(FLAGS.folder) / split.name).is_file():
                raise app.UsageError(
                    f"--folder must hold {split.name}. Received: {FLAGS.folder}"
                )
    elif FLAGS.dataset in DATASETS:
        with blame("--change=data", TypeError):
            # The same arguments, for one problem.
            one = {"train": 1, "validation": 0, "test": 0}
            DATASETS[FLAGS.dataset](**{**recipe.data, **one})
    elif "data" in changes:
        raise app.UsageError(
            f"--change=data must be left out with --dataset={FLAGS.dataset}, "
            f"which is read as published. Received: {changes['data']}"
        )
    return recipe


def run_all(folder, runs, backend):
    """Runs what is not finished, some at a time; returns what failed."""
    waiting = [run for run in runs if not result_path(folder, run).exists()]
    print(f"{len(runs)} runs, {len(waiting)} to do, in {folder}", flush=True)
    environment = {**os.environ, "KERAS_BACKEND": backend, DRIVEN: "1"}
    cores = cores_of_processes(FLAGS.processes)
    running, failed, start = {}, [], time.perf_counter()
    while waiting or running:
        while waiting and cores:
            run, own = waiting.pop(0), cores.pop()
            log = open(folder / f"{name(run)}.log", "a")
            process = subprocess.Popen(
                [sys.executable, "-u", str(RUN), str(folder), *map(str, run)],
                env=environment,
                # It ends when this script does, and the pipe with it.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Not known on Windows, which has no cores to share out here.
                preexec_fn=own
                and functools.partial(os.sched_setaffinity, 0, own),
            )
            running[run] = (process, own, log)
        for run, (process, own, log) in list(running.items()):
            if process.poll() is None:
                continue
            log.close()
            del running[run]
            cores.append(own)
            if process.returncode:
                failed.append(run)
                print(f"{name(run)} failed: see {log.name}", flush=True)
                continue
            result = read_result(folder, run)
            print(
                f"{name(run):22} {result['test']['accuracy']:7.1%} in "
                f"{result['seconds']:.0f} s, {len(waiting)} waiting, "
                f"{time.perf_counter() - start:.0f} s so far",
                flush=True,
            )
        time.sleep(0.5)
    return failed


def cores_of_processes(processes):
    """Shares the cores among so many processes."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * processes
    every = sorted(os.sched_getaffinity(0))
    return [every[i::processes] or every for i in range(processes)]


def name(run):
    method, seed = run
    return f"{method}-{seed}"


def result_path(folder, run):
    return folder / name(run) / "result.json"


def read_result(folder, run):
    """Returns a run's result; an error names a damaged file."""
    path = result_path(folder, run)
    result = read_json(path)
    if not isinstance(result, dict) or not {"test", "controls"} <= set(result):
        raise app.UsageError(
            f"{path} must be the result of a run. Received: something else; "
            "without this file the run is done again"
        )
    return result


def main(argv):
    refuse_arguments(argv)
    check_packages(("matplotlib", "scipy"), "the table and its plot")
    backend = check_backend(FLAGS.backend)
    # Keras is imported below, and the backend it would take may be missing.
    os.environ["KERAS_BACKEND"] = backend
    seeds = [int(seed) for seed in FLAGS.seeds]
    folder = pathlib.Path(FLAGS.output or f"runs/{FLAGS.dataset}-{FLAGS.scale}")
    check_can_be_made(folder)
    changes = parse_changes()
    recipe = check_recipe(changes)
    configuration = {
        "dataset": FLAGS.dataset,
        "scale": FLAGS.scale,
        "folder": FLAGS.folder,
        "changes": changes,
        "backend": backend,
        # As JSON gives it back.
        "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
    }
    runs = [(method, seed) for seed in seeds for method in FLAGS.methods]
    check_folder(folder, configuration)
    with only_one(folder, pathlib.Path(__file__).name):
        # Once more: another table may have begun there since.
        if check_folder(folder, configuration):
            for each in runs:
                if result_path(folder, each).exists():
                    read_result(folder, each)
        else:
            claim_folder(folder, configuration)
        failed = run_all(folder, runs, backend)
        show_results(folder, seeds, failed)
    if failed:
        sys.exit(f"{len(failed)} runs failed: {', '.join(map(name, failed))}")


def show_results(folder, seeds, failed):
    """Shows the results of all runs but for those that failed."""
    results = {}
    for method in FLAGS.methods:
        of_seeds = [
            read_result(folder, (method, seed))
            for seed in seeds
            if (method, seed) not in failed
        ]
        if of_seeds:
            results[method] = of_seeds
    if results:
        show(results, folder)


def show(results, folder):
    """Prints the table and its tests, and keeps them beside the plot."""
    from table_report import plot, print_pairs, print_table, table_rows

    from keras_coconut.files import write_whole

    text = print_table(table_rows(results, FLAGS.dataset))
    lines = print_pairs(results)
    table, picture = folder / "table.md", folder / "table.png"
    write_whole(table, "\n".join([text, "", *lines, ""]))
    plot(results, FLAGS.dataset, picture)
    print(f"\ntable: {table}   plot: {picture}")


if __name__ == "__main__":
    run(main)
