//! The stage `clean`: carries out what a person decided about the examples that `audit` found. It keeps,
//! drops or relabels them, so that a correction is repeatable and in the key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::data::example::Example;
use crate::data::issue::{Decision, Issue};
use crate::data::lines::LineReader;
use crate::data::nearest::list_names;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::progress::Progress;
use crate::stage::{Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Clean;

const SPEC: StageSpec = StageSpec {
    name: "clean",
    version: 1,
    summary: "drops and relabels examples as a person decided",
    inputs: &[
        InputSpec::required("examples", Kind::File, "the examples that were audited"),
        InputSpec::required(
            "decisions",
            Kind::File,
            "rows of `issues.jsonl` with a `decision`, `keep`, `drop` or `relabel`, as `pipe review` \
             writes them. Rows without one change nothing",
        ),
    ],
    outputs: &[
        OutputSpec::new(
            "examples",
            "examples.jsonl",
            Kind::File,
            "the examples that are kept, in the same order, some with a new label",
        ),
        OutputSpec::new(
            "report",
            "clean.json",
            Kind::File,
            "how many examples were kept, dropped and relabelled, by label",
        ),
    ],
    params: &[],
    headline: &["kept", "dropped", "relabelled"],
};

/// A decision, and what it was made about.
struct Decided {
    issue: Issue,
    decision: Decision,
    line: u64,
}

/// `clean.json`.
#[derive(Default, Serialize)]
struct CleanReport {
    rows: u64,
    /// The examples that go on, relabelled ones included.
    kept: u64,
    dropped: u64,
    relabelled: u64,
    /// Issues that nobody has decided on. Their examples are kept as they are.
    undecided: u64,
    dropped_by_label: BTreeMap<String, u64>,
    /// By the old label, then by the new one.
    relabelled_by_label: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stage for Clean {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let (path, decisions) = (context.input("examples")?, context.input("decisions")?);
        let mut report = CleanReport::default();
        let decided = read(decisions, &mut report)?;
        check_labels(path, decisions, &decided)?;
        let mut lines = LineReader::open(path)?;
        let mut output = OutputFile::create(context.output("examples")?)?;
        let mut progress = Progress::new(context, "bytes");
        let mut used = BTreeSet::new();
        while let Some(mut example) = lines.next_json::<Example>()? {
            report.rows += 1;
            let found = decided.get(&example.id);
            let Some(Decided { issue, decision, line }) = found else {
                report.kept += 1;
                output.write_line(lines.line())?;
                continue;
            };
            used.insert(example.id.clone());
            let wrong =
                |problem| StageError::Line { path: decisions.to_owned(), line: *line, problem };
            check(issue, &example).map_err(wrong)?;
            let label = example.one_label().map_err(|problem| lines.error(problem))?;
            let old = label.unwrap_or_default().to_owned();
            match decision {
                Decision::Keep => output.write_line(lines.line())?,
                Decision::Drop => {
                    report.dropped += 1;
                    *report.dropped_by_label.entry(old).or_default() += 1;
                    continue;
                }
                Decision::Relabel => {
                    let new = issue.new_label().map_err(wrong)?;
                    report.relabelled += 1;
                    let of_old = report.relabelled_by_label.entry(old).or_default();
                    *of_old.entry(new.to_owned()).or_default() += 1;
                    example.label = Some(new.into());
                    output.write_json_line(&example)?;
                }
            }
            report.kept += 1;
            let (done, total) = lines.bytes();
            progress.update(done, total);
        }
        output.finish()?;
        if let Some((id, found)) = decided.iter().find(|(id, _)| !used.contains(*id)) {
            let problem = format!("`examples` has no row `{id}`: the decision is about other data");
            return Err(StageError::Line { path: decisions.to_owned(), line: found.line, problem });
        }
        if report.kept == 0 {
            let problem = "drops every example".to_owned();
            return Err(StageError::File { path: decisions.to_owned(), problem });
        }
        write_json(context.output("report")?, &report)?;
        tell(context, &report);
        Ok(())
    }
}

/// Reads the decisions, by id.
fn read(path: &Path, report: &mut CleanReport) -> Result<BTreeMap<String, Decided>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut decided: BTreeMap<String, Decided> = BTreeMap::new();
    let mut seen = BTreeMap::new();
    while let Some(issue) = lines.next_json::<Issue>()? {
        let line = lines.number();
        if let Some(earlier) = seen.insert(issue.id.clone(), line) {
            let problem = format!("`{}` was decided on in line {earlier} already", issue.id);
            return Err(lines.error(problem));
        }
        let Some(decision) = issue.decision else {
            report.undecided += 1;
            continue;
        };
        if decision == Decision::Relabel {
            issue.new_label().map_err(|problem| lines.error(problem))?;
        }
        decided.insert(issue.id.clone(), Decided { issue, decision, line });
    }
    Ok(decided)
}

/// Checks that the example is still the one that was looked at.
fn check(issue: &Issue, example: &Example) -> Result<(), String> {
    let label = example.one_label()?;
    if issue.label.is_some() && issue.label.as_deref() != label {
        return Err(format!(
            "`{}` had the label `{}` when it was decided on, and has `{}` now: review it again",
            issue.id,
            issue.label.as_deref().unwrap_or_default(),
            label.unwrap_or_default()
        ));
    }
    if !issue.text.is_empty() && issue.text != example.text {
        return Err(format!(
            "the text of `{}` has changed since it was decided on: review it again",
            issue.id
        ));
    }
    Ok(())
}

/// Checks that every new label is one that some example has, so that a slip of the pen makes no class.
fn check_labels(
    examples: &Path,
    decisions: &Path,
    decided: &BTreeMap<String, Decided>,
) -> Result<(), StageError> {
    let mut relabelled = decided.values().filter(|it| it.decision == Decision::Relabel).peekable();
    if relabelled.peek().is_none() {
        return Ok(());
    }
    let mut lines = LineReader::open(examples)?;
    let mut known = BTreeSet::new();
    while let Some(example) = lines.next_json::<Example>()? {
        known.extend(example.one_label().ok().flatten().map(str::to_owned));
    }
    for Decided { issue, line, .. } in relabelled {
        let new = issue.new_label().unwrap_or_default();
        if !known.contains(new) {
            let names = list_names(new, known.iter().map(String::as_str));
            let problem = format!("no example has the label `{new}`; there are {names}");
            return Err(StageError::Line { path: decisions.to_owned(), line: *line, problem });
        }
    }
    Ok(())
}

fn tell(context: &Context, report: &CleanReport) {
    if report.undecided > 0 {
        let message = format!(
            "nobody has decided on {} of the issues; their examples are kept as they are",
            report.undecided
        );
        context.emit(Event::Note { message });
    }
    let values = [
        ("rows", report.rows),
        ("kept", report.kept),
        ("dropped", report.dropped),
        ("relabelled", report.relabelled),
        ("undecided", report.undecided),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value as f64));
    context.emit(Event::Metrics { step: None, values: values.into() });
}
