//! `train-tokenizer`: the tokenizer that it learns and the files that it writes.

use std::path::Path;

use serde_json::Value;
use stages::family::ROBERTA;
use stages::model::config::ModelConfig;
use stages::text::TextTokenizer;

use crate::harness::{Done, Run};

const SUBJECTS: [&str; 7] = ["@USER", "nobody", "my sister", "the cat", "Rome", "he", "that team"];
const VERBS: [&str; 5] = ["loves", "hates", "never understood", "is watching", "forgot"];
const OBJECTS: [&str; 9] = [
    "mondays",
    "#sarcasm",
    "the rain 😂",
    "don't ask",
    "a café",
    "<URL>",
    "pizza, again",
    "numbers like 42",
    "it all...",
];

/// `count` sentences, one a line.
pub fn texts(count: usize) -> String {
    let of = |row: usize| {
        let (subject, verb) = (SUBJECTS[row % 7], VERBS[row / 7 % 5]);
        format!("{subject} {verb} {} {}\n", OBJECTS[row / 35 % 9], OBJECTS[row % 4])
    };
    (0..count).map(of).collect()
}

pub fn tokenizer(vocab_size: usize) -> Run {
    Run::new("train-tokenizer").input("text", texts(700)).param("vocab_size", vocab_size)
}

fn opened(folder: &Path) -> TextTokenizer {
    let raw = serde_json::json!({"model_type": "roberta", "vocab_size": 400});
    let raw = raw.as_object().unwrap().clone();
    let config = ModelConfig::from_raw(raw, folder).unwrap();
    assert_eq!(config.family, &ROBERTA);
    TextTokenizer::open(folder, config.family).unwrap()
}

#[test]
fn special_tokens_are_those_of_roberta_and_each_text_to_keep_is_one_token() {
    let done = tokenizer(360).run();
    let tokenizer = opened(&done.path("tokenizer"));
    let names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "@USER", "<URL>"];
    for (id, name) in names.iter().enumerate() {
        assert_eq!(tokenizer.token_text(id as u32).as_deref(), Some(*name));
        assert_eq!(tokenizer.is_special(id as u32), id < 5, "{name}");
    }
    // A token to keep includes the space before it.
    assert_eq!(tokenizer.ids("@USER @USER<URL>").unwrap(), [5, 5, 6]);
    let vocabulary = done.json("tokenizer/vocab.json");
    assert_eq!(vocabulary.as_object().unwrap().len(), 360);
    assert!(vocabulary.get("ĠUSER").is_none() && vocabulary.get("USER").is_none());
    let values = done.events.iter().find(|event| event["event"] == "metrics").unwrap();
    assert_eq!(values["values"]["vocab_size"], 360.0);
    let count = |text: &str| tokenizer.ids(text).unwrap().len() as f64;
    let tokens: f64 = texts(700).lines().map(count).sum();
    assert_eq!(values["values"]["tokens"], tokens);
}

#[test]
fn every_text_is_given_back_and_the_three_formats_agree() {
    let done = tokenizer(400).run();
    let whole = opened(&done.path("tokenizer"));
    let parts = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let from = done.path("tokenizer").join(name);
        std::fs::copy(from, parts.path().join(name)).unwrap();
    }
    let parts = opened(parts.path());
    for text in ["Never seen: ñandú 🙃 \"quoted\"", "@USER loves\tthe  rain", "x<mask>y <URL>"]
    {
        let ids = whole.ids(text).unwrap();
        assert_eq!(ids, parts.ids(text).unwrap(), "{text}");
        // Equal except for the spaces that kept tokens include.
        let squeeze = |text: &str| text.replace(' ', "");
        assert_eq!(squeeze(&whole.decode(&ids)), squeeze(text));
    }
}

#[test]
fn the_files_are_the_same_in_every_run_and_at_any_number_of_threads() {
    let of = |threads: usize| {
        let done = tokenizer(330).param("min_frequency", 1).threads(threads).run();
        let names = ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"];
        names.map(|name| done.text(&format!("tokenizer/{name}")))
    };
    let one = of(1);
    for threads in [1, 1, 2, 3, 3] {
        assert!(one == of(threads), "{threads} threads");
    }
}

#[test]
fn json_lines_and_plain_text_give_the_same_tokenizer() {
    let rows: String = texts(700)
        .lines()
        .map(|text| serde_json::json!({"id": "1", "text": text}).to_string() + "\n")
        .collect();
    let plain = tokenizer(400).run().text("tokenizer/tokenizer.json");
    let json = tokenizer(400).input("text", rows.clone()).run().text("tokenizer/tokenizer.json");
    assert!(plain == json);
    // With `format: text`, a line of JSON is a text like any other.
    let literal = tokenizer(400).input("text", rows).param("format", "text").run();
    assert!(plain != literal.text("tokenizer/tokenizer.json"));
}

#[test]
fn the_frequency_bounds_how_many_tokens_there_are() {
    let size = |done: &Done| done.json("tokenizer/vocab.json").as_object().map(|it| it.len());
    let often = tokenizer(100_000).param("min_frequency", 200).run();
    let seldom = tokenizer(100_000).param("min_frequency", 50).run();
    assert!(size(&often) < size(&seldom), "{:?} and {:?}", size(&often), size(&seldom));
    assert!(size(&often) >= Some(5 + 2 + 256));
}

#[test]
fn impossible_parameters_and_inputs_without_texts_are_refused() {
    for (run, reason) in [
        (
            tokenizer(262),
            "the special tokens, the tokens to `keep` and the 256 bytes are 263 tokens already",
        ),
        (tokenizer(400).param("keep", vec!["a b"]), "`a b` cannot be kept whole"),
        (tokenizer(400).param("keep", vec!["<s>"]), "`<s>` is already a token"),
        (tokenizer(400).param("keep", vec!["@", "@"]), "`@` is already a token"),
    ] {
        let error = run.check().unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let error = Run::new("train-tokenizer").input("text", "\n \n").run().error();
    assert_eq!(error, "text.in: holds no texts");
}

#[test]
fn the_config_has_the_settings_that_transformers_needs() {
    let done = tokenizer(400).param("add_prefix_space", false).run();
    let config: Value = done.json("tokenizer/tokenizer_config.json");
    assert_eq!(config["tokenizer_class"], "RobertaTokenizer");
    assert_eq!(config["add_prefix_space"], false);
    assert_eq!(config["added_tokens_decoder"]["5"]["content"], "@USER");
    let tokenizer = opened(&done.path("tokenizer"));
    assert_ne!(tokenizer.ids("loves").unwrap(), tokenizer.ids(" loves").unwrap());
}
