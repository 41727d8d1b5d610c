//! The graphs of classifiers in the format of ONNX. Their structure is tested here, and their logits
//! with onnxruntime, if there is a Python that has it.

#![cfg(feature = "model")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use half::f16;
use prost::Message;
use serde_json::{Value, json};
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::folder;
use stages::model::loading::HeadSource;
use stages::model::parameters::Network;
use stages::onnx::file::files;
use stages::onnx::proto::{DataType, Dimension, GraphProto, ModelProto, ValueInfoProto};
use stages::onnx::{OPSET, Storage, model};
use stages::stage::error::StageError;

use crate::reference::{
    Expected, FAMILIES, assert_close, copy_of, device, fixture, loaded, logits, try_load,
};

const LABELS: [&str; 2] = ["0", "1"];

fn bytes(name: &str, storage: Storage) -> Vec<u8> {
    bytes_of(&fixture(name), storage).unwrap()
}

fn bytes_of(folder: &Path, storage: Storage) -> Result<Vec<u8>, StageError> {
    Ok(model(folder, &ModelConfig::read(folder)?, 2, storage)?.encode_to_vec())
}

fn graph(name: &str, storage: Storage) -> GraphProto {
    let model = ModelProto::decode(&*bytes(name, storage)).unwrap();
    assert_eq!((model.ir_version, model.producer_name.as_str()), (8, "pipe"));
    let [opset] = &model.opset_import[..] else { panic!("{:?}", model.opset_import) };
    assert_eq!((opset.domain.as_str(), opset.version), ("", Some(OPSET)));
    model.graph.unwrap()
}

/// The name, type and dimensions of an input or output.
fn declared(value: &ValueInfoProto) -> (String, DataType, Vec<String>) {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let size = |size: &Dimension| match size {
        Dimension::Fixed(size) => size.to_string(),
        Dimension::Named(name) => name.clone(),
    };
    let shape = tensor.shape.as_ref().unwrap().dim.iter();
    let shape = shape.map(|it| size(it.value.as_ref().unwrap())).collect();
    (value.name.clone(), tensor.elem_type(), shape)
}

#[test]
fn a_graph_reads_what_its_tokenizer_gives_and_computes_logits_of_any_batch() {
    for (name, has_types) in [("bert", true), ("roberta", false), ("modernbert", false)] {
        let graph = graph(name, Storage::F32);
        let inputs: Vec<_> = graph.input.iter().map(declared).collect();
        let mut names = vec!["input_ids", "attention_mask"];
        names.extend(has_types.then_some("token_type_ids"));
        let dynamic = vec!["batch_size".to_owned(), "sequence_length".to_owned()];
        let of = |name: &&str| ((*name).to_owned(), DataType::Int64, dynamic.clone());
        assert_eq!(inputs, names.iter().map(of).collect::<Vec<_>>(), "{name}");
        let logits = vec!["batch_size".to_owned(), "2".to_owned()];
        let [output] = &graph.output[..] else { panic!("{name}") };
        assert_eq!(declared(output), ("logits".to_owned(), DataType::Float, logits), "{name}");
    }
}

#[test]
fn every_node_reads_what_is_known_before_it_and_every_constant_is_read() {
    for (name, storage) in all() {
        let graph = graph(name, storage);
        let constants: BTreeSet<_> = graph.initializer.iter().map(|it| it.name.clone()).collect();
        assert_eq!(constants.len(), graph.initializer.len(), "{name}: a constant is stored twice");
        let mut known = constants.clone();
        known.extend(graph.input.iter().map(|it| it.name.clone()));
        let (mut read, mut named) = (BTreeSet::new(), BTreeSet::new());
        for node in &graph.node {
            assert!(named.insert(&node.name), "{name}: two nodes are called {}", node.name);
            for input in &node.input {
                assert!(known.contains(input), "{name}: {} reads {input}", node.name);
                read.insert(input.clone());
            }
            for output in &node.output {
                assert!(known.insert(output.clone()), "{name}: {output} is made twice");
            }
        }
        assert!(known.contains("logits"), "{name}");
        let unread: Vec<_> = constants.difference(&read).collect();
        assert!(unread.is_empty(), "{name}: nothing reads {unread:?}");
        let unread: Vec<_> = graph.input.iter().filter(|it| !read.contains(&it.name)).collect();
        assert!(unread.is_empty(), "{name}: nothing reads {unread:?}");
    }
}

