"""A recipe against shortcuts: search on validation, final test, comparison and stress tests.

    python benchmarks/recipe.py --data chest_xray --weights weights --out results

``docs/results/protocol.rst`` fixes the candidates, the selection and the metrics. The stages run
one after the other, and each can be named alone:

- ``search`` trains every candidate and selects on validation. It opens no image of the test set.
- ``final`` trains the finalists on three seeds, chooses thresholds on validation, and tests each
  finalist once per seed.
- ``compare`` tests every candidate of the search, after the final result, to compare validation
  with test. Nothing is chosen by it.
- ``stress`` trains recipes on the backbones and seeds that are named, unless the earlier stages
  have, and runs the stress tests of each network on validation and test. It needs no other stage.

Each evaluation on the test set is a line of ``test-openings.csv``. Finished runs are kept in the
scratch folder, so the command can be repeated after an interruption. All results so far are
written to ``recipe.zip`` in the output folder after each stage, and after each network of the
stress tests. ``--data`` is a folder of images or a folder with ``images.zip``, as
``benchmarks/pack.py`` writes it.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import recipe_results as results
import recipe_runs as runs
import torch
from recipe_runs import RECIPES, Candidate, Workplace

from cxrtransfer.evaluation import record_test_opening
from cxrtransfer.files import atomic_path, text_digest

SEARCHED = ("squeezenet1_1", "tf_efficientnetv2_b0")
MEMBERS = ("squeezenet1_1", "mobilenet_v2", "tf_efficientnetv2_b0")
STRESSED = ("mobilenet_v2", "squeezenet1_1")  # the one that takes longer first
SEEDS = (0, 1, 2)
STAGES = ("search", "final", "compare", "stress")

Task = tuple[Callable[..., str], *tuple[Any, ...]]


def main() -> None:
    """Run the stages."""
    options = _options()
    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    scratch = options.scratch or _default_scratch(options.out)
    work = Workplace(
        data=options.data,
        out=scratch / "results",
        scratch=scratch,
        device=options.device,
        epochs=options.epochs,
        limit=options.limit,
    )
    work.scratch.mkdir(parents=True, exist_ok=True)
    for folder in ("runs", "predictions", "stress"):
        (work.out / folder).mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.jobs, mp_context=context, initializer=_limit_threads, initargs=(options.jobs,)
    ) as pool:
        for stage in options.stages:
            started = time.perf_counter()
            try:
                _STAGES[stage](work, pool, options)
            finally:
                pack(work.out, options.out)
            say(f"{stage}: {time.perf_counter() - started:.1f} s")


def search(work: Workplace, pool: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    """Train every candidate; select by adjusted validation."""
    runs.prepare(work, "fit")
    candidates = [
        Candidate(recipe, backbone) for recipe in RECIPES for backbone in options.searched
    ]
    training: list[Task] = [(runs.train, work, candidate) for candidate in candidates]
    run_all(pool, [(runs.describe, work), *training])
    selection = results.select(work, options.searched)
    write_json(work.out / "selection.json", selection)
    say(f"chosen: {selection['recipe']}, single network {selection['backbone']}")


def final(work: Workplace, pool: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    """Train the finalists on all seeds; choose thresholds on validation; test once."""
    selection = read_selection(work)
    runs.prepare(work, "fit")
    members = [
        Candidate(selection["recipe"], backbone, seed)
        for seed in options.seeds
        for backbone in dict.fromkeys([*options.members, selection["backbone"]])
    ]
    run_all(pool, [(runs.train, work, member) for member in members])
    run_all(pool, [(runs.predict_views_of, work, member, "val") for member in members])
    plan = [
        {"finalist": name, "seed": seed, "members": [c.name for c in own], "split_suffix": suffix}
        | _validation(work, own, suffix)
        for seed in options.seeds
        for name, own, suffix in _finalists(selection, options.members, seed)
    ]
    write_json(work.out / "final-plan.json", plan)  # before the test set is opened
    runs.prepare(work, "test")
    run_all(pool, [(runs.predict_views_of, work, member, "test") for member in members])
    rows = []
    for seed in options.seeds:
        for name, own, suffix in _finalists(selection, options.members, seed):
            test = results.ensemble(work, own, f"test{suffix}")
            record(work, test.ids, f"{name}, seed {seed}", "final result")
            (planned,) = (r for r in plan if (r["finalist"], r["seed"]) == (name, seed))
            measured = results.measure(work.out, test, planned["threshold"])
            rows.append(planned | {"test": measured})
    means = {
        name: {
            metric: _spread([r["test"][metric]["value"] for r in rows if r["finalist"] == name])
            for metric in results.METRICS
        }
        for name in ("ensemble", "single")
    }
    write_json(work.out / "final.json", {"rows": rows, "means": means})
    for name, values in means.items():
        say(f"{name}: " + ", ".join(f"{m} {v['mean']:.4f}" for m, v in values.items()))


def compare(work: Workplace, pool: ProcessPoolExecutor, _: argparse.Namespace) -> None:
    """Test every candidate of the search, to compare validation with test."""
    if not (work.out / "final.json").exists():
        raise SystemExit("the candidates are tested after the final result; run that stage first")
    selection = read_selection(work)
    candidates = [Candidate(r["recipe"], r["backbone"]) for r in selection["candidates"]]
    run_all(pool, [(runs.predict_plain, work, candidate, "test") for candidate in candidates])
    ids = results.ensemble(work, candidates[:1], "test").ids
    for candidate in candidates:
        record(work, ids, candidate.name, "comparison of validation with test")
    text = results.comparison(work, selection)
    with atomic_path(work.out / "candidates.txt") as path:
        path.write_text(text + "\n", encoding="utf-8")
    say(text)


def stress(work: Workplace, pool: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    """Run the stress tests of some recipes, on validation and test; nothing is chosen by them."""
    runs.prepare(work, "fit")
    runs.prepare(work, "test")
    tested = [
        Candidate(recipe, backbone, seed)
        for seed in options.seeds
        for backbone in options.stressed
        for recipe in options.recipes
    ]
    test_ids = runs.records_of(work.images, "test").ids
    for network in tested:
        record(work, test_ids, network.name, "stress tests")
    run_all(
        pool,
        [(runs.stress, work, network) for network in tested],
        after_each=lambda: pack(work.out, options.out),
    )


_STAGES = {"search": search, "final": final, "compare": compare, "stress": stress}


def _finalists(
    selection: dict[str, Any], members: Sequence[str], seed: int
) -> Iterable[tuple[str, list[Candidate], str]]:
    """Yield name, networks and suffix of the predictions (with views or without)."""
    recipe = selection["recipe"]
    yield "ensemble", [Candidate(recipe, backbone, seed) for backbone in members], "-views"
    yield "single", [Candidate(recipe, selection["backbone"], seed)], ""


def _validation(work: Workplace, members: list[Candidate], suffix: str) -> dict[str, Any]:
    val = results.ensemble(work, members, f"val{suffix}")
    result = results.adjusted(work.out, val)
    return {
        "threshold": results.threshold_of(val),
        "validation": {
            name: {"value": e.value, "low": e.low, "high": e.high}
            for name, e in (("plain", result.plain), ("overlap", result.overlap))
        },
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}


def record(work: Workplace, ids: Sequence[str], run: str, purpose: str) -> None:
    """Write a line of the ledger."""
    record_test_opening(work.out / "test-openings.csv", ids, run=run, purpose=purpose)


def run_all(
    pool: ProcessPoolExecutor,
    tasks: Sequence[Task],
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Run tasks side by side; print what each returns."""
    started = time.perf_counter()
    for done in as_completed([pool.submit(*task) for task in tasks]):
        say(f"  [{time.perf_counter() - started:6.1f} s] {done.result()}")
        after_each()


