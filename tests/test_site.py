"""The documentation site's pages, without the generator that shows them."""

import ast
import pathlib
import re

import pytest
import scripts

import keras_coconut

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def make_site():
    return scripts.load(ROOT / "docs" / "make_site.py")


@pytest.fixture(scope="module")
def pages(make_site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "pages"
    make_site.write_pages(folder)
    return folder


def test_navigation_lists_every_page_once(make_site, pages):
    written = [p.relative_to(pages).as_posix() for p in pages.rglob("*.md")]
    assert sorted(make_site.listed_pages()) == sorted(written)


def test_api_shows_every_public_name_once(pages):
    shown, linked = [], []
    for page in pages.glob("api/*.md"):
        text = page.read_text(encoding="utf-8")
        shown += re.findall(r"^::: keras_coconut\.(\w+)$", text, re.MULTILINE)
        linked += re.findall(r"#keras_coconut\.(\w+)\)", text)
    assert sorted(shown) == sorted(keras_coconut.__all__)
    assert sorted(linked) == sorted(keras_coconut.__all__)


def test_new_room_needs_a_group(make_site):
    assert make_site.group_of("plot_tree", "keras_coconut.room") == "plots"
    with pytest.raises(ValueError, match=r"Received: shine_on$"):
        make_site.group_of("shine_on", "keras_coconut.room.lamp")


def test_links_of_the_site_lead_to_files(pages):
    for page in pages.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            target = (page.parent / link).resolve()
            assert target.is_file(), f"{page.name}: {link}"
            assert target.is_relative_to(pages), f"{page.name}: {link}"


# Of the authors' README.
SETTINGS = """
    project save_path only_eval coconut cot no_thoughts no_cot c_thought
    epochs_per_stage max_latent_stage pad_latent_to_max save_only_improve
    uniform_prob model_id load_model_path seed resume bf16 train_path val_path
    reset_optimizer batch_size_training debug gradient_accumulation_steps
    num_epochs lr weight_decay
""".split()


def test_every_published_setting_has_a_row():
    text = (ROOT / "docs" / "published_code.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    assert set(SETTINGS) <= set(re.findall(r"`(\w+)`", " ".join(cells)))


def literals():
    """Every text in the library's code, `...` in place of values."""
    for path in (ROOT / "keras_coconut").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "") for part in node.values)
                yield "...".join(p for p in parts if isinstance(p, str))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_of_troubleshooting_are_those_of_the_code():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"```text\n(.+?)\n```", text, re.DOTALL)
    assert len(messages) > 10
    known = "\0".join(literals())
    for message in messages:
        for part in message.split("..."):
            assert part.strip() in known, message
