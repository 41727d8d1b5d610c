//! Snapshots of every command's text output and every `--help`, in the folder beside this file.
//! `PIPE_UPDATE_SCREENS=1` rewrites them, so that the commit shows what changed. What differs between
//! runs (times, ages, the machine) is replaced by a word in `<>`.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::harness::Project;

/// A terminal session, compared with the snapshot file of its name.
struct Session {
    name: &'static str,
    project: Project,
    text: String,
}

const PIPELINE: &str = r#"vars: {seed: 1}
remotes: {shelf: shelf}
stages:
  ingest:
    inputs: {train: data/train.jsonl, test: data/test.jsonl}
    params: {remove: ["@USER"]}
  split:
    inputs: {examples: ingest:train}
    params: {share: 0.8, seed: "${seed}"}
  guess:
    uses: baseline
    inputs: {train: split:train, valid: split:valid, test: ingest:test}
    params: {char_ngrams: 0}
    publish: {answer: answer.txt}
  score:
    inputs: {valid: guess:valid, test: guess:predictions, against: guess:valid}
    params: {positive: SARCASM, bootstrap: 50}
  count:
    run: wc -l < "$IN_text" > "$OUT_lines"
    inputs: {text: ingest:train}
    outputs: [lines]
sweeps:
  strength: {guess.c: [0.1, 1.0], seed: [1, 2], over: seed, metric: score.valid_f1}
"#;

impl Session {
    fn new(name: &'static str) -> Session {
        let project = Project::new(PIPELINE);
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
        for file in ["train.jsonl", "test.jsonl"] {
            project.write(&format!("data/{file}"), &fs::read_to_string(sample.join(file)).unwrap());
        }
        Session { name, project, text: String::new() }
    }

    /// Runs one command and records both output streams and the exit status.
    fn pipe(&mut self, line: &str) -> &mut Session {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ended = self.project.pipe_with(&arguments, &[("COLUMNS", "80"), ("USER", "you")]);
        let mut lines: Vec<&str> = ended.stdout.lines().collect();
        if line == "cache ls" {
            // Records of the same second are sorted by key, which differs between versions.
            lines.sort_unstable();
        }
        let stdout: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.text.push_str(&format!("$ pipe {line}\n{stdout}"));
        for line in ended.stderr.lines() {
            self.text.push_str(format!("! {line}").trim_end());
            self.text.push('\n');
        }
        if ended.code != Some(0) {
            self.text.push_str(&format!("[exit {}]\n", ended.code.unwrap_or(-1)));
        }
        self.text.push('\n');
        self
    }

