"""The documents say what is there: links lead somewhere, names exist, overrides and presets are accepted."""

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

import sadinet
from sadinet.presets import DATASETS, SIZES, VARIANTS, preset
from sadinet.values import override, to_dict

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(sadinet.__file__).parent
DOCS = [*sorted((ROOT / "docs").rglob("*.md")), *(p for p in [ROOT / "README.md"] if p.is_file())]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MAPPED = re.compile(r"\[`([\w/]+\.py):([\w.]+)`\]\(([^)\s]+)\)")
_OVERRIDE = re.compile(r"--set ([\w.]+=[^\s`]+)")


def _prose(path: Path) -> str:
    """The document without its indented and fenced code, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def _broken_links(path: Path, text: str) -> list[str]:
    """Relative links of ``text``, standing in the file ``path``, to files that do not exist."""
    local = (target for target in _LINK.findall(text) if not re.match(r"[a-z]+:|#", target))
    return [target for target in local if not (path.parent / target.partition("#")[0]).exists()]


def _names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Functions, classes and assigned names, those inside of classes as ``Class.name``."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


def _decisions(text: str) -> set[str]:
    """Numbers of the decisions that ``text`` mentions: ``decision 003``, ``decisions 001, 004 and 007``."""
    mentions = re.findall(r"\bdecisions?\s+((?:\d{3}(?:,\s*|\s+and\s+)?)+)", text, flags=re.IGNORECASE)
    return {number for mention in mentions for number in re.findall(r"\d{3}", mention)}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path):
    assert _broken_links(path, _prose(path)) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "there.md").touch()
    text = "[a](there.md#part) [b](gone.md) [c](https://example.org/x.md) [d](#here) [e](../gone/)"
    assert _broken_links(tmp_path / "index.md", text) == ["gone.md", "../gone/"]


def test_every_decision_mentioned_exists_once():
    files = [path.name[:3] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert len(files) == len(set(files))
    texts = {path: path.read_text("utf-8") for path in [*SOURCE.rglob("*.py"), *DOCS]}
    missing = {(str(path), number) for path, text in texts.items() for number in _decisions(text) - set(files)}
    assert not missing
    assert {"001", "008"} <= set().union(*map(_decisions, texts.values()))


def test_decisions_are_named_by_number_and_title():
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        assert re.fullmatch(r"\d{3}-[a-z0-9-]+\.md", path.name)
        assert path.read_text("utf-8").startswith(f"# {path.name[:3]} "), path.name


def test_several_decisions_in_one_mention_are_read():
    assert _decisions("see Decision 003; decisions 001, 004 and\n007, but not 1234") == {"001", "003", "004", "007"}


def test_the_map_of_the_paper_names_what_exists():
    path = ROOT / "docs" / "paper-map.md"
    text = path.read_text("utf-8")
    entries = _MAPPED.findall(text)
    assert len(entries) == len(re.findall(r"\.py:", text)) > 30  # none is written in another way
    names = {file: set(_names(ast.parse((SOURCE / file).read_text("utf-8")).body)) for file, _, _ in entries}
    assert [f"{file}:{name}" for file, name, _ in entries if name not in names[file]] == []
    assert [link for file, _, link in entries if (path.parent / link).resolve() != (SOURCE / file).resolve()] == []


def test_names_of_a_module_include_members_and_constants():
    source = "A = 1\nB: int = 2\nclass C:\n    d: int = 3\n    def e(self): ...\ndef f():\n    g = 4\n"
    assert list(_names(ast.parse(source).body)) == ["A", "B", "C", "C.d", "C.e", "f"]


def _together(text: str) -> Iterator[list[str]]:
    """Overrides that belong together: those of one code span, or of one line of a code block."""
    blocks = re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE)
    spans = [line for block in blocks for line in block.splitlines()] + re.findall(r"`[^`\n]+`", text)
    yield from filter(None, map(_OVERRIDE.findall, spans))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_overrides_are_accepted(path):
    for changes in _together(path.read_text("utf-8")):
        changed = to_dict(override(preset("mpii-b"), changes))
        for change in changes:
            field, _, value = change.partition("=")
            found = reduce(lambda tree, name: tree[name], field.split("."), changed)
            said = found if isinstance(found, list) else [found]
            assert [_plain(str(v)) for v in said] == [_plain(part) for part in value.split(",")]


def _plain(value: str) -> str | float:
    """A number as such, so that 1 and 1.0 are equal; anything else in lower case."""
    return float(value) if re.fullmatch(r"[\d.]+", value) else value.lower()


def test_overrides_of_spans_and_blocks_are_found():
    text = "`--set a.b=1 --set c=x,y` or `--set d=2`\n```\nrun --set e=3 --out f\n```\n"
    assert sorted(_together(text)) == [["a.b=1", "c=x,y"], ["d=2"], ["e=3"]]


def test_presets_that_are_mentioned_exist():
    suffixes = "|".join(sorted(map(re.escape, filter(None, VARIANTS)), key=len, reverse=True))
    shape = rf"`((?:{'|'.join(DATASETS)})-(?:{'|'.join(SIZES)})(?:-[a-z0-9-]+)?)`"
    mentioned = {name for path in DOCS for name in re.findall(shape, path.read_text("utf-8"))}
    assert "mpii-b-hourglass-dlm" in mentioned
    for name in mentioned:
        assert preset(name).name == name
    told = {s for path in DOCS for s in re.findall(r"suffix(?:es)? `(-[a-z0-9-]+)`", path.read_text("utf-8"))}
    assert [suffix for suffix in told if not re.fullmatch(suffixes, suffix)] == []


def _tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", _tables().pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_on_pages_are_those_of_the_result_files(path):
    text = path.read_text("utf-8")
    assert _tables().filled(text) == text, "run: python docs/tables.py"


def test_tables_are_filled_from_their_result(tmp_path, monkeypatch):
    tables = _tables()
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [
        {"title": "a", "columns": {"Head": 90.06, "Hip": 3.0}, "mean": 46.53, "calibration_error": 1.26, "brier": 0.12}
    ]
    (tmp_path / "x.json").write_text(json.dumps({"rows": rows}))
    page = "before\n<!-- table scores x.json -->\nold\n<!-- end -->\nafter\n"
    table = "|  | Head | Hip | Mean |\n| --- | ---: | ---: | ---: |\n| a | 90.1 | 3.0 | **46.5** |\n"
    assert tables.filled(page) == f"before\n<!-- table scores x.json -->\n{table}<!-- end -->\nafter\n"
    assert "| a | 1.3 % | 0.120 |" in tables.filled(page.replace("scores", "calibration"))
    assert tables.filled("no table\n") == "no table\n"
    line = {
        "epoch": 3,
        "loss_total": 0.00123,
        "val": 60.04,
        "val_head": 9.0,
        "val_wri": 8.0,
        "val_ank": 7.0,
        "seconds": 90,
    }
    (tmp_path / "x.jsonl").write_text(2 * (json.dumps(line) + "\n"))
    text = tables.filled("<!-- table log x.jsonl -->\n<!-- end -->\n")
    assert text.splitlines()[3:5] == 2 * ["| 3 | 1.230e-03 | 60.0 | 9.0 | 8.0 | 7.0 | 1.5 |"]


def test_numbers_within_sentences_are_those_of_the_studies(tmp_path, monkeypatch):
    tables = _tables()
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "studies").mkdir()
    for file, scores in (("iv-3", {"a": [30.0, 32.0], "b": [33.04]}), ("iv-12", {"a": [41.0, 45.0]})):
        lines = [
            {"study": "iv", "data": "lsp/val", "preset": "lsp-t", "row": row, "seed": seed, "scores": {"Mean": score}}
            for row, values in scores.items()
            for seed, score in enumerate(values)
        ]
        (tmp_path / "studies" / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = "from <!-- mean iv-3:a -->old\none<!-- end --> by <!-- gap iv-12:a iv-3:a -->?<!-- end --> to"
    full = "from <!-- mean iv-3:a -->31.0<!-- end --> by <!-- gap iv-12:a iv-3:a -->+12.0 ± 12.7<!-- end --> to"
    assert tables.filled(text) == tables.filled(full) == full
    assert ">+3.0<" in tables.filled("<!-- gap iv-3:b iv-3:a --><!-- end -->")
    (tmp_path / "studies" / "none.jsonl").write_text(json.dumps(lines[1]))
    with pytest.raises(SystemExit, match="no seed in common"):
        tables.filled("<!-- gap none:a iv-3:b --><!-- end -->")
    with pytest.raises(SystemExit, match="has no scores of 'c'"):
        tables.filled("<!-- mean iv-3:c --><!-- end -->")
