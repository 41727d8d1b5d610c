//! A readable view of an artifact. The kind of data is detected from the content, never from the
//! name. Memory is bounded: only the beginning of a file is kept, whatever its size, and nothing
//! reaches the terminal unescaped.

mod chart;
mod error;
mod file;
mod folder;
mod outline;
mod print;
mod table;
mod tensors;
mod tokens;
mod view;

use std::io::{self, Write};
use std::path::Path;

pub use error::ShowError;
pub use folder::{FileSize, Folder, Model};
pub use tensors::{Tensor, Tensors};
pub use tokens::show_tokens;
pub use view::{ShowOptions, View};

/// Writes a view of the file or folder at `path`.
///
/// # Errors
///
/// See [`ShowError`]. Only with [`ShowError::Output`] has anything been written.
pub fn show(path: &Path, options: &ShowOptions, out: &mut dyn Write) -> Result<(), ShowError> {
    let view = view(path, options.rows)?;
    let text = match options.json {
        true => {
            let mut json = serde_json::to_string(&view).map_err(io::Error::from);
            if let Ok(json) = &mut json {
                json.push('\n');
            }
            json.map_err(ShowError::Output)?
        }
        false => print::print(path, &view, options),
    };
    out.write_all(text.as_bytes()).map_err(ShowError::Output)
}

/// Reads what is at `path`, with at most `rows` rows, lines, tensors or files.
pub fn view(path: &Path, rows: usize) -> Result<View, ShowError> {
    let metadata = std::fs::metadata(path).map_err(ShowError::io("reading", path))?;
    if metadata.is_dir() {
        return folder::read(path, rows).map(View::Folder);
    }
    // Opening a named pipe would block until another process opens its other end.
    if !metadata.is_file() {
        return Err(ShowError::NotAFile { path: path.to_owned() });
    }
    file::read(path, metadata.len(), rows)
}
