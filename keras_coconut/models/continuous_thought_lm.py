"""The Coconut task model: a decoder that reasons in continuous thoughts."""

import threading

import keras

from keras_coconut.backbones import check_backbone
from keras_coconut.checks import check_count, check_flag, check_instance
from keras_coconut.curriculum import (
    MOST_COUNT,
    ThoughtKind,
    check_thought_kind,
)
from keras_coconut.models import generation, presets
from keras_coconut.models.cloning import ClonedByParts, clonable
from keras_coconut.models.latent_decoder import LatentDecoder
from keras_coconut.models.span_trainer import SpanTrainer
from keras_coconut.models.thinking import Thinking
from keras_coconut.models.thought_reader import (
    check_layers,
    read_thoughts,
    states_of,
)
from keras_coconut.text import batches
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.text.questions import check_not_told


@keras.saving.register_keras_serializable(package="keras_coconut")
class ContinuousThoughtLM(ClonedByParts, Thinking, SpanTrainer):
    """A decoder that reasons by feeding its last hidden state back as input.

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
        backbone: a KerasHub backbone of a known family: GPT-2, OPT, GPT-NeoX,
            Llama, Llama 3 (SmolLM2 too), Mistral, Qwen 2.5, Qwen 3, Phi 3,
            Gemma, Gemma 2, Gemma 3 (text) or SmolLM3.
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
            pass: more time for less memory. Thoughts, of one position each,
            are left out on PyTorch. Right with dropout on every backend, where
            `keras.RematScope` is not. Defaults to `False`.
        num_iterations: int. With a number, the model computes all thoughts at
            once, that often, each time from its last guess (parallel thoughts
            by Jacobi iterations, PCCoT, arXiv 2506.18582); as many iterations
            as thoughts give the thoughts of Coconut. `None` computes one
            thought after the other. Defaults to `None`.

    Raises:
        ValueError: If the backbone is of no known family, if the preprocessor's
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
        num_iterations=None,
        **kwargs,
    ):
        check_backbone(backbone)
        check_thought_kind(thought_kind)
        if num_thoughts is not None:
            check_count("num_thoughts", num_thoughts, most=MOST_COUNT)
        rematerialize = check_flag("rematerialize", rematerialize)
        if markers is not None:
            markers = check_flag("markers", markers)
        if num_iterations is not None:
            num_iterations = check_count(
                "num_iterations", num_iterations, least=1
            )
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
        self.latent_decoder = LatentDecoder(
            backbone,
            markers=True if markers is None else markers,
            rematerialize=rematerialize,
            num_iterations=num_iterations,
            name="latent_decoder",
        )

        # === Functional Model ===
        inputs = {
            key: keras.Input(shape=(None,), dtype="int32", name=key)
            for key in batches.KEYS
        }
        super().__init__(
            inputs=inputs, outputs=self.latent_decoder(inputs), **kwargs
        )

        if preprocessor is not None:
            # Text has nothing to build. Keras on JAX makes a pass outside of
            # any program for each call of a model of which a part is not built.
            for layer in (preprocessor, preprocessor.tokenizer):
                layer.built = True

        # === Config ===
        self.make_thinking(num_thoughts, thought_kind)
        # Of `generate` and `think`, from however many threads: what Keras
        # makes and keeps for a call is made and kept by one of them.
        self.one_at_a_time = threading.RLock()

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Makes the model from a preset of its own or a plain KerasHub preset.

        For a plain preset the marker tokens are added to the tokenizer and the
        token embedding grows; see `add_thought_tokens`. Every output for old
        tokens stays the same.

        Args:
            preset: string or path-like. A built-in preset name, a `kaggle://`
                or `hf://` handle, or a local folder.
            load_weights: bool. Whether to load the weights. Defaults to
                `True`.
            **kwargs: Passed to the constructor; `dtype` to the backbone, and
                for a plain preset `markers`, `marker_tokens`, `separator`,
                `sequence_length` and `add_start_token` to the preprocessor.

        Raises:
            ValueError: If the preset's backbone is of no known family, before
                its weights are loaded, or if a file of a local preset is
                damaged; names the file.

        Example:
        ```python
        model = keras_coconut.ContinuousThoughtLM.from_preset(
            "gpt2_base_en", dtype="mixed_bfloat16"
        )
        ```
        """
        load_weights = check_flag("load_weights", load_weights)
        return presets.load(cls, preset, load_weights, kwargs)

    @property
    def layers(self):
        """The layers of the graph and, before what holds it, the backbone."""
        *inputs, latent_decoder = super().layers
        # Files of weights name the layers of a model by this list.
        return [*inputs, self.backbone, latent_decoder]

    @property
    def markers(self) -> bool:
        """Whether `<bot>` and `<eot>` stand around the thoughts."""
        return self.latent_decoder.markers

    @property
    def rematerialize(self) -> bool:
        """Whether training computes layers again in the backward pass."""
        return self.latent_decoder.rematerialize

    @property
    def num_iterations(self) -> int | None:
        """How often all thoughts are computed at once, or `None`."""
        return self.latent_decoder.num_iterations

    # === The latent loop ===

    def call(self, inputs, training=None, layers=None):
        watched = check_layers(self, layers)
        outputs = self.latent_decoder(
            inputs, training=training, watched=watched
        )
        if not watched:
            return outputs
        logits, thoughts = outputs
        return logits, states_of(thoughts, inputs["thought_mask"])

    def think(self, questions, num_thoughts=None, batch_size=32, layers=None):
        """Returns the continuous thoughts of questions.

        Args:
            questions: a string, a list of strings, or a dictionary of
                `question_ids`, `question_mask` and `thought_mask`.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`; not for a dictionary, whose mask says
                it.
            batch_size: int. Strings thought on at once. Defaults to `32`.
            layers: list of ints, numbers of the backbone's layers to look at,
                counted from 0. Defaults to `None`.

        Returns:
            Float32 array (B, K, D), for a dictionary a tensor: thought k is the
            input of slot k. With `layers` a `ThoughtStates`, which adds these
            layers' hidden states and attention at the thoughts. Slots in which
            a row does not think are 0.

        Raises:
            ValueError: If a count is negative or not whole, or if the model's
                thoughts are pauses.

        Example:
        ```python
        thoughts = model.think("1 + 2 + 3?", num_thoughts=2)  # (1, 2, D)
        states = model.think("1 + 2 + 3?", num_thoughts=2, layers=[0])
        states.attention[0]  # (1, heads, 2, Q + 2)
        ```
        """
        watched = check_layers(self, layers)
        if isinstance(questions, dict):
            check_not_told(num_thoughts)
            check_count("batch_size", batch_size, least=1)
            self.check_call(questions, batches.QUESTION_KEYS)
            thoughts = self.latent_decoder.think(questions, watched)
            states = states_of(thoughts, questions["thought_mask"])
        else:
            states = read_thoughts(
                self, questions, num_thoughts, batch_size, watched
            )
        return states if watched else states.thoughts

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
        settings = generation.Settings(
            max_length, stop_token_ids, batch_size, verbose
        )
        if isinstance(questions, dict):
            if thoughts is not None:
                questions = {**questions, "thoughts": thoughts}
            return generation.generate_from_ids(
                self, questions, num_thoughts, settings
            )
        tokens = generation.generate_tokens(
            self, questions, num_thoughts, thoughts, settings
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
        settings = generation.Settings(
            max_length, stop_token_ids, batch_size, verbose, on_response
        )
        return generation.generate_tokens(
            self, questions, num_thoughts, thoughts, settings
        )

    def generate_step(self, inputs, stop_token_ids=None):
        """Generates one batch; compiled on JAX and TensorFlow."""
        return generation.respond(self, inputs, stop_token_ids)

    # === Saving ===

    def thinking_config(self):
        """Returns the arguments of the constructor that are the task's own."""
        return {
            "num_thoughts": self.num_thoughts,
            "thought_kind": self.thought_kind,
            "rematerialize": self.rematerialize,
            "markers": self.markers,
            "num_iterations": self.num_iterations,
        }

    def get_config(self):
        config = {**super().get_config(), **self.thinking_config()}
        presets.complete_config(self.backbone, config["backbone"])
        return config

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves the model as a preset; see `keras_hub.models.Task`.

        Files that are there are replaced once the whole preset is written.

        Raises:
            OSError: If the preset cannot be written, or if there is no room
                for it. One that is there already is what it was.
        """

        def save(folder):
            super(ContinuousThoughtLM, self).save_to_preset(
                folder, max_shard_size
            )
            presets.complete_preset(self.backbone, folder)

        presets.save_aside(self, preset_dir, save)
