//! Copies of small records in one file, `cache/bundle`: reading it takes less time than opening
//! thousands of files. A copy counts only while the stamp of the record's own file is that of the
//! copied one. Losing the file costs time, never correctness.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::files::digest::Digest;
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::files::scratch::Scratch;
use crate::files::stamp::{Stamp, file_clock_ns};
use crate::store::Store;
use crate::store::key::{Key, KeyFields};
use crate::store::record::{Record, is_whole};

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

impl Store {
    /// The record of a key; `None` if it does not exist or is damaged.
    pub fn record(&self, key: Key) -> Option<Record> {
        self.read_record(key)
    }

    /// As [`Store::record`], where the fields of the key are known: reading them again takes as long as
    /// all the rest.
    pub fn record_of(&self, key: Key, fields: &KeyFields) -> Option<Record> {
        let record: Record<IgnoredAny> = self.read_record(key)?;
        Some(record.with_fields(fields.clone()))
    }

    fn read_record<F: DeserializeOwned>(&self, key: Key) -> Option<Record<F>> {
        let file = self.record_file(key);
        let copies = || Copies::read(&self.bundle_file()).unwrap_or_default();
        if let Some(text) = self.bundle.known.get_or_init(copies).find(key, &file) {
            return Record::parse_whole(text, key);
        }
        let (began_ns, mut text) = (file_clock_ns(), String::new());
        let mut file = regular::open(&file).ok()?;
        file.read_to_string(&mut text).ok()?;
        let record = is_whole(&text).then(|| Record::parse_whole(&text, key))??;
        let stamp = Stamp::of(&file.metadata().ok()?);
        if text.len() <= LONGEST && stamp.is_settled(began_ns) {
            self.bundle.learned().insert(key, (stamp, text));
        }
        Some(record)
    }

    /// Writes the bundle, if reading it will save much.
    pub fn save_bundle(&self, scratch: &Scratch) -> Result<(), FileError> {
        let learned = self.bundle.learned();
        if learned.len() < MANY {
            return Ok(());
        }
        let mut entries: Vec<_> =
            learned.iter().map(|(key, (stamp, text))| (key, stamp, text.as_str())).collect();
        let known = self.bundle.known.get().into_iter();
        entries.extend(known.flat_map(|known| {
            let old = known.places.iter().filter(|(key, _)| !learned.contains_key(key));
            let there = old.filter(|(key, (stamp, _))| is_of(stamp, &self.record_file(**key)));
            there.filter_map(|(key, (stamp, at))| Some((key, stamp, known.text(at)?)))
        }));
        entries.sort_unstable_by_key(|(key, ..)| **key);
        scratch.write(&self.bundle_file(), &encode(&entries), false)
    }
}

impl Bundle {
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

/// The file: this header, then entries (key, stamp, length of the text, text), then the BLAKE3 hash
/// of everything before it.
const HEADER: &[u8; 8] = b"pipebnd1";

fn encode(entries: &[(&Key, &Stamp, &str)]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for (key, stamp, text) in entries {
        bytes.extend(key.as_bytes());
        bytes.extend(stamp.to_bytes());
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let check = Digest::of_bytes(&bytes);
    bytes.extend(check.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<Key, (Stamp, Range<usize>)>> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    (Digest::of_bytes(body).as_bytes() == check).then_some(())?;
    let mut rest = body.strip_prefix(HEADER)?;
    // An entry has about 700 bytes. This only sizes the table.
    let mut places = HashMap::with_capacity(rest.len() / 512);
    while !rest.is_empty() {
        let (key, tail) = rest.split_first_chunk::<32>()?;
        let (stamp, tail) = tail.split_first_chunk()?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let start = body.len() - tail.len();
        let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        let place = start..start + text.len();
        places.insert(Key::from_bytes(*key), (Stamp::from_bytes(stamp), place));
    }
    Some(places)
}
