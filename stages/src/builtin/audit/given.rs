//! Reads what `audit` looks at: the examples, and the out-of-fold predictions for them, joined by id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::confident::Judged;
use crate::data::example::Example;
use crate::data::lines::LineReader;
use crate::data::prediction::Prediction;
use crate::data::set::prediction_files;
use crate::data::target::Target;
use crate::stage::error::StageError;

/// The classes that an audit can tell apart. More make the joint too large to be of any use.
const MOST_CLASSES: usize = 1000;

/// The examples of a file.
///
/// # Errors
/// A row is malformed, or has a label of another task than one label a text; there is none.
pub fn examples(path: &Path) -> Result<Vec<Example>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut rows = Vec::new();
    while let Some(example) = lines.next_json::<Example>()? {
        example.one_label().map_err(|problem| lines.error(problem))?;
        rows.push(example);
    }
    if rows.is_empty() {
        let problem = "holds no examples".to_owned();
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    Ok(rows)
}

/// The label of an example; `None` if it is not known.
pub fn label(example: &Example) -> Option<&str> {
    example.label.as_ref().and_then(Target::label)
}

/// Examples with a label and out-of-fold probabilities.
pub struct JudgedExamples {
    /// In alphabetical order.
    pub names: Vec<String>,
    /// The place of each among the examples.
    pub places: Vec<usize>,
    pub judged: Judged,
}

/// Joins the predictions in a folder with the labelled examples. The mean counts where several files
/// predict an example.
///
/// # Errors
/// With file and line: a malformed row, one without probabilities, or one whose example is not among
/// `examples` or has another label there.
pub fn judged(examples: &[Example], folder: &Path) -> Result<JudgedExamples, StageError> {
    let places: HashMap<&str, usize> =
        examples.iter().enumerate().map(|(place, it)| (it.id.as_str(), place)).collect();
    let mut sums: Vec<Option<(f64, BTreeMap<String, f64>)>> = vec![None; examples.len()];
    for (_, path) in prediction_files(folder)? {
        let mut lines = LineReader::open(&path)?;
        while let Some(row) = lines.next_json::<Prediction>()? {
            let place = check(&row, examples, &places).map_err(|problem| lines.error(problem))?;
            let (files, sum) = sums[place].get_or_insert_default();
            *files += 1.0;
            for (label, probability) in row.probabilities {
                *sum.entry(label).or_insert(0.0) += probability;
            }
        }
    }
    let with_label = |place: &usize| label(&examples[*place]).is_some();
    let places: Vec<usize> =
        (0..examples.len()).filter(|place| sums[*place].is_some()).filter(with_label).collect();
    let given = places.iter().filter_map(|place| label(&examples[*place]).map(str::to_owned));
    let predicted = sums.iter().flatten().flat_map(|(_, sum)| sum.keys().cloned());
    let names: BTreeSet<String> = given.chain(predicted).collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.len() > MOST_CLASSES {
        let problem = format!("{} labels, and at most {MOST_CLASSES} can be audited", names.len());
        return Err(StageError::File { path: folder.to_owned(), problem });
    }
    let mut judged = Judged { classes: names.len(), ..Judged::default() };
    for place in &places {
        let (Some(label), Some((files, sum))) = (label(&examples[*place]), &sums[*place]) else {
            continue;
        };
        judged.given.push(names.partition_point(|name| name.as_str() < label));
        // A fold whose training part lacked a label gives it no probability.
        let of = |name: &String| sum.get(name).copied().unwrap_or(0.0) / files;
        judged.probabilities.extend(names.iter().map(of));
    }
    if places.is_empty() {
        let problem = "its files hold no prediction of a labelled example".to_owned();
        return Err(StageError::File { path: folder.to_owned(), problem });
    }
    Ok(JudgedExamples { names, places, judged })
}

/// The place of the example that a row predicts.
fn check(
    row: &Prediction,
    examples: &[Example],
    places: &HashMap<&str, usize>,
) -> Result<usize, String> {
    row.check()?;
    if row.probabilities.is_empty() {
        return Err("no probabilities, which an audit needs".to_owned());
    }
    let Some(&place) = places.get(row.id.as_str()) else {
        return Err(format!(
            "`examples` has no row `{}`: give the examples that were divided into folds",
            row.id
        ));
    };
    match (&row.gold, &examples[place].label) {
        (Some(gold), Some(label)) if gold != label => Err(format!(
            "the true label of `{}` is `{gold}`, but `{label}` in `examples`: the predictions are of \
             other data",
            row.id
        )),
        _ => Ok(place),
    }
}
