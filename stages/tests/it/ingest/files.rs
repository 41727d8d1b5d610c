//! `ingest` with compressed files, other encodings, and lists of JSON.

use std::io::Write;

use serde_json::{Value, json};
use stages::Params;

use crate::harness::{Done, Run};

const ROWS: &str =
    "{\"label\":\"A\",\"response\":\"a \u{e9}\"}\n{\"label\":\"B\",\"response\":\"b\"}\n";
const CSV: &str = "label,response\nA,a \u{e9}\nB,\"b, c\"\n";
const LIST: &str = "[{\"label\":\"A\",\"response\":\"a\"},\n {\"label\":\"B\",\"response\":\"b\"}]";

fn train(bytes: impl AsRef<[u8]>) -> Run {
    Run::new("ingest").input("train", bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.include_checksum(true).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ALL: [(&str, Compress); 3] = [("gzip", gzip), ("zstd", zstd), ("bzip2", bzip2)];

fn texts(done: &Done) -> Vec<Value> {
    done.rows("train").iter().map(|row| row["text"].clone()).collect()
}

#[test]
fn a_compressed_file_is_the_file_within_it() {
    for text in [ROWS, CSV, LIST] {
        let plain = train(text).run();
        for (name, compress) in ALL {
            let done = train(compress(text.as_bytes())).run();
            for output in ["train", "report", "skipped"] {
                assert_eq!(done.text(output), plain.text(output), "{name}");
            }
        }
    }
}

#[test]
fn parts_that_were_compressed_apart_are_one_file() {
    for (name, compress) in ALL {
        let both = [compress(ROWS.as_bytes()), compress(ROWS.as_bytes())].concat();
        assert_eq!(train(both).run().rows("train").len(), 4, "{name}");
    }
}

#[test]
fn zeros_after_a_part_of_gzip_are_ignored() {
    let padding = [0; 512];
    let part = gzip(ROWS.as_bytes());
    assert_eq!(train([&part[..], &padding].concat()).run().rows("train").len(), 2);
    let both = [&part[..], &padding, &part].concat();
    assert_eq!(train(both).run().rows("train").len(), 4);
    let error = train([&part[..], &padding, b"more"].concat()).run().error();
    assert!(error.contains("the gzip data is"), "{error}");
}

#[test]
fn compressed_data_that_is_cut_off_or_damaged_is_refused_by_name() {
    let text = ROWS.repeat(50);
    for (name, compress) in ALL {
        let whole = compress(text.as_bytes());
        for length in [whole.len() / 2, whole.len() - 1] {
            let error = train(&whole[..length]).run().error();
            assert_eq!(error, format!("reading train.in: the {name} data is cut off"));
        }
        for at in (12..whole.len()).step_by(1 + whole.len() / 50) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let done = train(&damaged).run();
            assert!(done.result.is_err() || done.rows("train").len() == 100, "{name} at {at}");
        }
    }
    let error = train(gzip(&gzip(ROWS.as_bytes()))).run().error();
    assert!(error.contains("a gzip archive in another archive"), "{error}");
}

#[test]
fn what_decompresses_to_an_endless_line_is_refused_at_its_first_row() {
    for (_, compress) in ALL {
        let mut text = b"label,response\nA,".to_vec();
        text.resize(20 << 20, b' ');
        let error = train(compress(&text)).run().error();
        assert!(error.starts_with("train.in, line 2: longer than 16 MiB"), "{error}");
    }
    // A frame that asks for a window of 2 GiB.
    let mut frame = b"\x28\xb5\x2f\xfd\x00".to_vec();
    frame.extend([21 << 3, 0, 0, 0]);
    let error = train(frame).run().error();
    assert!(error.starts_with("reading train.in: the zstd data is damaged"), "{error}");
}

#[test]
fn text_in_another_encoding_is_read_if_it_is_named() {
    for (encoding, bytes, text) in [
        ("windows-1252", &b"label,response\nA,\x80 \xe9\n"[..], "\u{20ac} \u{e9}"),
        ("Latin1", b"label,response\nA,\xe9\n", "\u{e9}"),
        ("shift_jis", b"label,response\nA,\x83\x65\x83\x58\x83\x67\n", "\u{30c6}\u{30b9}\u{30c8}"),
        ("utf-8", b"label,response\nA,\xc3\xa9\n", "\u{e9}"),
        // A mark says more.
        ("windows-1252", b"\xef\xbb\xbflabel,response\nA,\xc3\xa9\n", "\u{e9}"),
    ] {
        let done = train(bytes).param("encoding", encoding).run();
        assert_eq!(texts(&done), [text], "{encoding}");
    }
    let done = train(gzip(b"label,response\nA,\xe9\n")).param("encoding", "latin1").run();
    assert_eq!(texts(&done), ["\u{e9}"]);
}

#[test]
fn utf_16_is_known_by_its_mark() {
    for text in [ROWS, CSV, LIST] {
        let plain = train(text).run();
        let units = |mark: u16| std::iter::once(mark).chain(text.encode_utf16());
        let little: Vec<u8> = units(0xfeff).flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units(0xfeff).flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big, &zstd(&little)] {
            assert_eq!(train(bytes).run().text("train"), plain.text("train"));
        }
        let without = train(&little[2..]).param("encoding", "utf-16le").run();
        assert_eq!(without.text("train"), plain.text("train"));
    }
}

