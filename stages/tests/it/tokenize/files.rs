//! Files that are damaged, missing, or of another kind.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use stages::data::tensors::{TensorFile, TensorSpec, write_tensors};
use stages::data::token_file::TokenFile;
use stages::model::config::ModelConfig;
use stages::text::{TextTokenizer, tokenizer_files};
use tempfile::TempDir;

use super::{Bench, fixtures, row, turn_row};

#[test]
fn tensors_are_read_as_they_were_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.safetensors");
    let metadata =
        BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "é".to_owned())]);
    let specs = vec![
        TensorSpec::new::<u8>("bytes", &[3]),
        TensorSpec::new::<f32>("weight", &[2, 2]),
        TensorSpec::new::<i64>("steps", &[1]),
        TensorSpec::new::<f32>("bias", &[0]),
    ];
    write_tensors(&path, &metadata, specs, |spec, out| match spec.name.as_str() {
        "bytes" => out.write_all(&[1, 2, 3]),
        "weight" => {
            [1.0f32, -2.0, 0.5, 4.0].iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
        }
        "steps" => out.write_all(&(-7i64).to_le_bytes()),
        _ => Ok(()),
    })
    .unwrap();
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert_eq!(
        header.trim_end(),
        r#"{"__metadata__":{"a":"é","b":"2"},"bias":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"bytes":{"dtype":"U8","shape":[3],"data_offsets":[24,27]},"steps":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"weight":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}"#
    );
    assert_eq!(length % 8, 0);
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.names(), ["bias", "bytes", "steps", "weight"]);
    assert_eq!(file.elements::<f32>("weight", Some(&[2, 2])).unwrap(), [1.0, -2.0, 0.5, 4.0]);
    assert_eq!(file.elements::<i64>("steps", None).unwrap(), [-7]);
    assert_eq!(file.metadata("a"), Some("é"));
    let error = |found: Result<&[f32], stages::StageError>| {
        found.unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "")
    };
    assert_eq!(
        error(file.elements::<f32>("steps", None)),
        "/x.safetensors: tensor `steps` holds I64, expected F32"
    );
    assert_eq!(
        error(file.elements::<f32>("weight", Some(&[4]))),
        "/x.safetensors: tensor `weight` has shape [2, 2], expected [4]"
    );
    assert_eq!(
        error(file.elements::<f32>("wait", None)),
        "/x.safetensors: tensor `wait` is missing"
    );
}

#[test]
fn tensor_with_too_few_bytes_leaves_no_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.safetensors");
    let specs = vec![TensorSpec::new::<f32>("w", &[2])];
    let error = write_tensors(&path, &BTreeMap::new(), specs, |_, out| out.write_all(&[0; 4]));
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("tensor `w` of shape [2] takes 8 bytes, got 4"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Calls all accessors of a token file, none of which may panic.
fn read_all(tokens: &TokenFile) -> usize {
    let read = |row| {
        let types = tokens.types(row).map_or(0, <[u8]>::len);
        let label = tokens.label(row).map_or(0, |label| tokens.label_names()[label].len());
        tokens.ids(row).len() + types + label + tokens.id(row).len()
    };
    (0..tokens.rows()).map(read).sum()
}

#[test]
fn damaged_token_file_is_an_error_or_readable() {
    let rows = [
        json!({"id": "ä", "label": "a", "text": "the train", "context": ["late"]}),
        json!({"id": "2", "label": "b", "text": "", "context": []}),
    ];
    let bench = Bench::bert().rows("train", &rows).param("context", 1).run();
    let path = bench.output("train");
    assert!(read_all(&bench.tokens("train")) > 0);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut read) = (0, 0);
    let mut damage = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match TokenFile::open(&path) {
            Ok(tokens) => read += read_all(&tokens).min(1),
            Err(error) => {
                assert!(error.to_string().contains("train.safetensors"), "{error}");
                refused += 1;
            }
        }
    };
    for length in 0..whole.len() {
        damage(&whole[..length]);
    }
    for at in 0..whole.len() {
        for value in [0, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            damage(&bytes);
        }
    }
    assert!(refused > 3 * whole.len() / 2 && read > 0, "{refused} refused, {read} read");
}

