"""A model that says what it is told, and that can be interrupted."""

import keras_coconut


class Script:
    """Takes the place of a model's `generate_tokens`.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        responses: dictionary from questions to responses. A response ends
            with the end of text, except one that ends with "...".
        stop_after: int. The number of responses after which Ctrl-C is pressed.
    """

    def __init__(self, model, responses, stop_after=None):
        self.responses = responses
        self.stop_after = stop_after
        self.asked = []
        self.options = []
        self._tokenizer = model.preprocessor.tokenizer
        model.__dict__["generate_tokens"] = self

    def __call__(self, questions, on_response=None, **options):
        self.options.append(options)
        generated = []
        for index, question in enumerate(questions):
            if index == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(question)
            response = self.responses[question]
            (tokens,) = self._tokenizer([response])
            if not response.endswith("..."):
                tokens.append(self._tokenizer.end_token_id)
            generated.append(tokens)
            on_response(index, tokens)
        return generated


# Two right answers, one of them by the reference steps; one endless response.
PROBLEMS = [
    keras_coconut.Problem("a", ["7", "4"], "1,000"),
    keras_coconut.Problem("b", ["7"], "2"),
    keras_coconut.Problem("c", [], "3"),
    keras_coconut.Problem("d", ["1"], "4"),
]
RESPONSES = {
    "a": "7\n4\n### 1000",
    "b": "8\n### 2",
    "c": "### 33",
    "d": "endless...",
}
