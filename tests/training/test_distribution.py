"""Several devices compute what one computes."""

import json

import divided_run
import keras
import numpy as np
import pytest
import tiny
from launched import alone, assert_near, divided

import keras_coconut

BACKEND = keras.config.backend()


def test_as_on_one_device():
    one = alone()
    assert len(one["losses"]) == 4 * 3
    others = divided(4 if BACKEND == "jax" else 2)
    processes = [0, 1] if BACKEND == "torch" else [0]
    assert [each["process"] for each in others] == processes
    for other in others:
        assert_near(other, one)


def test_a_run_of_two_processes_resumes(tmp_path):
    """Each process goes on with its own random numbers."""
    if BACKEND != "torch":
        pytest.skip("one process computes on all devices of this machine")
    saves = {
        "DIVIDED_RUN_SAVES": str(tmp_path),
        "DIVIDED_RUN_MODEL": json.dumps({"dropout": 0.1}),
    }
    first, second = divided(2, **saves)
    assert first["next_number"] != second["next_number"]
    newest = max(tmp_path.glob("*.save"))
    newest.unlink()  # As if the run had been killed before the last save.
    resumed, other = divided(2, **saves)
    assert resumed["weights"] == first["weights"] == other["weights"]
    assert resumed["next_number"] == first["next_number"]
    assert other["next_number"] == second["next_number"]
    assert resumed["val_loss"] == first["val_loss"]
    assert 0 < len(resumed["losses"]) < len(first["losses"])


def test_a_scaled_loss_on_several_devices():
    """`mixed_float16` scales the loss, so that small gradients survive."""
    if BACKEND != "tensorflow":
        pytest.skip("of its strategies, which sum what each device scales")
    of_model = {"dtype": "mixed_float16", "layers": 1}
    one = divided_run.run(1, of_model=of_model, optimizer="SGD")
    (two,) = divided(
        2,
        DIVIDED_RUN_MODEL=json.dumps(of_model),
        DIVIDED_RUN_OPTIMIZER="SGD",
    )
    assert two["optimizer"] == one["optimizer"] == "LossScaleOptimizer"
    for key in ("losses", "val_loss"):
        np.testing.assert_allclose(two[key], one[key], rtol=5e-3, err_msg=key)
    # It learns, so that a step of another size would show.
    assert one["losses"][-1] < 0.9 * one["losses"][0]
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=2e-3)


# === What is refused ===


def distributed(*args, **kwargs):
    with keras_coconut.distribute(*args, **kwargs) as found:
        return found


def test_one_device_needs_no_engine():
    found = distributed(1)
    assert (found.count, found.processes, found.process) == (1, 1, 0)
    assert found.engine.startswith("none (")


@pytest.mark.parametrize("devices", [0, -1, 1.5, "2", True, 10**6])
def test_devices(devices):
    with pytest.raises(ValueError, match="`devices` must be"):
        distributed(devices)


@pytest.mark.parametrize("model_parallel", [0, -1, 1.5, "2", True, 10**6])
def test_model_parallel(model_parallel):
    with pytest.raises(ValueError, match="`model_parallel` must be"):
        distributed(model_parallel=model_parallel)


@pytest.mark.parametrize("shard_optimizer", [0, 1, None, "yes"])
def test_shard_optimizer(shard_optimizer):
    with pytest.raises(ValueError, match="`shard_optimizer` must be"):
        distributed(shard_optimizer=shard_optimizer)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX divides layers")
def test_layers_that_the_backend_cannot_divide():
    with pytest.raises(ValueError, match="1 on .*KERAS_BACKEND=jax.*=2"):
        distributed(model_parallel=2)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch divides the state")
def test_state_that_the_backend_cannot_divide():
    with pytest.raises(ValueError, match="`False` on .*KERAS_BACKEND=torch"):
        distributed(shard_optimizer=True)


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_one_process_has_all_of_the_state():
    assert distributed(shard_optimizer=True).count == 1


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow alone")
def test_several_workers(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match="`TF_CONFIG` must name one worker"):
        distributed()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow alone")
def test_a_scope_within_a_scope():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with (
        strategy.scope(),
        pytest.raises(ValueError, match="the only one that opens the scope"),
    ):
        distributed()


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX alone")
def test_a_distribution_that_is_set():
    distribution = keras.distribution.DataParallel()
    with (
        distribution.scope(),
        pytest.raises(ValueError, match="the only one that sets"),
    ):
        distributed()


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_more_devices_than_processes():
    with pytest.raises(ValueError, match="torchrun --nproc_per_node=2"):
        distributed(2)


