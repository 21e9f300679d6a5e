"""Results in words: one line for each measurement."""

import statistics


def middle(values):
    """Median and range, as text."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.3g} s ({low:.3g}-{high:.3g})"


def ratio(values, others):
    return statistics.median(values) / statistics.median(others)


def describe(what, result):
    """One line for people, and the ratio to the baseline if there is one."""
    if "error" in result:
        return f"failed: {result['error']}", None
    if what == "train":
        found = ratio(result["coconut"], result["baseline"])
        return (
            f"{middle(result['coconut'])} a step, baseline "
            f"{middle(result['baseline'])}: {found:.2f} of the baseline"
        ), found
    if what == "compile":
        found = sum(result["stages"]) / result["baseline"]
        stages = " + ".join(f"{seconds:.1f}" for seconds in result["stages"])
        return (
            f"{stages} = {sum(result['stages']):.1f} s, baseline "
            f"{result['baseline']:.1f} s: {found:.2f} of the baseline"
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
        found = result["coconut"] / result["baseline"]
        return (
            f"{result['coconut'] / 2**30:.2f} GiB, baseline "
            f"{result['baseline'] / 2**30:.2f} GiB: {found:.2f} of the baseline"
        ), found
    return f"{middle(result['coconut'])} a question", None


def describe_official(result):
    """The lines about the authors' code."""
    if "error" in result:
        return [f"official: failed: {result['error']}"]
    lines = [
        f"official: {middle(result[name])} a {unit}"
        for name, unit in (("train", "step"), ("generate", "question"))
        if name in result
    ]
    if "peak" in result:
        lines.append(f"official: {result['peak'] / 2**30:.2f} GiB")
    return lines
