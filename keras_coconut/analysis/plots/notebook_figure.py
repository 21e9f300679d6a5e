"""A figure that notebooks show; the one file that needs matplotlib at once."""

import io

from matplotlib.figure import Figure

# As many pixels as a page's text is wide on a screen.
_DPI = 110


class NotebookFigure(Figure):
    """A figure that a notebook shows, also without `%matplotlib inline`.

    pyplot does not know it. So it need not be closed, and a notebook would show
    its name alone.
    """

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=_DPI)
        return picture.getvalue()
