//! Downloading a model of the Hugging Face hub. `hf-hub` writes its files into the cache that all
//! Hugging Face tools share. A stage reads a folder of links to just the files that the model
//! needs, so the folder's digest depends on the model alone and not on what else is in that cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use stages::text::TOKENIZER_FILES;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{remove_left_beside, temporary_beside};
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::url::in_words;

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
    let commit = known_commit(&cache_folder(downloads), repository, revision)?;
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
    let model = Model { downloads, repository, revision, cache: cache_folder(downloads) };
    if downloads.offline || downloads.hub.offline {
        return match model.cached()? {
            Some(folder) => Ok(folder),
            None => {
                Err(DownloadError::Offline { what: model.name(), by_hand: model.by_hand(false) })
            }
        };
    }
    match model.downloaded(progress) {
        // Without a network, use what the cache has of this revision.
        Err(error @ DownloadError::Unreachable { .. }) => model.cached()?.ok_or(error),
        other => other,
    }
}

fn cache_folder(downloads: &Downloads) -> PathBuf {
    downloads.hub.cache.clone().unwrap_or_else(|| downloads.folder.join("hub"))
}

fn model_folder(downloads: &Downloads, repository: &str, commit: &str) -> PathBuf {
    downloads.folder.join(format!("{}@{commit}", repository.replace('/', "--")))
}

/// The commit of a revision; for a branch, the commit at which it was last fetched.
fn known_commit(cache: &Path, repository: &str, revision: &str) -> Option<String> {
    if is_commit(revision) {
        return Some(revision.to_owned());
    }
    let path = repository_folder(cache, repository).join("refs").join(revision);
    let commit = std::fs::read_to_string(path).ok()?;
    Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
}

