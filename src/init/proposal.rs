//! Decides how the pipeline reads the files: one stage `ingest` for both if that reads both, else one
//! for each. Every decision is tried on all rows before it is taken.

use std::path::Path;

use serde_json::{Value, json};
use stages::builtin::ingest::files::InputFiles;
use stages::builtin::ingest::layout::{DataFormat, Layout};
use stages::builtin::ingest::params::delimiter_text;
use stages::data::label_names::too_many_labels;
use stages::data::task::Task;

use super::guess::{self, Fields};
use super::survey::Survey;
use super::told::Told;
use super::trial::{Given, Trial, trial};
use super::{InitError, Malformed};
use crate::text::figures::count;
use crate::text::suggest::quoted;
use crate::text::terminal::printable;

/// The fewest rows, and different texts, that leave something to train with and something to validate
/// with.
const FEWEST: u64 = 3;

/// How the pipeline reads the files.
#[derive(Debug)]
pub struct Proposal {
    /// The layout of the first training file.
    pub layout: Layout,
    /// How many training files there are, and their formats.
    pub files: usize,
    pub formats: Vec<DataFormat>,
    /// Their rows.
    pub rows: u64,
    pub fields: Fields,
    /// Whether the rows of a conversation stay together when the rows are divided.
    pub group_conversations: bool,
    /// The labels of both files, with their rows in the training file.
    pub labels: Vec<(String, u64)>,
    /// The parameters of `ingest`, without `labels`.
    pub given: Given,
    pub test: Option<TestProposal>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// How the file to classify is read.
#[derive(Debug)]
pub struct TestProposal {
    /// The parameters of a stage `ingest` of its own, if it cannot be read as the training file is.
    pub given: Option<Given>,
    /// Whether it has labels, so that answers can be scored.
    pub is_labelled: bool,
}

/// Reads the files and decides.
///
/// # Errors
/// What cannot be guessed, or what `ingest` would refuse.
pub fn propose(
    data: &InputFiles,
    test: Option<&InputFiles>,
    told: &Told,
) -> Result<Proposal, InitError> {
    let mut survey = Survey::of(data, told)?;
    let mut fields = match (guess::fields(&survey, told, &data.name), survey.first_problem.take()) {
        (Ok(fields), _) => fields,
        // A file that is not read as it is meant has malformed rows, and fields that look odd.
        (Err(_), Some(error)) if !told.skip => {
            let (malformed, rows) = (survey.malformed, survey.rows);
            let refused = Malformed { error, malformed, rows, told_id: None };
            return Err(InitError::Malformed(Box::new(refused)));
        }
        (Err(error), _) => return Err(error),
    };
    let mut notes = Vec::new();
    let (given, found) = read(data, "train", &survey, &mut fields, told, &mut notes)?;
    check(&data.name, &fields, &found)?;
    if !survey.layout.header && told.header.is_none() {
        notes.push(format!(
            "`{}` is read without a header, since its first row looks like data; --header says that \
             it has one",
            data.name.display()
        ));
    }
    if let (None, Task::Regression, Some(label)) = (told.task, fields.task, &fields.label) {
        notes.push(format!(
            "`{}` holds numbers, so the task is `regression`; --task single takes each value as a label",
            printable(label)
        ));
    }
    let group_conversations = fields.context.is_some() && found.can_group_conversations();
    if fields.context.is_some() && !group_conversations {
        notes.push("too few conversations begin differently to keep each in one part".to_owned());
    }
    let mut proposal = Proposal {
        group_conversations,
        layout: survey.layout,
        files: data.paths.len(),
        formats: survey.formats(),
        rows: found.rows,
        fields,
        labels: found.labels.into_iter().collect(),
        given,
        test: None,
        notes,
    };
    if let Some(test) = test {
        proposal.add_test(data, test, told)?;
    }
    Ok(proposal)
}

/// Reads a file with these fields. Ids that were guessed and are not unique are given up.
fn read(
    files: &InputFiles,
    input: &str,
    survey: &Survey,
    fields: &mut Fields,
    told: &Told,
    notes: &mut Vec<String>,
) -> Result<(Given, Trial), InitError> {
    let given = params(survey, fields, told);
    let found = trial(files, input, &given);
    if found.as_ref().is_ok_and(|found| found.malformed == 0) {
        return Ok((given, found?));
    }
    if let (None, Some(id)) = (&told.id, fields.id.clone()) {
        let without = Fields { id: None, ..fields.clone() };
        let mut numbered = params(survey, &without, told);
        numbered.insert("id_field", Value::Null);
        let before = found.as_ref().map_or(u64::MAX, |found| found.malformed);
        if let Ok(better) = trial(files, input, &numbered)
            && better.malformed < before
        {
            notes.push(format!(
                "the ids in `{}` of `{}` cannot be used, so rows are numbered",
                printable(&id),
                files.name.display()
            ));
            *fields = without;
            return accepted(numbered, better, told);
        }
    }
    accepted(given, found?, told)
}

/// Refuses a reading that leaves out rows, unless that is wanted.
fn accepted(given: Given, mut found: Trial, told: &Told) -> Result<(Given, Trial), InitError> {
    let refused = found.first_problem.take().filter(|_| !told.skip || found.rows == 0);
    let Some(error) = refused else { return Ok((given, found)) };
    let is_id = error.to_string().contains("is used by an earlier row");
    Err(InitError::Malformed(Box::new(Malformed {
        error,
        malformed: found.malformed,
        rows: found.rows,
        told_id: told.id.clone().filter(|_| is_id),
    })))
}

/// Refuses what later stages of the pipeline could not work with.
fn check(path: &Path, fields: &Fields, found: &Trial) -> Result<(), InitError> {
    let fewest = match fields.task {
        Task::Single => 2,
        Task::Multi => 1,
        Task::Regression => 0,
    };
    if found.labels.len() < fewest {
        let name = fields.label.clone().unwrap_or_default();
        let found = match fields.task {
            Task::Multi => "holds no label in any row".to_owned(),
            Task::Single | Task::Regression => "has fewer than two values".to_owned(),
        };
        return Err(InitError::NoLabel { path: path.to_owned(), name, found });
    }
    if fields.task == Task::Single
        && let Some(found) = too_many_labels(found.labels.values().copied())
    {
        let (name, found) = (fields.label.clone().unwrap_or_default(), format!("has {found}"));
        return Err(InitError::NoLabel { path: path.to_owned(), name, found });
    }
    let too_few = match (found.rows, found.texts) {
        (rows, _) if rows < FEWEST => count(rows as usize, "row"),
        (_, 1) => "the same text in every row".to_owned(),
        (_, texts) if texts < FEWEST => format!("{texts} different texts"),
        _ => return Ok(()),
    };
    let text = fields.text.clone();
    Err(InitError::TooFew { path: path.to_owned(), text, found: too_few })
}

/// The parameters of `ingest` for a file, without `labels`.
fn params(survey: &Survey, fields: &Fields, told: &Told) -> Given {
    let mut given = layout_params(survey);
    let Fields { text, task, label, flags, id, context } = fields;
    given.insert("text_field", json!(text));
    match flags.is_empty() {
        true => given.insert("label_field", json!(label)),
        false => given.insert("label_fields", json!(flags)),
    };
    if *task != Task::Single {
        given.insert("task", json!(task.word()));
    }
    let is_text = |name: &String| survey.field(name).is_some_and(|field| field.lists == 0);
    if let Some(separator) = told.separator.as_ref().filter(|_| label.as_ref().is_some_and(is_text))
    {
        given.insert("label_separator", json!(separator));
    }
    // `ingest` reads fields with these names by default: say that they are not meant.
    for (name, default, field) in [("id_field", "id", id), ("context_field", "context", context)] {
        if field.is_some() || survey.field(default).is_some() {
            given.insert(name, json!(field));
        }
    }
    if let Some(encoding) = &told.encoding {
        given.insert("encoding", json!(encoding));
    }
    if told.skip {
        given.insert("on_error", json!("skip"));
    }
    given
}

/// What all files have in common; `ingest` sees the rest from the content of each.
fn layout_params(survey: &Survey) -> Given {
    let mut given = Given::new();
    let Layout { format, header, .. } = survey.layout;
    let is_of_all = |same: &dyn Fn(&Layout) -> bool| survey.others.iter().all(same);
    if is_of_all(&|other| other.format == format) {
        given.insert("format", json!(format.name()));
    }
    if let Some(delimiter) = survey.layout.unusual_delimiter()
        && is_of_all(&|other| other.unusual_delimiter() == Some(delimiter))
    {
        given.insert("delimiter", json!(delimiter_text(delimiter)));
    }
    if !header {
        given.insert("header", json!(false));
    }
    given
}

impl Proposal {
    fn add_test(
        &mut self,
        data: &InputFiles,
        test: &InputFiles,
        told: &Told,
    ) -> Result<(), InitError> {
        if let Some((given, found)) = self.shared_given(data, test, told) {
            self.given = given;
            return self.add_test_labels(&test.name, None, &found);
        }
        // What was said about the layout of the training file need not hold for this one.
        let of_any_layout = Told { format: None, delimiter: None, header: None, ..told.clone() };
        let survey = Survey::of(test, &of_any_layout).or_else(|_| Survey::of(test, told))?;
        let mut fields = guess::test_fields(&survey, told, &self.fields, &self.labels, &test.name)?;
        let id = told.id.clone().filter(|id| fields.id.as_ref() == Some(id));
        let told = Told { id, ..told.clone() };
        let (given, found) = read(test, "test", &survey, &mut fields, &told, &mut self.notes)?;
        self.notes.push(format!(
            "`{}` is not laid out as the training file, so a stage of its own reads it: the text is \
             in `{}`",
            test.name.display(),
            printable(&fields.text)
        ));
        self.add_test_labels(&test.name, Some(given), &found)
    }

