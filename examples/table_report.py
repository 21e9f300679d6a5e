"""What `reproduce_table.py` shows of its results: a table, tests, a plot."""

import itertools
from statistics import mean

from keras_coconut import holm, mcnemar, mean_interval
from keras_coconut.analysis.plots.output import write_figure

# Accuracy in % of the paper's Table 1, GPT-2 fine-tuned.
PAPER = {
    "gsm8k_aug": {
        "cot": 42.9, "no_cot": 16.5, "icot": 30.0, "pause": 16.4,
        "coconut": 34.1, "no_curriculum": 14.4, "no_thought": 21.6,
        "pause_as_thought": 24.1,
    },
    "prontoqa": {
        "cot": 98.8, "no_cot": 93.8, "icot": 99.8, "pause": 77.7,
        "coconut": 99.8, "no_curriculum": 52.4, "no_thought": 99.9,
        "pause_as_thought": 100.0,
    },
    "prosqa": {
        "cot": 77.5, "no_cot": 76.7, "icot": 98.2, "pause": 75.9,
        "coconut": 97.0, "no_curriculum": 76.1, "no_thought": 95.5,
        "pause_as_thought": 96.6,
    },
}  # fmt: skip

CONTROLS = {
    "none": "no thoughts",
    "noise": "noise for thoughts",
    "other": "another problem's thoughts",
    "mean": "the mean thought",
    "zeros": "zeros",
    "shuffled": "thoughts in another order",
    "removed": "no thoughts, same positions",
}


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
    # Many pairs are compared.
    corrected = holm([found.p_value for _, _, found in pairs]) if pairs else []
    lines = [
        f"{first} / {second}: {found.only_first} answered by the first "
        f"alone, {found.only_second} by the second, p {shown_p(p_value)}"
        for p_value, (first, second, found) in sorted(
            zip(corrected, pairs), key=lambda pair: pair[0]
        )
    ]
    print("\nPaired (McNemar, exact, corrected by Holm):")
    print("\n".join(lines))
    return lines


def shown_p(p_value):
    """Returns a p-value with its sign; the smallest have no float."""
    return f"= {p_value:.2g}" if p_value else "< 1e-300"


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
        for mark, (control, label) in zip("x^sv*D+", CONTROLS.items()):
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
    axes.set_xlim(-2, 102)
    axes.set_xlabel("answers right (%)")
    # A label once, whichever rows have it.
    labels = dict(reversed(list(zip(*axes.get_legend_handles_labels()[::-1]))))
    figure.legend(
        labels.values(), labels.keys(), loc="outside lower center", ncols=3
    )
    write_figure(figure, path, dpi=130)
