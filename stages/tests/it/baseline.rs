//! `baseline` against scikit-learn, on fixtures from `fixtures/make_baseline.py`.

use std::path::PathBuf;

use serde_json::{Value, json};
use stages::builtin::baseline::embedding::{Embedding, Features};
use stages::builtin::baseline::lbfgs::{Limits, minimize};
use stages::builtin::baseline::params::EmbeddingParams;
use stages::builtin::baseline::tfidf::{Analyzer, TfidfOptions, Vectorizer};
use stages::data::random::Random;

use crate::harness::{Done, Run};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/baseline").join(name)
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../fixtures/baseline/expected.json")).unwrap()
}

fn rows(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(name: &str) -> Vec<String> {
    rows(name).iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
}

fn baseline(case: &str) -> Run {
    Run::new("baseline")
        .input_path("train", fixture(&format!("{case}_train.jsonl")))
        .input_path("valid", fixture(&format!("{case}_valid.jsonl")))
}

/// With the parameters that the fixture was made with.
fn reference(case: &str) -> Run {
    baseline(case).param("char_ngrams", 4)
}

#[test]
fn features_are_those_of_scikit_learn() {
    let (train, valid) = (texts("two_train.jsonl"), texts("two_valid.jsonl"));
    let train: Vec<&str> = train.iter().map(String::as_str).collect();
    let words = Analyzer::Words { longest: 2 };
    let chars = Analyzer::Chars { shortest: 2, longest: 4 };
    for (case, from, min_rows, sublinear) in [("sublinear", 0, 2, true), ("counts", 10, 1, false)] {
        for (place, analyzer) in [words, chars].into_iter().enumerate() {
            let vectorizer =
                Vectorizer::fit(&train, TfidfOptions { analyzer, min_rows, sublinear });
            let wanted = &expected()[case][place];
            assert_eq!(vectorizer.names().len() as u64, wanted["features"], "{case} {analyzer:?}");
            for (row, text) in wanted["rows"].as_array().unwrap().iter().zip(&valid[from..]) {
                let found = vectorizer.features(text);
                assert_eq!(found.len(), row.as_array().unwrap().len(), "{text:?}");
                for ((number, value), wanted) in found.iter().zip(row.as_array().unwrap()) {
                    assert_eq!(vectorizer.names()[*number as usize], wanted[0], "{text:?}");
                    let wanted = wanted[1].as_f64().unwrap();
                    assert!((value - wanted).abs() < 1e-8, "{text:?}: {value}, not {wanted}");
                }
            }
        }
    }
}

#[test]
fn probabilities_are_those_of_scikit_learn_for_two_classes_and_for_three() {
    let cases = [("two", 0, 1), ("two", 1, 4), ("three", 0, 1), ("three", 1, 4)];
    for (case, context, c) in cases {
        let done = reference(case).param("context", context).param("c", c).run();
        let key = if context == 0 { case.to_owned() } else { format!("{case}_context") };
        let wanted = &expected()[&key];
        let found = done.rows("valid");
        for (found, wanted) in found.iter().zip(wanted["probabilities"].as_array().unwrap()) {
            let found: Vec<&Value> = found["probabilities"].as_object().unwrap().values().collect();
            assert_eq!(found.len(), wanted.as_array().unwrap().len());
            for (found, wanted) in found.iter().zip(wanted.as_array().unwrap()) {
                let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
                assert!((found - wanted).abs() < 1e-5, "{key}: {found}, not {wanted}");
            }
        }
        let metrics = done.json("metrics");
        assert_eq!(metrics["converged"], true);
        assert_eq!(metrics["train"]["accuracy"], wanted["train_accuracy"], "{key}");
        let largest = metrics["strongest"].as_object().unwrap().values();
        let largest = largest.map(|it| it[0][1].as_f64().unwrap()).fold(0.0, f64::max);
        assert!((largest - wanted["largest"].as_f64().unwrap()).abs() < 1e-4, "{key}");
    }
}

#[test]
fn predictions_are_in_the_order_of_the_examples_and_score_reads_them() {
    let done = baseline("two").input_path("test", fixture("two_valid.jsonl")).run();
    let (found, examples) = (done.rows("valid"), rows("two_valid.jsonl"));
    assert_eq!(found, done.rows("predictions"));
    for (found, example) in found.iter().zip(&examples) {
        assert_eq!((&found["id"], &found["gold"]), (&example["id"], &example["label"]));
    }
    let answer: String = found
        .iter()
        .map(|row| format!("{},{}\n", row["id"].as_str().unwrap(), row["label"].as_str().unwrap()))
        .collect();
    assert_eq!(done.text("answer"), answer);
    let score = Run::new("score").input("valid", done.text("valid")).run().json("scores");
    let metrics = done.json("metrics");
    assert_eq!(score["valid"]["accuracy"], metrics["valid"]["accuracy"]);
    let difference = score["valid"]["positive"]["f1"].as_f64().unwrap()
        - metrics["valid"]["f1"].as_f64().unwrap();
    assert!(difference.abs() < 1e-12);
    let of_three = baseline("three").run();
    let score = Run::new("score").input("valid", of_three.text("valid")).run().json("scores");
    let valid = of_three.json("metrics")["valid"].take();
    assert_eq!((&score["valid"]["macro"]["f1"], valid.get("f1")), (&valid["macro_f1"], None));
    let positive = baseline("two").param("positive", "NO").run();
    let per_class = Run::new("score").input("valid", done.text("valid")).run().json("scores")["valid"]
        ["per_class"]
        .take();
    let found = positive.json("metrics")["valid"].take();
    assert_eq!(found["positive"], "NO");
    assert_eq!(found["f1"], per_class["NO"]["f1"]);
    let unknown = baseline("two").param("positive", "yes").run();
    assert!(unknown.error().starts_with("parameter `positive`: there is no label `yes`"));
    let of_three = baseline("three").param("positive", "YES").run();
    assert!(of_three.error().contains("cannot be positive: there are 3 labels"));
}

/// Rows whose label follows from a word of the text, or from a word of the context.
fn said(rows: usize, in_context: bool) -> String {
    let row = |index: usize| {
        let (label, word) = [("A", "good"), ("B", "bad")][index % 2];
        let noise = format!("it {} was {} then", index * 7 % 13, index * 5 % 11);
        let (text, turn) = if in_context { (&noise[..], word) } else { (word, &noise[..]) };
        json!({"id": index.to_string(), "label": label, "text": format!("so {text}"), "context": ["old", turn]})
    };
    (0..rows).map(|index| format!("{}\n", row(index))).collect()
}

fn embedding(train: &str) -> Run {
    Run::new("baseline").param("kind", "embedding").input("train", train).input("valid", train)
}

fn accuracy(done: &Done) -> f64 {
    done.json("metrics")["valid"]["accuracy"].as_f64().unwrap()
}

#[test]
fn embeddings_learn_the_label_of_a_word() {
    let done = embedding(&said(60, false)).run();
    assert_eq!(accuracy(&done), 1.0);
    let metrics = done.json("metrics");
    assert_eq!(metrics["kind"], "embedding");
    assert!(metrics["loss"].as_f64().unwrap() < 0.6);
}

/// Gradient descent written out: the loss is -ln softmax(W·mean of vectors) of the class.
fn embedding_by_hand(
    rows: &[Vec<u32>],
    of_rows: &[usize],
    training: EmbeddingParams,
    asked: &[u32],
) -> Vec<f64> {
    let EmbeddingParams { dimension, epochs, learning_rate, seed } = training;
    let mut first = vec![0.0_f32; 5 * dimension];
    Random::new(seed, "baseline vectors", 0, 0).fill_uniform(&mut first);
    let scaled = |it: &f32| (f64::from(*it) - 0.5) * 2.0 / dimension as f64;
    let mut vectors: Vec<Vec<f64>> =
        first.chunks(dimension).map(|row| row.iter().map(scaled).collect()).collect();
    let mut output = vec![vec![0.0; dimension]; 3];
    let forward = |vectors: &[Vec<f64>], output: &[Vec<f64>], row: &[u32]| {
        let mean: Vec<f64> = (0..dimension)
            .map(|i| row.iter().map(|f| vectors[*f as usize][i]).sum::<f64>() / row.len() as f64)
            .collect();
        let score = |class: &Vec<f64>| class.iter().zip(&mean).map(|(w, m)| w * m).sum::<f64>();
        let powers: Vec<f64> = output.iter().map(|class| score(class).exp()).collect();
        let sum: f64 = powers.iter().sum();
        (mean, powers.iter().map(|power| power / sum).collect::<Vec<f64>>())
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let steps = epochs as usize * rows.len();
    for step in 0..steps {
        if step % rows.len() == 0 {
            let epoch = (step / rows.len()) as u64;
            Random::new(seed, "baseline order", epoch, 0).shuffle(&mut order);
        }
        let row = order[step % rows.len()];
        let rate = learning_rate * (1.0 - step as f64 / steps as f64);
        let (mean, p) = forward(&vectors, &output, &rows[row]);
        let error: Vec<f64> =
            (0..3).map(|class| f64::from(u8::from(class == of_rows[row])) - p[class]).collect();
        for feature in &rows[row] {
            for i in 0..dimension {
                let slope: f64 = (0..3).map(|class| error[class] * output[class][i]).sum();
                vectors[*feature as usize][i] += rate * slope / rows[row].len() as f64;
            }
        }
        for class in 0..3 {
            (0..dimension).for_each(|i| output[class][i] += rate * error[class] * mean[i]);
        }
    }
    forward(&vectors, &output, asked).1
}

#[test]
fn embeddings_are_trained_by_descent_with_a_learning_rate_that_falls_to_0() {
    let rows = vec![vec![0, 1, 1], vec![2], vec![3, 4], vec![0, 4], vec![1, 2, 3, 4]];
    let of_rows = [0, 1, 2, 0, 1];
    let training = EmbeddingParams { dimension: 4, epochs: 30, learning_rate: 0.7, seed: 5 };
    let mut heard = 0;
    let (model, loss) =
        Embedding::fit(&rows, (&of_rows, 3), 5, training, |done| heard = done).unwrap();
    assert_eq!(heard, 150);
    assert!(loss < 0.9, "{loss}");
    for asked in [vec![0], vec![2, 3], vec![4, 4, 1]] {
        let wanted = embedding_by_hand(&rows, &of_rows, training, &asked);
        for (found, wanted) in model.probabilities(&asked).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-4, "{found}, not {wanted}");
        }
    }
}

