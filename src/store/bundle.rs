//! Copies of small records in one file, `cache/bundle`, without the fields of their keys: reading it
//! takes less time than opening thousands of files. A copy counts only while the stamp of the
//! record's own file is that of the copied one. Losing the file costs time, never correctness.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::files::digest::{Content, Digest, opened, sealed};
use crate::files::file_error::FileError;
use crate::files::packed::{Packed, put_bytes, put_size, put_text};
use crate::files::regular;
use crate::files::scratch::Scratch;
use crate::files::stamp::Stamp;
use crate::store::key::Key;
use crate::store::record::{Artifact, MetricsRow, Record};

/// Longer copies are not kept: their long part is the history of a training, and few have one. In
/// bytes.
const LONGEST: usize = 4096;

/// The bundle is written anew when this many records had to be read from their own files.
const MANY: usize = 64;

/// The copies from `cache/bundle`, and those of the records that this process read.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    known: OnceLock<Copies>,
    learned: Mutex<HashMap<Key, (Stamp, Vec<u8>)>>,
    /// The stamps of the records that this process read and that are too long for a copy.
    long: Mutex<HashMap<Key, Stamp>>,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    bytes: Vec<u8>,
    /// Where in `bytes` each copy lies.
    places: HashMap<Key, (Stamp, Range<usize>)>,
}

impl Bundle {
    /// The record of `key`, which lies in `record_file`, from the copies in `file`. These are read when
    /// this is first called.
    pub(super) fn find(&self, key: Key, record_file: &Path, file: &Path) -> Option<Record<()>> {
        self.known(file).find(key, record_file)
    }

    /// The copies in `file`.
    pub(super) fn known(&self, file: &Path) -> &Copies {
        self.known.get_or_init(|| Copies::read(file).unwrap_or_default())
    }

    /// The stamp that the file of a record had when the record was read, or copied and then not read.
    pub(super) fn stamp(&self, key: Key) -> Option<Stamp> {
        let learned = || self.learned().get(&key).map(|(stamp, _)| *stamp);
        let long = self.long().get(&key).copied();
        long.or_else(learned).or_else(|| Some(self.known.get()?.places.get(&key)?.0))
    }

