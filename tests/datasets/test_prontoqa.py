"""ProntoQA: every claim judged anew from the text, and as the published form.

The figures are those of a file of 200 problems made by the published generator.
"""

import collections
import re

import numpy as np
import pytest

from keras_coconut.datasets.prontoqa import load_prontoqa

pytestmark = pytest.mark.any_backend

RULE = re.compile(
    r"(?:(Each|Every) (\w+) is|(\w+) are) (not )?(?:an? )?(\w+)\."
)


def singular(word):
    return word.lower().removesuffix("es") if "puses" in word else word.lower()


def read(problem):
    """Returns the rules, somebody's concepts, and the claim, from the text."""
    *statements, claim = re.split(r"(?<=\.) ", problem.question)
    facts = [
        re.fullmatch(r"(\w+) is (an?) (\w+)\.", s) for s in statements[-2:]
    ]
    rules = []
    for statement in statements[:-2]:
        form, one, many, negated, what = RULE.fullmatch(statement).groups()
        owner = one or singular(many)
        rules.append((form or "plural", owner, bool(negated), singular(what)))
        if one and "pus" in what:
            article = re.search(r"is (an?) ", statement)[1]
            assert article == ("an" if what[0] in "aeiou" else "a")
    claimed = re.fullmatch(r"True or false: (\w+) is (not )?(\w+)\.", claim)
    names = {fact[1] for fact in facts} | {claimed[1]}
    assert len(names) == 1
    return rules, [fact[3] for fact in facts], bool(claimed[2]), claimed[3]


def follow(rules, concept):
    """Everything that holds of a concept, by following all rules."""
    held, queue = {}, [concept]
    while queue:
        owner = queue.pop()
        for _, other, negated, what in rules:
            if other == owner and what not in held:
                held[what] = negated
                queue.append(what)
    return held


def test_every_claim_is_judged_right():
    problems = load_prontoqa(train=200, validation=0, test=0, seed=5).train
    forms, negations, lengths = collections.Counter(), [], []
    for problem in problems:
        rules, concepts, claimed_not, asked = read(problem)
        held = {}
        for concept in concepts:
            held.update(follow(rules, concept))
        assert problem.answer == str(held[asked] == claimed_not)
        # A rule for the opposite stands elsewhere, for whoever guesses.
        about = [rule for rule in rules if rule[3] == asked]
        assert sorted(rule[2] for rule in about) == [False, True]
        assert len(rules) == 23 and len(problem.steps) == 6
        # Each step's rule stands in the question, word for word.
        for step in problem.steps[:-1]:
            _, rule = step.split(". ", 1)
            assert rule in problem.question
        assert (
            problem.steps[0].split(" is a")[0] == problem.steps[-1].split()[0]
        )
        forms.update(rule[0] for rule in rules)
        negations += [rule[2] for rule in rules if not rule[3].endswith("pus")]
        lengths.append(len(problem.question))
    total = sum(forms.values())
    assert abs(forms["plural"] / total - 0.491) < 0.03
    assert abs(forms["Each"] / total - 0.256) < 0.03
    assert abs(np.mean(negations) - 0.338) < 0.04
    assert abs(np.mean(lengths) - 624.3) < 0.05 * 624.3
    share = np.mean([problem.answer == "True" for problem in problems])
    assert abs(share - 0.445) < 0.12


def test_other_numbers_of_hops():
    for hops in (1, 3, 6):
        (problem,) = load_prontoqa(
            train=1, validation=0, test=0, num_hops=hops
        ).train
        assert len(problem.steps) == hops + 1
        rules, concepts, claimed_not, asked = read(problem)
        held = {**follow(rules, concepts[0]), **follow(rules, concepts[1])}
        assert problem.answer == str(held[asked] == claimed_not)
    with pytest.raises(ValueError, match="at most 6.*7"):
        load_prontoqa(num_hops=7)
    with pytest.raises(ValueError, match="num_hops.*0"):
        load_prontoqa(num_hops=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(train=-1), "train.*-1"),
        (dict(validation="3"), "validation.*'3'"),
        (dict(test=None), "test.*None"),
        (dict(seed=None), "seed.*None"),
        (dict(seed=-1), "seed.*-1"),
        (dict(num_hops=2.5), "num_hops.*2.5"),
        (dict(num_hops=10**5000), "num_hops.*bits"),
        (dict(verbose="yes"), "verbose.*'yes'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        load_prontoqa(**{"train": 1, "validation": 1, "test": 1, **arguments})
    assert len(str(error.value)) < 500


def test_numbers_of_numpy_are_numbers():
    one = np.int64(1)
    of_numpy = load_prontoqa(
        train=one, validation=one, test=one, seed=one, num_hops=np.uint8(2)
    )
    assert of_numpy == load_prontoqa(
        train=1, validation=1, test=1, seed=1, num_hops=2
    )