#[test]
fn context_is_used_if_asked_for_and_kept_apart_from_the_response() {
    for kind in ["ngram", "embedding"] {
        let examples = said(60, true);
        let run = |context: Value| {
            let run = embedding(&examples).param("kind", kind).param("epochs", 40);
            accuracy(&run.param("context", context).run())
        };
        assert!(run(json!(0)) < 1.0, "{kind}");
        assert_eq!((run(json!(1)), run(json!("all"))), (1.0, 1.0), "{kind}");
    }
    let features = Features { words: 2, chars: (2, 3), buckets: 1 << 40 };
    let (response, context) =
        (features.of_text("response", "a b"), features.of_text("context", "a b"));
    // a, b, a b; <a, a>, <a>; <b, b>, <b>.
    assert_eq!(response.len(), 9);
    assert!(response.iter().all(|it| !context.contains(it)));
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed: u64| {
        let run = baseline("two").param("kind", "embedding").param("epochs", 2);
        run.param("seed", seed).run()
    };
    let first = run(1);
    for output in ["valid", "metrics"] {
        assert_eq!(first.text(output), run(1).text(output));
        assert_ne!(first.text(output), run(2).text(output));
    }
    assert_eq!(baseline("two").run().text("valid"), baseline("two").run().text("valid"));
}

