//! Guesses which field is the text and which is the label: by common names, else by the values. Where
//! two fields could be meant, it asks.

use std::path::Path;

use stages::data::task::Task;

use super::InitError;
use super::names::{CONTEXT_NAMES, ID_NAMES, LABEL_NAMES, SURE_LABEL_NAMES, TEXT_NAMES};
use super::survey::{Field, MOST_LABELS, Survey};
use super::told::Told;
use crate::text::suggest::nearest;

/// What each field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub text: String,
    pub task: Task,
    /// Absent for a file that is to be classified, and if `flags` are the labels.
    pub label: Option<String>,
    /// The fields that are labels, each 1 if the text has it.
    pub flags: Vec<String>,
    pub id: Option<String>,
    pub context: Option<String>,
}

/// Decides what the fields of the training file are: as the user said, else by a guess.
///
/// # Errors
///
/// If the user named a field that the file does not have, or the label or text cannot be guessed.
pub fn fields(survey: &Survey, told: &Told, path: &Path) -> Result<Fields, InitError> {
    let told_flags = told_flags(survey, told);
    let told_names: Vec<&String> = match told_flags.is_empty() {
        true => told.names().collect(),
        false => told.names().filter(|it| told.label.as_ref() != Some(it)).collect(),
    };
    for name in &told_names {
        if survey.field(name).is_none() {
            let known = names_of(survey);
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let (path, name) = (path.to_owned(), (*name).clone());
            return Err(InitError::NoField { path, name, known, nearest });
        }
    }
    let taken =
        |field: &Field| told_names.contains(&&field.name) || told_flags.contains(&field.name);
    let free = || survey.fields.iter().filter(|field| !taken(field) && !field.is_inner);
    let text_by_name = told.text.clone().or_else(|| by_name(free(), &TEXT_NAMES));
    let may_be_label = || free().filter(|field| text_by_name.as_deref() != Some(&field.name));
    let labelling = match &told.label {
        _ if !told_flags.is_empty() => Labelling::Flags(told_flags.clone()),
        Some(name) => Labelling::Field(name.clone()),
        None => labelling(may_be_label(), survey, path)?,
    };
    let is_label = |name: &String| match &labelling {
        Labelling::Field(label) => label == name,
        Labelling::Flags(flags) => flags.contains(name),
    };
    let text = match text_by_name {
        Some(name) => name,
        None => {
            let (taken, is_label) = (&taken, &is_label);
            let others = |inner: bool| {
                let is_free = move |it: &&Field| !taken(it) && !is_label(&it.name);
                survey.fields.iter().filter(is_free).filter(move |field| field.is_inner == inner)
            };
            let is_id = |name: &str| survey.field(name).is_some_and(|it| called(it, &ID_NAMES));
            // A field in an object is looked at only if none outside may be the text.
            match text(others(false), survey, path) {
                Ok(name) if !is_id(&name) => name,
                Err(error @ InitError::Several { .. }) => return Err(error),
                found => match text(others(true), survey, path) {
                    Err(error @ InitError::Several { .. }) => return Err(error),
                    inner => inner.or(found)?,
                },
            }
        }
    };
    let (label, flags) = match labelling {
        Labelling::Field(label) => (Some(label), Vec::new()),
        Labelling::Flags(flags) => (None, flags),
    };
    let taken = [&text].into_iter().chain(&label).chain(&flags);
    let taken: Vec<&str> = taken.map(String::as_str).collect();
    let (id, context) = others(survey, told, &taken);
    let task = task(survey, told, label.as_deref());
    Ok(Fields { text, task, label, flags, id, context })
}

/// Where the labels are.
enum Labelling {
    Field(String),
    /// Each of these fields is a label.
    Flags(Vec<String>),
}

/// The fields that the user named as labels, if there are several: `anger,joy`.
fn told_flags(survey: &Survey, told: &Told) -> Vec<String> {
    let Some(label) = told.label.as_ref().filter(|it| survey.field(it).is_none()) else {
        return Vec::new();
    };
    let names: Vec<String> = label.split(',').map(|name| name.trim().to_owned()).collect();
    let all_there = names.len() > 1 && names.iter().all(|name| survey.field(name).is_some());
    if all_there { names } else { Vec::new() }
}

/// The task: as the user said, else as the values of the label are.
fn task(survey: &Survey, told: &Told, label: Option<&str>) -> Task {
    let Some(field) = label.and_then(|name| survey.field(name)) else { return Task::Multi };
    match told.task {
        Some(task) => task,
        None if field.lists > 0 || told.separator.is_some() => Task::Multi,
        None if is_number(field) => Task::Regression,
        None => Task::Single,
    }
}

