//! What `pipe init` is to write.

use super::proposal::Proposal;

/// What to write into the pipeline.
pub struct Wanted<'a> {
    pub proposal: &'a Proposal,
    /// The files of data and patterns as written in the YAML.
    pub data: &'a [String],
    pub test: Option<&'a [String]>,
    /// The pretrained model to fine-tune. Without one, the pipeline trains the baseline only.
    pub model: Option<&'a str>,
    /// The hidden units of that model.
    pub width: u64,
    /// Whether the examples are audited and cleaned before they are divided.
    pub audit: bool,
}

/// The input `test`, of this stage, if there are texts to classify.
pub fn tested(wanted: &Wanted, stage: &str) -> String {
    wanted.test.map_or(String::new(), |_| format!(", test: {stage}:test"))
}

/// The stage that reads the texts to classify.
pub fn test_reader(wanted: &Wanted) -> &'static str {
    match &wanted.proposal.test {
        Some(test) if test.given.is_some() => "ingest_test",
        _ => "ingest",
    }
}
