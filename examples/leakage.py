"""Leakage between splits: the same images split by image and by patient.

    python examples/leakage.py

Each synthetic patient has one to four images, as in the Kermany data set. If images of a patient
are in both the training and the validation split, a network can do well by recognizing the
patient, and validation is optimistic.
"""

import tempfile

from cxrtransfer.data import audit, draw_radiographs, resplit

folder = tempfile.TemporaryDirectory()

# %% Synthesize a data set. Every record has a path, a label, a patient and a split.
records = draw_radiographs(f"{folder.name}/drawn", num_images=400, size=48)
print(records)

# %% Hold out 10% of the training images for validation, image by image.
by_image = resplit(records, val_fraction=0.10, group_by=None, seed=0)
print(audit(by_image), "\n")

# %% The same, patient by patient. The prevalence of each class is kept as well.
by_patient = resplit(records, val_fraction=0.10, seed=0)
print(audit(by_patient))

# %% Save the split with the results, so that others can reuse it.
by_patient.to_csv(f"{folder.name}/split.csv")
folder.cleanup()
