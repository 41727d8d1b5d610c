//! The index: the digests of source files with their paths, sizes, times and inodes, so that a
//! second run need not read the files again. It is one compact file, `cache/index`, which is read
//! as a whole and rewritten only if something changed. Losing it costs time, never correctness.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use stages::Kind;

use crate::files::digest::{CHANGED, Content, Digest, opened, sealed};
use crate::files::file_error::FileError;
use crate::files::packed::{Packed, put_bytes};
use crate::files::regular::read;
use crate::files::regular::{self, is_executable, not_a_file};
use crate::files::scratch::Scratch;
use crate::files::stamp::{Stamp, file_clock_ns};
use crate::files::tree::{FoundFiles, Tree, TreeFile, files_below};

/// The digests from `cache/index`, and those that this process computed.
pub struct Index {
    file: PathBuf,
    /// Whether to believe that a file whose stamp is the same has the same bytes.
    trusted: bool,
    known: HashMap<PathBuf, (Stamp, Digest)>,
    learned: Mutex<HashMap<PathBuf, (Stamp, Digest)>>,
    files_read: AtomicU64,
    /// The listings of the folders that were hashed, by the folder's digest.
    trees: Mutex<HashMap<Digest, Arc<Tree>>>,
    dangling: Mutex<BTreeSet<PathBuf>>,
}

/// The digest and the size of a file or folder of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub content: Content,
    /// The size; for a folder, the sum of its files.
    pub bytes: u64,
}

impl Index {
    /// Reads `cache/index`. If the file is missing or damaged, or `--no-index` forbids trusting it,
    /// the index starts empty.
    pub fn load(file: &Path, trusted: bool) -> Index {
        let known = trusted.then(|| read(file).ok().and_then(|bytes| decode(&bytes)));
        Index {
            file: file.to_owned(),
            trusted,
            known: known.flatten().unwrap_or_default(),
            learned: Mutex::default(),
            files_read: AtomicU64::new(0),
            trees: Mutex::default(),
            dangling: Mutex::default(),
        }
    }

    /// How many files had to be read and hashed so far.
    pub fn files_read(&self) -> u64 {
        self.files_read.load(Ordering::Relaxed)
    }

    /// Hashes a file or folder, or looks up its digest where its stamp is unchanged. Links to
    /// nothing are left out.
    pub fn hash(&self, path: &Path) -> Result<Hashed, FileError> {
        self.hash_with(path, self.trusted, |found| Ok(self.leave_out(found)))
    }

    /// Like [`Index::hash`], but a link to nothing is an error.
    pub fn hash_all(&self, path: &Path) -> Result<Hashed, FileError> {
        self.hash_with(path, self.trusted, FoundFiles::without_dangling)
    }

    /// Hashes a file or folder by its bytes, whatever its stamp is: a write through a memory map may
    /// leave the stamp as it was.
    pub fn read_again(&self, path: &Path) -> Result<Hashed, FileError> {
        self.hash_with(path, false, |found| Ok(self.leave_out(found)))
    }

    fn hash_with(
        &self,
        path: &Path,
        trusted: bool,
        dangling: impl Fn(FoundFiles) -> Result<FoundFiles, FileError>,
    ) -> Result<Hashed, FileError> {
        let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
        if metadata.is_file() {
            let file = self.file_digest(path, trusted)?;
            return Ok(Hashed { content: file.content(), bytes: file.bytes });
        }
        if !metadata.is_dir() {
            return Err(FileError::at("reading", path)(not_a_file(metadata.file_type())));
        }
        let found = dangling(files_below(path)?)?;
        let digested: Result<_, FileError> = found
            .files
            .into_par_iter()
            .map(|file| Ok((file.relative, self.file_digest(&file.path, trusted)?)))
            .collect();
        let tree = Tree { files: digested?, empty_folders: found.empty_folders };
        let hashed = Hashed { content: tree.content(), bytes: tree.bytes() };
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.insert(hashed.content.digest, Arc::new(tree));
        Ok(hashed)
    }

