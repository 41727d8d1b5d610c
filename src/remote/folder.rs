//! A folder as a remote, for instance on a network file system. Each request runs on a thread of
//! its own. If the file system hangs, so does that thread, but the caller stops waiting after the
//! timeout.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::rename_into;
use crate::files::threads;
use crate::files::unique;
use crate::remote::bucket::{Bucket, ByteSink, OnBytes};
use crate::remote::error::Trouble;

/// How many bytes to read and write at once.
const PIECE: usize = 1 << 20;

/// A remote in a folder.
pub struct FolderBucket {
    root: PathBuf,
    timeout: Duration,
}

/// What the thread of a request sends.
enum Message<T> {
    Piece(Vec<u8>),
    Done(Result<T, Trouble>),
}

impl FolderBucket {
    pub fn new(root: &Path, timeout: Duration) -> FolderBucket {
        FolderBucket { root: root.to_owned(), timeout }
    }

    /// Runs `call` on another thread and passes the pieces that it sends to `heard`. Gives up when
    /// the thread sends nothing for the timeout.
    fn within<T: Send + 'static>(
        &self,
        call: impl FnOnce(&SyncSender<Message<T>>) -> Result<T, Trouble> + Send + 'static,
        mut heard: impl FnMut(Vec<u8>) -> Result<(), Trouble>,
    ) -> Result<T, Trouble> {
        let (sender, receiver): (_, Receiver<Message<T>>) = sync_channel(4);
        threads::spawn(&self.root, move || {
            let result = call(&sender);
            // The receiver may have given up.
            let _ = sender.send(Message::Done(result));
        })?;
        loop {
            match receiver.recv_timeout(self.timeout) {
                Ok(Message::Piece(piece)) => heard(piece)?,
                Ok(Message::Done(result)) => return result,
                Err(RecvTimeoutError::Timeout) => return Err(Trouble::Silent(self.timeout)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::Failed("its thread ended".to_owned()));
                }
            }
        }
    }

    /// Like [`FolderBucket::within`], for a call that sends no pieces.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.within(move |_| call(), |_| Ok(()))
    }

    /// A new path in the remote's `tmp`, for a file that is still being written.
    fn temporary(&self) -> PathBuf {
        let (host, process, random) = (unique::host(), std::process::id(), unique::random());
        self.root.join("tmp").join(format!("{host}-{process}-{random}"))
    }
}

impl Bucket for FolderBucket {
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
        into: &mut dyn ByteSink,
    ) -> Result<bool, Trouble> {
        let (root, path) = (self.root.clone(), self.root.join(name));
        let call = move |sender: &SyncSender<Message<bool>>| {
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
                if sender.send(Message::Piece(piece)).is_err() {
                    return Ok(true);
                }
            }
        };
        self.within(call, |piece| into.write(&piece))
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
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble> {
        let (root, path, file) = (self.root.clone(), self.root.join(name), file.to_owned());
        let temporary = self.temporary();
        let call = move |sender: &SyncSender<Message<()>>| {
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
                // Only its length matters.
                if sender.send(Message::Piece(vec![0; read])).is_err() {
                    return Err(remove(Trouble::Failed("nobody waits for it any more".to_owned())));
                }
            }
            if hasher.finalize().as_bytes() != digest.as_bytes() {
                return Err(remove(Trouble::DamagedHere(digest.short())));
            }
            place(Ok(()), &temporary, &path)
        };
        self.within(call, |piece| on_bytes(piece.len() as u64))
    }
}

/// Creates a file in the remote's `tmp`. Creates the remote's folder if only that is missing.
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

/// Gives a temporary file its name, or removes it after an error.
fn place(written: io::Result<()>, temporary: &Path, path: &Path) -> Result<(), Trouble> {
    let placed = written
        .and_then(|()| disk::set_permissions(temporary, Permissions::from_mode(0o444)))
        .and_then(|()| rename_into(temporary, path));
    placed.map_err(|error| {
        let _ = disk::remove_file(temporary);
        trouble(&error, path)
    })
}

/// Tells a missing file from a missing remote, which is an error. The remote's folder may be
/// missing until the first upload creates it.
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
    move |error| FileError::at("reading", &path)(error).into()
}
