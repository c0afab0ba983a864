from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)
from torchvision.datasets import ImageFolder

from cxrtransfer.inference import (
    View,
    class_names_of,
    extract_features,
    ids_of,
    labels_of,
    predict,
    predict_views,
    probabilities_of,
)


class Named(Dataset[tuple[torch.Tensor, int]]):
    """Five images with names; reading one is counted."""

    class_names = ("NORMAL", "PNEUMONIA")
    ids = tuple("abcde")
    labels = np.array([0, 1, 1, 0, 1])

    def __init__(self) -> None:
        self.reads = 0
        self.images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return self.images[index], int(self.labels[index])

    def __len__(self) -> int:
        return 5


def test_batches_of_any_size_predict_the_same(tiny_net: nn.Module) -> None:
    one = predict(tiny_net, Named(), batch_size=1, device="cpu")
    all_ = predict(tiny_net, Named(), batch_size=5, device="cpu")

    np.testing.assert_allclose(one.probabilities, all_.probabilities, atol=1e-6)
    assert one.ids == all_.ids == tuple("abcde")
    assert one.class_names == ("NORMAL", "PNEUMONIA")


def test_predictions_are_the_softmax_of_the_networks_own_output(tiny_net: nn.Module) -> None:
    data = Named()
    with torch.no_grad():
        expected = tiny_net.eval()(data.images).softmax(1).numpy()

    probabilities = predict(tiny_net, data, precision="fp32").probabilities

    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_one_logit_is_read_as_log_odds() -> None:
    logits = np.array([[0.0], [2.0]], np.float32)

    np.testing.assert_allclose(
        probabilities_of(logits)[:, 1], 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    )


def test_the_network_comes_back_in_the_mode_it_was_in(tiny_net: nn.Module) -> None:
    tiny_net.train()
    tiny_net.bn.eval()
    before = [module.training for module in tiny_net.modules()]
    statistics = tiny_net.bn.running_mean.clone()

    predict(tiny_net, Named())

    assert [module.training for module in tiny_net.modules()] == before
    assert torch.equal(tiny_net.bn.running_mean, statistics)


def test_features_times_head_are_the_logits(tiny_net: nn.Module) -> None:
    features = extract_features(tiny_net, Named(), batch_size=2, precision="fp32")
    logits = features @ tiny_net.fc.weight.detach().numpy().T + tiny_net.fc.bias.detach().numpy()

    expected = predict(tiny_net, Named(), precision="fp32").probabilities

    assert features.shape == (5, 6)
    np.testing.assert_allclose(probabilities_of(logits), expected, atol=1e-6)


def test_a_subset_keeps_names_and_labels(tiny_net: nn.Module) -> None:
    subset = Subset(Named(), [4, 0])
    predictions = predict(tiny_net, subset)

    assert predictions.ids == ("e", "a")
    assert predictions.labels.tolist() == [1, 0]


def test_a_loader_that_shuffles_is_refused(tiny_net: nn.Module) -> None:
    with pytest.raises(ValueError, match="in order, got RandomSampler; pass shuffle=False"):
        predict(tiny_net, DataLoader(Named(), shuffle=True))


def test_a_loader_that_drops_images_is_refused(tiny_net: nn.Module) -> None:
    with pytest.raises(ValueError, match="must not drop images"):
        predict(tiny_net, DataLoader(Named(), batch_size=2, drop_last=True))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_sampler": [[3, 2], [1, 0], [4]]},
        {"batch_sampler": [[0, 1], [2, 3]]},
        {"batch_sampler": BatchSampler([4, 3, 2, 1, 0], 2, drop_last=False)},
        {"batch_sampler": BatchSampler(SequentialSampler(range(3)), 2, drop_last=False)},
        {"sampler": [1, 0, 2, 3, 4]},
        {"sampler": SubsetRandomSampler([0, 1])},
    ],
)
def test_a_loader_in_another_order_is_refused(tiny_net: nn.Module, options: object) -> None:
    with pytest.raises(ValueError, match="must read its dataset in order"):
        predict(tiny_net, DataLoader(Named(), **options))


