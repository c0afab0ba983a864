"""Everything that is checked, each in a fresh environment: ``python -m nox`` runs it all."""

import os
import shutil
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
DEFAULT_PYTHON = PYTHONS[0]

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "floors", "tests", "docs"]
# Every Python that is there is tested; the others are skipped, and none is fetched.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


def install(session: nox.Session, *groups: str) -> None:
    session.install(
        "-e", ".[dicom,tensorboard]", *nox.project.dependency_groups(PYPROJECT, *groups)
    )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and the docstrings' examples."""
    install(session, "test")
    session.run("pytest", "--numprocesses=auto", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def coverage(session: nox.Session) -> None:
    """Run the tests with branch coverage."""
    install(session, "test")
    session.run("pytest", "--cov", "--cov-report=term-missing:skip-covered", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml admits."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve the lowest versions; pip install 'nox[uv]'")
    groups = nox.project.dependency_groups(PYPROJECT, "test")
    session.install("--resolution=lowest-direct", "-e", ".[dicom,tensorboard]", *groups)
    # Old releases warn about what their own newer dependencies have deprecated since.
    session.run("pytest", "--numprocesses=auto", "-W", "default", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def real(session: nox.Session) -> None:
    """Run the tests that need the real images; CXRTRANSFER_DATA says where they are."""
    if "CXRTRANSFER_DATA" not in os.environ:
        session.skip("set CXRTRANSFER_DATA to the folder that holds train, val and test")
    install(session, "test")
    session.run("pytest", "tests/real", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def place(session: nox.Session) -> None:
    """Train small networks for minutes, and see that their heatmaps point at the finding."""
    install(session, "test")
    session.run("pytest", "--numprocesses=auto", "-m", "trains", "tests/explain")


@nox.session(python=DEFAULT_PYTHON)
def attack(session: nox.Session) -> None:
    """Damage every kind of file the library reads, over a thousand times, and count outcomes."""
    install(session, "test")
    session.run("pytest", "-s", "-m", "attack", "tests/attack", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=DEFAULT_PYTHON)
def types(session: nox.Session) -> None:
    """Check the type hints, and that the public names keep theirs."""
    install(session, "types")
    session.run("mypy")


@nox.session(python=DEFAULT_PYTHON)
def floors(session: nox.Session) -> None:
    """Check that imports go down the floors only."""
    install(session, "floors")
    session.run("lint-imports")


@nox.session(python=DEFAULT_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the documentation; any warning is an error."""
    install(session, "docs")
    shutil.rmtree("docs/reference/generated", ignore_errors=True)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "docs", "docs/_build/html")
    session.log(f"the pages start at {Path('docs/_build/html/index.html').resolve()}")


@nox.session(python=DEFAULT_PYTHON)
def study(session: nox.Session) -> None:
    """Run the study; without arguments on drawn radiographs, in minutes."""
    session.install("-e", ".")
    session.run("python", "examples/paper/study.py", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def examples(session: nox.Session) -> None:
    """Run the short examples on drawn radiographs."""
    session.install("-e", ".")
    out = session.create_tmp()
    for script in ("leakage", "worth", "linear_probe"):
        session.run("python", f"examples/{script}.py")
    for script in ("train", "heatmaps"):
        session.run("python", f"examples/{script}.py", "--out", f"{out}/{script}")


@nox.session(python=DEFAULT_PYTHON)
def sweep(session: nox.Session) -> None:
    """Build every classifier of torchvision and timm by name, and write a table of them."""
    session.install("-e", ".")
    session.run("python", "benchmarks/sweep.py", *(session.posargs or ["--out", "sweep.csv"]))


@nox.session(python=DEFAULT_PYTHON)
def build(session: nox.Session) -> None:
    """Build the source distribution and the wheel."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "pip")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
