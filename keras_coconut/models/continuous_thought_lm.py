"""The Coconut task: a decoder that reasons in continuous thoughts."""

import threading
from typing import Any

import keras
import keras_hub

from keras_coconut.backbones import check_backbone
from keras_coconut.checks import (
    PathLike,
    check_count,
    check_flag,
    check_instance,
    shown,
)
from keras_coconut.curriculum import (
    MOST_COUNT,
    ThoughtKind,
    check_thought_kind,
)
from keras_coconut.models import presets
from keras_coconut.models.cloning import ClonedByParts, clonable
from keras_coconut.models.exporting import Exporting
from keras_coconut.models.fitting import Fitting
from keras_coconut.models.generating import Generating
from keras_coconut.models.inherited import Inherited
from keras_coconut.models.latent_decoder import LatentDecoder
from keras_coconut.models.layer_changes import LayerChanges
from keras_coconut.models.reading_thoughts import ReadingThoughts
from keras_coconut.models.scoring import Scoring
from keras_coconut.models.thinking import Thinking
from keras_coconut.models.thought_reader import check_layers, states_of
from keras_coconut.text import batches
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.text.registration import register

# Arguments that Keras and KerasHub accept for every task.
_OF_KERAS = {"name", "dtype", "trainable", "compile"}


@register
class ContinuousThoughtLM(
    Exporting,
    Scoring,
    Inherited,
    LayerChanges,
    ClonedByParts,
    ReadingThoughts,
    Thinking,
    Generating,
    Fitting,
):
    """A decoder that reasons by feeding its last hidden state back as input.

    A question ends with the begin-of-thought token `<bot>`, and a response
    starts with the end-of-thought token `<eot>`. Between them the model reads
    no tokens: thought 1 is the hidden state (after the final layer norm) at
    `<bot>`, and thought k is the hidden state at thought k - 1 (Coconut, arXiv
    2412.06769, section 3). A call makes one pass over the question, one over
    each thought and one over the response. It computes every position once, and
    gradients flow through the whole chain of thoughts.

    A call takes a dictionary, the *call contract*, of B rows with Q question
    positions, K thought slots and R response positions:

    - `question_ids`, `question_mask`: int (B, Q), left-padded, the last token
      is `<bot>`.
    - `thought_mask`: int (B, K), 1 where the row thinks; a row's thoughts come
      first, idle slots last. K may be 0.
    - `response_ids`, `response_mask`: int (B, R), starts with `<eot>`,
      right-padded.

    It returns logits (B, R, V): position r predicts `response_ids[:, r + 1]`.
    With the optional key `thoughts`, float (B, K, D), the model does not think:
    it reads these thoughts instead, in one pass.

    Without `markers`, the question does not end with `<bot>`, and the model
    does not read the `<eot>` that starts the response, which only keeps its
    position. Position 0 then predicts from the hidden state at the row's last
    thought, or at the end of its question.

    Args:
        backbone: a KerasHub backbone of a known family: GPT-2, OPT, GPT-NeoX,
            Llama, Llama 3 (also SmolLM2), Mistral, Qwen 2.5, Qwen 3, Phi 3,
            Gemma, Gemma 2, Gemma 3 (text) or SmolLM3.
        preprocessor: a `keras_coconut.ContinuousThoughtPreprocessor`. If
            `None`, inputs must be the dictionary above. Defaults to `None`.
        num_thoughts: int. Default number of thoughts of `generate` and `think`.
            A `CurriculumScheduler` sets it to the number of the stage that it
            trains. Defaults to `None`.
        thought_kind: `"continuous"`, or `"pause"` for a model whose thoughts
            are a learned token: `generate` then appends that token to the
            question instead of thinking. A `CurriculumScheduler` sets it.
            Defaults to `"continuous"`.
        markers: bool. Whether `<bot>` and `<eot>` surround the thoughts, as in
            the paper. Without them, as in arXiv 2505.12514, the hidden state
            that would predict a step's text becomes the thought that replaces
            it. Defaults to the preprocessor's value, or to `True` without a
            preprocessor.
        rematerialize: bool. Whether training keeps only the input of each layer
            and computes the rest again in the backward pass, which takes more
            time and less memory. On PyTorch this does not apply to thoughts,
            which have one position each. Correct with dropout on every
            backend, unlike `keras.RematScope`. Defaults to `False`.
        num_iterations: int. If given, the model computes all thoughts in
            parallel and repeats this `num_iterations` times, each time from the
            thoughts before (Jacobi iterations, PCCoT, arXiv 2506.18582). With
            as many iterations as thoughts the result equals Coconut's. `None`
            computes one thought after the other. Defaults to `None`.

    Raises:
        ValueError: If the backbone is of an unknown family, if the
            preprocessor's vocabulary does not fit it, or if `markers` differs
            from the preprocessor's.

    Example:
    ```python
    # From a pretrained GPT-2; the marker tokens are added.
    model = keras_coconut.ContinuousThoughtLM.from_preset("gpt2_base_en")
    model.fit(
        "prosqa_train.json",
        curriculum=keras_coconut.Curriculum(max_stage=6, epochs_per_stage=5),
        epochs=50,
        batch_size=32,
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
        backbone: keras_hub.models.Backbone,
        preprocessor: ContinuousThoughtPreprocessor | None = None,
        *,
        num_thoughts: int | None = None,
        thought_kind: ThoughtKind = "continuous",
        rematerialize: bool = False,
        markers: bool | None = None,
        num_iterations: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_backbone(backbone)
        unknown = sorted(set(kwargs) - _OF_KERAS)
        if unknown:
            # Keras would ignore them.
            raise ValueError(
                f"`{unknown[0]}` is no argument of `ContinuousThoughtLM`. "
                "Settings of the text go to `ContinuousThoughtPreprocessor`; "
                "those of the backbone come from its preset or constructor. "
                f"Received: {unknown[0]}={shown(kwargs[unknown[0]])}"
            )
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
            # Text layers have nothing to build. If a part of a model is not
            # built, Keras on JAX runs an uncompiled pass for each call.
            for layer in (preprocessor, preprocessor.tokenizer):
                layer.built = True

        # === Config ===
        self.make_thinking(num_thoughts, thought_kind)
        # For `generate` and `think` from several threads: only one of them may
        # make the functions that Keras keeps for a call.
        self.one_at_a_time = threading.RLock()

    @classmethod
    def from_preset(
        cls, preset: PathLike, load_weights: bool = True, **kwargs: Any
    ) -> "ContinuousThoughtLM":
        """Makes the model from a preset of its own or a plain KerasHub preset.

        For a plain preset, the marker tokens are added to the tokenizer and the
        token embedding grows; see `add_thought_tokens`. The outputs for all
        other tokens stay the same. A GPT-2 or Llama model in Hugging Face's
        layout, including the Coconut authors' checkpoints, is read as by
        `read_published_model`.

        Args:
            preset: string or path-like. A built-in preset name, a `kaggle://`
                or `hf://` handle, or a local folder.
            load_weights: bool. Whether to load the weights. Defaults to
                `True`.
            **kwargs: Passed to the constructor; `dtype` to the backbone, and
                `markers`, `marker_tokens`, `separator`, `sequence_length` and
                `add_start_token` to the preprocessor.

        Raises:
            ValueError: If the preset's backbone is of an unknown family, before
                its weights are loaded; or if a file of a local preset is
                damaged (the error names the file).

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
    def layers(self) -> list:
        """The layers of the graph, and the backbone before the last one."""
        *inputs, latent_decoder = super().layers
        # Weights files name the layers of a model by this list.
        return [*inputs, self.backbone, latent_decoder]

    @property
    def markers(self) -> bool:
        """Whether `<bot>` and `<eot>` surround the thoughts."""
        return self.latent_decoder.markers

    @property
    def rematerialize(self) -> bool:
        """Whether training computes layers again in the backward pass."""
        return self.latent_decoder.rematerialize

    @property
    def num_iterations(self) -> int | None:
        """Number of Jacobi iterations of parallel thoughts, or `None`."""
        return self.latent_decoder.num_iterations

    # === The latent loop ===

    def call(
        self, inputs: Any, training: Any = None, layers: Any = None
    ) -> Any:
        watched = check_layers(self, layers)
        outputs = self.latent_decoder(
            inputs, training=training, watched=watched
        )
        if not watched:
            return outputs
        logits, thoughts = outputs
        return logits, states_of(thoughts, inputs["thought_mask"])

    # === Saving ===

    def thinking_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that belong to the task alone."""
        return {
            "num_thoughts": self.num_thoughts,
            "thought_kind": self.thought_kind,
            "rematerialize": self.rematerialize,
            "markers": self.markers,
            "num_iterations": self.num_iterations,
        }

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), **self.thinking_config()}
        presets.complete_config(self.backbone, config["backbone"])
        return config

    def save_to_preset(
        self, preset_dir: PathLike, max_shard_size: float = 10
    ) -> None:
        """Saves the model as a preset; see `keras_hub.models.Task`.

        Existing files are replaced once the whole preset is written.
        `keras_hub.upload_preset` uploads the folder to Kaggle or Hugging Face.
        Anyone who has imported `keras_coconut` can open it with `from_preset`.

        Args:
            preset_dir: string or path-like, the folder.
            max_shard_size: float. Maximum size of a weights file, in gigabytes.
                Defaults to `10`.

        Raises:
            OSError: If the preset cannot be written or the disk is full. An
                existing preset stays unchanged.

        Example:
        ```python
        model.save_to_preset("my_coconut")
        # keras_hub.upload_preset("hf://user/my_coconut", "my_coconut")
        # ContinuousThoughtLM.from_preset("hf://user/my_coconut")
        ```
        """

        def save(folder):
            super(ContinuousThoughtLM, self).save_to_preset(
                folder, max_shard_size
            )
            presets.complete_preset(self.backbone, folder)

        presets.save_aside(self, preset_dir, save)