def test_a_loader_whose_batches_drop_images_is_refused(tiny_net: nn.Module) -> None:
    batches = BatchSampler(SequentialSampler(Named()), 2, drop_last=True)
    with pytest.raises(ValueError, match="must not drop images"):
        predict(tiny_net, DataLoader(Named(), batch_sampler=batches))


def test_a_loader_whose_workers_overtake_each_other_is_refused(tiny_net: nn.Module) -> None:
    with pytest.raises(ValueError, match="got in_order=False"):
        predict(tiny_net, DataLoader(Named(), num_workers=2, in_order=False))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_sampler": [[0, 1, 2], [3, 4]]},
        {"batch_sampler": BatchSampler(SequentialSampler(Named()), 2, drop_last=False)},
        {"sampler": range(5), "batch_size": 3},
    ],
)
def test_a_loader_in_the_order_of_the_dataset_is_used(
    tiny_net: nn.Module, options: object
) -> None:
    predictions = predict(tiny_net, DataLoader(Named(), **options))
    alone = predict(tiny_net, Named())

    np.testing.assert_allclose(predictions.probabilities, alone.probabilities, atol=1e-6)
    assert predictions.ids == alone.ids


def test_labels_are_read_without_decoding_where_the_dataset_knows_them() -> None:
    data = Named()

    assert labels_of(ConcatDataset([data, Subset(data, [1])])).tolist() == [0, 1, 1, 0, 1, 1]
    mixed = ConcatDataset([data, Subset(data, [1])])
    assert class_names_of(Subset(mixed, [0])) == data.class_names
    assert data.reads == 2 * 3  # the first, middle and last item of each part


def test_concatenated_datasets_keep_ids_and_class_names(tiny_net: nn.Module) -> None:
    first, second, copy = Named(), Named(), Named()
    second.ids = tuple(f"second {name}" for name in first.ids)

    predictions = predict(tiny_net, ConcatDataset([first, second]), device="cpu")

    assert predictions.ids == (*first.ids, *second.ids)
    assert predictions.class_names == first.class_names
    repeated = predict(tiny_net, ConcatDataset([first, copy]), device="cpu")
    assert repeated.ids == tuple(map(str, range(2 * len(first))))


def test_concatenated_datasets_of_other_classes_are_refused(tiny_net: nn.Module) -> None:
    first, second = Named(), Named()
    second.class_names = ("A", "B")

    with pytest.raises(ValueError, match="concatenated datasets must have the same class names"):
        predict(tiny_net, ConcatDataset([first, second]), device="cpu")


LABELS = [0, 1, 1, 0, 1]


class Labeled(Named):
    """Five images whose labels can be replaced, together with or apart from those of the items."""

    def __init__(self, labels: object, items: object = LABELS) -> None:
        super().__init__()
        self.labels, self.items = labels, items

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        return self.images[index], self.items[index]


