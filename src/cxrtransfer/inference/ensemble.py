"""Several networks and several views of each image, used as one network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cxrtransfer.models import input_spec

from .tta import View

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Several networks as one, whose probabilities are the mean of theirs.

    The outputs are the logarithms of the mean probabilities: logits whose softmax are these.

    Args:
        networks: Networks with logits ``(N, K)``, built by
            :func:`cxrtransfer.models.build_finetune_model`, of one size, number of channels and
            interpolation. Their normalization may differ; images are normalized for the first.
        views: Views of each image, over which every network is averaged as well (test-time
            augmentation), such as :func:`cxrtransfer.inference.small_views`; none for the image
            itself.

    Attributes:
        members: The networks, of which each normalizes for itself what is normalized for the
            first.
        views: The views.

    Raises:
        ValueError: If there is no network, or their inputs differ in more than the normalization.
    """

    def __init__(self, networks: Sequence[nn.Module], views: Sequence[View] = ()) -> None:
        super().__init__()
        if not networks:
            raise ValueError("an ensemble needs at least one network, got none")
        specs = [input_spec(network) for network in networks]
        inputs = [(spec.size, spec.channels, spec.interpolation) for spec in specs]
        if len(set(inputs)) > 1:
            raise ValueError(
                "the networks must have inputs of one size, number of channels and interpolation, "
                f"because each image is resized once, got {inputs}; choose networks of the same "
                "interpolation, trained with the same image_size (--image-size)"
            )
        self.cxr_input_spec = specs[0]
        self.members = nn.ModuleList(networks)
        self.views = tuple(views) or (View(),)
        mean, std = (
            torch.tensor([getattr(spec, name) for spec in specs]) for name in ("mean", "std")
        )
        # Pixels p become (p - m) / s for a network, from (p - m1) / s1 for the first.
        self.register_buffer("scale", (std[0] / std)[..., None, None])
        self.register_buffer("offset", ((mean[0] - mean) / std)[..., None, None])
        # Predictions with other views are others: a buffer is part of what identifies a model.
        numbers = [[v.rotation, v.right, v.down, float(v.mirror)] for v in self.views]
        self.register_buffer("view_settings", torch.tensor(numbers))

    def input_of(self, member: int, images: Tensor) -> Tensor:
        """Normalize for one of the networks what is normalized for the first, ``(N, C, H, W)``."""
        scale, offset = self.get_buffer("scale")[member], self.get_buffer("offset")[member]
        return images if member == 0 else images * scale + offset

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities, float32 ``(N, K)``."""
        inputs = [
            self.input_of(number, view(images))
            for number in range(len(self.members))
            for view in self.views
        ]
        networks = [network for network in self.members for _ in self.views]
        probabilities = [
            network(x).float().softmax(1) for network, x in zip(networks, inputs, strict=True)
        ]
        mean = torch.stack(probabilities).mean(dim=0)
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
