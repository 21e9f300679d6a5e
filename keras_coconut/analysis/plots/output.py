"""Where a plot goes: how wide it is, and the file it is written to."""

import os
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from keras_coconut.checks import PathLike, check_choice, refuse
from keras_coconut.files import check_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Width = Literal["column", "page"]
# In inches, as conferences print them.
INCHES = {"column": 3.3, "page": 6.9}
_DPI = 200


class Output(NamedTuple):
    """Where a plot is written, `None` for nowhere, and its width in inches."""

    path: str | None
    inches: float

    @property
    def is_wide(self) -> bool:
        """Whether it is as wide as a page."""
        return self.inches > INCHES["column"]


def check_output(path: PathLike | None, width: Width) -> Output:
    """Returns where a plot goes, before anything is drawn.

    Args:
        path: string or path-like, or `None`.
        width: `"column"` or `"page"`.

    Raises:
        ImportError: If matplotlib is missing; says how to install it.
        ValueError: If an argument is not one of these, or if matplotlib writes
            no such files.
        OSError: If the file cannot be written.

    Example:
    ```python
    check_output("plot.pdf", "column")
    ```
    """
    check_choice("width", width, get_args(Width))
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "matplotlib":
            raise
        raise ImportError(
            "A plot needs matplotlib, which is not installed. Run: pip install "
            "matplotlib"
        ) from error
    if path is not None:
        path = check_writable("path", path)
        kinds = sorted(FigureCanvasBase.get_supported_filetypes())
        suffix = os.path.splitext(path)[1].lower().removeprefix(".")
        if suffix not in ("", *kinds):
            raise refuse("path", f"a file of the kinds {kinds}", path)
    return Output(path, INCHES[width])


def finish(figure: "Figure", output: Output) -> "Figure":
    """Writes a figure if it has a path, and returns it."""
    if output.path is not None:
        import matplotlib

        # Publishers refuse the fonts that matplotlib embeds by default.
        with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
            figure.savefig(output.path, dpi=_DPI)
    return figure
