//! Copies of small records in one file, `cache/bundle`: reading it takes less time than opening
//! thousands of files. A copy counts only while the stamp of the record's own file is that of the
//! copied one. Losing the file costs time, never correctness.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::files::digest::{opened, sealed};
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::files::scratch::Scratch;
use crate::files::stamp::Stamp;
use crate::store::key::Key;

/// Records with longer texts are not copied: their long part is the history of a training, and few
/// have one. In bytes.
const LONGEST: usize = 4096;

/// The bundle is written anew when this many records had to be read from their own files.
const MANY: usize = 64;

/// The copies from `cache/bundle`, and the texts of the records that this process read.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    known: OnceLock<Copies>,
    learned: Mutex<HashMap<Key, (Stamp, String)>>,
}

#[derive(Debug, Default)]
struct Copies {
    bytes: Vec<u8>,
    /// Where in `bytes` each text lies.
    places: HashMap<Key, (Stamp, Range<usize>)>,
}

impl Bundle {
    /// The text of the record of `key`, which lies in `record_file`, from the copies in `file`. These are
    /// read when this is first called.
    pub(super) fn find(&self, key: Key, record_file: &Path, file: &Path) -> Option<&str> {
        let copies = || Copies::read(file).unwrap_or_default();
        self.known.get_or_init(copies).find(key, record_file)
    }

    /// Remembers the text of a record for [`Bundle::save`]. `began_ns` is [`file_clock_ns`], read before
    /// the record's file was.
    ///
    /// [`file_clock_ns`]: crate::files::stamp::file_clock_ns
    pub(super) fn learn(&self, key: Key, stamp: Stamp, text: String, began_ns: i64) {
        if text.len() <= LONGEST && stamp.is_settled(began_ns) {
            self.learned().insert(key, (stamp, text));
        }
    }

    /// Writes the copies to `file`, if reading them will save much. `record_file` tells where the
    /// record of a key lies.
    pub(super) fn save(
        &self,
        file: &Path,
        record_file: impl Fn(Key) -> PathBuf,
        scratch: &Scratch,
    ) -> Result<(), FileError> {
        let learned = self.learned();
        if learned.len() < MANY {
            return Ok(());
        }
        let mut entries: Vec<_> =
            learned.iter().map(|(key, (stamp, text))| (key, stamp, text.as_str())).collect();
        let known = self.known.get().into_iter();
        entries.extend(known.flat_map(|known| {
            let old = known.places.iter().filter(|(key, _)| !learned.contains_key(key));
            let there = old.filter(|(key, (stamp, _))| is_of(stamp, &record_file(**key)));
            there.filter_map(|(key, (stamp, at))| Some((key, stamp, known.text(at)?)))
        }));
        entries.sort_unstable_by_key(|(key, ..)| **key);
        scratch.write(file, &encode(&entries), false)
    }

    fn learned(&self) -> MutexGuard<'_, HashMap<Key, (Stamp, String)>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies {
    fn read(file: &Path) -> Option<Copies> {
        let bytes = regular::read(file).ok()?;
        let places = decode(&bytes)?;
        Some(Copies { bytes, places })
    }

    /// The text of a record, if its file still has the stamp that it had when it was copied.
    fn find(&self, key: Key, file: &Path) -> Option<&str> {
        let (stamp, place) = self.places.get(&key)?;
        is_of(stamp, file).then(|| self.text(place))?
    }

    fn text(&self, place: &Range<usize>) -> Option<&str> {
        str::from_utf8(self.bytes.get(place.clone())?).ok()
    }
}

fn is_of(stamp: &Stamp, file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| Stamp::of(&metadata) == *stamp)
}

/// The file, which is [`sealed`]: this header, then entries (key, stamp, length of the text, text).
const HEADER: &[u8; 8] = b"pipebnd1";

fn encode(entries: &[(&Key, &Stamp, &str)]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for (key, stamp, text) in entries {
        bytes.extend(key.as_bytes());
        bytes.extend(stamp.to_bytes());
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    sealed(bytes)
}

fn decode(bytes: &[u8]) -> Option<HashMap<Key, (Stamp, Range<usize>)>> {
    let mut rest = opened(bytes, HEADER)?;
    let end = HEADER.len() + rest.len();
    // An entry has about 700 bytes. This only sizes the table.
    let mut places = HashMap::with_capacity(rest.len() / 512);
    while !rest.is_empty() {
        let (key, tail) = rest.split_first_chunk::<32>()?;
        let (stamp, tail) = tail.split_first_chunk()?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let start = end - tail.len();
        let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        let place = start..start + text.len();
        places.insert(Key::from_bytes(*key), (Stamp::from_bytes(stamp), place));
    }
    Some(places)
}
