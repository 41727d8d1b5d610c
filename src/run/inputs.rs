//! The inputs of a stage that runs. An object is read in full before the stage starts, and checked
//! again when it has ended: it is read-only, but that does not stop the superuser from writing to
//! it. A source belongs to the user, so it is read in full when the stage has ended.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::digest::Content;
use crate::files::stamp::{Stamp, file_clock_ns};
use crate::files::tree::files_below;
use crate::plan::inputs::{InputLocation, KeyedStage};
use crate::run::context::RunContext;
use crate::run::failure::StageFailure;
use crate::store::Store;

/// What the inputs looked like before the stage started.
pub struct Untouched {
    /// For each file: the input it belongs to, its object, and its stamp (`None` if that could not
    /// be read).
    stamps: Vec<(String, Content, Option<Stamp>)>,
    taken_ns: i64,
    /// For each source, when its files were last written.
    written: BTreeMap<PathBuf, BTreeMap<PathBuf, Written>>,
}

/// What tells that a file was written or replaced. Not its inode: some network file systems number
/// their files anew at any time.
struct Written {
    bytes: u64,
    modified_ns: i64,
    changed_ns: i64,
    links: u64,
}

impl PartialEq for Written {
    fn eq(&self, other: &Written) -> bool {
        // A stage may make a hard link to a source its output, which changes the second time too.
        let same_change = self.changed_ns == other.changed_ns || self.links != other.links;
        (self.bytes, self.modified_ns) == (other.bytes, other.modified_ns) && same_change
    }
}

/// Reads every input that is an object in full: a stage must not compute from bytes other than
/// those that its record will name.
pub(super) fn verify_inputs(
    resolved: &KeyedStage,
    context: &RunContext,
) -> Result<Untouched, StageFailure> {
    let store = context.store;
    let (stamps, written) = (Vec::new(), BTreeMap::new());
    let mut untouched = Untouched { stamps, taken_ns: 0, written };
    for (input, place) in &resolved.inputs {
        let (artifact, stage) = match place {
            InputLocation::Object { artifact, stage } => (artifact, stage),
            InputLocation::Source(found) => {
                untouched.written.insert(found.path.clone(), written_below(&found.path));
                continue;
            }
        };
        let verified = store.verify(artifact.content, context.scratch)?;
        verified.map_err(|damaged| StageFailure::DamagedInput {
            input: input.clone(),
            stage: stage.clone(),
            digest: damaged.0,
        })?;
        for content in store.files_of(artifact.content).unwrap_or_default() {
            untouched.stamps.push((input.clone(), content, stamp(store, content)));
        }
    }
    untouched.taken_ns = file_clock_ns();
    Ok(untouched)
}

impl Untouched {
    /// Checks that the objects are unchanged. Objects that were written to are moved away.
    pub(super) fn check(&self, context: &RunContext) -> Result<(), StageFailure> {
        let store = context.store;
        for (input, content, before) in &self.stamps {
            let same = *before == stamp(store, *content);
            if same && before.is_some_and(|before| before.is_settled(self.taken_ns)) {
                continue;
            }
            if store.verify(*content, context.scratch)?.is_err() {
                return Err(StageFailure::WroteToInput { input: input.clone() });
            }
        }
        Ok(())
    }
}

impl Untouched {
    /// Whether no file of a source was written since the stage started. If one was, the stage may
    /// have read other bytes even if they are the same again by now.
    pub(super) fn is_unwritten(&self, source: &Path) -> bool {
        self.written.get(source) == Some(&written_below(source))
    }
}

/// When the files of a source were last written. Files that cannot be found are left out: whoever
/// hashes them reports them.
fn written_below(source: &Path) -> BTreeMap<PathBuf, Written> {
    let files = files_below(source).map(|found| found.files).unwrap_or_default();
    let written = files.into_iter().filter_map(|file| {
        let metadata = fs::metadata(&file.path).ok()?;
        let Stamp { size: bytes, modified_ns, changed_ns, .. } = Stamp::of(&metadata);
        let links = metadata.nlink();
        Some((file.path, Written { bytes, modified_ns, changed_ns, links }))
    });
    written.collect()
}

fn stamp(store: &Store, content: Content) -> Option<Stamp> {
    fs::metadata(store.object(content)).ok().map(|metadata| Stamp::of(&metadata))
}
