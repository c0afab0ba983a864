"""
Training curves
===============

Loss and metrics per epoch.
"""

import tempfile

from cxrtransfer import StratifiedResplit, WeightedTrainer, build_finetune_model
from cxrtransfer.data import draw_radiographs
from cxrtransfer.types import InputSpec

records = draw_radiographs(tempfile.mkdtemp(), num_images=160, size=64)
train, val = (
    StratifiedResplit(records, split, input_spec=InputSpec(size=64)) for split in ("train", "val")
)
histories = {}
for name in ("squeezenet1_1", "resnet18"):
    model = build_finetune_model(name, pretrained=False, image_size=64)
    trainer = WeightedTrainer(model, lr=1e-3, epochs=4, progress=False)
    histories[name] = trainer.fit(train, val).rows

# %%
# The loss on the training and the validation split.
from cxrtransfer.plots import plot_loss_curves, plot_metric_curves

plot_loss_curves(histories)

# %%
# A metric on the validation split.
plot_metric_curves(histories, "val_auroc")
