"""The report card of models whose thoughts are known, and of real ones."""

import base64
import json

import pytest
import scripted_models as scripted
from reading_pages import Page

import keras_coconut
from keras_coconut import report
from keras_coconut.report import inputs, parts, probe_labels, verdicts
from keras_coconut.report.sections import ABOUT

SECTIONS = list(ABOUT)


def report_of(model, problems, control=None, **kwargs):
    return keras_coconut.report_card(
        model,
        problems,
        control,
        **{"sample_size": 10, "max_length": 12, "verbose": 0, **kwargs},
    )


def by_name(card):
    return {verdict.name: verdict for verdict in card.verdicts}


# === Models whose thoughts are known ===


@pytest.mark.any_backend
@pytest.mark.parametrize("without", [False, True])
def test_thoughts_that_carry_the_answer(without):
    problems, asked = scripted.problems()
    model = scripted.model()
    control = scripted.model(thought_kind="pause")
    scripted.Carrying(model, asked, without=without)
    scripted.Carrying(control, asked, cut=True)
    card = report_of(model, problems, control, num_pairs=40, sample_size=40)
    found = by_name(card)
    assert found["carry"].outcome == verdicts.CARRY
    own = found["carry"].figures["own"]
    for name in verdicts.REPLACED:
        assert found["carry"].figures[name].high < own.low
    writes = "it writes its steps instead" in found["carry"].text
    assert writes == without
    assert ("can do without them" in found["carry"].text) == without
    # Each answer is that of the problem whose thoughts it gets.
    assert found["carry"].figures["twin's thoughts"].share == 1
    assert found["carry"].figures["unrelated problem's thoughts"].share == 1
    assert found["needed"].outcome == ("None" if without else "1 of 2")
    # Nothing could take the place of the control's pauses.
    assert found["control"].outcome == "There are no patterns to compare"
    assert "answers about as many or more" in found["control"].text


@pytest.mark.any_backend
def test_thoughts_whose_path_is_cut():
    problems, asked = scripted.problems()
    model = scripted.model()
    scripted.Carrying(model, asked, cut=True)
    card = report_of(model, problems, num_pairs=40, sample_size=40)
    found = by_name(card)
    assert found["carry"].outcome == verdicts.DO_NOT_CARRY
    assert found["carry"].figures["twin's thoughts"].share == 0
    assert "Without thoughts it answers about as many" in found["carry"].text
    assert found["needed"].outcome == "None"
    assert found["control"].outcome == "No control model"


@pytest.mark.any_backend
def test_pauses():
    problems, asked = scripted.problems()
    model = scripted.model(thought_kind="pause")
    scripted.Carrying(model, asked, cut=True)
    card = report_of(model, problems)
    found = by_name(card)
    assert found["carry"].outcome == verdicts.PAUSES
    assert set(found["carry"].figures) == {"own", "none", "removed"}
    assert "The pauses contribute little or nothing" in found["carry"].text
    assert "pauses" in card.sections["decoded"].left_out


@pytest.mark.any_backend
def test_a_model_that_does_not_think():
    problems, asked = scripted.problems()
    model = scripted.model()
    scripted.Carrying(model, asked, cut=True)
    card = report_of(model, problems, num_thoughts=0)
    assert by_name(card)["carry"].outcome == verdicts.NO_THOUGHTS
    measured = {
        name
        for name, section in card.sections.items()
        if section.left_out is None
    }
    assert measured == {"answers"}


# === A real model, on each backend ===


def check_page(card, path):
    page = Page(path.read_text(encoding="utf-8"))
    assert [link for link in page.links if not link.startswith("data:")] == []
    assert len(set(page.ids)) == len(page.ids)
    assert set(SECTIONS) <= set(page.ids)
    for name, section in card.sections.items():
        assert ABOUT[name].title in page.text
        if section.left_out is not None:
            assert section.left_out in page.text
    for verdict in card.verdicts:
        assert f"verdict-{verdict.name}" in page.ids
        assert verdict.outcome in page.text and verdict.text in page.text
    assert page.images
    for image in page.images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(data)
        assert len(image["alt"]) > 20
    return page


