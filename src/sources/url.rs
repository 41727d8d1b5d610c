//! Downloading a file behind a URL. The file is streamed to `<digest>.part` and gets its name only
//! if it has the pinned digest. Without a pinned digest an interrupted download starts over, since
//! nothing would reveal a wrong beginning.

use std::path::PathBuf;

use crate::sources::checksum::Checksum;
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::resumable::{PartFile, RemoteFile, Requests};

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
    let folder = &downloads.folder;
    let by_hand =
        ByHand::File { url: url.to_owned(), name: name.clone(), downloads: folder.clone() };
    let what = url.to_owned();
    if downloads.offline {
        return Err(DownloadError::Offline { what, by_hand });
    }
    let mut part = PartFile::open(folder.join(format!("{name}.part")))?;
    if let Some(path) = locate(downloads, &name) {
        part.remove()?;
        return Ok(path);
    }
    let requests = Requests { downloads, what, token: None, by_hand };
    let file = RemoteFile { url, name: file_name(url), bytes: None, checksum: Checksum::Blake3 };
    if blake3.is_none() {
        part.restart()?;
    }
    let found = requests.fetch(&file, &mut part, blake3, progress)?;
    if blake3.is_some_and(|expected| found != expected) {
        part.remove()?;
        let (url, expected) = (url.to_owned(), name);
        return Err(DownloadError::WrongDigest { url, expected, found });
    }
    let path = folder.join(&name);
    part.keep(&path, true)?;
    Ok(path)
}

fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(url)
}
