//! Compiled kernels, kept between processes, so that a kernel is compiled once for a device.
//!
//! cubecl puts them into a database. Nothing checks what such a file holds, and a kernel with a
//! changed bit may compute something wrong without a word. So the database of a process is its
//! own, in a temporary folder. It is filled from a file of the user's cache that ends with the
//! BLAKE3 of what is before it, and one that holds more kernels replaces this file at the end. Of
//! two processes that end at the same time, the second one's file stays.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cubecl::bundle::{BundleFormat, EmbeddedBundle, ExportOptions, export, import};
use cubecl::bytes::Bytes;
use cubecl::config::cache::CacheConfig;
use cubecl::config::streaming::StreamPolicy;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::environment;
use tempfile::{NamedTempFile, TempDir};

use super::chosen::ChosenDevice;
use super::libdevice;
use crate::model::device::products;
use crate::stage::user_folders;

/// How long a file stays that no process has used, such as one for an earlier driver.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

const DIGEST: usize = blake3::OUT_LEN;

/// An environment variable: `off` means that no other kernels are timed.
const TIME_PRODUCTS: &str = "PIPE_TIME_PRODUCTS";

/// What this process has of kernels.
struct Kernels {
    /// Holds the database.
    own: TempDir,
    /// The file that it was filled from, and the number of its entries then.
    file: Option<(PathBuf, u64)>,
    /// The notes that [`products`] has read, and the one that it writes.
    notes: Vec<PathBuf>,
}

static KERNELS: Mutex<Option<Kernels>> = Mutex::new(None);

/// Makes cubecl keep kernels. To be called before it opens a device; a second call does nothing.
///
/// What cubecl would read from a `cubecl.toml` or `burn.toml` beside the pipeline is set here, so
/// that no such file changes what a stage computes.
pub fn prepare() {
    let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    if kernels.is_some() {
        return;
    }
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    config.environment.records.level = cubecl::records::RecordLevel::Off;
    // Tensors of another thread's stream make every launch wait for events, and a service loads its
    // model on another thread than the one that computes.
    config.streaming.policy = StreamPolicy::Single;
    let own = folder().and_then(|folder| {
        std::fs::create_dir_all(&folder).ok()?;
        tempfile::Builder::new().prefix("process-").tempdir_in(folder).ok()
    });
    if let Some(own) = own {
        config.compilation.cache = true;
        config.environment.path = CacheConfig::Directory(own.path().to_owned());
        *kernels = Some(Kernels { own, file: None, notes: Vec::new() });
    }
    CubeClRuntimeConfig::try_set(config);
}

/// Takes over what earlier processes have compiled for this device.
pub fn load(device: &ChosenDevice) {
    let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(kernels) = kernels.as_mut().filter(|it| it.file.is_none()) else { return };
    let Some(file) = file_for(device) else { return };
    let bundle =
        read(&file).and_then(|bytes| EmbeddedBundle::open(Bytes::from_bytes_vec(bytes)).ok());
    let count = bundle.map_or(0, |bundle| import(&bundle).imported as u64);
    let choices = read(&choices_beside(&file)).unwrap_or_default();
    let is_off = std::env::var_os(TIME_PRODUCTS).is_some_and(|value| value == "off");
    let share = if device.is_software || is_off { 0.0 } else { products::SHARE };
    let (mut notes, left): (Vec<_>, Vec<_>) = left_notes(&file).unzip();
    if let Some((note, path)) = new_note(&file) {
        notes.push(path);
        products::begin(&choices, &left, note, share);
    }
    kernels.notes = notes;
    kernels.file = Some((file, count));
}

/// Keeps what this process has compiled, for later ones. To be called at the end of a process; a
/// failure only means that kernels are compiled again.
pub fn keep() {
    let kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Kernels { own, file: Some((file, before)), notes }) = kernels else { return };
    let beside = choices_beside(&file);
    // Another process may have kept some in the meantime.
    let choices = products::kept(&read(&beside).unwrap_or_default());
    if choices.is_none_or(|choices| write(&choices, &beside).is_some()) {
        // The choices have what the notes say, but not what this process may have failed at.
        let (own, left) =
            notes.split_last().map_or((None, &[][..]), |(own, left)| (Some(own), left));
        let own = own.filter(|it| it.metadata().is_ok_and(|it| it.len() == 0));
        left.iter().chain(own).for_each(|note| drop(std::fs::remove_file(note)));
    }
    let entries: u64 = environment::namespaces().iter().map(|it| it.entries).sum();
    if entries > before && exported(own.path()).and_then(|it| write(&it, &file)).is_some() {
        sweep(&file);
    }
}

/// Whether kernels for this device are kept.
pub fn are_kept_for(device: &ChosenDevice) -> bool {
    file_for(device).and_then(|file| read(&file)).is_some()
}

fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    user_folders::caches(variable).map(|caches| caches.join("pipe").join("kernels"))
}

