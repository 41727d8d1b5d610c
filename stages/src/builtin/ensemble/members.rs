//! The members of an ensemble: files of predictions that are read in parallel, one row at a time, so
//! that memory does not grow with the number of rows.

use std::path::{Path, PathBuf};

use crate::data::lines::LineReader;
use crate::data::prediction::Prediction;
use crate::data::set::prediction_files;
use crate::data::task::Task;
use crate::stage::error::StageError;

/// The files of a folder, sorted by name.
pub struct Members {
    folder: PathBuf,
    names: Vec<String>,
    files: Vec<LineReader>,
    /// The labels of the first row, which every row of every member must have.
    labels: Vec<String>,
    rows: u64,
}

impl Members {
    /// Opens every file of a folder. A member's name is that of its file without `.jsonl`.
    ///
    /// # Errors
    /// The folder or a file in it can't be read, or the folder is empty.
    pub fn open(folder: &Path) -> Result<Members, StageError> {
        let found = prediction_files(folder)?;
        let files =
            found.iter().map(|(_, path)| LineReader::open(path)).collect::<Result<_, _>>()?;
        let names = found.into_iter().map(|(name, _)| name).collect();
        let folder = folder.to_owned();
        Ok(Members { folder, names, files, labels: Vec::new(), rows: 0 })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes read so far, and the bytes of all files.
    pub fn bytes(&self) -> (u64, u64) {
        let bytes = self.files.iter().map(LineReader::bytes);
        bytes.fold((0, 0), |(done, total), (read, all)| (done + read, total + all))
    }

    /// The next row of every member; `None` after the last.
    ///
    /// # Errors
    /// A row is malformed, has no probabilities, or has another id, other labels or another true
    /// label than the first member's row. The error names the file and the line.
    pub fn next_row(&mut self) -> Result<Option<Vec<Prediction>>, StageError> {
        let first_name = &self.names[0];
        let mut row: Vec<Prediction> = Vec::with_capacity(self.files.len());
        let mut ended = false;
        for (place, file) in self.files.iter_mut().enumerate() {
            let Some(prediction) = file.next_json::<Prediction>()? else {
                if place > 0 && !ended {
                    let problem = format!("the file ends here, but `{first_name}` has more rows");
                    return Err(file.error(problem));
                }
                ended = true;
                continue;
            };
            if ended {
                let problem = format!("`{first_name}` has no such row");
                return Err(file.error(problem));
            }
            let known = (!self.labels.is_empty()).then_some(self.labels.as_slice());
            check(&prediction, row.first(), known, first_name)
                .map_err(|problem| file.error(problem))?;
            if self.labels.is_empty() {
                self.labels = prediction.probabilities.keys().cloned().collect();
            }
            row.push(prediction);
        }
        if ended && self.rows == 0 {
            let problem = "its files hold no predictions".to_owned();
            return Err(StageError::File { path: self.folder.clone(), problem });
        }
        self.rows += 1;
        Ok((!ended).then_some(row))
    }
}

fn check(
    found: &Prediction,
    first: Option<&Prediction>,
    labels: Option<&[String]>,
    first_name: &str,
) -> Result<(), String> {
    found.check()?;
    if let Some(first) = first.filter(|first| first.label.task() != found.label.task()) {
        return Err(format!(
            "the prediction is {}, but in `{first_name}` it is {}",
            found.label.task().labels_in_words(),
            first.label.task().labels_in_words()
        ));
    }
    if found.label.task() == Task::Regression {
        return same_row(found, first, first_name);
    }
    if found.probabilities.is_empty() {
        return Err("no probabilities to combine".to_owned());
    }
    if let Some(labels) = labels
        && !found.probabilities.keys().eq(labels)
    {
        let own: Vec<&str> = found.probabilities.keys().map(String::as_str).collect();
        return Err(format!(
            "the labels are {}, but in the first row of `{first_name}` they are {}",
            own.join(", "),
            labels.join(", ")
        ));
    }
    same_row(found, first, first_name)
}

/// Checks that two members predict the same row.
fn same_row(
    found: &Prediction,
    first: Option<&Prediction>,
    first_name: &str,
) -> Result<(), String> {
    let Some(first) = first else { return Ok(()) };
    if found.id != first.id {
        return Err(format!(
            "the id is `{}`, but in `{first_name}` it is `{}`: members need the same examples in the \
             same order",
            found.id, first.id
        ));
    }
    match (&found.gold, &first.gold) {
        (Some(found), Some(wanted)) if found != wanted => {
            Err(format!("the true label is `{found}`, but in `{first_name}` it is `{wanted}`"))
        }
        _ => Ok(()),
    }
}
