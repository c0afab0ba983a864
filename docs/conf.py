"""Sphinx settings; the documentation builds without internet access, and runs its code blocks."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from gallery import FigureScraper

project = "cxrtransfer"
author = "The cxrtransfer authors"
copyright = "the cxrtransfer authors"  # noqa: A001  (a setting of Sphinx)
release = version = installed_version("cxrtransfer")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "myst_nb",
    "command_line",
    "gallery",
    "public_names",
    "results",
    "run_blocks",
]
exclude_patterns = ["_build", "_ext", "plots", "gallery/*.ipynb", "gallery/*.py"]
html_theme = "furo"
html_title = f"cxrtransfer {release}"
html_static_path = ["_static"]
html_css_files = ["output.css"]

autosummary_generate = False  # public_names writes the pages
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Docstrings have no types, so text before a colon is not parsed as one.
napoleon_use_rtype = False

# Every cell of a notebook is run; one that fails ends the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_merge_streams = True
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "plots",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "image_scrapers": (FigureScraper(),),
    "reset_modules": (),
    "abort_on_example_error": True,
    "ignore_repr_types": r"matplotlib",
    "doc_module": ("cxrtransfer",),
    "backreferences_dir": "gallery/backreferences",
    "min_reported_time": 3600,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "copyfile_regex": r"$^",
}

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
        (r"py:.*", r".*\._[TR]|hashlib|(http\.server\.)?ThreadingHTTPServer"),
        (r"py:class", r"(optional|Any|Callable|Iterable|Iterator|Mapping|Sequence|object|None)"),
        (r"py:class", r"Cell|Box"),  # aliases, which autodoc does not list
        (r"py:.*", r"cxrtransfer\.runtime\..*"),  # private
        # Types that users meet only as values, which are described where they are returned.
        (r"py:class", r"cxrtransfer\.(embedding\.preparation|inference\.batches)\.\w+"),
        (r"py:class", r"cxrtransfer\.study\.(documents|\w+_folder|layers|manifests)\.\w+"),
        (r"py:class", r"cxrtransfer\.models\.names\.\w+"),
        (r"py:class", r"cxrtransfer\.(deploy\.images|evaluation\.novelty)\.\w+"),
        (r"py:class", r"pd\.DataFrame"),
        (r"py:class", r"cxrtransfer\.evaluation\.samples\.\w+"),  # what a metric is computed from
    ]