#[test]
fn parameters_keep_their_names_and_values_and_have_elements_for_their_shapes() {
    for (name, storage) in all() {
        for tensor in &graph(name, storage).initializer {
            let count: i64 = tensor.dims.iter().product();
            let size = match tensor.data_type() {
                DataType::Float => 4,
                DataType::Int64 => 8,
                DataType::Int8 => 1,
                DataType::Float16 => 2,
                DataType::Undefined => panic!("{name}: {}", tensor.name),
            };
            assert_eq!(tensor.raw_data.len() as i64, count * size, "{name}: {}", tensor.name);
        }
    }
    let graph = graph("bert", Storage::F32);
    let tensor = |name: &str| graph.initializer.iter().find(|it| it.name == name).unwrap();
    assert_eq!(tensor("classifier.weight").dims, [2, 16]);
    // A factor of a product on the right.
    assert_eq!(tensor("bert.encoder.layer.0.intermediate.dense.weight").dims, [16, 32]);
    let words = &tensor("bert.embeddings.word_embeddings.weight").raw_data;
    let stored = std::fs::read(fixture("bert").join("model.safetensors")).unwrap();
    assert!(stored.windows(words.len()).any(|window| window == &words[..]));
}

#[test]
fn a_model_has_the_same_bytes_every_time() {
    for (name, storage) in all() {
        assert_eq!(bytes(name, storage), bytes(name, storage), "{name}");
    }
}

#[test]
fn in_8_bits_the_weights_of_layers_and_words_are_integers_and_the_head_is_not() {
    let graph = graph("roberta", Storage::Int8);
    let integers = graph.initializer.iter().filter(|it| it.data_type() == DataType::Int8);
    let names: Vec<&str> = integers.map(|it| it.name.as_str()).collect();
    let config = ModelConfig::read(&fixture("roberta")).unwrap();
    assert_eq!(names.len(), 1 + 6 * config.num_hidden_layers, "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("classifier")), "{names:?}");
    let of_kind = |kind: &str| graph.node.iter().filter(|node| node.op_type == kind).count();
    assert_eq!(of_kind("MatMulInteger"), 6 * config.num_hidden_layers);
    // Query, key and value read the same integers.
    assert_eq!(of_kind("DynamicQuantizeLinear"), 4 * config.num_hidden_layers);
}

/// A copy of a fixture whose parameters all are numbers of half precision.
fn in_half_precision(name: &str) -> tempfile::TempDir {
    let folder = copy_of(name);
    let mut model = loaded(name, &device());
    for (_, parameter) in model.parameters() {
        let values = parameter.values(folder.path()).unwrap();
        let rounded = values.iter().map(|value| f16::from_f32(*value).to_f32());
        parameter.replace(&rounded.collect::<Vec<_>>());
    }
    let config = ModelConfig::read(folder.path()).unwrap();
    folder::write(folder.path(), &model, &config, &LABELS.map(str::to_owned)).unwrap();
    folder
}

#[test]
fn in_half_precision_every_parameter_has_two_bytes_a_value() {
    for name in FAMILIES {
        let graph = graph(name, Storage::F16);
        let floats = graph.initializer.iter().filter(|it| it.data_type() == DataType::Float);
        // Numbers of the operators, no parameters.
        let largest = floats.map(|it| it.raw_data.len()).max().unwrap_or_default();
        assert!(largest <= 64, "{name}: {largest} bytes");
    }
}

#[test]
fn a_parameter_that_half_precision_cannot_hold_is_an_error_which_names_it() {
    let folder = copy_of("bert");
    let mut model = loaded("bert", &device());
    let (name, parameter) = model.parameters().remove(0);
    let mut values = parameter.values(folder.path()).unwrap();
    values[3] = 70_000.0;
    parameter.replace(&values);
    let config = ModelConfig::read(folder.path()).unwrap();
    folder::write(folder.path(), &model, &config, &LABELS.map(str::to_owned)).unwrap();
    let told = bytes_of(folder.path(), Storage::F16).unwrap_err().to_string();
    assert!(told.contains("`f16` cannot hold 70000") && told.contains(&name), "{told}");
    assert!(bytes_of(folder.path(), Storage::F32).is_ok());
}

#[test]
fn a_model_that_is_broken_is_an_error_which_names_the_tensor() {
    let copy = copy_of("bert");
    let path = copy.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("\"vocab_size\": 60", "\"vocab_size\": 61")).unwrap();
    let told = bytes_of(copy.path(), Storage::F32).unwrap_err().to_string();
    assert!(told.contains("bert.embeddings.word_embeddings.weight"), "{told}");
}