/// Whether the values are numbers of which there are too many, or too fine ones, to be classes.
fn is_number(field: &Field) -> bool {
    const MOST_CLASSES: usize = 10;
    let is_finite = |value: &String| value.trim().parse().is_ok_and(f64::is_finite);
    let is_fine = |value: &String| value.contains(['.', 'e', 'E']);
    field.lists == 0
        && field.others == 0
        && field.values.len() > MOST_CLASSES
        && field.values.keys().all(is_finite)
        && field.values.keys().any(is_fine)
}

/// The labels: one field, or, if there are several whose values are 0 and 1, all of these.
fn labelling<'a>(
    fields: impl Iterator<Item = &'a Field> + Clone,
    survey: &Survey,
    path: &Path,
) -> Result<Labelling, InitError> {
    let numbered = || fields.clone().filter(|field| is_number(field));
    let found = label(fields.clone(), survey, path);
    if let Ok(name) = found {
        return Ok(Labelling::Field(name));
    }
    let number = LABEL_NAMES.iter().find_map(|name| numbered().find(|it| called(it, &[name])));
    let is_list = |field: &&Field| {
        field.lists > 0
            && field.others == 0
            && field.values.is_empty()
            && !called(field, &CONTEXT_NAMES)
    };
    let lists: Vec<&Field> = fields.clone().filter(is_list).collect();
    let is_flag = |field: &&Field| {
        let is_truth = |value: &String| matches!(value.trim(), "0" | "1");
        field.filled == survey.rows && field.lists == 0 && field.values.keys().all(is_truth)
    };
    let flags: Vec<&Field> = fields.clone().filter(is_flag).collect();
    match (&found, number, &lists[..]) {
        (Err(InitError::Several { found: names, .. }), ..)
            if flags.len() > 1
                && names.iter().all(|it| flags.iter().any(|flag| flag.name == *it)) =>
        {
            Ok(Labelling::Flags(flags.iter().map(|field| field.name.clone()).collect()))
        }
        (Err(InitError::Several { .. }), ..) => found.map(Labelling::Field),
        (_, Some(field), _) | (_, None, &[field]) => Ok(Labelling::Field(field.name.clone())),
        _ => found.map(Labelling::Field),
    }
}

/// Decides what the fields of a file to classify are, whose layout differs from that of the training
/// file: fields of the same name are the same, the others are guessed.
pub fn test_fields(
    survey: &Survey,
    told: &Told,
    train: &Fields,
    labels: &[(String, u64)],
    path: &Path,
) -> Result<Fields, InitError> {
    let same = |name: &Option<String>| name.clone().filter(|name| survey.field(name).is_some());
    let flags: Vec<String> = match train.flags.iter().all(|name| survey.field(name).is_some()) {
        true => train.flags.clone(),
        false => Vec::new(),
    };
    let is_label = |value: &String| labels.iter().any(|(label, _)| label == value);
    let has_labels = |field: &&Field| field.values.len() > 1 && field.values.keys().all(is_label);
    let outer = || survey.fields.iter().filter(|field| !field.is_inner);
    let of_labels = || outer().find(has_labels).map(|field| field.name.clone());
    let label = match train.task {
        Task::Single => {
            same(&train.label).or_else(of_labels).or_else(|| by_name(outer(), &LABEL_NAMES))
        }
        Task::Multi | Task::Regression => same(&train.label),
    };
    let is_label = |name: &String| label.as_ref() == Some(name) || flags.contains(name);
    let free = || outer().filter(|field| !is_label(&field.name));
    let text_by_name = same(&Some(train.text.clone())).or_else(|| by_name(free(), &TEXT_NAMES));
    let text = match text_by_name {
        Some(name) => name,
        None => text(free(), survey, path).map_err(|_| InitError::OtherNames {
            path: path.to_owned(),
            text: train.text.clone(),
            known: names_of(survey),
        })?,
    };
    let taken = [&text].into_iter().chain(&label).chain(&flags);
    let taken: Vec<&str> = taken.map(String::as_str).collect();
    let told = Told { id: same(&told.id), context: same(&told.context), ..Told::default() };
    let (id, context) = others(survey, &told, &taken);
    Ok(Fields { text, task: train.task, label, flags, id, context })
}

