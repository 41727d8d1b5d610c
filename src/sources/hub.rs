//! Downloading a model of the Hugging Face hub into the cache that all Hugging Face tools share. A
//! stage reads a folder of links to just the files that the model needs, so the folder's digest
//! depends on the model alone and not on what else is in that cache.
//!
//! The hub's listing says the commit, the files, their lengths and their checksums. What comes must
//! fit that listing; headers of later answers decide nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stages::text::tokenizer_file_names;
use url::Url;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{remove_left_beside, temporary_beside};
use crate::sources::checksum::Checksum;
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::hub_cache::{HubCache, is_commit, is_sha256};
use crate::sources::resumable::{PartFile, RemoteFile, Requests};

/// Files with weights, the preferred one first. An index names the shards beside it.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

const CONFIG: &str = "config.json";

/// The folder of a model, if it has been fetched. A branch means the commit at which it was last
/// fetched into the shared cache, by this program or by another one.
pub(super) fn locate(downloads: &Downloads, repository: &str, revision: &str) -> Option<PathBuf> {
    let commit = cache(downloads, repository).known_commit(revision)?;
    let folder = model_folder(downloads, repository, &commit);
    let mut entries = std::fs::read_dir(&folder).ok()?;
    // The shared cache may have been cleaned since the links were made.
    let whole = folder.join(CONFIG).exists()
        && entries.all(|entry| entry.is_ok_and(|entry| entry.path().exists()));
    whole.then_some(folder)
}

/// Fetches the missing files of a model and links them.
pub(super) fn fetch(
    downloads: &Downloads,
    repository: &str,
    revision: &str,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<PathBuf, DownloadError> {
    let model = Model { downloads, repository, revision, cache: cache(downloads, repository) };
    if downloads.offline || downloads.hub.offline {
        return match model.cached()? {
            Some(folder) => Ok(folder),
            None => Err(DownloadError::Offline { what: model.name(), by_hand: model.by_hand() }),
        };
    }
    match model.downloaded(progress) {
        // Without a network, use what the cache has of this revision.
        Err(error @ DownloadError::Unreachable { .. }) => model.cached()?.ok_or(error),
        other => other,
    }
}

fn cache(downloads: &Downloads, repository: &str) -> HubCache {
    let shared = downloads.hub.cache.clone().unwrap_or_else(|| downloads.folder.join("hub"));
    HubCache::new(&shared, repository)
}

fn model_folder(downloads: &Downloads, repository: &str, commit: &str) -> PathBuf {
    downloads.folder.join(format!("{}@{commit}", repository.replace('/', "--")))
}

/// The model to fetch.
struct Model<'a> {
    downloads: &'a Downloads,
    repository: &'a str,
    revision: &'a str,
    cache: HubCache,
}

/// The hub's answer about a revision.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
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
    fn file(&self, name: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|file| file.rfilename == name)
    }
}

