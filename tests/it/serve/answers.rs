//! What the service answers: the predictions of the pipeline, in the formats of its clients.

use serde_json::{Value, json};

use super::client::Service;
use super::trained;
use crate::harness::Project;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends the test file of a pipeline in requests of several sizes, many of them at once, and compares
/// label and probabilities with those of `predictions.jsonl`.
#[track_caller]
fn check_equal_bits(project: &Project, tests: &[Value], arguments: &[&str]) {
    let said = project.pipe(&["cache", "cat", "predict:predictions"]).expect_code(0).stdout;
    let said = lines(&said);
    assert_eq!(said.len(), tests.len());
    let service = Service::start(project, arguments);
    let input = |row: &Value| json!({"text": row["response"], "context": row["context"]});
    for size in [1, 7, 60] {
        let parts: Vec<(&[Value], &[Value])> = tests.chunks(size).zip(said.chunks(size)).collect();
        std::thread::scope(|scope| {
            for parts in parts.chunks(parts.len().div_ceil(8)) {
                let service = &service;
                scope.spawn(move || {
                    for (tests, said) in parts {
                        let inputs: Vec<Value> = tests.iter().map(input).collect();
                        let reply = service.post("/classify", &json!({ "inputs": inputs }));
                        let found = reply.expect(200).json();
                        for (found, said) in found.as_array().unwrap().iter().zip(*said) {
                            assert_eq!(found["label"], said["label"]);
                            assert_eq!(found["probabilities"], said["probabilities"]);
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn the_answers_are_the_predictions_of_the_pipeline_to_the_bit() {
    let project = trained();
    let mut tests = lines(&project.read("data/sample/test.jsonl"));
    // The default pipeline reads no context.
    tests.iter_mut().for_each(|row| row["context"] = json!([]));
    check_equal_bits(&project, &tests, &[]);
}

#[test]
fn so_are_those_of_long_texts_by_their_windows() {
    let project = crate::job::project_of_epochs(1);
    let windows = "max_length: 16\n      window_stride: 4\n      context: 0 ";
    project.write("pipeline.yaml", &project.read("pipeline.yaml").replace("context: 0 ", windows));
    project.run(&[]).expect_code(0);
    let mut tests = lines(&project.read("data/sample/test.jsonl"));
    tests.iter_mut().for_each(|row| row["context"] = json!([]));
    check_equal_bits(&project, &tests, &["--batch-tokens", "50"]);
    let service = Service::start(&project, &[]);
    let info = service.get("/info").json();
    assert_eq!((&info["max_input_length"], &info["window_stride"]), (&json!(16), &json!(4)));
    // Nothing is cut, so nothing is refused.
    let long = json!({"inputs": "so ".repeat(600), "truncate": false});
    service.post("/predict", &long).expect(200);
}

/// A pipeline that reads contexts, whose rows have other labels.
fn pipeline_of(task: &str, labels: impl Fn(usize) -> Value) -> (Project, Vec<Value>) {
    let pipeline = "
stages:
  ingest: {inputs: {train: train.jsonl, test: test.jsonl}, params: {strip: [links], task: TASK}}
  split: {inputs: {examples: ingest:train}, params: {share: 0.8}}
  tokenize:
    inputs: {train: split:train, valid: split:valid, test: ingest:test, model: models/small-roberta}
    params: {context: 2, max_length: 48}
  finetune:
    inputs: {train: tokenize:train, valid: tokenize:valid, model: models/small-roberta}
    params: {init: auto, epochs: 1, learning_rate: 1.0e-3}
  predict: {inputs: {test: tokenize:test, model: finetune:model}, params: {batch_size: 16}}
";
    let project = crate::job::project_of_epochs(1);
    project.write("pipeline.yaml", &pipeline.replace("TASK", task));
    let text = project.read("data/sample/train.jsonl");
    let mut rows = lines(&text);
    rows.truncate(120);
    for (at, row) in rows.iter_mut().enumerate() {
        row["label"] = labels(at);
    }
    let write = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    project.write("train.jsonl", &write(&rows[..80]));
    project.write("test.jsonl", &write(&rows[80..]));
    project.run(&[]).expect_code(0);
    (project, rows.split_off(80))
}

#[test]
fn so_are_those_of_several_labels_with_contexts() {
    let (project, tests) = pipeline_of("multi", |at| match at % 3 {
        0 => json!(["angry", "brief"]),
        1 => json!(["brief"]),
        _ => json!(["angry", "calm"]),
    });
    check_equal_bits(&project, &tests, &["--batch-tokens", "100"]);
    let service = Service::start(&project, &[]);
    let reply = service.post("/predict", &json!({"inputs": "well done"})).expect(200).json();
    let scores: Vec<f64> =
        reply.as_array().unwrap().iter().map(|it| it["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
    // A pair is a text with a turn of context before it.
    let pair = service.post("/predict", &json!({"inputs": ["why?", "well done"]})).json();
    let turn = json!({"inputs": {"text": "well done", "context": ["why?"]}});
    let turn = service.post("/classify", &turn).json();
    for score in pair.as_array().unwrap() {
        assert_eq!(score["score"], turn["probabilities"][score["label"].as_str().unwrap()]);
    }
    let explained = service.post("/explain", &json!({"inputs": "well done, all"})).json();
    let words = explained["words"].as_array().unwrap();
    let text: String = words.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(text, "well done, all");
    assert!(words.iter().any(|word| word["weight"] != 0.0), "{explained}");
}

#[test]
fn so_are_numbers() {
    let (project, tests) = pipeline_of("regression", |at| json!(at as f64 / 40.0 - 1.0));
    check_equal_bits(&project, &tests, &[]);
    let service = Service::start(&project, &[]);
    let reply = service.post("/predict", &json!({"inputs": "well done"})).expect(200).json();
    let number = service.post("/classify", &json!({"inputs": "well done"})).json();
    assert_eq!(reply.as_array().unwrap().len(), 1, "{reply}");
    assert_eq!(reply[0]["score"], number["label"]);
    assert!(number["label"].is_f64(), "{number}");
    assert_eq!(service.get("/info").json()["task"], "regression");
}

#[test]
fn predict_answers_as_text_embeddings_inference_does() {
    let project = trained();
    let service = Service::start(&project, &["--model", "model"]);
    let of =
        |inputs: Value| service.post("/predict", &json!({ "inputs": inputs })).expect(200).json();
    let one = of(json!("what a lovely day"));
    let scores = one.as_array().unwrap();
    let names: Vec<&str> = scores.iter().map(|it| it["label"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"SARCASM") && names.contains(&"NOT_SARCASM"), "{names:?}");
    assert!(scores[0]["score"].as_f64() >= scores[1]["score"].as_f64());
    assert_eq!(of(json!(["what a lovely day"])), one);
    assert_eq!(of(json!([["what a lovely day"]])), json!([one]));
    let two = of(json!([["what a lovely day"], ["I am so tired"]]));
    assert_eq!((two.as_array().unwrap().len(), &two[0]), (2, &one));
    // What clients of Text Embeddings Inference send.
    let all =
        json!({"inputs": "what a lovely day", "truncate": true, "truncation_direction": "Right"});
    assert_eq!(service.post("/predict", &all).expect(200).json(), one);
    // Without the pipeline the model reads all turns of a context.
    let raw = json!({"inputs": "what a lovely day", "raw_scores": true});
    let raw = service.post("/predict", &raw).expect(200).json();
    let exp = |at: usize| raw[at]["score"].as_f64().unwrap().exp();
    let softmax = exp(0) / (exp(0) + exp(1));
    assert!((softmax - scores[0]["score"].as_f64().unwrap()).abs() < 1e-6, "{raw} and {one}");
    assert_eq!(raw[0]["label"], scores[0]["label"]);
}

#[test]
fn the_root_answers_as_the_inference_api_of_the_hub_does() {
    let project = trained();
    let service = Service::start(&project, &["--model", "model"]);
    let of = |body: Value| service.post("/", &body).expect(200).json();
    let plain = service.post("/predict", &json!({"inputs": "I am so tired"})).json();
    let one = of(json!({"inputs": "I am so tired"}));
    assert_eq!(one, json!([plain]));
    // What `InferenceClient.text_classification` sends.
    let parameters = json!({"function_to_apply": "softmax", "top_k": 1});
    let top = of(json!({"inputs": "I am so tired", "parameters": parameters}));
    assert_eq!(top[0].as_array().unwrap().len(), 1);
    assert_eq!(top[0][0]["label"], one[0][0]["label"]);
    let difference = top[0][0]["score"].as_f64().unwrap() - one[0][0]["score"].as_f64().unwrap();
    assert!(difference.abs() < 1e-6, "{top} and {one}");
    let null = json!({"inputs": "I am so tired", "parameters": {"function_to_apply": null, "top_k": null}});
    assert_eq!(of(null), one);
    let many = of(
        json!({"inputs": ["I am so tired", {"text": "well done"}], "options": {"use_cache": false}}),
    );
    assert_eq!((many.as_array().unwrap().len(), &many[0]), (2, &one[0]));
    let raw = of(json!({"inputs": "I am so tired", "parameters": {"function_to_apply": "none"}}));
    let sigmoid =
        json!({"inputs": "I am so tired", "parameters": {"function_to_apply": "sigmoid"}});
    let sigmoid = of(sigmoid);
    let logit = raw[0][0]["score"].as_f64().unwrap();
    let expected = 1.0 / (1.0 + (-logit).exp());
    assert!((sigmoid[0][0]["score"].as_f64().unwrap() - expected).abs() < 1e-9);
}

#[test]
fn requests_of_another_shape_are_told_what_is_wrong_and_where() {
    let project = trained();
    let service = Service::start(&project, &[]);
    let refused = |path: &str, body: Value| service.post(path, &body).refused(422, "Validation");
    assert_eq!(refused("/predict", json!({})), "there is no field `inputs`");
    assert_eq!(
        refused("/predict", json!({"inputs": "a", "raw_score": true})),
        "there is no field `raw_score`; did you mean `raw_scores`?"
    );
    assert_eq!(
        refused("/predict", json!({"inputs": "a", "truncation_direction": "Up"})),
        "`truncation_direction`: expected `Left` or `Right`, found `Up`"
    );
    service.post("/predict", &json!({"inputs": "a", "truncation_direction": "Left"})).expect(200);
    let long = json!({"inputs": "a b ".repeat(500), "truncation_direction": "Left"});
    assert_eq!(
        refused("/predict", long),
        "`inputs` has too many tokens, and the model reads texts that are cut on the right, not on the left \
         (`truncation_direction`)"
    );
    let half = r#"{"inputs": ["fine", "a\ud83d b"]}"#;
    let half = service.post_with("/predict", half, &[("Content-Type", "application/json")]);
    assert_eq!(
        half.refused(422, "Validation"),
        "the body has half of a surrogate pair (`\\ud83d`) at byte 23: a text was cut within a character"
    );
    assert_eq!(
        refused("/predict", json!({"inputs": [["a"], ["b", 3]]})),
        "`inputs[1][1]`: expected a string, found a number"
    );
    assert_eq!(
        refused("/predict", json!({"inputs": ["a", "b"]})),
        "`inputs`: the model reads no context, because its `tokenize` has `context: 0`"
    );
    assert_eq!(refused("/", json!([1])), "the body: expected an object, found a list");
    let bad = json!({"inputs": "a", "parameters": {"function_to_apply": "tanh"}});
    assert!(refused("/", bad).starts_with("`parameters.function_to_apply`: expected `softmax`"));
    let empty = service.post("/predict", &json!({"inputs": []})).refused(400, "Empty");
    assert!(empty.contains("nothing to classify"), "{empty}");
    let json = [("Content-Type", "application/json")];
    let broken = service.post_with("/predict", "{\"inputs\": ", &json).refused(422, "Validation");
    assert!(broken.contains("not JSON") && broken.contains("column 11"), "{broken}");
    let form = service.post_with("/predict", "a=b", &[("Content-Type", "text/plain")]);
    assert!(form.refused(415, "Validation").contains("application/json"));
    assert!(service.get("/nothing").refused(404, "NotFound").contains("/predict"));
    assert!(service.get("/predict").refused(405, "NotFound").contains("GET"));
    // All of them were counted, and the service still answers.
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
    let name = "pipe_requests_total{route=\"/predict\",status=\"422\"}";
    assert_eq!(service.metric(name), 8.0);
}

#[test]
fn the_service_describes_itself() {
    let project = trained();
    let service = Service::start(&project, &["--max-texts", "5"]);
    assert_eq!(service.get("/health").expect(200).body, "");
    let info = service.get("/info").expect(200).json();
    assert_eq!(info["model_type"]["classifier"]["id2label"]["1"], "SARCASM");
    assert_eq!(info["model_type"]["classifier"]["label2id"]["NOT_SARCASM"], 0);
    assert_eq!((&info["task"], &info["max_client_batch_size"]), (&json!("single"), &json!(5)));
    let api = service.get("/openapi.json").expect(200).json();
    assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    let known: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    for path in &known {
        // No path that it describes is missing.
        let status = service.get(path).status;
        assert!([200, 405].contains(&status), "{path}: {status}");
    }
    service.post("/predict", &json!({"inputs": [["one"], ["two"]]})).expect(200);
    let metrics = service.get("/metrics").expect(200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let help = metrics.body.lines().filter(|line| line.starts_with("# HELP")).count();
    let types = metrics.body.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!((help, types), (8, 8), "{}", metrics.body);
    assert_eq!(service.metric("pipe_batch_texts_sum"), 2.0);
    assert_eq!(service.metric("pipe_queue_texts"), 0.0);
    let name = "pipe_requests_total{route=\"/predict\",status=\"200\"}";
    assert_eq!(service.metric(name), 1.0);
}
