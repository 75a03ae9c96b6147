"""What exists is documented, and what is documented exists: settings, errors, models, commands, routes, links."""

import re
from pathlib import Path

import pytest
import typer.main

from house import served_paths
from kf2v import errors
from kf2v.assembly.engines import ENGINES
from kf2v.catalog.models import MODELS
from kf2v.catalog.regions import REGIONS
from kf2v.cli.exits import Exit
from kf2v.server.operations import Metrics
from kf2v.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    rows = set(re.findall(r"^\| `(KF2V_\w+)` \|", page("settings.md"), re.MULTILINE))
    assert rows == {f"KF2V_{name.upper()}" for name in Settings.model_fields}


def test_the_documented_defaults_are_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `KF2V_(\w+)` \| `([^`]*)` \|", page("settings.md"), re.MULTILINE))
    assert len(rows) > 10
    for name, shown in rows.items():
        default = Settings.model_fields[name.lower()].default
        assert shown == (f"{default:g}" if isinstance(default, float) else str(default)), name


def subclasses(kind: type[errors.ApiError]) -> set[type[errors.ApiError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_code_is_explained() -> None:
    text = page("errors.md")
    codes = {kind.code for kind in subclasses(errors.ApiError) if kind.__module__ == "kf2v.errors"}
    assert len(codes) > 15
    for code in codes:
        assert f"`{code}`" in text, code


def test_every_explained_code_exists() -> None:
    known = {kind.code for kind in subclasses(errors.ApiError)}
    explained = re.findall(r"^\| (?:\d{3} \| )?`([A-Z][\w.]+)` \|", page("errors.md"), re.MULTILINE)
    assert explained
    assert set(explained) <= known


def test_every_model_and_region_is_listed() -> None:
    text = page("models.md")
    for model in MODELS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{model.name}` |"))
        assert ", ".join(model.resolutions) in row
        assert {name for name, region in REGIONS.items() if model.name in region.models} == set(
            re.findall(r"`(all|singapore|beijing)`", row)
        )


def test_every_engine_is_explained() -> None:
    text = (DOCS / "explanation" / "engines.md").read_text()
    for engine in ENGINES:
        assert f"| `{engine}`" in text


def test_every_command_is_listed() -> None:
    from kf2v.cli import app

    text = page("cli.md")
    group = typer.main.get_command(app)
    names = [name for name, command in group.commands.items() if not command.hidden]  # type: ignore[attr-defined]
    assert "serve" in names
    for name in names:
        assert f"`kf2v {name}" in text, name


def test_every_exit_code_is_listed() -> None:
    rows = set(re.findall(r"^\| (\d+) \|", page("cli.md"), re.MULTILINE))
    assert rows == {str(code.value) for code in Exit}


def test_every_route_is_listed(tmp_path: Path) -> None:
    text = page("http-api.md")
    served = served_paths(tmp_path)
    assert len(served) > 10
    for path in served:
        shown = path.replace("{name}", "{task_id}.mp4")
        assert shown in text, shown


def test_every_metric_is_explained_and_every_explained_one_exists() -> None:
    exported = {family.name + "_total" * (family.type == "counter") for family in Metrics().registry.collect()}
    rows = re.findall(r"^\| `(kf2v_\w+)` \| (\w+) \|", page("http-api.md"), re.MULTILINE)
    assert {name for name, _ in rows} == exported
    assert {kind for name, kind in rows if name.endswith("_total")} == {"counter"}


def test_every_decision_is_listed_and_none_is_missing() -> None:
    pages = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    listed = re.findall(r"^\| \[(\d+)\]\(([^)]+)\) \|", (DOCS / "decisions" / "README.md").read_text(), re.MULTILINE)
    assert listed == [(str(int(name[:4])), name) for name in pages]
    for name in pages:
        assert (DOCS / "decisions" / name).read_text().startswith(f"# {int(name[:4])}. "), name


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    for folder in ("tutorial", "howto", "reference", "explanation"):
        for path in (DOCS / folder).glob("*.md"):
            assert f"({folder}/{path.name})" in index, path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name}: {target}"
    for target in re.findall(r'src="(?!https?:)([^"]+)"', path.read_text()):
        assert (path.parent / target).exists(), f"{path.name}: {target}"


def anchors(page: Path) -> set[str]:
    """How the headings of ``page`` are linked to: lower case, without signs, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_into_a_page_lead_to_a_heading() -> None:
    found = [
        (path, target, anchor)
        for path in PAGES
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", path.read_text())
    ]
    assert found
    for path, target, anchor in found:
        assert anchor in anchors(path.parent / target if target else path), f"{path.name}: {target}#{anchor}"
