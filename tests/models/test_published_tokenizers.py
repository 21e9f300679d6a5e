"""Hugging Face's files of tokenizers in and out: whose tokens they give."""

import json

import keras_hub
import pytest
import tiny_tokenizers
from published_files import forget_settings, write_json
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

import keras_coconut
from keras_coconut.text import byte_pairs

pytestmark = pytest.mark.any_backend

read = keras_coconut.read_published_model
write = keras_coconut.write_published_model


def backbone_of(kind, size):
    if kind == "gpt2":
        return keras_hub.models.GPT2Backbone(size, 1, 2, 8, 16)
    return keras_hub.models.Llama3Backbone(size, 1, 2, 8, 16, 1)


def model_of(preprocessor):
    tokenizer = preprocessor.tokenizer
    is_gpt2 = isinstance(tokenizer, keras_hub.tokenizers.GPT2Tokenizer)
    backbone = backbone_of(
        "gpt2" if is_gpt2 else "llama", tokenizer.vocabulary_size()
    )
    return keras_coconut.ContinuousThoughtLM(backbone, preprocessor)


@pytest.mark.parametrize(
    "kind", ["gpt2", "words", "llama3", "llama3_renamed", "llama"]
)
def test_tokenizers_in_and_out(tmp_path, kind):
    if kind == "words":
        preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
            keras_coconut.make_word_tokenizer(
                ["###", "start 3", " Tom", "Tom", "3", "1+2", "\n\t"]
            )
        )
    else:
        preprocessor = tiny_tokenizers.preprocessor(kind)
    write(model_of(preprocessor), tmp_path)
    again = read(tmp_path).preprocessor
    text = "start 3, +4  1234 it's <<1+2=3>>\n\tTom\n"
    rows = preprocessor.tokenize_questions([text])
    assert again.tokenize_questions([text]) == rows
    assert again.marker_tokens == preprocessor.marker_tokens
    assert again.add_start_token == preprocessor.add_start_token
    assert again.generate_postprocess(rows) == (
        preprocessor.generate_postprocess(rows)
    )
    if kind != "llama3":  # Whose files name `<|eot_id|>` as special.
        assert again.fingerprint() == preprocessor.fingerprint()
    if kind == "llama":
        return
    # As everybody else reads it.
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(text + "\n").ids == rows[0][:-1]
    begin, end, _ = preprocessor.marker_tokens
    ids = [preprocessor.begin_of_thought_id, preprocessor.end_of_thought_id]
    assert theirs.encode(begin + end).ids[-2:] == ids


# Two line breaks, three and four digits, a space and a bracket.
CROSSING = ["Ċ Ċ", "1 2", "3 4", "12 34", "12 3", "Ġ (", "a b"]
CROSSED = ["a\n\nb", "x 1234 12", " (ab) Ab\n\n", "123"]
SPLITS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama3": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
                    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                    r"|\s+(?!\S)|\s+"
                ),
                behavior="isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    # Of SmolLM2.
    "digits": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
}


