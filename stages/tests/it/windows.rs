//! Windows of long texts through training, `predict` and `classify`: the logits of a text are pooled
//! from those of its windows, its windows weigh as much as one, and every count is of texts.

#![cfg(feature = "model")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stages::Params;
use stages::builtin::classify::TextClassifier;
use stages::data::example::Example;
use stages::data::token_file::{Sequence, TokenInfo};
use stages::data::token_labels::Gold;
use stages::data::token_writer::TokenWriter;
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, load};
use stages::model::noise::Noise;
use stages::train::binary_loss::BinaryLoss;
use stages::train::loss::{Loss, MicroBatch};
use stages::train::step::gradients;
use stages::train::task_loss::{TaskBatch, TaskLoss};
use tempfile::TempDir;

use crate::harness::{Done, Run};
use crate::reference::{assert_close, copy_of, device, device_name, fixture, options};

/// The ids of each window of some texts.
type Texts = Vec<Vec<Vec<u32>>>;

/// Texts of 1 to 4 windows of up to 8 tokens, no two with the same length.
fn texts(count: usize) -> Texts {
    let window = |text: usize, at: usize| {
        let inner =
            (0..2 + (text + at) % 5).map(|token| 5 + ((text * 7 + at * 3 + token) % 50) as u32);
        std::iter::once(2).chain(inner).chain([3]).collect()
    };
    (0..count).map(|text| (0..1 + text % 4).map(|at| window(text, at)).collect()).collect()
}

/// Writes a token file for the tiny BERT. Each text has a label and the id `text N`.
fn tokens(
    folder: &Path,
    name: &str,
    texts: &Texts,
    labels: &[&str],
    gold: impl Fn(usize) -> Gold,
) -> PathBuf {
    let mut writer = TokenWriter::new(folder).unwrap();
    for (number, text) in texts.iter().enumerate() {
        let sequence = |ids: &Vec<u32>| Sequence { ids: ids.clone(), types: vec![0; ids.len()] };
        let windows: Vec<Sequence> = text.iter().map(sequence).collect();
        writer.push_windows(&windows, gold(number), &format!("text {number}")).unwrap();
    }
    let path = folder.join(name);
    let label_names = labels.iter().map(|label| (*label).to_owned()).collect();
    let (vocab_size, max_length, stride) = (60, 8, Some(2));
    let info =
        TokenInfo { label_names, pad_id: 0, vocab_size, max_length, stride, tokenizer: None };
    writer.finish(&path, &info).unwrap();
    path
}

/// Every window as a text of its own.
fn apart(texts: &Texts) -> Texts {
    texts.iter().flatten().map(|window| vec![window.clone()]).collect()
}

const TASKS: [(&str, &[&str]); 3] =
    [("single", &["no", "yes"]), ("multi", &["a", "b", "c"]), ("regression", &[])];

fn gold(task: &'static str) -> impl Fn(usize) -> Gold {
    move |text| match task {
        "single" => Gold::Class(text % 2),
        "multi" => Gold::Classes((0..3).filter(|label| (text + label).is_multiple_of(2)).collect()),
        _ => Gold::Number(text as f64 / 8.0),
    }
}

fn finetune(train: PathBuf, valid: PathBuf) -> Run {
    Run::new("finetune")
        .input_path("model", fixture("bert"))
        .input_path("train", train)
        .input_path("valid", valid)
        .param("epochs", 2)
        .param("batch_size", 4)
        .param("learning_rate", 0.01)
        .device(device_name())
}

fn predict(model: &Path, test: &Path) -> Run {
    Run::new("predict")
        .input_path("model", model.to_owned())
        .input_path("test", test.to_owned())
        .device(device_name())
}

/// The logits behind the predictions, up to a constant of each text: of a number the number, of
/// several labels those of each, of two labels the difference of the two.
fn logits(row: &Value) -> Vec<f64> {
    if let Some(number) = row["label"].as_f64() {
        return vec![number];
    }
    let probabilities: Vec<f64> =
        row["probabilities"].as_object().unwrap().values().map(|it| it.as_f64().unwrap()).collect();
    match probabilities[..] {
        [no, yes] => vec![(yes / no).ln()],
        _ => probabilities.iter().map(|it| (it / (1.0 - it)).ln()).collect(),
    }
}

/// Trains on windows and validates with them.
fn trained(folder: &TempDir, task: &'static str, labels: &[&str], pooling: &str) -> Done {
    let texts = texts(20);
    let train = tokens(folder.path(), "train", &texts, labels, gold(task));
    let valid = tokens(folder.path(), "valid", &texts[3..12].to_vec(), labels, gold(task));
    finetune(train, valid).param("window_pooling", pooling).run()
}

