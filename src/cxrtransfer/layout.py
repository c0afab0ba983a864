"""Names of the files in the folders of studies, runs and saved classifiers; no torch.

The command line checks a folder by them before torch is imported. Their formats are in
``study/run_folder.py``, ``study/study_folder.py`` and ``deploy/bundle.py``.
"""

__all__ = [
    "CHECKPOINT",
    "CROSS_VALIDATION",
    "DECISION",
    "EXTERNAL",
    "EXTERNAL_FILES",
    "MANIFEST",
    "RUN_FILES",
    "STUDY_FILES",
    "TENSORBOARD",
    "TEST_OPENINGS",
]

STUDY_FILES = {
    "manifest": "study.json",
    "audit": "audit.json",
    "summary": "summary.npz",
    "readme": "README.txt",
    "report": "report.html",
    "report as Markdown": "report.md",
    "embedding page": "embedding.html",
    "metrics": "metrics.csv",
    "metrics as JSON": "metrics.json",
    "figures": "figures",
    "tables": "tables",
}
CROSS_VALIDATION = "crossval.json"

MANIFEST = "manifest.json"  # of a complete run
CHECKPOINT = "checkpoint.pt"  # of the trainer
RUN_FILES = {
    "claim": "config.json",
    "records": "split.csv",
    "history": "history.csv",
    "history as JSON": "history.json",
    "weights": "model.safetensors",
    "val": "predictions_val.csv",
    "test": "predictions_test.csv",
    "features": "features.npz",
    "embedding": "embedding.npz",
    "embedding page": "embedding.html",
    "layers": "layers.npz",
    "examples": "heatmaps.npz",
    "localization": "localization.npz",
    "occlusion": "occlusion.npz",
    "explanations": "explanations.npz",
    "randomization": "randomization.npz",
    "stress": "stress.npz",
    "profile": "profile.npz",
    "reference": "reference.npz",
}
TEST_OPENINGS = "test-openings.csv"  # grows if a run is repeated, so it has no digest
TENSORBOARD = "tensorboard"  # event files, if asked for
EXTERNAL = "external"  # a folder per site
EXTERNAL_FILES = {
    "result": "external.json",
    "predictions": "predictions.csv",
    "records": "records.csv",
}

DECISION = "decision.json"  # of a saved classifier
