"""Files that are there whole or not at all."""

import os


def write_whole(path, text: str) -> None:
    """Writes a text file in UTF-8, which appears only once it is whole."""
    path = os.fspath(path)
    with open(path + ".partial", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".partial", path)