    #[track_caller]
    fn expect(&self) {
        let found = steady(&self.text, &self.project.path(""));
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/it/screen/{}.txt", self.name));
        if std::env::var_os("PIPE_UPDATE_SCREENS").is_some() {
            return fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        let differs = expected.lines().zip(found.lines()).position(|(one, two)| one != two);
        let line = differs.unwrap_or(expected.lines().count().min(found.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("the end").to_owned();
        assert!(
            expected == found,
            "{}, line {}:\n  expected {}\n  found    {}\n(PIPE_UPDATE_SCREENS=1 takes it over)",
            file.display(),
            line + 1,
            at(&expected),
            at(&found)
        );
    }
}

/// Replaces what differs between runs.
fn steady(text: &str, root: &Path) -> String {
    let root = root.display().to_string();
    let text = text.replace(root.trim_end_matches('/'), "<folder>");
    let name = root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut text = text.replace(name, "<folder>");
    let words = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<when>"),
        (r"\b\d{6}-\d{6}-\d{3}\b", "<run>"),
        (r" *\b\d[\d.]* (min \d+ s|ms|s|min|h)( ago)?\b", " <time>"),
        (r" *\bnow\b", " <time>"),
        (r"<time> +", "<time> "),
        (r"\s(! )?\(that saved <time>\)", ""),
        (r#""seconds": ?[\d.e-]+"#, r#""seconds": <seconds>"#),
        (r#""machine": ?"[^"]*""#, r#""machine": <machine>"#),
        (r"(runs|logs|runs?,) [\d.]+ k?B", "$1 <bytes>"),
    ];
    for (pattern, word) in words {
        text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn a_first_run_and_what_follows_it() {
    let mut session = Session::new("run");
    session.pipe("status").pipe("run --dry-run").pipe("run -j 1").pipe("run");
    session.pipe("run -v").pipe("run -q --set guess.c=0.5").pipe("run --set guess.c=0.5");
    session.pipe("status --set seed=2").pipe("explain guess --set guess.c=2");
    session.pipe("run -j 1 count --set seed=2").pipe("run -j 1 split --force split");
    session.pipe("log").pipe("diff").pipe("graph").pipe("graph --format mermaid");
    session.pipe("sweep strength -j 1").pipe("restore last~1").pipe("verify score");
    session.expect();
}

#[test]
fn looking_into_what_was_made() {
    let mut session = Session::new("look");
    session.project.pipe(&["run", "-q"]).expect_code(0);
    session.pipe("show ingest:train --rows 3").pipe("show ingest:report");
    session.pipe("show split:valid --rows 2 --json").pipe("show guess:predictions --rows 3");
    session.pipe("show score:scores").pipe("show guess:answer --rows 3").pipe("show count:lines");
    session.pipe("cache ls").pipe("cache show count:lines").pipe("cache cat count:lines");
    session.pipe("cache show --record count:lines").pipe("cache du").pipe("cache verify");
    session.pipe("cache gc --dry-run").pipe("why-row sample_3").pipe("report").pipe("stages");
    session.pipe("stages split").pipe("push --remote shelf").pipe("push --remote shelf");
    session.pipe("pull --dry-run --remote shelf").pipe("push --remote shelff");
    session.expect();
}

#[test]
fn errors_come_with_hints() {
    let mut session = Session::new("wrong");
    session.pipe("runn").pipe("run gues").pipe("run --set guess.cc=1").pipe("run --set seeed=1");
    session.pipe("run --set split.share=2").pipe("show guess:answr").pipe("show guess");
    session.pipe("show guess:answer");
    session.pipe("diff").pipe("log last").pipe("report").pipe("sweep strngth");
    session.pipe("-f nothing.yaml run").pipe("why-row 12").pipe("cache show 00ff");
    let typo =
        PIPELINE.replace("share: 0.8", "shre: 0.8").replace("ingest:train}", "ingest:trian}");
    session.project.write("pipeline.yaml", &typo);
    session.pipe("run");
    let circle = PIPELINE.replace("examples: ingest:train", "examples: score:scores");
    session.project.write("pipeline.yaml", &circle);
    session.pipe("run");
    session.project.write("pipeline.yaml", "stages: {a: {run: 'x', outputs: [o]}\n  - b");
    session.pipe("run");
    let fails = PIPELINE.replace("wc -l", "echo counting >&2; false; exit 3; wc -l");
    session.project.write("pipeline.yaml", &fails);
    session.pipe("run -j 1").pipe("run -q -j 1");
    session.project.write("data/train.jsonl", "{\"text\": 3}\n");
    session.pipe("run -j 1");
    session.expect();
}

#[test]
fn every_command_has_a_help_text() {
    let mut session = Session::new("help");
    let commands = [
        "init",
        "run",
        "sweep",
        "watch",
        "status",
        "explain",
        "graph",
        "log",
        "diff",
        "report",
        "restore",
        "verify",
        "cache",
        "cache ls",
        "cache show",
        "cache cat",
        "cache du",
        "cache verify",
        "cache gc",
        "show",
        "why-row",
        "stages",
        "doctor",
        "schema",
        "push",
        "pull",
        "completions",
        "man",
    ];
    session.pipe("--help").pipe("-h");
    for command in commands {
        session.pipe(&format!("{command} --help"));
    }
    // A build without the model has none of these.
    let is_of_model = |line: &&str| {
        ["  classify ", "  serve ", "  export "].iter().any(|it| line.starts_with(it))
    };
    let lines = session.text.lines().filter(|line| !is_of_model(line));
    session.text = lines.map(|line| format!("{line}\n")).collect();
    session.expect();
}