#[test]
fn example_id_that_is_no_text_is_refused() {
    let rows = [json!({"id": "some id", "text": "the train"})];
    let bench = Bench::bert().rows("test", &rows).run();
    let path = bench.output("test");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"some id").unwrap();
    bytes[at] = 0xff;
    fs::write(&path, bytes).unwrap();
    let error = TokenFile::open(&path).err().unwrap().to_string();
    assert!(error.ends_with("tensor `id_bytes` has ids that are not UTF-8"), "{error}");
}

#[test]
fn token_file_of_another_kind_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_tensors(&path, &BTreeMap::new(), Vec::new(), |_, _| Ok(())).unwrap();
    let error = TokenFile::open(&path).err().unwrap().to_string();
    assert!(
        error.ends_with("format is `unknown`, expected `pipe-tokens-1`: not a token file"),
        "{error}"
    );
}

#[test]
fn folder_without_a_tokenizer_is_refused_with_the_files_looked_for() {
    let error = Bench::new("bpe", &["vocab.json"]).rows("test", &[row("x")]).error();
    assert_eq!(
        error,
        "/model: holds no tokenizer: looked for `tokenizer.json`, `vocab.json` with \
         `merges.txt`, `vocab.txt` with `bpe.codes`, and `vocab.txt`"
    );
}

#[test]
fn tokenizer_formats_are_preferred_in_a_fixed_order() {
    // Each step removes the files used before; the tokens show which files are read instead.
    let bench = Bench::new("bertweet", &["vocab.txt", "bpe.codes"]);
    let config = ModelConfig::read(bench.model()).unwrap();
    for name in ["tokenizer.json", "vocab.json", "merges.txt"] {
        fs::copy(fixtures().join("bpe").join(name), bench.model().join(name)).unwrap();
    }
    let tokens = || {
        let tokenizer = TextTokenizer::open(bench.model(), config.family)?;
        let ids = tokenizer.ids("x the")?;
        Ok(ids.iter().filter_map(|id| tokenizer.token_text(*id)).collect::<Vec<_>>().join(" "))
    };
    let tokens = || tokens().unwrap_or_else(|error: stages::StageError| error.to_string());
    fs::write(bench.model().join("vocab.json"), "{").unwrap();
    assert_eq!(tokens(), "x Ġthe");
    fs::remove_file(bench.model().join("tokenizer.json")).unwrap();
    assert!(tokens().contains("vocab.json"), "{}", tokens());
    fs::remove_file(bench.model().join("merges.txt")).unwrap();
    assert_eq!(tokens(), "x the");
    fs::remove_file(bench.model().join("bpe.codes")).unwrap();
    assert!(tokens().contains("no WordPiece vocabulary"), "{}", tokens());
}

#[test]
fn dropout_baked_into_tokenizer_json_is_ignored() {
    let bench = Bench::new("bpe", &["tokenizer.json"]);
    let config = ModelConfig::read(bench.model()).unwrap();
    let text = "the weather is totally wonderful ".repeat(20);
    let ids = || TextTokenizer::open(bench.model(), config.family).unwrap().ids(&text).unwrap();
    let without = ids();
    let path = bench.model().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["model"]["dropout"] = json!(0.9);
    fs::write(&path, tokenizer.to_string()).unwrap();
    assert_eq!(ids(), without);
}

#[test]
fn a_tokenizer_json_is_read_whatever_else_its_model_says_and_without_the_type_of_it() {
    for family in ["bpe", "wordpiece", "camembert"] {
        let bench = Bench::new(family, &["tokenizer.json"]);
        let config = ModelConfig::read(bench.model()).unwrap();
        let digest = || TextTokenizer::open(bench.model(), config.family)?.digest();
        let path = bench.model().join("tokenizer.json");
        let as_saved: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = digest().unwrap();
        for change in [json!({"new": [1]}), json!({"type": null}), json!({"type": "unknown"})] {
            let mut changed = as_saved.clone();
            for (name, value) in change.as_object().unwrap() {
                match value {
                    Value::Null => drop(changed["model"].as_object_mut().unwrap().remove(name)),
                    value => changed["model"][name] = value.clone(),
                }
            }
            fs::write(&path, changed.to_string()).unwrap();
            match change["type"] == "unknown" {
                true => assert!(digest().is_err(), "{family}"),
                false => assert_eq!(digest().unwrap(), expected, "{family} {change}"),
            }
        }
    }
}

