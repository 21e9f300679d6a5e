"""What a model of `train_on_problems.py` answers, and its predictions.json."""

import keras
from absl import app
from flag_sections import flag_values
from output_folder import differences, read_json, write_json
from problem_flags import FLAGS

from keras_coconut import evaluate_problems, extract_answer


def evaluate(model, problems):
    """Answers problems with and without thoughts; returns the report."""
    results = {}
    # The control beside the accuracy: the same model, told not to think.
    for count in dict.fromkeys((model.num_thoughts, 0)):
        results[count] = result = evaluate_problems(
            model,
            problems,
            num_thoughts=count,
            max_length=FLAGS.max_length,
            batch_size=FLAGS.batch_size,
        )
        print(
            f"{count} thoughts: {result.accuracy:.1%} of {len(problems)} "
            f"answers right, {result.tokens_generated:.1f} tokens generated",
            flush=True,
        )
    result = results[model.num_thoughts]
    return {
        "made_by": {
            "script": "train_on_problems.py",
            "backend": keras.config.backend(),
            "flags": flag_values(left_out=("overwrite",)),
        },
        "num_thoughts": model.num_thoughts,
        "accuracy": result.accuracy,
        "accuracy_without_thoughts": results[0].accuracy,
        "tokens_generated": result.tokens_generated,
        "predictions": [
            {
                "question": problem.question,
                "answer": problem.answer,
                "prediction": prediction,
                "extracted": extract_answer(prediction),
                "correct": correct,
            }
            for problem, prediction, correct in zip(
                problems, result.predictions, result.correct
            )
        ],
    }


def answer(model, problems, output):
    """Answers problems and writes predictions.json."""
    write_json(output / "predictions.json", evaluate(model, problems))


def compare(model, problems, output, flag):
    """Answers problems, beside the predictions.json that is there.

    It is compared only with answers to the same problems under the same flags,
    and is replaced only with `--overwrite`.
    """
    path = output / "predictions.json"
    if not path.exists():
        answer(model, problems, output)
        return
    before = read_predictions(path)
    differing = what_differs(before, problems, flag)
    if differing and not FLAGS.overwrite:
        raise app.UsageError(
            f"{path} was made with {differing}; --overwrite replaces it"
        )
    report = evaluate(model, problems)
    if differing:
        print(f"not compared: {path} was made with {differing}")
    else:
        same = [
            old["prediction"] == new["prediction"]
            for old, new in zip(before["predictions"], report["predictions"])
        ]
        print(f"same answers as before: {all(same)}")
        if not all(same):
            print(f"{same.count(False)} of {len(same)} differ")
    if FLAGS.overwrite:
        write_json(path, report)
        print(f"{path} is replaced")


def read_predictions(path):
    """Reads a predictions.json; an error names it and says what is wrong."""
    report = read_json(path)
    keys = {"question", "answer", "prediction", "correct"}
    whole = (
        isinstance(report, dict)
        and isinstance(report.get("made_by"), dict)
        and isinstance(report["made_by"].get("flags"), dict)
        and isinstance(report.get("predictions"), list)
        and all(
            isinstance(entry, dict) and keys <= set(entry)
            for entry in report["predictions"]
        )
    )
    if not whole:
        raise app.UsageError(
            f"{path} must hold what this script writes. Received: another "
            "layout; move the file away to ask again"
        )
    return report


def what_differs(before, problems, flag):
    """Returns what makes an earlier report another one, or an empty text."""
    asked = [[problem.question, problem.answer] for problem in problems]
    earlier = [
        [entry["question"], entry["answer"]] for entry in before["predictions"]
    ]
    if earlier != asked:
        return f"other problems than those of --{flag}={FLAGS[flag].value}"
    found = differences(
        before["made_by"]["flags"], {"max_length": FLAGS.max_length}
    )
    return "".join(f"--{text}" for text in found)
