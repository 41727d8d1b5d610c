//! Long texts are divided into the windows of `transformers`, which keep their row.

use serde::Deserialize;
use serde_json::{Value, json};
use stages::builtin::tokenize::Tokenize;
use stages::data::token_file::TokenFile;
use stages::{Params, Stage};

use super::{Bench, fixtures, row, turn_row};

/// `fixtures/tokenize/windows.json`, which `fixtures/make_windows.py` makes.
#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    family: String,
    max_length: usize,
    stride: usize,
    /// The ids of each window of each text.
    windows: Vec<Vec<Vec<i32>>>,
}

fn windowed(bench: Bench, max_length: usize, stride: usize) -> Bench {
    bench.param("max_length", max_length).param("window_stride", stride)
}

/// The ids of each window of a row.
fn windows(tokens: &TokenFile, row: usize) -> Vec<Vec<i32>> {
    tokens.windows_of(row).map(|window| tokens.ids(window).to_vec()).collect()
}

#[test]
fn windows_are_those_of_transformers() {
    let text = std::fs::read(fixtures().join("windows.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&text).unwrap();
    let rows: Vec<Value> = expected.texts.iter().map(|text| row(text)).collect();
    for case in expected.cases {
        let bench = match case.family.as_str() {
            "bpe" => Bench::roberta(),
            _ => Bench::bert(),
        };
        let bench = windowed(bench, case.max_length, case.stride).rows("test", &rows).run();
        let tokens = bench.tokens("test");
        assert_eq!(tokens.rows(), rows.len());
        for (row, wanted) in case.windows.iter().enumerate() {
            assert_eq!(&windows(&tokens, row), wanted, "{} row {row}", case.family);
            for window in tokens.windows_of(row) {
                assert_eq!(tokens.row_of(window), row);
            }
        }
        let count: usize = case.windows.iter().map(Vec::len).sum();
        assert_eq!((tokens.windows(), tokens.stride()), (count, Some(case.stride)));
        assert_eq!(bench.report()["inputs"]["test"]["windows"], count);
    }
}

#[test]
fn rows_keep_their_ids_and_labels_whatever_the_number_of_their_windows() {
    for label in [json!("a"), json!(["a", "b"]), json!(2.5)] {
        let rows: Vec<Value> = (0..50)
            .map(|number| {
                let text = "so late ".repeat(number * 7 % 30);
                json!({"id": format!("té{number}"), "label": label, "text": text, "context": []})
            })
            .collect();
        let tokens = windowed(Bench::bert(), 9, 3).rows("train", &rows).run().tokens("train");
        assert_eq!(tokens.rows(), 50);
        assert!(tokens.has_windows() && tokens.windows() > 100);
        for number in 0..50 {
            assert_eq!(tokens.id(number), format!("té{number}"));
            assert_eq!(json!(tokens.target(number)), label);
        }
    }
}

#[test]
fn a_text_that_needs_windows_leaves_no_room_for_context() {
    let long = "so late ".repeat(20);
    let rows = [
        turn_row(&["the train", "the weather"], &long),
        row(&long),
        turn_row(&["the train ".repeat(20).as_str()], "late"),
        turn_row(&["the train ".repeat(20).as_str()], "late"),
    ];
    for mode in ["pair", "joined"] {
        let bench = windowed(Bench::bert(), 12, 4).param("context", "all");
        let bench = bench.param("context_mode", mode).rows("test", &rows).run();
        let tokens = bench.tokens("test");
        assert_eq!(windows(&tokens, 0), windows(&tokens, 1), "{mode}");
        assert!(tokens.windows_of(0).len() > 1);
        assert_eq!(tokens.windows_of(2).len(), 1, "a long context is cut as ever");
        let without = Bench::bert().param("max_length", 12).param("context", "all");
        let without = without.param("context_mode", mode).rows("test", &rows).run();
        assert_eq!(windows(&tokens, 2), windows(&without.tokens("test"), 2));
        let counts = bench.report()["inputs"]["test"].clone();
        assert_eq!(counts["truncated_rows"], 3, "the lost context counts: {counts}");
        assert_eq!(counts["dropped_turns"], 2, "{counts}");
    }
}

#[test]
fn files_without_windows_are_what_they_were() {
    let rows = [row("the train"), row("late")];
    // The header, and the bytes of the tensors.
    let file = |bench: Bench| -> (Value, Vec<u8>) {
        let bytes = std::fs::read(bench.rows("test", &rows).run().output("test")).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        (header, bytes[8 + length..].to_vec())
    };
    let (mut header, tensors) = file(Bench::bert());
    assert_eq!(header["__metadata__"]["format"], "pipe-tokens-1");
    assert!(!header.to_string().contains("window"), "{header}");
    // Where no text needs several, only the parameter itself is noted.
    let with = file(windowed(Bench::bert(), 512, 64));
    header["__metadata__"]["window_stride"] = json!("64");
    assert_eq!(with, (header, tensors));
    let (header, _) = file(windowed(Bench::bert(), 3, 0));
    assert_eq!(header["__metadata__"]["format"], "pipe-tokens-3");
    assert_eq!(header["row_windows"]["shape"], json!([3]));
}

#[test]
fn a_stride_that_leaves_no_room_is_refused_with_what_to_do() {
    let error = |max_length: i64, stride: i64| {
        let bench = Bench::bert().param("max_length", max_length).param("window_stride", stride);
        bench.rows("test", &[row("late")]).error()
    };
    let message = error(20, 18);
    assert!(message.starts_with("parameter `window_stride`: neighbouring windows"), "{message}");
    for part in ["share 18 tokens", "a window of 20 has room for 18", "the model takes 512"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(error(513, 4).contains("`max_length`: is 513, the model takes 512"));
    let bench = windowed(Bench::bert(), 20, 17).rows("test", &[row("late")]);
    bench.run();
    // What no tokenizer is needed for is refused before anything runs.
    let given = [("max_length", 20), ("window_stride", 20)];
    let given = given.map(|(name, value)| (name.to_owned(), json!(value))).into();
    let params = Params::resolve(Tokenize.params(), &given).unwrap();
    let error = Tokenize.check(&params, &["test"]).unwrap_err();
    assert_eq!(error.name, Some("window_stride"));
    assert!(error.message.contains("windows of `max_length` 20 tokens cannot share 20"));
}

#[test]
fn damaged_windows_are_an_error_or_readable() {
    let rows = [row("the train so late again"), row(""), row("the the the")];
    let bench = windowed(Bench::bert(), 4, 1).rows("test", &rows).run();
    let path = bench.output("test");
    let whole = std::fs::read(&path).unwrap();
    assert!(bench.tokens("test").has_windows());
    let (mut refused, mut read) = (0, 0);
    for at in 0..whole.len() {
        for value in [0, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            std::fs::write(&path, bytes).unwrap();
            let Ok(tokens) = TokenFile::open(&path) else {
                refused += 1;
                continue;
            };
            read += 1;
            for row in 0..tokens.rows() {
                assert!(!tokens.windows_of(row).is_empty());
                for window in tokens.windows_of(row) {
                    assert_eq!(tokens.row_of(window), row);
                    let types = tokens.types(window).map_or(0, <[u8]>::len);
                    assert!(types == 0 || types == tokens.ids(window).len());
                }
                let _ = (tokens.id(row), tokens.target(row));
            }
        }
    }
    assert!(refused > whole.len() && read > 0, "{refused} refused, {read} read");
}