#[test]
fn the_logits_of_a_text_are_the_mean_or_the_largest_of_its_windows() {
    for (task, labels) in TASKS {
        let folder = tempfile::tempdir().unwrap();
        let done = trained(&folder, task, labels, "mean");
        let model = done.path("model");
        let texts = texts(11);
        let whole = tokens(folder.path(), "whole", &texts, labels, gold(task));
        let each = tokens(folder.path(), "each", &apart(&texts), labels, |_| Gold::None);
        let each = predict(&model, &each).run().rows("predictions");
        let each: Vec<Vec<f64>> = each.iter().map(logits).collect();
        for pooling in ["auto", "mean", "max"] {
            // The largest logit of each class does not give the difference of two.
            if (task, pooling) == ("single", "max") {
                continue;
            }
            let done = predict(&model, &whole).param("window_pooling", pooling).run();
            let rows = done.rows("predictions");
            assert_eq!(rows.len(), texts.len());
            let mut first = 0;
            for (number, (row, text)) in rows.iter().zip(&texts).enumerate() {
                assert_eq!(row["id"], format!("text {number}"));
                let windows = &each[first..first + text.len()];
                first += text.len();
                let of = |at: usize| windows.iter().map(move |window| window[at]);
                let expected = (0..windows[0].len()).map(|at| match pooling {
                    "max" => of(at).fold(f64::MIN, f64::max),
                    _ => of(at).sum::<f64>() / text.len() as f64,
                });
                for (found, expected) in logits(row).iter().zip(expected) {
                    assert!((found - expected).abs() < 2e-4, "{task} {pooling}: {row}");
                }
            }
        }
    }
}

#[test]
fn the_loss_of_windows_is_that_of_their_shares_by_hand() {
    // All as long, so that dropout is the same wherever a window is.
    let windows: Vec<Vec<u32>> =
        (0..10).map(|window| vec![2, 5 + window, 20 + window % 3, 40 - window, 3]).collect();
    // Texts of 1, 2, 3 and 4 windows.
    let rows: Vec<usize> = (0..4).flat_map(|text| vec![text; text + 1]).collect();
    let weights: Vec<f64> = rows.iter().map(|text| 1.0 / (text + 1) as f64).collect();
    let ids: Vec<Vec<i32>> =
        windows.iter().map(|ids| ids.iter().map(|id| *id as i32).collect()).collect();
    let part = |of: std::ops::Range<usize>, weights: Vec<f64>, task: &TaskLoss| {
        let mut classes = Vec::new();
        let mut targets = Vec::new();
        for text in &rows[of.clone()] {
            match task {
                TaskLoss::Single(_) => classes.push((text % 2) as i32),
                TaskLoss::Multi(_) => targets.extend([(text % 2) as f32, 1.0]),
                TaskLoss::Regression => targets.extend([*text as f32, 1.0]),
            }
        }
        let batch = Batch::new(ids[of.clone()].iter().map(|ids| (&ids[..], None)), 0);
        TaskBatch { micro: MicroBatch { batch, classes, weights, first_row: of.start }, targets }
    };
    let class_weights = Loss { class_weights: vec![0.5, 2.0], label_smoothing: 0.1, r_drop: 0.0 };
    for task in [
        TaskLoss::Single(class_weights),
        TaskLoss::Single(Loss { r_drop: 1.0, ..Loss::default() }),
        TaskLoss::Multi(BinaryLoss { positive_weights: vec![0.5, 3.0] }),
        TaskLoss::Regression,
    ] {
        let loss_of = |parts: &[TaskBatch]| {
            let folder = fixture("bert");
            let rates = DropoutRates { hidden: 0.3, ..DropoutRates::NONE };
            let options = LoadOptions { rates, ..options(HeadSource::Checkpoint) };
            let config = ModelConfig::read(&folder).unwrap();
            let loaded = load(&folder, &config, &options, &device().autodiff());
            let noise = |first_row, pass| Some(Noise::new(5, 3, first_row, pass));
            let mut model = loaded.unwrap().model;
            let (loss, gradients) = gradients(&mut model, parts, 1, &task, noise);
            let mut all = loss.try_into_vec_as::<f32>().unwrap();
            for gradient in gradients.into_iter().flatten() {
                all.extend(gradient.into_matrix().try_into_vec_as::<f32>().unwrap());
            }
            all
        };
        // One window weighs 1 by itself. Of classes with weights it weighs that of its class.
        let class_weight = |window: usize| match &task {
            TaskLoss::Single(loss) => loss.weight((rows[window] % 2) as i32),
            _ => 1.0,
        };
        let share = |window: usize| weights[window] * class_weight(window);
        let total: f64 = (0..windows.len()).map(share).sum();
        let mut expected: Vec<f32> = Vec::new();
        for window in 0..windows.len() {
            let alone = loss_of(&[part(window..window + 1, Vec::new(), &task)]);
            expected.resize(alone.len(), 0.0);
            let factor = (share(window) / total) as f32;
            expected.iter_mut().zip(alone).for_each(|(sum, value)| *sum += factor * value);
        }
        let whole = loss_of(&[part(0..windows.len(), weights.clone(), &task)]);
        assert_close("loss and gradients", &whole, &expected, 1e-4);
        let cut =
            [part(0..4, weights[..4].to_vec(), &task), part(4..10, weights[4..].to_vec(), &task)];
        assert_close("of two parts", &loss_of(&cut), &expected, 1e-4);
    }
}

