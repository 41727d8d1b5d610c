//! Downloading a file behind a URL. The file is streamed to `<digest>.part`, hashed on the way, and
//! gets its name only if it has the pinned digest. A download that was interrupted resumes where it
//! stopped. Without a pinned digest it starts over, since nothing would reveal a wrong beginning.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};

/// How long a connection may be silent before the download gives it up.
const SILENCE: Duration = Duration::from_secs(60);

/// The file name of a download: its pinned digest, or the digest of the URL if the URL names a
/// commit instead.
pub(super) fn name(url: &str, blake3: Option<&str>) -> String {
    match blake3 {
        Some(blake3) => blake3.to_owned(),
        None => format!("commit-{}", blake3::hash(url.as_bytes()).to_hex()),
    }
}

/// The path of the file of that name, if it has been downloaded.
pub(super) fn locate(downloads: &Downloads, name: &str) -> Option<PathBuf> {
    Some(downloads.folder.join(name)).filter(|path| path.is_file())
}

/// Downloads a file and verifies it.
pub(super) fn fetch(
    downloads: &Downloads,
    url: &str,
    blake3: Option<&str>,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<PathBuf, DownloadError> {
    let name = name(url, blake3);
    let by_hand = ByHand::File {
        url: url.to_owned(),
        name: name.clone(),
        downloads: downloads.folder.clone(),
    };
    if downloads.offline {
        return Err(DownloadError::Offline { what: url.to_owned(), by_hand });
    }
    let folder = &downloads.folder;
    let part_path = folder.join(format!("{name}.part"));
    let part = open_alone(&part_path).map_err(FileError::in_store("opening", &part_path))?;
    if let Some(path) = locate(downloads, &name) {
        disk::remove_file(&part_path).map_err(FileError::in_store("removing", &part_path))?;
        return Ok(path);
    }
    let mut download = Download { downloads, url, part, part_path, by_hand, progress };
    if blake3.is_none() {
        download.restart()?;
    }
    let resumed = download.length()? > 0;
    let mut found = download.complete()?;
    let is_right = |found: &str| blake3.is_none_or(|expected| found == expected);
    if !is_right(&found) && resumed {
        // What an earlier run left was not the beginning of this file.
        download.restart()?;
        found = download.complete()?;
    }
    if !is_right(&found) {
        let part_path = &download.part_path;
        disk::remove_file(part_path).map_err(FileError::in_store("removing", part_path))?;
        let (url, expected) = (url.to_owned(), name);
        return Err(DownloadError::WrongDigest { url, expected, found });
    }
    download.keep(&folder.join(&name))
}

/// Opens and locks a file. Waits while another process downloads the same file, and opens it again
/// if that process has renamed or removed it.
fn open_alone(path: &Path) -> io::Result<File> {
    loop {
        let part = disk::append(path)?;
        part.lock()?;
        if is_still_at(&part, path) {
            return Ok(part);
        }
    }
}

struct Download<'a> {
    downloads: &'a Downloads,
    url: &'a str,
    part: File,
    part_path: PathBuf,
    by_hand: ByHand,
    progress: &'a mut dyn FnMut(DownloadProgress),
}

/// Why one request did not bring the whole file.
enum Broken {
    /// A retry may help.
    Connection(String),
    /// The server refuses to send the rest of the file.
    Range,
    Final(DownloadError),
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Broken {
        Broken::Final(error.into())
    }
}

