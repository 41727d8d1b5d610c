//! Why nothing was exported.

use std::path::PathBuf;

use stages::StageError;

use crate::text::suggest::quoted;

/// Why `pipe export` wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("exporting the model: {0}")]
    Model(Box<StageError>),
    #[error("cannot write `{}`: something other than a file is there", path.display())]
    NotAFile { path: PathBuf },
    #[error("cannot write `{}`: the model has a file with this name, which goes there too", path.display())]
    Taken { path: PathBuf },
    #[error("cannot write `{}`: the graph names the file of its parameters, so its name must be UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("`{}` is not an empty folder", path.display())]
    FolderTaken { path: PathBuf },
    #[error("{} there already, and would be overwritten: {}", others_are(paths), quoted(paths.iter().map(|path| path.display())))]
    Foreign { paths: Vec<PathBuf> },
}

impl ExportError {
    /// Whether the command line is wrong.
    pub fn is_usage(&self) -> bool {
        !matches!(self, ExportError::Model(_))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ExportError::Model(error) => return error.hint(),
            ExportError::NotAFile { .. } => {
                "name a file, such as `exported/onnx/model.onnx`".to_owned()
            }
            ExportError::Taken { .. } | ExportError::NotUtf8 { .. } => {
                "name it `model.onnx`".to_owned()
            }
            ExportError::FolderTaken { .. } => "name a new one, or remove it first".to_owned(),
            ExportError::Foreign { .. } => {
                "write to another folder; `--force` overwrites them".to_owned()
            }
        };
        Some(hint)
    }
}

/// It may be a file that `pipe export` has written for an earlier model, but also anything else.
fn others_are(paths: &[PathBuf]) -> &'static str {
    if paths.len() == 1 { "a file with other content is" } else { "files with other content are" }
}
