"""Verdicts on how many thoughts are needed, and on what an answer costs."""

from collections.abc import Iterable, Mapping
from typing import Any

from keras_coconut.analysis import ThoughtBudget
from keras_coconut.evaluation import Evaluation
from keras_coconut.evaluation.statistics import Share
from keras_coconut.report import words
from keras_coconut.report.comparing import FEWER, compare
from keras_coconut.report.verdicts import NO_ANSWERS, UNDECIDED, Verdict


def needed(budget: ThoughtBudget, thought_kind: str) -> Verdict:
    """Says how many thoughts are needed.

    As many as there must be so that with them, and with any more, the accuracy
    is as high as with all; see `compare`.

    Args:
        budget: a `ThoughtBudget`.
        thought_kind: `"continuous"` or `"pause"`.
    """
    full, noun = budget.forced[-1], words.NOUNS[thought_kind]
    most = full.num_thoughts
    figures: dict[str, Any] = {
        f"accuracy, {each.num_thoughts}": each.accuracy
        for each in budget.forced
    }
    stable = budget.stable_match
    never = stable.shares[budget.forced[0].num_thoughts]
    figures["stable match"] = stable.mean
    figures["first match"] = budget.first_match.mean
    kinds = {
        each.num_thoughts: compare(full.evaluation, each.evaluation)
        for each in budget.forced
    }
    counts = list(kinds)
    number = counts.pop()
    while counts and kinds[counts[-1]] == "as high":
        number = counts.pop()
    shares = {each.num_thoughts: each.accuracy for each in budget.forced}
    enough = [shares[count] for count in kinds if number <= count < most]
    # Those that are left are fewer than are enough.
    as_well = [count for count in counts if kinds[count] == "as high"]
    total = words.counted(most, noun)
    said = []
    if not full.accuracy.share:
        outcome = NO_ANSWERS
        said.append(f"With {total} the model answers no problem correctly.")
    elif counts and kinds[counts[-1]] == "unclear":
        outcome = UNDECIDED
        said.append(
            f"{words.counted(number, noun).capitalize()} "
            f"{'are' if number != 1 else 'is'} enough; whether fewer are, "
            f"these {full.accuracy.total} problems do not tell."
        )
    elif not number:
        outcome = "None"
        said.append(
            f"Without {noun}s the model answers "
            f"{_as_many(full.accuracy, [shares[0]], ' problems')} with {most}: "
            "it writes, or reads from the question, what it does "
            "not think."
        )
    else:
        outcome = f"{number} of {most}"
        if number == most:
            outcome = f"All {most}" if most > 1 else "The only one"
        else:
            said.append(
                f"With {words.counted(number, noun)} or more the model answers "
                f"{_as_many(full.accuracy, enough, ' problems')} with {most}."
            )
        if as_well:
            outcome += f", or {words.listed(list(map(_count, as_well)), 'or')}"
        if counts:
            said += _fewer(kinds, counts, shares)
    fewest = budget.forced[0]
    said.append(
        f"The accuracy is {words.share(fewest.accuracy)} with "
        f"{words.counted(fewest.num_thoughts, noun)} and "
        f"{words.share(full.accuracy)} with {most}."
    )
    said.append(
        f"On average the answer is final after {words.mean(stable.mean)} "
        f"{noun}s. In {words.share(never)} of {len(stable.thoughts)} problems "
        "it never changes."
    )
    question = f"How many {noun}s are needed?"
    return Verdict("needed", question, outcome, " ".join(said), figures)


def _as_many(own: Share, others: Iterable[Share], noun: str = "") -> str:
    """Returns "about as many as" or "more than", with a noun in between."""
    many = words.as_many(own, *others)
    return f"{many}{noun} {'than' if many == 'more' else 'as'}"


def _fewer(kinds, counts, shares) -> list[str]:
    """Says what the model answers with fewer thoughts than are enough.

    Args:
        kinds: dictionary from numbers of thoughts to what `compare` returns.
        counts: list of the numbers that are too few.
        shares: dictionary from numbers of thoughts to accuracies; the last is
            what they are compared with.
    """
    most = max(shares)

    def those(*sought):
        return words.listed(
            [_count(count) for count in counts if kinds[count] in sought]
        )

    lower = those(*FEWER)
    as_well, unclear = those("as high"), those("unclear")
    if not as_well and not unclear:
        said = "With fewer the model answers fewer problems."
    else:
        said = f"With {lower} it answers fewer problems"
        if as_well:
            high = [shares[n] for n in counts if kinds[n] == "as high"]
            many = _as_many(shares[most], high)
            said += f", but with {as_well} {many} with {most}"
        said += "."
        if unclear:
            said += f" With {unclear}, these problems do not tell."
    return [
        said,
        "A model that was trained without mixed stages may have forgotten to "
        "write what it does not think.",
    ]


def _count(count: int) -> str:
    return str(count) if count else "none"


def cost(
    own: Evaluation,
    controls: Mapping[str, Evaluation],
    num_thoughts: int,
    thought_kind: str,
    of_control: Evaluation | None = None,
) -> Verdict:
    """Says what an answer costs in tokens and in seconds.

    Args:
        own: `Evaluation` with the model's own thoughts.
        controls: what `evaluate_controls` returns.
        num_thoughts: int.
        thought_kind: `"continuous"` or `"pause"`.
        of_control: `Evaluation` of the control model. Optional.
    """
    compared = {"own": own}
    if "none" in controls:
        compared["none"] = controls["none"]
    if of_control is not None:
        compared["control model"] = of_control
    figures = {}
    for name, found in compared.items():
        figures[f"tokens, {name}"] = found.tokens_generated
        figures[f"seconds, {name}"] = found.seconds
    outcome = _cost(own)
    said = [
        f"With {words.counted(num_thoughts, words.NOUNS[thought_kind])} an "
        f"answer takes {outcome}."
    ]
    if "none" in compared:
        said.append(f"Without any it takes {_cost(compared['none'])}.")
    if of_control is not None:
        said.append(f"The control model takes {_cost(of_control)}.")
    said.append(
        "A continuous thought counts as one token, a pause as none. The "
        "seconds are of this machine and batch size, and include what is "
        "compiled for the first batches."
    )
    question = "What does an answer cost?"
    return Verdict("cost", question, outcome, " ".join(said), figures)


def _cost(found: Evaluation) -> str:
    return (
        f"{found.tokens_generated:.1f} tokens and "
        f"{words.seconds(found.seconds)}"
    )
