//! Downloading a file of a data set of the Hugging Face hub, into the cache that all Hugging Face tools
//! share. A stage reads it there.

use std::path::PathBuf;

use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::hub_cache::{HubCache, RepositoryKind};
use crate::sources::hub_repository::{Listing, Repository};

/// A file of a data set.
#[derive(Clone, Copy, Debug)]
pub struct DataFile<'a> {
    /// `owner/name`
    pub repository: &'a str,
    pub revision: &'a str,
    /// The path in the repository.
    pub path: &'a str,
}

impl DataFile<'_> {
    /// Where the file is, if it has been fetched. A branch means the commit at which it was last fetched.
    pub fn locate(self, downloads: &Downloads) -> Option<PathBuf> {
        let cache = HubCache::of(downloads, RepositoryKind::Data, self.repository);
        let path = cache.snapshot(&cache.known_commit(self.revision)?).join(self.path);
        path.exists().then_some(path)
    }

    /// Fetches the file.
    pub fn fetch(
        self,
        downloads: &Downloads,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf, DownloadError> {
        let kind = RepositoryKind::Data;
        let cache = HubCache::of(downloads, kind, self.repository);
        // All files of a branch are those of one commit, also if it has moved since the first.
        let known = cache.known_commit(self.revision);
        let revision = known.as_deref().unwrap_or(self.revision);
        let repository = Repository { downloads, kind, name: self.repository, revision, cache };
        let what = format!("hub:datasets/{}@{}/{}", self.repository, self.revision, self.path);
        let page = repository.page();
        let by_hand = ByHand::Data { page, path: self.path.to_owned(), may_need_token: false };
        if downloads.offline || downloads.hub.offline {
            return Err(DownloadError::Offline { what, by_hand });
        }
        let requests = repository.requests(by_hand);
        let has_file = |listing: &Listing| listing.file(self.path).is_some();
        let listing = match repository.listing(&requests) {
            Ok(listing) if has_file(&listing) => listing,
            // The branch may have moved to a commit with the file, or the hub may have lost the old one.
            Ok(_) | Err(DownloadError::Status { status: 404, .. }) if known.is_some() => {
                repository.listing_of(&requests, self.revision)?
            }
            found => found?,
        };
        let commit = &listing.sha;
        repository.download(&requests, &listing, self.path, progress)?;
        // Written last, so that the branch never names a commit that is not in the cache.
        repository.cache.set_commit(self.revision, commit)?;
        Ok(repository.cache.snapshot(commit).join(self.path))
    }
}
