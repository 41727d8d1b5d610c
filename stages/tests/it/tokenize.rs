//! The stage `tokenize`, from example files to token files.

mod encoders;
mod files;
mod parity;
mod sentencepiece;
mod windows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stages::builtin::tokenize::Tokenize;
use stages::data::token_file::TokenFile;
use stages::{Events, Manifest, Params, Stage, StageError};
use tempfile::TempDir;

use crate::harness::Run;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenize")
}

/// A temporary folder with a model and examples, in which the stage runs.
struct Bench {
    folder: TempDir,
    inputs: BTreeMap<String, PathBuf>,
    params: BTreeMap<String, Value>,
    threads: usize,
}

impl Bench {
    /// Copies the named files of a fixture's model, and its `config.json`.
    fn new(family: &str, files: &[&str]) -> Bench {
        let folder = TempDir::new().unwrap();
        let model = folder.path().join("model");
        fs::create_dir(&model).unwrap();
        for name in files.iter().chain(&["config.json"]) {
            fs::copy(fixtures().join(family).join(name), model.join(name)).unwrap();
        }
        let inputs = BTreeMap::from([("model".to_owned(), model)]);
        Bench { folder, inputs, params: BTreeMap::new(), threads: 2 }
    }

    fn bert() -> Bench {
        Bench::new("wordpiece", &["vocab.txt"])
    }

    fn roberta() -> Bench {
        Bench::new("bpe", &["vocab.json", "merges.txt", "special_tokens_map.json"])
    }

    fn lines(mut self, input: &str, lines: &str) -> Bench {
        let path = self.folder.path().join(format!("{input}.jsonl"));
        fs::write(&path, lines).unwrap();
        self.inputs.insert(input.to_owned(), path);
        self
    }

    fn rows(self, input: &str, rows: &[Value]) -> Bench {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        self.lines(input, &lines)
    }

    fn param(mut self, name: &str, value: impl Into<Value>) -> Bench {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    fn threads(mut self, threads: usize) -> Bench {
        self.threads = threads;
        self
    }

    /// Writes a file into the model's folder.
    fn model_file(self, name: &str, contents: impl AsRef<[u8]>) -> Bench {
        fs::write(self.model().join(name), contents).unwrap();
        self
    }

    fn model(&self) -> &Path {
        &self.inputs["model"]
    }

    fn output(&self, name: &str) -> PathBuf {
        let spec = Tokenize.outputs().iter().find(|spec| spec.name == name).unwrap();
        self.folder.path().join("out").join(spec.file)
    }

    fn try_run(&self) -> Result<(), StageError> {
        let out = self.folder.path().join("out");
        fs::create_dir_all(&out).unwrap();
        let wired = |name: &&str| self.inputs.contains_key(*name);
        let manifest = Manifest {
            stage: "tokenize".to_owned(),
            uses: "tokenize".to_owned(),
            version: Tokenize.version(),
            params: Params::resolve(Tokenize.params(), &self.params).unwrap(),
            inputs: self.inputs.clone(),
            outputs: ["train", "valid", "test"]
                .iter()
                .filter(|name| wired(name))
                .chain(&["report"])
                .map(|name| ((*name).to_owned(), self.output(name)))
                .collect(),
            state: self.folder.path().join("state"),
            device: "cpu".to_owned(),
            threads: self.threads,
        };
        stages::builtin::run(&manifest, &Events::discard())
    }

    #[track_caller]
    fn run(self) -> Bench {
        if let Err(error) = self.try_run() {
            panic!("{error}");
        }
        self
    }

    #[track_caller]
    fn error(self) -> String {
        let error = self.try_run().unwrap_err().to_string();
        let left: Vec<_> = fs::read_dir(self.folder.path().join("out")).unwrap().collect();
        assert!(left.is_empty(), "a failed run left {left:?}");
        error.replace(self.folder.path().to_str().unwrap(), "")
    }

    #[track_caller]
    fn tokens(&self, name: &str) -> TokenFile {
        TokenFile::open(&self.output(name)).unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.output("report")).unwrap()).unwrap()
    }
}

fn row(text: &str) -> Value {
    json!({"id": "1", "text": text, "context": [], "line": 1})
}

fn turn_row(context: &[&str], text: &str) -> Value {
    json!({"id": "1", "text": text, "context": context, "line": 1})
}

