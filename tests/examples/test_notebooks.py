"""The notebooks are what their sources say, and what is changed in them.

`make notebooks` runs them.
"""

import nbformat
import pytest
from scripts import EXAMPLES, load

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def notebooks():
    return load(EXAMPLES / "make_notebooks.py")


def of_cells(*sources):
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )


def names():
    return sorted(path.stem for path in (EXAMPLES / "notebooks").glob("*.py"))


@pytest.mark.parametrize("name", names())
def test_each_is_written_as_its_source_says(notebooks, name):
    assert notebooks.differences(name) == []


@pytest.mark.parametrize("name", names())
def test_what_is_changed_stands_there_once(notebooks, name):
    source = notebooks.read_source(name)
    found = notebooks.changed(source, notebooks.changes_of(name, "torch"))
    text = "\n".join(cell.source for cell in found.cells)
    for old, new in notebooks.changes_of(name, "torch").items():
        assert new in text
        assert old == new or old not in text.split("\n")
    assert [cell.cell_type for cell in found.cells] == [
        cell.cell_type for cell in source.cells
    ]


@pytest.mark.parametrize("name", names())
def test_how_each_begins(notebooks, name):
    header, install = notebooks.read_source(name).cells[:2]
    lines = header.source.split("\n")
    assert lines[0].startswith("[![Open In Colab]")
    assert lines[0].endswith(f"/examples/notebooks/{name}.ipynb)")
    assert lines[2].startswith("# ")
    for field in ("Author", "Date created", "Description"):
        assert sum(line.startswith(f"**{field}:**") for line in lines) == 1
    assert install.source.startswith("%pip install")
    backends = notebooks.BACKENDS[name]
    assert "torch" in backends and len(set(backends)) == 2


def test_a_line_that_is_not_there_or_twice(notebooks):
    with pytest.raises(ValueError, match="exactly once.*0 times"):
        notebooks.changed(of_cells("STEPS = 200"), {"STEPS = 20": "STEPS = 2"})
    twice = of_cells("STEPS = 20", "print()\nSTEPS = 20")
    with pytest.raises(ValueError, match="exactly once.*2 times"):
        notebooks.changed(twice, {"STEPS = 20": "STEPS = 2"})


def test_a_notebook_that_is_older_than_its_source(notebooks, monkeypatch):
    source = notebooks.read_source("first_look")
    source.cells[3].source += "\n"
    monkeypatch.setattr(notebooks, "read_source", lambda name: source)
    (found,) = notebooks.differences("first_look")
    assert found == "first_look.ipynb is not what first_look.py says"


def test_outputs_tell_nothing_of_the_machine(notebooks):
    def line(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    picture = nbformat.v4.new_output("display_data", {"image/png": "aaaa"})
    given = [
        line("stderr", "/home: a warning\n"),
        line("stdout", "one\n"),
        line("stderr", "another\n"),
        line("stdout", "two\n"),
        picture,
        line("stdout", "three\n"),
    ]
    first, second, third = notebooks.shown(given)
    assert first.text == "one\ntwo\n" and second == picture
    assert third.text == "three\n"


@pytest.mark.parametrize("name", names())
def test_nothing_of_this_machine_is_written(notebooks, name):
    text = (EXAMPLES / "notebooks" / f"{name}.ipynb").read_text("utf-8")
    assert "site-packages" not in text and '"stderr"' not in text


def test_a_plot_that_is_not_shown(notebooks):
    (cell,) = of_cells("history\nkc.plot_stages(history)").cells
    cell.outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": "<Figure>"})
    ]
    with pytest.raises(ValueError, match="plot_stages.*text/plain"):
        notebooks.check_picture(cell)
    cell.outputs[0].data["image/png"] = "aaaa"
    notebooks.check_picture(cell)


@pytest.fixture
def copied(notebooks, monkeypatch, tmp_path):
    """A folder with a source of one cell and its notebook, with an output."""
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    source = tmp_path / "sums.py"
    source.write_text('# %% [markdown]\n"""\n# Sums\n"""\n\n# %%\nprint(2)\n')
    notebook = notebooks.read_source("sums")
    notebook.cells[-1].execution_count = 1
    notebook.cells[-1].outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="2\n")
    ]
    nbformat.write(notebook, tmp_path / "sums.ipynb")
    return source


def test_new_words_and_comments_keep_the_outputs(
    notebooks, copied, monkeypatch
):
    text = copied.read_text().replace("# Sums", "# Two sums")
    copied.write_text(text.replace("print(2)", "# Printed.\nprint(2)"))
    monkeypatch.setattr(notebooks, "INSTALL", "%pip install -q another")
    assert notebooks.differences("sums") != []
    assert notebooks.write_source("sums") == ""
    assert notebooks.differences("sums") == []
    written = nbformat.read(copied.with_suffix(".ipynb"), as_version=4)
    assert written.cells[1].source == "%pip install -q another"
    assert written.cells[-1].outputs[0].text == "2\n"


def test_another_program_does_not_keep_them(notebooks, copied):
    copied.write_text(copied.read_text().replace("print(2)", "print(3)"))
    before = copied.with_suffix(".ipynb").read_text()
    assert "sums.py; write it with --write" in notebooks.write_source("sums")
    assert copied.with_suffix(".ipynb").read_text() == before
    copied.with_suffix(".ipynb").unlink()
    assert "has not been written" in notebooks.write_source("sums")


def test_programs_of_cells(notebooks):
    def same(one, other):
        return notebooks.program(one) == notebooks.program(other)

    assert same("f(1)  # One.", "f( 1 )")
    assert not same("f(1)", "f(2)")
    # Not Python: every change counts.
    assert not same("# One.\n!ls", "!ls")
    assert same("!ls", "!ls")


def test_numbers_of_processes(notebooks, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert notebooks.processes("2") == 2
    assert notebooks.processes("auto") == 3
    for text in ("0", "-1", "many"):
        with pytest.raises(ValueError):
            notebooks.processes(text)