#[test]
fn a_text_repeated_in_several_windows_trains_like_the_text_alone() {
    for (task, labels) in TASKS {
        for freeze in ["none", "all"] {
            let folder = tempfile::tempdir().unwrap();
            let alone = apart(&texts(16));
            let (even, odd) = (alone.len() / 2, alone.len());
            let repeated: Texts = alone
                .iter()
                .enumerate()
                .map(|(n, text)| vec![text[0].clone(); 1 + n % 3])
                .collect();
            let metrics = |texts: &Texts| {
                let train =
                    tokens(folder.path(), "train", &texts[..even].to_vec(), labels, gold(task));
                let valid =
                    tokens(folder.path(), "valid", &texts[even..odd].to_vec(), labels, gold(task));
                let run = finetune(train, valid).param("dropout", 0.0);
                let run = run.param("attention_dropout", 0.0).param("classifier_dropout", 0.0);
                // One batch, because batches are of texts with about as many tokens.
                let done = run.param("batch_size", 100).param("freeze", freeze).run();
                let rows = done.rows("metrics");
                let config = std::fs::read_to_string(done.path("model").join("config.json"));
                assert!(config.unwrap().contains("\"window_stride\": 2"));
                rows
            };
            for (one, many) in metrics(&alone).iter().zip(metrics(&repeated)) {
                for (name, value) in one.as_object().unwrap() {
                    let (value, other) = (value.as_f64().unwrap(), many[name].as_f64().unwrap());
                    assert!((value - other).abs() < 2e-4, "{task} {freeze} {name}: {one} {many}");
                }
            }
        }
    }
}

#[test]
fn steps_and_figures_count_texts() {
    let folder = tempfile::tempdir().unwrap();
    let done = trained(&folder, "single", &["no", "yes"], "max");
    let rows = done.rows("metrics");
    assert_eq!((&rows[0]["steps"], &rows[1]["steps"]), (&json!(5), &json!(10)), "20 texts by 4");
    // `predict` goes by the model folder, which says how the validation pooled.
    let valid = folder.path().join("valid");
    let found = predict(&done.path("model"), &valid).run().rows("predictions");
    let right = found.iter().filter(|row| row["label"] == row["gold"]).count();
    let accuracy = rows[1]["valid_accuracy"].as_f64().unwrap();
    assert!((accuracy - right as f64 / 9.0).abs() < 1e-12, "{accuracy}, {right} of 9");
    let loss =
        |row: &Value| -row["probabilities"][row["gold"].as_str().unwrap()].as_f64().unwrap().ln();
    let mean = found.iter().map(loss).sum::<f64>() / 9.0;
    assert!((rows[1]["valid_loss"].as_f64().unwrap() - mean).abs() < 1e-5);
    let run = predict(&done.path("model"), &valid).param("window_pooling", "mean");
    assert_ne!(run.run().rows("predictions"), found);
}

