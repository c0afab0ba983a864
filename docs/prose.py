"""Check the wording of everything a reader can see; ``python docs/prose.py`` from the repository.

``typos`` checks the spelling. This script looks for words that are spelled correctly but are not
the field's terms. It reads the strings, docstrings and comments of Python files and the text of
documentation files; code, inline literals and the placeholders of f-strings are left out. A phrase
is also matched where it continues on the next line.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

CHECKED = (
    "src",
    "docs",
    "examples",
    "benchmarks",
    "noxfile.py",
    "pyproject.toml",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
TEXT_SUFFIXES = (".md", ".rst", ".toml", ".j2")
SKIPPED_FOLDERS = ("_build", "_output", "_static", "generated")

# A regular expression, in which a space stands for any whitespace, and what to say instead.
PHRASES = {
    # weights and training
    r"(ImageNet|random|pretrained|published|initial) parameters": "weights, e.g. ImageNet weights",
    r"files? of parameters|parameter files?": "weight files",
    r"go(es|ing)? on (from|inside|where|again)|(it|runs?|command) (goes|can go|go) on": "resume",
    r"anew": "again, rerun, or from scratch",
    r"most (epochs|passes)|longest gradient": "maximum number of epochs, gradient clipping norm",
    r"epochs [\w ]{0,20}to wait|how the (learning )?rate goes": "patience, learning-rate schedule",
    r"relight\w*": "jitter the intensity",
    # splits
    r"(?<!same\s)(?<!padded\s)on both sides|both sides of (a|the|any|every) split": (
        "in more than one split; leakage"
    ),
    r"who goes where": "split assignment",
    r"dealt|deals? (each|every|patients|images|records)": "assign (to a split, a fold)",
    r"(on|from|of|to|against|than|by) val(?![\w(])|val (AUROC|loss|accuracy|images|split|set)": (
        "validation, the validation split"
    ),
    r"patients? of (its|their) own|(take|takes|taking|took) (it|them|images) for": (
        "treat each image as a separate patient"
    ),
    # sites
    r"elsewhere": "other sites, the external test set; or otherwise",
    r"at home": "internal test set",
    r"alike": "similar, identical",
    # statistics
    r"foretell\w*|foretold": "predict; validation was optimistic",
    r"(tell|tells|told|telling) apart": "distinguish; differ significantly",
    r"surely": "significantly",
    r"by chance": "at random, under the null hypothesis, at chance level",
    r"luck": "run-to-run variability",
    r"one half": "0.5",
    r"holds 0\.5|excludes none": "includes 0.5, excludes zero",
    r"nothing can be said|(can|cannot) be told(?! apart)": "undefined (NaN)",
    r"counted as disease|counts as disease": "positive class",
    r"mend(s|ed|ing)?": "fix, correct; recalibrate",
    r"Platt's line": "Platt scaling",
    r"bolder|promises? too much": "overconfident",
    r"true (ones|probabilities) would": "a perfectly calibrated model would",
    r"shares? of|(the|its|their|a|what) share": "fraction, proportion",
    r"(what|how much)( \w+){1,3} (is|are) worth": "performance",
    # heatmaps
    r"heat": "saliency, attribution",
    r"even maps?": "uniform map",
    # messages
    r"whole numbers?": "integer, e.g. must be a positive integer",
    r"there (is|are) no (file|folder)s?": "no such file or directory",
    r"it lacks|it adds": "missing keys, unexpected keys",
    r"brings (it|them|this)": "install it with: pip install '...'",
    r"can be had": "available",
    r"(is|are|be) told(?! apart)": "reported",
    r"(?-i:^\s*(Say|Tell) (whether|how|what|which|why|if))": "Return whether ..., Describe ...",
    r"one (?!without)\w+ an? (class|run|page|file|figure|image|patient|network|function)": "per",
    r"(from|by|to) anywhere": "self-contained",
    r"the page(?! of the embedding)": "the report; the HTML page",
}


def main(arguments: list[str]) -> int:
    """Print every forbidden phrase below the given paths; return how many there are."""
    hits = [hit for path in files(arguments or CHECKED) for hit in problems(path)]
    for hit in hits:
        print(hit)
    return len(hits)


def files(paths: Iterable[str]) -> Iterator[Path]:
    """List the files to check: those named, and those of a known kind below a folder."""
    for path in map(Path, paths):
        if path.is_file():
            yield path
            continue
        for below in sorted(path.rglob("*")):
            is_text = below.suffix in (".py", *TEXT_SUFFIXES)
            if is_text and not set(SKIPPED_FOLDERS).intersection(below.parts):
                yield below


def problems(path: Path) -> list[str]:
    """Describe the forbidden phrases of a file, each by line, phrase and what to say instead."""
    if path.resolve() == Path(__file__).resolve():
        return []  # it quotes them
    text = path.read_text(encoding="utf-8")
    prose = prose_of_python(text) if path.suffix == ".py" else text
    prose = re.sub(r"(`+)[^`]*\1", blank, prose)
    hits = []
    for pattern, instead in PHRASES.items():
        regex = r"(?<![\w.-])(" + pattern.replace(" ", r"\s+") + r")(?![\w-])"
        for match in re.finditer(regex, prose, re.IGNORECASE | re.MULTILINE):
            start = match.end() - len(match[0].lstrip())
            line = prose.count("\n", 0, start) + 1
            phrase = " ".join(match[0].split())
            hits.append((line, f"{path}:{line}: {phrase!r}; say: {instead}"))
    return [hit for _, hit in sorted(hits)]


def prose_of_python(code: str) -> str:
    """Blank all but strings and comments, so that every character stays at its place.

    Quotes and number signs become spaces, so that strings that Python joins, and comments of
    several lines, read as one text.
    """
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    prose = list(blank(code))
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        begin = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        kind = tokenize.tok_name[token.type]
        text = code[begin:end]
        if kind == "STRING":
            text = re.sub(r"^\w*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$", spaces, text)
            text = re.sub(r"\{[^{}]*\}|^\s*[a-z0-9_]+\s*$", blank, text)  # placeholders, keys
        elif kind == "COMMENT":
            text = re.sub(r"^#:?", spaces, text)
        elif kind in ("FSTRING_START", "FSTRING_END"):  # of Python 3.12 and newer
            text = " " * len(text)
        elif kind != "FSTRING_MIDDLE":
            continue
        prose[begin:end] = text
    return "".join(prose)


def blank(text: str | re.Match[str]) -> str:
    """Replace what is not whitespace by a character that no phrase has."""
    return re.sub(r"\S", "\0", text if isinstance(text, str) else text[0])


def spaces(match: re.Match[str]) -> str:
    """Replace a match by spaces."""
    return " " * len(match[0])


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
