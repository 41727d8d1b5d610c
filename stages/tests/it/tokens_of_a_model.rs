//! Tokens belong to a model: its tokenizer made them, and each sequence fits into it.

#![cfg(feature = "model")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stages::builtin::classify::TextClassifier;
use stages::data::example::Example;
use stages::data::token_file::{Sequence, TokenFile, TokenInfo};
use stages::data::token_writer::TokenWriter;
use stages::text::TextTokenizer;
use stages::{Params, model::config::ModelConfig};
use tempfile::TempDir;

use crate::finetune::{Data, LABELS, rows};
use crate::harness::{Done, Run};
use crate::reference::copy_of;

/// The first tokens of a BERT vocabulary of 60 tokens; the others are letters, digits and signs.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A BERT with two named labels and the tokenizer of these words.
fn bert(words: impl Iterator<Item = String>) -> TempDir {
    let copy = copy_of("bert");
    let vocabulary: Vec<String> = SPECIAL.map(str::to_owned).into_iter().chain(words).collect();
    std::fs::write(copy.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
    edit(copy.path(), json!({"id2label": {"0": LABELS[0], "1": LABELS[1]}}));
    copy
}

fn edit(folder: &Path, entries: Value) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in entries.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(path, config.to_string()).unwrap();
}

fn letters() -> impl DoubleEndedIterator<Item = String> {
    ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")])
}

const EXAMPLES: &str = r#"{"id": "1", "text": "a bc", "label": "SARCASM"}
{"id": "2", "text": "de", "label": "NOT_SARCASM"}
"#;

/// The examples as tokens of this model.
fn tokenized(model: &Path) -> Done {
    let run = Run::new("tokenize").input_path("model", model.to_owned());
    let run = run.input("train", EXAMPLES).input("test", EXAMPLES);
    let done = run.param("labels", json!(LABELS)).run();
    done.path("train");
    done
}

fn finetune(model: &Path, train: PathBuf) -> Run {
    let run = Run::new("finetune").input_path("model", model.to_owned());
    run.input_path("train", train).param("epochs", 1)
}

fn predict(model: &Path, test: PathBuf) -> Run {
    Run::new("predict").input_path("model", model.to_owned()).input_path("test", test)
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "the message lacks `{word}`: {message}");
    }
}

#[test]
fn tokens_of_another_tokenizer_are_refused() {
    let (own, other) = (bert(letters()), bert(letters().rev()));
    let tokens = tokenized(own.path());
    let (train, test) = (tokens.path("train"), tokens.path("test"));
    for done in [
        finetune(other.path(), train.clone()).run(),
        predict(other.path(), test.clone()).run(),
        finetune(own.path(), train.clone())
            .input_path("valid", tokenized(other.path()).path("test"))
            .run(),
    ] {
        assert_says(&done.error(), &["another tokenizer"]);
        assert_says(&done.result.unwrap_err().hint().unwrap(), &["`tokenize`", "`model`"]);
    }
    // The tokenizer goes along with the model that was trained.
    let trained = finetune(own.path(), train).run();
    let answered = predict(&trained.path("model"), test).run();
    assert_eq!(answered.rows("predictions").len(), 2);
    assert_eq!(answered.warnings(), Vec::<&str>::new());
}

#[test]
fn a_changed_setting_of_a_tokenizer_makes_it_another_one() {
    let digest = |config: Option<Value>| {
        let own = bert(letters().chain(["A".to_owned(), "##A".to_owned()]));
        if let Some(config) = config {
            std::fs::write(own.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        }
        let config = ModelConfig::read(own.path()).unwrap();
        TextTokenizer::open(own.path(), config.family).unwrap().digest().unwrap()
    };
    let own = digest(None);
    assert_eq!(own, digest(Some(json!({"name_or_path": "elsewhere", "do_lower_case": true}))));
    assert_ne!(own, digest(Some(json!({"do_lower_case": false}))));
    assert_ne!(own, digest(Some(json!({"cls_token": "a"}))));
}

/// Token files in users' caches hold these digests. If they change, raise the version of
/// `tokenize`.
#[test]
fn the_digest_of_a_tokenizer_does_not_depend_on_its_files_and_stays() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tweet-encoder");
    let split = tempfile::tempdir().unwrap();
    let settings = ["tokenizer_config.json", "special_tokens_map.json"];
    for name in ["config.json", "vocab.json", "merges.txt"].iter().chain(&settings) {
        std::fs::copy(root.join(name), split.path().join(name)).unwrap();
    }
    let digest = |folder: &Path| {
        let config = ModelConfig::read(folder).unwrap();
        TextTokenizer::open(folder, config.family).unwrap().digest().unwrap()
    };
    assert_eq!(digest(&root), digest(split.path()));
    assert_eq!(digest(&root), "467708860c9c70c53eb7076a99990d1e25aa8d83dc98e3585fccda5063552f4d");
}

#[test]
fn a_model_without_a_tokenizer_takes_the_tokens_of_one_tokenizer() {
    let (own, other, bare) = (bert(letters()), bert(letters().rev()), copy_of("bert"));
    let (own, other) = (tokenized(own.path()), tokenized(other.path()));
    finetune(bare.path(), own.path("train")).run().path("model");
    let mixed = finetune(bare.path(), own.path("train")).input_path("valid", other.path("test"));
    assert_says(&mixed.run().error(), &["another tokenizer", "train"]);
}

