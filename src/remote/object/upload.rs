//! Large objects to a bucket, in parts. What is there of one is noted on this side, so that a later
//! upload goes on where this one was broken off, and the server is told to put the parts together
//! only when the whole file has had its digest.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Name;
use serde::{Deserialize, Serialize};

use super::{MOST_PARTS, Objects, PART, PARTS_OF_ONE, Task, read_part, within};
use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::remote::object::failure::Failure;
use crate::remote::{Meter, Trouble};

/// What is uploaded.
pub(super) struct Source<'a> {
    pub file: File,
    pub path: &'a Path,
    pub length: u64,
    pub digest: Digest,
}

impl Objects {
    /// Uploads a file of more than one part, or what an earlier upload left to do of it.
    pub(super) fn upload_in_parts(
        &self,
        store: &Arc<dyn MultipartStore>,
        name: &Name,
        mut source: Source,
        note: PathBuf,
        meter: &Meter,
    ) -> Result<(), Trouble> {
        let part = PART.max(source.length.div_ceil(MOST_PARTS).next_multiple_of(1 << 20));
        let mut note = Note::open(note, part)?;
        let mut told = 0;
        let mut anew = false;
        loop {
            let goes_on = note.upload.is_some() && !anew;
            let there = note.sent.len();
            let sending =
                self.send_parts(store, name, &mut source, &mut note, anew, (&mut told, meter));
            match self.handle.block_on(sending) {
                Ok(()) => return Ok(note.remove()?),
                // The server has thrown away what was there. Some close the connection over a part
                // that they will not have before their answer can be read: so a new beginning, which
                // takes the note's place once the server has agreed to it.
                Err(failure)
                    if goes_on
                        && (failure.may_be_of_upload()
                            || failure.may_pass() && note.sent.len() == there) =>
                {
                    anew = true;
                }
                Err(failure) => {
                    let trouble = failure.trouble();
                    if let (Trouble::DamagedHere(_), Some(upload)) = (&trouble, &note.upload) {
                        // What cannot be taken back is left to the bucket's own rules for such.
                        let abort = store.abort_multipart(name, upload);
                        let _ = self.handle.block_on(within(self.timeout, abort));
                        note.remove()?;
                    }
                    return Err(trouble);
                }
            }
            source.file.seek(SeekFrom::Start(0)).map_err(FileError::at("reading", source.path))?;
        }
    }

    /// `anew` leaves what the note says of an earlier upload; `told` is how many bytes the meter has
    /// heard of.
    async fn send_parts(
        &self,
        store: &Arc<dyn MultipartStore>,
        name: &Name,
        source: &mut Source<'_>,
        note: &mut Note,
        anew: bool,
        (told, meter): (&mut u64, &Meter<'_>),
    ) -> Result<(), Failure> {
        let upload = match &note.upload {
            Some(upload) if !anew => upload.clone(),
            earlier => {
                let upload = within(self.timeout, store.create_multipart(name)).await?;
                if let Some(earlier) = earlier {
                    // It may be there after all, and would take up room.
                    let _ = within(self.timeout, store.abort_multipart(name, earlier)).await;
                    note.empty().map_err(Trouble::from)?;
                }
                note.begin(&upload).map_err(Trouble::from)?;
                upload
            }
        };
        let part = note.part;
        let mut tell = |end: u64| {
            let more = end.saturating_sub(*told);
            *told += more;
            meter(more)
        };
        let (mut read, mut index, mut hasher) = (0, 0, blake3::Hasher::new());
        let mut under_way = VecDeque::new();
        while read < source.length || !under_way.is_empty() {
            while read < source.length && under_way.len() < PARTS_OF_ONE {
                let Some(permit) = self.permit(under_way.is_empty()).await else { break };
                let size = part.min(source.length - read);
                let bytes =
                    read_part(&mut source.file, size, source.path).map_err(Trouble::from)?;
                hasher.update_rayon(&bytes);
                read += size;
                if index < note.sent.len() {
                    tell(read)?;
                } else {
                    let (limit, store, name) = (self.limit(size), Arc::clone(store), name.clone());
                    let (upload, end) = (upload.clone(), read);
                    under_way.push_back(Task(tokio::spawn(async move {
                        let sending = store.put_part(&name, &upload, index, bytes.into());
                        let sent = within(limit, sending).await?;
                        drop(permit);
                        Ok::<_, Failure>((sent, end))
                    })));
                }
                index += 1;
            }
            if let Some(first) = under_way.pop_front() {
                let (sent, end) = first.join().await?;
                note.add(sent).map_err(Trouble::from)?;
                tell(end)?;
            }
        }
        if hasher.finalize().as_bytes() != source.digest.as_bytes() {
            return Err(Trouble::DamagedHere(source.digest.short()).into());
        }
        let parts = note.sent.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
        let completing = store.complete_multipart(name, &upload, parts);
        within(self.limit(source.length), completing).await.map(drop)
    }
}

/// What this side knows of an upload: a line when it begins, and one for each part that is there.
struct Note {
    path: PathBuf,
    /// Locked. `None` while another process uploads the same: this one begins its own.
    file: Option<File>,
    /// The bytes of a part.
    part: u64,
    /// The server's name for the upload.
    upload: Option<String>,
    /// What the server called the first parts, in their order.
    sent: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum NoteLine {
    Upload { id: String, part: u64 },
    Sent(String),
}

impl Note {
    /// What an earlier upload in parts of this size has left, or an empty one.
    fn open(path: PathBuf, part: u64) -> Result<Note, FileError> {
        let file = disk::append(&path).map_err(FileError::at("opening", &path))?;
        let is_ours = file.try_lock().is_ok() && is_still_at(&file, &path);
        let mut note =
            Note { path, file: is_ours.then_some(file), part, upload: None, sent: vec![] };
        if !note.read() {
            note.empty()?;
        }
        Ok(note)
    }

    /// False where there is something else than a note of such an upload.
    fn read(&mut self) -> bool {
        let Some(file) = &self.file else { return true };
        for line in BufReader::new(file).lines() {
            let line = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            match line {
                Some(NoteLine::Upload { id, part }) if part == self.part => self.upload = Some(id),
                Some(NoteLine::Sent(tag)) if self.upload.is_some() => self.sent.push(tag),
                _ => return false,
            }
        }
        true
    }

    fn begin(&mut self, id: &str) -> Result<(), FileError> {
        self.upload = Some(id.to_owned());
        self.write(&NoteLine::Upload { id: id.to_owned(), part: self.part })
    }

    fn add(&mut self, part: PartId) -> Result<(), FileError> {
        self.sent.push(part.content_id.clone());
        self.write(&NoteLine::Sent(part.content_id))
    }

    fn write(&self, line: &NoteLine) -> Result<(), FileError> {
        let Some(file) = &self.file else { return Ok(()) };
        // Texts and numbers always serialize.
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        disk::write_all(file, &text, &self.path).map_err(FileError::at("writing", &self.path))
    }

    fn empty(&mut self) -> Result<(), FileError> {
        (self.upload, self.sent) = (None, Vec::new());
        let Some(file) = &self.file else { return Ok(()) };
        disk::truncate(file, &self.path).map_err(FileError::at("writing", &self.path))
    }

    fn remove(self) -> Result<(), FileError> {
        match self.file {
            Some(_) => disk::remove_file(&self.path).map_err(FileError::at("removing", &self.path)),
            None => Ok(()),
        }
    }
}