def read_selection(work: Workplace) -> dict[str, Any]:
    """Read what the search chose."""
    path = work.out / "selection.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing; run the stage search first")
    selection: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return selection


def pack(results_folder: Path, out: Path) -> None:
    """Write all results so far into one file."""
    files = sorted(path for path in results_folder.rglob("*") if path.is_file())
    with (
        atomic_path(out / "recipe.zip") as path,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for file in files:
            packed.write(file, file.relative_to(results_folder))


def write_json(path: Path, value: object) -> None:
    """Write a file that later stages, or the documentation, read."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def _default_scratch(out: Path) -> Path:
    """Return a temporary folder, the same whenever the command is repeated."""
    name = text_digest(str(out.resolve()))[:12]
    return Path(tempfile.gettempdir()) / f"cxrtransfer-recipe-{name}"


def _limit_threads(jobs: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--weights", type=Path, default=os.environ.get("CXRTRANSFER_WEIGHTS"))
    parser.add_argument("--out", type=Path, required=True, help="folder of recipe.zip")
    parser.add_argument(
        "--scratch", type=Path, help="folder of pixels and weights (default: temporary)"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--jobs", type=int, default=4, help="runs side by side")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["plain", "strong"],
                        help="of the stress tests")  # fmt: skip
    parser.add_argument("--stressed", nargs="+", default=list(STRESSED), metavar="BACKBONE",
                        help="of the stress tests")  # fmt: skip
    trial = parser.add_argument_group("to try the stages; the protocol has the defaults")
    trial.add_argument("--limit", type=int, default=0, help="training images (0: all)")
    trial.add_argument("--searched", nargs="+", default=list(SEARCHED), metavar="BACKBONE")
    trial.add_argument("--members", nargs="+", default=list(MEMBERS), metavar="BACKBONE")
    trial.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    options = parser.parse_args()
    if options.data is None:
        parser.error("pass --data, or set CXRTRANSFER_DATA")
    return options


if __name__ == "__main__":
    main()