fn repository_folder(cache: &Path, repository: &str) -> PathBuf {
    let repository = Repo::new(repository.to_owned(), RepoType::Model);
    cache.join(repository.folder_name())
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The model to fetch.
struct Model<'a> {
    downloads: &'a Downloads,
    repository: &'a str,
    revision: &'a str,
    cache: PathBuf,
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

    fn by_hand(&self, may_need_token: bool) -> ByHand {
        let endpoint = &self.downloads.hub.endpoint;
        let page = format!("{endpoint}/{}/tree/{}", self.repository, self.revision);
        ByHand::Model { page, may_need_token: may_need_token && self.downloads.hub.token.is_none() }
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        repository_folder(&self.cache, self.repository).join("snapshots").join(commit)
    }

    /// Links the model from the shared cache, if all its files are there.
    fn cached(&self) -> Result<Option<PathBuf>, DownloadError> {
        let Some(commit) = known_commit(&self.cache, self.repository, self.revision) else {
            return Ok(None);
        };
        let snapshot = self.snapshot(&commit);
        let has = |name: &str| snapshot.join(name).exists();
        let Some(weights) = WEIGHTS.into_iter().find(|name| has(name)) else { return Ok(None) };
        let mut files = vec![CONFIG.to_owned(), weights.to_owned()];
        files.extend(self.shards(weights, &snapshot.join(weights))?);
        if !files.iter().all(|name| has(name)) {
            return Ok(None);
        }
        let tokenizer = TOKENIZER_FILES.into_iter().filter(|name| has(name));
        files.extend(tokenizer.map(str::to_owned));
        self.link(&commit, &files).map(Some)
    }

    fn downloaded(
        &self,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf, DownloadError> {
        let api = self.api()?;
        let listing = self.listing(&api)?;
        let commit = &listing.sha;
        if !is_commit(commit) {
            return Err(self.damaged(format!("the hub says its commit is `{commit}`")));
        }
        let not_a_model = |file| DownloadError::NotAModel { what: self.name(), file };
        let has = |name: &&str| listing.file(name).is_some();
        let config = Some(CONFIG).filter(has).ok_or_else(|| not_a_model(CONFIG))?;
        let weights = WEIGHTS.into_iter().find(has).ok_or_else(|| not_a_model(WEIGHTS[0]))?;
        let mut files: Vec<String> = vec![config.to_owned()];
        files.extend(TOKENIZER_FILES.into_iter().filter(has).map(str::to_owned));
        files.push(weights.to_owned());
        for name in &files {
            self.download(&api, &listing, name, progress)?;
        }
        for shard in self.shards(weights, &self.snapshot(commit).join(weights))? {
            self.download(&api, &listing, &shard, progress)?;
            files.push(shard);
        }
        // Written last, so that the branch never names a commit that is not in the cache.
        let revision = self.revision.to_owned();
        let branch = Repo::with_revision(self.repository.to_owned(), RepoType::Model, revision);
        let written = Cache::new(self.cache.clone()).repo(branch).create_ref(commit);
        written.map_err(FileError::at("writing a reference in", &self.cache))?;
        self.link(commit, &files)
    }

    fn api(&self) -> Result<Api, DownloadError> {
        let hub = &self.downloads.hub;
        let retries = usize::try_from(self.downloads.retries).unwrap_or(usize::MAX);
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(hub.endpoint.clone())
            .with_token(hub.token.clone())
            .with_user_agent("pipe", env!("CARGO_PKG_VERSION"))
            .with_retries(retries)
            .with_progress(false)
            .build()
            .map_err(|error| self.failed(error))
    }

    /// Asks the hub for the commit of the revision, and for its files with their sizes.
    fn listing(&self, api: &Api) -> Result<Listing, DownloadError> {
        let revision = self.revision.to_owned();
        let repo = Repo::with_revision(self.repository.to_owned(), RepoType::Model, revision);
        let answer = api.repo(repo).info_request().query("blobs", "true").call();
        let mut answer = answer.map_err(|error| self.failed(Box::new(error).into()))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| self.failed(Box::new(error).into()))?;
        serde_json::from_str(&text)
            .map_err(|error| self.damaged(format!("the hub's answer cannot be read: {error}")))
    }

    /// Downloads one file into the shared cache. Asks for the commit, because the branch may move
    /// between two requests.
    fn download(
        &self,
        api: &Api,
        listing: &Listing,
        name: &str,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<(), DownloadError> {
        let Some(sibling) = listing.file(name) else {
            return Err(self.damaged(format!("it names the shard `{name}`, which is not there")));
        };
        let path = self.snapshot(&listing.sha).join(name);
        let length = || std::fs::metadata(&path).map(|metadata| metadata.len()).ok();
        let fits = |length: u64| sibling.size.is_none_or(|size| size == length);
        if length().is_some_and(fits) {
            return Ok(());
        }
        let commit = listing.sha.clone();
        let repo = Repo::with_revision(self.repository.to_owned(), RepoType::Model, commit);
        let shown = Shown { name, done_bytes: 0, total_bytes: sibling.size, progress };
        let downloaded = api.repo(repo).download_with_progress(name, shown);
        downloaded.map_err(|error| self.failed(error))?;
        match length() {
            Some(length) if fits(length) => Ok(()),
            found => {
                // A file of the wrong size would mislead every tool that shares the cache.
                if let Ok(blob) = path.canonicalize() {
                    disk::remove_file(&blob).map_err(FileError::at("removing", &blob))?;
                }
                let _ = disk::remove_file(&path);
                Err(self.damaged(format!(
                    "`{name}` came with {} bytes instead of {}",
                    found.unwrap_or_default(),
                    sibling.size.unwrap_or_default()
                )))
            }
        }
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
        let snapshot = self.snapshot(commit);
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

    fn failed(&self, error: ApiError) -> DownloadError {
        let what = self.name();
        match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => {
                    let by_hand = self.by_hand(matches!(status, 401 | 403));
                    DownloadError::Status { what, status, by_hand }
                }
                error => {
                    let reason = in_words(&error);
                    DownloadError::Unreachable { what, reason, by_hand: self.by_hand(false) }
                }
            },
            ApiError::TooManyRetries(error) => self.failed(*error),
            ApiError::IoError(source) => FileError::at("writing in", &self.cache)(source).into(),
            ApiError::LockAcquisition(path) => {
                let busy = std::io::Error::other("another program is downloading it");
                FileError::at("locking", &path)(busy).into()
            }
            error => {
                let reason = error.to_string();
                DownloadError::Unreachable { what, reason, by_hand: self.by_hand(false) }
            }
        }
    }
}

/// Passes on the progress that `hf-hub` reports.
struct Shown<'a> {
    name: &'a str,
    done_bytes: u64,
    total_bytes: Option<u64>,
    progress: &'a mut dyn FnMut(DownloadProgress),
}

impl hf_hub::api::Progress for Shown<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.done_bytes = 0;
        self.total_bytes = Some(size as u64);
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done_bytes += size as u64;
        self.tell();
    }

    fn finish(&mut self) {}
}

impl Shown<'_> {
    fn tell(&mut self) {
        let Shown { name, done_bytes, total_bytes, .. } = *self;
        (self.progress)(DownloadProgress { file: name, done_bytes, total_bytes });
    }
}
