//! A repository of the Hugging Face hub, of a model or of data: its listing, and downloads into the
//! cache that all Hugging Face tools share.
//!
//! The hub's listing says the commit, the files, their lengths and their checksums. What comes must
//! fit that listing; headers of later answers decide nothing.

use std::path::Path;

use serde::Deserialize;
use url::Url;

use crate::sources::checksum::Checksum;
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::hub_cache::{HubCache, RepositoryKind, is_commit, is_sha256};
use crate::sources::resumable::{PartFile, RemoteFile, Requests};

/// A repository at a revision.
pub struct Repository<'a> {
    pub downloads: &'a Downloads,
    pub kind: RepositoryKind,
    /// `owner/name`
    pub name: &'a str,
    pub revision: &'a str,
    pub cache: HubCache,
}

/// The hub's answer about a revision.
#[derive(Deserialize)]
pub struct Listing {
    pub sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
pub struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
    size: Option<u64>,
}

impl Sibling {
    /// How the checksum of this file is computed, and its value if the hub says it.
    fn checksum(&self) -> (Checksum, Option<&str>) {
        match (&self.lfs, &self.blob_id, self.size) {
            (Some(large), _, _) => (Checksum::Sha256, Some(&large.sha256)),
            (None, Some(id), Some(bytes)) => (Checksum::GitBlob { bytes }, Some(id)),
            // A mirror of the hub may leave checksums out.
            (None, _, _) => (Checksum::Sha256, None),
        }
    }

    fn bytes(&self) -> Option<u64> {
        self.lfs.as_ref().and_then(|large| large.size).or(self.size)
    }
}

impl Listing {
    pub fn file(&self, name: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|file| file.rfilename == name)
    }
}

impl Repository<'_> {
    /// As an input spells it.
    pub fn what(&self) -> String {
        format!("hub:{}{}@{}", self.kind.prefix(), self.name, self.revision)
    }

    /// The page of its files.
    pub fn page(&self) -> String {
        match self.address(self.kind.path(), &["tree"]) {
            Ok(url) => format!("{url}/{}", self.revision),
            Err(_) => format!("{} on the hub", self.what()),
        }
    }

    /// How its files are asked for.
    pub fn requests(&self, by_hand: ByHand) -> Requests<'_> {
        Requests {
            downloads: self.downloads,
            what: self.what(),
            token: self.downloads.hub.token.as_deref(),
            by_hand,
        }
    }

    /// An address on the hub: the repository, with something before and after it. Every part is
    /// escaped.
    pub fn address(&self, before: &[&str], after: &[&str]) -> Result<Url, DownloadError> {
        let endpoint = &self.downloads.hub.endpoint;
        let mut url = Url::parse(endpoint).ok().filter(Url::has_host);
        if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            let problem = "HF_ENDPOINT has a user name in it; the token belongs in HF_TOKEN";
            return Err(self.damaged(problem.to_owned()));
        }
        if let Some(mut path) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
            path.pop_if_empty().extend(before).extend(self.name.split('/')).extend(after);
        }
        url.ok_or_else(|| self.damaged("HF_ENDPOINT is not an http or https address".to_owned()))
    }

    /// Asks the hub for the commit of the revision, and for its files with their sizes.
    pub fn listing(&self, requests: &Requests) -> Result<Listing, DownloadError> {
        self.listing_of(requests, self.revision)
    }

    /// The same for another revision.
    pub fn listing_of(
        &self,
        requests: &Requests,
        revision: &str,
    ) -> Result<Listing, DownloadError> {
        let mut url = self.address(&["api", self.kind.api()], &["revision", revision])?;
        url.set_query(Some("blobs=true"));
        let listing: Listing = serde_json::from_str(&requests.text(url.as_str())?)
            .map_err(|error| self.damaged(format!("the hub's answer cannot be read: {error}")))?;
        match is_commit(&listing.sha) {
            true => Ok(listing),
            false => Err(self.damaged(format!("the hub says its commit is `{}`", listing.sha))),
        }
    }

    /// Downloads one file into the shared cache. Asks for the commit, because the branch may move
    /// between two requests.
    pub fn download(
        &self,
        requests: &Requests,
        listing: &Listing,
        name: &str,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<(), DownloadError> {
        let Some(sibling) = listing.file(name) else {
            return Err(self.damaged(format!("there is no file `{name}`")));
        };
        let commit = &listing.sha;
        let bytes = sibling.bytes();
        let is_whole = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|file| bytes.is_none_or(|bytes| bytes == file.len()))
        };
        let in_snapshot = self.cache.snapshot(commit).join(name);
        if is_whole(&in_snapshot) {
            return Ok(());
        }
        let (checksum, expected) = sibling.checksum();
        if let Some(wrong) = expected.filter(|text| !is_commit(text) && !is_sha256(text)) {
            return Err(self.damaged(format!("the hub says the checksum of `{name}` is `{wrong}`")));
        }
        if let Some(expected) = expected.filter(|expected| is_whole(&self.cache.blob(expected))) {
            return Ok(self.cache.link(commit, name, expected)?);
        }
        let parts: Vec<&str> = ["resolve", commit].into_iter().chain(name.split('/')).collect();
        let url = self.address(self.kind.path(), &parts)?;
        let file = RemoteFile { url: url.as_str(), name, bytes, checksum };
        let mut part = PartFile::open(self.cache.part(commit, name))?;
        if is_whole(&in_snapshot) {
            // Another process was faster.
            return Ok(part.remove()?);
        }
        let found = requests.fetch(&file, &mut part, expected, progress)?;
        if let Some(expected) = expected.filter(|expected| found != *expected) {
            part.remove()?;
            return Err(self.damaged(format!(
                "the checksum of `{name}` is {found}, the hub's listing says {expected}"
            )));
        }
        part.keep(&self.cache.blob(&found), false)?;
        Ok(self.cache.link(commit, name, &found)?)
    }

    pub fn damaged(&self, problem: String) -> DownloadError {
        DownloadError::Damaged { what: self.what(), problem }
    }
}
