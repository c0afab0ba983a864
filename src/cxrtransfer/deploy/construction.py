"""The parts of a classifier, from a run or from a network."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from cxrtransfer.evaluation import Predictions, calibrate_classes
from cxrtransfer.inference import View
from cxrtransfer.models import Blueprint, blueprint_of, input_spec, parse_name
from cxrtransfer.runtime import eval_mode
from cxrtransfer.study import RunResult, load_ensemble, load_network, load_run
from cxrtransfer.types import InputSpec, Precision, StrPath

from .card import default_card, run_card
from .decision import CalibrationName, choose_calibration, choose_threshold, recalibrated
from .parts import Parts

__all__ = ["check_network", "parts_of_model", "parts_of_run", "parts_of_runs"]


def parts_of_run(
    run: StrPath | RunResult,
    *,
    threshold: str | float,
    calibration: CalibrationName,
    precision: Precision,
    card: bool,
) -> Parts:
    """Return the parts of a complete run's classifier; see :meth:`Classifier.from_run`."""
    result = run if isinstance(run, RunResult) else load_run(run)
    patients = result.patients()
    groups = [patients[name] for name in result.val.ids]
    recalibration = choose_calibration(calibration, result.val)
    val = recalibrated(result.val, recalibration)
    point = choose_threshold(threshold, val)
    conformal = calibrate_classes(val, groups)
    network = load_network(result)
    return Parts(
        network=network,
        blueprint=blueprint_of(network),
        input_spec=input_spec(network),
        fit="squash",
        precision=precision,
        class_names=val.class_names,
        positive_index=val.positive_index,
        threshold=point,
        calibration=recalibration,
        conformal=conformal,
        reference=result.folder.read_reference(),
        card=run_card(result, point, recalibration, conformal) if card else "",
    )


def parts_of_runs(
    runs: Sequence[StrPath | RunResult],
    *,
    views: Sequence[View],
    source: StrPath | None,
    threshold: str | float,
    calibration: CalibrationName,
    precision: Precision,
) -> Parts:
    """Return the parts of the classifier of an ensemble; see :meth:`Classifier.from_runs`."""
    ensemble = load_ensemble(runs, views, source)
    val = ensemble.predict("val", precision=precision)
    patients = ensemble.runs[0].patients()
    parts = parts_of_model(
        ensemble.network,
        class_names=val.class_names,
        spec=None,
        architecture=None,
        positive=None,
        val=val,
        val_patients=[patients[name] for name in val.ids],
        threshold=threshold,
        calibration=calibration,
        precision=precision,
    )
    return {**parts, "card": f"{parts['card']}\n\nMean probability of {ensemble.name}.\n"}


def parts_of_model(
    model: nn.Module,
    *,
    class_names: Sequence[str],
    spec: InputSpec | None,
    architecture: str | None,
    positive: str | None,
    val: Predictions | None,
    val_patients: Sequence[str] | None,
    threshold: str | float | None,
    calibration: CalibrationName,
    precision: Precision,
) -> Parts:
    """Return the parts of a network's classifier; see :meth:`Classifier.from_model`."""
    names = tuple(class_names)
    if positive is not None and positive not in names:
        raise ValueError(f"positive must be one of the classes {names}, got {positive!r}")
    if val is not None and val.class_names != names:
        raise ValueError(f"val must have the classes {names}, got {val.class_names}")
    network = copy.deepcopy(model).cpu().eval()
    if spec is None:
        spec = input_spec(network)
    index = names.index(positive) if positive else 1 if val is None else val.positive_index
    recalibration = None
    if val is not None:
        val = replace(val, positive_index=index)
        recalibration = choose_calibration(calibration, val)
        val = recalibrated(val, recalibration)
    rule = threshold if threshold is not None else 0.5 if val is None else "youden"
    groups = () if val is None else val.ids if val_patients is None else val_patients
    point = choose_threshold(rule, val)
    return Parts(
        network=network,
        blueprint=blueprint_of(network)
        if architecture is None
        else Blueprint(str(parse_name(architecture)), spec),
        input_spec=spec,
        fit="squash",
        precision=precision,
        class_names=names,
        positive_index=index,
        threshold=point,
        calibration=recalibration,
        conformal=() if val is None else calibrate_classes(val, groups),
        reference=None,
        card=default_card(names, names[index], point, recalibration),
    )


def check_network(network: nn.Module, spec: InputSpec, class_names: Sequence[str]) -> None:
    """Run the network once, to see that it accepts its input and has the classes."""
    device = next(network.parameters()).device
    zeros = torch.zeros(1, spec.channels, spec.size, spec.size, device=device)
    try:
        with torch.no_grad(), eval_mode(network):
            logits = network(zeros)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"the network must accept images of {spec.channels} channels and {spec.size} pixels, "
            f"as its input specification says, but fails: {error}"
        ) from error
    wanted = {(1, len(class_names))} | ({(1, 1)} if len(class_names) == 2 else set())
    if tuple(logits.shape) not in wanted:
        raise ValueError(
            f"the network must return one logit per class, {len(class_names)} for {class_names}, "
            f"got {tuple(logits.shape)} for one image"
        )
