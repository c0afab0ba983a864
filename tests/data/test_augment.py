import numpy as np
import pytest
import torch

from cxrtransfer.data import Augment, StratifiedResplit, draw_radiograph
from cxrtransfer.types import InputSpec

NOTHING = {"rotation": 0, "shift": 0, "scale": 0, "brightness": 0, "contrast": 0}


@pytest.fixture
def images() -> torch.Tensor:
    rng = np.random.default_rng(0)
    drawn = [draw_radiograph(rng, 48, pneumonia=bool(i % 2))[0] for i in range(8)]
    return torch.from_numpy(np.stack(drawn)).unsqueeze(1)


def test_without_strength_nothing_changes(images: torch.Tensor) -> None:
    assert torch.equal(Augment(**NOTHING)(images), images)


def test_flipping_twice_is_nothing(images: torch.Tensor) -> None:
    flip = Augment(**NOTHING, flip=1.0)

    assert torch.equal(flip(images), images.flip(-1))
    assert torch.equal(flip(flip(images)), images)


def test_nothing_is_flipped_unasked() -> None:
    left = torch.zeros(500, 1, 32, 32, dtype=torch.uint8)
    left[..., :16] = 200
    torch.manual_seed(0)

    changed = Augment()(left).float()

    assert (changed[..., :12].mean(dim=(1, 2, 3)) > changed[..., 20:].mean(dim=(1, 2, 3))).all()


def test_the_same_generator_repeats_it_and_each_image_differs(images: torch.Tensor) -> None:
    same = images[:1].expand(8, -1, -1, -1)
    torch.manual_seed(3)
    first = Augment(erase=0.5)(same)
    torch.manual_seed(3)

    assert torch.equal(Augment(erase=0.5)(same), first)
    assert len({image.numpy().tobytes() for image in first}) == 8


@pytest.mark.parametrize(
    ("name", "strength"),
    [("rotation", 20), ("shift", 0.2), ("scale", 0.3), ("brightness", 0.3), ("contrast", 0.5)],
)
def test_every_strength_does_something(images: torch.Tensor, name: str, strength: float) -> None:
    torch.manual_seed(0)

    changed = Augment(**NOTHING | {name: strength})(images)

    assert (changed != images).flatten(1).any(dim=1).all()


def test_a_quarter_turn_is_a_quarter_turn(images: torch.Tensor, monkeypatch) -> None:
    # The largest turn one way: chance is replaced by its upper end.
    monkeypatch.setattr(torch, "rand", torch.ones)

    turned = Augment(**NOTHING | {"rotation": 90})(images)

    difference = (turned.float() - images.rot90(1, (2, 3)).float()).abs()
    assert (
        difference.mean() < 1
        or (turned.float() - images.rot90(-1, (2, 3)).float()).abs().mean() < 1
    )


def test_a_shift_moves_by_what_it_says(images: torch.Tensor, monkeypatch) -> None:
    monkeypatch.setattr(torch, "rand", torch.ones)

    moved = Augment(**NOTHING | {"shift": 0.25})(images)  # 12 of 48 pixels

    assert torch.equal(moved[:, :, :36, :36], images[:, :, 12:, 12:])
    assert not moved[:, :, 36:].any()