@pytest.mark.parametrize(
    "labels",
    [LABELS, [[label] for label in LABELS], torch.tensor(LABELS), np.array(LABELS, float)],
)
def test_labels_are_one_number_per_image_however_the_dataset_stores_them(labels: object) -> None:
    assert labels_of(Labeled(labels)).tolist() == LABELS


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(2)[LABELS], r"shape \(5,\) or \(5, 1\), got \(5, 2\); one-hot"),
        (LABELS[:4], r"got \(4,\)"),
        ([0, 1, float("nan"), 0, 1], "must be integers, got"),
        ([0, 1, 0.5, 0, 1], "must be integers, got"),
        ([0, 1, 0, 0, 1], "must be those of its items, got 0 for item 2 with label 1"),
    ],
)
def test_labels_that_do_not_fit_the_items_are_refused(labels: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of(Labeled(labels))


def test_labels_that_are_names_are_refused() -> None:
    with pytest.raises(TypeError, match="must be class indices, got <U"):
        labels_of(Labeled(["NORMAL"] * 5))


def test_labels_of_shape_one_are_class_indices(tiny_net: nn.Module) -> None:
    medmnist = Labeled(np.array(LABELS)[:, None], items=np.array(LABELS)[:, None])

    assert labels_of(medmnist).tolist() == LABELS
    assert predict(tiny_net, medmnist).labels.tolist() == LABELS


def test_multi_hot_labels_are_refused_and_their_features_are_not(tiny_net: nn.Module) -> None:
    multi_hot = Labeled(LABELS, items=np.ones((5, 14), int))

    with pytest.raises(ValueError, match="multi-hot labels are not supported"):
        predict(tiny_net, multi_hot)
    assert extract_features(tiny_net, multi_hot).shape == (5, 6)


def test_reading_labels_draws_no_random_numbers() -> None:
    class Random(Labeled):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
            return torch.rand(3, 32, 32), self.items[index]

    state = torch.get_rng_state()
    labels_of(Random(LABELS))

    assert torch.equal(torch.get_rng_state(), state)


def test_labels_of_an_image_folder_are_those_that_its_items_have(image_tree: Path) -> None:
    def count(path: str) -> Image.Image:
        paths.append(path)
        return Image.open(path).convert("L")

    paths: list[str] = []
    swapped = ImageFolder(str(image_tree / "train"), target_transform=lambda label: 1 - label)
    pairs = [label for _, label in swapped]
    swapped.loader = count

    assert labels_of(swapped).tolist() == pairs
    assert labels_of(Subset(Subset(swapped, range(5, 30)), [2, 20])).tolist() == [1, 0]
    assert len(paths) == 2 * 3


def test_labels_are_read_item_by_item_where_nothing_else_helps() -> None:
    class Plain(Dataset[tuple[torch.Tensor, int]]):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.zeros(1), index % 2

        def __len__(self) -> int:
            return 3

    assert labels_of(Plain()).tolist() == [0, 1, 0]
    assert ids_of(Plain(), 3) == ("0", "1", "2")


def test_labels_beyond_the_networks_classes_are_refused(tiny_net: nn.Module) -> None:
    data = TensorDataset(torch.zeros(2, 3, 16, 16), torch.tensor([0, 2]))

    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\)"):
        predict(tiny_net, data)


def test_empty_data_are_refused(tiny_net: nn.Module) -> None:
    data = TensorDataset(torch.zeros(0, 3, 16, 16), torch.zeros(0, dtype=torch.int64))

    with pytest.raises(ValueError, match="at least one image"):
        predict(tiny_net, data)


def test_a_network_that_gives_no_single_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    with pytest.raises(ValueError, match=r"one \(N, K\) tensor of logits, got tuple"):
        predict(Pair(), TensorDataset(torch.zeros(1, 3, 4, 4), torch.tensor([0])))


def test_views_are_averaged_and_one_view_is_predict(tiny_net: nn.Module) -> None:
    data = Named()
    views = [View(), View(mirror=True)]

    found = predict_views(tiny_net, data, views, device="cpu", precision="fp32")

    with torch.no_grad():
        own, mirrored = (
            tiny_net.eval()(images).double().softmax(1).numpy()
            for images in (data.images, data.images.flip(-1))
        )
    np.testing.assert_allclose(found.probabilities, (own + mirrored) / 2, atol=1e-6)
    assert np.abs(own - mirrored).max() > 1e-4
    alone = predict_views(tiny_net, data, [View()], device="cpu", precision="fp32")
    plain = predict(tiny_net, data, device="cpu", precision="fp32")
    np.testing.assert_allclose(alone.probabilities, plain.probabilities, atol=1e-12)
    with pytest.raises(ValueError, match="at least one view, got none"):
        predict_views(tiny_net, data, [])


def test_predicting_leaves_no_trace(tiny_net: nn.Module) -> None:
    def look() -> object:
        modules = list(tiny_net.modules())
        return (
            {name: value.clone() for name, value in tiny_net.state_dict().items()},
            [p.requires_grad for p in tiny_net.parameters()],
            [p.grad is None for p in tiny_net.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules],
            torch.get_rng_state(),
        )

    tiny_net.conv1.requires_grad_(False)
    before = look()
    first = predict(tiny_net, Named(), batch_size=2)
    extract_features(tiny_net, Named(), batch_size=2)
    second = predict(tiny_net, Named(), batch_size=2)

    torch.testing.assert_close(look(), before, rtol=0, atol=0)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_a_bar_is_shown_if_asked(tiny_net: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    predict(tiny_net, Named(), batch_size=2)
    silent = capsys.readouterr().err
    predict(tiny_net, Named(), batch_size=2, progress=True)

    assert silent == ""
    assert "/3" in capsys.readouterr().err
