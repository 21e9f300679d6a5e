"""The numbers of the published implementation; see tests/parity/README.md."""

import keras
import numpy as np
import tiny
from keras import ops

import keras_coconut


def test_logits(model, record):
    x, _, _ = tiny.parity_batch(record)
    logits = ops.convert_to_numpy(model(x))
    recorded = record["logits"][:, -logits.shape[1] :]
    real = x["response_mask"].astype(bool)
    np.testing.assert_allclose(logits[real], recorded[real], atol=1e-5)


def test_logits_compiled(model, record):
    x, _, _ = tiny.parity_batch(record)
    logits = model.predict(x, verbose=0)
    recorded = record["logits"][:, -logits.shape[1] :]
    real = x["response_mask"].astype(bool)
    np.testing.assert_allclose(logits[real], recorded[real], atol=1e-5)


def test_thoughts(model, record):
    x, _, _ = tiny.parity_batch(record)
    del x["response_ids"], x["response_mask"]
    question = x["question_ids"].shape[1]
    slots = slice(question, question + x["thought_mask"].shape[1])
    thoughts = ops.convert_to_numpy(model.think(x))
    recorded = record["inputs_embeds"][:, slots]
    np.testing.assert_allclose(thoughts, recorded, atol=1e-5)


def test_loss_and_gradients(model, record):
    x, y, weights = tiny.parity_batch(record)
    loss = model.evaluate(x, verbose=0, batch_size=5, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, record["loss"], atol=1e-5)
    variables = tiny.parity_variables(model.backbone)
    x = {key: ops.convert_to_tensor(value) for key, value in x.items()}
    found = tiny.gradients(
        model,
        x,
        ops.convert_to_tensor(y),
        ops.convert_to_tensor(weights),
        variables,
    )
    recorded = tiny.parity_values(record, "grads", model.backbone)
    assert len(found) == len(recorded) == len(model.trainable_variables)
    for variable, mine, theirs in zip(variables, found, recorded):
        np.testing.assert_allclose(
            mine, theirs, atol=1e-5, err_msg=variable.path
        )


def test_three_steps_of_adamw(model, record):
    # Also a test of the position table: with a sparse gradient TensorFlow is
    # off by 4e-3 after three steps.
    x, _, _ = tiny.parity_batch(record)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.01, epsilon=1e-8))
    losses = model.fit(x, batch_size=5, epochs=3, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, record["adamw_losses"], atol=1e-4)


def test_greedy_tokens(model, record):
    x, _, _ = tiny.parity_batch(record)
    _, end, _, end_of_text = record["special_ids"].tolist()
    responses = model.generate(
        {
            "question_ids": x["question_ids"],
            "question_mask": x["question_mask"],
            "thought_mask": x["thought_mask"],
            "response_ids": np.full((5, 1), end),
        },
        max_length=12,
        stop_token_ids=(end_of_text,),
    )
    prompts = x["question_mask"].sum(1) + x["thought_mask"].sum(1)
    for row in range(5):
        recorded = record["generated"][row]
        recorded = recorded[recorded >= 0][prompts[row] :]
        length = responses["response_mask"][row].sum()
        found = responses["response_ids"][row, :length]
        assert found.tolist() == recorded.tolist()


def test_the_default_optimizer_is_the_published_recipe(model):
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    config = model.optimizer.get_config()
    assert np.isclose(config["learning_rate"], 1e-4)
    assert config["weight_decay"] == 0.01
    assert isinstance(model, keras_coconut.ContinuousThoughtLM)
