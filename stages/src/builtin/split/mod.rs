//! The stage `split`: divides examples into a training part and a validation part, by share or by
//! fold. Rows are copied byte for byte in the order of the input.
//!
//! The input is read twice, first for texts and labels, then to copy the rows. Memory holds about
//! 30 bytes a row, or 50 if conversations stay together.

mod assign;
mod iterative;
mod label_sets;
mod params;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use self::assign::{JoinedRows, RowGroups};
use self::label_sets::LabelSets;
use self::params::{Division, PARAMS, SplitParams};
use self::report::{PartReport, SplitReport};
use crate::data::example::{Example, TextKey};
use crate::data::label_names::{listed, untrained_warning};
use crate::data::labels::LabelTable;
use crate::data::lines::LineReader;
use crate::data::random::Random;
use crate::data::target::Target;
use crate::data::task::{CommonTask, Task};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::params::Params;
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Split;

/// Row numbers have 32 bits.
const MOST_ROWS: usize = u32::MAX as usize;

const SPEC: StageSpec = StageSpec {
    name: "split",
    version: 2,
    summary: "divides examples into training and validation, by share or by fold",
    inputs: &[InputSpec::required("examples", Kind::File, "examples as `ingest` writes them")],
    outputs: &[
        OutputSpec::new("train", "train.jsonl", Kind::File, "the examples to train with"),
        OutputSpec::new("valid", "valid.jsonl", Kind::File, "the examples to validate with"),
        OutputSpec::new("report", "report.json", Kind::File, "rows and labels of each part"),
    ],
    params: PARAMS,
    headline: &[],
};

impl Stage for Split {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, _wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message| Err(CheckError { name: Some(name), message });
        let (share, folds, fold) = (params.float("share"), params.int("folds"), params.int("fold"));
        if share <= 0.0 || share >= 1.0 {
            return refuse(
                "share",
                format!("`share` is {share}, expected more than 0 and less than 1"),
            );
        }
        if folds == 1 {
            let message = "`folds` is 1, expected at least 2, or 0 to divide by `share`";
            return refuse("folds", message.to_owned());
        }
        if fold > 0 && fold >= folds {
            let message = match folds {
                0 => format!("`fold` is {fold}, but `folds` is 0"),
                _ => format!("`fold` is {fold}, expected 0 to {}", folds - 1),
            };
            return refuse("fold", message);
        }
        if params.float("train_share") == 0.0 {
            return refuse("train_share", "`train_share` is 0, expected more".to_owned());
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let path = context.input("examples")?;
        let params = SplitParams::of(context.params());
        let RowKeys { labels, keys, openings, sets, task } = read_rows(context, path, &params)?;

        let mut joined = JoinedRows::default();
        if params.group_duplicates {
            joined.join(keys.len(), |row| keys[row].text());
        }
        if params.group_conversations {
            joined.join(keys.len(), |row| openings[row]);
        }
        let by_sets = params.stratify && task.get() == Some(Task::Multi);
        let groups = RowGroups::new(&keys, joined, params.stratify && !by_sets);
        let group_count = groups.len();
        let parts = match params.division {
            Division::Share(_) => 2,
            Division::Folds { folds, .. } => usize::from(folds.max(2)),
        };
        if group_count < parts {
            let rows = keys.len();
            let problem = format!(
                "{rows} rows form {group_count} groups that stay together, too few for {parts} \
                 parts"
            );
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        // Iterative stratification needs numbers that do not depend on the order of the rows.
        let by_sets = by_sets.then(|| sets.renumbered(&labels.alphabetical(None).1));
        let by_labels = |shares: &[f64]| {
            by_sets.as_ref().map(|sets| groups.by_labels(sets, labels.len(), shares, params.seed))
        };
        let (in_train, fold_rows) = match params.division {
            Division::Share(share) => match by_labels(&[share, 1.0 - share]) {
                Some(parts) => (parts.iter().map(|part| *part == 0).collect(), None),
                None => (groups.by_share(share, params.seed), None),
            },
            Division::Folds { folds, fold } => {
                let assigned = by_labels(&vec![1.0 / f64::from(folds); usize::from(folds)]);
                let assigned = assigned.unwrap_or_else(|| groups.by_fold(folds, params.seed));
                let mut rows = vec![0_u64; usize::from(folds)];
                assigned.iter().for_each(|&fold| rows[usize::from(fold)] += 1);
                (assigned.iter().map(|&found| found != fold).collect(), Some(rows))
            }
        };
        let parts = kept_parts(&keys, &in_train, &params);
        copy_rows(context, path, &parts)?;

        let part = |train: bool| PartReport::count(&keys, &parts, train, &labels, &sets);
        let report = SplitReport {
            rows: keys.len() as u64,
            groups: group_count as u64,
            share: parts.iter().filter(|it| **it == Some(true)).count() as f64 / keys.len() as f64,
            train: part(true),
            valid: part(false),
            fold_rows,
        };
        write_json(context.output("report")?, &report)?;
        emit_findings(context, &params, &report);
        Ok(())
    }
}

/// Whether each row is to train with (`true`), to validate with (`false`), or in no part: of each label the
/// first rows of a random order are kept, so that a smaller share is a part of a larger one.
fn kept_parts(keys: &[TextKey], in_train: &[bool], params: &SplitParams) -> Vec<Option<bool>> {
    let mut parts: Vec<Option<bool>> = in_train.iter().map(|it| Some(*it)).collect();
    if params.train_share >= 1.0 {
        return parts;
    }
    let mut of_label: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (row, key) in keys.iter().enumerate().filter(|(row, _)| in_train[*row]) {
        of_label.entry(key.label()).or_default().push(row);
    }
    for (label, mut rows) in of_label {
        Random::new(params.seed, "train share", u64::from(label), 0).shuffle(&mut rows);
        let kept = (params.train_share * rows.len() as f64).round().max(1.0) as usize;
        rows.into_iter().skip(kept).for_each(|row| parts[row] = None);
    }
    parts
}

/// What the division needs to know of the rows.
#[derive(Default)]
struct RowKeys {
    labels: LabelTable,
    /// In the order of the rows. The label is 0 for none, else its number plus 1.
    keys: Vec<TextKey>,
    /// What each conversation begins with; empty unless conversations stay together.
    openings: Vec<Opening>,
    /// The labels of each row, with several labels a text.
    sets: LabelSets,
    task: CommonTask,
}

impl RowKeys {
    /// The label for the key of the next row; notes its labels if there are several.
    fn label_of(&mut self, target: Option<&Target>, params: &SplitParams) -> Result<u16, String> {
        let Some(target) = target else {
            if params.stratify {
                return Err("no label, and `stratify` needs one in every row".to_owned());
            }
            if self.task.get() == Some(Task::Multi) {
                self.sets.push([].into_iter());
            }
            return Ok(0);
        };
        self.task.add(target.task())?;
        match target {
            Target::Label(label) => Ok(1 + self.labels.number(label)?),
            Target::Number(_) if params.stratify => {
                Err("the label is a number, and `stratify` needs labels with a name".to_owned())
            }
            Target::Number(_) => Ok(0),
            Target::Labels(labels) => {
                // The rows before the first one with labels have none.
                self.sets.fill(self.keys.len());
                let numbers = labels.iter().map(|label| self.labels.number(label));
                let numbers = numbers.collect::<Result<Vec<u16>, String>>()?;
                self.sets.push(numbers.into_iter());
                Ok(0)
            }
        }
    }
}

/// Reads the input for the first time, to get keys and labels.
fn read_rows(context: &Context, path: &Path, params: &SplitParams) -> Result<RowKeys, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut rows = RowKeys::default();
    while let Some(example) = lines.next_json::<Example>()? {
        let label = rows
            .label_of(example.label.as_ref(), params)
            .map_err(|problem| lines.error(problem))?;
        if rows.keys.len() == MOST_ROWS {
            return Err(lines.error(format!("more than {MOST_ROWS} rows")));
        }
        rows.keys.push(TextKey::new(&example.text, label));
        if params.group_conversations {
            rows.openings.push(Opening::of(&example, rows.openings.len()));
        }
        let (done, total) = lines.bytes();
        progress.update(done, 2 * total);
    }
    let count = rows.keys.len();
    if count < 2 {
        let problem = format!("expected at least 2 rows to divide, found {count}");
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    Ok(rows)
}

/// The first turn of a conversation, or the number of the row if there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Opening {
    Turn(TextKey),
    None(usize),
}

