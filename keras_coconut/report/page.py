"""A report card as one HTML page, which needs no other file."""

import html
from collections.abc import Iterator, Mapping, Sequence

from keras_coconut.evaluation import Interval, Share
from keras_coconut.report import words
from keras_coconut.report.findings import Findings
from keras_coconut.report.pictures import Picture, pictures_of
from keras_coconut.report.sections import ABOUT, Section
from keras_coconut.report.style import STYLE
from keras_coconut.report.table import Table
from keras_coconut.report.tables import tables_of
from keras_coconut.report.verdicts import Verdict
from keras_coconut.versions import __version__

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def render(card: Findings) -> str:
    """Returns the page of a report card.

    Args:
        card: a `ReportCard`.
    """
    title = f"Report card: {card.model['name']}"
    body = [
        f"<header>\n<h1>{_text(title)}</h1>",
        *_described(card),
        "</header>",
        "<section><h2>Verdicts</h2>",
        *map(_verdict, card.verdicts),
        "</section>",
    ]
    for name, section in card.sections.items():
        if section.left_out is None:
            body += _section(name, card.sections, card.problems)
    body += _left_out(card.sections)
    body += _costs(card.sections)
    body.append(f"<footer>keras_coconut {_text(__version__)}</footer>")
    return _PAGE.format(title=_text(title), style=STYLE, body="\n".join(body))


def _text(value) -> str:
    return html.escape(str(value))


def _described(card) -> Iterator[str]:
    """Yields what the report is about."""
    sizes = words.counted(card.num_problems, "problem")
    thoughts = words.counted(card.num_thoughts, "thought")
    yield f"<p>{_text(sizes)}, {_text(thoughts)} each.</p>"
    head = ["", "model"]
    described = [card.model]
    if card.control is not None:
        head.append("control")
        described.append(card.control)
    names = {
        "backbone": "backbone",
        "parameters": "parameters",
        "layers": "layers",
        "hidden_dim": "hidden size",
        "thought_kind": "thoughts",
    }
    rows = [
        [
            title,
            *(
                f"{each[key]:,}" if isinstance(each[key], int) else each[key]
                for each in described
            ),
        ]
        for key, title in names.items()
    ]
    yield _table(Table("Models", head, rows))


def _verdict(verdict: Verdict) -> str:
    figures = "".join(
        f"<li><span>{_text(name)}</span> {_text(_figure(value))}</li>"
        for name, value in verdict.figures.items()
    )
    return (
        f'<article class="verdict" id="verdict-{_text(verdict.name)}">'
        f"<h3>{_text(verdict.question)}</h3>"
        f'<p class="outcome">{_text(verdict.outcome)}</p>'
        f"<p>{_text(verdict.text)}</p>"
        + (f'<ul class="figures">{figures}</ul>' if figures else "")
        + "</article>"
    )


def _figure(value) -> str:
    if isinstance(value, Share):
        return words.share(value)
    if isinstance(value, Interval):
        return words.mean(value)
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return f"{value:.3g}"


def _section(
    name: str, sections: Mapping[str, Section], problems: Sequence
) -> Iterator[str]:
    section, about = sections[name], ABOUT[name]
    unit = "pairs" if name in ("counterfactuals", "minimal_pairs") else None
    yield f'<section id="{name}"><h2>{_text(about.title)}</h2>'
    yield f"<p>{_text(about.text)}</p>"
    count = (
        f"{section.count} {unit}"
        if unit
        else (words.counted(section.count, "problem"))
    )
    yield (
        f'<p class="note">{_text(count)}, {words.seconds(section.seconds)}.</p>'
    )
    pictures = pictures_of(name, sections, problems)
    if pictures:
        yield f'<div class="pictures">{"".join(map(_picture, pictures))}</div>'
    yield from map(_table, tables_of(name, sections, problems))
    yield "</section>"


def _picture(picture: Picture) -> str:
    # A picture that is much smaller than printed cannot be read: it scrolls.
    caption = ""
    if picture.caption:
        caption = f"<figcaption>{_text(picture.caption)}</figcaption>"
    width, least = round(1.25 * picture.width), round(0.85 * picture.width)
    return (
        f'<figure class="picture" tabindex="0"><img src="{picture.uri}" '
        f'alt="{_text(picture.alt)}" '
        f'style="width: {width}px; min-width: {least}px">'
        f"{caption}</figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    rows = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    text, note = (
        f'<p class="note">{_text(each)}</p>' if each else ""
        for each in (table.text, table.note)
    )
    return (
        f"<h4>{_text(table.caption[:1].upper() + table.caption[1:])}</h4>"
        f'{text}<div class="table" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"{note}"
    )


def _left_out(sections: Mapping[str, Section]) -> Iterator[str]:
    """Yields what does not apply, each with its reason."""
    entries = [
        f'<li id="{name}"><b>{_text(ABOUT[name].title)}</b>: '
        f"{_text(section.left_out)}.</li>"
        for name, section in sections.items()
        if section.left_out is not None
    ]
    if entries:
        yield '<section id="left-out"><h2>What does not apply</h2>'
        yield f"<ul>{''.join(entries)}</ul></section>"


def _costs(sections: Mapping[str, Section]) -> Iterator[str]:
    """Yields what each section took."""
    measured = [each for each in sections.values() if each.left_out is None]
    rows = [
        [ABOUT[each.name].title, str(each.count), words.seconds(each.seconds)]
        for each in measured
    ]
    total = sum(each.seconds for each in measured)
    rows.append(["All", "", words.seconds(total)])
    yield '<section id="costs"><h2>What the report took</h2>'
    yield _table(
        Table("Time by section", ["", "problems or pairs", "time"], rows)
    )
    yield "</section>"
