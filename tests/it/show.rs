//! `pipe show` on files and folders, intact and damaged.

use std::path::PathBuf;

use pipe::results::show::{ShowError, ShowOptions, show};
use serde_json::{Value, json};

struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

const OPTIONS: ShowOptions = ShowOptions { width: 60, rows: 3, json: false };

fn shown(path: &std::path::Path, options: &ShowOptions) -> Result<String, ShowError> {
    let mut out = Vec::new();
    show(path, options, &mut out).map(|()| String::from_utf8(out).unwrap())
}

/// The text view of a file with this content.
#[track_caller]
fn see(content: impl AsRef<[u8]>) -> String {
    shown(&Scratch::new().file("x", content), &OPTIONS).unwrap()
}

#[track_caller]
fn refused(content: impl AsRef<[u8]>) -> String {
    shown(&Scratch::new().file("x", content), &OPTIONS).unwrap_err().to_string()
}

fn data(content: impl AsRef<[u8]>) -> Value {
    let text = shown(&Scratch::new().file("x", content), &ShowOptions { json: true, ..OPTIONS });
    let text = text.unwrap();
    assert_eq!(text.matches('\n').count(), 1, "one line");
    serde_json::from_str(&text).unwrap()
}

const TWEETS: &str = "\
{\"label\": \"SARCASM\", \"response\": \"oh great, another Monday. Just what everybody needed today\", \"n\": 5}
{\"label\": \"NOT_SARCASM\", \"response\": \"日本語のツイート、とても長いので切られるはずです、そうでしょう\", \"n\": 12}

{\"label\": \"SARCASM\", \"response\": \"short\", \"context\": [\"a\", \"b\"]}
{\"label\": \"SARCASM\", \"response\": \"not shown\"}
";

#[test]
fn jsonl_is_a_table_that_fits() {
    let text = see(TWEETS);
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 60, "{line}");
    }
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "x: JSONL, 4 rows, 358 B");
    assert_eq!(lines[1], "label         n  response                          context");
    assert!(lines[3].starts_with("SARCASM       5  oh great, another Monday. Just …"), "{text}");
    assert!(lines[4].starts_with("NOT_SARCASM  12  日本語のツイート、"), "{text}");
    assert_eq!(lines[5], "SARCASM          short                             [\"a\",\"b\"]");
    assert_eq!(lines[6], "… 1 more row");
    assert_eq!(lines.len(), 7);
}

#[test]
fn jsonl_as_json_has_the_first_rows_and_the_count() {
    let found = data(TWEETS);
    assert_eq!(found["kind"], "jsonl");
    assert_eq!(found["rows"], 4);
    assert_eq!(found["first"].as_array().unwrap().len(), 3);
    assert_eq!(found["first"][2]["context"], json!(["a", "b"]));
}

#[test]
fn rows_that_are_not_maps_are_shown_too() {
    let text = see("[1, 2]\n{\"a\": 1}\nnull\n");
    assert!(text.contains("[1,2]"), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with("value"), "{text}");
}

#[test]
fn the_count_does_not_depend_on_how_the_last_line_ends() {
    for (content, rows) in [
        ("{}\n{}", 2),
        ("{}\n{}\n", 2),
        ("{}\r\n{}\r\n\r\n", 2),
        ("\n\n{}\n  \n{}\n{}\n{}\n\n{}", 5),
    ] {
        assert_eq!(data(content)["rows"], rows, "{content:?}");
    }
}

#[test]
fn a_line_that_is_not_json_is_named() {
    assert_eq!(
        refused("{\"a\": 1}\n{\"a\": \n").split(": EOF").next().unwrap().rsplit('/').next(),
        Some("x, line 2")
    );
    // Only the rows shown are parsed.
    see("{}\n{}\n{}\n{}\nbroken\n");
}

#[test]
fn an_endless_row_is_refused_without_reading_it_whole() {
    let mut content = b"{}\n".to_vec();
    content.extend(vec![b'['; 5 << 20]);
    assert!(refused(content).ends_with("line 2: longer than 4194304 bytes"));
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let evil = "{\"text\": \"\\u001b]0;title\\u0007 \\u202e \\u009b31m\"}\n{\"\\u001b[2J\": 1}\n";
    let escape = |text: &str| {
        let odd = |character: char| {
            (character.is_control() && character != '\n') || character == '\u{202e}'
        };
        assert!(!text.contains(odd), "{text:?}");
    };
    escape(&see(evil));
    escape(&see("plain \u{1b}[2J \u{9b}31m \r text\u{202e}"));
    escape(&see("{\"text\": \"\\u009b31m\u{202e}\"}"));
    let scratch = Scratch::new();
    escape(&shown(&scratch.file("\u{1b}[2J", "x"), &OPTIONS).unwrap());
    escape(&shown(scratch.folder.path(), &OPTIONS).unwrap());
}