fn all() -> impl Iterator<Item = (&'static str, Storage)> {
    let storages = [Storage::F32, Storage::F16, Storage::Int8];
    FAMILIES.into_iter().flat_map(move |name| storages.map(|storage| (name, storage)))
}

/// A Python that has onnxruntime, if there is one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("PIPE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut imports = Command::new(&named);
    imports.args(["-c", "import onnxruntime"]).stderr(Stdio::null());
    let has = imports.status().is_ok_and(|it| it.success());
    if !has {
        eprintln!("skipped: PIPE_PYTHON names no Python with onnxruntime");
    }
    has.then(|| named.into())
}

/// What onnxruntime gives for each batch of each case.
fn run(python: &Path, cases: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/onnx_runtime.py");
    let mut command = Command::new(python);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    serde_json::from_slice(&done.stdout).unwrap()
}

fn floats(found: &Value) -> Vec<f32> {
    let rows = found.as_array().unwrap_or_else(|| panic!("{found}"));
    let values = rows.iter().flat_map(|row| row.as_array().unwrap());
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

/// The inputs of a graph.
fn inputs(batch: &Batch) -> Value {
    let matrix = |values: Vec<i32>| -> Vec<Vec<i32>> {
        values.chunks(batch.width).map(<[i32]>::to_vec).collect()
    };
    let types = batch.types.clone().unwrap_or_else(|| vec![0; batch.ids.len()]);
    let mask = batch.mask.iter().map(|real| i32::from(*real)).collect();
    json!({
        "input_ids": matrix(batch.ids.clone()),
        "attention_mask": matrix(mask),
        "token_type_ids": matrix(types),
    })
}

/// The rows of a batch from here on, with as many tokens.
fn part(batch: &Batch, first: usize, width: usize) -> Batch {
    fn cut<T: Copy>(values: &[T], batch: &Batch, first: usize, width: usize) -> Vec<T> {
        let rows = values.chunks(batch.width).skip(first);
        rows.flat_map(|row| row[..width].to_vec()).collect()
    }
    Batch {
        rows: batch.rows - first,
        width,
        ids: cut(&batch.ids, batch, first, width),
        types: batch.types.as_ref().map(|types| cut(types, batch, first, width)),
        mask: cut(&batch.mask, batch, first, width),
        pooled: None,
    }
}

#[test]
fn onnxruntime_gives_the_logits_of_transformers_and_of_this_program() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let batches = |name: &str| {
        let whole = Expected::read(name).batch("right");
        [whole.clone(), part(&whole, 1, 1), part(&whole, 1, 2), part(&whole, 0, whole.width - 1)]
    };
    let cases = FAMILIES.map(|name| {
        let graph = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&graph, bytes(name, Storage::F32)).unwrap();
        json!({"graph": graph, "batches": batches(name).each_ref().map(inputs)})
    });
    let found = run(&python, &json!(cases));
    for (name, found) in FAMILIES.iter().zip(found.as_array().unwrap()) {
        let of_transformers = Expected::read(name);
        let found: Vec<Vec<f32>> = found.as_array().unwrap().iter().map(floats).collect();
        assert_close(name, &found[0], of_transformers.floats("logits_right"), 1e-4);
        let model = loaded(name, &device());
        for (found, batch) in found.iter().zip(&batches(name)) {
            let what = format!("{name}, {} tokens", batch.width);
            assert_close(&what, found, &logits(&model, batch), 1e-4);
        }
    }
}

