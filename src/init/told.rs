//! What the user said about the files, in options of `pipe init`.

use stages::builtin::ingest::layout::DataFormat;
use stages::data::task::Task;

/// What the user said about the files.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub text: Option<String>,
    pub label: Option<String>,
    pub id: Option<String>,
    pub context: Option<String>,
    pub format: Option<DataFormat>,
    /// A name that `ingest` takes as `encoding`.
    pub encoding: Option<String>,
    pub delimiter: Option<u8>,
    pub task: Option<Task>,
    /// What separates the labels of a text.
    pub separator: Option<String>,
    pub header: Option<bool>,
    /// Whether rows that `ingest` refuses are left out.
    pub skip: bool,
}

impl Told {
    /// The fields that the user named.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        [&self.text, &self.label, &self.id, &self.context].into_iter().flatten()
    }
}