#[test]
fn json_is_an_outline() {
    assert_eq!(see("{\"a\":[1,2.5],\"b\":\"x\"}"), "x: JSON, 21 B\na  [1, 2.5000]\nb  x\n");
    assert_eq!(see("{\n  \"a\": 1\n}\n"), "x: JSON, 13 B\na  1\n");
    assert_eq!(data("{\"a\": 1}")["value"], json!({"a": 1}));
}

#[test]
fn what_only_looks_like_json_is_text_and_says_why() {
    let text = see("{\"a\": 1,\n");
    assert!(text.starts_with("x: text (not JSON: EOF while parsing"), "{text}");
    let text = see("[INFO] started\n[INFO] done\n");
    assert!(text.contains("\n[INFO] started\n[INFO] done\n"), "{text}");
    see("[".repeat(100_000));
}

#[test]
fn text_shows_its_head() {
    let text = see("0,SARCASM\n1,NOT_SARCASM\n2,\tx\n3,SARCASM\n4,SARCASM");
    assert_eq!(text, "x: text, 5 lines, 48 B\n0,SARCASM\n1,NOT_SARCASM\n2,    x\n… 2 more lines\n");
    assert!(see(b"caf\xe9\n").starts_with("x: text (not UTF-8), 1 line"));
    assert_eq!(see("x".repeat(100)).lines().nth(1).unwrap(), "x".repeat(59) + "…");
    // A character may cross the end of the first block that is read.
    assert!(see("é".repeat(40_000).split_off(1 - 1) + "x").starts_with("x: text, 1 line"));
    assert!(see("x".to_owned() + &"é".repeat(40_000)).starts_with("x: text, 1 line"));
}

#[test]
fn empty_files_and_binary_data_are_named_as_such() {
    assert_eq!(see(""), "x: empty\n");
    assert_eq!(see([1, 0, 255]), "x: binary, 3 B\n01 00 ff\n");
    assert!(see(b"PK\x03\x04....").starts_with("x: binary (a zip archive, the format of PyTorch"));
    assert_eq!(data([0])["kind"], "binary");
}

fn safetensors(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; data_bytes]);
    file
}

const HEADER: &str = "{\"__metadata__\":{\"format\":\"pt\"},\
    \"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},\
    \"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";

#[test]
fn safetensors_are_listed_in_the_order_of_the_file() {
    assert_eq!(
        see(safetensors(HEADER, 32)),
        "x: safetensors, 2 tensors, 7 numbers, 182 B\n\
         format: pt\n\
         name  dtype  shape   size\n\
         ────  ─────  ──────  ────\n\
         a     F32    [2, 3]  24 B\n\
         b     I64    []       8 B\n"
    );
    let found = data(safetensors(HEADER, 32));
    assert_eq!(found["kind"], "safetensors");
    assert_eq!(
        found["first"][0],
        json!({"name": "a", "dtype": "F32", "shape": [2, 3], "bytes": 24})
    );
    assert_eq!(found["metadata"]["format"], "pt");
}

