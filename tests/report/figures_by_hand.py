"""Results with figures made by hand."""

from keras_coconut import (
    Evaluation,
    Interval,
    Problem,
    StepProbe,
    ThoughtProbes,
)
from keras_coconut.analysis import (
    CounterfactualEvaluation,
    EarlyStop,
    ForcedThoughts,
    SearchTree,
    Superposition,
    ThoughtBudget,
    ThoughtSwap,
)
from keras_coconut.analysis.causal.counterfactual_edges import (
    CounterfactualEdge,
)
from keras_coconut.analysis.pooled_means import PooledMean
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.analysis.search.tree_figures import (
    FrontierMass,
    MassShare,
    TreeLevel,
)
from keras_coconut.evaluation.statistics import share_interval

HIGH = dict(noise=0.05, other=0.1, mean=0.1, zeros=0.0, shuffled=0.5)
SAME = dict(noise=0.95, other=0.94, mean=0.95, zeros=0.94, shuffled=0.95)


def share(fraction, count=500):
    return share_interval([index < fraction * count for index in range(count)])


def evaluation(fraction, tokens=8.0, count=500, text="### 7"):
    correct = tuple(index < fraction * count for index in range(count))
    return Evaluation(
        sum(correct) / count, 0.0, tokens, 0.012, (text,) * count, correct
    )


def controls(count=500, **shares):
    found = {name: evaluation(each, 8, count) for name, each in shares.items()}
    if "none" in shares:
        text = "9 8 7 ### 7"
        found["none"] = evaluation(shares["none"], 30.0, count, text)
    return found


def swap(donor):
    rest = share(1 - donor, 200)
    return ThoughtSwap(share(donor, 200), rest, share(0.0, 200), None, (), ())


def budget(*accuracies, count=500):
    forced = tuple(
        ForcedThoughts(
            number,
            share(each, count),
            evaluation(each, count=count),
            None,
            None,
            None,
        )
        for number, each in enumerate(accuracies)
    )
    stop = EarlyStop(
        (0, 2), Interval(1.0, 0.25), {0: share(0.5, 2), 2: share(0.5, 2)}
    )
    return ThoughtBudget(forced, stop, stop)


def probe(accuracy, selectivity=None, p_value=0.001, majority=0.2):
    interval = None if selectivity is None else Interval(selectivity, 0.05)
    return StepProbe(
        *(share(accuracy), share(majority), share(majority), 10),
        *(interval, None if interval is None else 0, p_value),
    )


def probes(*slots):
    return ThoughtProbes(tuple(slots), {}, 500)


def level(number, mean, chance=0.1, margin=0.02):
    def mass(value):
        return MassShare(
            Interval(value, margin), chance, Interval(value - chance, margin)
        )

    masses = FrontierMass(
        mass(mean), mass(mean), mass(0.1), mass(0.1), Interval(0.9, 0.1)
    )
    return TreeLevel(number, number + 1, 100, masses)


def tree(*levels):
    return SearchTree(tuple(range(len(levels))), levels, ())


def groups(frontier):
    def mean(value):
        return PooledMean(value, 0.1, 10, 5)

    return GroupMeans(mean(1.0), mean(frontier), mean(2.0), mean(0.5))


def similar(*values):
    """The attention of the question and of thoughts, and products of these."""
    means = tuple(map(groups, values))
    return Superposition(1, means, means[1:])


OWN_STEPS = probes(
    (probe(0.9, 0.5), probe(0.25, -0.5, 1.0)),
    (probe(0.5, -0.3, 1.0), probe(0.8, 0.3)),
)


def edges(followed, misled, skipped=()):
    """Pairs whose originals are all right, and what their answers then are."""
    pairs = []
    answers = []
    for follows, puts_off in zip(followed, misled):
        problem, turned = (Problem("?", [], each) for each in ("old", "new"))
        pairs.append(CounterfactualEdge(0, problem, turned, problem))
        texts = (("old", "new")[flag] for flag in (follows, puts_off))
        answers.append(("old", *texts))
    some = [share_interval(each) for each in (followed, misled)]
    right = share_interval([True] * len(pairs))
    return CounterfactualEvaluation(
        *(right, some[0], right, some[0], some[0], some[1]),
        *((True,) * len(pairs), tuple(followed), (True,) * len(pairs)),
        *(tuple(answers), tuple(pairs), dict(skipped)),
    )
