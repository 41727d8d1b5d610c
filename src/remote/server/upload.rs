//! Uploading large objects in parts. A note in the store lists the parts that have arrived, so that
//! a later upload resumes where this one was interrupted. The server is told to join the parts only
//! after the whole file has proved to have its digest.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Name;
use serde::{Deserialize, Serialize};

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::remote::bucket::OnBytes;
use crate::remote::error::Trouble;
use crate::remote::server::connection::{PART, PARTS_OF_ONE, ServerBucket, Task, within};
use crate::remote::server::failure::Failure;

/// S3 takes at most 10,000 parts per object. Larger objects get larger parts.
const MOST_PARTS: u64 = 9_000;

/// The file to upload.
pub struct UploadFile<'a> {
    pub file: File,
    pub path: &'a Path,
    pub length: u64,
    pub digest: Digest,
}

impl ServerBucket {
    /// Uploads a file of more than one part, or the parts that an earlier upload did not send.
    pub fn upload_in_parts(
        &self,
        store: &Arc<dyn MultipartStore>,
        name: &Name,
        mut source: UploadFile,
        note: PathBuf,
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble> {
        let part = PART.max(source.length.div_ceil(MOST_PARTS).next_multiple_of(1 << 20));
        let mut note = Note::open(note, part)?;
        let mut told = 0;
        let mut anew = false;
        loop {
            let goes_on = note.upload.is_some() && !anew;
            let there = note.sent.len();
            let sending =
                self.send_parts(store, name, &mut source, &mut note, anew, (&mut told, on_bytes));
            match self.handle.block_on(sending) {
                Ok(()) => return Ok(note.remove()?),
                // The server may have discarded the earlier upload, so start over; the new upload
                // replaces the note once the server has accepted it. Some servers refuse a part by
                // closing the connection before their answer can be read, hence the second
                // condition.
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
                        // If this fails, the bucket's own rules for unfinished uploads apply.
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

    /// Sends the parts that the note does not list, then completes the upload. `anew` discards the
    /// earlier upload; `told` counts the bytes passed to `on_bytes`.
    async fn send_parts(
        &self,
        store: &Arc<dyn MultipartStore>,
        name: &Name,
        source: &mut UploadFile<'_>,
        note: &mut Note,
        anew: bool,
        (told, on_bytes): (&mut u64, &OnBytes<'_>),
    ) -> Result<(), Failure> {
        let upload = match &note.upload {
            Some(upload) if !anew => upload.clone(),
            earlier => {
                let upload = within(self.timeout, store.create_multipart(name)).await?;
                if let Some(earlier) = earlier {
                    // The server may still have the earlier upload, which would take up space.
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
            on_bytes(more)
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

/// Reads the next `size` bytes of an open file.
pub fn read_part(source: &mut File, size: u64, file: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::with_capacity(size as usize);
    source.take(size).read_to_end(&mut bytes).map_err(FileError::at("reading", file))?;
    Ok(bytes)
}

/// What is known of an upload, as a file: one line for its beginning, and one for each part that
/// has arrived.
struct Note {
    path: PathBuf,
    /// The locked file. `None` while another process uploads the same object: then this process
    /// makes an upload of its own, without a note.
    file: Option<File>,
    /// The size of a part in bytes.
    part: u64,
    /// The server's name for the upload.
    upload: Option<String>,
    /// The server's names for the parts that have arrived, in order.
    sent: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum NoteLine {
    Upload { id: String, part: u64 },
    Sent(String),
}

impl Note {
    /// Opens the note of an earlier upload in parts of this size, or an empty note.
    fn open(path: PathBuf, part: u64) -> Result<Note, FileError> {
        let file = disk::append(&path).map_err(FileError::in_store("opening", &path))?;
        let is_ours = file.try_lock().is_ok() && is_still_at(&file, &path);
        let mut note =
            Note { path, file: is_ours.then_some(file), part, upload: None, sent: vec![] };
        if !note.read() {
            note.empty()?;
        }
        Ok(note)
    }

    /// Reads the file; false if it is not the note of an upload in parts of this size.
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
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            disk::write_all(file, &text, &self.path)
        };
        write().map_err(FileError::in_store("writing", &self.path))
    }

    fn empty(&mut self) -> Result<(), FileError> {
        (self.upload, self.sent) = (None, Vec::new());
        let Some(file) = &self.file else { return Ok(()) };
        disk::truncate(file, &self.path).map_err(FileError::in_store("writing", &self.path))
    }

    fn remove(self) -> Result<(), FileError> {
        match self.file {
            Some(_) => {
                disk::remove_file(&self.path).map_err(FileError::in_store("removing", &self.path))
            }
            None => Ok(()),
        }
    }
}