#[test]
fn a_text_without_known_features_has_the_probabilities_of_no_features() {
    let train = said(40, false);
    let unknown = "{\"id\":\"x\",\"text\":\"\"}\n";
    for kind in ["ngram", "embedding"] {
        let done = Run::new("baseline").param("kind", kind).input("train", &train);
        let done = done.input("test", unknown).run();
        let row = &done.rows("predictions")[0];
        assert_eq!(row["label"], "A");
        let probability = row["probabilities"]["A"].as_f64().unwrap();
        assert!((probability - 0.5).abs() < 0.01, "{kind}: {probability}");
        assert_eq!(row["gold"], Value::Null);
    }
}

#[test]
fn unusable_training_data_is_refused() {
    let error = |train: &str| Run::new("baseline").input("train", train).run().error();
    let labelled = "{\"id\":\"1\",\"label\":\"A\",\"text\":\"a\"}\n";
    assert_eq!(error(labelled), "train.in: only the label `A`, expected at least two");
    assert_eq!(error(""), "train.in: holds no examples");
    assert_eq!(
        error(&format!("{labelled}\n{{\"id\":\"2\",\"text\":\"b\"}}\n")),
        "train.in, line 3: no label, and training needs one in every row"
    );
    let refused = |name: &str, value: u64| {
        baseline("two").param("char_ngrams", 3).param(name, value).check().unwrap_err()
    };
    assert_eq!(refused("char_ngrams_min", 4), "`char_ngrams_min` is 4, but `char_ngrams` is 3");
    let none = baseline("two").param("char_ngrams", 0).param("word_ngrams", 0).check();
    assert!(none.unwrap_err().ends_with("there would be no features"));
}

