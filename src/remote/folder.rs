//! A folder as a remote, such as one of a network file system. Each call is made on a thread of its
//! own, which may hang where the file system does; whoever waits for it gives up in time.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::scratch::rename_into;
use crate::remote::{Bucket, Meter, Taker, Trouble};

/// Read and written at once.
const PIECE: usize = 1 << 20;

/// Makes names in the remote's `tmp` differ within this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

pub struct Folder {
    root: PathBuf,
    timeout: Duration,
}

/// What the thread of a call says.
enum Said<T> {
    Piece(Vec<u8>),
    Done(Result<T, Trouble>),
}

impl Folder {
    pub fn new(root: &Path, timeout: Duration) -> Folder {
        Folder { root: root.to_owned(), timeout }
    }

    /// Makes a call elsewhere and hears of its pieces; gives it up when it says nothing for long.
    fn within<T: Send + 'static>(
        &self,
        call: impl FnOnce(&SyncSender<Said<T>>) -> Result<T, Trouble> + Send + 'static,
        mut heard: impl FnMut(Vec<u8>) -> Result<(), Trouble>,
    ) -> Result<T, Trouble> {
        let (sender, receiver): (_, Receiver<Said<T>>) = sync_channel(4);
        std::thread::spawn(move || {
            let result = call(&sender);
            // Nobody may be waiting any more.
            let _ = sender.send(Said::Done(result));
        });
        loop {
            match receiver.recv_timeout(self.timeout) {
                Ok(Said::Piece(piece)) => heard(piece)?,
                Ok(Said::Done(result)) => return result,
                Err(RecvTimeoutError::Timeout) => return Err(Trouble::Silent(self.timeout)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::Failed("its thread ended".to_owned()));
                }
            }
        }
    }

    /// As [`Folder::within`], of a call without pieces.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.within(move |_| call(), |_| Ok(()))
    }

    /// A new name in the remote's own place for what is not whole yet.
    fn temporary(&self) -> PathBuf {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy().replace('/', "-");
        self.root.join("tmp").join(format!("{host}-{}-{count}", std::process::id()))
    }
}

impl Bucket for Folder {
    fn size(&self, name: &str) -> Result<Option<u64>, Trouble> {
        let (root, path) = (self.root.clone(), self.root.join(name));
        self.call(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) => not_there(error, &path, &root).map(|()| None),
        })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let (root, path, name) = (self.root.clone(), self.root.join(name), name.to_owned());
        self.call(move || {
            let mut bytes = Vec::new();
            let read =
                File::open(&path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
            match read {
                Ok(length) if length as u64 > most => Err(Trouble::Damaged { name }),
                Ok(_) => Ok(Some(bytes)),
                Err(error) => not_there(error, &path, &root).map(|()| None),
            }
        })
    }

    fn fetch(
        &self,
        name: &str,
        start: u64,
        _bytes: u64,
        into: &mut dyn Taker,
    ) -> Result<bool, Trouble> {
        let (root, path) = (self.root.clone(), self.root.join(name));
        let call = move |sender: &SyncSender<Said<bool>>| {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) => return not_there(error, &path, &root).map(|()| false),
            };
            file.seek(SeekFrom::Start(start)).map_err(|error| trouble(&error, &path))?;
            loop {
                let mut piece = Vec::with_capacity(PIECE);
                let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
                if read.map_err(|error| trouble(&error, &path))? == 0 {
                    return Ok(true);
                }
                if sender.send(Said::Piece(piece)).is_err() {
                    return Ok(true);
                }
            }
        };
        self.within(call, |piece| into.take(&piece))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        let (root, path, bytes) = (self.root.clone(), self.root.join(name), bytes.to_owned());
        let temporary = self.temporary();
        self.call(move || {
            let file = create(&temporary, &root)?;
            let written = disk::write_all(&file, &bytes, &temporary);
            place(written, &temporary, &path)
        })
    }

    fn remove(&self, name: &str) -> Result<(), Trouble> {
        let (root, path) = (self.root.clone(), self.root.join(name));
        self.call(move || disk::remove_file(&path).or_else(|error| not_there(error, &path, &root)))
    }

    fn upload(
        &self,
        name: &str,
        file: &Path,
        digest: Digest,
        _notes: &Path,
        meter: &Meter,
    ) -> Result<(), Trouble> {
        let (root, path, file) = (self.root.clone(), self.root.join(name), file.to_owned());
        let temporary = self.temporary();
        let call = move |sender: &SyncSender<Said<()>>| {
            let mut source = File::open(&file).map_err(here(&file))?;
            let target = create(&temporary, &root)?;
            let mut hasher = blake3::Hasher::new();
            let mut buffer = vec![0; PIECE];
            let remove = |trouble: Trouble| {
                let _ = disk::remove_file(&temporary);
                trouble
            };
            loop {
                let read = match source.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    other => other.map_err(here(&file)).map_err(remove)?,
                };
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                disk::write_all(&target, &buffer[..read], &temporary)
                    .map_err(|error| remove(trouble(&error, &temporary)))?;
                // The length alone matters.
                if sender.send(Said::Piece(vec![0; read])).is_err() {
                    return Err(remove(Trouble::Failed("it was given up".to_owned())));
                }
            }
            if hasher.finalize().as_bytes() != digest.as_bytes() {
                return Err(remove(Trouble::DamagedHere(digest.short())));
            }
            place(Ok(()), &temporary, &path)
        };
        self.within(call, |piece| meter(piece.len() as u64))
    }
}

/// A new file in the remote. The remote's own folder is made if only that is missing.
fn create(temporary: &Path, root: &Path) -> Result<File, Trouble> {
    let created = match disk::create_new_file(temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let make = |folder: &Path| match disk::create_folder(folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            };
            make(root)
                .and_then(|()| temporary.parent().map_or(Ok(()), make))
                .and_then(|()| disk::create_new_file(temporary))
        }
        other => other,
    };
    created.map_err(|error| trouble(&error, temporary))
}

/// Gives what was written its name, or removes it.
fn place(written: io::Result<()>, temporary: &Path, path: &Path) -> Result<(), Trouble> {
    let placed = written
        .and_then(|()| disk::set_permissions(temporary, Permissions::from_mode(0o444)))
        .and_then(|()| rename_into(temporary, path));
    placed.map_err(|error| {
        let _ = disk::remove_file(temporary);
        trouble(&error, path)
    })
}

/// Whether a file is merely not in the remote, rather than the remote not in its place. A folder that
/// the first upload will make is an empty one.
fn not_there(error: io::Error, path: &Path, root: &Path) -> Result<(), Trouble> {
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Err(trouble(&error, path));
    }
    match root.is_dir() || root.parent().is_some_and(Path::is_dir) {
        true => Ok(()),
        false => Err(Trouble::Failed(format!("there is no folder `{}`", root.display()))),
    }
}

fn trouble(error: &io::Error, path: &Path) -> Trouble {
    let text = format!("`{}`: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied => Trouble::Denied(text),
        ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Trouble::Full(text),
        _ => Trouble::Failed(text),
    }
}

fn here(path: &Path) -> impl Fn(io::Error) -> Trouble + use<> {
    let path = path.to_owned();
    move |error| crate::files::file_error::FileError::at("reading", &path)(error).into()
}
