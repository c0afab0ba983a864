"""Does a split leak? The same images divided by patient and by image, and what that hides.

    python examples/leakage.py

A drawn patient has one to four images, as in the Kermany data set. A network never has to know a
disease to do well on an image whose patient it has seen.
"""

import tempfile

from cxrtransfer.data import audit, draw_radiographs, resplit

folder = tempfile.TemporaryDirectory()

# %% Draw a study. Every record knows its path, class, patient and split.
records = draw_radiographs(f"{folder.name}/drawn", num_images=400, size=48)
print(records)

# %% Move a tenth of train to val, image by image, as most papers do.
by_image = resplit(records, val_fraction=0.10, group_by=None, seed=0)
print(audit(by_image), "\n")

# %% The same, patient by patient. The classes keep their shares all the same.
by_patient = resplit(records, val_fraction=0.10, seed=0)
print(audit(by_patient))

# %% The split is a table: keep it beside the results, so that others can use the very same.
by_patient.to_csv(f"{folder.name}/split.csv")
folder.cleanup()
