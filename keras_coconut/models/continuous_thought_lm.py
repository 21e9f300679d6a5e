"""The Coconut task model: a GPT-2 that reasons in continuous thoughts."""

import threading

import keras
import keras_hub
from keras import ops

from keras_coconut.checks import check_count, check_flag, check_instance
from keras_coconut.curriculum import (
    MOST_COUNT,
    ThoughtKind,
    check_thought_kind,
)
from keras_coconut.models import (
    embeddings,
    generation,
    spans,
)
from keras_coconut.models.cloning import ClonedByParts, clonable
from keras_coconut.models.passes import (
    make_passes,
    positions_within,
    read_and_think,
)
from keras_coconut.models.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.models.presets import check_preset, naming
from keras_coconut.models.questions import check_not_told
from keras_coconut.models.span_trainer import SpanTrainer
from keras_coconut.models.thinking import Thinking
from keras_coconut.models.thought_reader import read_thoughts
from keras_coconut.models.thought_tokens import (
    add_thought_tokens,
    check_backbone,
    has_thought_tokens,
)


@keras.saving.register_keras_serializable(package="keras_coconut")
class ContinuousThoughtLM(ClonedByParts, Thinking, SpanTrainer):
    """A GPT-2 that reasons by feeding its last hidden state back as input.

    Between the begin-of-thought token that ends a question and the
    end-of-thought token that starts the response, the model takes no tokens:
    thought 1 is the hidden state (after the final layer norm) at `<bot>`,
    thought k the hidden state at thought k - 1 (Coconut, arXiv 2412.06769,
    section 3). A call makes one pass over the question, one over each thought
    and one over the response; every position is computed once, and gradients
    flow through the whole chain of thoughts.

    A call takes a dictionary, B rows of Q, K and R positions:

    - `question_ids`, `question_mask`: int (B, Q), left-padded, the last token
      is `<bot>`.
    - `thought_mask`: int (B, K), 1 where the row thinks; a row's thoughts come
      first, idle slots last. K may be 0.
    - `response_ids`, `response_mask`: int (B, R), starts with `<eot>`,
      right-padded.

    and returns logits (B, R, V): position r predicts `response_ids[:, r + 1]`.
    With a further key `thoughts`, float (B, K, D), the model does not think but
    reads these as its thoughts, all at once.

    Without `markers` no `<bot>` ends the question, and the `<eot>` that starts
    the response only holds its place: it is not read, and position 0 predicts
    from the hidden state at the row's last thought, or at the end of its
    question.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        preprocessor: a `keras_coconut.ContinuousThoughtPreprocessor`. If
            `None`, inputs must be the dictionary above. Defaults to `None`.
        num_thoughts: int. How often the model thinks when `generate` and
            `think` are not told; a `CurriculumScheduler` sets it to the
            thoughts of the stage it trains. Defaults to `None`.
        thought_kind: `"continuous"`, or `"pause"` for a model whose thoughts
            are a learned token: `generate` then writes that token behind the
            question instead of thinking. A `CurriculumScheduler` sets it.
            Defaults to `"continuous"`.
        markers: bool. Whether `<bot>` and `<eot>` stand around the thoughts, as
            in the paper. Without them, as in arXiv 2505.12514, the hidden state
            that predicts a step in words is the one that becomes a thought
            when that step is hidden. Defaults to that of the preprocessor,
            `True` if there is none.
        rematerialize: bool. Whether training keeps no more of a layer than
            what goes into it, and computes the rest again in the backward
            pass: more time for less memory. Right with dropout on every
            backend, where `keras.RematScope` is not. Defaults to `False`.

    Raises:
        ValueError: If the backbone is not a GPT-2, if the preprocessor's
            vocabulary does not fit it, or if its `markers` are not the model's.

    Example:
    ```python
    # From a pretrained GPT-2; the marker tokens are added.
    model = keras_coconut.ContinuousThoughtLM.from_preset("gpt2_base_en")
    dataset = keras_coconut.CurriculumDataset(
        keras_coconut.read_problems("prosqa_train.json"),
        model.preprocessor,
        keras_coconut.Curriculum(max_stage=6, epochs_per_stage=5),
        batch_size=32,
    )
    model.fit(
        dataset,
        epochs=50,
        callbacks=[keras_coconut.CurriculumScheduler(dataset)],
    )
    model.generate(["Every lorpus is a rorpus. ... Is Tom a lorpus or wumpus?"])
    ```

    Reference:
     - [Hao et al., 2024](https://arxiv.org/abs/2412.06769)
    """

    preprocessor_cls = ContinuousThoughtPreprocessor

    @clonable
    def __init__(
        self,
        backbone,
        preprocessor=None,
        num_thoughts=None,
        thought_kind: ThoughtKind = "continuous",
        rematerialize=False,
        markers=None,
        **kwargs,
    ):
        check_backbone(backbone)
        check_thought_kind(thought_kind)
        if num_thoughts is not None:
            check_count("num_thoughts", num_thoughts, most=MOST_COUNT)
        rematerialize = check_flag("rematerialize", rematerialize)
        if markers is not None:
            markers = check_flag("markers", markers)
        if preprocessor is not None:
            check_instance(
                "preprocessor",
                preprocessor,
                self.preprocessor_cls,
                "a `keras_coconut.ContinuousThoughtPreprocessor`",
            )
            preprocessor.fit_to(backbone)
            if markers not in (None, preprocessor.markers):
                raise ValueError(
                    "`markers` must be that of the preprocessor, "
                    f"{preprocessor.markers}. Received: markers={markers}"
                )
            markers = preprocessor.markers

        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor

        # === Functional Model ===
        # The inputs and layers, for saving and `summary()`; `call` is our own.
        inputs = {
            key: keras.Input(shape=(None,), dtype="int32", name=key)
            for key in spans.KEYS
        }
        hidden = backbone(
            {
                "token_ids": inputs["response_ids"],
                "padding_mask": inputs["response_mask"],
            }
        )
        outputs = backbone.token_embedding(hidden, reverse=True)
        # Past `GPT2CausalLM.__init__`, which would take the backbone's inputs.
        super(keras_hub.models.GPT2CausalLM, self).__init__(
            inputs=inputs, outputs=outputs, **kwargs
        )

        # === Config ===
        self.rematerialize = rematerialize
        self.markers = True if markers is None else markers
        self.make_thinking(num_thoughts, thought_kind)
        # Of `generate` and `think`, from however many threads: what Keras
        # makes and keeps for a call is made and kept by one of them.
        self.one_at_a_time = threading.RLock()

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Makes the model from a preset of its own or a plain GPT-2 preset.

        For a plain KerasHub GPT-2 preset the marker tokens are added to the
        tokenizer and the token embedding is grown; new rows are copies of the
        row of `<<`, or the mean row if the vocabulary has no `<<`. Every
        output for old tokens stays the same.

        Args:
            preset: string or path-like. A built-in preset name, a `kaggle://`
                or `hf://` handle, or a local folder.
            load_weights: bool. Whether to load the weights. Defaults to
                `True`.
            **kwargs: Passed to the constructor; `dtype` to the backbone.

        Raises:
            ValueError: If the preset's backbone is not a GPT-2, or if a file of
                a local preset is damaged; names the file.

        Example:
        ```python
        model = keras_coconut.ContinuousThoughtLM.from_preset(
            "gpt2_base_en", dtype="mixed_bfloat16"
        )
        ```
        """
        preset = check_preset(preset)
        load_weights = check_flag("load_weights", load_weights)
        with naming(preset):
            tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
            if isinstance(
                tokenizer, keras_hub.tokenizers.GPT2Tokenizer
            ) and has_thought_tokens(tokenizer):
                return super().from_preset(preset, load_weights, **kwargs)
        backbone_kwargs = {}
        if "dtype" in kwargs:
            backbone_kwargs["dtype"] = kwargs.pop("dtype")
        with naming(preset):
            backbone = keras_hub.models.Backbone.from_preset(
                preset, load_weights=load_weights, **backbone_kwargs
            )
        check_backbone(backbone)
        tokenizer, backbone = add_thought_tokens(tokenizer, backbone)
        kwargs.setdefault("preprocessor", cls.preprocessor_cls(tokenizer))
        return cls(backbone=backbone, **kwargs)

    # === The latent loop ===

    def call(self, inputs, training=None):
        x = self._read(inputs, spans.KEYS)
        response_ids, mask = x["response_ids"], x["response_mask"]
        if not self.markers:
            # What is read begins behind the place of `<eot>`.
            response_ids, mask = response_ids[:, 1:], mask[:, 1:]
        # One lookup: each has a gradient as large as the whole vocabulary.
        embedded, table = embeddings.embed_for_logits(
            self.backbone,
            ops.concatenate([x["question_ids"], response_ids], axis=1),
        )
        question, response = ops.split(
            embedded, [x["question_ids"].shape[1]], axis=1
        )
        passes = make_passes(
            self.backbone, training, self.rematerialize, self.jit_compile
        )
        _, memory, length, last = read_and_think(
            passes, question, x, self.markers
        )
        hidden = last
        if response_ids.shape[1]:
            hidden, _ = passes.read(
                response,
                length[:, None] + positions_within(mask),
                ops.cast(mask, "bool"),
                memory,
            )
            if not self.markers:
                hidden = ops.concatenate([last, hidden], axis=1)
        return embeddings.logits(self.backbone, hidden, table)

    def think(self, questions, num_thoughts=None, batch_size=32):
        """Returns the continuous thoughts of questions.

        Args:
            questions: a string, a list of strings, or a dictionary of
                `question_ids`, `question_mask` and `thought_mask`.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`; not for a dictionary, whose mask says
                it.
            batch_size: int. Strings thought on at once. Defaults to `32`.

        Returns:
            Float array (B, K, D), for a dictionary a tensor: thought k is the
            input of slot k. Slots in which a row does not think are 0.

        Raises:
            ValueError: If a count is negative or not whole, or if the model's
                thoughts are pauses.

        Example:
        ```python
        thoughts = model.think("1 + 2 + 3?", num_thoughts=2)  # (1, 2, D)
        ```
        """
        if not isinstance(questions, dict):
            return read_thoughts(self, questions, num_thoughts, batch_size)
        check_not_told(num_thoughts)
        check_count("batch_size", batch_size, least=1)
        self.check_call(questions, spans.QUESTION_KEYS)
        x = self._read(questions, spans.QUESTION_KEYS)
        question = embeddings.embed_tokens(self.backbone, x["question_ids"])
        passes = make_passes(self.backbone, training=False)
        thoughts, *_ = read_and_think(passes, question, x)
        mask = ops.cast(x["thought_mask"], self.backbone.compute_dtype)
        return thoughts * mask[..., None]

    def _read(self, inputs, keys):
        """Returns the tensors of a batch in the types that are computed."""
        x = {
            key: ops.cast(ops.convert_to_tensor(inputs[key]), "int32")
            for key in keys
        }
        if "thoughts" in inputs:
            x["thoughts"] = ops.cast(
                ops.convert_to_tensor(inputs["thoughts"]),
                self.backbone.compute_dtype,
            )
        return x

    # === Generation ===

    def generate(
        self,
        questions,
        max_length=None,
        num_thoughts=None,
        stop_token_ids="auto",
        batch_size=32,
        verbose=0,
        thoughts=None,
    ):
        """Answers questions: thinks, then writes the response.

        Questions of like length share a batch, whatever their order, and a row
        in a batch gets the same tokens as alone. A row ends at its own stop
        token. Sampling is that of `compile(sampler=...)`, greedy by default.

        Args:
            questions: a string or a list of strings. Without a preprocessor, a
                dictionary of the call contract's keys, whose `response_ids`
                (B, 1) hold the end-of-thought token.
            max_length: int. The most tokens of a response, end of text
                included. Defaults to 128, or the room that the backbone's
                maximum length leaves a row, if that is less.
            num_thoughts: int, or one int for each question; 0 is allowed.
                Defaults to the model's `num_thoughts`. Not for a dictionary,
                whose `thought_mask` says it.
            stop_token_ids: `"auto"`, `None` or a tuple of ints. `"auto"` is
                the end of text; `None` never stops. Defaults to `"auto"`.
            batch_size: int. Questions answered at once. Defaults to `32`.
            verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.
            thoughts: float array (questions, K, D), which the model takes for
                its thoughts instead of thinking, the first `num_thoughts` of
                each row: those that `think` returned, or what a control puts in
                their place. A dictionary may hold them as `thoughts`. Defaults
                to `None`.

        Returns:
            The response as a string, or a list of them; for a dictionary, a
            dictionary of `response_ids` and `response_mask`, which begin with
            the end-of-thought token and end with the stop token.

        Raises:
            ValueError: If a count is negative or not whole, or if question,
                thoughts and `max_length` do not fit the backbone's maximum
                length; names the question.

        Example:
        ```python
        model.generate("1 + 2 + 3?", num_thoughts=2)
        # One without thoughts, one with three.
        model.generate(["1 + 2?", "4 + 5 + 6?"], num_thoughts=[0, 3])
        ```
        """
        if isinstance(questions, dict):
            if thoughts is not None:
                questions = {**questions, "thoughts": thoughts}
            return generation.generate_from_ids(
                self,
                questions,
                max_length,
                num_thoughts,
                stop_token_ids,
                batch_size,
                verbose,
            )
        tokens = self.generate_tokens(
            questions,
            max_length,
            num_thoughts,
            stop_token_ids,
            batch_size,
            verbose,
            thoughts,
        )
        responses = self.preprocessor.generate_postprocess(tokens)
        return responses[0] if isinstance(questions, str) else responses

    def generate_tokens(
        self,
        questions,
        max_length=None,
        num_thoughts=None,
        stop_token_ids="auto",
        batch_size=32,
        verbose=0,
        thoughts=None,
        on_response=None,
    ):
        """Returns a list of the token ids of each response.

        As `generate`, for a string or a list of strings. A response ends with
        its stop token, if it came to one.

        Args:
            questions: a string or a list of strings.
            max_length, num_thoughts, stop_token_ids: see `generate`.
            batch_size, verbose, thoughts: see `generate`.
            on_response: function of the index of a question and the token ids
                of its response, called as soon as that response is finished.
                Defaults to `None`.
        """
        return generation.generate_tokens(
            self,
            questions,
            max_length,
            num_thoughts,
            stop_token_ids,
            batch_size,
            verbose,
            thoughts,
            on_response,
        )

    def generate_step(self, inputs, stop_token_ids=None):
        """Generates one batch; compiled on JAX and TensorFlow."""
        return generation.respond(
            self, self._read(inputs, spans.KEYS), stop_token_ids
        )

    # === Saving ===

    def thinking_config(self):
        """Returns the arguments of the constructor that are the task's own."""
        return {
            "num_thoughts": self.num_thoughts,
            "thought_kind": self.thought_kind,
            "rematerialize": self.rematerialize,
            "markers": self.markers,
        }

    def get_config(self):
        return {**super().get_config(), **self.thinking_config()}
