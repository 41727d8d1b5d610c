//! Downloading a model of the Hugging Face hub into the cache that all Hugging Face tools share. A
//! stage reads a folder of links to just the files that the model needs, so the folder's digest
//! depends on the model alone and not on what else is in that cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stages::text::tokenizer_file_names;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{remove_left_beside, temporary_beside};
use crate::sources::download_error::{ByHand, DownloadError};
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::hub_cache::{HubCache, RepositoryKind};
use crate::sources::hub_repository::Repository;

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
    let (kind, name, cache) = (RepositoryKind::Model, repository, cache(downloads, repository));
    let model = Model(Repository { downloads, kind, name, revision, cache });
    if downloads.offline || downloads.hub.offline {
        return match model.cached()? {
            Some(folder) => Ok(folder),
            None => Err(DownloadError::Offline { what: model.0.what(), by_hand: model.by_hand() }),
        };
    }
    match model.downloaded(progress) {
        // Without a network, use what the cache has of this revision.
        Err(error @ DownloadError::Unreachable { .. }) => model.cached()?.ok_or(error),
        other => other,
    }
}

fn cache(downloads: &Downloads, repository: &str) -> HubCache {
    HubCache::of(downloads, RepositoryKind::Model, repository)
}

fn model_folder(downloads: &Downloads, repository: &str, commit: &str) -> PathBuf {
    downloads.folder.join(format!("{}@{commit}", repository.replace('/', "--")))
}

/// The model to fetch.
struct Model<'a>(Repository<'a>);

impl Model<'_> {
    fn by_hand(&self) -> ByHand {
        ByHand::Model { page: self.0.page(), may_need_token: false }
    }

    /// Links the model from the shared cache, if all its files are there.
    fn cached(&self) -> Result<Option<PathBuf>, DownloadError> {
        let Some(commit) = self.0.cache.known_commit(self.0.revision) else { return Ok(None) };
        let snapshot = self.0.cache.snapshot(&commit);
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
        let requests = self.0.requests(self.by_hand());
        let listing = self.0.listing(&requests)?;
        let commit = &listing.sha;
        let not_a_model = |file| DownloadError::NotAModel { what: self.0.what(), file };
        let has = |name: &&str| listing.file(name).is_some();
        let config = Some(CONFIG).filter(has).ok_or_else(|| not_a_model(CONFIG))?;
        let weights = WEIGHTS.into_iter().find(has).ok_or_else(|| not_a_model(WEIGHTS[0]))?;
        let mut files: Vec<String> = vec![config.to_owned()];
        files.extend(tokenizer_file_names(|name| has(&name)).map(str::to_owned));
        files.push(weights.to_owned());
        for name in &files {
            self.0.download(&requests, &listing, name, progress)?;
        }
        for shard in self.shards(weights, &self.0.cache.snapshot(commit).join(weights))? {
            if listing.file(&shard).is_none() {
                let problem = format!("it names the shard `{shard}`, which is not there");
                return Err(self.0.damaged(problem));
            }
            self.0.download(&requests, &listing, &shard, progress)?;
            files.push(shard);
        }
        // Written last, so that the branch never names a commit that is not in the cache.
        self.0.cache.set_commit(self.0.revision, commit)?;
        self.link(commit, &files)
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
            .map_err(|error| self.0.damaged(format!("`{weights}` cannot be read: {error}")))?;
        let shards: BTreeSet<String> = index.weight_map.into_values().collect();
        let is_plain = |name: &String| !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        match shards.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(self.0.damaged(format!("`{weights}` names the shard `{name}`"))),
            None => Ok(shards),
        }
    }

    /// Makes the folder of links to these files of the shared cache: under a temporary name first,
    /// so that the folder is never there in part.
    fn link(&self, commit: &str, files: &[String]) -> Result<PathBuf, DownloadError> {
        let folder = model_folder(self.0.downloads, self.0.name, commit);
        remove_left_beside(&folder);
        let making = temporary_beside(&folder);
        let linked = self.make_links(commit, files, &making).and_then(|()| {
            let is_there = || locate(self.0.downloads, self.0.name, commit).is_some();
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
        let snapshot = self.0.cache.snapshot(commit);
        let snapshot = snapshot.canonicalize().map_err(FileError::at("reading", &snapshot))?;
        for name in files {
            let link = folder.join(name);
            disk::symlink(&snapshot.join(name), &link)
                .map_err(FileError::in_store("making the link", &link))?;
        }
        Ok(())
    }
}