#[test]
fn the_elements_of_a_graph_too_large_for_one_file_are_in_a_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let cases = FAMILIES.map(|name| {
        let config = ModelConfig::read(&fixture(name)).unwrap();
        let whole = model(&fixture(name), &config, 2, Storage::F32).unwrap();
        let size = whole.encoded_len();
        let one = files(whole.clone(), size, "unused");
        assert!(one.data.is_none() && one.graph == whole.encode_to_vec());
        let two = files(whole.clone(), size - 1, &format!("{name}.onnx_data"));
        let data = two.data.expect("a second file");
        let moved = ModelProto::decode(&*two.graph).unwrap().graph.unwrap().initializer;
        assert!(moved.iter().all(|tensor| tensor.raw_data.len() < 1024), "{name}");
        let tensors = moved.iter().zip(whole.graph.unwrap().initializer);
        for (tensor, expected) in tensors.filter(|(tensor, _)| tensor.raw_data.is_empty()) {
            let entry = |key: &str| {
                let entry = tensor.external_data.iter().find(|entry| entry.key == key).unwrap();
                entry.value.as_str()
            };
            assert_eq!(entry("location"), format!("{name}.onnx_data"));
            let [start, length] =
                ["offset", "length"].map(|key| entry(key).parse::<usize>().unwrap());
            assert_eq!(start % 4096, 0, "{name}");
            assert!(data[start..][..length] == expected.raw_data, "{name}: {}", tensor.name);
        }
        let graph = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&graph, two.graph).unwrap();
        std::fs::write(folder.path().join(format!("{name}.onnx_data")), data).unwrap();
        json!({"graph": graph, "batches": [inputs(&Expected::read(name).batch("right"))]})
    });
    let Some(python) = python() else { return };
    let found = run(&python, &json!(cases));
    for (at, name) in FAMILIES.iter().enumerate() {
        let expected = Expected::read(name);
        assert_close(name, &floats(&found[at][0]), expected.floats("logits_right"), 1e-4);
    }
}

/// Fixtures with other entries in their `config.json`.
const VARIATIONS: [(&str, &str, &str); 12] = [
    ("bert", "pooling", "\"mean\""),
    ("bert", "hidden_act", "\"gelu_new\""),
    ("bert", "hidden_act", "\"relu\""),
    ("bert", "hidden_act", "\"silu\""),
    ("bert", "hidden_act", "\"tanh\""),
    ("mpnet", "pooling", "\"mean\""),
    ("mpnet", "relative_attention_num_buckets", "32"),
    ("deberta-v2", "pos_att_type", "[\"c2p\"]"),
    ("deberta-v2", "pos_att_type", "[\"p2c\"]"),
    ("deberta-v2", "pooler_hidden_act", "\"gelu_new\""),
    ("modernbert", "classifier_pooling", "\"mean\""),
    ("modernbert", "local_attention", "4"),
];

