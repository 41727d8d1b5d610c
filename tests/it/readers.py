"""Reads what `pipe log` writes with the readers of TensorBoard and MLflow: EVENTS MLRUNS. Prints JSON."""

import json
import os
import sys
from pathlib import Path

# Newer versions read the files only if asked to.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events, mlruns = map(Path, sys.argv[1:])
board = {}
for folder in sorted(events.iterdir()):
    reader = EventAccumulator(str(folder)).Reload()
    tags = reader.Tags()["scalars"]
    board[folder.name] = {tag: [[it.step, it.value] for it in reader.Scalars(tag)] for tag in tags}
client = MlflowClient(tracking_uri=mlruns.resolve().as_uri())
runs = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        history = {it: len(client.get_metric_history(run.info.run_id, it)) for it in run.data.metrics}
        runs.append({"experiment": experiment.name, "name": run.info.run_name, "status": run.info.status,
                     "metrics": run.data.metrics, "params": run.data.params, "history": history, "tags": run.data.tags})
print(json.dumps({"tensorboard": board, "mlflow": runs}))