/// The id and the context.
fn others(survey: &Survey, told: &Told, taken: &[&str]) -> (Option<String>, Option<String>) {
    let free = || {
        let is_free = |field: &&Field| !taken.contains(&field.name.as_str());
        survey.fields.iter().filter(is_free).filter(|field| field.others == 0 && !field.is_inner)
    };
    let id = free()
        .find(|field| called(field, &ID_NAMES) && field.filled == survey.rows && field.lists == 0);
    let context = free()
        .find(|field| called(field, &CONTEXT_NAMES) && field.scalars == 0 && field.filled > 0);
    let name = |field: &Field| field.name.clone();
    (told.id.clone().or(id.map(name)), told.context.clone().or(context.map(name)))
}

fn names_of(survey: &Survey) -> Vec<String> {
    survey.fields.iter().map(|field| field.name.clone()).collect()
}

/// Whether the field has one of the names, in any case.
fn called(field: &Field, names: &[&str]) -> bool {
    names.iter().any(|name| field.name.trim().eq_ignore_ascii_case(name))
}

/// The field that may hold texts and has the first of the names.
fn by_name<'a>(fields: impl Iterator<Item = &'a Field> + Clone, names: &[&str]) -> Option<String> {
    let is_text = |field: &&Field| field.filled > 0 && field.lists == 0 && field.others == 0;
    let candidates = || fields.clone().filter(is_text);
    let found = names.iter().find_map(|name| candidates().find(|it| called(it, &[name])));
    found.map(|field| field.name.clone())
}

/// The label: by name, else the only field with few values that occur several times each.
fn label<'a>(
    fields: impl Iterator<Item = &'a Field> + Clone,
    survey: &Survey,
    path: &Path,
) -> Result<String, InitError> {
    let rows = survey.rows;
    let count = |field: &Field| field.values.len() as u64;
    let is_label = |field: &&Field| {
        field.lists == 0 && field.others == 0 && !field.is_long && count(field) > 1
    };
    let may_have = |field: &&Field| count(field) <= (MOST_LABELS as u64).max(rows / 2);
    let candidates = || fields.clone().filter(is_label).filter(may_have);
    let by_name = LABEL_NAMES.iter().find_map(|name| candidates().find(|it| called(it, &[name])));
    if let Some(field) = by_name {
        return Ok(field.name.clone());
    }
    let sure = &LABEL_NAMES[..SURE_LABEL_NAMES];
    if let Some(field) = fields.clone().find(|field| called(field, sure)) {
        let found = match count(field) {
            _ if field.lists > 0 || field.others > 0 => "holds lists or objects".to_owned(),
            0 => "is empty in every row".to_owned(),
            1 => "has the same value in every row".to_owned(),
            _ if field.is_long => "has values too long for labels".to_owned(),
            _ => format!("has over {MOST_LABELS} values, most of them once"),
        };
        let name = field.name.clone();
        return Err(InitError::NoLabel { path: path.to_owned(), name, found });
    }
    let repeats =
        |field: &&Field| count(field) <= MOST_LABELS as u64 && count(field) * 3 <= rows.max(6);
    let found: Vec<&Field> = candidates().filter(repeats).collect();
    one_of(&found, "label", "--label", survey, path)
}

/// The text that has no usual name: the field with the longest values.
fn text<'a>(
    fields: impl Iterator<Item = &'a Field> + Clone,
    survey: &Survey,
    path: &Path,
) -> Result<String, InitError> {
    let is_text = |field: &&Field| {
        field.filled > 0 && field.lists == 0 && field.others == 0 && field.scalars == 0
    };
    let mut found: Vec<&Field> = fields.filter(is_text).collect();
    // Fields whose values are nearly as long could be meant too.
    let longest = found.iter().map(|field| field.mean_length()).fold(0.0, f64::max);
    let is_sentence = longest >= 20.0;
    found.retain(|field| field.mean_length() > longest * if is_sentence { 0.7 } else { 0.999_999 });
    one_of(&found, "text", "--text", survey, path)
}

fn one_of(
    found: &[&Field],
    what: &'static str,
    option: &'static str,
    survey: &Survey,
    path: &Path,
) -> Result<String, InitError> {
    let (path, names) = (path.to_owned(), |fields: &[&Field]| {
        fields.iter().map(|field| field.name.clone()).collect()
    });
    match found {
        [only] => Ok(only.name.clone()),
        [] => Err(InitError::NotGuessed { path, what, option, known: names_of(survey) }),
        _ => Err(InitError::Several { path, what, option, found: names(found) }),
    }
}
