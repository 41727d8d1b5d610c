//! `pipe init`: writes a commented pipeline for the user's own data. [`survey`] reads the file,
//! [`guess`] decides what each field is, [`recipe`] chooses the parameters of the training, [`template`] writes the YAML.

pub mod guess;
pub mod recipe;
pub mod survey;
pub mod template;

use std::path::PathBuf;

use stages::StageError;

use crate::files::file_error::FileError;

/// Why `pipe init` wrote no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Row(#[from] StageError),
    #[error("{}, line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: u64, problem: String },
    #[error("`{}` has no rows", path.display())]
    Empty { path: PathBuf },
    #[error("`{}` has no field `{name}`{}", path.display(), nearest.as_ref().map_or(String::new(), |it| format!("; did you mean `{it}`?")))]
    NoField { path: PathBuf, name: String, known: Vec<String>, nearest: Option<String> },
    #[error("no field of `{}` looks like the {what}", path.display())]
    NotGuessed { path: PathBuf, what: &'static str, option: &'static str, known: Vec<String> },
    #[error("`{}` already exists", path.display())]
    Exists { path: PathBuf },
    #[error("cannot tell which file holds the data: {}", found.as_str())]
    NoData { found: String },
}

impl InitError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let listed = |known: &[String]| {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        match self {
            InitError::File(error) => error.hint().map(str::to_owned),
            InitError::NoField { known, .. } => Some(format!("there are {}", listed(known))),
            InitError::NotGuessed { option, known, .. } => {
                Some(format!("name it with {option}; there are {}", listed(known)))
            }
            InitError::Exists { .. } => {
                Some("write to another file with --out, or remove this one".to_owned())
            }
            InitError::NoData { .. } => Some("name it with --data FILE".to_owned()),
            InitError::Row(_) | InitError::Line { .. } | InitError::Empty { .. } => None,
        }
    }
}
