"""Wrong data and networks are refused with their cause, before or in the first step."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from cxrtransfer.training import WeightedTrainer


class Items(Dataset[tuple[object, object]]):
    """The images of a data set, with other labels or changed images; labels are known ahead."""

    def __init__(self, data: TensorDataset, labels: object = None, images: object = None) -> None:
        self.images = data.tensors[0] if images is None else images
        self.item_labels = data.tensors[1] if labels is None else labels
        self.labels = data.tensors[1].numpy()

    def __getitem__(self, index: int) -> tuple[object, object]:
        return self.images[index], self.item_labels[index]

    def __len__(self) -> int:
        return len(self.labels)


def fit(model: nn.Module, train: object, val: object, **settings: object) -> None:
    settings = {"epochs": 1, "batch_size": 8, "precision": "fp32", **settings}
    WeightedTrainer(model, device="cpu", progress=False, **settings).fit(train, val)


@pytest.mark.parametrize("label", [-1, 2])
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_outside_the_classes_are_refused_before_the_first_epoch(
    network: nn.Module, data: TensorDataset, label: int, split: str
) -> None:
    wrong = TensorDataset(data.tensors[0], data.tensors[1].clone())
    wrong.tensors[1][3] = label
    wrong.class_names = data.class_names = ("NORMAL", "PNEUMONIA")
    splits = {"train": data, "val": data, split: wrong}
    before = network[6].weight.clone()

    message = f"labels of {split} must be class indices in [0, 2) for the classes ['NORMAL', "
    with pytest.raises(ValueError, match=re.escape(message) + f".*got {label} for image 3 "):
        fit(network, splits["train"], splits["val"])
    assert torch.equal(network[6].weight, before)


def test_an_empty_split_is_refused(network: nn.Module, data: TensorDataset) -> None:
    empty = TensorDataset(*(tensor[:0] for tensor in data.tensors))

    with pytest.raises(ValueError, match="train must hold at least one image, got none"):
        fit(network, empty, data)
    with pytest.raises(ValueError, match="val must hold at least one image, got none"):
        fit(network, data, empty)


def test_a_data_set_without_length_is_refused(network: nn.Module, data: TensorDataset) -> None:
    class Stream(IterableDataset[object]):
        def __iter__(self) -> object:
            return iter(data)

    for stream in (Stream(), DataLoader(Stream(), batch_size=4)):
        with pytest.raises(TypeError, match=r"train must be a dataset .*got Stream"):
            fit(network, stream, data, class_weights=(1, 1))
        with pytest.raises(TypeError, match=r"val must be a dataset .*got Stream"):
            fit(network, data, stream, class_weights=(1, 1))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0.5] * 40, ValueError, r"labels must be integers, got \[0.5\]"),
        (["a"] * 40, TypeError, r"labels must be class indices, got <U1"),
        (
            torch.eye(2, dtype=torch.int64).repeat(20, 1),
            ValueError,
            r"one class index per image, shape .*, got \(3, 2\).* argmax",
        ),
    ],
)
def test_labels_of_items_must_be_indices(
    network: nn.Module, data: TensorDataset, labels: object, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(network, Items(data, labels), data)


def test_labels_of_shape_1_are_indices(network: nn.Module, data: TensorDataset) -> None:
    fit(network, Items(data, data.tensors[1].unsqueeze(1)), data)


def test_images_must_be_floats(network: nn.Module, data: TensorDataset) -> None:
    pixels = torch.zeros(40, 3, 8, 8, dtype=torch.uint8)

    with pytest.raises(TypeError, match=r"images must be float tensors, got a tensor of torch.ui"):
        fit(network, Items(data, images=pixels), data)


def test_images_in_float64_train_like_those_in_float32(
    network: nn.Module, data: TensorDataset
) -> None:
    fit(network, Items(data, images=data.tensors[0].double()), data)


class Returns(nn.Module):
    """A network that returns its logits in another form while it is trained."""

    def __init__(self, change: object) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)
        self.change = change

    def forward(self, images: torch.Tensor) -> object:
        logits = self.fc(self.conv(images).mean(dim=(2, 3)))
        return self.change(logits) if self.training else logits


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda logits: {"out": logits}, TypeError, "one tensor of logits .* got dict"),
        (lambda logits: (logits, logits), TypeError, "got tuple of Tensor; .* auxiliary outputs"),
        (lambda logits: logits[:, 0], ValueError, r"logits of shape \(N, K\), got \(8,\)"),
        (lambda logits: logits[:, :1], ValueError, r"one output per class \(2\), got 1"),
    ],
)
def test_the_network_must_return_logits(
    data: TensorDataset, change: object, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(Returns(change), data, data)


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.Sigmoid()])
@pytest.mark.parametrize("as_loader", [False, True])
def test_a_network_that_returns_probabilities_is_refused_before_training(
    network: nn.Module, data: TensorDataset, last: nn.Module, as_loader: bool
) -> None:
    before = network[6].weight.clone()
    val = DataLoader(data, batch_size=4) if as_loader else data

    with pytest.raises(ValueError, match=r"must return logits, got probabilities; .* of the loss"):
        fit(nn.Sequential(network, last), data, val)
    assert torch.equal(network[6].weight, before)


def test_a_network_without_weights_is_refused(data: TensorDataset) -> None:
    with pytest.raises(ValueError, match="at least one trainable parameter, got none"):
        fit(nn.Flatten(), data, data)


def test_half_precision_weights_are_refused(network: nn.Module, data: TensorDataset) -> None:
    with pytest.raises(TypeError, match=r"must be float32 .* torch.bfloat16 for 0.weight; call"):
        fit(network.bfloat16(), data, data)


@pytest.fixture
def pooled() -> nn.Module:
    """Batch normalization after pooling: one value per channel and image."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(3),
        nn.Linear(3, 2),
    )


def test_a_last_batch_of_one_image_is_refused_before_training_if_normalized(
    pooled: nn.Module, data: TensorDataset
) -> None:
    before = {name: value.clone() for name, value in pooled.state_dict().items()}

    with pytest.raises(ValueError, match="with batch_size=13 some batch of a process has only 1"):
        fit(pooled, data, data, batch_size=13)
    assert all(torch.equal(value, before[name]) for name, value in pooled.state_dict().items())
    fit(pooled, data, data, batch_size=8)


def test_a_last_batch_of_one_image_is_trained_on_where_maps_have_pixels(
    network: nn.Module, data: TensorDataset
) -> None:
    fit(network, data, data, batch_size=13)