impl Opening {
    fn of(example: &Example, row: usize) -> Opening {
        match example.context.first().map(|turn| turn.trim()).filter(|turn| !turn.is_empty()) {
            Some(turn) => Opening::Turn(TextKey::new(turn, 0)),
            None => Opening::None(row),
        }
    }
}

/// Reads the input for the second time, and copies every row to its part.
fn copy_rows(context: &Context, path: &Path, parts: &[Option<bool>]) -> Result<(), StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut train = OutputFile::create(context.output("train")?)?;
    let mut valid = OutputFile::create(context.output("valid")?)?;
    let mut rows = parts.iter();
    while lines.advance_to_text()? {
        match rows.next() {
            Some(Some(true)) => train.write_line(lines.line())?,
            Some(Some(false)) => valid.write_line(lines.line())?,
            Some(None) => {}
            None => return Err(changed(path)),
        }
        let (done, total) = lines.bytes();
        progress.update(total + done, 2 * total);
    }
    if rows.next().is_some() {
        return Err(changed(path));
    }
    train.finish()?;
    valid.finish()
}

fn changed(path: &Path) -> StageError {
    let problem = "changed while it was read".to_owned();
    StageError::File { path: path.to_owned(), problem }
}

fn emit_findings(context: &Context, params: &SplitParams, report: &SplitReport) {
    let mut values = BTreeMap::new();
    for (name, part) in [("train", &report.train), ("valid", &report.valid)] {
        values.insert(format!("{name}_rows"), part.rows as f64);
    }
    let advice = params.for_missing_labels();
    let (train, valid) = (report.train.label_rows(), report.valid.label_rows());
    let trained: Vec<&str> =
        train.iter().filter(|(_, rows)| *rows > 0).map(|(name, _)| *name).collect();
    let missing: Vec<_> =
        train.iter().filter(|(name, _)| report.valid.labels[*name] == 0).collect();
    let missing: Vec<_> = missing.into_iter().copied().collect();
    let untested = (!missing.is_empty()).then(|| {
        let labels = if missing.len() == 1 { "the label" } else { "the labels" };
        format!("`valid` has no row with {labels} {}; {advice}", listed(&missing))
    });
    let untrained = untrained_warning("valid", &valid, &trained, advice);
    for message in untrained.into_iter().chain(untested) {
        context.emit(Event::Warning { message });
    }
    context.emit(Event::Metrics { step: None, values });
}
