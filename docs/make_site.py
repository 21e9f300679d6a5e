"""Builds the documentation site in site/; `make docs` runs it.

The pages are those of docs/, README.md as the first one, CONTRIBUTING.md and
CHANGELOG.md. The API pages are made of the public names of keras_coconut and
their docstrings: a new name appears in the group of its module. The sources are
read, never imported, so that neither Keras nor a backend is needed.
"""

import ast
import logging
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ROOT / "zensical.toml"
# What the site is made of; build/ is no part of the repository.
PAGES = ROOT / "build" / "pages"

# Where a link of one of the repository's files leads on the site.
MOVED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# A module's names are shown in the group of its longest prefix here.
GROUPS = {
    "keras_coconut.models": "models",
    "keras_coconut.text": "text",
    "keras_coconut.problems": "problems",
    "keras_coconut.datasets": "problems",
    "keras_coconut.curriculum": "training",
    "keras_coconut.methods": "training",
    "keras_coconut.training": "training",
    "keras_coconut.evaluation": "evaluation",
    "keras_coconut.analysis": "analysis",
    "keras_coconut.report": "analysis",
}
TITLES = {
    "models": "Models",
    "text": "Text",
    "problems": "Problems and datasets",
    "training": "Training",
    "evaluation": "Evaluation",
    "analysis": "Analysis",
    "plots": "Plots",
}


def public_names() -> dict[str, str]:
    """Returns the module from which keras_coconut takes each public name."""
    path = ROOT / "keras_coconut" / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules, names = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                modules[alias.asname or alias.name] = node.module
        elif isinstance(node, ast.Assign):
            if ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
    return {name: modules[name] for name in names}


def group_of(name: str, module: str) -> str:
    """Returns the group of a public name.

    Raises:
        ValueError: If none is known for its module.
    """
    if name.startswith("plot_"):
        return "plots"
    while module not in GROUPS:
        if "." not in module:
            raise ValueError(
                f"`GROUPS` in docs/make_site.py must have a group for each "
                f"public name. Received: {name}"
            )
        module = module.rpartition(".")[0]
    return GROUPS[module]


def api_pages() -> dict[str, str]:
    """Returns the text of each API page, by its path."""
    groups = {group: [] for group in TITLES}
    for name, module in public_names().items():
        groups[group_of(name, module)].append(name)
    pages, rows = {}, []
    for group, names in groups.items():
        entries = [f"::: keras_coconut.{name}" for name in names]
        pages[f"api/{group}.md"] = "\n\n".join(
            [f"# {TITLES[group]}", *entries, ""]
        )
        links = [
            f"[`{name}`]({group}.md#keras_coconut.{name})" for name in names
        ]
        rows.append(f"## {TITLES[group]}\n\n" + ", ".join(links) + "\n")
    start = (
        "# API\n\n"
        "All public names are those of `keras_coconut`. Arguments after the "
        "second are\nkeyword-only unless Keras prescribes their order.\n\n"
    )
    return {"api/index.md": start + "\n".join(rows), **pages}


def site_text(text: str) -> str:
    """Returns a page of the repository with the links of the site."""

    def moved(found):
        path, anchor = found[2], found[3] or ""
        # All pages lie side by side on the site.
        path = path.removeprefix("../").removeprefix("docs/")
        return f"{found[1]}({MOVED.get(path, path)}{anchor})"

    return re.sub(r"(\])\(([^)#:\s]+)(#[^)\s]*)?\)", moved, text)


def linked_files(text: str) -> set[str]:
    """Returns the files, other than pages, to which a page in docs/ links."""
    paths = re.findall(r"\]\(\.\./([^)#:\s]+)", text)
    return {path for path in paths if not path.endswith(".md")}


def write_pages(folder: pathlib.Path) -> None:
    """Writes the pages and pictures of which the site is made.

    Args:
        folder: a path; what it holds is deleted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "api").mkdir(parents=True)
    sources = {page.name: page for page in (ROOT / "docs").glob("*.md")}
    sources |= {new: ROOT / name for name, new in MOVED.items()}
    for name, source in sources.items():
        text = source.read_text(encoding="utf-8")
        for path in linked_files(text):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        (folder / name).write_text(site_text(text), encoding="utf-8")
    for name, text in api_pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    for suffix in ("png", "css"):
        for file in (ROOT / "docs").glob(f"*.{suffix}"):
            shutil.copy(file, folder)


def listed_pages() -> list[str]:
    """Returns the pages of the navigation, in order."""

    def paths(value):
        if isinstance(value, str):
            return [value]
        parts = value.values() if isinstance(value, dict) else value
        return [path for part in parts for path in paths(part)]

    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    return paths(config["project"]["nav"])


def docstring_warnings() -> list[str]:
    """Returns what is wrong with the form of the public docstrings.

    The site's generator does not count it among its own warnings.
    """
    import griffe

    found = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logging.getLogger("griffe").addHandler(handler)
    package = griffe.load("keras_coconut", search_paths=[ROOT])
    for name in public_names():
        known = package[name]
        members = known.all_members.values() if known.is_class else ()
        for each in (known, *members):
            if each.docstring and not each.name.startswith("_"):
                # "first, second: ..." describes two arguments at once.
                each.docstring.parse(
                    "google",
                    warn_missing_types=False,
                    warn_unknown_params=False,
                )
    return found


def main() -> None:
    """Writes the pages and builds the site; a warning is an error."""
    if warnings := docstring_warnings():
        sys.exit("\n".join(warnings))
    write_pages(PAGES)
    command = ["zensical", "build", "--clean", "--strict"]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
