"""Files that TensorBoard shows: numbers, text and pictures of one epoch.

Each epoch has a file, which appears once it is whole. A run that measures an
epoch again after it was resumed replaces the file, so nothing stands in it
twice.
"""

import io
import os
import struct
import sys
import time
from typing import Any

from keras_coconut.files import written_aside

_PACKAGE = (
    "`log_dir` needs the package `tensorboard`, which knows the format of its "
    "files: `pip install tensorboard`"
)
# DT_STRING and DT_FLOAT of TensorFlow's tensors.
_STRING, _FLOAT = 7, 1


def find_tensorboard() -> tuple[Any, Any]:
    """Returns TensorBoard's classes of an event and of a writer of records.

    Raises:
        ImportError: If TensorBoard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise ImportError(_PACKAGE) from None
    return Event, RecordWriter


def write_events(folder: str, epoch: int, logged, suffix: str) -> None:
    """Writes the events of an epoch, in place of earlier ones.

    Args:
        folder: string. A folder that exists.
        epoch: int, counted from 0 as `keras.callbacks.TensorBoard` does.
        logged: `Logged` numbers, texts and figures.
        suffix: string. Tells apart the files of one epoch.

    Raises:
        OSError: If the file cannot be written.
    """
    (event_class, writer), now = find_tensorboard(), time.time()
    events = [event_class(wall_time=now, file_version="brain.Event:2")]
    for kind, add in (
        ("numbers", _add_number),
        ("texts", _add_text),
        ("figures", _add_figure),
    ):
        for name, value in getattr(logged, kind).items():
            event = event_class(wall_time=now, step=epoch)
            add(event.summary.value.add(tag=name), value)
            events.append(event)
    # TensorBoard reads the files of a folder in the order of their names.
    name = f"events.out.tfevents.{epoch:010d}.measurements.{suffix}"
    with written_aside(folder) as (file, move):
        records = writer(file)
        for event in events:
            records.write(event.SerializeToString())
        move(os.path.join(folder, name))


def _add_number(value, number):
    value.metadata.plugin_data.plugin_name = "scalars"
    value.tensor.dtype = _FLOAT
    value.tensor.float_val.append(number)


def _add_text(value, text):
    value.metadata.plugin_data.plugin_name = "text"
    value.tensor.dtype = _STRING
    value.tensor.string_val.append(text.encode("utf-8", "replace"))


def _add_figure(value, figure):
    picture = draw(figure)
    # The size stands behind the signature and the head of the first part.
    width, height = struct.unpack(">II", picture[16:24])
    value.metadata.plugin_data.plugin_name = "images"
    value.tensor.dtype = _STRING
    value.tensor.tensor_shape.dim.add(size=3)
    for part in (str(width).encode(), str(height).encode(), picture):
        value.tensor.string_val.append(part)


def draw(figure) -> bytes:
    """Returns a figure of matplotlib as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def close(figure) -> None:
    """Closes a figure that pyplot would keep until the program ends."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)
