"""Results files: read only if everything the figures depend on is the same."""

import json
import os

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scripted import PROBLEMS, RESPONSES, Script

import keras_coconut
from keras_coconut.evaluation.made_by import describe, weights_hash
from keras_coconut.evaluation.problems import Evaluation, evaluate_problems
from keras_coconut.evaluation.request import check_request
from keras_coconut.evaluation.results_file import (
    read_results,
    write_results,
)
from keras_coconut.text.word_tokenizer import make_word_tokenizer

pytestmark = pytest.mark.any_backend

OPTIONS = dict(num_thoughts=2, max_length=20, verbose=0)


def description(model, **options):
    return describe(
        check_request(model, PROBLEMS, **{"num_thoughts": 2, **options})
    )


def differences(first, second):
    assert set(first) == set(second)
    return {key for key in first if first[key] != second[key]}


def test_results_are_generated_once(text_model, tmp_path):
    script = Script(text_model, RESPONSES)
    path = tmp_path / "results.json"
    first = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    # What has no effect may differ: the batch size, and what is not asked.
    text_model.num_thoughts = 5
    text_model.backbone.trainable = False
    again = evaluate_problems(
        text_model,
        list(PROBLEMS),
        num_thoughts=[2] * 4,
        max_length=20,
        batch_size=3,
        verbose=0,
        results_path=str(path),
    )
    assert again == first
    assert len(script.options) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_file_that_may_only_be_read(text_model, tmp_path):
    script = Script(text_model, RESPONSES)
    path = tmp_path / "results.json"
    options = dict(results_path=path, **OPTIONS)
    first = evaluate_problems(text_model, PROBLEMS, **options)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert evaluate_problems(text_model, PROBLEMS, **options) == first
    finally:
        tmp_path.chmod(0o755)
    assert len(script.options) == 1


def change_weight(model):
    weight = model.backbone.weights[-1]
    weight.assign(weight + 1)


def change_kind(model):
    model.thought_kind = "pause"


def change_separator(model):
    model.preprocessor.separator = " "


def change_sampler(model):
    tiny.compiled(model, sampler=keras_hub.samplers.BeamSampler(num_beams=2))


@pytest.mark.parametrize(
    ("change", "options", "key"),
    [
        (None, dict(problems=PROBLEMS[::-1]), "problems"),
        (None, dict(num_thoughts=3), "num_thoughts"),
        (None, dict(num_thoughts=[2, 2, 2, 1]), "num_thoughts"),
        (None, dict(max_length=21), "max_length"),
        (None, dict(max_length=None), "max_length"),
        (None, dict(thoughts=np.zeros((4, 2, 16))), "thoughts"),
        (change_weight, {}, "weights"),
        (change_kind, {}, "thought_kind"),
        (change_separator, {}, "text"),
        (change_sampler, {}, "sampler"),
    ],
)
def test_results_of_something_else_are_refused(
    text_model, tmp_path, change, options, key
):
    script = Script(text_model, RESPONSES)
    path = tmp_path / "results.json"
    arguments = dict(problems=PROBLEMS, results_path=path, **OPTIONS)
    evaluate_problems(text_model, **arguments)
    if change is not None:
        change(text_model)
    with pytest.raises(ValueError, match=f"of the same {key}") as error:
        evaluate_problems(text_model, **{**arguments, **options})
    assert "results.json" in str(error.value)
    assert len(str(error.value)) < 500
    assert len(script.options) == 1


def test_given_thoughts_by_shape_type_and_values(text_model, tmp_path):
    Script(text_model, RESPONSES)
    thoughts = np.ones((4, 2, 16), "float32")
    arguments = dict(results_path=tmp_path / "r.json", **OPTIONS)
    first = evaluate_problems(
        text_model, PROBLEMS, thoughts=thoughts, **arguments
    )
    same = ops.convert_to_tensor(thoughts)
    assert (
        evaluate_problems(text_model, PROBLEMS, thoughts=same, **arguments)
        == first
    )
    for other in (
        thoughts.astype("float64"),
        np.ones((4, 3, 16), "float32"),
        2 * thoughts,
        None,
    ):
        with pytest.raises(ValueError, match="of the same thoughts"):
            evaluate_problems(text_model, PROBLEMS, thoughts=other, **arguments)


