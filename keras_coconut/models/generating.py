"""`generate` and `generate_tokens`: arguments in, responses out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from keras_coconut.checks import check_flag, shown
from keras_coconut.models import generation, responding
from keras_coconut.models.generation_settings import Settings
from keras_coconut.models.sampling import Draws
from keras_coconut.text.arrays import Counts, check_questions, is_one_text

Stops = Literal["auto"] | Sequence[int] | None


class Generating:
    """Answers questions: thinks, then writes the response."""

    preprocessor: Any

    def generate(
        self,
        inputs: Any,
        max_length: int | None = None,
        *,
        num_thoughts: Counts | None = None,
        stop_token_ids: Stops = "auto",
        strip_prompt: bool = True,
        batch_size: int = 32,
        verbose: int = 0,
        thoughts: ArrayLike | None = None,
        num_samples: int | None = None,
        seed: int | None = None,
        thought_noise: float = 0.0,
        thought_dropout: bool = False,
    ) -> str | list[str] | list[list[str]] | dict[str, Any]:
        """Answers questions: thinks, then writes the response.

        Questions of similar length share a batch. A row's output does not
        depend on the other rows in its batch, and ends at its own stop token.
        The sampler of `compile(sampler=...)` chooses the tokens; it is greedy
        by default.

        With `num_samples` each question gets several responses. They differ by
        the tokens that a random sampler draws, and by the thoughts if
        `thought_noise` or `thought_dropout` is on.
        `keras_coconut.evaluate_samples` takes their majority vote.

        Args:
            inputs: the questions: a string, a list, array or tensor of strings
                or of UTF-8 bytes, or a `tf.data.Dataset` of them, batched or
                not. Without a preprocessor, a dictionary of the call contract's
                keys, whose `response_ids` (B, 1) hold the end-of-thought token.
            max_length: int. Maximum number of tokens of a response, including
                the end of text. Unlike in KerasHub, question and thoughts do
                not count, so a long question does not shorten its answer.
                Defaults to 128, or to what the backbone's maximum length
                leaves for the response if that is less.
            num_thoughts: int, or one int for each question; 0 is allowed.
                Defaults to the model's `num_thoughts`. Not for a dictionary,
                whose `thought_mask` gives it.
            stop_token_ids: `"auto"`, `None` or a tuple of ints. `"auto"` stops
                at the end of text; `None` never stops. Defaults to `"auto"`.
            strip_prompt: bool. Whether to leave the question out of the
                returned text. Unlike in KerasHub, this defaults to `True`,
                because thoughts stand between question and response. Not for a
                dictionary.
            batch_size: int. Number of questions in a batch; with
                `num_samples`, of responses. Defaults to `32`.
            verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.
            thoughts: float array (questions, K, D). The model uses the first
                `num_thoughts` of each row in place of its own thoughts. They
                may come from `think`, or from a control such as
                `replace_thoughts`. A dictionary may hold them under
                `thoughts`. Defaults to `None`.
            num_samples: int. Number of responses to each question. Not for a
                dictionary. Defaults to `None`, which gives one response and no
                list of samples.
            seed: int. Seed of all random numbers, including the sampler's,
                whose own state does not change. With a seed, the noise of a
                response does not depend on its batch, but the draws of a
                sampler and of dropout do. Defaults to `None`: the sampler
                continues from its state, and Python's `random` draws a seed for
                the thoughts.
            thought_noise: float. Size of the normal noise added to each
                thought before the next one is computed, as a fraction of the
                thought's norm, at most 1000. Defaults to `0.0`.
            thought_dropout: bool. Whether the backbone's dropout is on while
                the model reads the question and thinks. Defaults to `False`.

        Returns:
            The response as a string, or a list of them; with `num_samples` a
            list of responses for each question. For a dictionary, a dictionary
            of `response_ids` and `response_mask`, which begin with the
            end-of-thought token and end with the stop token.

        Raises:
            ValueError: If a count is negative or not an integer; if question,
                thoughts and `max_length` exceed the backbone's maximum length
                (the error names the question); or if all samples would be
                equal, because nothing is random.

        Example:
        ```python
        model.generate("1 + 2 + 3?", num_thoughts=2)
        # One without thoughts, one with three.
        model.generate(["1 + 2?", "4 + 5 + 6?"], num_thoughts=[0, 3])
        # Four responses, with different thoughts.
        model.generate("1 + 2 + 3?", num_samples=4, thought_noise=0.1, seed=0)
        ```
        """
        draws = Draws(num_samples, seed, thought_noise, thought_dropout)
        settings = Settings(
            max_length, stop_token_ids, batch_size, verbose, draws
        )
        strip_prompt = check_flag("strip_prompt", strip_prompt)
        if isinstance(inputs, dict):
            if not strip_prompt:
                raise ValueError(
                    "`strip_prompt` must be True for a dictionary of ids, "
                    "which holds the question itself. Received: "
                    f"strip_prompt={shown(strip_prompt)}"
                )
            if thoughts is not None:
                inputs = {**inputs, "thoughts": thoughts}
            return generation.generate_from_ids(
                self, inputs, num_thoughts, settings
            )
        is_one = is_one_text(inputs)
        if self.preprocessor is not None:
            # Once: a dataset may give other ones each time.
            inputs = check_questions("inputs", inputs)
        tokens = generation.generate_tokens(
            self, inputs, num_thoughts, thoughts, settings
        )
        prompts = [
            "" if strip_prompt else text + self.preprocessor.separator
            for text in inputs
        ]
        decode = self.preprocessor.generate_postprocess
        responses = [
            [prompt + text for text in decode(of_one)]
            if num_samples is not None
            else prompt + decode([of_one])[0]
            for prompt, of_one in zip(prompts, tokens)
        ]
        return responses[0] if is_one else responses

    def generate_tokens(
        self,
        inputs: Any,
        max_length: int | None = None,
        *,
        num_thoughts: Counts | None = None,
        stop_token_ids: Stops = "auto",
        batch_size: int = 32,
        verbose: int = 0,
        thoughts: ArrayLike | None = None,
        num_samples: int | None = None,
        seed: int | None = None,
        thought_noise: float = 0.0,
        thought_dropout: bool = False,
        on_response: Callable[[int, list[int]], object] | None = None,
        skipped_positions: Counts | None = None,
        response_start: str = "",
    ) -> list[Any]:
        """Answers questions as `generate` does, and returns token ids.

        It takes questions as text only. A response ends with its stop token, if
        it reached one.

        Args:
            inputs: a string, or a list, array, tensor or dataset of strings;
                see `generate`.
            max_length, num_thoughts, stop_token_ids: see `generate`.
            batch_size, verbose, thoughts, num_samples: see `generate`.
            seed, thought_noise, thought_dropout: see `generate`.
            on_response: function of the index of a question and the token ids
                of its response, called as soon as that response is finished.
                Defaults to `None`.
            skipped_positions: int, or one int for each question. Number of
                positions after the question that stay empty, so that nothing
                attends there. `num_thoughts=0` with as many skipped positions
                leaves the thoughts out and the response where it was. Defaults
                to `None`, which skips none.
            response_start: string. How every response begins, up to a space:
                the model writes the rest. `"###"` asks for the answer at once.
                Not with a `BeamSampler`.
                Its tokens are part of what is returned and count for
                `max_length`. Defaults to `""`.

        Returns:
            A list of lists of ints; with `num_samples` a list of such lists.
        """
        draws = Draws(num_samples, seed, thought_noise, thought_dropout)
        settings = Settings(
            max_length,
            stop_token_ids,
            batch_size,
            verbose,
            draws,
            on_response,
            skipped_positions,
            response_start,
        )
        return generation.generate_tokens(
            self, inputs, num_thoughts, thoughts, settings
        )

    def generate_step(
        self,
        inputs: Mapping[str, Any],
        stop_token_ids: tuple[int, ...] | None = None,
    ) -> Any:
        """Generates responses to one batch; compiled on JAX and TensorFlow."""
        return responding.respond(self, inputs, stop_token_ids)
