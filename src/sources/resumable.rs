//! Downloading into a part file. A download that was interrupted resumes where it stopped.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ureq::http::{Response, StatusCode, header};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::files::pace::{Paced, too_slow};
use crate::sources::checksum::Checksum;
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::http::{self, RequestError};

/// The longest answer that is not a file.
const MOST_TEXT: u64 = 32 << 20;

/// A request that brings fewer bytes than this before its connection breaks counts as a failure:
/// otherwise a server could send one byte at a time for ever.
const MOVED: u64 = 4096;

/// What all requests for one source share.
pub struct Requests<'a> {
    pub downloads: &'a Downloads,
    /// The source, for messages.
    pub what: String,
    /// A token for the host that is asked first, and for no other.
    pub token: Option<&'a str>,
    pub by_hand: ByHand,
}

/// A file to download.
pub struct RemoteFile<'a> {
    pub url: &'a str,
    /// Its name, for people.
    pub name: &'a str,
    /// Its length, if the server's listing or the pipeline says it.
    pub bytes: Option<u64>,
    pub checksum: Checksum,
}

/// Why one request did not bring everything.
enum Broken {
    /// A retry may help. `moved` says whether this request brought a part of the file.
    Connection {
        reason: String,
        moved: bool,
    },
    Final(DownloadError),
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Broken {
        Broken::Final(error.into())
    }
}

impl Requests<'_> {
    /// Downloads what `part` lacks of a file, and returns the checksum of the whole. The caller
    /// compares it with `expected`; here it only decides whether what was there was the beginning
    /// of another file.
    pub fn fetch(
        &self,
        file: &RemoteFile,
        part: &mut PartFile,
        expected: Option<&str>,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<String, DownloadError> {
        let resumed = part.length()? > 0;
        let found = self.complete(file, part, progress)?;
        if !resumed || expected.is_none_or(|expected| found == expected) {
            return Ok(found);
        }
        part.restart()?;
        self.complete(file, part, progress)
    }

    fn complete(
        &self,
        file: &RemoteFile,
        part: &mut PartFile,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<String, DownloadError> {
        self.retry(|| {
            let before = part.length()?;
            if file.bytes == Some(before) {
                return Ok(part.checksum(file.checksum)?);
            }
            self.request(file, part, before, progress).map_err(|broken| match broken {
                Broken::Connection { reason, .. } => {
                    let enough = before.saturating_add(MOVED);
                    let moved = part.length().is_ok_and(|length| length >= enough);
                    Broken::Connection { reason, moved }
                }
                other => other,
            })
        })
    }

    /// The text of a short answer.
    pub fn text(&self, url: &str) -> Result<String, DownloadError> {
        self.retry(|| {
            let response = self.answer(url, 0, None)?;
            let mut bytes = Vec::new();
            let body = Paced::new(response.into_body().into_reader(), self.downloads.patience);
            if let Err(error) = body.take(MOST_TEXT + 1).read_to_end(&mut bytes) {
                return Err(self.broken(error));
            }
            if bytes.len() as u64 > MOST_TEXT {
                return Err(self.damaged("the server's answer is too long".to_owned()));
            }
            String::from_utf8(bytes)
                .map_err(|_| self.damaged("the server's answer is not UTF-8".to_owned()))
        })
    }

    /// Repeats a request whose connection breaks. Gives up after [`Downloads::retries`] retries in
    /// a row that bring hardly any bytes.
    fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T, Broken>) -> Result<T, DownloadError> {
        let mut failures = 0;
        loop {
            let reason = match attempt() {
                Ok(done) => return Ok(done),
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Connection { reason, moved }) => {
                    failures = if moved { 0 } else { failures + 1 };
                    reason
                }
            };
            if failures > self.downloads.retries {
                return Err(self.unreachable(reason));
            }
            std::thread::sleep(self.downloads.backoff * 2u32.saturating_pow(failures.max(1) - 1));
        }
    }

    /// Makes one request, from byte `start` to the end, and returns the checksum of the whole file.
    fn request(
        &self,
        file: &RemoteFile,
        part: &mut PartFile,
        start: u64,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<String, Broken> {
        let response = self.answer(file.url, start, Some(part))?;
        // A server that does not support ranges sends everything again.
        let start = if response.status() == StatusCode::PARTIAL_CONTENT {
            if range_start(&response) != Some(start) {
                return Err(no_ranges(part)?);
            }
            start
        } else {
            part.restart()?;
            0
        };
        let mut hasher = file.checksum.hasher();
        part.hash_into(&mut hasher)?;
        let content_length = response.headers().get(header::CONTENT_LENGTH);
        let rest = content_length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let total_bytes = rest.map(|rest| start.saturating_add(rest));
        if let (Some(expected), Some(total)) = (file.bytes, total_bytes)
            && expected != total
        {
            return Err(
                self.damaged(format!("`{}` has {total} bytes instead of {expected}", file.name))
            );
        }
        let mut done_bytes = start;
        let name = file.name;
        progress(DownloadProgress { file: name, done_bytes, total_bytes });
        let mut body = Paced::new(response.into_body().into_reader(), self.downloads.patience);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if let Some(expected) = file.bytes.filter(|bytes| done_bytes + count as u64 > *bytes) {
                let problem = format!("`{}` has more than its {expected} bytes", file.name);
                return Err(self.damaged(problem));
            }
            hasher.update(&buffer[..count]);
            part.write(&buffer[..count])?;
            done_bytes += count as u64;
            progress(DownloadProgress { file: name, done_bytes, total_bytes });
        }
        match file.bytes.or(total_bytes).filter(|total| *total != done_bytes) {
            Some(total) => Err(broken_connection(format!(
                "the connection ended after {done_bytes} of {total} bytes"
            ))),
            None => Ok(hasher.finish()),
        }
    }

    fn damaged(&self, problem: String) -> Broken {
        Broken::Final(DownloadError::Damaged { what: self.what.clone(), problem })
    }

    fn answer(
        &self,
        url: &str,
        start: u64,
        part: Option<&PartFile>,
    ) -> Result<Response<ureq::Body>, Broken> {
        http::get(url, self.token, start).map_err(|error| match (error, part) {
            (RequestError::Passing(reason), _) => broken_connection(reason),
            (RequestError::Lasting(reason), _) => Broken::Final(self.unreachable(reason)),
            (RequestError::Range, Some(part)) => no_ranges(part).unwrap_or_else(Broken::from),
            (RequestError::Range, None) => Broken::Final(self.status(416)),
            (RequestError::Status(status), _) => Broken::Final(self.status(status)),
        })
    }

    /// What a failure to read an answer means. A server that is slow is slow the next time, too.
    fn broken(&self, error: io::Error) -> Broken {
        match too_slow(&error) {
            Some(slow) => Broken::Final(self.unreachable(slow.to_string())),
            None => broken_connection(http::in_words(&error.into())),
        }
    }

    fn unreachable(&self, reason: String) -> DownloadError {
        let (what, by_hand) = (self.what.clone(), self.by_hand.clone());
        DownloadError::Unreachable { what, reason, by_hand }
    }

    fn status(&self, status: u16) -> DownloadError {
        let (what, mut by_hand) = (self.what.clone(), self.by_hand.clone());
        if let ByHand::Model { may_need_token, .. } | ByHand::Data { may_need_token, .. } =
            &mut by_hand
        {
            *may_need_token = matches!(status, 401 | 403) && self.token.is_none();
        }
        DownloadError::Status { what, status, by_hand }
    }
}

