"""A process that is started with jemalloc has it, and what somebody chose for it stands."""

import subprocess
import sys
from pathlib import Path

import pytest
from p2pledger import allocator

TELL = "from p2pledger.allocator import current; print(current())"


def told(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TELL], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_process_has_the_allocator_that_its_environment_names() -> None:
    assert told({}) == "pymalloc"
    assert told({"PYTHONMALLOC": "malloc"}) == "malloc"
    assert told(allocator.jemalloc({"PATH": "/usr/bin"})) == "jemalloc"


def test_the_tuning_is_one_that_jemalloc_takes() -> None:
    """It says on standard error what it does not know, which `told` has none of."""
    strict = allocator.jemalloc({})
    assert strict.keys() == set(allocator.variables("any"))
    assert told({**strict, "MALLOC_CONF": f"{strict['MALLOC_CONF']},abort_conf:true"}) == "jemalloc"


@pytest.mark.parametrize(
    "chosen", [{"PYTHONMALLOC": "debug"}, {"LD_PRELOAD": "libfaketime.so.1"}, {"MALLOC_CONF": "thp:never"}]
)
def test_what_somebody_chose_stands(chosen: dict[str, str]) -> None:
    assert allocator.jemalloc(chosen) == {}


def test_where_jemalloc_is_not_installed_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_library", lambda: None)
    assert allocator.jemalloc({}) == {}


def test_the_prerequisites_name_the_package() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "prerequisites"
    assert f" {allocator.PACKAGE} " in script.read_text().replace("}", " ").replace('"', " ")