    /// The parameters that read both files, if there are any: those of the training file, or the
    /// same without its layout.
    fn shared_given(
        &self,
        data: &InputFiles,
        test: &InputFiles,
        told: &Told,
    ) -> Option<(Given, Trial)> {
        let mut any_layout = self.given.clone();
        any_layout.remove("format");
        any_layout.remove("delimiter");
        for given in [&self.given, &any_layout] {
            let Ok(found) = trial(test, "test", given) else { continue };
            if found.malformed > if told.skip { found.rows } else { 0 } {
                continue;
            }
            let again = trial(data, "train", given);
            if again.is_ok_and(|again| again.layout == self.layout && again.rows == self.rows) {
                return Some((given.clone(), found));
            }
        }
        None
    }

    /// Takes over the labels of the file to classify. If none of them is one to train with, they
    /// stand for something else and are not read.
    fn add_test_labels(
        &mut self,
        test: &Path,
        mut own: Option<Given>,
        found: &Trial,
    ) -> Result<(), InitError> {
        let is_known = |label: &String| self.labels.iter().any(|(known, _)| known == label);
        let unknown: Vec<&String> = found.labels.keys().filter(|label| !is_known(label)).collect();
        let mut is_labelled = found.labelled > 0;
        let names =
            |labels: &[&String]| quoted(labels.iter().take(5).map(|label| printable(label)));
        if is_labelled && unknown.len() == found.labels.len() && !unknown.is_empty() {
            is_labelled = false;
            self.notes.push(format!(
                "the labels of `{}` ({}) are none of the training file's, so they are not read",
                test.display(),
                names(&unknown)
            ));
            let given = own.get_or_insert_with(|| self.given.clone());
            given.insert("label_field", Value::Null);
        } else if !unknown.is_empty() {
            self.notes.push(format!(
                "`{}` has labels that the training file lacks, so no model can find them: {}",
                test.display(),
                names(&unknown)
            ));
            self.labels.extend(unknown.into_iter().map(|label| (label.clone(), 0)));
            self.labels.sort();
        }
        self.test = Some(TestProposal { given: own, is_labelled });
        Ok(())
    }
}
