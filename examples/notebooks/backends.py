# %% [markdown]
"""
# One script on three backends, with timings

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Run the same training on TensorFlow, JAX and PyTorch, and time it.

A model reads the backend from `KERAS_BACKEND`, and nothing else in a script changes. JAX and
TensorFlow compile the first step; later steps need no compiling. PyTorch starts at once. Which is
fastest depends on the machine and on the model. A preset that one backend saves opens on the
others. The timings below were taken on two CPU cores beside other work: run it for your own.
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

BACKENDS = ["tensorflow", "jax", "torch"]
STEPS = 100
LAYERS, HIDDEN = 4, 256

# %% [markdown]
"""
## The script
"""

# %%
# %%writefile train.py
import json
import statistics
import sys
import time

import keras
import keras_hub

import keras_coconut as kc

STEPS, LAYERS, HIDDEN = map(int, sys.argv[1:])


class Seconds(keras.callbacks.Callback):
    """The time of each step, from the end of the one before."""

    def on_train_begin(self, logs=None):
        self.steps, self.last = [], time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # Reading the loss waits for the device.
        float(logs["loss"])
        now = time.perf_counter()
        self.steps.append(now - self.last)
        self.last = now


keras.utils.set_random_seed(0)
splits = kc.load_arithmetic(train=5_000, validation=0, test=100)
preprocessor = kc.ContinuousThoughtPreprocessor(
    kc.make_word_tokenizer(kc.arithmetic_words())
)
backbone = keras_hub.models.GPT2Backbone(
    vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
    num_layers=LAYERS,
    num_heads=4,
    hidden_dim=HIDDEN,
    intermediate_dim=4 * HIDDEN,
    dropout=0.0,
    max_sequence_length=64,
)
model = kc.ContinuousThoughtLM(backbone, preprocessor)
model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0))
# The last stage from the first epoch on: three thoughts in every row.
dataset = kc.CurriculumDataset(
    splits.train,
    preprocessor,
    kc.Curriculum(
        max_stage=3,
        initial_epochs=0,
        epochs_per_stage=[0, 0, 1],
        extra_stage=False,
    ),
    batch_size=64,
    steps_per_epoch=STEPS,
)
seconds = Seconds()
history = model.fit(
    dataset,
    verbose=0,
    callbacks=[kc.CurriculumScheduler(dataset), seconds],
)
start = time.perf_counter()
kc.evaluate_problems(model, splits.test, max_length=12, verbose=0)
asked = time.perf_counter() - start
model.save_to_preset(keras.config.backend())
found = {
    "first step": seconds.steps[0],
    "each step": statistics.median(seconds.steps[len(seconds.steps) // 2 :]),
    "100 answers": asked,
    "loss": history.history["loss"][-1],
}
print(json.dumps(found))

# %% [markdown]
"""
## Run it three times
"""

# %%
import json
import subprocess
import sys

found = {}
for backend in BACKENDS:
    done = subprocess.run(
        [sys.executable, "train.py", str(STEPS), str(LAYERS), str(HIDDEN)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found[backend] = json.loads(done.stdout.splitlines()[-1])

print(f"{'':12}" + "".join(f"{name:>14}" for name in found[BACKENDS[0]]))
for backend, row in found.items():
    print(f"{backend:12}" + "".join(f"{value:14.3f}" for value in row.values()))

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
for axes, name in zip(panels, ["first step", "each step", "100 answers"]):
    bars = axes.barh(list(found), [row[name] for row in found.values()])
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.margins(x=0.2)
    axes.set_title(f"{name}, seconds")

# %% [markdown]
"""
## A preset of one backend on another
"""

# %%
import keras_coconut as kc

question = "start 3, +4, *2, -5"
for backend in BACKENDS:
    model = kc.ContinuousThoughtLM.from_preset(backend)
    print(f"saved by {backend:11}", model.generate(question, max_length=12))