def test_text_layouts_and_types_are_told_apart(text_model):
    own = description(text_model)
    assert own == description(text_model)
    # The same weights under other names for the tokens.
    words = [*tiny.WORDS[1:], tiny.WORDS[0]]
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(words)
    )
    other = keras_coconut.ContinuousThoughtLM(text_model.backbone, preprocessor)
    tiny.compiled(other, sampler="greedy")
    tiny.compiled(text_model, sampler="greedy")
    own = description(text_model)
    assert differences(own, description(other)) == {"text"}
    without = tiny.compiled(tiny.text_model(markers=False), sampler="greedy")
    assert differences(own, description(without)) == {"text"}
    mixed = tiny.compiled(
        tiny.text_model(dtype="mixed_bfloat16"), sampler="greedy"
    )
    assert differences(own, description(mixed)) == {"dtype", "backbone"}
    longer = tiny.compiled(tiny.text_model(longest=65), sampler="greedy")
    assert "backbone" in differences(own, description(longer))


def test_adapters_and_quantized_weights_are_told_apart(text_model):
    own = description(text_model)

    def adapted(alpha):
        # An adapter that is new changes nothing but its random half.
        keras.utils.set_random_seed(0)
        model = tiny.compiled(tiny.text_model())
        dense = model.backbone.transformer_layers[0]._feedforward_output_dense
        dense.enable_lora(2, lora_alpha=alpha)
        return description(model)

    assert adapted(2) == adapted(2)
    assert "weights" in differences(own, adapted(2))
    assert differences(adapted(2), adapted(4)) == {"backbone"}
    quantized = tiny.text_model()
    layer = quantized.backbone.transformer_layers[0]
    layer._feedforward_output_dense.quantize("int8")
    assert {"weights", "backbone"} <= differences(
        own, description(tiny.compiled(quantized))
    )


def test_the_same_in_a_model_that_was_saved(text_model, tmp_path):
    text_model.save_to_preset(str(tmp_path / "preset"))
    loaded = keras_coconut.ContinuousThoughtLM.from_preset(
        str(tmp_path / "preset")
    )
    first, second = (
        description(tiny.compiled(model, sampler="greedy"))
        for model in (text_model, loaded)
    )
    assert first == second


def test_only_the_backbones_weights_count(text_model):
    before = weights_hash(text_model)
    text_model.num_thoughts = 7
    text_model.thought_kind = "pause"
    assert weights_hash(text_model) == before


@pytest.mark.parametrize("sampler", ["random", "top_k", "top_p"])
def test_a_sampler_without_a_seed_is_refused(text_model, tmp_path, sampler):
    tiny.compiled(text_model, sampler=sampler)
    script = Script(text_model, RESPONSES)
    path = tmp_path / "r.json"
    with pytest.raises(ValueError, match="`results_path` must be left out"):
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    assert not script.options and not path.exists()


def test_a_sampler_with_a_seed(text_model, tmp_path):
    problems = tiny.problems(4)
    options = dict(
        num_thoughts=1,
        max_length=6,
        verbose=0,
        results_path=tmp_path / "r.json",
    )

    def compiled(seed):
        sampler = keras_hub.samplers.RandomSampler(seed=seed)
        return tiny.compiled(text_model, sampler=sampler)

    first = evaluate_problems(compiled(1), problems, **options)
    # As a second call would draw other numbers, it does not find these.
    with pytest.raises(ValueError, match="of the same sampler"):
        evaluate_problems(text_model, problems, **options)
    with pytest.raises(ValueError, match="of the same sampler"):
        evaluate_problems(compiled(2), problems, **options)
    assert evaluate_problems(compiled(1), problems, **options) == first
    # Which numbers a question gets depends on its batch.
    with pytest.raises(ValueError, match="of the same sampler"):
        evaluate_problems(compiled(1), problems, batch_size=2, **options)
    os.unlink(options["results_path"])
    again = evaluate_problems(compiled(1), problems, **options)
    assert again.predictions == first.predictions


class Forbidding(keras_hub.samplers.GreedySampler):
    """A sampler of one's own whose config tells nothing of it."""

    def __init__(self, forbidden):
        super().__init__()
        self.forbidden = forbidden


