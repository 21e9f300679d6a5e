"""ProntoQA: true or false, by a chain of five rules among distractors.

A problem is an ontology of invented concepts in words, "Tumpuses are gorpuses.
Each jompus is not melodic." and so on, two facts about somebody, and a claim
(Saparov and He, arXiv 2210.01240; the 5-hop form that Coconut's paper uses).
The shares below are those of a file that the published generator made;
`python -m benchmarks.datasets` compares.
"""

import itertools
import random
from collections.abc import Iterator

from keras_coconut.checks import check_count, shown
from keras_coconut.datasets import tfds_builders
from keras_coconut.datasets.splits import Splits, draw_splits
from keras_coconut.problems import Problem

NAMES = "Alex Fae Max Polly Rex Sally Sam Stella Wren".split()
CONCEPTS = (
    "brimpus dumpus gorpus grimpus impus jompus lempus lorpus numpus rompus "
    "shumpus sterpus tumpus vumpus wumpus yumpus zumpus"
).split()
# Nothing has two properties of one family.
PROPERTIES = [
    family.split()
    for family in (
        "blue red brown orange",
        "small large",
        "metallic wooden luminous liquid",
        "transparent opaque",
        "nervous happy feisty shy",
        "bright dull",
        "sweet sour spicy bitter",
        "floral fruity earthy",
        "hot cold temperate",
        "kind mean angry amenable aggressive",
        "melodic muffled discordant loud",
        "slow moderate fast",
        "windy sunny overcast rainy snowy",
    )
]
# How often "not" precedes a property: in the chain, and elsewhere.
_NEGATED_IN_CHAIN = 0.26
_NEGATED_ELSEWHERE = 0.33
# Concepts beside those of the chain: parents of chain and distractors.
_MOST_HOPS = 6


def load_prontoqa(
    *,
    train: int = 9_000,
    validation: int = 200,
    test: int = 800,
    seed: int = 0,
    num_hops: int = 5,
    verbose: int = 0,
) -> Splits:
    """Generates ProntoQA problems in three splits.

    Args:
        train, validation, test: ints. Number of problems in each split.
        seed: int, at least 0. Defaults to `0`.
        num_hops: int, 1 to 6. Number of rules to apply; the last one gives a
            property. A problem has one step more. Defaults to `5`.
        verbose: `"auto"`, 0, 1 or 2. Whether to show a progress bar. Defaults
            to `0`.

    Returns:
        `Splits`. `Problem.extra` holds the published keys: `edges` among
        `idx_to_symbol`, `root`, `target`, `neg_target` and `chain_concepts`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    ```python
    splits = keras_coconut.load_prontoqa(train=1_000, validation=100, test=100)
    splits.test[0].answer  # "True" or "False"
    ```
    """
    seed = check_count("seed", seed)
    num_hops = check_count("num_hops", num_hops, least=1)
    if num_hops > _MOST_HOPS:
        raise ValueError(
            f"`num_hops` must be at most {_MOST_HOPS}: a longer chain would "
            "need more concepts than there are. Received: "
            f"num_hops={shown(num_hops)}"
        )
    return draw_splits(_draw(seed, num_hops), train, validation, test, verbose)


def _draw(seed, num_hops) -> Iterator[Problem]:
    numbers = random.Random(seed)
    while True:
        yield _problem(numbers, num_hops)


def _problem(numbers, num_hops) -> Problem:
    concepts = numbers.sample(CONCEPTS, 2 * num_hops + 4)
    chain, concepts = concepts[:num_hops], concepts[num_hops:]
    # Each concept of the chain has a parent beside it, the last one two.
    beside, (other, others_parent, false_lead) = concepts[:-3], concepts[-3:]
    edges = list(itertools.pairwise(chain))
    edges += list(zip([*chain, chain[-1]], beside))
    edges.append((other, others_parent))

    families = numbers.sample(PROPERTIES, 2 * num_hops + 1)
    owners = [*chain, *beside[:-1], other]
    properties = {}
    for owner, family in zip(owners, families):
        share = _NEGATED_IN_CHAIN if owner in chain else _NEGATED_ELSEWHERE
        negated = numbers.random() < share
        properties[owner] = (negated, numbers.choice(family))
    asked = properties[chain[-1]][1]
    truth = numbers.random() < 0.5
    properties[chain[-1]] = (not truth, asked)
    # Misleads a reader who looks only at the last word.
    properties[false_lead] = (truth, asked)

    rules = {edge: _is_a(numbers, *edge) for edge in edges}
    facts = {
        owner: _has(numbers, owner, *found)
        for owner, found in properties.items()
    }
    statements = [*rules.values(), *facts.values()]
    numbers.shuffle(statements)
    name = numbers.choice(NAMES)
    both = [f"{name} is {_article(c)} {c}." for c in (chain[0], other)]
    numbers.shuffle(both)
    claimed = numbers.random() < 0.5
    claim = f"{name} is {'' if claimed else 'not '}{asked}."
    question = [*statements, *both, f"True or false: {claim}"]

    steps = [
        f"{name} is {_article(start)} {start}. {rules[start, end]}"
        for start, end in itertools.pairwise(chain)
    ]
    last = chain[-1]
    steps.append(f"{name} is {_article(last)} {last}. {facts[last]}")
    steps.append(f"{name} is {'' if truth else 'not '}{asked}.")
    symbols = [name, *chain, *sorted(concepts)]
    return Problem(
        " ".join(question),
        steps,
        str(claimed == truth),
        extra={
            "idx_to_symbol": symbols,
            "edges": [[symbols.index(a), symbols.index(b)] for a, b in edges],
            "root": 0,
            "target": num_hops,
            "neg_target": num_hops + 1,
            "chain_concepts": chain,
        },
    )


def _is_a(numbers, start, end) -> str:
    """One of three wordings of a rule, the plural as often as the others."""
    form = numbers.choice(("Each", "Every", "plural", "plural"))
    if form == "plural":
        return f"{_plural(start)} are {_plural(end).lower()}."
    return f"{form} {start} is {_article(end)} {end}."


def _has(numbers, owner, negated, word) -> str:
    form = numbers.choice(("Each", "Every", "plural", "plural"))
    word = f"not {word}" if negated else word
    if form == "plural":
        return f"{_plural(owner)} are {word}."
    return f"{form} {owner} is {word}."


def _plural(concept) -> str:
    return f"{concept.capitalize()}es"


def _article(concept) -> str:
    return "an" if concept[0] in "aeiou" else "a"


if tfds_builders.AVAILABLE:

    class Prontoqa(tfds_builders.ProblemsBuilder):
        """ProntoQA in the form that Coconut trains on."""

        DATASET = "prontoqa"
        DESCRIPTION = __doc__
        HOMEPAGE = "https://github.com/asaparov/prontoqa"
        CITATION = "arXiv:2210.01240"

        def extra_features(self):
            names = tfds_builders.graph_features()["idx_to_symbol"]
            return {
                **tfds_builders.graph_features(),
                "chain_concepts": names,
            }
