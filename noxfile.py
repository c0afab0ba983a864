"""The checks of the project, each in its own environment; plain ``nox`` runs the quick ones."""

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
# All installed Python versions are tested; missing ones are skipped, not downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


QUICK = "not slow and not trains and not attack"
EXTRAS = ".[dicom,onnx,pandas,tensorboard]"


def install(session: nox.Session, *groups: str) -> None:
    session.install("-e", EXTRAS, *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and the examples in docstrings."""
    install(session, "test")
    # What takes seconds (other processes, exports) differs most at the ends of the range.
    part = () if session.python in (PYTHONS[0], PYTHONS[-1]) else ("-m", QUICK)
    session.run("pytest", "--numprocesses=auto", *part, *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def coverage(session: nox.Session) -> None:
    """Run the tests with branch coverage."""
    install(session, "test")
    session.run("pytest", "--cov", "--cov-report=term-missing:skip-covered", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest supported versions of the dependencies."""
    if session.venv_backend != "uv":
        session.skip(
            "needs uv to resolve the lowest versions; install it with: pip install 'nox[uv]'"
        )
    groups = nox.project.dependency_groups(PYPROJECT, "test")
    session.install("--resolution=lowest-direct", "-e", EXTRAS, *groups)
    # Old releases use functions that newer versions of their dependencies deprecate.
    session.run("pytest", "--numprocesses=auto", "-W", "default", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def real(session: nox.Session) -> None:
    """Run the tests on the real images in the folder that CXRTRANSFER_DATA names."""
    if "CXRTRANSFER_DATA" not in os.environ:
        session.skip("set CXRTRANSFER_DATA to the folder with train, val and test")
    install(session, "test")
    session.run("pytest", "tests/real", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def localization(session: nox.Session) -> None:
    """Train small networks for some minutes and check that their heatmaps locate the lesions."""
    install(session, "test")
    session.run("pytest", "--numprocesses=auto", "-m", "trains", "tests/explain")


@nox.session(python=DEFAULT_PYTHON)
def attack(session: nox.Session) -> None:
    """Attack files, commands and studies over a thousand times, and count the outcomes."""
    install(session, "test")
    arguments = session.posargs or ["--outcomes", "docs/_output/attack.txt"]
    session.run("pytest", "-m", "attack", "tests/attack", *arguments)


@nox.session(python=DEFAULT_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style, formatting, spelling and wording."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("typos")
    session.run("python", "docs/prose.py")


@nox.session(python=DEFAULT_PYTHON)
def types(session: nox.Session) -> None:
    """Check the type hints of the code and of the public names."""
    install(session, "types")
    session.run("mypy")


@nox.session(python=DEFAULT_PYTHON)
def floors(session: nox.Session) -> None:
    """Check that no module imports from a higher layer."""
    install(session, "floors")
    session.run("lint-imports")


@nox.session(python=DEFAULT_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the documentation and run its code blocks; warnings and failing blocks are errors."""
    install(session, "docs")
    for folder in ("docs/gallery", "docs/reference/generated"):
        shutil.rmtree(folder, ignore_errors=True)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "docs", "docs/_build/html")
    session.log(f"open {Path('docs/_build/html/index.html').resolve()}")


@nox.session(python=DEFAULT_PYTHON)
def study(session: nox.Session) -> None:
    """Run the study; without arguments on synthetic radiographs, in a few minutes."""
    session.install("-e", ".")
    session.run("python", "examples/paper/study.py", *session.posargs)


@nox.session(python=DEFAULT_PYTHON)
def examples(session: nox.Session) -> None:
    """Run the short examples on synthetic radiographs."""
    session.install("-e", ".[dicom]")
    out = session.create_tmp()
    for script in ("leakage", "uncertainty", "linear_probe"):
        session.run("python", f"examples/{script}.py")
    for script in ("train", "heatmaps"):
        session.run("python", f"examples/{script}.py", "--out", f"{out}/{script}")
    for script in ("kundu2021", "manickam2021", "kermany2018", "rsna", "search", "alternatives"):
        session.run(
            "python", f"examples/studies/{script}.py", "--small", "--out", f"{out}/{script}"
        )
    session.run("python", "examples/paper/measure.py", "--out", f"{out}/measured", "--jobs", "1")
    session.run("python", "benchmarks/gpu.py", "--small", "--out", f"{out}/gpu")  # also on a CPU


@nox.session(python=DEFAULT_PYTHON)
def sweep(session: nox.Session) -> None:
    """Build every classifier of torchvision and timm and tabulate the results."""
    session.install("-e", ".")
    session.run("python", "benchmarks/sweep.py", *(session.posargs or ["--out", "sweep.csv"]))


@nox.session(python=DEFAULT_PYTHON)
def build(session: nox.Session) -> None:
    """Build the source distribution and the wheel."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "pip")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