#[test]
fn activations_poolings_and_kinds_of_attention_are_those_of_this_program() {
    let Some(python) = python() else { return };
    let folders: Vec<_> = VARIATIONS.iter().map(|(name, ..)| copy_of(name)).collect();
    let mut cases = Vec::new();
    for ((name, key, value), folder) in VARIATIONS.iter().zip(&folders) {
        let path = folder.path().join("config.json");
        let mut raw: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        raw[*key] = serde_json::from_str(value).unwrap();
        std::fs::write(&path, raw.to_string()).unwrap();
        let graph = folder.path().join("model.onnx");
        std::fs::write(&graph, bytes_of(folder.path(), Storage::F32).unwrap()).unwrap();
        let batch = Expected::read(name).batch("right");
        cases.push(json!({"graph": graph, "batches": [inputs(&batch)]}));
    }
    let found = run(&python, &json!(cases));
    for (at, (name, key, value)) in VARIATIONS.iter().enumerate() {
        let model = try_load(folders[at].path(), HeadSource::Checkpoint, &device()).unwrap();
        let expected = logits(&model, &Expected::read(name).batch("right"));
        assert_close(&format!("{name}, {key}: {value}"), &floats(&found[at][0]), &expected, 1e-4);
    }
}

#[test]
fn in_half_precision_the_logits_are_those_of_the_rounded_parameters() {
    let Some(python) = python() else { return };
    let folders = FAMILIES.map(in_half_precision);
    let cases = FAMILIES.iter().zip(&folders).map(|(name, folder)| {
        let graph = folder.path().join("model.onnx");
        std::fs::write(&graph, bytes_of(folder.path(), Storage::F16).unwrap()).unwrap();
        let whole = Expected::read(name).batch("right");
        json!({"graph": graph, "batches": [inputs(&whole)]})
    });
    let found = run(&python, &json!(cases.collect::<Vec<_>>()));
    for (at, name) in FAMILIES.iter().enumerate() {
        let model = try_load(folders[at].path(), HeadSource::Checkpoint, &device()).unwrap();
        let expected = logits(&model, &Expected::read(name).batch("right"));
        assert_close(name, &floats(&found[at][0]), &expected, 1e-4);
    }
}

/// Whether onnxruntime adds products of 8-bit integers in 32 bits. Without these instructions it adds pairs
/// in 16 bits, which overflow.
fn adds_exactly() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

#[test]
fn in_8_bits_the_logits_are_near_those_of_f32() {
    let Some(python) = python() else { return };
    if !adds_exactly() {
        eprintln!("skipped: this processor has no VNNI");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = FAMILIES.map(|name| {
        let graph = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&graph, bytes(name, Storage::Int8)).unwrap();
        let whole = Expected::read(name).batch("right");
        json!({"graph": graph, "batches": [inputs(&whole)]})
    });
    let found = run(&python, &json!(cases));
    for (at, name) in FAMILIES.iter().enumerate() {
        let exact = Expected::read(name);
        let (found, exact) = (floats(&found[at][0]), exact.floats("logits_right"));
        assert_close(name, &found, exact, 0.1);
        assert_ne!(found, exact, "{name}");
    }
}

#[test]
fn a_sequence_that_is_too_long_for_its_positions_is_an_error_and_no_answer() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["bert", "roberta", "mpnet", "deberta-v2", "deberta-v2-conv"] {
        let config = ModelConfig::read(&fixture(name)).unwrap();
        let graph = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&graph, bytes(name, Storage::F32)).unwrap();
        let batch = |width: usize| {
            let ids = vec![5; width];
            inputs(&Batch::new([(ids.as_slice(), None)].into_iter(), 0))
        };
        let longest = config.max_tokens();
        let batches = [longest, longest + 1, longest + 2, 3 * longest].map(batch);
        let found = run(&python, &json!([{"graph": graph, "batches": batches}]));
        assert!(found[0][0].is_array(), "{name}: {}", found[0][0]);
        for (at, found) in found[0].as_array().unwrap().iter().enumerate().skip(1) {
            assert!(found.is_string(), "{name}, batch {at}: {found}");
        }
    }
}
