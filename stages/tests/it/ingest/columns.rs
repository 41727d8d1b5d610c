//! `ingest` with Parquet and Arrow IPC, against what pyarrow reads from the same files.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Done, Run};

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/columns");
    std::fs::read(folder.join(name)).unwrap()
}

const PARQUET: [&str; 6] = ["none", "snappy", "gzip", "zstd", "lz4", "pages"];
const ARROW: [&str; 4] = ["uncompressed", "zstd", "lz4", "stream"];

/// All files of the table, by their formats.
fn files() -> Vec<(&'static str, String)> {
    let parquet = PARQUET.iter().map(|name| ("parquet", format!("{name}.parquet")));
    let arrow = ARROW.iter().map(|name| ("arrow", format!("{name}.arrow")));
    parquet.chain(arrow).collect()
}

fn test(bytes: impl AsRef<[u8]>) -> Run {
    Run::new("ingest").input("test", bytes)
}

fn texts(done: &Done) -> Vec<Value> {
    done.rows("test").iter().map(|row| row["text"].clone()).collect()
}

#[test]
fn files_of_columns_have_the_rows_that_pyarrow_reads() {
    let run = |file: &str| Run::new("ingest").input("train", fixture(file)).run();
    let lines = run("rows.jsonl").text("train");
    assert_eq!(lines.lines().count(), 60);
    for (format, file) in files() {
        let done = run(&file);
        assert_eq!(done.text("train"), lines, "{file}");
        assert_eq!(done.json("report")["train"]["format"], format, "{file}");
    }
}

#[test]
fn a_column_of_any_type_is_read_as_its_json() {
    for (column, is_context) in [
        ("number", false),
        ("flag", false),
        ("short", false),
        ("price", false),
        ("day", false),
        ("at", false),
        ("tags", true),
    ] {
        let field = if is_context { "context_field" } else { "label_field" };
        let run = |file: &str| {
            let run = test(fixture(file)).param(field, column).run();
            let name = if is_context { "context" } else { "label" };
            run.rows("test").iter().map(|row| row[name].clone()).collect::<Vec<_>>()
        };
        let wanted: Vec<Value> = match column {
            // A decimal keeps its digits, a moment the zeros that matter.
            "price" => {
                (0..60).map(|row| json!(format!("{}.{:02}", row / 100, row % 100))).collect()
            }
            "at" => (0..60).map(|row| json!(format!("2020-01-01T12:{row:02}:01.500Z"))).collect(),
            _ => run("rows.jsonl"),
        };
        for file in ["zstd.parquet", "uncompressed.arrow"] {
            assert_eq!(run(file), wanted, "{column} of {file}");
        }
    }
    for (column, wanted) in
        [("raw", "raw 7"), ("tweet.full_text", "deep 7"), ("tweet.by.name", "u2")]
    {
        for (_, file) in files() {
            let done = test(fixture(&file)).param("text_field", column).run();
            assert_eq!(texts(&done)[7], wanted, "{file}");
        }
    }
}

#[test]
fn a_compressed_file_of_columns_is_read_too() {
    use std::io::Write;
    let plain = test(fixture("none.parquet")).run();
    for file in ["none.parquet", "uncompressed.arrow", "stream.arrow"] {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(&fixture(file)).unwrap();
        let done = test(out.finish().unwrap()).run();
        assert_eq!(done.text("test"), plain.text("test"), "{file}");
    }
}

#[test]
fn a_column_that_is_missing_or_cannot_be_read_is_told_before_any_row() {
    for (format, file) in files() {
        let error = test(fixture(&file)).param("text_field", "respons").run().error();
        let start = format!(
            "test.in: read as {format}, there is no column `respons`; there are `response`"
        );
        assert!(error.starts_with(&start), "{error}");
        let error = test(fixture(&file)).param("text_field", "tweet.text").run().error();
        assert!(error.contains("`tweet.full_text`"), "{error}");
    }
    let error = test(fixture("none.parquet")).param("label_field", "took").run().error();
    assert_eq!(error, "test.in: the column `took` has the type Duration(µs), which cannot be read");
    let error = test(fixture("brotli.parquet")).run().error();
    assert!(
        error.starts_with("test.in: its columns are compressed by brotli, which is"),
        "{error}"
    );
}

#[test]
fn a_row_of_columns_is_told_by_its_number_and_field() {
    let run = || test(fixture("none.parquet")).param("text_field", "number");
    let error = run().run().error();
    assert_eq!(error, "test.in, row 1: the field `number` is null, expected a text");
    let skipped = run().param("on_error", "skip").param("text_field", "response");
    let done = skipped.param("id_field", "short").run();
    assert_eq!(done.rows("test").len(), 7);
    let first = &done.rows("skipped")[0];
    assert_eq!(
        (&first["line"], &first["problem"]),
        (&json!(8), &json!("the id `0` is used by an earlier row"))
    );
    assert!(first["raw"].as_str().unwrap().contains("\"short\":0"), "{first}");
}

#[test]
fn the_format_that_is_named_must_be_the_one_of_the_file() {
    for (file, told, problem) in [
        ("none.parquet", "arrow", "read as arrow, but it is parquet: set `format: parquet`"),
        ("stream.arrow", "csv", "read as csv, but it is arrow: set `format: arrow`"),
        ("rows.jsonl", "parquet", "read as parquet, but it does not start like one"),
    ] {
        let error = test(fixture(file)).param("format", told).run().error();
        assert_eq!(error, format!("test.in: {problem}"));
    }
    assert_eq!(
        test(fixture("none.parquet")).param("format", "parquet").run().rows("test").len(),
        60
    );
}

/// A number from a seed, by splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[test]
fn damaged_files_of_columns_are_refused_and_never_bring_the_stage_down() {
    let number = |name, default| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (mutations, seed) = (number("PIPE_MUTATIONS", 8), number("PIPE_SEED", 1));
    let mut state = seed;
    for (_, file) in files() {
        let whole = fixture(&file);
        for _ in 0..mutations {
            let mut damaged = whole.clone();
            match random(&mut state) % 4 {
                0 => damaged.truncate(random(&mut state) as usize % whole.len()),
                kind => {
                    for _ in 0..kind {
                        let at = 5 + random(&mut state) as usize % (whole.len() - 5);
                        damaged[at] = random(&mut state) as u8;
                    }
                }
            }
            let done = test(&damaged).run();
            if let Err(error) = &done.result {
                let error = error.to_string();
                assert!(error.contains("test.in"), "{file}, seed {seed}: {error}");
            }
        }
        for length in (0..whole.len()).step_by(whole.len() / 20) {
            let done = test(&whole[..length]).run();
            assert!(done.result.is_err(), "{file} cut to {length} bytes");
        }
    }
}
