//! What a run found when every stage of a long pipeline was up to date, in `cache/settled`. While
//! everything that the run looked at is as it was, another run that is asked the same would find the
//! same, so it need not read the pipeline and make a plan. Losing the file costs time, never
//! correctness.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::files::digest::{Content, Digest, opened, sealed};
use crate::files::file_error::FileError;
use crate::files::packed::{Packed, put_bytes, put_size};
use crate::files::regular;
use crate::files::scratch::Scratch;
use crate::files::stamp::Stamp;
use crate::store::Store;
use crate::store::bundle::{is_of, put_content, take_content};
use crate::store::index::Index;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};

/// What every stage of a run stood on.
#[derive(Debug, Default, PartialEq)]
pub struct Settled {
    /// How long the stages took when they ran.
    pub saved_seconds: f64,
    /// The files and folders of the project that stages read.
    pub sources: Vec<(PathBuf, Content)>,
    /// One for each stage.
    pub records: Vec<StandingRecord>,
}

/// A record that some stage stood on.
#[derive(Debug, PartialEq)]
pub struct StandingRecord {
    key: Key,
    /// Of its file, when it was read.
    stamp: Stamp,
    outputs: Vec<Artifact>,
}

/// From this many records on, several threads look at them.
const WORTH_THREADS: usize = 256;

impl Settled {
    /// What was kept for this question, if anything was.
    pub fn read(store: &Store, question: Digest) -> Option<Settled> {
        decode(&regular::read(&store.settled_file()).ok()?, question)
    }

    /// Keeps this as the answer to a question, in place of any other.
    pub fn write(
        &self,
        store: &Store,
        question: Digest,
        scratch: &Scratch,
    ) -> Result<(), FileError> {
        let Some(bytes) = encode(self, question) else { return Ok(()) };
        scratch.write(&store.settled_file(), &bytes, false)
    }

    /// Whether all sources, records and objects are as they were. A source that had to be read again
    /// counts as another one, so that a run learns its new times.
    pub fn is_standing(&self, store: &Store, index: &Index) -> bool {
        let is_same = |(path, content): &(PathBuf, Content)| {
            index.hash(path).is_ok_and(|hashed| hashed.content == *content)
        };
        let stands = |record: &StandingRecord| {
            is_of(&record.stamp, &store.record_file(record.key))
                && record.outputs.iter().all(|artifact| store.holds(artifact))
        };
        let records = match self.records.len() {
            0..WORTH_THREADS => self.records.iter().all(stands),
            _ => self.records.par_iter().with_min_len(WORTH_THREADS / 4).all(stands),
        };
        records
            && self.sources.iter().all(is_same)
            && index.files_read() == 0
            && index.dangling().is_empty()
    }
}

impl StandingRecord {
    /// `None` if the stamp that the record's file had when it was read is not known any more.
    pub fn of(record: &Record, store: &Store) -> Option<StandingRecord> {
        let stamp = store.stamp_of(record.key)?;
        let outputs = record.outputs.values().copied().collect();
        Some(StandingRecord { key: record.key, stamp, outputs })
    }
}

/// The file, which is [`sealed`]: this header, the question, then the lists.
const HEADER: &[u8; 8] = b"pipeset1";

fn encode(settled: &Settled, question: Digest) -> Option<Vec<u8>> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(question.as_bytes());
    bytes.extend(settled.saved_seconds.to_bits().to_le_bytes());
    put_size(settled.sources.len(), &mut bytes)?;
    for (path, content) in &settled.sources {
        put_bytes(path.as_os_str().as_bytes(), &mut bytes)?;
        put_content(*content, &mut bytes)?;
    }
    put_size(settled.records.len(), &mut bytes)?;
    for StandingRecord { key, stamp, outputs } in &settled.records {
        bytes.extend(key.as_bytes());
        bytes.extend(stamp.to_bytes());
        put_size(outputs.len(), &mut bytes)?;
        for artifact in outputs {
            put_content(artifact.content, &mut bytes)?;
            bytes.extend(artifact.bytes.to_le_bytes());
        }
    }
    Some(sealed(bytes))
}

fn decode(bytes: &[u8], question: Digest) -> Option<Settled> {
    let (asked, lists) = opened(bytes, HEADER)?.split_first_chunk::<32>()?;
    (question.as_bytes() == asked).then_some(())?;
    let mut rest = Packed(lists);
    let saved_seconds = f64::from_bits(rest.number()?);
    let sources = rest.list(|rest| {
        let path = Path::new(OsStr::from_bytes(rest.bytes()?)).to_owned();
        Some((path, take_content(rest)?))
    })?;
    let records = rest.list(|rest| {
        let (key, stamp) = (Key::from_bytes(*rest.take()?), Stamp::from_bytes(rest.take()?));
        let outputs = rest
            .list(|rest| Some(Artifact { content: take_content(rest)?, bytes: rest.number()? }))?;
        Some(StandingRecord { key, stamp, outputs })
    })?;
    rest.is_empty().then_some(Settled { saved_seconds, sources, records })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    fn example() -> Settled {
        let stamp = Stamp { size: 1, modified_ns: -2, changed_ns: 3, inode: u64::MAX, device: 4 };
        let artifact = |content| Artifact { content, bytes: 1 << 40 };
        let outputs =
            vec![artifact(Content::executable(of("a"))), artifact(Content::folder(of("b")))];
        let record = |text, outputs| StandingRecord {
            key: Key::from_bytes(*of(text).as_bytes()),
            stamp,
            outputs,
        };
        Settled {
            saved_seconds: 0.1 + 0.2,
            sources: vec![
                ("/a/ü".into(), Content::file(of("c"))),
                ("/d".into(), Content::folder(of("d"))),
            ],
            records: vec![record("x", outputs), record("y", Vec::new())],
        }
    }

    #[test]
    fn what_is_kept_answers_its_own_question_only_and_only_undamaged() {
        let question = of("pipe run");
        let bytes = encode(&example(), question).unwrap();
        assert_eq!(decode(&bytes, question), Some(example()));
        assert_eq!(decode(&bytes, of("pipe run --force")), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged, question), None, "byte {at}");
            assert_eq!(decode(&bytes[..at], question), None, "the first {at} bytes");
        }
    }
}
