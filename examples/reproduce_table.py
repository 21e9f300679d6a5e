"""
Title: The paper's table in one command
Author: the keras_coconut developers
Date created: 2026/11/24
Description: Train and test the eight methods of Coconut's Table 1.

A smoke run of all eight rows, minutes on a CPU:

    python examples/reproduce_table.py --backend jax \
        --dataset arithmetic --scale tiny --seeds 0,1,2

The paper's ProsQA rows with a pretrained GPT-2, on a GPU:

    python examples/reproduce_table.py --backend jax \
        --dataset prosqa --scale paper --methods coconut,cot,no_cot

Every run is a process of its own in a folder of its own; what is finished is
not done again, and what was broken off goes on. Beside each accuracy stand its
controls: the same model without thoughts, with noise in their place, with those
of another problem, and with their mean.
"""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
from statistics import mean

from absl import app, flags
from table_recipes import PAPER, RECIPES, change_recipe, find_recipe

from keras_coconut.evaluation.statistics import mcnemar, mean_interval
from keras_coconut.files import write_whole
from keras_coconut.methods import METHODS

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "dataset", "arithmetic", sorted({d for d, _ in RECIPES}), "Dataset."
)
flags.DEFINE_enum(
    "scale", "tiny", ["tiny", "small", "cpu", "paper"], "Sizes and recipe."
)
flags.DEFINE_list("methods", list(METHODS), "Rows of the table.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of weights and order.")
flags.DEFINE_string("backend", None, "Keras backend; KERAS_BACKEND if unset.")
flags.DEFINE_string("folder", None, "Published files, to read them instead.")
flags.DEFINE_string("output", None, "Folder; runs/DATASET-SCALE if unset.")
flags.DEFINE_integer("processes", 1, "Runs at a time, each on its own cores.")
flags.DEFINE_multi_string(
    "change",
    [],
    "NAME=VALUE, another value in the recipe or its curriculum, such as "
    "learning_rate=3e-4 or epochs_per_stage=2; see table_recipes.py.",
)

RUN = pathlib.Path(__file__).with_name("table_run.py")
CONTROLS = {
    "none": "no thoughts",
    "noise": "noise for thoughts",
    "other": "another problem's thoughts",
    "mean": "the mean thought",
}