def test_rows_that_devices_cannot_share(monkeypatch):
    from keras_coconut.execution import replicas

    monkeypatch.setattr(replicas, "devices_of_a_batch", lambda: 4)
    model = tiny.text_model(layers=1)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(6),
        model.preprocessor,
        keras_coconut.Curriculum(1),
        batch_size=6,
    )
    with pytest.raises(ValueError, match="multiple of 4.*batch_size=6"):
        dataset[0]


def test_parts_of_a_batch_outside_of_distribute(monkeypatch):
    """Each process would see a part of the rows, and nobody the rest."""
    from keras_coconut.execution import replicas

    monkeypatch.setattr(replicas, "num_processes", lambda: 2)
    monkeypatch.setattr(replicas, "devices_of_a_batch", lambda: 1)
    model = tiny.text_model(layers=1)
    curriculum = keras_coconut.Curriculum(1)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(6), model.preprocessor, curriculum, batch_size=2
    )
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"within `keras_coconut.distri"):
            method(dataset, verbose=0)
    x, _, _ = model.preprocessor(tiny.problems(6))
    given = [tiny.problems(6), dataset] + ([x] if BACKEND == "jax" else [])
    for data in given:
        options = {"curriculum": curriculum} if data is given[0] else {}
        with pytest.raises(ValueError, match="`predict` must be called in a"):
            model.predict(data, **options)


def test_arrays_where_several_processes_train(monkeypatch):
    from keras_coconut.execution import replicas

    model = tiny.compiled(tiny.text_model(layers=1))
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(4),
        model.preprocessor,
        keras_coconut.Curriculum(0, extra_stage=False),
        batch_size=4,
    )
    x, _, _ = dataset[0]
    monkeypatch.setattr(replicas, "num_processes", lambda: 2)
    with pytest.raises(ValueError, match="must be a `CurriculumDataset`"):
        model.fit(x, verbose=0)


def test_processes_with_other_problems(monkeypatch):
    """Some would be trained twice in an epoch, and others never."""
    from keras_coconut.execution import replicas

    model = tiny.compiled(tiny.text_model(layers=1))
    curriculum = keras_coconut.Curriculum(0, extra_stage=False)
    problems = tiny.problems(4)

    def dataset(problems):
        return keras_coconut.CurriculumDataset(
            problems, model.preprocessor, curriculum, batch_size=4
        )

    monkeypatch.setattr(replicas, "num_processes", lambda: 2)
    monkeypatch.setattr(replicas, "devices_of_a_batch", lambda: 2)
    numbers = []
    monkeypatch.setattr(
        replicas, "numbers_of_all", lambda own: numbers.append(own) or [own]
    )
    for data in (problems, list(problems), problems[::-1], problems[:3]):
        replicas.check_alike("x", dataset(data).describe())
    assert numbers[0] == numbers[1] and len({*numbers}) == 3
    monkeypatch.setattr(
        replicas, "numbers_of_all", lambda own: [own, numbers[0]]
    )
    others = dataset(problems[::-1])
    for x, validation, name in (
        (others, None, "x"),
        (dataset(problems), others, "validation_data"),
    ):
        message = f"`{name}` must hold the same problems"
        with pytest.raises(ValueError, match=message):
            model.fit(x, validation_data=validation, verbose=0)


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_torchrun_without_distribute(monkeypatch):
    """Each process would train a model of its own."""
    model = tiny.compiled(tiny.text_model(layers=1))
    x, _, _ = model.preprocessor(tiny.problems(4))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    curriculum = keras_coconut.Curriculum(0)
    with pytest.raises(ValueError, match="under `torchrun`.* 2 processes"):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match="under `torchrun`.* 2 processes"):
        model.fit(tiny.problems(4), curriculum=curriculum, verbose=0)
    # What looks at batches alone does not train apart.
    model.evaluate(tiny.problems(4), curriculum=curriculum, verbose=0)


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_a_process_group_of_ones_own(monkeypatch):
    """Its processes count, not the variables that `torchrun` sets."""
    import torch

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    found = distributed(2, shard_optimizer=True)
    assert (found.count, found.processes, found.process) == (2, 2, 1)
    assert "gloo, each with its part of the optimizer" in found.engine


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX alone")
def test_processes_that_begin_with_other_random_numbers(monkeypatch):
    from keras_coconut.execution import replicas

    monkeypatch.setattr(replicas, "numbers_of_all", lambda own: [own, own + 1])
    with pytest.raises(ValueError, match="call `keras.utils.set_random_seed`"):
        distributed()