#[test]
fn bytes_that_mean_nothing_in_the_encoding_are_told_by_their_row() {
    let text = b"label,response\nA,\x83\x65\x83\x58\nB,\x83\xff\nA,c\n";
    let run = || train(text).param("encoding", "shift_jis");
    let told = "train.in, line 3: found bytes that mean nothing in the encoding of the file, after \
                byte 2 of its text in UTF-8";
    assert_eq!(run().run().error(), told);
    let done = run().param("on_error", "skip").run();
    assert_eq!(done.rows("train").len(), 2);
    // At the end of the file, too.
    let error = train(b"label,response\nA,\x83").param("encoding", "shift_jis").run().error();
    assert!(error.starts_with("train.in, line 2: found bytes"), "{error}");
}

#[test]
fn an_encoding_that_is_unknown_is_refused_before_the_stage_runs() {
    let problem = train("").param("encoding", "windows-1253x").check().unwrap_err();
    assert!(problem.contains("such as `windows-1252`"), "{problem}");
}

#[test]
fn a_parameter_that_was_added_later_is_in_the_key_only_if_it_is_used() {
    let specs = stages::find("ingest").unwrap().params();
    let of_key = |given: Value| {
        let given = serde_json::from_value(given).unwrap();
        Params::of_key(specs, Params::resolve(specs, &given).unwrap().0)
    };
    assert!(!of_key(json!({})).contains_key("encoding"));
    assert_eq!(of_key(json!({"encoding": "auto"})), of_key(json!({})));
    assert_eq!(of_key(json!({"encoding": "latin1"}))["encoding"], "latin1");
}

#[test]
fn a_list_of_json_has_rows_that_are_numbered() {
    let pretty = "\u{feff}\r\n[\n  {\n    \"label\": \"A\",\n    \"response\": \"a ] } \\\" , \\\\\"\n  },\n  \
                  {\"label\": 2, \"response\": \"b\", \"context\": [\"x\"], \"id\": \"own\"}\n]\n\n";
    for text in [pretty.to_owned(), pretty.replace('\n', "").replace("  ", "")] {
        let done = train(text).run();
        assert_eq!(
            done.text("train"),
            "{\"id\":\"train_1\",\"label\":\"A\",\"text\":\"a ] } \\\" , \\\\\",\"context\":[],\"line\":1}\n\
             {\"id\":\"own\",\"label\":\"2\",\"text\":\"b\",\"context\":[\"x\"],\"line\":2}\n"
        );
        assert_eq!(done.json("report")["train"]["format"], "json");
    }
    assert_eq!(train("[ ]").run().error(), "train.in: holds no rows");
}

