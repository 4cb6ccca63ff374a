"""What a backtest keeps is named by the code that made it, wherever in models/ that code lies."""

from __future__ import annotations

from pathlib import Path

from tasks.plan import digest_code


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_change_anywhere_in_the_tree_gives_another_digest(tmp_path: Path) -> None:
    write(tmp_path / "top.py", "a = 1")
    write(tmp_path / "deep" / "er" / "b.py", "b = 1")
    before = digest_code(tmp_path)
    assert digest_code(tmp_path) == before
    write(tmp_path / "deep" / "er" / "b.py", "b = 2")
    assert digest_code(tmp_path) != before


def test_a_moved_module_gives_another_digest_and_another_place_of_the_tree_does_not(
    tmp_path: Path,
) -> None:
    for root in ("here", "there"):
        write(tmp_path / root / "deep" / "b.py", "b = 1")
    before = digest_code(tmp_path / "here")
    assert digest_code(tmp_path / "there") == before
    (tmp_path / "there" / "deep" / "b.py").rename(tmp_path / "there" / "b.py")
    assert digest_code(tmp_path / "there") != before
