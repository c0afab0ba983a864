"""Backbones pretrained on radiographs by torchxrayvision and RadImageNet."""

from dataclasses import dataclass

from cxrtransfer.types import InputSpec

__all__ = ["XRAY_BACKBONES", "XrayBackbone"]


@dataclass(frozen=True, kw_only=True)
class XrayBackbone:
    """Published weights of one of torchvision's architectures.

    Attributes:
        architecture: torchvision's name of the network.
        spec: The input that the weights were trained with.
        files: File names under which the weights are searched for.
        source: How to obtain such a file.
    """

    architecture: str
    spec: InputSpec
    files: tuple[str, ...]
    source: str


# torchxrayvision scales 8-bit gray values to [-1024, 1024].
_XRV_MEAN, _XRV_STD = (0.5,), (0.5 / 1024,)
_XRV_DENSENETS = ("all", "nih", "pc", "chex", "rsna", "mimic_nb", "mimic_ch")


def _torchxrayvision(architecture: str, size: int, name: str) -> XrayBackbone:
    kind = "DenseNet" if architecture.startswith("densenet") else "ResNet"
    return XrayBackbone(
        architecture=architecture,
        spec=InputSpec(size=size, channels=1, mean=_XRV_MEAN, std=_XRV_STD),
        files=(f"{name}.safetensors", f"{name}.pth"),
        source=(
            "torchxrayvision publishes most weights as pickled modules, which are not read "
            "because that runs their code; with torchxrayvision installed, "
            f"safetensors.torch.save_file(torchxrayvision.models.{kind}(weights={name!r})"
            f".state_dict(), '{name}.safetensors') writes them in a format that is read"
        ),
    )


def _radimagenet(architecture: str, file: str) -> XrayBackbone:
    return XrayBackbone(
        architecture=architecture,
        # Intensities are scaled to [-1, 1].
        spec=InputSpec(size=224, mean=(0.5,) * 3, std=(0.5,) * 3),
        files=(file, f"RadImageNet_pytorch/{file}"),
        source="the authors of RadImageNet provide it at https://www.radimagenet.com",
    )


XRAY_BACKBONES = {
    **{
        f"torchxrayvision:densenet121-res224-{data}": _torchxrayvision(
            "densenet121", 224, f"densenet121-res224-{data}"
        )
        for data in _XRV_DENSENETS
    },
    "torchxrayvision:resnet50-res512-all": _torchxrayvision(
        "resnet50", 512, "resnet50-res512-all"
    ),
    "radimagenet:resnet50": _radimagenet("resnet50", "ResNet50.pt"),
    "radimagenet:densenet121": _radimagenet("densenet121", "DenseNet121.pt"),
}