def test_brightness_moves_every_pixel_alike(images: torch.Tensor) -> None:
    middle = (images // 2 + 64).clamp(64, 190)
    torch.manual_seed(0)

    brighter = Augment(**NOTHING | {"brightness": 0.2})(middle).int() - middle

    assert (brighter.flatten(1).max(1).values == brighter.flatten(1).min(1).values).all()
    assert brighter.abs().max() <= 51


def test_contrast_keeps_the_mean(images: torch.Tensor) -> None:
    middle = images // 4 + 96
    torch.manual_seed(0)

    harder = Augment(**NOTHING | {"contrast": 0.5})(middle)

    torch.testing.assert_close(
        harder.float().mean(dim=(1, 2, 3)), middle.float().mean(dim=(1, 2, 3)), atol=0.5, rtol=0
    )


def test_erasing_covers_one_uniform_rectangle() -> None:
    torch.manual_seed(0)
    noise = torch.randint(0, 256, (200, 1, 50, 50), dtype=torch.uint8)

    covered = Augment(**NOTHING, erase=1.0)(noise) != noise

    share = covered.float().mean(dim=(1, 2, 3))
    assert 0.01 < share.min() <= share.max() < 0.17
    for mask in covered[:, 0]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.float().mean() > 0.9  # a noisy pixel may happen to be the gray put there


def test_the_share_of_erased_images_is_the_probability() -> None:
    torch.manual_seed(0)
    noise = torch.randint(0, 256, (1000, 1, 16, 16), dtype=torch.uint8)

    changed = (Augment(**NOTHING, erase=0.3)(noise) != noise).flatten(1).any(1)

    assert 0.25 < changed.float().mean() < 0.35


def test_one_image_is_a_batch_of_one(images: torch.Tensor) -> None:
    torch.manual_seed(1)
    alone = Augment()(images[0])
    torch.manual_seed(1)

    assert torch.equal(alone, Augment()(images[:1])[0])


def test_the_dataset_augments_whole_batches(image_tree) -> None:
    sizes = []

    def count(images: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(images.shape))
        return 255 - images

    spec = InputSpec(size=32, channels=1, mean=(0.0,), std=(1.0,))
    dataset = StratifiedResplit(image_tree, "test", input_spec=spec, augment=count)
    items = dataset.__getitems__([3, 4, 5])

    assert sizes == [(3, 1, 32, 32)]
    np.testing.assert_allclose(items[0][0][0] * 255, 255 - dataset.image(3), atol=1e-3)


@pytest.mark.parametrize("wrong", [{"shift": -0.1}, {"erase": 1.5}, {"rotation": 200}])
def test_strengths_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be in"):
        Augment(**wrong)


def test_normalized_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be uint8 .* got torch.float32 \(2, 3, 8, 8\)"):
        Augment()(torch.zeros(2, 3, 8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_stays_on_the_device(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    here = Augment(erase=0.5)(images)
    torch.manual_seed(0)
    there = Augment(erase=0.5)(images.cuda())

    assert there.device.type == "cuda"
    assert (there.cpu().int() - here).abs().max() <= 1


def test_the_strong_preset_varies_what_it_names_and_keeps_the_form() -> None:
    images = torch.randint(0, 256, (4, 1, 40, 48), dtype=torch.uint8)
    torch.manual_seed(0)
    first = Augment.preset("strong")(images)

    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert not torch.equal(first, images)


@pytest.mark.parametrize("name", ["aspect", "gamma", "blur", "corners"])
def test_new_strengths_change_images_and_leave_other_random_numbers(name: str) -> None:
    none = dict.fromkeys(
        ("rotation", "shift", "scale", "brightness", "contrast", "erase", "flip"), 0.0
    )
    images = torch.randint(0, 256, (4, 1, 40, 48), dtype=torch.uint8)

    assert torch.equal(Augment(**none)(images), images)
    assert not torch.equal(Augment(**none, **{name: 1.0})(images), images)


def test_masked_corners_hold_no_marker() -> None:
    none = dict.fromkeys(("rotation", "shift", "scale", "brightness", "contrast"), 0.0)
    image = torch.full((1, 40, 40), 80, dtype=torch.uint8)
    image[:, 1:4, 1:4] = 255

    changed = Augment(**none, corners=1.0)(image)

    assert int(changed[:, :8, :8].max()) == int(changed[:, :8, :8].min()) < 120
    assert torch.equal(changed[:, 8:32, 8:32], image[:, 8:32, 8:32])


def test_a_preset_with_changed_strengths() -> None:
    assert Augment.preset("light") == Augment()
    changed = Augment.preset("strong", scale=0.5, blur=0.0)
    assert (changed.scale, changed.blur) == (0.5, 0.0)
    assert changed.shift == Augment.preset("strong").shift


def test_unknown_presets_and_strengths_are_refused() -> None:
    with pytest.raises(ValueError, match="light, strong, got 'medium'"):
        Augment.preset("medium")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unexpected strengths \['zoom'\].*scale"):
        Augment.preset("strong", zoom=0.5)


def test_one_strength_does_not_change_the_random_numbers_of_another(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    alone = Augment(**NOTHING | {"rotation": 20})(images)
    torch.manual_seed(0)
    both = Augment(**NOTHING | {"rotation": 20}, corners=1.0)(images)

    assert torch.equal(alone[..., 12:36, 12:36], both[..., 12:36, 12:36])