#[test]
fn a_row_of_a_list_is_told_by_its_number() {
    let rows = r#"[{"label":"A","response":"a"}, {"label":"A","text":"b"}, 7, {"label" "A"}]"#;
    let error = train(rows).run().error();
    assert_eq!(error, "train.in, row 2: no field `response`; there are `label`, `text`");
    let done = train(rows).param("on_error", "skip").run();
    let skipped = done.rows("skipped");
    assert_eq!(skipped[1]["problem"], "expected a JSON object, found `7`");
    assert_eq!(skipped[2]["raw"], r#"{"label" "A"}"#);
    assert_eq!(skipped.iter().map(|row| row["line"].clone()).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn a_list_that_is_broken_between_its_rows_is_refused_whatever_is_skipped() {
    for (text, problem) in [
        (r#"[{"response":"a"}"#, "not valid JSON after row 1: the file ends before the list does"),
        (r#"[{"response":"a"},"#, "not valid JSON after row 1: the file ends before the list does"),
        (r#"[{"response":"a"},]"#, "not valid JSON after row 1: a comma is followed by the end"),
        (r#"[{"response":"a"}, [}"#, "not valid JSON after row 2: the file ends before the list"),
        (r#"[{"response":"a"} {}]"#, "not valid JSON after row 1: expected a comma or the end"),
        (r#"[{"response":"a"}] {}"#, "not valid JSON after row 1: expected the end of the file"),
        (r#"[{"response":"a"#, "the file ends within row 1"),
        ("[", "not a JSON list of rows: the file ends before the list does"),
    ] {
        let error = train(text).param("on_error", "skip").param("require_labels", false);
        let error = error.run().error();
        assert!(error.starts_with(&format!("train.in: {problem}")), "{text}: {error}");
    }
    let error = train(ROWS).param("format", "json").run().error();
    assert_eq!(error, "train.in: not a JSON list of rows: expected a JSON list");
}

#[test]
fn a_field_in_an_object_is_named_by_its_path() {
    let row =
        r#"{"tweet":{"text":{"full":"deep"},"by":{"id":7}},"tweet.text.full":null,"label":"A"}"#;
    let run = |row: &str| train(row).param("text_field", "tweet.text.full");
    let done = run(&row.replace("\"tweet.text.full\":null,", "")).param("id_field", "tweet.by.id");
    assert_eq!(done.run().rows("train")[0]["text"], "deep");
    // A field that is called so counts, wherever it stands.
    for (row, text) in [
        (r#"{"tweet":{"text.full":"b"},"label":"A"}"#, "b"),
        (r#"{"tweet.text":{"full":"c"},"label":"A"}"#, "c"),
        (r#"{"tweet":{"text":{"full":"b"}},"tweet.text.full":"d","label":"A"}"#, "d"),
        (r#"{"tweet.text.full":"e","tweet":{"text":{"full":"b"}},"label":"A"}"#, "e"),
    ] {
        assert_eq!(texts(&run(row).run()), [text], "{row}");
    }
    assert_eq!(
        run(row).run().error(),
        "train.in, line 1: the field `tweet.text.full` is null, expected a text"
    );
    let error = run(r#"{"tweet":{"text":"x"},"label":"A"}"#).run().error();
    assert_eq!(
        error,
        "train.in, line 1: no field `tweet.text.full`; there are `tweet.text`, `label`"
    );
    for row in [
        r#"{"tweet":{"text.full":"b"},"tweet.text":{"full":"c"},"label":"A"}"#,
        r#"{"tweet":{"text":{"full":"b","full":"c"}},"label":"A"}"#,
    ] {
        assert!(run(row).run().error().ends_with("` occurs twice"), "{row}");
    }
}
