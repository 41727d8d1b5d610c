//! A file behind a URL. It is streamed to `<digest>.part`, hashed on the way, and gets its name
//! only if the digest is the pinned one. A broken download goes on where it stopped; one that
//! only a commit pins starts anew, since nothing would tell a wrong beginning.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};

use super::{ByHand, Downloads, Progress, SourceError};

/// A connection that is silent for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// The name of a download: its pinned digest, or that of the URL where a commit pins it.
pub(super) fn name(url: &str, blake3: Option<&str>) -> String {
    match blake3 {
        Some(blake3) => blake3.to_owned(),
        None => format!("commit-{}", blake3::hash(url.as_bytes()).to_hex()),
    }
}

/// Where the file of that name lies, if it has been downloaded.
pub(super) fn locate(downloads: &Downloads, name: &str) -> Option<PathBuf> {
    Some(downloads.folder.join(name)).filter(|path| path.is_file())
}

/// Downloads and verifies the file.
pub(super) fn fetch(
    downloads: &Downloads,
    url: &str,
    blake3: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, SourceError> {
    let name = name(url, blake3);
    let by_hand = ByHand::File {
        url: url.to_owned(),
        name: name.clone(),
        downloads: downloads.folder.clone(),
    };
    if downloads.offline {
        return Err(SourceError::Offline { what: url.to_owned(), by_hand });
    }
    let folder = &downloads.folder;
    std::fs::create_dir_all(folder).map_err(SourceError::io("creating", folder))?;
    let part_path = folder.join(format!("{name}.part"));
    let part = open_alone(&part_path).map_err(SourceError::io("creating", &part_path))?;
    if let Some(path) = locate(downloads, &name) {
        std::fs::remove_file(&part_path).map_err(SourceError::io("removing", &part_path))?;
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
        // What an earlier run had left was not the beginning of this file.
        download.restart()?;
        found = download.complete()?;
    }
    if !is_right(&found) {
        let part_path = &download.part_path;
        std::fs::remove_file(part_path).map_err(SourceError::io("removing", part_path))?;
        let (url, expected) = (url.to_owned(), name);
        return Err(SourceError::WrongDigest { url, expected, found });
    }
    download.keep(&folder.join(&name))
}

/// Opens the file for this process alone. Another one may be downloading the same: then this
/// waits, and opens it again if it has been renamed or removed in the meantime.
fn open_alone(path: &Path) -> io::Result<File> {
    loop {
        let part = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        part.lock()?;
        let there = std::fs::metadata(path);
        if there.is_ok_and(|there| part.metadata().is_ok_and(|open| open.ino() == there.ino())) {
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
    progress: &'a mut dyn FnMut(Progress),
}

/// Why one request did not bring the whole file.
enum Broken {
    /// Trying again may help.
    Connection(String),
    /// The server refuses to go on where we stopped.
    Range,
    Final(SourceError),
}

impl Download<'_> {
    fn length(&self) -> Result<u64, SourceError> {
        let metadata = self.part.metadata().map_err(SourceError::io("reading", &self.part_path))?;
        Ok(metadata.len())
    }

    fn restart(&mut self) -> Result<(), SourceError> {
        self.part.set_len(0).map_err(SourceError::io("writing", &self.part_path))
    }

    /// Downloads what is missing, however often the connection breaks, and returns the digest.
    fn complete(&mut self) -> Result<String, SourceError> {
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
                return Err(SourceError::Unreachable { what, reason, by_hand });
            }
            std::thread::sleep(self.downloads.backoff * 2u32.saturating_pow(failures.max(1) - 1));
        }
    }

    /// One request, from byte `start` to the end; the digest of the whole file.
    fn request(&mut self, start: u64) -> Result<String, Broken> {
        let response = self.ask(start)?;
        // A server that knows no ranges sends everything again.
        let start = if response.status() == StatusCode::PARTIAL_CONTENT {
            if range_start(&response) != Some(start) {
                return Err(Broken::Range);
            }
            start
        } else {
            self.restart().map_err(Broken::Final)?;
            0
        };
        let mut hasher = blake3::Hasher::new();
        if start > 0 {
            let reading = SourceError::io("reading", &self.part_path);
            let hashed = self.part.seek(SeekFrom::Start(0));
            let hashed = hashed.and_then(|_| hasher.update_reader(&self.part).map(drop));
            hashed.map_err(reading).map_err(Broken::Final)?;
        }
        let content_length = response.headers().get(header::CONTENT_LENGTH);
        let rest = content_length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let total_bytes = rest.map(|rest| start + rest);
        let file = file_name(self.url);
        let mut done_bytes = start;
        (self.progress)(Progress { file, done_bytes, total_bytes });
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
            let written = self.part.write_all(&buffer[..count]);
            let written = written.map_err(SourceError::io("writing", &self.part_path));
            written.map_err(Broken::Final)?;
            done_bytes += count as u64;
            (self.progress)(Progress { file, done_bytes, total_bytes });
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
            // A range of a compressed answer would be of no use.
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
                return Err(Broken::Final(SourceError::Unreachable { what, reason, by_hand }));
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
                Err(Broken::Final(SourceError::Status { what, status, by_hand }))
            }
        }
    }

    /// Gives the verified file its name. Read-only, so that nothing edits it by accident.
    fn keep(self, path: &Path) -> Result<PathBuf, SourceError> {
        let part_path = &self.part_path;
        self.part.sync_all().map_err(SourceError::io("writing", part_path))?;
        let metadata = self.part.metadata().map_err(SourceError::io("reading", part_path))?;
        let mut permissions = metadata.permissions();
        permissions.set_readonly(true);
        let set = self.part.set_permissions(permissions);
        set.map_err(SourceError::io("writing", part_path))?;
        std::fs::rename(part_path, path).map_err(SourceError::io("renaming", part_path))?;
        Ok(path.to_owned())
    }
}

/// The first byte that a partial answer says it brings.
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

/// What went wrong with a connection, for a person.
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
