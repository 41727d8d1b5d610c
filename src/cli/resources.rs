//! The totals of counted resources, from the pipeline and `--resource`, and the check that every
//! stage of the run can get what it requests.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::{GPU, Pipeline, StageIndex};
use crate::run::units::VISIBLE_DEVICES;
use crate::text::suggest::{nearest, quoted};

/// Why the stages cannot get the resources that they request.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    #[error("`--resource {name}={count}`: no stage requests a resource `{name}`")]
    Unknown { name: String, count: u32, nearest: Option<String>, known: Vec<String> },
    #[error(
        "stage `{stage}` (line {line}) requests {wanted} of the resource `{name}`, but there {}",
        match total { 0 => "is none".to_owned(), 1 => "is 1".to_owned(), many => format!("are {many}") }
    )]
    TooFew { stage: String, line: usize, name: String, wanted: u32, total: u32 },
    #[error("there are {total} of the resource `{GPU}`, but `{VISIBLE_DEVICES}` is `{visible}`")]
    NotVisible { total: u32, visible: String },
}

impl ResourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            ResourceError::Unknown { nearest: Some(name), .. } => format!("did you mean `{name}`?"),
            ResourceError::Unknown { known, .. } if known.is_empty() => {
                "a stage requests a resource with `resources: {gpu: 1}`".to_owned()
            }
            ResourceError::Unknown { known, .. } => format!("stages request {}", quoted(known)),
            ResourceError::TooFew { name, wanted, .. } => format!(
                "if there are more, declare them: `resources: {{{name}: {wanted}}}` at the top of the \
                 pipeline, or `--resource {name}={wanted}`"
            ),
            ResourceError::NotVisible { .. } => {
                format!("list as many GPUs in `{VISIBLE_DEVICES}`, or lower the count")
            }
        }
    }
}

/// The total of each resource, for a run of the stages in `selected`.
pub fn totals(
    pipeline: &Pipeline,
    selected: &BTreeSet<StageIndex>,
    given: &[(String, u32)],
) -> Result<BTreeMap<String, u32>, ResourceError> {
    let wanted = pipeline.stages.iter().flat_map(|stage| stage.handling.resources.keys());
    let known: BTreeSet<&str> =
        wanted.chain(pipeline.resources.keys()).map(String::as_str).collect();
    let mut totals = pipeline.resources.clone();
    for (name, count) in given {
        if !known.contains(name.as_str()) {
            return Err(ResourceError::Unknown {
                name: name.clone(),
                count: *count,
                nearest: nearest(name, known.iter().copied()).map(str::to_owned),
                known: known.iter().map(|name| (*name).to_owned()).collect(),
            });
        }
        totals.insert(name.clone(), *count);
    }
    for stage in selected.iter().map(|index| &pipeline[*index]) {
        for (name, wanted) in &stage.handling.resources {
            let total = totals.get(name).copied().unwrap_or(1);
            if *wanted > total {
                let (stage, line, name) = (stage.name.clone(), stage.line, name.clone());
                return Err(ResourceError::TooFew { stage, line, name, wanted: *wanted, total });
            }
        }
    }
    if let (Some(total @ 2..), Ok(visible)) = (totals.get(GPU), std::env::var(VISIBLE_DEVICES))
        && visible.split(',').filter(|name| !name.trim().is_empty()).count() < *total as usize
    {
        return Err(ResourceError::NotVisible { total: *total, visible });
    }
    Ok(totals)
}

/// Reads `gpu=2`.
pub fn name_and_count(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, count) = parts.ok_or("expected `NAME=N`, such as `gpu=2`")?;
    let count = count.parse().ok().filter(|count| *count <= 4096);
    let count = count.ok_or("expected a whole number from 0 to 4096 after `=`")?;
    Ok((name.to_owned(), count))
}