fn broken_connection(reason: String) -> Broken {
    Broken::Connection { reason, moved: false }
}

/// Empties the part file of a server that does not send the rest of a file.
fn no_ranges(part: &PartFile) -> Result<Broken, FileError> {
    part.restart()?;
    Ok(broken_connection("the server does not send the rest of the file".to_owned()))
}

/// The position of the first byte in a partial answer, as the server states it.
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The beginning of a file, locked for this process.
pub struct PartFile {
    file: File,
    path: PathBuf,
}

impl PartFile {
    /// Opens and locks a part file. Waits while another process downloads the same file, and opens
    /// it again if that process has renamed or removed it.
    pub fn open(path: PathBuf) -> Result<PartFile, FileError> {
        let open = || loop {
            let file = disk::append(&path)?;
            file.lock()?;
            if is_still_at(&file, &path) {
                return Ok(file);
            }
        };
        let file = open().map_err(FileError::in_store("opening", &path))?;
        Ok(PartFile { file, path })
    }

    pub fn length(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(FileError::in_store("reading", &self.path))?.len())
    }

    pub fn restart(&self) -> Result<(), FileError> {
        disk::truncate(&self.file, &self.path).map_err(FileError::in_store("writing", &self.path))
    }

    pub fn remove(&self) -> Result<(), FileError> {
        disk::remove_file(&self.path).map_err(FileError::in_store("removing", &self.path))
    }

    /// Gives the file its name, and read-only permissions if nothing shall edit it by accident.
    pub fn keep(self, path: &Path, read_only: bool) -> Result<(), FileError> {
        disk::flush(&self.file, &self.path).map_err(FileError::in_store("writing", &self.path))?;
        if read_only {
            let metadata = self.file.metadata();
            let metadata = metadata.map_err(FileError::in_store("reading", &self.path))?;
            let read_only = Permissions::from_mode(metadata.permissions().mode() & !0o222);
            disk::set_permissions(&self.path, read_only)
                .map_err(FileError::in_store("writing", &self.path))?;
        }
        disk::rename(&self.path, path).map_err(FileError::in_store("renaming", &self.path))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), FileError> {
        disk::write_all(&self.file, bytes, &self.path)
            .map_err(FileError::in_store("writing", &self.path))
    }

    fn checksum(&mut self, checksum: Checksum) -> Result<String, FileError> {
        let mut hasher = checksum.hasher();
        self.hash_into(&mut hasher)?;
        Ok(hasher.finish())
    }

    fn hash_into(
        &mut self,
        hasher: &mut crate::sources::checksum::Hasher,
    ) -> Result<(), FileError> {
        let hashed =
            self.file.seek(SeekFrom::Start(0)).and_then(|_| hasher.update_from(&self.file));
        hashed.map_err(FileError::in_store("reading", &self.path))
    }
}
