"""The files of a run's saves: whole, checked, few, and one run's at a time."""

import errno
import os
import resource
import signal

import ml_dtypes
import numpy as np
import pytest

from keras_coconut.training.saves import Saves, equal, plain

pytestmark = pytest.mark.any_backend

STATE = {
    "weights": [np.arange(6.0).reshape(2, 3), np.float32(2.5)],
    "low": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "best": float("inf"),
    "of": (1, None, "one", True, {2: [np.zeros((0, 4), "int8")]}),
    "large": 2**100,
}


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "a" / "saves")


def write(folder, *numbers, keep=2, state=STATE):
    saves = Saves(folder, keep)
    for number in numbers:
        saves.write(number, {**state, "number": number})
    saves.close()


def newest(folder):
    saves = Saves(folder, 2)
    try:
        return saves.newest()
    finally:
        saves.close()


def files(folder):
    return sorted(n for n in os.listdir(folder) if n.startswith("save-"))


def test_what_was_written_comes_back(folder):
    assert newest(folder) is None
    write(folder, 3)
    found = newest(folder)
    assert equal(found, {**STATE, "number": 3})
    assert found["low"].dtype == ml_dtypes.bfloat16
    assert type(found["weights"][1]) is np.float32
    assert type(found["of"]) is tuple and found["of"][4].keys() == {2}


def test_what_differs_is_not_equal():
    assert equal(STATE, plain(STATE))
    for other in (
        {**STATE, "best": 1.0},
        {**STATE, "of": list(STATE["of"])},
        {**STATE, "low": np.array([1.5, -2.5], ml_dtypes.bfloat16)},
        {**STATE, "weights": [np.arange(6.0), np.float32(2.5)]},
    ):
        assert not equal(STATE, other)


def test_a_copy_is_not_changed_with_its_original():
    original = {"best": [np.zeros(2)]}
    copy = plain(original)
    original["best"][0][0] = 1
    original["best"].append(2)
    assert copy["best"][0][0] == 0 and len(copy["best"]) == 1


@pytest.mark.parametrize("value", [object(), {1: {2}}, [len], np.array([{}])])
def test_what_is_not_plain(value):
    with pytest.raises(TypeError, match="not plain"):
        plain(value)


def test_older_saves_are_deleted(folder):
    write(folder, 1, 20, 100)
    assert [name[:17] for name in files(folder)] == [
        "save-000000000020",
        "save-000000000100",
    ]
    write(folder, 101, keep=1)
    assert newest(folder)["number"] == 101
    assert len(files(folder)) == 1


def test_the_last_save_is_the_newest(folder):
    """Also where no step was taken since the one before."""
    write(folder, 7, keep=9)
    for place in range(8):
        write(folder, 7, keep=9, state={**STATE, "place": place})
        assert newest(folder)["place"] == place
    assert len(files(folder)) == 9


def test_a_note_that_was_cut_off(folder):
    saves = Saves(folder, 2)
    assert saves.note(["host", 1]) == [["host", 1]]
    with open(os.path.join(folder, "processes"), "a") as file:
        file.write('["host", ')
    assert saves.note(["host", 3]) == [["host", 1], ["host", 3]]
    saves.close()


def test_half_a_save_is_forgotten(folder):
    write(folder, 1)
    half = os.path.join(folder, f".{'0' * 32}.partial")
    with open(half, "w") as file:
        file.write("half")
    assert newest(folder)["number"] == 1
    assert not os.path.exists(half)


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_save(folder, damage, place):
    write(folder, 1, 2)
    path = os.path.join(folder, files(folder)[-1])
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = int(place * len(data))
    if damage == "flip":
        data[at] ^= 4
    else:
        data = data[:at]
    with open(path, "wb") as file:
        file.write(data)
    with pytest.raises(ValueError, match="must be what was written") as error:
        newest(folder)
    text = str(error.value)
    assert path in text and files(folder)[0] in text and "delete it" in text
    os.unlink(path)
    assert newest(folder)["number"] == 1


def test_one_run_at_a_time(folder):
    first = Saves(folder, 2)
    with pytest.raises(ValueError, match="`folder` must not be in use"):
        Saves(folder, 2)
    first.close()
    Saves(folder, 2).close()


def test_a_full_disk_leaves_the_save_before(folder):
    write(folder, 1)
    before = files(folder)
    saves = Saves(folder, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Bytes of a file, after which the system refuses to write.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
        saves.write(2, {"weights": np.zeros(10_000)})
        with pytest.raises(
            OSError, match="The one before it is whole"
        ) as error:
            saves.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG and folder in str(error.value)
    saves.close()
    assert files(folder) == before
    assert newest(folder)["number"] == 1


def test_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Saves(str(tmp_path / "file" / "saves"), 2)
