//! `pipe init` writes pipelines that `pipe run` takes, for files as they lie in the world, or says what
//! to do. `init`, `ingest` and `classify` read the same rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stages::Params;
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::texts::Texts;
use stages::data::data_file::DataFile;

use crate::harness::Project;
use crate::init::folder;

/// Rows of a text and a label, one after the other, with something else in each text.
fn rows(count: usize, row: impl Fn(usize, &str) -> String) -> String {
    (0..count).map(|at| row(at, ["good", "bad"][at % 2]) + "\n").collect()
}

fn csv(delimiter: &str) -> String {
    let row =
        |at, label: &str| [format!("it is {label}, no {at}"), label.to_owned()].join(delimiter);
    rows(12, row).replace(", no", if delimiter == "," { " no" } else { ", no" })
}

/// An odd input: its files, the arguments of `init`, and what `ingest` makes of it.
struct Odd {
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    arguments: Vec<&'static str>,
    rows: u64,
    labels: Vec<&'static str>,
}

fn odd(name: &'static str, file: &'static str, text: impl Into<Vec<u8>>) -> Odd {
    Odd {
        name,
        files: vec![(file, text.into())],
        arguments: Vec::new(),
        rows: 12,
        labels: vec!["bad", "good"],
    }
}

impl Odd {
    fn and(mut self, file: &'static str, text: impl Into<Vec<u8>>) -> Odd {
        self.files.push((file, text.into()));
        self
    }

