"""The peers of `benches/speed.py`: PyTorch, ONNX Runtime and the Python `tokenizers`.

`speed.py` calls `speed_peers.py WHAT KEY=VALUE…` with the Python that has these packages, so it
needs none of them itself. Each call prints one JSON object as its last line.
"""

import json
import os
import sys
import time
from pathlib import Path


def texts(file):
    rows = [json.loads(line) for line in open(file, encoding="utf-8") if line.strip()]
    return [row["response"].replace("@USER", "") for row in rows]


# The published sizes of each family, but for the padding token, which is that of the tokenizer here.
FAMILIES = {
    "xlm-roberta-base": ("XLMRoberta", dict(
        vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)),
    "distilbert-base": ("DistilBert", {}),
    "deberta-v3-base": ("DebertaV2", dict(
        vocab_size=128_100, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
        relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True,
        pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0)),
    "ModernBERT-base": ("ModernBert", dict(cls_token_id=101, sep_token_id=102, bos_token_id=101, eos_token_id=102)),
}


def prepare(source, out, seed=0, labels="NOT_SARCASM,SARCASM", layers=0, hidden=0, heads=0, family=""):
    """Makes a model folder with a head of two classes, from `source` or with random weights of these sizes or family."""
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(int(seed))
    names = labels.split(",")
    maps = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    tokenizer = AutoTokenizer.from_pretrained(source)
    if family:
        prefix, fields = FAMILIES[family]
        config = getattr(transformers, f"{prefix}Config")(**fields, pad_token_id=0, num_labels=len(names), **maps)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(out)
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        tokenizer.save_pretrained(out)
        return {}
    config = AutoConfig.from_pretrained(source, num_labels=len(names), **maps)
    if int(layers):
        config.num_hidden_layers, config.hidden_size = int(layers), int(hidden)
        config.intermediate_size, config.num_attention_heads = 4 * int(hidden), int(heads)
        model = AutoModelForSequenceClassification.from_config(config)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(source, config=config)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {}


def split(model, file, train, valid, seed):
    """Writes the peer script's own split of `file`, and counts the tokens that it trains on."""
    import torch
    from transformers import AutoTokenizer

    lines = [line for line in open(file, encoding="utf-8") if line.strip()]
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(int(seed))).tolist()
    cut = int(0.9 * len(lines))
    for path, rows in ((train, order[:cut]), (valid, order[cut:])):
        Path(path).write_text("".join(lines[row] for row in rows), encoding="utf-8")
    ids = AutoTokenizer.from_pretrained(model)(texts(train), truncation=True, max_length=512)["input_ids"]
    return {"tokens": sum(map(len, ids)), "rows": cut}


def batches(ids, size):
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def padded(batch, ids):
    import numpy

    width = max(len(ids[row]) for row in batch)
    input_ids = numpy.zeros((len(batch), width), dtype=numpy.int64)
    mask = numpy.zeros((len(batch), width), dtype=numpy.int64)
    for index, row in enumerate(batch):
        input_ids[index, : len(ids[row])] = ids[row]
        mask[index, : len(ids[row])] = 1
    return input_ids, mask


def predict(runtime, model, file, out, onnx="", batch=32):
    """Class probabilities of every text, in batches of similar length, as `predict` computes them."""
    began = time.perf_counter()
    import numpy
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [row.ids for row in tokenizer.encode_batch(texts(file))]
    if runtime == "torch":
        import torch
        from transformers import AutoModelForSequenceClassification

        network = AutoModelForSequenceClassification.from_pretrained(model).eval()

        def logits(input_ids, mask):
            with torch.inference_mode():
                tensors = torch.from_numpy(input_ids), torch.from_numpy(mask)
                return network(input_ids=tensors[0], attention_mask=tensors[1]).logits.numpy()
    else:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = os.cpu_count()
        session = onnxruntime.InferenceSession(onnx, settings, providers=["CPUExecutionProvider"])

        def logits(input_ids, mask):
            return session.run(None, {"input_ids": input_ids, "attention_mask": mask})[0]

    loaded = time.perf_counter()
    probabilities = [None] * len(ids)
    for rows in batches(ids, int(batch)):
        values = numpy.exp(logits(*padded(rows, ids)).astype(numpy.float64))
        for row, value in zip(rows, values / values.sum(1, keepdims=True)):
            probabilities[row] = value.tolist()
    ended = time.perf_counter()
    Path(out).write_text(json.dumps(probabilities))
    return {"seconds": ended - loaded, "load_seconds": loaded - began, "tokens": sum(map(len, ids))}


def export(model, out):
    """Exports the model to ONNX with PyTorch's exporter."""
    import torch
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(model, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, input_ids, attention_mask):
            return self.network(input_ids=input_ids, attention_mask=attention_mask).logits

    example = torch.ones(2, 7, dtype=torch.long)
    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["logits"]}
    axes = {name: {0: "rows", 1: "width"} for name in names["input_names"]}
    with torch.no_grad():
        torch.onnx.export(Logits(), (example, example), out, dynamic_axes=axes, opset_version=17, dynamo=False, **names)
    return {}


def quantize(onnx, out):
    """Fuses the layers and quantizes them dynamically, as ONNX Runtime's documentation recommends for BERT."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    fused = f"{out}.fused"
    model = optimizer.optimize_model(onnx, model_type="bert", num_heads=0, hidden_size=0, opt_level=0)
    model.save_model_to_file(fused)
    # The fused operators are not standard ones, so their types are not inferred.
    options = {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(fused, out, weight_type=QuantType.QInt8, extra_options=options)
    return {name: count for name, count in model.get_fused_operator_statistics().items() if count}


def tokenize(model, file):
    """Reads the texts and makes one batch call for each 100,000; writes nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    began = time.perf_counter()
    found = texts(file)
    tokens = 0
    for start in range(0, len(found), 100_000):
        tokens += sum(len(row.ids) for row in tokenizer.encode_batch(found[start : start + 100_000]))
    return {"seconds": time.perf_counter() - began, "tokens": tokens}


def versions():
    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "tokenizers", "onnxruntime"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            found[name] = None
    return found


if __name__ == "__main__":
    what = {name: globals()[name] for name in ("prepare", "split", "predict", "export", "quantize", "tokenize", "versions")}
    print(json.dumps(what[sys.argv[1]](**dict(pair.split("=", 1) for pair in sys.argv[2:]))))