#[test]
fn broken_safetensors_are_refused_with_the_reason() {
    let reason = |file: Vec<u8>| {
        let text = refused(file);
        text.split_once("is not a valid safetensors file: ")
            .map(|(_, reason)| reason.to_owned())
            .unwrap()
    };
    assert_eq!(reason(safetensors(HEADER, 31)), "its tensors take 32 bytes, the file has 31");
    assert_eq!(reason(safetensors(HEADER, 40)), "its tensors take 32 bytes, the file has 40");
    assert!(reason(safetensors("{\"a\": }", 0)).starts_with("its header is not a JSON object"));
    assert!(reason(safetensors("{\"a\": 1}", 0)).starts_with("tensor `a`: "));
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!("{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let wrong = reason(safetensors(&one("F32", "[2]", "[0,4]"), 4));
    assert_eq!(wrong, "tensor `a`, F32 [2], has 4 bytes");
    let huge = one("F32", "[18446744073709551615, 16]", "[0,4]");
    assert!(reason(safetensors(&huge, 4)).starts_with("tensor `a`, F32"));
    assert!(reason(safetensors(&one("F32", "[1]", "[4,0]"), 4)).contains("is at 4..0"));
    // Truncated within the header.
    let mut cut = safetensors(HEADER, 32);
    cut.truncate(HEADER.len() + 4);
    assert!(reason(cut).starts_with("it ends within its header"));
}

#[test]
fn a_truncation_or_a_flipped_bit_anywhere_never_panics() {
    let scratch = Scratch::new();
    let sane = |content: &[u8]| {
        let path = scratch.file("x", content);
        for json in [false, true] {
            let _ = shown(&path, &ShowOptions { json, ..OPTIONS });
        }
    };
    for whole in [safetensors(HEADER, 32), TWEETS.as_bytes().to_vec()] {
        for at in 0..whole.len() {
            sane(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            sane(&flipped);
        }
    }
}

#[test]
fn a_folder_is_listed_with_sizes() {
    let scratch = Scratch::new();
    scratch.file("b.txt", "12345");
    std::fs::create_dir(scratch.folder.path().join("a")).unwrap();
    scratch.file("a/x", "1");
    let text = shown(scratch.folder.path(), &OPTIONS).unwrap();
    let (head, rest) = text.split_once('\n').unwrap();
    assert!(head.ends_with(": folder, 2 files, 6 B"), "{head}");
    assert_eq!(rest, "file   size\n─────  ────\na/x     1 B\nb.txt   5 B\n");
    let one = ShowOptions { rows: 1, ..OPTIONS };
    assert!(shown(scratch.folder.path(), &one).unwrap().ends_with("… 1 more file\n"));
}

#[test]
fn a_model_folder_shows_its_architecture() {
    let scratch = Scratch::new();
    scratch.file(
        "config.json",
        "{\"model_type\": \"roberta\", \"num_hidden_layers\": 4, \"hidden_size\": 128, \
         \"num_attention_heads\": 2, \"vocab_size\": 1000, \"id2label\": {\"0\": \"NO\", \"1\": \"YES\"}}",
    );
    scratch.file("model.safetensors", safetensors(HEADER, 32));
    let wide = ShowOptions { width: 120, ..OPTIONS };
    let text = shown(scratch.folder.path(), &wide).unwrap();
    assert_eq!(
        text.lines().nth(1).unwrap(),
        "roberta, 4 layers of 128, 2 heads, 1,000 tokens, 7 parameters, labels NO, YES"
    );
    let json = shown(scratch.folder.path(), &ShowOptions { json: true, ..wide }).unwrap();
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["model"]["parameters"], 7);
    assert_eq!(found["model"]["config"]["hidden_size"], 128);
}

#[test]
fn links_in_a_folder_show_the_size_of_their_targets() {
    let scratch = Scratch::new();
    let target = Scratch::new();
    let file = target.file("blob", "1234567");
    std::os::unix::fs::symlink(&file, scratch.folder.path().join("link")).unwrap();
    assert!(shown(scratch.folder.path(), &OPTIONS).unwrap().contains("link   7 B"));
    std::fs::remove_file(file).unwrap();
    let error = shown(scratch.folder.path(), &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("link"), "{error}");
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let row: serde_json::Map<String, Value> =
        (0..30).map(|index| (format!("column{index:02}"), json!("some text here"))).collect();
    let row = Value::Object(row).to_string();
    let text = see(format!("{row}\n{row}\n"));
    assert!(text.contains("… and the columns column"), "{text}");
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 60, "{line}");
    }
    // At any terminal width.
    let scratch = Scratch::new();
    let path = scratch.file("x", format!("{row}\n{row}\n"));
    for width in 0..20 {
        shown(&path, &ShowOptions { width, ..OPTIONS }).unwrap();
    }
}

#[test]
fn a_missing_path_or_a_special_file_is_an_error() {
    let scratch = Scratch::new();
    let missing = scratch.folder.path().join("missing");
    assert!(shown(&missing, &OPTIONS).unwrap_err().to_string().starts_with("reading /"));
    let error = shown(std::path::Path::new("/dev/null"), &OPTIONS).unwrap_err();
    assert_eq!(error.to_string(), "/dev/null is neither a file nor a folder");
}

