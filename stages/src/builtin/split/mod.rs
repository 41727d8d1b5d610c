//! `split`: divides examples into a part to train with and one to validate with, by share or by
//! fold. Rows are copied byte for byte in the order of the input.
//!
//! The input is read twice: for texts and labels, then to copy. In between there are about 30
//! bytes a row in memory, or 50 where conversations stay together.

mod assign;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use self::assign::{Groups, Together};
use crate::data::example::{Example, TextKey};
use crate::data::labels::LabelTable;
use crate::data::lines::{LineReader, is_blank};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Split;

const INPUTS: &[InputSpec] =
    &[InputSpec::required("examples", Kind::File, "examples as `ingest` writes them")];

const OUTPUTS: &[OutputSpec] = &[
    OutputSpec::new("train", "train.jsonl", Kind::File, "the examples to train with"),
    OutputSpec::new("valid", "valid.jsonl", Kind::File, "the examples to validate with"),
    OutputSpec::new("report", "report.json", Kind::File, "rows and labels of each part"),
];

const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "share",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.9),
        "the part of the rows to train with, more than 0 and less than 1; the number of \
              rows is rounded to the nearest. Without effect where `folds` is given",
    ),
    ParamSpec::new(
        "folds",
        ParamKind::int(0, 1000),
        Default::Int(0),
        "into how many folds of equal size the rows are divided; 0 for none: by `share`",
    ),
    ParamSpec::new(
        "fold",
        ParamKind::int(0, 999),
        Default::Int(0),
        "the fold to validate with, counted from 0; the others are to train with",
    ),
    ParamSpec::new(
        "stratify",
        ParamKind::Bool,
        Default::Bool(false),
        "whether each label is divided in the same proportion, within one row",
    ),
    ParamSpec::new(
        "group_duplicates",
        ParamKind::Bool,
        Default::Bool(true),
        "whether rows with the same text stay together, so that none is trained with and \
              validated with. Sizes are then as near as whole groups allow",
    ),
    ParamSpec::new(
        "group_conversations",
        ParamKind::Bool,
        Default::Bool(false),
        "whether rows whose contexts open with the same turn stay together: of answers to \
              one tweet, none is validated with while another is trained with",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "which of the random divisions",
    ),
];

/// More rows than this have no number of 32 bits.
const MOST_ROWS: usize = u32::MAX as usize;

impl Stage for Split {
    fn name(&self) -> &'static str {
        "split"
    }

    fn version(&self) -> u32 {
        2
    }

    fn summary(&self) -> &'static str {
        "divides examples into training and validation, by share or by fold"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
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
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let path = context.input("examples")?;
        let params = context.params();
        let seed = params.int("seed").unsigned_abs();
        let (labels, keys, openings) = read_keys(context, path)?;

        let mut together = Together::default();
        if params.bool("group_duplicates") {
            together.join(keys.len(), |row| keys[row].text());
        }
        if params.bool("group_conversations") {
            together.join(keys.len(), |row| openings[row]);
        }
        let groups = Groups::new(&keys, together, params.bool("stratify"));
        let group_count = groups.len() as u64;
        let folds = params.count("folds") as u16;
        if groups.len() < usize::from(folds.max(2)) {
            let problem = format!(
                "{} rows in {group_count} groups that stay together do not fill {} parts",
                keys.len(),
                folds.max(2)
            );
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        let (in_train, fold_rows) = match folds {
            0 => (groups.by_share(params.float("share"), seed), None),
            _ => {
                let fold = params.count("fold") as u16;
                let assigned = groups.by_fold(folds, seed);
                let mut rows = vec![0_u64; usize::from(folds)];
                assigned.iter().for_each(|&fold| rows[usize::from(fold)] += 1);
                (assigned.iter().map(|&found| found != fold).collect(), Some(rows))
            }
        };
        copy_rows(context, path, &in_train)?;

        let part = |train: bool| Part::count(&keys, &in_train, train, &labels);
        let report = Report {
            rows: keys.len() as u64,
            groups: group_count,
            share: in_train.iter().filter(|it| **it).count() as f64 / keys.len() as f64,
            train: part(true),
            valid: part(false),
            fold_rows,
        };
        write_json(context.output("report")?, &report)?;
        emit_findings(context, &report);
        Ok(())
    }
}

