//! A model of the Hugging Face hub: its files land in the cache that all Hugging Face tools
//! share, and a folder of links to just the files that a model needs is what a stage reads. So
//! the folder's digest depends on the model alone, not on what else somebody has fetched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use super::url::in_words;
use super::{ByHand, Downloads, Progress, SourceError};

/// Weights in the order in which they are preferred; an index names shards beside it.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// All that any tokenizer of a BERT or RoBERTa consists of.
const TOKENIZER: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "bpe.codes",
];

const CONFIG: &str = "config.json";

/// The folder of a model that has been fetched. A branch stands for the commit at which it was
/// fetched; a program that fetches it anew into the shared cache moves it on.
pub(super) fn locate(downloads: &Downloads, repository: &str, revision: &str) -> Option<PathBuf> {
    let commit = known_commit(&cache_folder(downloads), repository, revision)?;
    let folder = model_folder(downloads, repository, &commit);
    let mut entries = std::fs::read_dir(&folder).ok()?;
    // The shared cache may have been cleaned since.
    let whole = folder.join(CONFIG).exists()
        && entries.all(|entry| entry.is_ok_and(|entry| entry.path().exists()));
    whole.then_some(folder)
}

/// Fetches what is missing of a model, and links it together.
pub(super) fn fetch(
    downloads: &Downloads,
    repository: &str,
    revision: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, SourceError> {
    let model = Model { downloads, repository, revision, cache: cache_folder(downloads) };
    if downloads.offline || downloads.hub.offline {
        return match model.cached()? {
            Some(folder) => Ok(folder),
            None => Err(SourceError::Offline { what: model.name(), by_hand: model.by_hand(false) }),
        };
    }
    match model.downloaded(progress) {
        // Without a network, what the cache has of this revision is as good.
        Err(error @ SourceError::Unreachable { .. }) => model.cached()?.ok_or(error),
        other => other,
    }
}

fn cache_folder(downloads: &Downloads) -> PathBuf {
    downloads.hub.cache.clone().unwrap_or_else(|| downloads.folder.join("hub"))
}

fn model_folder(downloads: &Downloads, repository: &str, commit: &str) -> PathBuf {
    downloads.folder.join(format!("{}@{commit}", repository.replace('/', "--")))
}

/// The commit that a revision is, or was when it was last fetched.
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

/// A model, and where it is looked for.
struct Model<'a> {
    downloads: &'a Downloads,
    repository: &'a str,
    revision: &'a str,
    cache: PathBuf,
}