fn labelled(label: &str) -> Value {
    json!({"id": label, "label": label, "text": "the train", "context": [], "line": 1})
}

#[test]
fn rows_keep_their_order_ids_and_labels() {
    let rows: Vec<Value> = (0..5_000)
        .map(|number| {
            let label = ["no", "yes"][number % 2];
            let text = "so late ".repeat(number % 5);
            json!({"id": format!("té{number}"), "label": label, "text": text, "context": []})
        })
        .collect();
    let bench = Bench::bert().rows("train", &rows).run();
    let tokens = bench.tokens("train");
    assert_eq!(tokens.rows(), 5_000);
    assert_eq!(tokens.label_names(), ["no", "yes"]);
    for number in 0..5_000 {
        assert_eq!(tokens.id(number), format!("té{number}"));
        assert_eq!(tokens.label(number), Some(number % 2));
        assert_eq!(tokens.length(number), tokens.length(number % 5));
    }
    assert_eq!(tokens.length(0), 2);
    assert_eq!(tokens.longest(), tokens.length(4));
    assert_eq!((tokens.max_length(), tokens.pad_id()), (512, 0));
}

#[test]
fn outputs_are_the_same_bytes_for_any_number_of_threads() {
    let texts: Vec<String> =
        serde_json::from_slice(&fs::read(fixtures().join("texts.json")).unwrap()).unwrap();
    let rows: Vec<Value> = (0..5_000).map(|number| row(&texts[number * 7 % texts.len()])).collect();
    let bytes = |threads| {
        let bench = Bench::roberta().rows("test", &rows).threads(threads).run();
        (fs::read(bench.output("test")).unwrap(), fs::read(bench.output("report")).unwrap())
    };
    let one = bytes(1);
    assert!(one == bytes(1), "two runs differ");
    assert!(one == bytes(4), "one and four threads differ");
}

#[test]
fn empty_text_has_special_tokens_only() {
    let bench = Bench::roberta().rows("test", &[row(""), turn_row(&[""], "")]);
    let bench = bench.param("context", "all").run();
    let tokens = bench.tokens("test");
    assert_eq!(tokens.ids(0), [0, 2]);
    assert_eq!(tokens.ids(1), [0, 2]);
    assert_eq!(tokens.label(0), None);
}

#[test]
fn empty_file_gives_empty_tokens() {
    let bench = Bench::roberta().lines("train", "").run();
    assert_eq!((bench.tokens("train").rows(), bench.tokens("train").longest()), (0, 0));
}

#[test]
fn labels_default_to_those_of_train_and_keep_a_given_order() {
    let bench = |params: &[&str]| {
        let rows = [labelled("b"), labelled("a")];
        let bench = Bench::bert().rows("train", &rows).rows("test", &[labelled("b")]);
        bench.param("labels", params).run()
    };
    assert_eq!(bench(&[]).tokens("test").label(0), Some(1));
    assert_eq!(bench(&["b", "a"]).tokens("test").label(0), Some(0));
    assert_eq!(bench(&["c", "b", "a"]).tokens("train").label_names(), ["c", "b", "a"]);
}

