from pathlib import Path

import pytest

from cxrtransfer import Classifier


@pytest.fixture(scope="session")
def classifier(kermany_study: Path) -> Classifier:
    return Classifier.from_run(kermany_study / "plain")


@pytest.fixture(scope="session")
def saved(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier.save_pretrained(tmp_path_factory.mktemp("saved") / "model")