/// The file for this device and all that decides what a kernel is compiled to: this binary, the
/// device, its driver, and the library that kernels are linked with.
fn file_for(device: &ChosenDevice) -> Option<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(text.as_bytes()).update(&[0]);
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&stamp(&std::env::current_exe().ok()?)?);
    add(&device.name);
    device.details.iter().for_each(|detail| add(detail));
    if device.is_cuda {
        add(&stamp(&libdevice::find().ok()?)?);
    }
    let name = hasher.finalize().to_hex();
    Some(folder()?.join(&name[..32]))
}

/// The file of what [`products`] has chosen, beside that of the kernels.
fn choices_beside(file: &Path) -> PathBuf {
    file.with_extension("products")
}

/// The start of the extension of a note of [`products`].
const NOTE: &str = "trying-";

/// A note for this process, which holds a lock on it for as long as it runs.
fn new_note(file: &Path) -> Option<(File, PathBuf)> {
    let prefix = file.with_extension(NOTE);
    let note = tempfile::Builder::new().prefix(prefix.file_name()?).tempfile_in(file.parent()?);
    let (note, path) = note.ok()?.keep().ok()?;
    let _ = note.try_lock();
    Some((note, path))
}

/// The notes for the same device of processes that have ended, and what they say.
fn left_notes(file: &Path) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let start = file.with_extension(NOTE);
    let entries = file.parent().and_then(|folder| folder.read_dir().ok());
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter_map(move |path| {
        let is_note =
            path.as_os_str().as_encoded_bytes().starts_with(start.as_os_str().as_encoded_bytes());
        let mut note = is_note.then(|| File::open(&path).ok()).flatten()?;
        if matches!(note.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut text = Vec::new();
        note.read_to_end(&mut text).ok()?;
        Some((path, text))
    })
}

/// What changes when somebody replaces a file.
fn stamp(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} {} {}", path.display(), metadata.len(), modified.as_nanos()))
}

/// What is before the digest at the end of a file; `None` if there is no such file or it is damaged.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(file).ok()?;
    let body = bytes.len().checked_sub(DIGEST)?;
    if *blake3::hash(&bytes[..body]).as_bytes() != bytes[body..] {
        return None;
    }
    bytes.truncate(body);
    // So that `sweep` sees that it is used.
    let _ =
        File::options().append(true).open(file).and_then(|it| it.set_modified(SystemTime::now()));
    Some(bytes)
}

/// The kernels of the database in `own`.
fn exported(own: &Path) -> Option<Vec<u8>> {
    let exported = own.join("exported");
    let options = ExportOptions { format: BundleFormat::Flat, ..ExportOptions::default() };
    export(&[own], &exported, &options).ok()?;
    std::fs::read(exported).ok()
}

/// Writes `body` and its digest into `file`, whole or not at all.
fn write(body: &[u8], file: &Path) -> Option<()> {
    let mut whole = NamedTempFile::new_in(file.parent()?).ok()?;
    whole.write_all(body).ok()?;
    whole.write_all(blake3::hash(body).as_bytes()).ok()?;
    whole.persist(file).ok()?;
    Some(())
}

/// Removes what was not used for long beside `file`: kernels for other binaries and drivers, and
/// the databases of processes that were killed.
fn sweep(file: &Path) {
    let old = |path: &Path| -> Option<bool> {
        let modified = path.metadata().ok()?.modified().ok()?;
        Some(SystemTime::now().duration_since(modified).ok()? > KEPT_FOR)
    };
    let entries = file.parent().and_then(|folder| folder.read_dir().ok());
    for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
        if old(&path) == Some(true) {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_a_process_is_read_once_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("0123");
        let (mut note, path) = new_note(&file).unwrap();
        note.write_all(b"a product").unwrap();
        assert_eq!(left_notes(&file).count(), 0);
        drop(note);
        assert_eq!(left_notes(&file).collect::<Vec<_>>(), [(path, b"a product".to_vec())]);
        assert_eq!(left_notes(&folder.path().join("4567")).count(), 0);
    }

    #[test]
    fn a_file_is_read_only_while_its_digest_is_that_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kernels");
        assert_eq!(read(&file), None);
        let body = b"compiled".to_vec();
        let whole = [&body[..], blake3::hash(&body).as_bytes()].concat();
        std::fs::write(&file, &whole).unwrap();
        assert_eq!(read(&file), Some(body));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(read(&file), None, "byte {at}");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(read(&file), None, "the first {at} bytes");
        }
    }

    #[test]
    fn what_nobody_has_used_for_long_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            let then = SystemTime::now() - age;
            File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
            path
        };
        let [own, old] = [make("own", Duration::ZERO), make("old", 2 * KEPT_FOR)];
        let used = make("used", KEPT_FOR / 2);
        sweep(&own);
        assert_eq!([&own, &old, &used].map(|path| path.exists()), [true, false, true]);
    }
}
