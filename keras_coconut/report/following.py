"""The verdict on whether answers follow a moved edge of the graph."""

from typing import Any

from keras_coconut.analysis import CounterfactualEvaluation
from keras_coconut.evaluation.figures import normalize_answer
from keras_coconut.report import words
from keras_coconut.report.comparing import MOST_LOSS, MOST_P_VALUE, Paired
from keras_coconut.report.verdicts import NO_ANSWERS, UNDECIDED, Verdict

NOT_MORE = "Not more than after a neutral change"


def follow(found: CounterfactualEvaluation) -> Verdict:
    """Says whether the answer follows the graph of the problem.

    Both changes are made to the same problems, so the test is paired.

    Args:
        found: a `CounterfactualEvaluation`.
    """
    question = "Does the answer follow a moved edge?"
    figures: dict[str, Any] = {
        "original": found.accuracy,
        "changed": found.changed_accuracy,
        "neutral": found.neutral_accuracy,
    }
    said = (
        f"The model answers {words.share(found.accuracy)} of "
        f"{found.accuracy.total} problems."
    )
    if found.following is None or found.false_following is None:
        said += " None is right, so no answer can turn around."
        return Verdict("follow", question, NO_ANSWERS, said, figures)
    pairs = _pairs(found)
    more = pairs.loss()
    figures["following"] = found.following
    figures["following a neutral change"] = found.false_following
    figures["how much more often"] = more
    said += (
        " Where it is right and one edge is moved so that the right answer is "
        f"the other one, it gives that in {words.share(found.following)} of "
        f"{found.following.total} problems. After a change that does not "
        f"matter it does so in {words.share(found.false_following)}."
    )
    if more.share <= 0 or pairs.p_value() >= MOST_P_VALUE:
        if more.high <= MOST_LOSS:
            outcome = NOT_MORE
            said += (
                " It is excluded that it follows the edge more often by more "
                f"than {words.points(MOST_LOSS)}."
            )
        else:
            outcome = UNDECIDED
            said += (
                " Whether it follows the edge more often than a neutral "
                "change, so few problems do not tell."
            )
        return Verdict("follow", question, outcome, said, figures)
    said += " It follows the edge more often than a neutral change."
    if found.following.low > 0.5:
        outcome = "Mostly"
        said += (
            " This does not prove a search: a rule that never looks at the "
            "root, such as to choose the option with more ancestors, may "
            "follow too."
        )
    elif found.following.high < 0.5:
        outcome = "Seldom"
        said += (
            " Where it does not follow, a right answer to the original may "
            "come from the look of the question."
        )
    else:
        outcome = "In about half of the cases"
        said += " This does not prove a search."
    return Verdict("follow", question, outcome, said, figures)


def _pairs(found: CounterfactualEvaluation) -> Paired:
    """Counts after which change the right answers turn around."""
    followed, misled = [], []
    for pair, (_, changed, neutral), is_right in zip(
        found.pairs, found.answers, found.correct
    ):
        if is_right:
            turned = normalize_answer(pair.changed.answer)
            followed.append(changed == turned)
            misled.append(neutral == turned)
    return Paired.of(followed, misled)
