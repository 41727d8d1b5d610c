//! A sweep: combinations of overrides as variants of one pipeline. Combinations share the stages
//! that are equal, so one plan and one run cover them all. At the end each combination is a row of
//! a table.
//!
//! ```text
//! combinations ─ a Pipeline each ─ combine ─→ Pipeline ─→ Plan ─→ Run ─→ table
//!  (pipeline::sweeps)              (equal stages are one)  (as for any pipeline)
//! ```

pub mod combine;
pub mod curve;
pub mod logged;
pub mod results;
pub mod table;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::pipeline::Overrides;
use crate::pipeline::sweeps::{Axis, Combination, MAX_COMBINATIONS, Sweep, keys_of, product};
use crate::text::suggest::{nearest, quoted};

/// The sweep that the user asked for: one of the file, axes from the command line, or both.
#[derive(Clone, Debug)]
pub struct Asked {
    pub combinations: Vec<Combination>,
    /// The keys that some combination sets, in the order written.
    pub keys: Vec<String>,
    /// The metric by which to sort the table, if one was named.
    pub metric: Option<String>,
    pub ascending: bool,
    /// Keys over which means are taken.
    pub over: Vec<String>,
}

/// Why a sweep cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("there is no sweep `{name}`")]
    Unknown { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("more than one sweep is named: `{first}` and `{second}`")]
    Several { first: String, second: String },
    #[error("`{key}` is given twice")]
    Twice { key: String },
    #[error("`{key}=` has no values")]
    NoValues { key: String },
    #[error("`{key}` takes the value {value} twice")]
    SameValue { key: String, value: Value },
    #[error("`curve` needs one stage that uses `split`, and the pipeline has {splits}")]
    NoCurve { splits: usize },
    #[error("the sweep has over {MAX_COMBINATIONS} combinations")]
    TooMany,
    #[error("`--over {key}`: the sweep has no such key")]
    NotAKey { key: String, known: Vec<String> },
}

impl SweepError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let listed =
            |names: &[String]| (!names.is_empty()).then(|| format!("known: {}", quoted(names)));
        match self {
            SweepError::Unknown { nearest: Some(near), .. } => {
                Some(format!("did you mean `{near}`?"))
            }
            SweepError::Unknown { known, .. } if known.is_empty() => {
                Some("the file has no `sweeps:`; name values, such as `seed=1,2,3`".to_owned())
            }
            SweepError::Unknown { known, .. } | SweepError::NotAKey { known, .. } => listed(known),
            SweepError::Several { .. } => Some("run one after the other".to_owned()),
            SweepError::Twice { .. } => Some("give all its values at once, with commas".to_owned()),
            SweepError::NoValues { key } => Some(format!("write `{key}=one,two`")),
            SweepError::NoCurve { .. } => Some(
                "name the axes: `pipe sweep STAGE.train_share=0.125,0.25,0.5,1 STAGE.seed=1,2,3 --over \
                 seed`"
                    .to_owned(),
            ),
            SweepError::SameValue { .. } | SweepError::TooMany => None,
        }
    }
}

/// Makes the product of the axes and of a named sweep of the file, if there is one. A key that
/// `--set` fixes is not swept over, and combinations that become equal are merged.
pub fn ask(
    named: Option<&Sweep>,
    axes: &[Axis],
    overrides: &Overrides,
) -> Result<Asked, SweepError> {
    let fixed: BTreeSet<&str> = overrides.set.iter().map(|(key, _)| key.as_str()).collect();
    let mut known = BTreeSet::new();
    for axis in axes {
        let key = axis.key.clone();
        if fixed.contains(axis.key.as_str()) || !known.insert(axis.key.as_str()) {
            return Err(SweepError::Twice { key });
        }
        let mut values = BTreeSet::new();
        for value in axis.values.iter().map(|value| value.value()) {
            if value.as_str() == Some("") {
                return Err(SweepError::NoValues { key });
            }
            if !values.insert(value.to_string()) {
                return Err(SweepError::SameValue { key, value });
            }
        }
    }
    let mut combinations = named.map_or(vec![Vec::new()], |sweep| sweep.combinations.clone());
    for combination in &mut combinations {
        combination.retain(|it| !fixed.contains(it.key.as_str()));
    }
    let size = axes.iter().try_fold(combinations.len(), |size, axis| {
        size.checked_mul(axis.values.len()).filter(|size| *size <= MAX_COMBINATIONS)
    });
    size.ok_or(SweepError::TooMany)?;
    let mut combinations = product(combinations, axes);
    let mut seen = BTreeSet::new();
    combinations.retain(|combination| {
        let mut values: Vec<(&str, String)> =
            combination.iter().map(|it| (it.key.as_str(), it.value().to_string())).collect();
        values.sort();
        seen.insert(format!("{values:?}"))
    });
    let keys: Vec<String> = keys_of(&combinations).into_iter().map(str::to_owned).collect();
    let over = named.map(|sweep| sweep.over.clone()).unwrap_or_default();
    Ok(Asked {
        over: over.into_iter().filter(|key| keys.contains(key)).collect(),
        metric: named.and_then(|sweep| sweep.metric.clone()),
        ascending: named.is_some_and(|sweep| sweep.ascending),
        combinations,
        keys,
    })
}

/// Finds the sweep of that name.
pub fn named<'s>(sweeps: &'s [Sweep], name: &str) -> Result<&'s Sweep, SweepError> {
    let known: Vec<&str> = sweeps.iter().map(|sweep| sweep.name.as_str()).collect();
    sweeps.iter().find(|sweep| sweep.name == name).ok_or_else(|| SweepError::Unknown {
        name: name.to_owned(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
        known: known.iter().map(|name| (*name).to_owned()).collect(),
    })
}

/// Shortens keys as far as they stay distinct: `learning_rate` for `finetune.learning_rate`.
pub fn short_names(keys: &[String]) -> Vec<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let short: Vec<String> = keys.iter().map(|key| last(key)).collect();
    let once = |name: &String| short.iter().filter(|other| *other == name).count() == 1;
    keys.iter().zip(&short).map(|(key, name)| if once(name) { name } else { key }.clone()).collect()
}
