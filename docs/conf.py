"""Sphinx settings; the documentation builds without internet access."""

import os
from importlib.metadata import version as installed_version

project = "cxrtransfer"
author = "The cxrtransfer authors"
copyright = "the cxrtransfer authors"  # noqa: A001  (a setting of Sphinx)
release = version = installed_version("cxrtransfer")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"cxrtransfer {release}"

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Docstrings have no types, so text before a colon is not parsed as one.
napoleon_use_rtype = False

# Links to other projects need their inventories from the internet.
if os.environ.get("CXRTRANSFER_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }
else:
    nitpick_ignore_regex = [
        (r"py:.*", r"(torch|torchvision|timm|numpy|np|npt|matplotlib)\b.*"),
        (r"py:.*", r"(pathlib|collections|abc)\b.*"),
        (r"py:.*", r"(Tensor|Path|Axes|Figure|NDArray|ArrayLike|Dataset|DataLoader|Module|Self)"),
        (r"py:.*", r"(os|typing|types|contextlib|nn|str|int|float|bool|tuple)\b.*"),
        (r"py:.*", r"[A-Z]\w*Error"),
        (r"py:.*", r".*\._[TR]|hashlib"),
        (r"py:class", r"(optional|Any|Callable|Iterable|Iterator|Mapping|Sequence|object|None)"),
        (r"py:class", r"Cell"),  # an alias of Literal, which autodoc does not list
        (r"py:.*", r"cxrtransfer\.runtime\..*"),  # private
        # Types that users meet only as values, which are described where they are returned.
        (r"py:class", r"cxrtransfer\.(embedding\.preparation|inference\.batches)\.\w+"),
        (r"py:class", r"cxrtransfer\.study\.(documents|manifests|run_folder|study_folder)\.\w+"),
        (r"py:class", r"cxrtransfer\.models\.names\.\w+"),
        (r"py:class", r"cxrtransfer\.evaluation\.samples\.\w+"),  # what a metric is computed from
    ]
