//! What is checked when a stage's process has ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use stages::Kind;

use crate::executor::status::ExitStatus;
use crate::files::file_error::FileError;
use crate::pipeline::Stage;
use crate::plan::folder_change::FolderChange;
use crate::plan::inputs::{InputLocation, KeyedStage};
use crate::plan::reason::origin;
use crate::run::failure::{SourceChange, StageFailure};
use crate::run::inputs::Untouched;
use crate::sources::Sources;
use crate::store::index::Hashed;

/// Replaces the links in a stage's folder, by which a built-in names its inputs, by the names that
/// users know.
pub(super) fn by_origin(message: String, stage: &Stage, folder: &Path) -> String {
    stage.inputs.iter().fold(message, |message, (name, input)| {
        let link = folder.join("in").join(name);
        message.replace(&link.display().to_string(), &origin(input))
    })
}

/// Turns an unsuccessful end into the failure to report; `said` is what a built-in said about it.
pub(super) fn check_status(
    status: &ExitStatus,
    said: Option<(String, Option<String>)>,
    log: &Path,
) -> Result<(), StageFailure> {
    let log = log.to_owned();
    match said {
        _ if status.is_success() => Ok(()),
        Some((message, hint)) => Err(StageFailure::Said { message, hint, log }),
        None => Err(StageFailure::Process { status: status.clone(), log }),
    }
}

/// A result computed from bytes other than those in its key must not be recorded. So all bytes of the
/// sources are read again: what is written through a memory map need not change the times of a file.
pub(super) fn check_sources(
    resolved: &KeyedStage,
    stage: &Stage,
    sources: &Sources,
    untouched: &Untouched,
) -> Result<(), StageFailure> {
    for (input, location) in &resolved.inputs {
        let InputLocation::Source(found) = location else { continue };
        let how = match sources.read_again(&found.path) {
            Ok(now) if now == found.hashed && untouched.is_unwritten(&found.path) => continue,
            Ok(now) if now == found.hashed => SourceChange::Written,
            Ok(now) => change(found.hashed, now, sources),
            Err(error) => SourceChange::Unreadable(error.to_string()),
        };
        let origin = stage.inputs.get(input).map(origin).unwrap_or_default();
        return Err(StageFailure::SourceChanged { input: input.clone(), origin, how });
    }
    Ok(())
}

fn change(before: Hashed, now: Hashed, sources: &Sources) -> SourceChange {
    let tree = |hashed: Hashed| sources.index.tree(hashed.content);
    match (tree(before), tree(now)) {
        (Some(before), Some(now)) => {
            SourceChange::Files(Box::new(FolderChange::between(&before, &now)))
        }
        _ if now.bytes > before.bytes => SourceChange::Grew(now.bytes - before.bytes),
        _ => SourceChange::Changed,
    }
}

/// Checks that all declared outputs exist and are of the declared kind.
pub(super) fn check_outputs(
    stage: &Stage,
    paths: &BTreeMap<String, PathBuf>,
    log: &Path,
) -> Result<(), StageFailure> {
    for output in &stage.outputs {
        let Some(path) = paths.get(&output.name) else { continue };
        let found = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Kind::Folder,
            Ok(_) => Kind::File,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (output, at) = (output.name.clone(), path.clone());
                return Err(StageFailure::NoOutput { output, at, log: log.to_owned() });
            }
            Err(error) => return Err(FileError::at("reading", path)(error).into()),
        };
        if let Some(expected) = output.kind.filter(|expected| *expected != found) {
            let output = output.name.clone();
            return Err(StageFailure::WrongKind { output, expected, found });
        }
    }
    Ok(())
}