def test_graphs(tmp_path):
    problems = scripted.graph_problems()
    model = scripted.graph_model()
    path = tmp_path / "report.html"
    card = report_of(
        model, problems, max_length=4, num_pairs=4, seed=1, path=path
    )
    left_out = {
        name
        for name, section in card.sections.items()
        if section.left_out is not None
    }
    assert left_out == {"probes", "minimal_pairs"}
    assert list(card.sections) == SECTIONS
    for name in ("tree", "superposition", "budget", "geometry"):
        assert card.sections[name].count == 10
        assert card.sections[name].seconds > 0
    own = keras_coconut.evaluate_problems(
        model, problems, max_length=4, verbose=0
    )
    found = card.sections["answers"].result["model"]
    assert found.predictions == own.predictions
    sample = inputs.draw(12, 10, 1)
    assert list(card.problems) == [problems[index] for index in sample]
    tree = keras_coconut.search_tree(
        model, card.problems, num_thoughts=[0, 1], verbose=0
    )
    frontier = tree.levels[1].frontier_mass.frontier
    page = check_page(card, path)
    (row,) = [row for row in page.cells if row[:2] == ["1", "10"]]
    assert row[3] == f"{frontier.chance:.2f}"
    assert row[5] == f"{frontier.by_frequency:.2f}"
    parallelism = tree.levels[1].parallelism
    first, uniform = parallelism.means[0].mean, parallelism.uniform_gap
    assert any(
        row[0] == "1"
        and row[1].startswith(f"{first:z.2f}")
        and row[6:] == [f"{uniform:.2f}"]
        for row in page.cells
    )
    # Of two heads: the sum, and the half of it.
    held = card.sections["superposition"].result
    sums, means = (
        held.attention[1].frontier,
        held.attention_per_head[1].frontier,
    )
    assert means.mean == pytest.approx(sums.mean / 2)
    caption = f"attention of layer {held.layer + 1}, mean of its heads"
    assert caption in page.text.lower()
    (row,) = [
        row for row in page.cells if row[0] == "turns around with a decoy"
    ]
    decoys = card.sections["counterfactuals"].result.decoy_following
    assert len(row) == 2 and (decoys is None) == (not row[1][0].isdigit())
    with (tmp_path / "report.json").open(encoding="utf-8") as file:
        assert json.load(file) == json.loads(json.dumps(card.to_dict()))


# === Options and files ===


@pytest.mark.any_backend
def test_paths_are_checked_before_any_work(tmp_path, monkeypatch):
    problems, asked = scripted.problems(6)
    model = scripted.model()
    scripted.Carrying(model, asked)
    card = report_of(model, problems, num_thoughts=0)
    monkeypatch.setattr(parts, "plan", lambda _: pytest.fail("It works."))
    (tmp_path / "folder.json").mkdir()
    for path, error in (
        (3, ValueError),
        ("", ValueError),
        ("report.txt", ValueError),
        (tmp_path / "none" / "report.html", OSError),
        # The file beside it.
        (tmp_path / "folder.html", OSError),
    ):
        with pytest.raises(error, match="^`path` must"):
            card.save(path)
        with pytest.raises(error, match="^`path` must"):
            report_of(model, problems, path=path)
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.any_backend
def test_problems_of_arithmetic(tmp_path):
    model = scripted.model()
    problems, _ = scripted.problems(60)
    # Few values, so that a probe has several problems for each.
    problems = [
        keras_coconut.Problem(each.question, [each.answer], each.answer)
        for each in problems
    ]
    path = tmp_path / "a <b>.HTML"
    options = dict(num_thoughts=1, num_pairs=3, max_length=2, sample_size=60)
    card = report_of(model, problems, path=path, **options)
    assert card.sections["probes"].left_out is None
    assert "their steps" not in card.sections["tree"].left_out
    assert (tmp_path / "a <b>.json").exists()
    check_page(card, path)
    first = path.read_bytes()
    card.save(path)
    assert path.read_bytes() == first


@pytest.mark.any_backend
def test_a_graph_among_arithmetic(tmp_path):
    """Its pairs are made of what they can be made of, and the page says so."""
    model = scripted.model()
    made, asked = scripted.problems(4)
    (graph,) = scripted.graph_problems(1)
    odd = keras_coconut.Problem("1 + 1?", ["two"], "2")
    graph = keras_coconut.Problem("1?", ["1"], "1", extra=graph.extra)
    scripted.Carrying(model, [*asked, odd, graph])
    path = tmp_path / "report.html"
    card = report_of(model, [graph, odd, *made], num_pairs=9, path=path)
    found = card.sections["minimal_pairs"]
    assert found.left_out is None
    assert found.count == len(found.result.pairs) == 4
    assert found.result.skipped == {"a step is not arithmetic": 1}
    text = Page(path.read_text(encoding="utf-8")).text
    assert "No pair could be made of 1 problem (a step is not arith" in text
    only_graphs = report_of(model, [graph, graph])
    left_out = only_graphs.sections["minimal_pairs"].left_out
    assert "have graphs" in left_out


