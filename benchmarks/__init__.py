"""How long the model takes, beside the least that it could take."""

import pathlib
import sys

# Their command lines are those of the examples, which lie beside them.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "examples"))
