//! The stage `audit`: what is wrong with labelled examples. It finds labels that are most likely wrong, by
//! confident learning from out-of-fold predictions; equal and near-equal texts with different labels, or
//! in both parts; and surface features that give the label away or set training and test apart.

pub mod artefacts;
pub mod confident;
mod duplicates;
mod given;
mod issues;
mod near;
pub mod params;
mod report;
mod surface;
mod words;

use std::collections::BTreeMap;

use self::artefacts::{Artefact, artefacts};
use self::confident::Findings;
use self::duplicates::{Row, Twins, twins};
use self::given::{JudgedExamples, examples, judged, label};
use self::issues::{Found, issues};
use self::params::{AuditParams, PARAMS};
use self::report::{AuditReport, LabelReport};
use crate::data::example::Example;
use crate::data::issue::{Issue, Problem};
use crate::data::label_names::row_count;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::{Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Audit;

const SPEC: StageSpec = StageSpec {
    name: "audit",
    version: 1,
    summary: "finds wrong labels, conflicting and leaking texts, and features that give labels away",
    inputs: &[
        InputSpec::required("examples", Kind::File, "labelled examples, as `ingest` writes them"),
        InputSpec::many(
            "predictions",
            Kind::File,
            "out-of-fold predictions of `examples`: each is predicted by a model that was trained \
             without it. Without them no label is judged",
        ),
        InputSpec::optional(
            "test",
            Kind::File,
            "examples of the test part, to find texts that are in both parts, and how the parts differ",
        ),
    ],
    outputs: &[
        OutputSpec::new(
            "issues",
            "issues.jsonl",
            Kind::File,
            "the examples to look at, the worst first, with probabilities and similar examples; \
             `decision` is for `pipe review` and `clean`",
        ),
        OutputSpec::new(
            "report",
            "audit.json",
            Kind::File,
            "the joint of given and true labels, the noise of each label, counts, and surface features \
             with intervals",
        ),
        OutputSpec::new("table", "audit.md", Kind::File, "the same for people, as Markdown"),
    ],
    params: PARAMS,
    headline: &[
        "label_issues",
        "label_noise",
        "conflicts",
        "train_in_test",
        "worst_label_artefact",
        "worst_shift",
    ],
};

impl Stage for Audit {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = AuditParams::of(context.params());
        let train = examples(context.input("examples")?)?;
        let test = context.optional_input("test").map(examples).transpose()?.unwrap_or_default();
        let found = match context.optional_input("predictions") {
            None => None,
            Some(folder) => {
                let found = judged(&train, folder)?;
                let findings = confident::find(&found.judged, params.filter);
                Some((found, findings))
            }
        };
        let all: Vec<&Example> = train.iter().chain(&test).collect();
        let rows: Vec<Row> = all
            .iter()
            .enumerate()
            .map(|(place, it)| Row {
                text: &it.text,
                label: label(it),
                in_test: place >= train.len(),
            })
            .collect();
        let (twins, counts) = twins(&rows, params.near);
        let issues = issues(
            &Found { train: &train, all: &all, twins: &twins, judged: found.as_ref() },
            &params,
        );
        let mut of_problems: BTreeMap<Problem, u64> = BTreeMap::new();
        for problem in issues.iter().flat_map(|issue| &issue.problems) {
            *of_problems.entry(*problem).or_default() += 1;
        }
        let report = AuditReport {
            rows: train.len() as u64,
            test_rows: test.len() as u64,
            issues: of_problems,
            labels: found.as_ref().map(|(found, findings)| LabelReport::of(found, findings)),
            twins: counts,
            label_artefacts: of_labels(&train, &params),
            shifts: of_parts(&all, train.len(), &params),
        };
        write(context, &report, &issues)?;
        tell(context, &report, found.as_ref(), &twins[..train.len()]);
        Ok(())
    }
}

fn write(context: &Context, report: &AuditReport, issues: &[Issue]) -> Result<(), StageError> {
    let mut output = OutputFile::create(context.output("issues")?)?;
    issues.iter().try_for_each(|issue| output.write_json_line(issue))?;
    output.finish()?;
    write_json(context.output("report")?, report)?;
    let mut table = OutputFile::create(context.output("table")?)?;
    table.write_line(report.table(issues).trim_end().as_bytes())?;
    table.finish()
}

/// The features that tell the label.
fn of_labels(train: &[Example], params: &AuditParams) -> Vec<Artefact> {
    let labelled: Vec<&Example> = train.iter().filter(|it| label(it).is_some()).collect();
    let mut names: Vec<&str> = labelled.iter().filter_map(|it| label(it)).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < 2 {
        return Vec::new();
    }
    let group = |it: &&Example| label(it).map(|label| names.partition_point(|name| *name < label));
    let groups: Vec<usize> = labelled.iter().filter_map(group).collect();
    artefacts(&labelled, &groups, &names, params, "label")
}

/// The features that tell training and test examples apart.
fn of_parts(all: &[&Example], train: usize, params: &AuditParams) -> Vec<Artefact> {
    if train == all.len() {
        return Vec::new();
    }
    let groups: Vec<usize> = (0..all.len()).map(|place| usize::from(place >= train)).collect();
    artefacts(all, &groups, &["train", "test"], params, "part")
}

/// Emits the metrics, and warnings about what makes an audit worth less.
fn tell(
    context: &Context,
    report: &AuditReport,
    found: Option<&(JudgedExamples, Findings)>,
    twins: &[Twins],
) {
    let warn = |message| context.emit(Event::Warning { message });
    if let (Some(labels), Some(_)) = (&report.labels, found) {
        let left = report.rows - labels.judged;
        if left > 0 {
            warn(format!(
                "{left} of {} examples have no label or no out-of-fold prediction, so their labels are not \
                 judged; every fold of `split` takes `predictions: \"MODEL@*:valid\"`",
                report.rows
            ));
        }
        // Models know what they were trained with.
        const LEAST: u64 = 100;
        if labels.judged >= LEAST && labels.accuracy > 0.999 {
            warn(format!(
                "the predictions agree with {} of the labels: were they made by models that were trained \
                 with these examples?",
                artefacts::percent(labels.accuracy)
            ));
        }
    }
    let conflicting = twins.iter().filter(|it| it.problems.contains(&Problem::Conflict)).count();
    if conflicting > 0 {
        let rows = row_count(conflicting as u64);
        warn(format!("{rows} of `examples` with an equal text that has another label"));
    }
    if report.twins.test_in_train > 0 {
        let rows = row_count(report.twins.test_in_train);
        warn(format!("{rows} of `test` with a text that `examples` has too"));
    }
    context.emit(Event::Metrics { step: None, values: report.metrics() });
}
