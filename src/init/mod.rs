//! `pipe init`: writes a commented pipeline for the user's own data. [`survey`] reads the files,
//! [`guess`] decides what each field is, [`trial`] reads the rows as the pipeline will, [`proposal`]
//! puts this together, [`recipe`] chooses the parameters of the training, [`template`] writes the YAML, with the stages of
//! [`auditing`] if they are wanted.

pub mod auditing;
pub mod guess;
mod names;
pub mod proposal;
pub mod recipe;
pub mod survey;
pub mod template;
pub mod told;
pub mod trial;
pub mod wanted;

use std::path::PathBuf;

use stages::StageError;

use crate::files::file_error::FileError;
use crate::text::figures::count;
use crate::text::terminal::printable;

/// Why `pipe init` wrote no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Row(#[from] StageError),
    /// `ingest` would refuse rows.
    #[error(transparent)]
    Malformed(Box<Malformed>),
    #[error("`{}` is no file", path.display())]
    NoFile { path: PathBuf },
    #[error("the path `{}` is not UTF-8, so the pipeline cannot hold it", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("each row of `{}` has one cell only", path.display())]
    OneColumn { path: PathBuf },
    #[error("cannot tell whether the first line of `{}` names the columns", path.display())]
    HeaderUnclear { path: PathBuf },
    #[error("the field `{name}` of `{}` {found}, so it cannot be the label", path.display())]
    NoLabel { path: PathBuf, name: String, found: String },
    #[error("{} fields of `{}` could be the {what}: {}", found.len(), path.display(), listed(found))]
    Several { path: PathBuf, what: &'static str, option: &'static str, found: Vec<String> },
    #[error("no field of `{}` looks like the text", path.display())]
    OtherNames { path: PathBuf, text: String, known: Vec<String> },
    #[error("`{}` has {found}, too few to train and validate with", path.display())]
    TooFew { path: PathBuf, text: String, found: String },
    #[error("`{}` has no rows", path.display())]
    Empty { path: PathBuf },
    #[error("`{}` has no field `{name}`{}", path.display(), nearest.as_ref().map_or(String::new(), |it| format!("; did you mean `{it}`?")))]
    NoField { path: PathBuf, name: String, known: Vec<String>, nearest: Option<String> },
    #[error("no field of `{}` looks like the {what}", path.display())]
    NotGuessed { path: PathBuf, what: &'static str, option: &'static str, known: Vec<String> },
    #[error("`{wrong}` of `{name}` is not a valid name on the hub")]
    NotOnHub { name: String, wrong: String },
    #[error("--audit judges one label a text, and the labels of `{}` are {found}", path.display())]
    NotAudited { path: PathBuf, found: &'static str },
    #[error("`{}` already exists", path.display())]
    Exists { path: PathBuf },
    #[error("cannot tell which file holds the data: {}", found.as_str())]
    NoData { found: String },
}

/// The first row that `ingest` would refuse, and how many there are.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Malformed {
    pub error: StageError,
    pub malformed: u64,
    pub rows: u64,
    /// The field that was said to hold ids, if the problem is an id that occurs twice.
    pub told_id: Option<String>,
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let quoted = names.iter().take(SHOWN).map(|name| format!("`{}`", printable(name)));
    let mut shown: Vec<String> = quoted.collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

impl InitError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            InitError::File(error) => error.hint().map(str::to_owned),
            InitError::NoField { known, .. } => Some(format!("there are {}", listed(known))),
            InitError::NotGuessed { option, known, .. } => {
                Some(format!("name it with {option}; there are {}", listed(known)))
            }
            InitError::Several { option, .. } => Some(format!("name it with {option}")),
            InitError::NoLabel { .. } => {
                Some("name another field with --label, if another is meant".to_owned())
            }
            InitError::Malformed(refused) => Some(match &refused.told_id {
                _ if refused.rows == 0 => {
                    "no row can be used; if other fields are meant, name them \
                                           with --text, --label and --id"
                        .to_owned()
                }
                Some(id) => {
                    format!("the ids in `{id}` are not unique: leave out --id to number the rows")
                }
                None => format!(
                    "{} of {} cannot be used: correct them, or leave them out with --on-error skip",
                    count(refused.malformed as usize, "row"),
                    refused.rows + refused.malformed
                ),
            }),
            InitError::OneColumn { .. } => Some(
                "name the character that separates cells with --delimiter; a text and a label are \
                 needed"
                    .to_owned(),
            ),
            InitError::HeaderUnclear { .. } => {
                Some("say --header if it does, --no-header if it is data".to_owned())
            }
            InitError::OtherNames { text, known, .. } => Some(format!(
                "call the text `{text}`, as in the training file; there are {}",
                listed(known)
            )),
            InitError::TooFew { text, .. } => Some(format!(
                "the text was taken from `{text}`; if another field is meant, name it with --text"
            )),
            InitError::NotUtf8 { .. } => Some("rename the file".to_owned()),
            InitError::NoFile { .. } => {
                Some("name files with --data, or a pattern: `--data 'data/*.jsonl'`".to_owned())
            }
            InitError::Exists { .. } => {
                Some("write to another file with --out, or remove this one".to_owned())
            }
            InitError::NoData { .. } => Some("name it with --data FILE".to_owned()),
            InitError::Row(error) => error.hint(),
            InitError::NotOnHub { .. } => {
                Some("write `hub:datasets/owner/name@revision/path`".to_owned())
            }
            InitError::Empty { .. } | InitError::NotAudited { .. } => None,
        }
    }
}
