"""
Images of a data set
====================

Sample images, the number of images per class and split, and the brightness per class.
"""

import tempfile

import numpy as np

from cxrtransfer import StratifiedResplit
from cxrtransfer.data import draw_radiographs
from cxrtransfer.types import InputSpec

records = draw_radiographs(tempfile.mkdtemp(), num_images=120, size=128)
train, val, test = (
    StratifiedResplit(records, split, input_spec=InputSpec(size=128))
    for split in ("train", "val", "test")
)

# %%
# Sample images.
from cxrtransfer.plots import plot_class_balance, plot_image_statistics, plot_samples

images = [train.image(index) for index in range(8)]
plot_samples(images, train.labels[:8], train.class_names)

# %%
# Number of images per class in each split.
plot_class_balance(
    {"train": train.labels, "val": val.labels, "test": test.labels}, train.class_names
)

# %%
# Mean intensity per class. If brightness alone separates the classes, a network may use it
# instead of the disease.
means = np.array([train.image(index).mean() for index in range(len(train))])
plot_image_statistics(
    {name: means[train.labels == index] for index, name in enumerate(train.class_names)}
)