/// A token file with one good row and this one. It names no tokenizer, as files of older versions.
fn file(folder: &TempDir, sequence: Sequence, pad_id: u32) -> PathBuf {
    let mut writer = TokenWriter::new(folder.path()).unwrap();
    let good = Sequence { ids: vec![2, 7, 3], types: vec![0; 3] };
    writer.push(&good, Some(0), "good").unwrap();
    writer.push(&sequence, Some(1), "bad").unwrap();
    let label_names = LABELS.map(str::to_owned).to_vec();
    let info = TokenInfo {
        label_names,
        pad_id,
        vocab_size: 1000,
        max_length: 512,
        stride: None,
        tokenizer: None,
    };
    let path = folder.path().join("tokens");
    writer.finish(&path, &info).unwrap();
    path
}

#[test]
fn rows_that_do_not_fit_into_a_model_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let of = |ids: Vec<u32>, kind: u8| Sequence { types: vec![kind; ids.len()], ids };
    for (family, sequence, reason) in [
        ("bert", of(vec![2, 60, 3], 0), "token 60 is beyond the model's vocabulary of 60"),
        ("bert", of(vec![5; 21], 0), "21 tokens is beyond the model's 20"),
        ("roberta", of(vec![5; 19], 0), "19 tokens is beyond the model's 18"),
        ("bert", of(vec![2, 7, 3], 2), "token type 2 is beyond the model's 2"),
        ("roberta", of(vec![2, 7, 3], 1), "token type 1 is beyond the model's 1"),
        ("mpnet", of(vec![2, 7, 3], 1), "token type 1 is beyond the model's 1"),
        ("bert", of(Vec::new(), 0), "no token"),
    ] {
        let model = copy_of(family);
        let pad = if family == "bert" { 0 } else { 1 };
        let path = file(&folder, sequence, pad);
        for done in [finetune(model.path(), path.clone()).run(), predict(model.path(), path).run()]
        {
            assert_says(&done.error(), &[reason, "row 2 (`bad`)", "another model"]);
        }
    }
    let good = Sequence { ids: vec![2, 8, 9, 3], types: vec![0; 4] };
    for (family, pad) in [("roberta", 0), ("mpnet", 60), ("bert", 60)] {
        let model = copy_of(family);
        let path = file(&folder, good.clone(), pad);
        assert_says(
            &predict(model.path(), path).run().error(),
            &["padding token", "another model"],
        );
    }
}

#[test]
fn a_token_file_of_an_older_version_is_read_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let own = bert(letters());
    let path = file(&folder, Sequence { ids: vec![2, 8, 3], types: vec![0; 3] }, 0);
    let done = predict(own.path(), path).run();
    assert_eq!(done.rows("predictions").len(), 2);
    assert_says(&done.warnings().join("\n"), &["does not say which tokenizer", "`tokenize`"]);
}

#[test]
fn a_token_file_that_names_a_label_twice_is_refused() {
    let data = Data::new();
    let path = data.file("twice", &rows(4), &["a", "a"]);
    let error = TokenFile::open(&path).err().unwrap().to_string();
    assert_says(&error, &["`label_names`", "twice"]);
}

#[test]
fn a_tokenizer_that_is_too_large_for_its_model_is_refused_by_every_reader() {
    // 65 tokens, but the model has 60.
    let own = bert(letters().chain(('0'..='7').map(|digit| digit.to_string())));
    let config = ModelConfig::read(own.path()).unwrap();
    assert_eq!(TextTokenizer::open(own.path(), config.family).unwrap().vocab_size(), 65);
    let params = |stage: &str| {
        Params::resolve(stages::find(stage).unwrap().params(), &Default::default()).unwrap()
    };
    let classifier =
        TextClassifier::open(own.path(), &params("tokenize"), &params("predict"), "cpu").unwrap();
    assert_eq!(classifier.classify(&[Example::of_text("ab")]).unwrap().0.len(), 1);
    let texts = [Example::of_text("ab"), Example::of_text("ab 7")];
    let error = classifier.classify(&texts).unwrap_err().to_string();
    assert_says(&error, &["token 64", "vocabulary of 60", "`ab 7`"]);
    assert!(classifier.weights(&texts[1]).is_err());
    let run = Run::new("tokenize").input_path("model", own.path().to_owned());
    let error = run.input("test", "{\"id\": \"1\", \"text\": \"7\"}\n").run().error();
    assert_says(&error, &["line 1", "id 64"]);
    let run = Run::new("pretrain").input_path("model", own.path().to_owned());
    assert_says(&run.input("text", "ab 7\n").run().error(), &["65 tokens", "60"]);
}

#[test]
fn a_masked_language_model_checks_the_ids_of_its_texts() {
    // The tokenizer has fewer tokens than the model, but one has a large id.
    let own = bert(letters());
    let mut vocabulary = std::fs::read_to_string(own.path().join("vocab.txt")).unwrap();
    vocabulary.push_str(&"\na".repeat(20));
    vocabulary.push_str("\n7");
    std::fs::write(own.path().join("vocab.txt"), vocabulary).unwrap();
    let run = |text: &str| {
        let run = Run::new("pretrain").input_path("model", own.path().to_owned());
        run.input("text", text).param("valid_share", 0.0).param("steps", 1).run()
    };
    assert_says(&run("bc de\nbc 7\n").error(), &["text 2", "beyond the model's vocabulary of 60"]);
    run("bc de\n").path("model");
}

#[test]
fn a_pretrained_model_takes_the_tokens_of_the_model_it_started_from() {
    let own = bert(letters());
    let run = Run::new("pretrain").input_path("model", own.path().to_owned());
    let run = run.input("text", "bc de\nab cd\nfg\n").param("valid_share", 0.0).param("steps", 1);
    let pretrained = run.run();
    let tokens = tokenized(own.path());
    let done = finetune(&pretrained.path("model"), tokens.path("train")).run();
    done.path("model");
    assert_eq!(done.warnings(), Vec::<&str>::new());
}
