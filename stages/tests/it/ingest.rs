//! `ingest` with JSONL: rows, checks, skipped rows, the report.

#[cfg(feature = "columns")]
mod columns;
mod files;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Run;

const TWO_ROWS: &str = r#"{"label": "SARCASM", "response": "@USER sure , great idea", "context": ["@USER what now ?", "two"]}
{"label": "NOT_SARCASM", "response": "a plain answer", "context": [], "extra": {"x": [1]}}
"#;

fn train(text: impl AsRef<[u8]>) -> Run {
    Run::new("ingest").input("train", text)
}

/// The error of a file whose second line is `line`.
fn error_of(line: &str) -> String {
    train(format!("{{\"label\":\"A\",\"response\":\"a\"}}\n{line}\n")).run().error()
}

#[test]
fn rows_are_written_with_their_source_line_in_a_fixed_order_of_keys() {
    let done = train(TWO_ROWS).param("remove", json!(["@USER"])).run();
    assert_eq!(
        done.text("train"),
        r#"{"id":"train_1","label":"SARCASM","text":" sure , great idea","context":[" what now ?","two"],"line":1}
{"id":"train_2","label":"NOT_SARCASM","text":"a plain answer","context":[],"line":2}
"#
    );
    assert_eq!(done.text("skipped"), "");
}

#[test]
fn marks_are_stripped_and_white_space_collapsed_where_asked_for() {
    let text = " so  @USER , #sad\t😀 see <URL>\u{200b} ";
    let row = json!({"label": "A", "response": text, "context": [text]});
    let strip = json!(["mentions", "links", "hashtags", "emoji", "odd"]);
    let cleaned = |run: Run| run.run().rows("train")[0].clone();
    let found = cleaned(train(row.to_string()).param("spaces", "collapse"));
    assert_eq!(found["text"], "so @USER , #sad 😀 see <URL>\u{200b}");
    let found = cleaned(train(row.to_string()).param("strip", strip.clone()));
    assert_eq!(found["text"], " so   , \t see  ");
    let both = train(row.to_string()).param("strip", strip).param("spaces", "collapse");
    let found = cleaned(both);
    assert_eq!((&found["text"], &found["context"][0]), (&json!("so , see"), &json!("so , see")));
    let unknown = train(TWO_ROWS).param("strip", json!(["hashtag"]));
    let error = unknown.check().unwrap_err();
    assert!(error.starts_with("`strip` has `hashtag`, and knows `hashtags`, `links`"), "{error}");
}

