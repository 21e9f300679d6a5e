r"""Compares generated problems with published ones, figure by figure.

    python -m benchmarks.datasets --dataset prosqa \
        --published prosqa_valid.json --vocabulary gpt2
    python -m benchmarks.datasets --dataset prontoqa \
        --published prontoqa_valid.json --vocabulary gpt2

For each figure of a problem: the means, how far apart they are, and the p-value
of a two-sample permutation test of the distributions (the largest distance of
their cumulative shares). Needs SciPy.
"""

import collections
import json
import re
import time

import numpy as np
from absl import flags
from command_line import blame, check_packages, refuse_arguments, run
from flag_sections import Section, expect_file, expect_vocabulary

FLAGS = flags.FLAGS

data = Section("Data")
data.choice("dataset", None, ["prosqa", "prontoqa"], "What to make.")
data.text("published", None, "Published problem file.", value="FILE")
data.text(
    "vocabulary",
    None,
    "Folder of vocabulary.json and merges.txt.",
    value="FOLDER",
)
data.count("problems", 5_000, "Problems to make.")
data.count("seed", 0, "Random seed of the problems.", least=0)

tests = Section("Tests")
tests.count("permutations", 2_000, "Permutations of each test.")

flags.mark_flags_as_required(["dataset", "published", "vocabulary"])
expect_file("published")
expect_vocabulary("vocabulary")


def shortest_paths(problem):
    """How many shortest paths lead from the root to the target."""
    children = collections.defaultdict(list)
    for start, end in problem.extra["edges"]:
        children[start].append(end)
    ways, reached = {problem.extra["root"]: 1}, set()
    while problem.extra["target"] not in ways:
        if not ways:
            raise ValueError(f"no path to the target in {problem.question!r}")
        reached.update(ways)
        further = collections.Counter()
        for node, count in ways.items():
            for child in children[node]:
                if child not in reached:
                    further[child] += count
        ways = further
    return ways[problem.extra["target"]]


def prosqa_figures(problems):
    def first_is_right(problem):
        choices = re.search(r"a (\w+) or (\w+)\?", problem.question).groups()
        symbols = problem.extra["idx_to_symbol"]
        return choices[0] == symbols[problem.extra["target"]]

    return {
        "nodes": [len(p.extra["idx_to_symbol"]) for p in problems],
        "edges": [len(p.extra["edges"]) for p in problems],
        "steps": [len(p.steps) for p in problems],
        "shortest paths": list(map(shortest_paths, problems)),
        "names": [
            sum(s[0].isupper() for s in p.extra["idx_to_symbol"])
            for p in problems
        ],
        "share: first choice right": list(map(first_is_right, problems)),
        "share: root is node 0": [p.extra["root"] == 0 for p in problems],
    }


def prontoqa_figures(problems):
    def count(pattern):
        return [len(re.findall(pattern, p.question)) for p in problems]

    return {
        "characters": [len(p.question) for p in problems],
        "sentences": count(r"\."),
        "steps": [len(p.steps) for p in problems],
        "plural rules": count(r"\w+puses are "),
        "rules with each": count(r"Each "),
        "rules with every": count(r"Every "),
        "negations": count(r" not "),
        "share: true": [p.answer == "True" for p in problems],
        "share: claim negated": [
            " not " in p.question.rpartition(":")[2] for p in problems
        ],
    }


def distance(first, second):
    """The Kolmogorov-Smirnov statistic, which allows for equal values."""
    from scipy import stats

    return stats.ks_2samp(first, second, method="asymp").statistic


def p_value(first, second, random):
    """By permutation, exact for counts too, where the usual table is not."""
    observed = distance(first, second)
    both, cut = np.concatenate([first, second]), len(first)
    more = 0
    for _ in range(FLAGS.permutations):
        mixed = random.permutation(both)
        more += distance(mixed[:cut], mixed[cut:]) >= observed - 1e-12
    return (more + 1) / (FLAGS.permutations + 1)


FIGURES = {"prosqa": prosqa_figures, "prontoqa": prontoqa_figures}


def all_figures(problems, preprocessor):
    tokenized = preprocessor.tokenize_problems(problems)
    return {
        **FIGURES[FLAGS.dataset](problems),
        "tokens, question": [len(p.question) for p in tokenized],
        "tokens, steps": [sum(map(len, p.steps)) for p in tokenized],
    }


def main(argv):
    refuse_arguments(argv)
    check_packages(["scipy"], "the tests")
    # Here and not above: Keras takes seconds to import.
    import keras_coconut
    from benchmarks.vocabulary import read_preprocessor
    from keras_coconut import load_dataset

    with blame("--vocabulary", KeyError, TypeError, AttributeError):
        preprocessor = read_preprocessor(FLAGS.vocabulary)
    # The published ones first, since making problems takes longer. Those of
    # another dataset lack what the figures are taken from.
    with blame("--published", KeyError, AttributeError, TypeError, IndexError):
        published = all_figures(
            keras_coconut.read_problems(FLAGS.published), preprocessor
        )
    start = time.perf_counter()
    made = load_dataset(
        FLAGS.dataset,
        train=FLAGS.problems,
        validation=0,
        test=0,
        seed=FLAGS.seed,
        verbose=1,
    ).train
    seconds = time.perf_counter() - start
    print(f"{len(made)} problems in {seconds:.1f} s", flush=True)
    figures = [published, all_figures(made, preprocessor)]
    random = np.random.default_rng(0)
    report = {}
    print(f"{'':28}{'published':>10}{'made':>10}{'apart':>8}{'p':>8}")
    for name in figures[0]:
        first, second = (np.asarray(f[name], float) for f in figures)
        apart = second.mean() / first.mean() - 1
        p = p_value(first, second, random)
        report[name] = [first.mean(), second.mean(), apart, p]
        print(
            f"{name:28}{first.mean():10.3f}{second.mean():10.3f}{apart:8.1%}"
            f"{p:8.3f}",
            flush=True,
        )
    print(json.dumps({"seconds": seconds, "figures": report}))


if __name__ == "__main__":
    run(main)