def crossing(kind):
    """A tokenizer of KerasHub's whose merges cross every split."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    special += ["<|start_header_id|>", "<|end_header_id|>", "<|endoftext|>"]
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens += [merge.replace(" ", "") for merge in CROSSING] + special
    cls = keras_hub.tokenizers.GPT2Tokenizer
    if kind == "llama":
        cls = keras_hub.tokenizers.Llama3Tokenizer
    return cls({token: i for i, token in enumerate(tokens)}, CROSSING)


def write_split(folder, kind, split, **model):
    """Files of a published tokenizer that splits a text; returns theirs."""
    tokenizer = crossing(kind)
    backbone = backbone_of(kind, tokenizer.vocabulary_size())
    write(keras_coconut.ContinuousThoughtLM(backbone), folder)
    theirs = Tokenizer(
        models.BPE(
            vocab=tokenizer.vocabulary,
            merges=[tuple(merge.split()) for merge in CROSSING],
            **model,
        )
    )
    theirs.pre_tokenizer = split
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([*tokenizer.special_tokens])
    theirs.save(str(folder / "tokenizer.json"))
    ends = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    write_json(folder / "tokenizer_config.json", ends)
    return theirs


def split_at_digits(tokenizer, texts):
    """Ids as of a tokenizer that splits numbers into digits."""
    made = byte_pairs.make(tokenizer)
    made.pre_tokenizer = SPLITS["digits"]
    return [one.ids for one in made.encode_batch(texts)]


def tokens_of(preprocessor, texts):
    """The tokens of each text, as steps have them."""
    (found,) = preprocessor.tokenize_problems(
        [keras_coconut.Problem("?", texts, "")]
    )
    return found.steps


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_tokens_that_a_model_was_trained_on_are_written(tmp_path, kind):
    """KerasHub's tokenizers do not split a text."""
    tokenizer = keras_coconut.add_thought_tokens(crossing(kind))
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer, separator=""
    )
    expected = tokens_of(preprocessor, CROSSED)
    write(model_of(preprocessor), tmp_path)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    found = theirs.encode_batch(CROSSED, add_special_tokens=False)
    assert [one.ids for one in found] == expected
    again = read(tmp_path).preprocessor
    assert tokens_of(again, CROSSED) == expected
    if kind == "gpt2":  # Files of Llama 3 name `<|eot_id|>` as special.
        assert again.fingerprint() == preprocessor.fingerprint()
    # These would mean a split.
    assert not (tmp_path / "vocab.json").exists()


@pytest.mark.parametrize("ignore_merges", [False, True])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_tokens_of_a_published_tokenizer(
    tmp_path, kind, split, ignore_merges
):
    """In, out, in again, and as a preset."""
    theirs = write_split(
        tmp_path / "in", kind, SPLITS[split], ignore_merges=ignore_merges
    )
    expected = [one.ids for one in theirs.encode_batch(CROSSED)]
    model = read(tmp_path / "in", separator="", add_start_token=False)
    assert tokens_of(model.preprocessor, CROSSED) == expected
    assert model.preprocessor.generate_postprocess(expected) == CROSSED
    write(model, tmp_path / "out")
    file = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [one.ids for one in file.encode_batch(CROSSED)] == expected
    model.save_to_preset(tmp_path / "preset")
    for folder in ("out", "preset"):
        again = keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / folder)
        assert tokens_of(again.preprocessor, CROSSED) == expected
        assert again.preprocessor.fingerprint() == (
            model.preprocessor.fingerprint()
        )
    if not tiny_tokenizers.IN_TENSORFLOW_ALONE:
        assert model.preprocessor.tokenizer.tokenize(CROSSED) == expected