#[test]
fn the_minimum_of_a_narrow_valley_is_found() {
    // Rosenbrock's function in 20 variables.
    let function = |x: &[f64], gradient: &mut [f64]| {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len() - 1 {
            let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * a * a + b * b;
            gradient[i] += -400.0 * a * x[i] - 2.0 * b;
            gradient[i + 1] += 200.0 * a;
        }
        value
    };
    let mut random = Random::new(3, "test", 0, 0);
    let mut x: Vec<f64> = (0..20).map(|_| 0.5 + random.uniform_f64()).collect();
    let mut heard = 0;
    let limits = Limits { gradient: 1e-9, iterations: 1000 };
    let outcome = minimize(&mut x, function, limits, |number| heard = number + 1).unwrap();
    assert!(outcome.converged && outcome.iterations < 200, "{outcome:?}");
    assert_eq!(outcome.iterations, heard);
    assert!(x.iter().all(|it| (it - 1.0).abs() < 1e-8), "{x:?}");
    let mut from = vec![-1.2; 20];
    let few = Limits { gradient: 1e-9, iterations: 3 };
    assert!(!minimize(&mut from, function, few, |_| {}).unwrap().converged);
}

#[test]
fn a_function_that_is_not_finite_has_no_minimum() {
    let limits = Limits { gradient: 1e-9, iterations: 10 };
    for (value, slope) in [(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
        let function = |_: &[f64], gradient: &mut [f64]| {
            gradient.fill(slope);
            value
        };
        assert!(minimize(&mut [0.0; 2], function, limits, |_| {}).is_err(), "{value} {slope}");
    }
    // Finite where it starts, and nowhere else.
    let function = |x: &[f64], gradient: &mut [f64]| {
        gradient.fill(1.0);
        if x[0] == 0.0 { 1.0 } else { f64::NAN }
    };
    let failure = minimize(&mut [0.0], function, limits, |_| {}).unwrap_err();
    assert!(failure.iteration == 0 && failure.value.is_nan());
}

#[test]
fn a_training_that_diverges_is_refused_and_writes_nothing() {
    let run = || embedding(&said(60, false)).param("learning_rate", 100.0).param("epochs", 200);
    let done = run().input("test", said(4, false)).run();
    assert!(done.error().starts_with("training diverged at example "), "{}", done.error());
    assert!(done.error().ends_with(": the loss is NaN"), "{}", done.error());
    assert_eq!(done.result.as_ref().unwrap_err().hint().as_deref(), Some("lower `learning_rate`"));
    assert!(done.written().is_empty(), "{:?}", done.written());
}