#[test]
fn nothing_is_removed_or_changed_unless_asked_for() {
    let text = "  @USER\t\u{a0}e\u{301} ﬁ \u{200d}👩\u{200d}🦰 \"q\" \\ \u{1}\u{2028}\n line two ";
    let row = json!({"label": "A", "response": text, "context": [text]});
    let done = train(row.to_string()).run();
    assert_eq!(done.rows("train")[0]["text"], text);
    assert_eq!(done.rows("train")[0]["context"][0], text);
    // As with Python's `replace`, each string in turn, from the left.
    let done =
        train(r#"{"label":"A","response":"aaab ab"}"#).param("remove", json!(["aa", "ab"])).run();
    assert_eq!(done.rows("train")[0]["text"], " ");
}

#[test]
fn field_names_are_parameters_and_a_test_set_may_lack_labels() {
    let done = Run::new("ingest")
        .input("test", r#"{"key": 7, "tweet": "hi", "class": null, "before": "one turn"}"#)
        .param("id_field", "key")
        .param("text_field", "tweet")
        .param("label_field", "class")
        .param("context_field", "before")
        .run();
    let wanted = json!({"id": "7", "text": "hi", "context": ["one turn"], "line": 1});
    assert_eq!(done.rows("test"), [wanted]);
    assert_eq!(done.json("report")["test"]["unlabelled_rows"], 1);
    assert_eq!(done.json("report").get("train"), None);
}

#[test]
fn numbers_as_labels_and_ids_keep_their_digits() {
    let done = train(
        r#"{"label": 1, "id": 123456789012345678901234567890, "response": "a"}
{"label": 1.0, "id": -0, "response": "b"}"#,
    )
    .run();
    let rows = done.rows("train");
    assert_eq!((&rows[0]["label"], &rows[1]["label"]), (&json!("1"), &json!("1.0")));
    assert_eq!(rows[0]["id"], "123456789012345678901234567890");
}

#[test]
fn truth_values_as_labels_are_read_as_written() {
    let done =
        train("{\"label\":true,\"response\":\"a\"}\n{\"label\":false,\"response\":\"b\"}").run();
    let labels: Vec<Value> = done.rows("train").iter().map(|row| row["label"].clone()).collect();
    assert_eq!(labels, ["true", "false"]);
}

#[test]
fn a_field_that_is_null_is_not_read() {
    let text = "{\"id\":1,\"label\":\"A\",\"response\":\"a\",\"context\":[7]}\n".repeat(2);
    let run = train(&text).param("id_field", Value::Null).param("context_field", Value::Null);
    let rows = run.run().rows("train");
    assert_eq!((&rows[1]["id"], &rows[1]["context"]), (&json!("train_2"), &json!([])));
    let run = || Run::new("ingest").input("test", &text).param("label_field", Value::Null);
    let rows = run().param("id_field", Value::Null).param("context_field", Value::Null).run();
    assert_eq!(rows.rows("test")[0].get("label"), None);
    let problem = train("").param("label_field", Value::Null).check().unwrap_err();
    assert!(problem.contains("`require_labels: false`"), "{problem}");
}

#[test]
fn files_that_are_no_text_are_refused_by_what_they_are() {
    for (bytes, found) in [
        (&b"\xff\xfe\0\0l\0\0\0"[..], "UTF-32; convert it first"),
        (
            b"l\0a\0b\0",
            "zero bytes, as in UTF-16; name the encoding, for instance `encoding: utf-16le`",
        ),
        (
            b"\0l\0a\0b",
            "zero bytes, as in UTF-16; name the encoding, for instance `encoding: utf-16be`",
        ),
        (b"\xfd7zXZ\0", "an xz archive; decompress it first"),
        (b"PK\x03\x04..", "a zip archive or a spreadsheet"),
        (b"PARE", "an encrypted Parquet file"),
    ] {
        for format in ["auto", "jsonl", "csv", "tsv"] {
            let error = train(bytes).param("format", format).run().error();
            let start = format!("train.in: expected text in UTF-8, found {found}");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

#[test]
fn a_byte_order_mark_line_ends_of_windows_and_blank_lines_are_no_rows() {
    let text = format!("\u{feff}\r\n{}\r\n  \r\n", TWO_ROWS.replace('\n', "\r\n"));
    let done = train(text).run();
    let lines: Vec<Value> = done.rows("train").iter().map(|row| row["line"].clone()).collect();
    assert_eq!(lines, [2, 3]);
    assert_eq!(done.rows("train")[1]["text"], "a plain answer");
}

#[test]
fn malformed_lines_are_named_with_what_was_expected_and_found() {
    let cases = [
        (r#"{"label":"A","respons":"b"}"#, "no field `response`; there are `respons`, `label`"),
        ("{}", "no field `response`; the object is empty"),
        (r#"{"respons":"b\ud800","n":1e999}"#, "no field `response`; there are `respons`, `n`"),
        (r#"{"response":"b"}"#, "no label: the field `label` is empty or absent"),
        (r#"{"label":"A","response":7}"#, "the field `response` is a number, expected a text"),
        (
            r#"{"label":["A"],"response":"b"}"#,
            "the field `label` is a list, expected one label; `task: multi` reads lists of labels",
        ),
        (
            r#"{"label":"A","response":"b","context":["c",1]}"#,
            "the field `context` is a list of other things, expected a list of texts, or a text",
        ),
        (r#"{"label":"A","response":"b","label":"B"}"#, "the field `label` occurs twice"),
        (
            r#"{"label":"A","response":"b""#,
            "expected a JSON object on one line, but the line ends before the object does",
        ),
        (
            r#"{"label":"A" "response":"b"}"#,
            r#"not valid JSON: expected `,` or `}` at byte 14, found `"response":"b"}`"#,
        ),
        (
            r#"{"label":"A","response":"b"} {"#,
            "expected one JSON object, found `{` after it at byte 30",
        ),
        ("[1]", "expected a JSON object, found `[1]`"),
        (
            r#"{"label":NaN,"response":"b"}"#,
            r#"not valid JSON at byte 10, found `NaN,"response":"b"}`"#,
        ),
        (
            r#"{"label":"A","response":"b \ud83d c"}"#,
            "expected text that is valid Unicode, found half of a surrogate pair (`\\ud83d`) at byte 28",
        ),
        (
            r#"{"label":"A","response":"b","context":["\udc00"]}"#,
            "expected text that is valid Unicode, found half of a surrogate pair (`\\udc00`) at byte 41",
        ),
    ];
    for (line, problem) in cases {
        assert_eq!(error_of(line), format!("train.in, line 2: {problem}"));
    }
}

#[test]
fn whole_surrogate_pairs_and_escaped_backslashes_are_no_lone_surrogates() {
    let done = train(r#"{"label":"A","response":"\ud83d\ude00 \\ud83d"}"#).run();
    assert_eq!(done.rows("train")[0]["text"], "😀 \\ud83d");
}

#[test]
fn bytes_that_are_not_utf8_are_malformed() {
    let done = train(b"{\"label\":\"A\",\"response\":\"caf\xe9\"}\n").run();
    assert_eq!(done.error(), "train.in, line 1: expected UTF-8, found the byte 0xe9 at byte 29");
}

#[test]
fn labels_outside_the_declared_set_are_refused_with_the_nearest() {
    let run = train(TWO_ROWS.replace("NOT_SARCASM", "NOT_SARCAMS"));
    let done = run.param("labels", json!(["SARCASM", "NOT_SARCASM"])).run();
    assert_eq!(
        done.error(),
        "train.in, line 2: unknown label `NOT_SARCAMS`; `labels` has `NOT_SARCASM`, `SARCASM`"
    );
    let done = train(TWO_ROWS).param("labels", json!(["SARCASM", "NOT_SARCASM"])).run();
    assert_eq!(done.rows("train").len(), 2);
}

#[test]
fn an_id_may_be_used_once_even_one_that_another_row_was_given() {
    let row = |id: &str| format!("{{\"id\":\"{id}\",\"label\":\"A\",\"response\":\"a\"}}\n");
    let without = "{\"label\":\"A\",\"response\":\"a\"}\n";
    let error = |text: String| train(text).run().error();
    let used = |line: u64, id: &str| {
        format!("train.in, line {line}: the id `{id}` is used by an earlier row")
    };
    assert_eq!(error(row("x") + &row("y") + &row("x")), used(3, "x"));
    assert_eq!(error(without.to_owned() + without + &row("train_1")), used(3, "train_1"));
    assert_eq!(error(row("train_2") + without), used(2, "train_2"));
    let fine = row("train_1") + without + &row("train_01") + &row("train_9");
    assert_eq!(train(fine).run().rows("train").len(), 4);
}

#[test]
fn skipped_lines_are_kept_and_counted_and_warned_of() {
    let text = format!("not json\n{TWO_ROWS}{{\"label\":\"NEW\"}}\n");
    let done = train(text).param("on_error", "skip").param("format", "jsonl").run();
    assert_eq!(done.rows("train").len(), 2);
    assert_eq!(
        done.rows("skipped"),
        [
            json!({
                "input": "train",
                "line": 1,
                "problem": "expected a JSON object, found `not json`",
                "raw": "not json",
            }),
            json!({
                "input": "train",
                "line": 4,
                "problem": "no field `response`; there are `label`",
                "raw": "{\"label\":\"NEW\"}",
            }),
        ]
    );
    assert_eq!(done.json("report")["train"]["skipped"], 2);
    assert_eq!(
        done.warnings(),
        ["`train`: left out 2 malformed rows; the output `skipped` has them"]
    );
}

#[test]
fn a_label_of_skipped_rows_alone_is_not_reported() {
    let row = |label: &str| format!("{{\"id\":1,\"label\":\"{label}\",\"response\":\"a\"}}\n");
    let done = train(row("A") + &row("B")).param("on_error", "skip").run();
    assert_eq!(done.json("report")["train"]["labels"], json!({"A": {"rows": 1, "share": 1.0}}));
}

#[test]
fn a_line_too_long_for_text_is_refused_and_the_next_one_is_read() {
    let long = "x".repeat((16 << 20) + 1);
    let text = format!("{{\"label\":\"A\",\"response\":\"{long}\"}}\n{TWO_ROWS}");
    assert_eq!(train(&text).run().error(), "train.in, line 1: longer than 16 MiB");
    let done = train(&text).param("on_error", "skip").run();
    assert_eq!(done.rows("train").len(), 2);
    assert_eq!(done.rows("skipped")[0]["raw"].as_str().unwrap().len(), 200);
}

#[test]
fn a_file_without_rows_is_refused() {
    assert_eq!(train("\n\n").run().error(), "train.in: holds no rows");
    let done = train("{}\n{}\n").param("on_error", "skip").run();
    assert_eq!(done.error(), "train.in: holds no usable row: all 2 are malformed");
}

#[test]
fn the_report_counts_labels_lengths_and_equal_texts() {
    let row = |label: &str, text: &str| {
        json!({"label": label, "response": text, "context": ["one"]}).to_string() + "\n"
    };
    let train = row("A", "héllo you") + &row("A", "x @U") + &row("B", "x @U") + &row("A", " ");
    // Without a label, a text has no other label.
    let test =
        "{\"response\":\"x \"}\n{\"response\":\"x \",\"label\":\"A\"}\n{\"response\":\"new\"}\n";
    let done = Run::new("ingest")
        .input("train", train)
        .input("test", test)
        .param("remove", json!(["@U"]))
        .run();
    let report = done.json("report");
    assert_eq!(
        report["train"],
        json!({
            "format": "jsonl",
            "rows": 4,
            "skipped": 0,
            "labels": {"A": {"rows": 3, "share": 0.75}, "B": {"rows": 1, "share": 0.25}},
            "unlabelled_rows": 0,
            "empty_texts": 1,
            "characters": {"min": 1, "median": 2.0, "mean": 3.5, "max": 9},
            "words": {"min": 0, "median": 1.0, "mean": 1.0, "max": 2},
            "context_turns": {"min": 1, "median": 1.0, "mean": 1.0, "max": 1},
            "duplicate_texts": {"groups": 1, "rows": 2, "conflicting_groups": 1},
        })
    );
    assert_eq!(report["test"]["duplicate_texts"]["rows"], 2);
    assert_eq!(report["test"]["duplicate_texts"]["conflicting_groups"], 0);
    let between = json!({"groups": 1, "train_rows": 2, "test_rows": 2});
    assert_eq!(report["between_train_and_test"], between);
    assert_eq!(
        done.warnings(),
        [
            "`train`: 1 row with an empty text",
            "`train`: 1 group of equal texts with different labels",
            "2 rows of `test` with a text that `train` has too",
        ]
    );
}

#[test]
fn lengths_beyond_the_exact_histogram_keep_least_mean_and_greatest() {
    let row = |length: usize| json!({"label": "A", "response": "x".repeat(length)}).to_string();
    let done = train([row(1), row(40_000), row(40_001)].join("\n")).run();
    let wanted = json!({"min": 1, "median": 32_768.0, "mean": 80_002.0 / 3.0, "max": 40_001});
    assert_eq!(done.json("report")["train"]["characters"], wanted);
}

#[test]
fn every_run_gives_the_same_bytes() {
    let outputs = || {
        let done = train(TWO_ROWS).run();
        ["train", "report", "skipped"].map(|output| done.text(output))
    };
    assert_eq!(outputs(), outputs());
}

#[test]
fn senseless_parameters_are_refused() {
    let check = |run: Run| run.check().unwrap_err();
    assert_eq!(check(Run::new("ingest")), "`ingest` needs an input: `train`, `test` or both");
    assert_eq!(
        check(train("").param("id_field", "label")),
        "`label_field` and `id_field` are both the field `label`"
    );
    assert_eq!(
        check(train("").param("text_field", "")),
        "`text_field` is empty, expected a field's name"
    );
    assert_eq!(check(train("").param("remove", json!([""]))), "`remove` holds an empty text");
    assert_eq!(check(train("").param("context_separator", "")), "`context_separator` is empty");
}

#[test]
fn a_missing_file_is_named() {
    let done = Run::new("ingest").input_path("train", PathBuf::from("/nowhere/x.jsonl")).run();
    assert!(done.error().starts_with("opening /nowhere/x.jsonl: No such file"), "{}", done.error());
}

/// The real data is next to the project on its authors' machines only.
#[test]
fn the_real_data_has_no_malformed_row_and_248_groups_of_equal_texts() {
    let shared = "shared/data/figlang-twitter";
    let Some(data) = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join(shared))
        .find(|folder| folder.is_dir())
    else {
        eprintln!("skipped: no {shared} above this project");
        return;
    };
    let run = || {
        Run::new("ingest")
            .input_path("train", data.join("train.jsonl"))
            .input_path("test", data.join("test.jsonl"))
            .param("labels", json!(["SARCASM", "NOT_SARCASM"]))
    };
    for remove in [json!([]), json!(["@USER"])] {
        let done = run().param("remove", remove).run();
        let train = &done.json("report")["train"];
        assert_eq!((&train["rows"], &train["skipped"]), (&json!(5000), &json!(0)));
        let half = json!({"rows": 2500, "share": 0.5});
        assert_eq!(train["labels"], json!({"NOT_SARCASM": half, "SARCASM": half}));
        let duplicates = json!({"groups": 248, "rows": 496, "conflicting_groups": 1});
        assert_eq!(train["duplicate_texts"], duplicates);
        let turns = &train["context_turns"];
        assert_eq!((&turns["min"], &turns["max"]), (&json!(2), &json!(20)));
        let rows = done.rows("test");
        assert_eq!((rows.len(), &rows[1799]["id"]), (1800, &json!("twitter_1800")));
    }
}
