"""The Coconut task model: a GPT-2 that reasons in continuous thoughts."""

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut.curriculum import check_count
from keras_coconut.models import (
    chain,
    compilation,
    decoder,
    generation,
    spans,
    varying_batches,
)
from keras_coconut.models.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.models.thought_reader import ThoughtReader
from keras_coconut.models.thought_tokens import (
    add_thought_tokens,
    check_backbone,
    has_thought_tokens,
)


@keras.saving.register_keras_serializable(package="keras_coconut")
class ContinuousThoughtLM(keras_hub.models.GPT2CausalLM):
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

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        preprocessor: a `keras_coconut.ContinuousThoughtPreprocessor`. If
            `None`, inputs must be the dictionary above. Defaults to `None`.
        num_thoughts: int. How often the model thinks when `generate` and
            `think` are not told; a `CurriculumScheduler` sets it to the
            thoughts of the stage it trains. Defaults to `None`.
        rematerialize: bool. Whether training keeps no more of a layer than
            what goes into it, and computes the rest again in the backward
            pass: about a quarter more time for much less memory. Right with
            dropout on every backend, where `keras.RematScope` is not.
            Defaults to `False`.

    Raises:
        ValueError: If the backbone is not a GPT-2, or if the preprocessor's
            vocabulary does not fit it.

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

    def __init__(
        self,
        backbone,
        preprocessor=None,
        num_thoughts=None,
        rematerialize=False,
        **kwargs,
    ):
        check_backbone(backbone)
        if num_thoughts is not None:
            check_count("num_thoughts", num_thoughts)
        if preprocessor is not None:
            _fit_preprocessor(preprocessor, backbone)

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
        self.num_thoughts = num_thoughts
        self.rematerialize = rematerialize

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Makes the model from a preset of its own or a plain GPT-2 preset.

        For a plain KerasHub GPT-2 preset the marker tokens are added to the
        tokenizer and the token embedding is grown; new rows are copies of the
        row of `<<`, or the mean row if the vocabulary has no `<<`. Every
        output for old tokens stays the same.

        Args:
            preset: string. A built-in preset name, a `kaggle://` or `hf://`
                handle, or a local folder.
            load_weights: bool. Whether to load the weights. Defaults to
                `True`.
            **kwargs: Passed to the constructor; `dtype` to the backbone.

        Raises:
            ValueError: If the preset's backbone is not a GPT-2.

        Example:
        ```python
        model = keras_coconut.ContinuousThoughtLM.from_preset(
            "gpt2_base_en", dtype="mixed_bfloat16"
        )
        ```
        """
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
        if isinstance(
            tokenizer, keras_hub.tokenizers.GPT2Tokenizer
        ) and has_thought_tokens(tokenizer):
            return super().from_preset(preset, load_weights, **kwargs)
        backbone_kwargs = {}
        if "dtype" in kwargs:
            backbone_kwargs["dtype"] = kwargs.pop("dtype")
        backbone = keras_hub.models.Backbone.from_preset(
            preset, load_weights=load_weights, **backbone_kwargs
        )
        check_backbone(backbone)
        tokenizer, backbone = add_thought_tokens(tokenizer, backbone)
        kwargs.setdefault("preprocessor", cls.preprocessor_cls(tokenizer))
        return cls(backbone=backbone, **kwargs)

    # === The latent loop ===

    def call(self, inputs, training=None):
        spans.check_keys(inputs)
        x = _as_int(inputs, spans.KEYS)
        # One lookup: each has a gradient as large as the whole vocabulary.
        question, response = ops.split(
            decoder.embed_tokens(
                self.backbone,
                ops.concatenate([x["question_ids"], x["response_ids"]], axis=1),
            ),
            [x["question_ids"].shape[1]],
            axis=1,
        )
        _, memory, length = self._think(question, x, training)
        response_mask = x["response_mask"]
        hidden, _ = decoder.decode_span(
            self.backbone,
            response,
            length[:, None] + _positions(response_mask),
            ops.cast(response_mask, "bool"),
            memory,
            training=training,
            rematerialize=self.rematerialize,
        )
        return decoder.logits(self.backbone, hidden)

    def think(self, questions, num_thoughts=None):
        """Returns the continuous thoughts of questions.

        Args:
            questions: a string, a list of strings, or a dictionary of
                `question_ids`, `question_mask` and `thought_mask`.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`; not for a dictionary, whose mask says
                it.

        Returns:
            Float array (B, K, D), for a dictionary a tensor: thought k is the
            input of slot k. Slots in which a row does not think are 0.

        Example:
        ```python
        thoughts = model.think("1 + 2 + 3?", num_thoughts=2)  # (1, 2, D)
        ```
        """
        if not isinstance(questions, dict):
            texts, counts = generation.read_questions(
                self, questions, num_thoughts
            )
            x = self.preprocessor.generate_preprocess(texts, counts)
            self.check_data(x, spans.QUESTION_KEYS)
            if not max(counts):
                return np.zeros((len(texts), 0, self.backbone.hidden_dim))
            return self._thought_reader().predict_on_batch(x)
        generation.check_not_told(num_thoughts)
        spans.check_keys(questions, spans.QUESTION_KEYS)
        x = _as_int(questions, spans.QUESTION_KEYS)
        question = decoder.embed_tokens(self.backbone, x["question_ids"])
        thoughts, _, _ = self._think(question, x, training=False)
        mask = ops.cast(x["thought_mask"], self.backbone.compute_dtype)
        return thoughts * mask[..., None]

    def _thought_reader(self):
        if "_reader" not in self.__dict__:
            # Past Keras' tracking: the reader holds this model, not it the
            # reader.
            self.__dict__["_reader"] = ThoughtReader(self)
        return self.__dict__["_reader"]

    def _think(self, inputs, x, training):
        """Passes over the question and the thoughts.

        Args:
            inputs: float tensor (B, Q, D), the embeddings of the question.
            x: the question's and the thoughts' keys.
            training: bool, whether dropout is on.

        Returns:
            A tuple of the thoughts (B, K, D), the `decoder.Span`s of question
            and thoughts, and the real positions (B,) of each row so far.
        """
        mask = x["question_mask"]
        thought, question = decoder.decode_span(
            self.backbone,
            inputs,
            _positions(mask),
            ops.cast(mask, "bool"),
            outputs="last",
            training=training,
            rematerialize=self.rematerialize,
        )
        length = ops.sum(mask, axis=1)
        thought_mask = x["thought_mask"]
        if thought_mask.shape[1] == 0:
            return ops.zeros_like(thought[:, :0]), [question], length
        thoughts, span = chain.think(
            self.backbone, thought, question, thought_mask, length, training
        )
        length = length + ops.sum(thought_mask, axis=1)
        return thoughts, [question, span], length

    # === Training ===

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        weighted_metrics="auto",
        sampler="greedy",
        compilation_cache=None,
        **kwargs,
    ):
        """Configures training and generation.

        Args:
            optimizer: `"auto"`, an optimizer name, or a `keras.Optimizer`.
                `"auto"` is that of the paper's recipes: AdamW with learning
                rate 1e-4 and weight decay 0.01.
            loss: `"auto"`, a loss name, or a `keras.losses.Loss`. `"auto"` is
                the cross entropy averaged over the batch's labelled positions.
            weighted_metrics: `"auto"`, or a list of metrics. `"auto"` is the
                accuracy of single tokens.
            sampler: A sampler name, or a `keras_hub.samplers.Sampler`, for
                `generate`. Defaults to `"greedy"`.
            compilation_cache: string, a folder. JAX keeps what it compiles
                there, for the whole process, so that a script run again
                starts at once. JAX only. Defaults to `None`.
            **kwargs: See `keras.Model.compile`.

        Raises:
            ValueError: If `compilation_cache` is given on another backend.
        """
        if compilation_cache is not None:
            compilation.keep_in(compilation_cache)
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        super().compile(
            optimizer=optimizer,
            loss=loss,
            weighted_metrics=weighted_metrics,
            sampler=sampler,
            **kwargs,
        )

    def fit(self, x=None, y=None, batch_size=None, **kwargs):
        """Trains the model; see `keras.Model.fit`.

        Args:
            x: a `CurriculumDataset`; or a dictionary of arrays with the keys
                of the call contract; or anything else that `keras.Model.fit`
                takes and that yields such dictionaries, alone or as `(x, y)`
                or `(x, y, sample_weight)`. Labels and loss weights that are
                not given follow from `response_ids` and `response_mask`.
            y: int array (B, R). Optional.
            batch_size: int. Rows in a batch of arrays; a dataset has its own.
            **kwargs: See `keras.Model.fit`.

        Raises:
            ValueError: If an array cannot be read: wrong keys or shapes, ids
                outside the vocabulary, masks with holes, rows that are too
                long. For a dataset, its first batch is looked at.
        """
        self.check_data(x)
        validation = kwargs.get("validation_data")
        if validation is not None:
            self.check_data(
                validation[0] if isinstance(validation, tuple) else validation
            )
        if isinstance(x, varying_batches.VaryingBatches):
            if kwargs.get("steps_per_epoch") is not None:
                raise ValueError(
                    "`steps_per_epoch` must be given to the dataset, which "
                    "orders its own batches, and not to `fit`. Received: "
                    f"steps_per_epoch={kwargs['steps_per_epoch']}"
                )
            x.check_callbacks(kwargs.get("callbacks"))
            x, kwargs["shuffle"] = varying_batches.adapt(x), False
        if isinstance(validation, varying_batches.VaryingBatches):
            kwargs["validation_data"] = varying_batches.adapt(validation)
        # Past KerasHub's `fit`, which refuses datasets of one's own.
        return keras.Model.fit(self, x, y, batch_size, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the loss and metrics; takes what `fit` takes."""
        if not kwargs.get("_use_cached_eval_dataset", False):
            self.check_data(x)
            if isinstance(x, varying_batches.VaryingBatches):
                x = varying_batches.adapt(x)
        return keras.Model.evaluate(self, x, y, batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns logits as a NumPy array; takes what `fit` takes."""
        self.check_data(x)
        if isinstance(x, varying_batches.VaryingBatches):
            x = varying_batches.adapt(x)
        return keras.Model.predict(self, x, batch_size, **kwargs)

    def preprocess_samples(self, x, y=None, sample_weight=None):
        # `CurriculumDataset` preprocesses; batches arrive as they should be.
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y, sample_weight = _labels(x, y, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = _labels(x, y, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def make_train_function(self, force=False):
        make = super().make_train_function
        varying_batches.make_step(self, "train_function", make, force)

    def make_test_function(self, force=False):
        make = super().make_test_function
        varying_batches.make_step(self, "test_function", make, force)

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(self, "predict_function", make, force)
        return self.predict_function

    def check_data(self, x, keys=spans.KEYS):
        """Raises a `ValueError` for data that the model cannot read.

        Args:
            x: what `fit` takes. All of an array is looked at, the first batch
                of a dataset, and nothing of an iterator, which would lose it.
            keys: the keys of the call contract that it must have.
        """
        if isinstance(x, keras.utils.PyDataset):
            x = x[0]
        elif hasattr(x, "element_spec") and hasattr(x, "as_numpy_iterator"):
            x = next(x.as_numpy_iterator(), None)
        elif not isinstance(x, (dict, tuple, list, np.ndarray)):
            if not ops.is_tensor(x):
                return
        spans.check_values(
            x[0] if isinstance(x, tuple) else x,
            self.backbone.vocabulary_size,
            self.backbone.max_sequence_length,
            keys,
        )

    # === Generation ===

    def generate(
        self,
        questions,
        max_length=None,
        num_thoughts=None,
        stop_token_ids="auto",
        batch_size=32,
        verbose=0,
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
            return generation.generate_from_ids(
                self, questions, max_length, num_thoughts, stop_token_ids
            )
        tokens = self.generate_tokens(
            questions,
            max_length,
            num_thoughts,
            stop_token_ids,
            batch_size,
            verbose,
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
    ):
        """Returns a list of the token ids of each response.

        As `generate`, for a string or a list of strings. A response ends with
        its stop token, if it came to one.
        """
        return generation.generate_tokens(
            self,
            questions,
            max_length,
            num_thoughts,
            stop_token_ids,
            batch_size,
            verbose,
        )

    def generate_step(self, inputs, stop_token_ids=None):
        """Generates one batch; compiled on JAX and TensorFlow."""
        return generation.respond(
            self, _as_int(inputs, spans.KEYS), stop_token_ids
        )

    # === Saving ===

    def get_config(self):
        return {
            **super().get_config(),
            "num_thoughts": self.num_thoughts,
            "rematerialize": self.rematerialize,
        }

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["sampler"] = keras_hub.samplers.serialize(self.sampler)
        return config

    def compile_from_config(self, config):
        config = dict(config)
        sampler = keras_hub.samplers.deserialize(config.pop("sampler"))
        config = keras.saving.deserialize_keras_object(config)
        self.compile(sampler=sampler, **config)
        # So that a `.keras` file finds the variables of its optimizer state.
        self.optimizer.build(self.trainable_variables)


def _as_int(x, keys):
    return {
        key: ops.cast(ops.convert_to_tensor(x[key]), "int32") for key in keys
    }


def _positions(mask):
    """Returns the positions (B, length) among a row's real tokens."""
    return ops.maximum(ops.cumsum(mask, axis=1) - 1, 0)


def _labels(x, y, sample_weight):
    """Returns labels and weights: those given, else those of the batch."""
    if y is not None:
        return y, sample_weight
    labels, weights = spans.targets(x)
    return labels, weights if sample_weight is None else sample_weight


def _fit_preprocessor(preprocessor, backbone):
    """Makes a preprocessor respect its backbone's sizes, or raises."""
    vocabulary = preprocessor.tokenizer.vocabulary
    if vocabulary is not None:  # None while a saved model is being loaded.
        largest = max(vocabulary.values())
        if largest >= backbone.vocabulary_size:
            raise ValueError(
                "`backbone` must have an embedding for every token of the "
                f"preprocessor's vocabulary, whose largest id is {largest}; "
                "`keras_coconut.add_thought_tokens` grows it. Received: "
                f"vocabulary_size={backbone.vocabulary_size}"
            )
    preprocessor.sequence_length = min(
        preprocessor.sequence_length, backbone.max_sequence_length
    )