#[test]
fn unknown_label_is_refused_with_place_and_nearest() {
    let rows = [labelled("SARCASM"), labelled("NOT_SARCASM")];
    let bench = Bench::bert().rows("train", &rows).rows("test", &[row("x"), labelled("Sarcsm")]);
    assert_eq!(
        bench.error_after_train(),
        "/test.jsonl, line 2: label `Sarcsm` is not one of NOT_SARCASM, SARCASM; \
         did you mean `SARCASM`?"
    );
    let bench = Bench::bert().rows("train", &rows).rows("test", &[labelled("joke")]);
    let error = bench.error_after_train();
    assert_eq!(error, "/test.jsonl, line 1: label `joke` is not one of NOT_SARCASM, SARCASM");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_example() {
    let bench = Bench::bert().lines("test", "\u{feff}{\"id\":\"1\",\"text\":\"the\"}\n").run();
    assert_eq!(bench.tokens("test").id(0), "1");
}

#[test]
fn a_line_too_long_for_an_example_is_named() {
    let long = row(&"x".repeat(16 << 20)).to_string();
    let error = Bench::bert().lines("test", &format!("{}\n{long}\n", row("x"))).error();
    assert_eq!(error, "/test.jsonl, line 2: longer than 16 MiB");
}

impl Bench {
    /// As [`Bench::error`], when the output of an earlier input has been written already.
    #[track_caller]
    fn error_after_train(self) -> String {
        let error = self.try_run().unwrap_err().to_string();
        assert!(!self.output("test").exists() && !self.output("report").exists());
        error.replace(self.folder.path().to_str().unwrap(), "")
    }
}

#[test]
fn malformed_line_is_named_and_nothing_is_left() {
    let bench = Bench::bert().lines("test", "{\"id\":\"1\",\"text\":\"a\"}\n\n{\"id\":\"2\"}\n");
    let error = bench.error();
    assert!(error.starts_with("/test.jsonl, line 3: no field `text`"), "{error}");
    assert!(error.contains("there are `id`"), "{error}");
    let bench = Bench::bert().lines("test", "{\"id\":\"1\",\"text\":5}\n");
    assert!(bench.error().contains("line 1"));
}

#[test]
fn max_length_beyond_the_model_is_refused() {
    let bench = Bench::bert().rows("test", &[row("x")]).param("max_length", 513);
    assert_eq!(bench.error(), "parameter `max_length`: is 513, the model takes 512 tokens at most");
}

#[test]
fn id_beyond_the_models_vocabulary_is_refused() {
    let bench = Bench::bert().rows("test", &[row("the [MASK]")]);
    let config = json!({"model_type": "bert", "vocab_size": 4});
    fs::write(bench.model().join("config.json"), config.to_string()).unwrap();
    let error = bench.error();
    assert!(error.contains("the model's `vocab_size` is 4"), "{error}");
}

#[test]
fn wiring_no_examples_or_a_label_twice_is_refused() {
    let params = |labels: &[&str]| {
        let given = BTreeMap::from([("labels".to_owned(), json!(labels))]);
        Params::resolve(Tokenize.params(), &given).unwrap()
    };
    assert!(Tokenize.check(&params(&[]), &["model", "test"]).is_ok());
    let error = Tokenize.check(&params(&[]), &["model"]).unwrap_err();
    assert_eq!(error.message, "`tokenize` needs an input of examples: `train`, `valid` or `test`");
    let error = Tokenize.check(&params(&["a", "b", "a"]), &["model", "test"]).unwrap_err();
    assert_eq!(error.message, "label `a` is listed twice");
}

/// The tokens of one row, as the vocabulary writes them.
fn tokens_of(bench: Bench) -> String {
    let bench = bench.run();
    let config = stages::model::config::ModelConfig::read(bench.model()).unwrap();
    let tokenizer = stages::text::TextTokenizer::open(bench.model(), config.family).unwrap();
    let ids: Vec<u32> = bench.tokens("test").ids(0).iter().map(|id| *id as u32).collect();
    let texts: Vec<String> = ids.iter().map(|id| tokenizer.token_text(*id).unwrap()).collect();
    texts.join(" ")
}

#[test]
fn last_turns_of_context_go_with_the_response() {
    let bench = || Bench::bert().rows("test", &[turn_row(&["late", "queue", "wait"], "sure")]);
    let tokens = |context: Value| tokens_of(bench().param("context", context));
    assert_eq!(tokens(json!(0)), "[CLS] sure [SEP]");
    assert_eq!(tokens(json!(1)), "[CLS] wait [SEP] sure [SEP]");
    assert_eq!(tokens(json!(2)), "[CLS] queue wait [SEP] sure [SEP]");
    assert_eq!(tokens(json!(9)), tokens(json!("all")));
    let joined = bench().param("context", 2).param("context_mode", "joined");
    assert_eq!(tokens_of(joined), "[CLS] queue wait sure [SEP]");
    let marked = bench().param("context", "all").param("turn_separator", " [SEP] ");
    assert_eq!(tokens_of(marked), "[CLS] late [SEP] queue [SEP] wait [SEP] sure [SEP]");
}

#[test]
fn oldest_turns_are_dropped_first_and_the_response_is_truncated_last() {
    let bench = |length: u32, side: &str| {
        let turns = ["late", "queue sure", "wait said"];
        let bench = Bench::bert().rows("test", &[turn_row(&turns, "the train hours")]);
        let bench = bench.param("context", "all").param("truncate", side);
        bench.param("max_length", length)
    };
    let whole = "[CLS] late queue sure wait said [SEP] the train hours [SEP]";
    assert_eq!(tokens_of(bench(11, "right")), whole);
    let without_oldest = "[CLS] queue sure wait said [SEP] the train hours [SEP]";
    assert_eq!(tokens_of(bench(10, "right")), without_oldest);
    let newest = "[CLS] wait said [SEP] the train hours [SEP]";
    assert_eq!(tokens_of(bench(9, "right")), newest);
    assert_eq!(tokens_of(bench(8, "right")), newest);
    assert_eq!(tokens_of(bench(7, "right")), "[CLS] wait [SEP] the train hours [SEP]");
    assert_eq!(tokens_of(bench(7, "left")), "[CLS] said [SEP] the train hours [SEP]");
    assert_eq!(tokens_of(bench(6, "right")), "[CLS] the train hours [SEP]");
    assert_eq!(tokens_of(bench(4, "right")), "[CLS] the train [SEP]");
    assert_eq!(tokens_of(bench(4, "left")), "[CLS] train hours [SEP]");
}

#[test]
fn the_response_can_come_first() {
    let bench = || Bench::bert().rows("test", &[turn_row(&["late", "queue", "wait"], "sure")]);
    let tokens = |mode: &str| {
        let bench = bench().param("context", 2).param("context_mode", mode);
        tokens_of(bench.param("response", "first"))
    };
    assert_eq!(tokens("pair"), "[CLS] sure [SEP] queue wait [SEP]");
    assert_eq!(tokens("joined"), "[CLS] sure queue wait [SEP]");
}

#[test]
fn sep_between_turns_is_the_separator_token_of_each_tokenizer() {
    let turns = ["late", "queue"];
    let marked = |bench: Bench| {
        let bench = bench.rows("test", &[turn_row(&turns, "sure")]).param("context", "all");
        bench.param("turn_separator", "sep").run()
    };
    let bench = marked(Bench::bert());
    let types: Vec<u8> = bench.tokens("test").types(0).unwrap().to_vec();
    assert_eq!(tokens_of(bench), "[CLS] late [SEP] queue [SEP] sure [SEP]");
    assert_eq!(types, [0, 0, 0, 0, 0, 1, 1]);
    let bertweet = || Bench::new("bertweet", &["vocab.txt", "bpe.codes"]);
    let mpnet = || Bench::new("mpnet", &["vocab.txt"]);
    for bench in [Bench::roberta(), bertweet(), mpnet()] {
        let config = stages::model::config::ModelConfig::read(bench.model()).unwrap();
        let tokenizer = stages::text::TextTokenizer::open(bench.model(), config.family).unwrap();
        let sep = tokenizer.special_ids().sep.unwrap();
        let ids = |text: &str| tokenizer.ids(text).unwrap();
        let context = [ids("late"), vec![sep], ids("queue")].concat();
        let wanted = tokenizer.layout().pair(&context, &ids("sure")).ids;
        let found = marked(bench);
        let found: Vec<u32> = found.tokens("test").ids(0).iter().map(|id| *id as u32).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn the_end_of_a_turn_that_does_not_fit_whole_fills_the_room() {
    let bench = |length: u32, mode: &str| {
        let turns = ["late", "queue sure", "wait said"];
        let bench = Bench::bert().rows("test", &[turn_row(&turns, "the train hours")]);
        let bench = bench.param("context", "all").param("context_mode", mode);
        tokens_of(bench.param("partial_turn", true).param("max_length", length))
    };
    let pair = |length| bench(length, "pair");
    assert_eq!(pair(11), "[CLS] late queue sure wait said [SEP] the train hours [SEP]");
    assert_eq!(pair(9), "[CLS] sure wait said [SEP] the train hours [SEP]");
    assert_eq!(pair(8), "[CLS] wait said [SEP] the train hours [SEP]");
    assert_eq!(pair(7), "[CLS] said [SEP] the train hours [SEP]");
    assert_eq!(pair(6), "[CLS] the train hours [SEP]");
    assert_eq!(pair(4), "[CLS] the train [SEP]");
    let joined = |length| bench(length, "joined");
    assert_eq!(joined(10), "[CLS] late queue sure wait said the train hours [SEP]");
    assert_eq!(joined(8), "[CLS] sure wait said the train hours [SEP]");
    assert_eq!(joined(6), "[CLS] said the train hours [SEP]");
}

#[test]
fn a_response_joined_to_its_context_is_truncated_last_too() {
    let bench = |length: u32, response: &str| {
        let turns = ["late", "queue sure", "wait said"];
        let bench = Bench::bert().rows("test", &[turn_row(&turns, "the train hours")]);
        let bench = bench.param("context", "all").param("context_mode", "joined");
        bench.param("response", response).param("max_length", length)
    };
    let last = |length| tokens_of(bench(length, "last"));
    assert_eq!(last(10), "[CLS] late queue sure wait said the train hours [SEP]");
    assert_eq!(last(9), "[CLS] queue sure wait said the train hours [SEP]");
    assert_eq!(last(8), "[CLS] wait said the train hours [SEP]");
    assert_eq!(last(6), "[CLS] wait the train hours [SEP]");
    assert_eq!(last(5), "[CLS] the train hours [SEP]");
    assert_eq!(last(4), "[CLS] the train [SEP]");
    let first = |length| tokens_of(bench(length, "first"));
    assert_eq!(first(9), "[CLS] the train hours queue sure wait said [SEP]");
    assert_eq!(first(6), "[CLS] the train hours wait [SEP]");
    let counts = bench(8, "last").run().report()["inputs"]["test"].clone();
    assert_eq!((&counts["truncated_tokens"], &counts["dropped_turns"]), (&json!(3), &json!(2)));
}

#[test]
fn report_counts_lost_tokens_and_dropped_turns() {
    let rows = [
        turn_row(&["late late", "wait"], "the train"),
        row("the train hours queue \u{7b}\u{0bf5}"),
    ];
    let bench = Bench::bert().rows("test", &rows).param("context", "all").param("max_length", 6);
    let report = bench.run().report();
    let counts = &report["inputs"]["test"];
    // The first row is [CLS] wait [SEP] the train [SEP]. The second row keeps four of six tokens,
    // without the unknown one.
    assert_eq!(counts["rows"], 2);
    assert_eq!(counts["tokens"], 12);
    assert_eq!(counts["longest"], 6);
    assert_eq!(counts["mean"], 6.0);
    assert_eq!(counts["truncated_rows"], 2);
    assert_eq!(counts["truncated_tokens"], 2 + 2);
    assert_eq!(counts["dropped_turns"], 1);
    assert_eq!(counts["unknown_tokens"], 0);
    assert_eq!(counts["histogram"], json!([{"from": 1, "to": 8, "rows": 2}]));
    let bench = Bench::bert().rows("test", &rows[1..]).run();
    assert_eq!(bench.report()["inputs"]["test"]["unknown_tokens"], 1);
}

#[test]
fn more_cut_texts_than_one_in_a_hundred_are_said() {
    let bench = Bench::bert();
    let notes = |long: usize| -> Vec<String> {
        let texts = (0..100).map(|at| if at < long { "the train hours" } else { "sure" });
        let rows: String = texts.map(|text| format!("{}\n", row(text))).collect();
        let run = Run::new("tokenize").input_path("model", bench.model().to_owned());
        let done = run.input("test", rows).param("max_length", 4).run();
        done.result.as_ref().unwrap();
        let notes = done.events.iter().filter(|event| event["event"] == "note");
        notes.map(|note| note["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(notes(1), [""; 0]);
    assert_eq!(notes(2), ["test: 2 of 100 texts (2.0%) were cut to `max_length` (4 tokens)"]);
}

#[test]
fn token_types_are_kept_only_for_bert_pairs() {
    let with_turn = [turn_row(&["late"], "sure")];
    let types = |bench: Bench, context: u32| {
        let bench = bench.rows("test", &with_turn).param("context", context).run();
        bench.tokens("test").types(0).map(<[u8]>::to_vec)
    };
    assert_eq!(types(Bench::bert(), 0), None);
    assert_eq!(types(Bench::bert(), 1), Some(vec![0, 0, 0, 1, 1]));
    assert_eq!(types(Bench::roberta(), 1), None);
    let without = Bench::bert();
    let mut config: Value =
        serde_json::from_slice(&fs::read(without.model().join("config.json")).unwrap()).unwrap();
    config["type_vocab_size"] = json!(1);
    fs::write(without.model().join("config.json"), config.to_string()).unwrap();
    assert_eq!(types(without, 1), None);
}