impl Model<'_> {
    fn name(&self) -> String {
        format!("hub:{}@{}", self.repository, self.revision)
    }

    fn by_hand(&self) -> ByHand {
        let page = match self.address(&[], &["tree"]) {
            Ok(url) => format!("{url}/{}", self.revision),
            Err(_) => format!("{} on the hub", self.name()),
        };
        ByHand::Model { page, may_need_token: false }
    }

    /// Links the model from the shared cache, if all its files are there.
    fn cached(&self) -> Result<Option<PathBuf>, DownloadError> {
        let Some(commit) = self.cache.known_commit(self.revision) else { return Ok(None) };
        let snapshot = self.cache.snapshot(&commit);
        let has = |name: &str| snapshot.join(name).exists();
        let Some(weights) = WEIGHTS.into_iter().find(|name| has(name)) else { return Ok(None) };
        let mut files = vec![CONFIG.to_owned(), weights.to_owned()];
        files.extend(self.shards(weights, &snapshot.join(weights))?);
        if !files.iter().all(|name| has(name)) {
            return Ok(None);
        }
        files.extend(tokenizer_file_names(has).map(str::to_owned));
        self.link(&commit, &files).map(Some)
    }

    fn downloaded(
        &self,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf, DownloadError> {
        let requests = Requests {
            downloads: self.downloads,
            what: self.name(),
            token: self.downloads.hub.token.as_deref(),
            by_hand: self.by_hand(),
        };
        let listing = self.listing(&requests)?;
        let commit = &listing.sha;
        if !is_commit(commit) {
            return Err(self.damaged(format!("the hub says its commit is `{commit}`")));
        }
        let not_a_model = |file| DownloadError::NotAModel { what: self.name(), file };
        let has = |name: &&str| listing.file(name).is_some();
        let config = Some(CONFIG).filter(has).ok_or_else(|| not_a_model(CONFIG))?;
        let weights = WEIGHTS.into_iter().find(has).ok_or_else(|| not_a_model(WEIGHTS[0]))?;
        let mut files: Vec<String> = vec![config.to_owned()];
        files.extend(tokenizer_file_names(|name| has(&name)).map(str::to_owned));
        files.push(weights.to_owned());
        for name in &files {
            self.download(&requests, &listing, name, progress)?;
        }
        for shard in self.shards(weights, &self.cache.snapshot(commit).join(weights))? {
            self.download(&requests, &listing, &shard, progress)?;
            files.push(shard);
        }
        // Written last, so that the branch never names a commit that is not in the cache.
        self.cache.set_commit(self.revision, commit)?;
        self.link(commit, &files)
    }

    /// An address on the hub: the repository, with something before and after it. Every part is
    /// escaped.
    fn address(&self, before: &[&str], after: &[&str]) -> Result<Url, DownloadError> {
        let endpoint = &self.downloads.hub.endpoint;
        let mut url = Url::parse(endpoint).ok().filter(Url::has_host);
        if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            let problem = "HF_ENDPOINT has a user name in it; the token belongs in HF_TOKEN";
            return Err(self.damaged(problem.to_owned()));
        }
        if let Some(mut path) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
            path.pop_if_empty().extend(before).extend(self.repository.split('/')).extend(after);
        }
        url.ok_or_else(|| self.damaged("HF_ENDPOINT is not an http or https address".to_owned()))
    }

    /// Asks the hub for the commit of the revision, and for its files with their sizes.
    fn listing(&self, requests: &Requests) -> Result<Listing, DownloadError> {
        let mut url = self.address(&["api", "models"], &["revision", self.revision])?;
        url.set_query(Some("blobs=true"));
        serde_json::from_str(&requests.text(url.as_str())?)
            .map_err(|error| self.damaged(format!("the hub's answer cannot be read: {error}")))
    }

    /// Downloads one file into the shared cache. Asks for the commit, because the branch may move
    /// between two requests.
    fn download(
        &self,
        requests: &Requests,
        listing: &Listing,
        name: &str,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<(), DownloadError> {
        let Some(sibling) = listing.file(name) else {
            return Err(self.damaged(format!("it names the shard `{name}`, which is not there")));
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
        let url = self.address(&[], &["resolve", commit, name])?;
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

    /// The shards that an index of weights names, sorted; none if the weights are a single file.
    fn shards(&self, weights: &str, path: &Path) -> Result<BTreeSet<String>, DownloadError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        if !weights.ends_with(".index.json") {
            return Ok(BTreeSet::new());
        }
        let text = std::fs::read_to_string(path).map_err(FileError::at("reading", path))?;
        let index: Index = serde_json::from_str(&text)
            .map_err(|error| self.damaged(format!("`{weights}` cannot be read: {error}")))?;
        let shards: BTreeSet<String> = index.weight_map.into_values().collect();
        let is_plain = |name: &String| !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        match shards.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(self.damaged(format!("`{weights}` names the shard `{name}`"))),
            None => Ok(shards),
        }
    }

    /// Makes the folder of links to these files of the shared cache: under a temporary name first,
    /// so that the folder is never there in part.
    fn link(&self, commit: &str, files: &[String]) -> Result<PathBuf, DownloadError> {
        let folder = model_folder(self.downloads, self.repository, commit);
        remove_left_beside(&folder);
        let making = temporary_beside(&folder);
        let linked = self.make_links(commit, files, &making).and_then(|()| {
            let is_there = || locate(self.downloads, self.repository, commit).is_some();
            // Another process may have been faster.
            if is_there() {
                return Ok(());
            }
            if folder.exists() {
                // Its links are dead: the shared cache has been cleaned.
                disk::remove_folders(&folder).map_err(FileError::in_store("removing", &folder))?;
            }
            match disk::rename(&making, &folder) {
                Err(_) if is_there() => Ok(()),
                renamed => renamed.map_err(FileError::in_store("renaming", &making)),
            }
        });
        // After the rename nothing is left to remove.
        let _ = disk::remove_folders(&making);
        linked?;
        Ok(folder)
    }

    fn make_links(&self, commit: &str, files: &[String], folder: &Path) -> Result<(), FileError> {
        disk::create_folders(folder).map_err(FileError::in_store("making the folder", folder))?;
        let snapshot = self.cache.snapshot(commit);
        let snapshot = snapshot.canonicalize().map_err(FileError::at("reading", &snapshot))?;
        for name in files {
            let link = folder.join(name);
            disk::symlink(&snapshot.join(name), &link)
                .map_err(FileError::in_store("making the link", &link))?;
        }
        Ok(())
    }

    fn damaged(&self, problem: String) -> DownloadError {
        DownloadError::Damaged { what: self.name(), problem }
    }
}