impl Download<'_> {
    fn length(&self) -> Result<u64, FileError> {
        let metadata = self.part.metadata();
        Ok(metadata.map_err(FileError::in_store("reading", &self.part_path))?.len())
    }

    fn restart(&self) -> Result<(), FileError> {
        disk::truncate(&self.part, &self.part_path)
            .map_err(FileError::in_store("writing", &self.part_path))
    }

    /// Downloads what is missing and returns the digest of the file. Gives up after
    /// [`Downloads::retries`] retries in a row that bring no bytes.
    fn complete(&mut self) -> Result<String, DownloadError> {
        let mut failures = 0;
        loop {
            let before = self.length()?;
            let reason = match self.request(before) {
                Ok(digest) => return Ok(digest),
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Range) => {
                    self.restart()?;
                    "the server does not send the rest of the file".to_owned()
                }
                Err(Broken::Connection(reason)) => reason,
            };
            failures = if self.length()? > before { 0 } else { failures + 1 };
            if failures > self.downloads.retries {
                let (what, by_hand) = (self.url.to_owned(), self.by_hand.clone());
                return Err(DownloadError::Unreachable { what, reason, by_hand });
            }
            std::thread::sleep(self.downloads.backoff * 2u32.saturating_pow(failures.max(1) - 1));
        }
    }

    /// Makes one request, from byte `start` to the end, and returns the digest of the whole file.
    fn request(&mut self, start: u64) -> Result<String, Broken> {
        let response = self.ask(start)?;
        // A server that does not support ranges sends everything again.
        let start = if response.status() == StatusCode::PARTIAL_CONTENT {
            if range_start(&response) != Some(start) {
                return Err(Broken::Range);
            }
            start
        } else {
            self.restart()?;
            0
        };
        let mut hasher = blake3::Hasher::new();
        if start > 0 {
            let hashed = self.part.seek(SeekFrom::Start(0));
            let hashed = hashed.and_then(|_| hasher.update_reader(&self.part).map(drop));
            hashed.map_err(FileError::in_store("reading", &self.part_path))?;
        }
        let content_length = response.headers().get(header::CONTENT_LENGTH);
        let rest = content_length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let total_bytes = rest.map(|rest| start + rest);
        let file = file_name(self.url);
        let mut done_bytes = start;
        (self.progress)(DownloadProgress { file, done_bytes, total_bytes });
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Broken::Connection(in_words(&error.into()))),
            };
            hasher.update(&buffer[..count]);
            disk::write_all(&self.part, &buffer[..count], &self.part_path)
                .map_err(FileError::in_store("writing", &self.part_path))?;
            done_bytes += count as u64;
            (self.progress)(DownloadProgress { file, done_bytes, total_bytes });
        }
        match total_bytes.filter(|total| *total != done_bytes) {
            Some(total) => {
                let reason = format!("the connection ended after {done_bytes} of {total} bytes");
                Err(Broken::Connection(reason))
            }
            None => Ok(hasher.finalize().to_hex().to_string()),
        }
    }

    fn ask(&self, start: u64) -> Result<Response<ureq::Body>, Broken> {
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            // A range of a compressed answer would be useless.
            .accept_encoding("identity")
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .http_status_as_error(false)
            .build();
        let mut request = ureq::Agent::new_with_config(config).get(self.url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) if is_passing(&error) => {
                return Err(Broken::Connection(in_words(&error)));
            }
            Err(error) => {
                let (what, by_hand) = (self.url.to_owned(), self.by_hand.clone());
                let reason = in_words(&error);
                return Err(Broken::Final(DownloadError::Unreachable { what, reason, by_hand }));
            }
        };
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            416 if start > 0 => Err(Broken::Range),
            status @ (408 | 425 | 429 | 500..=599) => {
                Err(Broken::Connection(format!("the server answers {status}")))
            }
            status => {
                let (what, by_hand) = (self.url.to_owned(), self.by_hand.clone());
                Err(Broken::Final(DownloadError::Status { what, status, by_hand }))
            }
        }
    }

    /// Gives the verified file its name and makes it read-only, so that nothing edits it by
    /// accident.
    fn keep(self, path: &Path) -> Result<PathBuf, DownloadError> {
        let part_path = &self.part_path;
        disk::flush(&self.part, part_path).map_err(FileError::in_store("writing", part_path))?;
        let metadata = self.part.metadata().map_err(FileError::in_store("reading", part_path))?;
        let read_only = Permissions::from_mode(metadata.permissions().mode() & !0o222);
        disk::set_permissions(part_path, read_only)
            .map_err(FileError::in_store("writing", part_path))?;
        disk::rename(part_path, path).map_err(FileError::in_store("renaming", part_path))?;
        Ok(path.to_owned())
    }
}

/// The position of the first byte in a partial answer, as the server states it.
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// Whether the same request may succeed a little later.
fn is_passing(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
    )
}

/// What went wrong with a connection, in words for people.
pub(super) fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => {
            "the server's name is not known; is there a network?".to_owned()
        }
        ureq::Error::ConnectionFailed => "the server cannot be reached".to_owned(),
        ureq::Error::Timeout(_) => format!("nothing came for {} seconds", SILENCE.as_secs()),
        other => other.to_string(),
    }
}

fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(url)
}
