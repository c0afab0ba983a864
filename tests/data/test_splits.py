import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from cxrtransfer.data import Record, Records, fold_records, resplit
from cxrtransfer.data.splits import hold_out, k_folds

SPLITS = ("train", "val", "test")


def study(
    num_patients: int = 60, *, seed: int = 0, num_classes: int = 2, test: int = 12, val: int = 4
) -> Records:
    """Patients with one to four images each; the first of them in test and val."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(num_patients):
        split = "test" if patient < test else "val" if patient < test + val else "train"
        label = patient % num_classes
        rows += [
            Record(Path(f"p{patient:03d}_{view}.png"), label, f"p{patient:03d}", split)
            for view in range(rng.integers(1, 5))
        ]
    names = tuple(f"class{label}" for label in range(num_classes))
    return Records(tuple(rows), names, patients_known=True)


def members(records: Records) -> dict[str, set[str]]:
    return {split: set(records.where(split).ids) for split in SPLITS}


studies = st.builds(
    study,
    st.integers(60, 90),
    seed=st.integers(0, 50),
    num_classes=st.integers(2, 3),
    test=st.integers(3, 12),
    val=st.integers(0, 6),
)
groupings = st.sampled_from(["patient_id", None])
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(studies, groupings, seeds)
def test_splits_are_disjoint_and_cover_everything(records, group_by, seed) -> None:
    divided = members(resplit(records, group_by=group_by, seed=seed))

    assert sum(len(part) for part in divided.values()) == len(records)
    assert set.union(*divided.values()) == set(records.ids)


@settings(max_examples=25, deadline=None)
@given(studies, groupings, seeds)
def test_test_stays_and_val_only_grows(records, group_by, seed) -> None:
    before, after = members(records), members(resplit(records, group_by=group_by, seed=seed))

    assert after["test"] == before["test"]
    assert after["val"] > before["val"]


@settings(max_examples=25, deadline=None)
@given(studies, seeds)
def test_no_patient_crosses_a_split(records, seed) -> None:
    divided = resplit(records, seed=seed)

    splits_of = {row.patient_id: set() for row in divided}
    for row in divided:
        splits_of[row.patient_id].add(row.split)
    assert all(len(splits) == 1 for splits in splits_of.values())


@settings(max_examples=25, deadline=None)
@given(studies, groupings, seeds, st.randoms())
def test_order_of_files_does_not_matter(records, group_by, seed, random) -> None:
    order = list(range(len(records)))
    random.shuffle(order)

    shuffled = resplit(records.take(order), group_by=group_by, seed=seed)

    assert shuffled == resplit(records, group_by=group_by, seed=seed)


@settings(max_examples=25, deadline=None)
@given(studies, groupings, seeds)
def test_renaming_the_classes_does_not_matter(records, group_by, seed) -> None:
    last = len(records.class_names) - 1
    renamed = Records(
        tuple(Record(row.path, last - row.label, row.patient_id, row.split) for row in records),
        records.class_names[::-1],
        patients_known=True,
    )

    assert members(resplit(renamed, group_by=group_by, seed=seed)) == members(
        resplit(records, group_by=group_by, seed=seed)
    )


@pytest.mark.filterwarnings("ignore:held out")  # a fifth can be less than that
@settings(max_examples=50, deadline=None)
@given(studies, groupings, seeds, st.sampled_from([0.1, 0.15, 0.2, 0.3]))
def test_prevalence_is_kept_within_one_patients_worth(records, group_by, seed, fraction) -> None:
    train = records.where("train")
    groups = train.patient_ids if group_by else None
    worth = max(Counter(train.patient_ids).values()) if group_by else 1
    assume(min(Counter(train.labels.tolist()).values()) * fraction >= 1)

    held = hold_out(train.labels, groups, fraction=fraction, seed=seed)

    got = np.bincount(train.labels[held], minlength=len(records.class_names))
    wanted = fraction * np.bincount(train.labels)
    assert np.all(np.abs(got - wanted) <= worth)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fraction", [0.02, 0.03, 0.04, 0.06, 0.97])
def test_small_and_large_fractions_are_met_too(fraction: float) -> None:
    labels = [0] * 450 + [1] * 750
    groups = [str(index // 3) for index in range(1200)]

    held = hold_out(labels, groups, fraction=fraction, seed=0)

    got = np.bincount(np.asarray(labels)[held], minlength=2)
    assert np.all(np.abs(got - fraction * np.array([450, 750])) <= 3)  # one patient's worth


def with_a_patient_of_half_the_images() -> Records:
    rows = [
        Record(Path(f"{i:03d}.png"), i % 2, "big" if i < 100 else f"p{i // 2}") for i in range(200)
    ]
    return Records(tuple(rows), ("NORMAL", "PNEUMONIA"), patients_known=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_a_patient_of_half_the_images_does_not_make_the_held_out_few(seed: int) -> None:
    records = with_a_patient_of_half_the_images()

    held = hold_out(records.labels, records.patient_ids, fraction=0.3, seed=seed)

    assert abs(len(held) - 60) <= 6  # half of one of the nine folds that share 100 images


def test_a_fold_with_half_the_images_is_told() -> None:
    with pytest.warns(UserWarning, match=r"held out \d+ images .* instead of 20\.0"):
        folds = list(fold_records(with_a_patient_of_half_the_images(), num_folds=5))

    assert max(len(fold.where("val")) for fold in folds) >= 100


def test_seeds_differ_and_repeat() -> None:
    records = study(90)

    assert resplit(records, seed=1) == resplit(records, seed=1)
    assert members(resplit(records, seed=1))["val"] != members(resplit(records, seed=2))["val"]


def test_single_images_follow_the_paper() -> None:
    # 5,216 / 16 / 624 images of 1,341 / 8 / 234 normals: the paper's "80/11/9"
    counts = {"train": (1341, 3875), "val": (8, 8), "test": (234, 390)}
    rows = tuple(
        Record(Path(f"{split}{label}_{index}"), label, str(index // 3), split)
        for split, numbers in counts.items()
        for label, number in enumerate(numbers)
        for index in range(number)
    )

    divided = resplit(Records(rows, ("NORMAL", "PNEUMONIA")), group_by=None)

    assert [len(divided.where(split)) for split in SPLITS] == [4694, 538, 624]


def test_training_images_of_a_validation_patient_follow_them() -> None:
    records = study()
    patient = records.where("val")[0].patient_id
    extra = Record(Path("extra.png"), records.where("val")[0].label, patient, "train")

    divided = resplit(Records((*records, extra), records.class_names, patients_known=True))

    assert "extra.png" in divided.where("val").ids


def test_zero_takes_the_splits_as_they_are() -> None:
    records = study()

    assert members(resplit(records, val_fraction=0)) == members(records)


def test_a_source_without_test_needs_test_fraction() -> None:
    records = study(test=0)

    divided = resplit(records, test_fraction=0.2)

    assert 0.1 < len(divided.where("test")) / len(records) < 0.3
    with pytest.raises(ValueError, match=r"no test split.* test_fraction=0.1"):
        resplit(records)


def test_a_source_with_test_keeps_it() -> None:
    with pytest.raises(ValueError, match="remove test_fraction"):
        resplit(study(), test_fraction=0.1)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.2])
def test_val_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"val_fraction must be in \[0, 1\), got {fraction}"):
        resplit(study(), val_fraction=fraction)


def test_unknown_grouping() -> None:
    with pytest.raises(ValueError, match="group_by must be 'patient_id' or None, got 'patient'"):
        resplit(study(), group_by="patient")


def test_a_class_with_too_few_patients_is_named() -> None:
    rows = [Record(Path(f"{i}.png"), 0, str(i), "train") for i in range(30)]
    rows += [Record(Path(f"b{i}.png"), 1, f"b{i // 5}", "train") for i in range(25)]
    rows += [Record(Path("t.png"), 0, "t", "test")]

    with pytest.raises(ValueError, match="at least 10 patients, class 1 has 5"):
        resplit(Records(tuple(rows), ("A", "B"), patients_known=True))


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        hold_out([1] * 30, None, fraction=0.1, seed=0)


def test_a_patient_with_half_the_data_is_reported() -> None:
    labels = [0] * 100 + [1] * 100
    groups = ["whale"] * 90 + [str(i) for i in range(110)]

    with pytest.warns(UserWarning, match="patients are kept in one split"):
        hold_out(labels, groups, fraction=0.9, seed=0)


def test_a_patient_in_train_and_test_is_reported() -> None:
    records = study()
    leak = Record(Path("leak.png"), 0, records.where("test")[0].patient_id, "train")

    with pytest.warns(UserWarning, match="1 patients of the test split are also in the training"):
        resplit(Records((*records, leak), records.class_names, patients_known=True))


@settings(max_examples=25, deadline=None)
@given(studies, st.integers(2, 5), seeds)
def test_folds_keep_patients_whole_and_prevalence_level(records, num_folds, seed) -> None:
    folds = k_folds(records.labels, records.patient_ids, num_folds=num_folds, seed=seed)

    assert set(folds.tolist()) == set(range(num_folds))
    assert len(set(zip(records.patient_ids, folds.tolist(), strict=True))) == len(
        set(records.patient_ids)
    )
    worth = 4
    for label in range(len(records.class_names)):
        counts = np.bincount(folds[records.labels == label], minlength=num_folds)
        assert counts.max() - counts.min() <= worth


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(2, 4))
def test_folds_are_those_of_scikit_learn(seed, num_folds, num_classes) -> None:
    rng = np.random.default_rng(seed)
    num_images = int(rng.integers(60, 200))
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num_images)])
    # Also patients of several classes, with many images, or with equal counts of all classes.
    patients = [f"p{code}" for code in rng.integers(0, num_images // 2, len(labels))]
    assume(all(len(set(np.array(patients)[labels == k])) >= num_folds for k in range(num_classes)))

    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    expected = np.empty(len(labels), dtype=int)
    for fold, (_, rows) in enumerate(splitter.split(labels, labels, patients)):
        expected[rows] = fold

    assert k_folds(labels, patients, num_folds=num_folds, seed=seed).tolist() == expected.tolist()


def test_too_few_folds() -> None:
    with pytest.raises(ValueError, match="num_folds must be at least 2, got 1"):
        k_folds([0, 1], None, num_folds=1, seed=0)


def test_no_warning_comes_out_of_an_ordinary_split() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resplit(study(40))


def test_cross_validation_looks_at_each_image_once_a_repeat() -> None:
    records = study()

    folds = list(fold_records(records, num_folds=4, num_repeats=2))

    assert len(folds) == 8
    for repeat in (folds[:4], folds[4:]):
        seen = Counter(name for fold in repeat for name in fold.where("val").ids)
        assert seen == Counter(
            row for row, r in zip(records.ids, records, strict=True) if r.split != "test"
        )
    assert members(folds[0])["val"] != members(folds[4])["val"]
    for fold in folds:
        patients = [set(fold.where(split).patient_ids) for split in SPLITS]
        assert len(set.union(*patients)) == sum(map(len, patients))
        assert members(fold)["test"] == members(records)["test"]


def test_a_fold_can_be_saved_and_loaded(tmp_path: Path) -> None:
    fold = next(fold_records(study(), num_folds=3))

    fold.to_csv(tmp_path / "fold.csv")
    loaded = Records.from_csv(tmp_path / "fold.csv", root="")

    assert [(r.path, r.label, r.patient_id, r.split) for r in loaded] == [
        (r.path, r.label, r.patient_id, r.split) for r in fold
    ]
    assert members(resplit(loaded, val_fraction=0)) == members(fold)