    /// Remembers a record for [`Bundle::save`]. `began_ns` is [`file_clock_ns`], read before
    /// the record's file was.
    ///
    /// [`file_clock_ns`]: crate::files::stamp::file_clock_ns
    pub(super) fn learn(&self, record: &Record<()>, stamp: Stamp, began_ns: i64) {
        if !stamp.is_settled(began_ns) {
            return;
        }
        match copy(record).filter(|copy| copy.len() <= LONGEST) {
            Some(copy) => drop(self.learned().insert(record.key, (stamp, copy))),
            None => drop(self.long().insert(record.key, stamp)),
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
            learned.iter().map(|(key, (stamp, copy))| (key, stamp, copy.as_slice())).collect();
        let known = self.known.get().into_iter();
        entries.extend(known.flat_map(|known| {
            let old = known.places.iter().filter(|(key, _)| !learned.contains_key(key));
            let there = old.filter(|(key, (stamp, _))| is_of(stamp, &record_file(**key)));
            there.filter_map(|(key, (stamp, at))| Some((key, stamp, known.bytes.get(at.clone())?)))
        }));
        entries.sort_unstable_by_key(|(key, ..)| **key);
        scratch.write(file, &encode(&entries), false)
    }

    fn learned(&self) -> MutexGuard<'_, HashMap<Key, (Stamp, Vec<u8>)>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn long(&self) -> MutexGuard<'_, HashMap<Key, Stamp>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies {
    fn read(file: &Path) -> Option<Copies> {
        let bytes = regular::read(file).ok()?;
        let places = decode(&bytes)?;
        Some(Copies { bytes, places })
    }

    /// A record, if its file still has the stamp that it had when it was copied.
    fn find(&self, key: Key, file: &Path) -> Option<Record<()>> {
        let (stamp, place) = self.places.get(&key)?;
        is_of(stamp, file).then(|| record(self.bytes.get(place.clone())?, key))?
    }
}

/// Whether a file has this stamp.
pub(super) fn is_of(stamp: &Stamp, file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| Stamp::of(&metadata) == *stamp)
}

/// The file, which is [`sealed`]: this header, then entries (key, stamp, length of the copy, copy). To
/// be changed whenever [`copy`] is.
const HEADER: &[u8; 8] = b"pipebnd2";

fn encode(entries: &[(&Key, &Stamp, &[u8])]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for (key, stamp, copy) in entries {
        bytes.extend(key.as_bytes());
        bytes.extend(stamp.to_bytes());
        // No copy is longer than `LONGEST`.
        let _ = put_bytes(copy, &mut bytes);
    }
    sealed(bytes)
}

fn decode(bytes: &[u8]) -> Option<HashMap<Key, (Stamp, Range<usize>)>> {
    let mut rest = Packed(opened(bytes, HEADER)?);
    let end = HEADER.len() + rest.0.len();
    // An entry has about 300 bytes. This only sizes the table.
    let mut places = HashMap::with_capacity(rest.0.len() / 256);
    while !rest.is_empty() {
        let (key, stamp) = (Key::from_bytes(*rest.take()?), Stamp::from_bytes(rest.take()?));
        let size = rest.bytes()?.len();
        let after = end - rest.0.len();
        places.insert(key, (stamp, after - size..after));
    }
    Some(places)
}

/// A record without its key and its fields.
fn copy(record: &Record<()>) -> Option<Vec<u8>> {
    let Record {
        key: _,
        stage,
        fields: (),
        outputs,
        metrics,
        history,
        seconds,
        device,
        machine,
        threads,
        when,
        pipe,
    } = record;
    let mut bytes = Vec::new();
    for text in [stage, machine, when, pipe] {
        put_text(text, &mut bytes)?;
    }
    bytes.push(device.is_some().into());
    put_text(device.as_deref().unwrap_or_default(), &mut bytes)?;
    bytes.extend(seconds.to_bits().to_le_bytes());
    bytes.extend((*threads as u64).to_le_bytes());
    put_size(outputs.len(), &mut bytes)?;
    for (name, Artifact { content, bytes: size }) in outputs {
        put_text(name, &mut bytes)?;
        put_content(*content, &mut bytes)?;
        bytes.extend(size.to_le_bytes());
    }
    put_metrics(metrics, &mut bytes)?;
    put_size(history.len(), &mut bytes)?;
    for MetricsRow { step, values } in history {
        bytes.extend(step.to_le_bytes());
        put_metrics(values, &mut bytes)?;
    }
    Some(bytes)
}

fn put_metrics(metrics: &BTreeMap<String, f64>, bytes: &mut Vec<u8>) -> Option<()> {
    put_size(metrics.len(), bytes)?;
    metrics.iter().try_for_each(|(name, value)| {
        put_text(name, bytes)?;
        bytes.extend(value.to_bits().to_le_bytes());
        Some(())
    })
}

/// Writes a content: the index of its kind in [`MAKERS`], and its digest.
pub(super) fn put_content(content: Content, bytes: &mut Vec<u8>) -> Option<()> {
    let maker = MAKERS.iter().position(|make| make(content.digest) == content)?;
    bytes.push(maker as u8);
    bytes.extend(content.digest.as_bytes());
    Some(())
}

pub(super) fn take_content(rest: &mut Packed) -> Option<Content> {
    let [maker] = *rest.take()?;
    Some(MAKERS.get(usize::from(maker))?(Digest::from_bytes(*rest.take()?)))
}

const MAKERS: [fn(Digest) -> Content; 3] = [Content::file, Content::executable, Content::folder];

/// The record of a [`copy`].
fn record(copy: &[u8], key: Key) -> Option<Record<()>> {
    let mut rest = Packed(copy);
    let text = |rest: &mut Packed| rest.text().map(str::to_owned);
    let (stage, machine) = (text(&mut rest)?, text(&mut rest)?);
    let (when, pipe) = (text(&mut rest)?, text(&mut rest)?);
    let [has_device] = *rest.take()?;
    let device = text(&mut rest)?;
    let device = (has_device == 1).then_some(device);
    let (seconds, threads) = (f64::from_bits(rest.number()?), rest.number()? as usize);
    let mut outputs = BTreeMap::new();
    for _ in 0..rest.size()? {
        let (name, content) = (text(&mut rest)?, take_content(&mut rest)?);
        outputs.insert(name, Artifact { content, bytes: rest.number()? });
    }
    let metrics = metrics_of(&mut rest)?;
    let history =
        rest.list(|rest| Some(MetricsRow { step: rest.number()?, values: metrics_of(rest)? }))?;
    let fields = ();
    rest.is_empty().then_some(Record {
        key,
        stage,
        fields,
        outputs,
        metrics,
        history,
        seconds,
        device,
        machine,
        threads,
        when,
        pipe,
    })
}

fn metrics_of(rest: &mut Packed) -> Option<BTreeMap<String, f64>> {
    let mut metrics = BTreeMap::new();
    for _ in 0..rest.size()? {
        metrics.insert(rest.text()?.to_owned(), f64::from_bits(rest.number()?));
    }
    Some(metrics)
}

#[cfg(test)]
mod tests {
    use super::{Artifact, BTreeMap, Content, Digest, Key, MetricsRow, Record, copy, record};

    fn of(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    fn example() -> Record<()> {
        let artifact = |content| Artifact { content, bytes: 1 << 40 };
        let outputs = [
            ("a", Content::file(of("a"))),
            ("b", Content::executable(of("b"))),
            ("c", Content::folder(of("c"))),
        ];
        let metrics = [("score", 0.1 + 0.2), ("loss", -0.0)];
        let metrics = BTreeMap::from(metrics.map(|(name, value)| (name.to_owned(), value)));
        Record {
            key: Key::from_bytes(*of("key").as_bytes()),
            stage: "a stage".to_owned(),
            fields: (),
            outputs: outputs.map(|(name, content)| (name.to_owned(), artifact(content))).into(),
            history: [1, 2].map(|step| MetricsRow { step, values: metrics.clone() }).into(),
            metrics,
            seconds: 1e-9,
            device: Some("cpu (2 threads)".to_owned()),
            machine: String::new(),
            threads: 3,
            when: "2026-01-02T03:04:05Z".to_owned(),
            pipe: "0.1.0 ü".to_owned(),
        }
    }

    #[test]
    fn a_copy_is_the_whole_record() {
        for device in [Some("cpu".to_owned()), Some(String::new()), None] {
            let example = Record { device, ..example() };
            let bytes = copy(&example).unwrap();
            assert_eq!(record(&bytes, example.key), Some(example.clone()));
            for end in 0..bytes.len() {
                assert_eq!(record(&bytes[..end], example.key), None, "the first {end} bytes");
            }
            assert_eq!(record(&[&bytes[..], &[0]].concat(), example.key), None);
        }
    }
}