/// What the hub says about a revision.
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

    /// Links what the shared cache has, if that is a whole model.
    fn cached(&self) -> Result<Option<PathBuf>, SourceError> {
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
        let tokenizer = TOKENIZER.into_iter().filter(|name| has(name));
        files.extend(tokenizer.map(str::to_owned));
        self.link(&commit, &files).map(Some)
    }

    fn downloaded(&self, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, SourceError> {
        let api = self.api()?;
        let listing = self.listing(&api)?;
        let commit = &listing.sha;
        if !is_commit(commit) {
            return Err(self.damaged(format!("the hub says its commit is `{commit}`")));
        }
        let not_a_model = |file| SourceError::NotAModel { what: self.name(), file };
        let has = |name: &&str| listing.file(name).is_some();
        let config = Some(CONFIG).filter(has).ok_or_else(|| not_a_model(CONFIG))?;
        let weights = WEIGHTS.into_iter().find(has).ok_or_else(|| not_a_model(WEIGHTS[0]))?;
        let mut files: Vec<String> = vec![config.to_owned()];
        files.extend(TOKENIZER.into_iter().filter(has).map(str::to_owned));
        files.push(weights.to_owned());
        for name in &files {
            self.download(&api, &listing, name, progress)?;
        }
        for shard in self.shards(weights, &self.snapshot(commit).join(weights))? {
            self.download(&api, &listing, &shard, progress)?;
            files.push(shard);
        }
        // Last, so that the branch never stands for a commit that is not there.
        let revision = self.revision.to_owned();
        let branch = Repo::with_revision(self.repository.to_owned(), RepoType::Model, revision);
        let written = Cache::new(self.cache.clone()).repo(branch).create_ref(commit);
        written.map_err(SourceError::io("writing a reference in", &self.cache))?;
        self.link(commit, &files)
    }

    fn api(&self) -> Result<Api, SourceError> {
        let hub = &self.downloads.hub;
        let retries = usize::try_from(self.downloads.retries).unwrap_or_default();
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(hub.endpoint.clone())
            .with_token(hub.token.clone())
            .with_user_agent("pipe", env!("CARGO_PKG_VERSION"))
            .with_retries(retries)
            .with_progress(false)
            .build()
            .map_err(|error| self.failed(error))
    }

    /// The files of the revision with their sizes, and the commit it stands for.
    fn listing(&self, api: &Api) -> Result<Listing, SourceError> {
        let revision = self.revision.to_owned();
        let repo = Repo::with_revision(self.repository.to_owned(), RepoType::Model, revision);
        let answer = api.repo(repo).info_request().query("blobs", "true").call();
        let mut answer = answer.map_err(|error| self.failed(Box::new(error).into()))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| self.failed(Box::new(error).into()))?;
        serde_json::from_str(&text)
            .map_err(|error| self.damaged(format!("the hub's answer cannot be read: {error}")))
    }

    /// Brings one file into the shared cache, at the commit and not at the branch, which may
    /// move in between.
    fn download(
        &self,
        api: &Api,
        listing: &Listing,
        name: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SourceError> {
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
                // A file of the wrong size in the shared cache would mislead every other tool.
                if let Ok(blob) = path.canonicalize() {
                    std::fs::remove_file(&blob).map_err(SourceError::io("removing", &blob))?;
                }
                let _ = std::fs::remove_file(&path);
                Err(self.damaged(format!(
                    "`{name}` came with {} bytes instead of {}",
                    found.unwrap_or_default(),
                    sibling.size.unwrap_or_default()
                )))
            }
        }
    }

    /// The files that an index names, sorted; none if the weights are one file.
    fn shards(&self, weights: &str, path: &Path) -> Result<BTreeSet<String>, SourceError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        if !weights.ends_with(".index.json") {
            return Ok(BTreeSet::new());
        }
        let text = std::fs::read_to_string(path).map_err(SourceError::io("reading", path))?;
        let index: Index = serde_json::from_str(&text)
            .map_err(|error| self.damaged(format!("`{weights}` cannot be read: {error}")))?;
        let shards: BTreeSet<String> = index.weight_map.into_values().collect();
        let is_plain = |name: &String| !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        match shards.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(self.damaged(format!("`{weights}` names the shard `{name}`"))),
            None => Ok(shards),
        }
    }

    /// A folder of links to these files of the shared cache, made whole and then named.
    fn link(&self, commit: &str, files: &[String]) -> Result<PathBuf, SourceError> {
        let folder = model_folder(self.downloads, self.repository, commit);
        let parent = &self.downloads.folder;
        std::fs::create_dir_all(parent).map_err(SourceError::io("creating", parent))?;
        let making = tempfile::Builder::new().prefix(".model-").tempdir_in(parent);
        let making = making.map_err(SourceError::io("creating a folder in", parent))?;
        let snapshot = self.snapshot(commit);
        let snapshot = snapshot.canonicalize().map_err(SourceError::io("reading", &snapshot))?;
        for name in files {
            let link = making.path().join(name);
            let linked = std::os::unix::fs::symlink(snapshot.join(name), &link);
            linked.map_err(SourceError::io("creating", &link))?;
        }
        if folder.exists() {
            // Whoever was quicker made the same, or the shared cache was cleaned since.
            if let Some(folder) = locate(self.downloads, self.repository, commit) {
                return Ok(folder);
            }
            std::fs::remove_dir_all(&folder).map_err(SourceError::io("removing", &folder))?;
        }
        let made = making.keep();
        match std::fs::rename(&made, &folder) {
            Err(_) if locate(self.downloads, self.repository, commit).is_some() => {
                std::fs::remove_dir_all(&made).map_err(SourceError::io("removing", &made))?;
            }
            renamed => renamed.map_err(SourceError::io("renaming", &made))?,
        }
        Ok(folder)
    }

    fn damaged(&self, problem: String) -> SourceError {
        SourceError::Damaged { what: self.name(), problem }
    }

    fn failed(&self, error: ApiError) -> SourceError {
        let what = self.name();
        match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => {
                    let by_hand = self.by_hand(matches!(status, 401 | 403));
                    SourceError::Status { what, status, by_hand }
                }
                error => {
                    let reason = in_words(&error);
                    SourceError::Unreachable { what, reason, by_hand: self.by_hand(false) }
                }
            },
            ApiError::TooManyRetries(error) => self.failed(*error),
            ApiError::IoError(source) => {
                SourceError::Io { doing: "writing in", path: self.cache.clone(), source }
            }
            ApiError::LockAcquisition(path) => {
                let busy = std::io::Error::other("another program is downloading it");
                SourceError::Io { doing: "locking", path, source: busy }
            }
            error => {
                let reason = error.to_string();
                SourceError::Unreachable { what, reason, by_hand: self.by_hand(false) }
            }
        }
    }
}

/// Hands hf-hub's progress on.
struct Shown<'a> {
    name: &'a str,
    done_bytes: u64,
    total_bytes: Option<u64>,
    progress: &'a mut dyn FnMut(Progress),
}

impl hf_hub::api::Progress for Shown<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.done_bytes = 0;
        self.total_bytes = u64::try_from(size).ok();
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done_bytes += u64::try_from(size).unwrap_or_default();
        self.tell();
    }

    fn finish(&mut self) {}
}

impl Shown<'_> {
    fn tell(&mut self) {
        let Shown { name, done_bytes, total_bytes, .. } = *self;
        (self.progress)(Progress { file: name, done_bytes, total_bytes });
    }
}