def test_files_of_gpt2_that_say_nothing_of_a_split(tmp_path):
    theirs = write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    expected = [one.ids for one in theirs.encode_batch(CROSSED)]
    write(read(tmp_path, separator=""), tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert tokens_of(read(tmp_path).preprocessor, CROSSED) == expected


@pytest.mark.parametrize("special", [False, True])
def test_tokens_that_are_added_to_a_vocabulary(tmp_path, special):
    theirs = write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    theirs.add_tokens([AddedToken("<sep>", special=special)])
    theirs.save(str(tmp_path / "tokenizer.json"))
    model = keras_coconut.ContinuousThoughtLM(
        backbone_of("gpt2", theirs.get_vocab_size())
    )
    write(model, tmp_path)
    model = read(tmp_path, separator="")
    texts = ["a<sep>b", "<sep>"]
    expected = [one.ids for one in theirs.encode_batch(texts)]
    assert len(expected[0]) == 3
    assert tokens_of(model.preprocessor, texts) == expected
    write(model, tmp_path / "out")
    assert tokens_of(read(tmp_path / "out").preprocessor, texts) == expected


def test_tokens_that_are_added_beside_a_tokenizer_json(tmp_path):
    """The file of the model before them, and theirs."""
    theirs = write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    size = theirs.get_vocab_size()
    model = keras_coconut.ContinuousThoughtLM(backbone_of("gpt2", size + 1))
    write(model, tmp_path)
    write_json(tmp_path / "added_tokens.json", {"<sep>": size})
    preprocessor = read(tmp_path, separator="").preprocessor
    (found,) = tokens_of(preprocessor, ["a<sep>b"])
    assert len(found) == 3 and found[1] == size


def test_files_of_another_split_do_not_stay(tmp_path):
    """`vocab.json` and `merges.txt` would say that a text is split."""
    theirs = write_split(tmp_path / "in", "gpt2", SPLITS["gpt2"])
    backbone = backbone_of("gpt2", theirs.get_vocab_size())
    write(keras_coconut.ContinuousThoughtLM(backbone), tmp_path / "in")
    write(read(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert (tmp_path / "out" / "vocab.json").exists()
    write(model_of(tiny_tokenizers.preprocessor("gpt2")), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not names & {"vocab.json", "merges.txt"} and "mine.txt" in names
    read(tmp_path / "out")


def test_words_that_are_added_to_llama_are_text(tmp_path):
    theirs = write_split(tmp_path, "llama", SPLITS["llama3"])
    theirs.add_tokens(["<sep>"])
    theirs.save(str(tmp_path / "tokenizer.json"))
    model = keras_coconut.ContinuousThoughtLM(
        backbone_of("llama", theirs.get_vocab_size())
    )
    write(model, tmp_path)
    preprocessor = read(tmp_path, separator="").preprocessor
    (found,) = tokens_of(preprocessor, ["a<sep>b<|eot_id|>"])
    assert found[:3] == theirs.encode("a<sep>b").ids
    # A control token is none in a text.
    assert len(found) > 4


def test_settings_of_thoughts_and_text(tmp_path):
    names = ("<a>", "<b>", "<c>")
    tokenizer = keras_coconut.add_thought_tokens(
        tiny_tokenizers.plain("gpt2"), marker_tokens=names
    )
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer,
        marker_tokens=names,
        separator=" ",
        markers=False,
        add_start_token=True,
        sequence_length=33,
    )
    model = keras_coconut.ContinuousThoughtLM(
        backbone_of("gpt2", tokenizer.vocabulary_size()),
        preprocessor,
        num_thoughts=3,
        thought_kind="pause",
        num_iterations=2,
        rematerialize=True,
    )
    write(model, tmp_path)
    again = read(tmp_path)
    assert again.thinking_config() == model.thinking_config()
    assert again.preprocessor.fingerprint() == preprocessor.fingerprint()
    assert again.preprocessor.marker_tokens == names
    assert again.preprocessor.sequence_length == 33
    assert again.backbone.vocabulary_size == model.backbone.vocabulary_size
    # Arguments count more.
    other = read(tmp_path, num_thoughts=1, markers=True, separator="")
    assert (other.num_thoughts, other.markers) == (1, True)
    assert other.preprocessor.separator == ""
    bare = read(tmp_path, preprocessor=None)
    assert bare.thinking_config() == model.thinking_config()
    given = read(tmp_path, preprocessor=tiny_tokenizers.preprocessor("gpt2"))
    assert given.markers and given.num_thoughts == 3
    forget_settings(tmp_path)
    assert read(tmp_path, preprocessor=None).num_thoughts is None


def test_tokens_that_llama_3_reserves(tmp_path):
    """They keep their rows, and the markers come behind them."""
    preprocessor = tiny_tokenizers.preprocessor("llama3")
    size = preprocessor.tokenizer.vocabulary_size()
    backbone = keras_hub.models.Llama3Backbone(size, 1, 2, 8, 16, 1)
    write(keras_coconut.ContinuousThoughtLM(backbone, preprocessor), tmp_path)
    path = tmp_path / "tokenizer.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    tokens = file["added_tokens"]
    for token in tokens[-3:]:
        token["content"] = f"<|reserved_special_token_{token['id']}|>"
    file["model"]["vocab"] = {
        token: index
        for token, index in file["model"]["vocab"].items()
        if index < size - 3
    }
    file["post_processor"] = None
    write_json(path, file)
    # Some releases say more of a token.
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["bos_token"] = {"content": settings["bos_token"]}
    write_json(path, settings)
    forget_settings(tmp_path)
    model = read(tmp_path)
    assert model.preprocessor.begin_of_thought_id == size
    assert model.backbone.vocabulary_size == size + 3
    # No file puts a start token before a text.
    assert model.preprocessor.add_start_token is False
    assert read(tmp_path, add_start_token=True).preprocessor.add_start_token


# === Refusals ===


def change_pre_tokenizer(value):
    def change(settings):
        settings["pre_tokenizer"] = value

    return change


def change_model(**values):
    return lambda settings: settings["model"].update(values)


def change_added(**values):
    return lambda settings: settings["added_tokens"][0].update(values)


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
METASPACE = {
    "type": "Metaspace",
    "replacement": "_",
    "prepend_scheme": "never",
    "split": True,
}
REMOVED = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "Removed",
    "invert": False,
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda s: s.update(normalizer={"type": "Lowercase"}),
            "normalizer={'type': 'Lowercase'}",
        ),
        (
            change_pre_tokenizer({**BYTES, "add_prefix_space": True}),
            "add_prefix_space=True",
        ),
        (change_pre_tokenizer({"type": "Whitespace"}), "'Whitespace'"),
        (change_pre_tokenizer(None), "pre_tokenizer=None"),
        (
            change_pre_tokenizer(
                {"type": "Sequence", "pretokenizers": [METASPACE, BYTES]}
            ),
            "Metaspace",
        ),
        (
            change_pre_tokenizer(
                {"type": "Sequence", "pretokenizers": [REMOVED, BYTES]}
            ),
            "Removed",
        ),
        (change_model(dropout=0.5), "dropout=0.5"),
        (change_model(end_of_word_suffix="</w>"), "end_of_word_suffix='</w>'"),
        (change_added(lstrip=True), "'<|endoftext|>', lstrip=True"),
        (change_added(single_word=True), "single_word=True"),
    ],
)
def test_settings_that_give_other_tokens(tmp_path, change, named):
    write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    path = tmp_path / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    change(settings)
    write_json(path, settings)
    with pytest.raises(ValueError, match="`path` must hold") as error:
        read(tmp_path)
    assert "'tokenizer.json', whose setting" in str(error.value)
    assert named in str(error.value)


