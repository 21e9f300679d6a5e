"""Where a plot goes: how wide it is, and the file it is written to."""

import os
import stat
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from keras_coconut.checks import PathLike, check_choice, refuse
from keras_coconut.files import check_writable, written_aside

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
            write_figure(figure, output.path, dpi=_DPI)
    return figure


def write_figure(figure: "Figure", path: PathLike, dpi: int) -> None:
    """Writes a figure to a file, which appears only once it is whole.

    An existing file keeps its permissions; after an error it is unchanged.

    Args:
        figure: a matplotlib figure.
        path: string or path-like, whose suffix names the kind of file.
        dpi: int. Dots per inch.

    Raises:
        OSError: If the file cannot be written.

    Example:
    ```python
    import matplotlib.figure

    write_figure(matplotlib.figure.Figure(), "plot.png", dpi=130)
    ```
    """
    path = os.fspath(path)
    kind = os.path.splitext(path)[1][1:].lower()
    if not kind:
        # As matplotlib names such a file.
        kind = figure.canvas.get_default_filetype()
        path = f"{path.rstrip('.')}.{kind}"
    target = os.path.realpath(path)
    with written_aside(os.path.dirname(target)) as (file, move):
        if os.path.exists(target):
            os.chmod(file.name, stat.S_IMODE(os.stat(target).st_mode))
        figure.savefig(file, format=kind, dpi=dpi)
        move(target)