#[test]
fn damaged_tokenizer_files_are_named() {
    let with = |family: &str, files: &[&str], damaged: &str, contents: &[u8]| {
        let bench = Bench::new(family, files).rows("test", &[row("the train")]);
        fs::write(bench.model().join(damaged), contents).unwrap();
        bench.error()
    };
    let roberta = ["vocab.json", "merges.txt"];
    let error = with("bpe", &roberta, "merges.txt", b"#version: 0.2\na b\nc\n");
    assert_eq!(error, "/model/merges.txt, line 3: expected two tokens with a space between them");
    assert!(with("bpe", &roberta, "merges.txt", b"zz qq\n").starts_with("/model/merges.txt: "));
    assert!(with("bpe", &roberta, "vocab.json", b"{").contains("/model/vocab.json"));
    assert!(with("bpe", &roberta, "vocab.json", b"{}").contains("/model/"));
    assert!(with("bpe", &["tokenizer.json"], "tokenizer.json", b"{}").contains("tokenizer.json"));
    assert!(with("bpe", &roberta, "special_tokens_map.json", b"[]").contains("special_tokens_map"));
    let error = with("wordpiece", &["vocab.txt"], "vocab.txt", b"a\nb\n");
    assert_eq!(error, "/model/vocab.txt: has no token `[UNK]`, so it is no WordPiece vocabulary");
    let bertweet = ["vocab.txt", "bpe.codes"];
    let error = with("bertweet", &bertweet, "vocab.txt", b"a 5\nb\n");
    assert_eq!(error, "/model/vocab.txt, line 2: expected a token, a space and its count");
    assert!(with("bertweet", &bertweet, "bpe.codes", b"\xff").contains("bpe.codes"));
}

#[test]
fn tokenizer_files_are_those_that_exist() {
    let bench = Bench::new("bertweet", &["vocab.txt", "bpe.codes"]);
    let names: Vec<_> = tokenizer_files(bench.model())
        .into_iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["vocab.txt", "bpe.codes"]);
}

#[test]
fn ids_decode_to_text() {
    let decoded = |bench: Bench, text: &str| {
        let config = ModelConfig::read(bench.model()).unwrap();
        let tokenizer = TextTokenizer::open(bench.model(), config.family).unwrap();
        let ids = tokenizer.layout().single(&tokenizer.ids(text).unwrap()).ids;
        assert_eq!(tokenizer.token_text(u32::MAX), None);
        tokenizer.decode(&ids)
    };
    assert_eq!(decoded(Bench::roberta(), "the train, delayed"), "<s>the train, delayed</s>");
    assert_eq!(decoded(Bench::bert(), "The delayed train"), "[CLS] the delayed train [SEP]");
    let bertweet = Bench::new("bertweet", &["vocab.txt", "bpe.codes"]);
    assert_eq!(decoded(bertweet, "the delayed train"), "<s> the delayed train </s>");
}

#[test]
fn hostile_rows_neither_take_long_nor_fail() {
    let hostile = [
        "a".repeat(100_000),
        "http://".to_owned() + &"!.".repeat(2_000),
        "http://x".to_owned() + &"(a".repeat(2_000),
        "<s".repeat(10_000),
        "<s>".repeat(10_000),
        "a.".repeat(2_000),
        "&x".repeat(10_000),
        "0 ".repeat(10_000),
        "\u{200d}!".repeat(10_000),
    ];
    let mut rows: Vec<Value> = hostile.iter().map(|text| row(text)).collect();
    rows.push(turn_row(&vec![""; 5_000], "the train"));
    rows.push(turn_row(&vec!["wait"; 5_000], "the train"));
    for files in [&["vocab.txt", "bpe.codes"][..], &["vocab.txt"]] {
        let family = if files.len() == 2 { "bertweet" } else { "wordpiece" };
        let bench = Bench::new(family, files).rows("test", &rows);
        let bench = bench.param("normalize_tweets", true).param("context", "all").run();
        assert_eq!(bench.tokens("test").rows(), rows.len());
    }
}
