"""Counts the positions that a curriculum computes, and the real ones.

    python -m benchmarks.padding --problems prosqa_valid.json --vocabulary gpt2

Prints, for each stage and each number of length groups, the share of the
computed positions that are real; a row that only fills up a batch is not.
"""

import json

from absl import flags
from command_line import blame, refuse_arguments, run
from flag_sections import (
    Section,
    expect_counts,
    expect_file,
    expect_vocabulary,
)

FLAGS = flags.FLAGS

data = Section("Data")
data.text(
    "problems",
    None,
    "Problem file: one that keras_coconut.read_problems reads.",
    value="FILE",
)
data.text(
    "vocabulary",
    None,
    "Folder of vocabulary.json and merges.txt.",
    value="FOLDER",
)

batches = Section("Batches")
batches.count("batch_size", 16, "Rows in a batch.")
batches.count("max_stage", 6, "Last stage of the curriculum.", least=0)
batches.several(
    "length_groups",
    ["1", "4", "8", "16"],
    "Numbers of groups to try.",
    value="N,N,...",
)

flags.mark_flags_as_required(["problems", "vocabulary"])
expect_file("problems")
expect_vocabulary("vocabulary")
expect_counts("length_groups", least=1)


def real_share(dataset):
    """The share of real positions of an epoch, and its batch shapes."""
    real = computed = 0
    shapes = set()
    for index in range(len(dataset)):
        x, _, weights = dataset[index]
        thoughts = x["thought_mask"]
        used = int(thoughts.sum(axis=1).max())
        with_loss = weights.any(axis=1)
        for key in ("question_mask", "response_mask"):
            real += int(x[key][with_loss].sum())
            computed += x[key].size
        real += int(thoughts[with_loss].sum())
        computed += used * len(thoughts)
        shapes.add((x["question_mask"].shape[1], x["response_mask"].shape[1]))
    return real / computed, len(shapes)


def main(argv):
    refuse_arguments(argv)
    # Here and not above: Keras takes seconds to import.
    import keras_coconut
    from benchmarks.vocabulary import read_preprocessor

    with blame("--vocabulary", KeyError, TypeError, AttributeError):
        preprocessor = read_preprocessor(FLAGS.vocabulary)
    with blame("--problems"):
        problems = keras_coconut.read_problems(FLAGS.problems)
    curriculum = keras_coconut.Curriculum(
        FLAGS.max_stage, initial_epochs=1, epochs_per_stage=1
    )
    results = {}
    for groups in map(int, FLAGS.length_groups):
        with blame("--problems"):
            dataset = keras_coconut.CurriculumDataset(
                problems,
                preprocessor,
                curriculum,
                batch_size=FLAGS.batch_size,
                length_groups=groups,
            )
        shares = []
        for epoch in range(curriculum.last_stage + 1):
            dataset.set_epoch(epoch)
            share, shapes = real_share(dataset)
            shares.append(round(share, 4))
            print(
                f"{groups:3} groups, stage {epoch}: {100 * share:.1f}% real, "
                f"{shapes} shapes",
                flush=True,
            )
        results[groups] = shares
    print(json.dumps(results))


if __name__ == "__main__":
    run(main)