@pytest.mark.any_backend
def test_the_texts_of_problems_are_escaped(tmp_path):
    model = scripted.model()
    problems = [
        keras_coconut.Problem(f"<script>{n}</script> & '\"", ["1"], "1")
        for n in range(3)
    ]
    path = tmp_path / "report.html"
    report_of(model, problems, path=path, num_thoughts=1, max_length=2)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert problems[0].question in Page(text).text


@pytest.mark.any_backend
def test_the_labels_of_probes():
    def label(*steps):
        return keras_coconut.Problem("1?", list(steps), "1")

    problems = [label(f"<<{n}+1={n % 2}>>", f"<<{n}*2={n}>>") for n in range(8)]
    labels, because = probe_labels.choose_labels(problems)
    assert because is None
    # The second step has a value of its own in each problem.
    assert [labels(each) for each in problems[:2]] == [["0", None], ["1", None]]
    assert probe_labels.choose_labels([label()]) == (
        None,
        "the problems have no steps",
    )
    assert "hardly a step" in probe_labels.choose_labels(problems[:4])[1]


@pytest.mark.any_backend
def test_forced_numbers():
    assert parts.forced(1) == [0, 1]
    assert parts.forced(6) == [0, 1, 2, 3, 4, 5, 6]
    assert parts.forced(12) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.any_backend
def test_one_line_of_progress(capsys):
    problems, asked = scripted.problems(6)
    model = scripted.model()
    scripted.Carrying(model, asked)
    report_of(model, problems, verbose=2, num_pairs=2)
    line, costs = filter(None, capsys.readouterr().out.splitlines())
    assert costs.startswith("report card took: answers ")
    assert ", minimal_pairs " in costs
    done, total = line.split()[2].split("/")
    assert line.startswith("report card: ")
    # All that was planned is done, and no more.
    planned = 6 + 6 * 8 + 3 * 6 + 5 + 6 + 2 * (6 + 2)
    assert done == total == str(planned)


@pytest.mark.any_backend
def test_an_interruption_keeps_what_is_done(monkeypatch):
    problems, asked = scripted.problems(6)
    model = scripted.model()
    scripted.Carrying(model, asked)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras_coconut.analysis, "thought_geometry", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        report_of(model, problems, num_pairs=2)
    partial = caught.value.partial
    assert set(partial) == {"answers", "controls", "budget", "decoded"}
    assert isinstance(partial["answers"], report.Section)


@pytest.mark.any_backend
def test_an_interruption_of_the_control_keeps_the_models_part(monkeypatch):
    problems, asked = scripted.problems(6)
    model, control = scripted.model(), scripted.model()
    scripted.Carrying(model, asked)
    scripted.Carrying(control, asked)
    evaluate = keras_coconut.evaluation.evaluate_controls

    def stop(asked_model, *args, **kwargs):
        if asked_model is control:
            raise KeyboardInterrupt
        return evaluate(asked_model, *args, **kwargs)

    monkeypatch.setattr(keras_coconut.evaluation, "evaluate_controls", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        report_of(model, problems, num_pairs=2, control=control)
    partial = caught.value.partial
    assert set(partial) == {"answers", "controls"}
    assert partial["controls"]["model"]["none"].predictions


@pytest.mark.any_backend
def test_problems_that_one_part_refuses():
    """A graph whose edges the question does not write out."""
    problems = scripted.graph_problems(6)
    problems = [
        keras_coconut.Problem(
            each.question.partition("|")[2], each.steps, each.answer,
            extra=each.extra,
        )
        for each in problems
    ]  # fmt: skip
    card = report_of(scripted.graph_model(), problems, max_length=2)
    assert "each edge of its graph" in card.sections["superposition"].left_out
    assert card.sections["superposition"].result is None
    assert card.sections["tree"].left_out is None
