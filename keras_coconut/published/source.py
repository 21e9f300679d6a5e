"""The location of the files of a published model."""

import dataclasses
import json
import os

from keras_hub.src.utils import preset_utils

from keras_coconut.checks import shown
from keras_coconut.files import read_text


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder, a handle such as `hf://user/model`, or one file of weights.

    Args:
        argument: string. The name of the argument, for errors.
        path: string. The value of the argument.
    """

    argument: str
    path: str

    @property
    def is_file(self) -> bool:
        """Whether this is one file of weights, and not all files of a model."""
        return os.path.isfile(self.path)

    @property
    def folder(self) -> str:
        """The folder, or the handle, that holds the files."""
        if self.is_file:
            return os.path.dirname(self.path) or os.curdir
        return self.path

    def find(self, name: str) -> str | None:
        """Returns the path of a file, downloaded if need be, or `None`."""
        if "://" not in self.folder:
            path = os.path.join(self.folder, name)
            return path if os.path.isfile(path) else None
        if not preset_utils.check_file_exists(self.folder, name):
            return None
        return preset_utils.get_file(self.folder, name)

    def read_json(self, name: str) -> dict | None:
        """Returns what a JSON file holds, or `None` if there is no such file.

        Raises:
            ValueError: If it does not hold a dictionary; names the file.
        """
        path = self.find(name)
        if path is None:
            return None
        try:
            value = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise self.refuse(
                f"the file {name!r}, which is damaged: {str(error)[:120]}"
            ) from error
        if not isinstance(value, dict):
            raise self.refuse(
                f"the file {name!r}, which holds no dictionary but a "
                f"{type(value).__name__}"
            )
        return value

    def refuse(self, received: str) -> ValueError:
        """Returns the error for a file that is not what was expected."""
        return ValueError(
            f"`{self.argument}` must hold a GPT-2 or Llama model in Hugging "
            f"Face's layout. Received: {received}; "
            f"{self.argument}={shown(self.path)}"
        )