def test_settings_that_change_nothing(tmp_path):
    """As real files of GPT-2 and Llama 3 hold them, and those of a training."""
    theirs = write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    expected = [one.ids for one in theirs.encode_batch(CROSSED)]
    theirs.normalizer = normalizers.Sequence([])
    theirs.enable_padding(length=9)
    theirs.enable_truncation(2)
    theirs.save(str(tmp_path / "tokenizer.json"))
    settings = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    settings["model"] |= {
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
    }
    settings["added_tokens"][0]["normalized"] = True
    del settings["pre_tokenizer"]["use_regex"], settings["model"]["type"]
    write_json(tmp_path / "tokenizer.json", settings)
    preprocessor = read(tmp_path, separator="").preprocessor
    assert tokens_of(preprocessor, CROSSED) == expected
    assert not preprocessor.add_start_token


def test_a_release_of_kerashub_that_splits_is_not_written(
    tmp_path, monkeypatch
):
    """Its tokens would not be those of the file."""
    tokenizer = keras_coconut.add_thought_tokens(crossing("gpt2"))
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
    model = model_of(preprocessor)
    monkeypatch.setattr(byte_pairs, "tokenize", split_at_digits)
    with pytest.raises(ValueError, match="`model` must have a tokenizer whose"):
        write(model, tmp_path)


@pytest.mark.parametrize(
    ("settings", "named"),
    [([], "keras_coconut=[]"), ({"thoughts": 1}, "setting 'thoughts'")],
)
def test_settings_that_are_not_ours(tmp_path, settings, named):
    write_split(tmp_path, "gpt2", SPLITS["gpt2"])
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    write_json(tmp_path / "config.json", {**config, "keras_coconut": settings})
    with pytest.raises(ValueError, match="`path` must hold") as error:
        read(tmp_path)
    assert named in str(error.value)