/// `report.json`.
#[derive(Serialize)]
struct Report {
    rows: u64,
    /// Groups of rows that stay together; as many as rows if every row is one by itself.
    groups: u64,
    /// The training part's share of the rows.
    share: f64,
    train: Part,
    valid: Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    fold_rows: Option<Vec<u64>>,
}

#[derive(Serialize)]
struct Part {
    rows: u64,
    /// Rows by label, 0 for a label that only the other part has.
    labels: BTreeMap<String, u64>,
}

impl Part {
    fn count(keys: &[TextKey], in_train: &[bool], train: bool, labels: &LabelTable) -> Part {
        let mut counts = vec![0_u64; labels.len() + 1];
        let chosen = keys.iter().zip(in_train).filter(|(_, it)| **it == train);
        chosen.for_each(|(key, _)| counts[usize::from(key.label())] += 1);
        let label_rows = |number: u16| counts[usize::from(number) + 1];
        Part {
            rows: counts.iter().sum(),
            labels: labels.iter().map(|(name, it)| (name.to_owned(), label_rows(it))).collect(),
        }
    }
}

/// The first reading: labels, and a key for every row in which no label is 0 and each label its
/// number plus 1. With them, where conversations stay together, what each row's conversation opens
/// with.
fn read_keys(
    context: &Context,
    path: &Path,
) -> Result<(LabelTable, Vec<TextKey>, Vec<Opening>), StageError> {
    let conversations = context.params().bool("group_conversations");
    let stratify = context.params().bool("stratify");
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut labels = LabelTable::default();
    let (mut keys, mut openings) = (Vec::new(), Vec::new());
    while let Some(example) = lines.next_json::<Example>()? {
        let label = match &example.label {
            Some(label) => 1 + labels.number(label).map_err(|problem| lines.error(problem))?,
            None if stratify => {
                return Err(lines.error("no label, and `stratify` needs one in every row".into()));
            }
            None => 0,
        };
        if keys.len() == MOST_ROWS {
            return Err(lines.error(format!("more than {MOST_ROWS} rows")));
        }
        keys.push(TextKey::new(&example.text, label));
        if conversations {
            openings.push(Opening::of(&example, openings.len()));
        }
        let (done, total) = lines.bytes();
        progress.update(done, 2 * total);
    }
    if keys.len() < 2 {
        let problem = format!("expected at least 2 rows to divide, found {}", keys.len());
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    Ok((labels, keys, openings))
}

/// The first turn of a conversation, or the row itself where there is none.
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

/// The second reading: copies every row to its part.
fn copy_rows(context: &Context, path: &Path, in_train: &[bool]) -> Result<(), StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut train = OutputFile::create(context.output("train")?)?;
    let mut valid = OutputFile::create(context.output("valid")?)?;
    let mut rows = in_train.iter();
    while lines.advance()? {
        if is_blank(lines.line()) {
            continue;
        }
        match rows.next() {
            Some(true) => train.write_line(lines.line())?,
            Some(false) => valid.write_line(lines.line())?,
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
    let problem = "was changed while it was read".to_owned();
    StageError::File { path: path.to_owned(), problem }
}

fn emit_findings(context: &Context, report: &Report) {
    let parts = [("train", &report.train), ("valid", &report.valid)];
    let mut values = BTreeMap::new();
    for (name, part) in parts {
        values.insert(format!("{name}_rows"), part.rows as f64);
        for (label, _) in part.labels.iter().filter(|(_, rows)| **rows == 0) {
            let message = format!("`{name}` has no row with the label `{label}`");
            context.emit(Event::Warning { message });
        }
    }
    context.emit(Event::Metrics { step: None, values });
}
