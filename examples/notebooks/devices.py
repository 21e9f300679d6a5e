# %% [markdown]
"""
# Several devices: the same losses on one and on two

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Divide each batch among devices with each backend's own engine.

`keras_coconut.distribute` divides each batch among the devices of a machine: by
`keras.distribution` on JAX, `MirroredStrategy` on TensorFlow and `torch.distributed` on PyTorch.
`batch_size` counts the rows of all devices together, so that a run computes the same on one
device and on many. This notebook shows it on two devices made of one CPU.
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

STEPS = 40
# Leave these out on a machine with several accelerators.
ON_A_CPU = {
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    # Several processes on one CPU: one thread each.
    "OMP_NUM_THREADS": "1",
}

# %% [markdown]
"""
## The program

A program for several devices is a file: PyTorch starts one process for each device. Only the
`with` line and what makes CPU devices differ from a program for one device.
"""

# %%
# %%writefile train.py
import json
import os
import sys

import keras
import keras_hub

import keras_coconut as kc

COUNT, STEPS, LOSSES = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

# Makes several devices of one CPU.
if keras.config.backend() == "jax":
    import jax

    jax.config.update("jax_num_cpu_devices", COUNT)
elif keras.config.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * COUNT,
    )

splits = kc.load_arithmetic(train=5_000, validation=0, test=100)
keras.utils.set_random_seed(0)
with kc.distribute(COUNT) as devices:
    preprocessor = kc.ContinuousThoughtPreprocessor(
        kc.make_word_tokenizer(kc.arithmetic_words())
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=64,
        intermediate_dim=256,
        dropout=0.0,
        max_sequence_length=64,
    )
    model = kc.ContinuousThoughtLM(backbone, preprocessor)
    model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0))
    curriculum = kc.Curriculum(max_stage=3, extra_stage=False)
    dataset = kc.CurriculumDataset(
        splits.train,
        preprocessor,
        curriculum,
        batch_size=32,
        steps_per_epoch=STEPS // curriculum.num_epochs,
    )
    history = model.fit(
        dataset,
        epochs=curriculum.num_epochs,
        verbose=0,
        callbacks=[
            kc.CurriculumScheduler(dataset),
            # Every process goes on from the same save, on any number of devices.
            kc.ResumableTraining(f"saves_{os.path.basename(LOSSES)}"),
        ],
    )
    if devices.process == 0:
        print(f"devices: {devices.count}, engine: {devices.engine}")
        with open(LOSSES, "w") as file:
            json.dump(history.history["loss"], file)

# %% [markdown]
"""
## One device, then two

PyTorch needs its launcher; on JAX and TensorFlow one process computes on all devices.
"""

# %%
import json
import subprocess
import sys


def losses(count):
    launcher = [sys.executable]
    if os.environ["KERAS_BACKEND"] == "torch":
        launcher += ["-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    name = f"losses_{count}.json"
    done = subprocess.run(
        [*launcher, "train.py", str(count), str(STEPS), name],
        capture_output=True,
        text=True,
        env={**os.environ, **ON_A_CPU},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout.strip())
    with open(name) as file:
        return json.load(file)


one, two = losses(1), losses(2)
for epoch, (a, b) in enumerate(zip(one, two)):
    print(f"stage {epoch}: loss {a:.6f} on one device, {b:.6f} on two")
assert max(abs(a - b) for a, b in zip(one, two)) < 1e-4

# %% [markdown]
"""
The losses are equal but for rounding. Further:

- `distribute(model_parallel=2)` on JAX divides the layers of a model that does not fit on one
  device; `distribute(shard_optimizer=True)` on PyTorch divides the optimizer's state.
- Several machines: one process on each for JAX, `torchrun --nnodes` for PyTorch. The guide on
  several devices has the commands.
"""