    fn leave_out(&self, found: FoundFiles) -> FoundFiles {
        // Emacs marks a file that is being edited by a link `.#name` to nobody's file.
        let is_lock = |link: &PathBuf| {
            link.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".#"))
        };
        let links = found.dangling.iter().filter(|link| !is_lock(link)).cloned();
        self.dangling.lock().unwrap_or_else(PoisonError::into_inner).extend(links);
        found
    }

    /// Symbolic links to nothing that were found in source folders, and left out of their listings.
    pub fn dangling(&self) -> BTreeSet<PathBuf> {
        self.dangling.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The listing of a folder that [`Index::hash`] has hashed.
    pub fn tree(&self, folder: Content) -> Option<Arc<Tree>> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.get(&folder.digest).filter(|_| folder.kind == Kind::Folder).cloned()
    }

    fn file_digest(&self, path: &Path, trusted: bool) -> Result<TreeFile, FileError> {
        if trusted {
            let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
            let stamp = Stamp::of(&metadata);
            let same = |(then, digest): &(Stamp, Digest)| (*then == stamp).then_some(*digest);
            let mut known = self.known.get(path).and_then(same);
            if known.is_none() {
                known = self.learned().get(path).and_then(same);
            }
            if let Some(digest) = known {
                let executable = is_executable(path, &metadata);
                return Ok(TreeFile { digest, bytes: stamp.size, executable });
            }
        }
        let began_ns = file_clock_ns();
        // All of it is about one open file, whatever is put at its path meanwhile.
        let file = regular::open(path).map_err(FileError::at("reading", path))?;
        let metadata = || file.metadata().map_err(FileError::at("reading", path));
        let before = metadata()?;
        let digest = Digest::of_open_file(&file).map_err(FileError::at("hashing", path))?;
        self.files_read.fetch_add(1, Ordering::Relaxed);
        let (stamp, after) = (Stamp::of(&before), Stamp::of(&metadata()?));
        if stamp != after {
            return Err(FileError::found("hashing", path, CHANGED));
        }
        if stamp.is_settled(began_ns) {
            self.learned().insert(path.to_owned(), (stamp, digest));
        }
        Ok(TreeFile { digest, bytes: stamp.size, executable: is_executable(path, &before) })
    }

    fn learned(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Digest)>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rewrites the file if anything was learned, and drops the entries of deleted files.
    pub fn save(&self, scratch: &Scratch) -> Result<(), FileError> {
        let learned = self.learned();
        if learned.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<_> = learned.iter().collect();
        let old = self.known.iter().filter(|(path, _)| !learned.contains_key(*path));
        entries.extend(old.filter(|(path, _)| path.symlink_metadata().is_ok()));
        entries.sort_unstable_by_key(|(path, _)| path.as_path());
        scratch.write(&self.file, &encode(&entries), false)
    }
}

/// What to tell the user about one of [`Index::dangling`].
pub fn left_out(link: &Path) -> String {
    format!("`{}` is a link to nothing, so it is left out of its folder", link.display())
}

/// Whether something is at `path`. Not being allowed to look is an error.
pub fn exists(path: &Path) -> Result<bool, FileError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at("reading", path)(error)),
    }
}

/// The file, which is [`sealed`]: this header, then entries (stamp, digest, length of the path, path).
const HEADER: &[u8; 8] = b"pipeidx1";

fn encode(entries: &[(&PathBuf, &(Stamp, Digest))]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for (path, (stamp, digest)) in entries {
        bytes.extend(stamp.to_bytes());
        bytes.extend(digest.as_bytes());
        // No path is too long.
        let _ = put_bytes(path.as_os_str().as_encoded_bytes(), &mut bytes);
    }
    sealed(bytes)
}

fn decode(bytes: &[u8]) -> Option<HashMap<PathBuf, (Stamp, Digest)>> {
    let mut rest = Packed(opened(bytes, HEADER)?);
    // An entry has about 150 bytes. This only sizes the table.
    let mut entries = HashMap::with_capacity(rest.0.len() / 128);
    while !rest.is_empty() {
        let stamped = (Stamp::from_bytes(rest.take()?), Digest::from_bytes(*rest.take()?));
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(rest.bytes()?);
        entries.insert(PathBuf::from(path), stamped);
    }
    Some(entries)
}
