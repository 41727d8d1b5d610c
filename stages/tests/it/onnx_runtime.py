"""Runs graphs with onnxruntime. Reads a JSON list of {graph, batches} from standard input, where a batch is an object with
a matrix for each input, and prints a list with the logits of each batch."""

import json
import sys

import numpy
import onnxruntime

# Errors are answers here.
onnxruntime.set_default_logger_severity(4)
quiet = onnxruntime.SessionOptions()
quiet.log_severity_level = 4
found = []
for case in json.load(sys.stdin):
    session = onnxruntime.InferenceSession(case["graph"], quiet, providers=["CPUExecutionProvider"])
    names = [it.name for it in session.get_inputs()]
    logits = []
    for batch in case["batches"]:
        inputs = {name: numpy.array(batch[name], numpy.int64) for name in names}
        try:
            logits.append(session.run(["logits"], inputs)[0].tolist())
        except Exception as error:
            logits.append(str(error))
    found.append(logits)
print(json.dumps(found))