#[test]
fn a_model_of_windows_says_so_and_misses_them() {
    let folder = tempfile::tempdir().unwrap();
    let done = trained(&folder, "single", &["no", "yes"], "max");
    let text = std::fs::read_to_string(done.path("model").join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let keys = ["window_length", "window_stride", "window_pooling"].map(|key| &config[key]);
    assert_eq!(keys, [&json!(8), &json!(2), &json!("max")]);
    let windows = predict(&done.path("model"), &folder.path().join("valid")).run();
    assert_eq!(windows.warnings(), Vec::<&str>::new());
    // A token file without windows, of the same tokenizer.
    let path = folder.path().join("cut");
    let mut writer = TokenWriter::new(folder.path()).unwrap();
    let sequence = Sequence { ids: vec![2, 5, 3], types: vec![0; 3] };
    writer.push(&sequence, Gold::None, "cut").unwrap();
    let info = TokenInfo {
        label_names: Vec::new(),
        pad_id: 0,
        vocab_size: 60,
        max_length: 8,
        stride: None,
        tokenizer: None,
    };
    writer.finish(&path, &info).unwrap();
    let cut = predict(&done.path("model"), &path).run();
    let [warning] = cut.warnings()[..] else { panic!("{:?}", cut.warnings()) };
    assert!(warning.ends_with("`max_length: 8` and `window_stride: 2`"), "{warning}");
}

/// A folder with the tiny BERT and a vocabulary of letters, whose tokenizer it has.
fn with_letters() -> TempDir {
    let folder = copy_of("bert");
    let letters = ('a'..='z').map(|it| it.to_string());
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let vocabulary: Vec<String> = special.into_iter().chain(letters).collect();
    std::fs::write(folder.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
    folder
}

fn example(number: usize, letters: usize) -> Example {
    let letter = |at: usize| char::from(b'a' + ((number * 5 + at * at) % 26) as u8).to_string();
    let text = (0..letters).map(letter).collect::<Vec<_>>().join(" ");
    Example { id: format!("e{number}"), text, ..Example::default() }
}

fn params(stage: &str, given: &[(&str, Value)]) -> Params {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Params::resolve(stages::find(stage).unwrap().params(), &given).unwrap()
}

#[test]
fn classify_and_predict_give_long_texts_the_same_answers() {
    let model = with_letters();
    let examples: Vec<Example> = (0..9).map(|number| example(number, number * 6)).collect();
    let lines: String =
        examples.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
    let given = [("max_length", json!(10)), ("window_stride", json!(3))];
    let run = Run::new("tokenize").input_path("model", model.path().to_owned());
    let run = given.iter().fold(run, |run, (name, value)| run.param(name, value.clone()));
    let done = run.input("test", &lines).run();
    let report = done.json("report");
    let counts = &report["inputs"]["test"];
    assert_eq!((&counts["rows"], &counts["truncated_rows"]), (&json!(9), &json!(0)));
    assert_eq!(counts["windows"], json!(1 + 1 + 2 + 3 + 5 + 6 + 7 + 8 + 9));
    for pooling in ["mean", "max"] {
        let rows = predict(model.path(), &done.path("test")).param("window_pooling", pooling);
        let rows = rows.run().rows("predictions");
        let predict = params("predict", &[("window_pooling", json!(pooling))]);
        let classifier =
            TextClassifier::open(model.path(), &params("tokenize", &given), &predict, "cpu");
        let (found, cut) = classifier.unwrap().classify(&examples).unwrap();
        assert_eq!(cut, 0);
        for (row, found) in rows.iter().zip(&found) {
            assert_eq!((&row["id"], &row["label"]), (&json!(found.id), &json!(found.label)));
            for (label, probability) in &found.probabilities {
                let other = row["probabilities"][label].as_f64().unwrap();
                assert!((probability - other).abs() < 1e-5, "{row} {found:?}");
            }
        }
    }
}

#[test]
fn texts_that_fit_have_the_bytes_that_they_have_without_windows() {
    let model = with_letters();
    let lines: String = (0..40)
        .map(|number| {
            let mut example = example(number, number % 8);
            example.label = Some(["no", "yes"][number % 2].into());
            serde_json::to_string(&example).unwrap() + "\n"
        })
        .collect();
    let answers = |stride: Option<i64>| {
        let run = Run::new("tokenize").input_path("model", model.path().to_owned());
        let run = run.param("max_length", 10).param("window_stride", stride);
        let tokens = run.input("train", &lines).run();
        let done = finetune(tokens.path("train"), tokens.path("train")).run();
        let predicted = predict(&done.path("model"), &tokens.path("train")).run();
        (
            done.bytes("metrics"),
            done.bytes("model/model.safetensors"),
            predicted.bytes("predictions"),
        )
    };
    assert!(answers(None) == answers(Some(2)), "windows change texts that fit");
}

#[test]
fn a_text_of_several_windows_has_no_token_weights() {
    let model = with_letters();
    let given = [("max_length", json!(10)), ("window_stride", json!(3))];
    let (tokenize, predict) = (params("tokenize", &given), params("predict", &[]));
    let classifier = TextClassifier::open(model.path(), &tokenize, &predict, "cpu").unwrap();
    assert_eq!(classifier.weights(&example(1, 8)).unwrap().len(), 8);
    assert_eq!(classifier.weights(&example(1, 9)).unwrap().len(), 0);
}