def parse_change(text):
    """Returns the name and the value of NAME=VALUE."""
    key, equals, value = text.partition("=")
    if not equals:
        raise app.UsageError(f"--change must be NAME=VALUE. Received: {text}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def claim_folder(folder, configuration):
    """Makes the folder, or makes sure that it is of this configuration."""
    path = folder / "configuration.json"
    if path.exists():
        other = json.loads(path.read_text(encoding="utf-8"))
        wrong = [k for k in configuration if other.get(k) != configuration[k]]
        if wrong:
            raise app.UsageError(
                f"--output must be a new folder or one of the same "
                f"configuration. Received {folder}, made with "
                f"{wrong[0]}={other.get(wrong[0])!r} and not "
                f"{configuration[wrong[0]]!r}"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise app.UsageError(
            f"--output must be a new folder or one of an earlier table. "
            f"Received {folder}, which holds something else"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(configuration, indent=1))


def run_all(folder, runs):
    """Runs what is not finished, some at a time; returns what failed."""
    waiting = [
        run for run in runs if not (folder / name(run) / "result.json").exists()
    ]
    print(f"{len(runs)} runs, {len(waiting)} to do, in {folder}", flush=True)
    environment = dict(os.environ)
    if FLAGS.backend:
        environment["KERAS_BACKEND"] = FLAGS.backend
    cores = cores_of_processes(FLAGS.processes)
    running, failed, start = {}, [], time.perf_counter()
    while waiting or running:
        while waiting and cores:
            run, own = waiting.pop(0), cores.pop()
            log = open(folder / f"{name(run)}.log", "a")
            process = subprocess.Popen(
                [sys.executable, "-u", str(RUN), str(folder), *map(str, run)],
                env=environment,
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


def read_result(folder, run):
    path = folder / name(run) / "result.json"
    return json.loads(path.read_text(encoding="utf-8"))


def percent(values):
    found = mean_interval([100 * value for value in values])
    if len(values) == 1:
        return f"{found.mean:.1f}"
    return f"{found.mean:.1f} ± {found.margin:.1f}"


def table_rows(results, dataset):
    """One row a method: figures as text, in the table's order."""
    rows = []
    for method, of_seeds in results.items():
        controls = []
        for control in CONTROLS:
            found = [
                result["controls"][control]["accuracy"]
                for result in of_seeds
                if control in result["controls"]
            ]
            controls.append(percent(found) if found else "")
        tests = [result["test"] for result in of_seeds]
        paper = PAPER.get(dataset, {}).get(method)
        rows.append(
            [
                method,
                percent([test["accuracy"] for test in tests]),
                *controls,
                f"{mean([t['tokens_generated'] for t in tests]):.1f}",
                f"{1000 * mean([test['seconds'] for test in tests]):.1f}",
                "" if paper is None else f"{paper:.1f}",
            ]
        )
    return rows


def print_table(rows):
    head = [
        "method", "accuracy %", *CONTROLS, "tokens", "ms a problem", "paper",
    ]  # fmt: skip
    lines = [head, ["---"] * len(head), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |"
        for line in lines
    )
    print("\n" + text, flush=True)
    return text


def print_pairs(results):
    """McNemar's test of each two methods, all seeds' answers together."""
    answers = {
        method: [
            right for result in of_seeds for right in result["test"]["correct"]
        ]
        for method, of_seeds in results.items()
    }
    pairs = [
        (first, second, mcnemar(answers[first], answers[second]))
        for first, second in itertools.combinations(answers, 2)
    ]
    # Holm's correction: many pairs are compared.
    pairs.sort(key=lambda pair: pair[2].p_value)
    lines, largest = [], 0.0
    for index, (first, second, found) in enumerate(pairs):
        largest = max(largest, (len(pairs) - index) * found.p_value)
        lines.append(
            f"{first} / {second}: {found.only_first} answered by the first "
            f"alone, {found.only_second} by the second, p = "
            f"{min(largest, 1.0):.2g}"
        )
    print("\nPaired (McNemar, exact, corrected by Holm):")
    print("\n".join(lines))
    return lines


def plot(results, dataset, path):
    """Accuracy of each method with its controls, seeds as dots."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(
        figsize=(8, 1.2 + 0.55 * len(results)), layout="constrained"
    )
    axes = figure.subplots()
    for row, (method, of_seeds) in enumerate(results.items()):
        accuracies = [100 * r["test"]["accuracy"] for r in of_seeds]
        axes.barh(
            row, mean(accuracies), color="tab:blue", alpha=0.35, height=0.7
        )
        axes.plot(
            accuracies, [row] * len(accuracies), "o", color="tab:blue",
            markersize=5, label="each seed" if row == 0 else None,
        )  # fmt: skip
        for mark, (control, label) in zip("x^sv", CONTROLS.items()):
            found = [
                100 * r["controls"][control]["accuracy"]
                for r in of_seeds
                if control in r["controls"]
            ]
            if found:
                axes.plot(
                    mean(found), row + 0.22, mark, markersize=5,
                    color="tab:red", label=label,
                )  # fmt: skip
        paper = PAPER.get(dataset, {}).get(method)
        if paper is not None:
            axes.plot(
                [paper] * 2, [row - 0.35, row + 0.35], color="black",
                label="paper" if row == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xlim(0, 102)
    axes.set_xlabel("answers right (%)")
    # A label once, whichever rows have it.
    labels = dict(reversed(list(zip(*axes.get_legend_handles_labels()[::-1]))))
    figure.legend(
        labels.values(), labels.keys(), loc="outside lower center", ncols=3
    )
    figure.savefig(path, dpi=130)


def main(_):
    seeds = [int(seed) for seed in FLAGS.seeds]
    unknown = [method for method in FLAGS.methods if method not in METHODS]
    if unknown:
        raise app.UsageError(
            f"--methods must be of {list(METHODS)}. Received: {unknown}"
        )
    changes = dict(map(parse_change, FLAGS.change))
    try:
        recipe = change_recipe(find_recipe(FLAGS.dataset, FLAGS.scale), changes)
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    backend = FLAGS.backend or os.environ.get("KERAS_BACKEND", "tensorflow")
    folder = pathlib.Path(FLAGS.output or f"runs/{FLAGS.dataset}-{FLAGS.scale}")
    configuration = {
        "dataset": FLAGS.dataset,
        "scale": FLAGS.scale,
        "folder": FLAGS.folder,
        "changes": changes,
        "backend": backend,
        # As JSON gives it back.
        "recipe": json.loads(json.dumps(dataclasses.asdict(recipe))),
    }
    claim_folder(folder, configuration)
    runs = [(method, seed) for seed in seeds for method in FLAGS.methods]
    failed = run_all(folder, runs)
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
        text = print_table(table_rows(results, FLAGS.dataset))
        lines = print_pairs(results)
        write_whole(folder / "table.md", "\n".join([text, "", *lines, ""]))
        plot(results, FLAGS.dataset, folder / "table.png")
        print(f"\ntable: {folder / 'table.md'}   plot: {folder / 'table.png'}")
    if failed:
        sys.exit(f"{len(failed)} runs failed: {', '.join(map(name, failed))}")


if __name__ == "__main__":
    app.run(main)