    fn told(mut self, arguments: &[&'static str]) -> Odd {
        self.arguments = arguments.to_vec();
        self
    }

    fn gives(mut self, rows: u64, labels: &[&'static str]) -> Odd {
        (self.rows, self.labels) = (rows, labels.to_vec());
        self
    }

    /// An empty folder with the files. The first is the one to train on.
    #[track_caller]
    fn project(&self) -> Project {
        let project = folder();
        for (name, bytes) in &self.files {
            std::fs::write(project.path(name), bytes).unwrap();
        }
        project
    }
}

#[track_caller]
fn json_of(project: &Project, artifact: &str) -> Value {
    let text = project.pipe(&["cache", "cat", artifact]).expect_code(0).stdout;
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn rows_of(project: &Project, artifact: &str) -> Vec<Value> {
    let text = project.pipe(&["cache", "cat", artifact]).expect_code(0).stdout;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The parameters of a stage `ingest` of the pipeline in this folder.
#[track_caller]
fn ingest_params(project: &Project, stage: &str) -> IngestParams {
    let pipeline: Value = serde_yaml::from_str(&project.read("pipeline.yaml")).unwrap();
    let params = pipeline["stages"][stage]["params"].as_object().unwrap().clone();
    let mut given: BTreeMap<String, Value> = params.into_iter().collect();
    given.remove("labels");
    IngestParams::of(&Params::resolve(stages::find("ingest").unwrap().params(), &given).unwrap())
}

/// Checks that `classify --input FILE` would read the rows that `ingest` wrote, and that `init` counted
/// them.
#[track_caller]
fn check_all_read_the_same(odd: &Odd, project: &Project, told: &str) {
    let written = rows_of(project, "ingest:train");
    let report = json_of(project, "ingest:report");
    let name = odd.name;
    assert_eq!(report["train"]["rows"], odd.rows, "{name}");
    let labels: Vec<&String> = report["train"]["labels"].as_object().unwrap().keys().collect();
    assert_eq!(labels, odd.labels.iter().collect::<Vec<_>>(), "{name}");
    let rows = match odd.rows {
        rows @ 1000.. => format!("{},{:03}", rows / 1000, rows % 1000),
        rows => rows.to_string(),
    };
    assert!(told.contains(&format!(", {rows} rows.")), "{name}: {told}");
    for label in &odd.labels {
        let rows = &report["train"]["labels"][label]["rows"];
        let said = format!("{label} ({rows})");
        assert!(odd.labels.len() > 6 || told.contains(&said), "{name}: {said}: {told}");
    }
    let file = DataFile::open(&project.path(odd.files[0].0)).unwrap();
    let texts = Texts::fields(file, &ingest_params(project, "ingest")).unwrap();
    let read: BTreeSet<(u64, String)> =
        texts.filter_map(|row| row.ok().map(|row| (row.line, row.text))).collect();
    for row in written {
        let row = (row["line"].as_u64().unwrap(), row["text"].as_str().unwrap().to_owned());
        assert!(read.contains(&row), "{name}: classify does not read {row:?}");
    }
}

fn layouts() -> Vec<Odd> {
    let head = |delimiter: &str| format!("text{delimiter}label\n");
    let quoted = rows(12, |at, label| format!("\"it's \"\"{label}\"\"\tno {at}\nyes\"\t{label}"));
    let quoted_on_one_line =
        rows(12, |at, label| format!("\"it's \"\"{label}\"\" {at}\"\t{label}"));
    vec![
        odd("comma", "a.csv", head(",") + &csv(",")),
        odd("semicolon", "a.csv", head(";") + &csv(";")),
        odd("bar", "a.csv", head("|") + &csv("|")),
        odd("caret", "a.csv", head("^") + &csv("^")).told(&["--delimiter", "^"]),
        odd("tab", "a.tsv", head("\t") + &csv("\t")),
        odd("tab in .csv", "a.csv", head("\t") + &csv("\t")),
        odd("semicolon, no header", "a.csv", csv(";")),
        odd("tab, no header", "a.tsv", csv("\t")),
        odd("comma, no header", "a.csv", csv(",")),
        odd("no header, told", "a.csv", csv(",")).told(&[
            "--no-header",
            "--text",
            "1",
            "--label",
            "2",
        ]),
        odd("odd names", "a.csv", format!("words,kind\n{}", csv(","))),
        odd("odd names, told", "a.csv", format!("words,kind\n{}", csv(","))).told(&[
            "--header",
            "--text-field",
            "words",
            "--label-field",
            "kind",
        ]),
        odd(
            "quotes inside TSV",
            "a.tsv",
            head("\t") + &rows(12, |at, label| format!("\"open {at}\t{label}")),
        ),
        odd("quoted TSV with line breaks", "a.tsv", head("\t") + &quoted),
        odd("quoted TSV", "a.tsv", head("\t") + &quoted_on_one_line),
        odd(
            "line breaks",
            "a.csv",
            head(",") + &rows(12, |at, label| format!("\"a\r\n\n{at}\",{label}")),
        ),
        odd("CRLF", "a.csv", (head(",") + &csv(",")).replace('\n', "\r\n")),
        odd("CR", "a.csv", (head(",") + &csv(",")).replace('\n', "\r")),
        odd("mark", "a.csv", format!("\u{feff}text,label\n{}", csv(","))),
        odd("blank lines", "a.csv", head(",") + &csv(",").replace('\n', "\n\n  \n")),
        odd("a delimiter at the end", "a.csv", head(",") + &csv(",").replace('\n', ",\n")),
        odd("a delimiter at the end of all", "a.csv", (head(",") + &csv(",")).replace('\n', ",\n")),
        odd("wide", "a.csv", {
            let names: String = (0..400).map(|at| format!("c{at},")).collect();
            let cells: String = (0..400).map(|at| format!("{at},")).collect();
            format!("{names}text,label\n")
                + &csv(",").lines().map(|line| format!("{cells}{line}\n")).collect::<String>()
        }),
        odd("columns called like ours", "a.csv", {
            "id,context,line,response,input,label\n".to_owned()
                + &rows(12, |at, label| format!("{at},before {at},x{at},now {at},q,{label}"))
        }),
        odd("columns of the same name", "a.csv", {
            "note,text,note,label,\n".to_owned()
                + &rows(12, |at, label| format!("a,t {at},b,{label},z"))
        }),
        odd(
            "numbers",
            "a.csv",
            "rating,product,review\n".to_owned()
                + &rows(12, |at, _| format!("{},p{},a review no {at}", at % 5, at % 3)),
        )
        .gives(12, &["0", "1", "2", "3", "4"]),
    ]
}

fn json_lines() -> Vec<Odd> {
    let of = |row: &dyn Fn(usize, &str) -> Value| rows(12, |at, label| row(at, label).to_string());
    let plain = of(&|at, label| json!({"text": format!("t {at}"), "label": label}));
    let late = {
        let row = |at: usize| json!({"text": format!("t {at}"), "label": if at < 21_000 { ["a", "b"][at % 2] } else { "late" }});
        (0..21_010).map(|at| row(at).to_string() + "\n").collect::<String>()
    };
    let many: Vec<String> = (0..200).map(|at| format!("l{at:03}")).collect();
    let many_rows: String = (0..800)
        .map(|at| json!({"text": format!("t {at}"), "label": many[at % 200]}).to_string() + "\n")
        .collect();
    let many_labels: Vec<&'static str> = many.into_iter().map(|label| &*label.leak()).collect();
    vec![
        odd("plain", "a.jsonl", plain.clone()),
        odd(
            "CRLF, mark, blank lines",
            "a.jsonl",
            format!("\u{feff}\r\n{}", plain.replace('\n', "\r\n\r\n")),
        ),
        odd("no extension that says it", "a.csv", plain.clone()),
        odd("labels after 20,000 rows", "a.jsonl", late).gives(21_010, &["a", "b", "late"]),
        odd(
            "truth values",
            "a.jsonl",
            of(&|at, _| json!({"text": format!("t {at}"), "label": at % 2 == 0})),
        )
        .gives(12, &["false", "true"]),
        odd("200 labels", "a.jsonl", many_rows).gives(800, &many_labels),
        odd(
            "ids that are numbers",
            "a.jsonl",
            of(&|at, label| json!({"id": at, "text": format!("t {at}"), "label": label})),
        ),
        odd(
            "duplicate ids",
            "a.jsonl",
            of(&|at, label| json!({"id": at / 2, "text": format!("t {at}"), "label": label})),
        ),
        odd(
            "some ids",
            "a.jsonl",
            of(&|at, label| match at % 2 {
                0 => json!({"id": at, "text": format!("t {at}"), "label": label}),
                _ => json!({"text": format!("t {at}"), "label": label}),
            }),
        ),
        odd(
            "the id is an object",
            "a.jsonl",
            of(&|at, label| json!({"id": {"n": at}, "text": format!("t {at}"), "label": label})),
        ),
        odd(
            "the context is a number",
            "a.jsonl",
            of(&|at, label| json!({"context": at, "text": format!("t {at}"), "label": label})),
        ),
        odd(
            "one conversation",
            "a.jsonl",
            of(
                &|at, label| json!({"context": ["same", "b"], "text": format!("t {at}"), "label": label}),
            ),
        ),
        odd(
            "the context is empty",
            "a.jsonl",
            of(&|at, label| json!({"context": [], "text": format!("t {at}"), "label": label})),
        ),
        odd(
            "nested",
            "a.jsonl",
            of(
                &|at, label| json!({"meta": {"a": [1]}, "tags": ["x"], "text": format!("t {at}"), "label": label}),
            ),
        ),
        odd(
            "the text is called id",
            "a.jsonl",
            of(&|at, label| json!({"id": format!("t {at}"), "label": label})),
        )
        .told(&["--text", "id"]),
        odd(
            "the label is called context",
            "a.jsonl",
            of(&|at, label| json!({"text": format!("t {at}"), "context": label})),
        )
        .told(&["--label", "context"]),
        odd(
            "null labels left out",
            "a.jsonl",
            plain.clone() + &"{\"text\":\"u\",\"label\":null}\n".repeat(3),
        )
        .told(&["--on-error", "skip"]),
        odd(
            "null texts left out",
            "a.jsonl",
            plain.clone() + "{\"text\":null,\"label\":\"good\"}\n",
        )
        .told(&["--on-error", "skip"]),
        odd("broken lines left out", "a.jsonl", plain.clone() + "{\"text\":\n[1]\n")
            .told(&["--on-error", "skip"]),
        odd("a name that YAML would misread", "a: 'b' #c ${x} & @d.jsonl", plain.clone()),
        odd("a name like an artifact", "ingest:train.jsonl", plain.clone()),
        odd("a space at the end", "a.jsonl ", plain).told(&["--data", "a.jsonl "]),
    ]
}

fn with_tests() -> Vec<Odd> {
    let train = "text,label\n".to_owned() + &csv(",");
    let both = |name, file, text: &str| odd(name, "train.csv", train.clone()).and(file, text);
    vec![
        both("labelled test", "test.csv", "text,label\na,good\nb,bad\n"),
        both("unlabelled test", "test.csv", "text\na\nb\n"),
        both("JSON test", "test.jsonl", "{\"text\":\"a\",\"label\":\"good\"}\n{\"text\":\"b\"}\n"),
        both("semicolon test", "test.csv", "label;text\ngood;a\nbad;b\n"),
        both("no header in the test", "test.csv", "is it good?,good\nor bad,bad\nor good,good\n"),
        both("other names in the test", "test.csv", "tweet,sentiment\na,good\nb,bad\n"),
        both("labels that stand for nothing", "test.csv", "text,label\na,?\nb,?\n"),
        both("a label in the test only", "test.csv", "text,label\na,good\nb,new\n"),
        both("duplicate ids in the test", "test.csv", "id,text,label\n1,a,good\n1,b,bad\n"),
        both(
            "ids as in the training file",
            "test.csv",
            "id,text,label\ntrain_2,a,good\ntrain_3,b,bad\n",
        ),
    ]
}

#[track_caller]
fn run_all(all: Vec<Odd>) {
    for odd in all {
        let project = odd.project();
        let told = project.pipe(&[&["init"], &odd.arguments[..]].concat());
        assert_eq!(told.code, Some(0), "{}: {}", odd.name, told.stderr);
        let run = project.run(&[]);
        let yaml = project.read("pipeline.yaml");
        assert_eq!(run.code, Some(0), "{}: {}{}\n{yaml}", odd.name, run.stdout, run.stderr);
        let told = told.stderr.replace('\n', " ");
        check_all_read_the_same(&odd, &project, &told);
        if let Some((test, bytes)) = odd.files.get(1) {
            let scores: Value = serde_json::from_str(&project.read("scores.json")).unwrap();
            let is_labelled = ["good", "bad"].iter().any(|label| {
                String::from_utf8_lossy(bytes)
                    .split([',', ';', '"', '\n'])
                    .any(|cell| cell == *label)
            });
            assert_eq!(scores.get("test").is_some(), is_labelled, "{}: {test}", odd.name);
            let lines = project.read("answer.txt").lines().count();
            assert!(lines == 2 || lines == 3, "{}: {lines}", odd.name);
        }
    }
}

#[test]
fn the_written_pipeline_runs_for_cells_of_every_layout() {
    run_all(layouts());
}

#[test]
fn the_written_pipeline_runs_for_odd_json_lines() {
    run_all(json_lines());
}

#[test]
fn the_written_pipeline_answers_every_test_file_and_scores_a_labelled_one() {
    run_all(with_tests());
}

#[test]
fn data_outside_the_folder_and_behind_links_is_found() {
    let data = "text,label\n".to_owned() + &csv(",");
    let project = folder();
    project.write("x.csv", &data);
    project.write("in/y.csv", "");
    std::fs::remove_file(project.path("in/y.csv")).unwrap();
    std::os::unix::fs::symlink("../x.csv", project.path("in/link.csv")).unwrap();
    for data in ["../x.csv", "link.csv", "./../in/../x.csv"] {
        let out = ["-C", "in", "init", "--data", data];
        project.pipe(&out).expect_code(0);
        project.pipe(&["-C", "in", "run"]).expect_code(0);
        std::fs::remove_file(project.path("in/pipeline.yaml")).unwrap();
    }
    // The YAML may be elsewhere than the data, too.
    project.pipe(&["init", "--data", "x.csv", "--out", "in/other.yaml"]).expect_code(0);
    project.pipe(&["-f", "in/other.yaml", "run"]).expect_code(0);
}

/// A file that cannot be used as it is, the arguments of `init`, and parts of its answer.
fn refusals() -> Vec<(&'static str, String, Vec<&'static str>, Vec<&'static str>)> {
    let head = "text,label\n".to_owned();
    let good = head.clone() + &csv(",");
    vec![
        (
            "a.jsonl",
            "[{\"text\":\"a\",\"label\":\"b\"}, \n".to_owned(),
            vec![],
            vec!["a.jsonl: not valid JSON after row 1: the file ends before the list does"],
        ),
        (
            "a.jsonl",
            "{\n  \"text\": \"a\"\n}\n".to_owned(),
            vec![],
            vec!["a.jsonl, line 1", "the line ends before the object does"],
        ),
        (
            "a.csv",
            good.clone() + "a,b,c\n",
            vec![],
            vec!["a.csv, line 14: expected 2 cells", "1 row of 13", "--on-error skip"],
        ),
        (
            "a.csv",
            good.clone() + "no label,\n",
            vec![],
            vec!["a.csv, line 14: no label", "--on-error skip"],
        ),
        (
            "a.csv",
            good.clone() + "\"open,good\n",
            vec![],
            vec!["a.csv, line 14: a quotation mark is opened here and never closed"],
        ),
        (
            "a.jsonl",
            rows(12, |at, label| json!({"text": at, "label": label}).to_string()),
            vec![],
            vec!["`text` is a number, expected a text", "no row can be used"],
        ),
        (
            "a.jsonl",
            rows(12, |at, label| {
                json!({"k": at / 2, "text": format!("t {at}"), "label": label}).to_string()
            }),
            vec!["--id", "k"],
            vec!["the id `0` is used by an earlier row", "leave out --id"],
        ),
        (
            "a.csv",
            rows(12, |_, label| label.to_owned()),
            vec![],
            vec!["one cell only", "--delimiter"],
        ),
        (
            "a.csv",
            head.clone() + &rows(12, |at, _| format!("t {at},same")),
            vec![],
            vec!["`label`", "the same value in every row", "--label"],
        ),
        (
            "a.csv",
            head.clone() + &rows(600, |at, _| format!("t {at},l{at}")),
            vec![],
            vec!["`label`", "over 200 values", "--label"],
        ),
        (
            "a.csv",
            head.clone() + &rows(12, |_, label| format!("same,{label}")),
            vec![],
            vec!["the same text in every row", "--text"],
        ),
        (
            "a.csv",
            head.clone() + "a,x\na,x\na,x\nb,y\n",
            vec![],
            vec!["2 different texts, too few"],
        ),
        ("a.csv", head.clone() + "a,x\nb,y\n", vec![], vec!["2 rows, too few"]),
        (
            "a.csv",
            "when,where,what\n".to_owned()
                + &rows(12, |at, label| format!("{label},p{},some words of {at}", at % 2)),
            vec![],
            vec!["2 fields", "could be the label: `when`, `where`", "--label"],
        ),
        (
            "a.csv",
            "label,one,two\n".to_owned()
                + &rows(12, |at, label| {
                    format!("{label},some words of this no {at},other words of that no {at}")
                }),
            vec![],
            vec!["could be the text: `one`, `two`", "--text"],
        ),
        (
            "a.csv",
            "this is a long text about nothing at all,odd\n".to_owned() + &csv(","),
            vec![],
            vec!["cannot tell whether the first line", "--header", "--no-header"],
        ),
        ("a.csv", String::new(), vec![], vec!["`a.csv` has no rows"]),
        ("a.csv", "\n \n".to_owned(), vec![], vec!["`a.csv` has no rows"]),
        (
            "a.jsonl",
            rows(12, |at, label| {
                json!({"data": [{"text": format!("t {at}")}], "label": label}).to_string()
            }),
            vec![],
            vec!["no field", "looks like the text", "--text"],
        ),
        (
            "a.csv",
            "\u{1f}\u{8b}".to_owned(),
            vec!["--delimiter", "é"],
            vec!["expected one ASCII character"],
        ),
    ]
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_row_and_the_option_that_helps() {
    for (name, text, arguments, parts) in refusals() {
        let project = folder();
        project.write(name, &text);
        let told = project.pipe(&[&["init"], &arguments[..]].concat()).expect_code(2).stderr;
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!project.path("pipeline.yaml").exists());
        assert!(!told.contains("EOF") && !told.contains("CSV error"), "{told}");
    }
}

#[test]
fn ingest_and_classify_refuse_the_rows_that_init_refuses() {
    for (row, problem) in [
        (&b"{\"text\":\"a\""[..], "the line ends before the object does"),
        (b"{\"text\":\"caf\xe9\",\"label\":\"x\"}", "expected UTF-8, found the byte 0xe9"),
        (b"{\"text\":null,\"label\":\"x\"}", "the field `text` is null, expected a text"),
        (b"{\"label\":\"x\"}", "no field `text`"),
        (b"[1]", "expected a JSON object, found `[1]`"),
    ] {
        let project = folder();
        let mut text =
            rows(12, |at, label| json!({"text": at.to_string(), "label": label}).to_string())
                .into_bytes();
        text.extend_from_slice(row);
        std::fs::write(project.path("a.jsonl"), &text).unwrap();
        let told = project.pipe(&["init"]).expect_code(2).stderr;
        assert!(told.contains("a.jsonl, line 13: ") && told.contains(problem), "{told}");
        project.pipe(&["init", "--on-error", "skip"]).expect_code(0);
        let yaml = project.read("pipeline.yaml").replace("on_error: skip", "on_error: fail");
        project.write("pipeline.yaml", &yaml);
        let told = project.pipe(&["run", "ingest"]).expect_code(1).stderr.replace("\n  ", " ");
        assert!(told.contains(problem), "{told}");
        let file = DataFile::open(&project.path("a.jsonl")).unwrap();
        let texts = Texts::fields(file, &ingest_params(&project, "ingest")).unwrap();
        let error = texts.last().unwrap().unwrap_err().to_string();
        assert!(error.contains("line 13") && error.contains(problem), "{error}");
    }
}
