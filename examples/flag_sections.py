"""Flags under titles, and the `--help` that shows them.

absl sorts flags by name and by module. Here they stand under the title and in
the order in which a script defines them. Nothing here imports Keras.
"""

import difflib
import inspect
import math
import operator
import os
import sys
import textwrap

from absl import flags

# In the order of `--help`.
_SECTIONS = []
# Flags that `--help` does not show.
_HIDDEN = []
_WIDTH = 80
# What stands at the top of an example, for those who collect examples.
_FRONT = ("Title:", "Author:", "Date created:")


class Section:
    """Some flags of a script, under a title.

    Each method defines one flag. `None` as its default means that it is unset.

    Args:
        title: string.
    """

    def __init__(self, title):
        self.title = title
        self.values = {}
        _SECTIONS.append(self)

    def text(self, name, default, help, value="TEXT"):
        """A text. `value` names it in the help: FILE, FOLDER."""
        self._add(name, value, help)
        flags.DEFINE_string(name, default, help, module_name=self.title)

    def count(self, name, default, help, least=1, most=None):
        """A whole number."""
        self._add(name, "N", help)
        bounds = dict(lower_bound=least, upper_bound=most)
        where = dict(module_name=self.title)
        flags.DEFINE_integer(name, default, help, **bounds, **where)

    def number(self, name, default, help, **bounds):
        """A finite number; see `expect_number` for its bounds."""
        self._add(name, "X", help)
        flags.DEFINE_float(name, default, help, module_name=self.title)
        expect_number(name, **bounds)

    def choice(self, name, default, choices, help):
        """One of some texts."""
        self._add(name, "NAME", f"{help} One of {', '.join(choices)}.")
        where = dict(module_name=self.title)
        flags.DEFINE_enum(name, default, choices, help, **where)

    def several(self, name, default, help, value="A,B,..."):
        """Texts with commas between them."""
        self._add(name, value, help)
        flags.DEFINE_list(name, default, help, module_name=self.title)

    def repeated(self, name, help, value):
        """A flag that may be given more than once."""
        self._add(name, value, help)
        flags.DEFINE_multi_string(name, [], help, module_name=self.title)

    def switch(self, name, default, help):
        """Yes or no."""
        self._add(name, None, help)
        flags.DEFINE_bool(name, default, help, module_name=self.title)

    def hidden(self, name):
        """A text that a script sets for the processes that it starts."""
        _HIDDEN.append(name)
        flags.DEFINE_string(name, None, "Set by the script itself.")

    def _add(self, name, value, help):
        self.values[name] = (value, help)

    def lines(self):
        """Yields what `--help` shows of the section."""
        yield f"\n{self.title}"
        for name, (value, text) in self.values.items():
            yield f"  --[no]{name}" if value is None else f"  --{name} {value}"
            default = flags.FLAGS[name].default_as_str
            if default not in (None, "''"):
                # absl puts it in quotation marks.
                text = f"{text} Default: {default[1:-1]}."
            yield from textwrap.wrap(
                text,
                _WIDTH,
                initial_indent=6 * " ",
                subsequent_indent=6 * " ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def show_help():
    """Prints what the script does, and its flags by section."""
    told = inspect.cleandoc(sys.modules["__main__"].__doc__ or "").splitlines()
    told = [line for line in told if not line.startswith(_FRONT)]
    print("\n".join(told).replace("Description: ", "", 1).strip())
    for section in _SECTIONS:
        print("\n".join(section.lines()))


def defined():
    """Returns the names of all flags of a script."""
    return [*(n for section in _SECTIONS for n in section.values), *_HIDDEN]


def nearest(name):
    """Returns the flag whose name is most like another, or `None`."""
    return next(iter(difflib.get_close_matches(name, defined(), n=1)), None)


def flag_values(left_out=()):
    """Returns the values of a script's flags by name."""
    return {
        name: flags.FLAGS[name].value
        for section in _SECTIONS
        for name in section.values
        if name not in left_out
    }


def given(names):
    """Returns those of some flags that the command line sets."""
    return [name for name in names if flags.FLAGS[name].present]


def expect(flag, fits, expected):
    """Refuses values of a flag that are given and do not fit."""
    flags.register_validator(
        flag,
        lambda value: value is None or fits(value),
        message=f"must be {expected}",
    )


def expect_number(flag, **bounds):
    """Refuses numbers out of bounds, and those that are not finite.

    Args:
        flag: string.
        **bounds: `above`, `least`, `below` and `most`.
    """
    inside = {
        "above": operator.gt,
        "least": operator.ge,
        "below": operator.lt,
        "most": operator.le,
    }
    words = {"least": "at least", "most": "at most"}
    told = [f"{words.get(name, name)} {at:g}" for name, at in bounds.items()]
    expect(
        flag,
        lambda value: (
            math.isfinite(value)
            and all(inside[name](value, at) for name, at in bounds.items())
        ),
        " ".join(["a finite number", " and ".join(told)]).strip(),
    )


def expect_file(flag):
    """Refuses paths that are no readable file."""
    expect(
        flag,
        lambda path: os.path.isfile(path) and os.access(path, os.R_OK),
        "a file that exists and can be read",
    )


def expect_counts(flag, different=True, least=0, most=math.inf):
    """Refuses lists of anything but whole numbers."""

    def fits(values):
        if not values or not all(value.isdecimal() for value in values):
            return False
        counts = [int(value) for value in values]
        if different and len(set(counts)) < len(counts):
            return False
        return least <= min(counts) and max(counts) <= most

    bounds = f"of at least {least}"
    if most < math.inf:
        bounds = f"from {least} to {most}"
    once = ", each only once" if different else ""
    expect(flag, fits, f"whole numbers {bounds} with commas{once}")


def expect_some_of(flag, choices):
    """Refuses lists of anything but different choices."""
    expect(
        flag,
        lambda values: (
            set(values) <= set(choices) and len(set(values)) == len(values)
        ),
        f"some of {', '.join(choices)}, each only once",
    )


def expect_vocabulary(flag):
    """Refuses paths that are no folder of a GPT-2 vocabulary."""
    expect(
        flag,
        lambda folder: all(map(os.path.isfile, vocabulary_files(folder))),
        "a folder that holds vocabulary.json and merges.txt",
    )


def vocabulary_files(folder):
    """Returns the paths of a vocabulary's two files."""
    names = ("vocabulary.json", "merges.txt")
    return [os.path.join(folder, name) for name in names]
