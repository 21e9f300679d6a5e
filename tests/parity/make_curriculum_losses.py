"""Records curriculum_losses.json; run it with the PyTorch backend:

cd tests && KERAS_BACKEND=torch python parity/make_curriculum_losses.py
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import keras
import tiny

path = tiny.PARITY / "curriculum_losses.json"
record = {
    "backend": keras.config.backend(),
    "keras": keras.__version__,
    "losses": tiny.curriculum_losses(),
}
path.write_text(json.dumps(record, indent=1) + "\n")
print(path.read_text())
