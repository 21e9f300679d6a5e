"""The curriculum of `train_on_problems.py`: pure arithmetic, no Keras."""

from absl import app
from command_line import blame
from flag_sections import given
from problem_flags import FLAGS

from keras_coconut import Curriculum, method_curriculum

CURRICULUM_FLAGS = (
    "max_stage",
    "thoughts_per_step",
    "initial_epochs",
    "epochs_per_stage",
    "extra_stage",
    "pad_latent_to_max",
    "mixing_probability",
    "one_thought_at_a_time",
)


def make_curriculum():
    """Returns the curriculum of `--method` and checks its flags.

    Raises:
        app.UsageError: If flags do not go together, or if one of them is for
            another method.
    """
    values = {
        name: _value(name, FLAGS[name].value) for name in CURRICULUM_FLAGS
    }
    with blame("the flags of the curriculum"):
        curriculum = _of_method(values)
    _check_used(curriculum, values)
    return curriculum


def _value(name, value):
    if name != "epochs_per_stage":
        return value
    first, *rest = map(int, value)
    return [first, *rest] if rest else first


def _of_method(values):
    return method_curriculum(
        FLAGS.method,
        Curriculum(**values),
        tokens_per_stage=FLAGS.tokens_per_stage,
        chain_tokens=FLAGS.chain_tokens,
    )


def _check_used(curriculum, values):
    """Raises a `UsageError` for a flag that the method does not look at."""
    for name in given(CURRICULUM_FLAGS):
        default = _value(name, FLAGS[name].default)
        if values[name] == default:
            continue
        thoughts = curriculum.extra_stage and curriculum.thoughts_per_step
        unused = name == "pad_latent_to_max" and not thoughts
        if unused or curriculum == _without(values, name, default):
            raise app.UsageError(
                f"--{name} must be left out with --method={FLAGS.method}, "
                "which does not use it. Received: "
                f"--{name}={_shown(FLAGS[name].value)}"
            )


def _without(values, name, default):
    """Returns the curriculum with a flag's default, `None` if there is none."""
    try:
        return _of_method({**values, name: default})
    except ValueError:
        return None  # Another flag needs this one.


def _shown(value):
    return ",".join(value) if isinstance(value, list) else value