#[test]
fn metrics_over_epochs_are_drawn_too() {
    let row = |epoch: u32, loss: f64, f1: f64| {
        format!("{{\"epoch\":{epoch},\"learning_rate\":{},\"loss\":{loss},\"f1\":{f1}}}\n", 3e-5)
    };
    let text = see([row(1, 0.698_123, 0.5), row(2, 0.5, 0.75), row(3, 0.25, 1.0)].concat());
    assert!(text.contains("\nf1               0.5000 ▁▅█ 1\n"), "{text}");
    assert!(text.contains("\nloss             0.6981 █▅▁ 0.2500\n"), "{text}");
    assert!(text.contains("3.00e-5 ▁▁▁ 3.00e-5"), "{text}");
    assert!(!see("{\"a\":1}\n{\"a\":2}\n").contains('█'), "figures of no course are not drawn");
    let many: String = (0..200).map(|step| row(step, f64::from(step), 0.0)).collect();
    let options = ShowOptions { rows: 200, ..ShowOptions::default() };
    let scratch = Scratch::new();
    let text = shown(&scratch.file("many", many), &options).unwrap();
    let drawn = text.lines().find(|line| line.starts_with("loss")).unwrap();
    assert_eq!(drawn.chars().filter(|it| "▁▂▃▄▅▆▇█".contains(*it)).count(), 40, "{drawn}");
}

#[test]
fn token_files_are_text_with_boundaries() {
    let root = env!("CARGO_MANIFEST_DIR");
    let project = crate::harness::Project::new(&format!(
        "stages:\n  tokenize: {{inputs: {{train: a.jsonl, model: {root}/models/small-roberta}}}}\n"
    ));
    let row = |id: &str, text: &str| {
        format!("{{\"id\":\"{id}\",\"label\":\"yes\",\"text\":\"{text}\"}}\n")
    };
    project.write("a.jsonl", &(row("one", "what a day") + &row("two", "no\\u001b[31m")));
    let ran = project.run(&[]).expect_code(0);
    let text = project.pipe(&["show", "tokenize:train"]).expect_code(0).stdout;
    assert!(text.starts_with("token file, 2 rows, "), "{text}");
    assert!(text.contains("one, yes (") && text.contains("<s>|"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = project.pipe(&["show", "tokenize:train", "--json", "--rows", "1"]).events();
    assert_eq!((&json[0]["rows"], &json[0]["first"][0]["id"]), (&2.into(), &"one".into()));
    let pieces = json[0]["first"][0]["tokens"].as_array().unwrap();
    let joined: String = pieces.iter().filter_map(|it| it.as_str()).collect();
    assert_eq!(joined, "<s>what a day</s>");
    // Without the tokenizer, token ids are shown.
    project.write("pipeline.yaml", "stages: {a: {run: 'true > $OUT_x', outputs: [x]}}\n");
    let outputs = &ran.about("stage_finished", "tokenize")["outputs"];
    let digest = outputs["train"]["content"].as_str().unwrap().to_owned();
    let text = project.pipe(&["show", &digest]).expect_code(0).stdout;
    assert!(text.contains("\n  0|"), "{text}");
}

#[test]
fn token_files_with_windows_show_each_with_its_row() {
    let root = env!("CARGO_MANIFEST_DIR");
    let project = crate::harness::Project::new(&format!(
        "stages:\n  tokenize:\n    inputs: {{train: a.jsonl, model: {root}/models/small-roberta}}\n    \
         params: {{max_length: 5, window_stride: 1}}\n"
    ));
    let row = |id: &str, text: &str| {
        format!("{{\"id\":\"{id}\",\"label\":\"yes\",\"text\":\"{text}\"}}\n")
    };
    project.write("a.jsonl", &(row("long", "what a day what a day") + &row("short", "what a")));
    let ran = project.run(&[]).expect_code(0);
    let metrics = &ran.about("stage_finished", "tokenize")["metrics"];
    assert_eq!((&metrics["train_rows"], &metrics["train_windows"]), (&2.0.into(), &4.0.into()));
    let text = project.pipe(&["show", "tokenize:train"]).expect_code(0).stdout;
    assert!(text.starts_with("token file, 2 rows in 4 windows, "), "{text}");
    assert!(text.contains("long, yes, window 2 of 3 (5)"), "{text}");
    assert!(text.contains("short, yes (5)\n"), "{text}");
    let json = project.pipe(&["show", "tokenize:train", "--json"]).events().remove(0);
    assert_eq!((&json["rows"], &json["windows"]), (&2.into(), &4.into()));
    assert_eq!(json["first"][0]["windows"].as_array().unwrap().len(), 3);
    assert_eq!(json["first"][0]["windows"][0]["tokens"][1], "wh");
    assert_eq!(json["first"][1]["ids"].as_array().unwrap().len(), 5);
}