def test_a_sampler_of_ones_own(text_model, tmp_path):
    script = Script(text_model, RESPONSES)
    options = dict(results_path=tmp_path / "r.json", **OPTIONS)
    for value in ([1, 2], np.array([1, 2])):
        tiny.compiled(text_model, sampler=Forbidding(value))
        evaluate_problems(text_model, PROBLEMS, **options)
    assert len(script.options) == 1
    tiny.compiled(text_model, sampler=Forbidding([1]))
    with pytest.raises(ValueError, match="of the same sampler"):
        evaluate_problems(text_model, PROBLEMS, **options)
    tiny.compiled(text_model, sampler=Forbidding(lambda token: token))
    with pytest.raises(ValueError, match="settings JSON cannot hold"):
        evaluate_problems(text_model, PROBLEMS, **options)


def test_a_place_that_cannot_be_written(text_model, tmp_path):
    script = Script(text_model, RESPONSES)
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir(mode=0o555)
    for path in ("no/r.json", "file/r.json", "locked/r.json", "locked"):
        if path == "locked/r.json" and os.access(tmp_path / "locked", os.W_OK):
            continue  # The superuser may write anywhere.
        with pytest.raises(OSError, match=path.partition("/")[0]):
            evaluate_problems(
                text_model, PROBLEMS, results_path=tmp_path / path, **OPTIONS
            )
    assert not script.options


# === Damaged files ===

MADE_BY = {"problems": "abc", "num_thoughts": 2}
FOUND = Evaluation(
    0.5,
    0.5,
    9.0,
    0.125,
    tuple(RESPONSES.values()),
    (True, True, False, False),
)


def read(path):
    return read_results(str(path), MADE_BY, PROBLEMS, "\n")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "written.json"
    write_results(str(path), MADE_BY, FOUND)
    assert read(path) == FOUND
    return path


def test_an_old_file_says_what_to_do(written):
    entry = json.loads(written.read_text())
    del entry["format"]
    written.write_text(json.dumps(entry))
    with pytest.raises(ValueError, match="delete the file or move it") as error:
        read(written)
    assert "written.json" in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        dict(accuracy="0.5"),
        dict(accuracy=0.75),
        dict(accuracy=None),
        dict(chain_match=0.25),
        dict(seconds=-1),
        dict(predictions=list(FOUND.predictions[:3])),
        dict(
            predictions=list(FOUND.predictions[:3]),
            correct=[True, True, False],
            accuracy=2 / 3,
        ),
        dict(predictions=[*FOUND.predictions[:3], "### 4"]),
        dict(correct=[False, False, True, True]),
        dict(more=1),
        dict(accuracy=...),
        dict(made_by=...),
        dict(made_by=None),
        dict(made_by={}),
        dict(made_by={**MADE_BY, "more": 1}),
        dict(made_by={"problems": "x" * 10**6, "num_thoughts": 2}),
        dict(format=1),
        dict(format="x" * 10**6),
    ],
)
def test_a_changed_file_is_refused_by_name(written, change):
    entry = {**json.loads(written.read_text()), **change}
    entry = {key: value for key, value in entry.items() if value is not ...}
    written.write_text(json.dumps(entry))
    with pytest.raises(ValueError, match=r"written\.json") as error:
        read(written)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"made',
        b"[]",
        b"3",
        b"{}",
        b"{}, {}",
        b"null",
        b"\xff\xfe{\0}\0",
        b"\x1f\x8b\x08\0",
        b'{"accuracy": NaN}',
        b'{"accuracy": 1' + b"0" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b"[" * 10**5,
        b'{"a": ' * 10**5,
        b'{"' + b"x" * 10**6 + b'": 1}',
    ],
    ids=range(15),
)
def test_a_damaged_file_is_refused_by_name(written, data):
    written.write_bytes(data)
    with pytest.raises(ValueError, match=r"written\.json") as error:
        read(written)
    assert len(str(error.value)) < 500


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "written.json"
    write_results(str(path), MADE_BY, FOUND)
    text = path.read_text()
    if data.draw(st.booleans()):
        entry = json.loads(text)
        entry[data.draw(st.sampled_from([*entry, "more"]))] = data.draw(VALUES)
        text = json.dumps(entry)
    else:
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        text = text[:start] + data.draw(st.text(max_size=3)) + text[end:]
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        found = read(path)
    except ValueError as error:
        assert "written.json" in str(error)
        assert len(str(error)) < 500
    else:
        # Nothing else tells how long it took and how many tokens came.
        assert found.correct == FOUND.correct
        assert found.accuracy == FOUND.accuracy
        assert found.chain_match == FOUND.chain_match
        assert Evaluation.from_dict(found.to_dict()) == found
