"""Names of the same weights in the files of other libraries."""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor, cat, nn

__all__ = ["layouts"]

PREFIXES = ("module.", "backbone.", "model.", "encoder.")

# Not part of the network: torchxrayvision's operating points of its own classes.
_IGNORED = ("op_threshs",)

# transformers' names in DINOv2, and those of the authors, which timm reads.
_DINOV2 = {
    r"^embeddings\.(cls_token|mask_token)$": r"\1",
    r"^embeddings\.position_embeddings$": "pos_embed",
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^encoder\.layer\.(\d+)\.": r"blocks.\1.",
    r"\.attention\.output\.dense\.": ".attn.proj.",
    r"\.layer_scale([12])\.lambda1$": r".ls\1.gamma",
    r"^layernorm\.": "norm.",
}
_QUERY = ".attention.attention.query."


def layouts(
    model: nn.Module, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield weights under the names that they may have in the network.

    Args:
        model: The network.
        weights: A state dict.

    Yields:
        The prefix that was removed from all keys, and the state dict: unchanged; without the
        prefixes ``module.``, ``backbone.``, ``model.`` and ``encoder.`` that all keys share; and,
        where the keys look like it, converted from transformers' DINOv2 or from a
        ``torch.nn.Sequential`` of the network's children, as RadImageNet's files are.
    """
    remaining = {key: value for key, value in weights.items() if key not in _IGNORED}
    removed = ""
    while True:
        yield removed, remaining
        if "embeddings.cls_token" in remaining:
            yield removed, _from_transformers_dinov2(remaining)
        if remaining and all(re.match(r"\d+\.", key) for key in remaining):
            yield "", _from_numbered_children(model, remaining)
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in remaining)), None)
        if prefix is None or not remaining:
            return
        removed += prefix
        remaining = {key.removeprefix(prefix): value for key, value in remaining.items()}


def _from_numbered_children(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name, _ in model.named_children()]
    renamed = {}
    for key, value in weights.items():
        number, _, rest = key.partition(".")
        child = names[int(number)] if int(number) < len(names) else number
        renamed[f"{child}.{rest}"] = value
    return renamed


def _from_transformers_dinov2(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename, and concatenate query, key and value."""
    renamed = {}
    for key, value in weights.items():
        name, part = key, value
        if _QUERY in key:
            others = [key.replace(_QUERY, f".attention.attention.{x}.") for x in ("key", "value")]
            if all(other in weights for other in others):
                part = cat([value, *(weights[other] for other in others)])
            name = key.replace(_QUERY, ".attn.qkv.")
        elif ".attention.attention." in key:
            continue
        for pattern, replacement in _DINOV2.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = part
    return renamed
