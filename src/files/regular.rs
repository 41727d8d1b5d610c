//! Opening files to read them. Anybody may put a FIFO, a socket or a device where a file was, and
//! opening one of these waits for the other end, or does something to the device. So every file of
//! the user is opened here, and everything else is an error that says what it is.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a file for reading; never waits.
pub fn open(path: &Path) -> io::Result<File> {
    check(&fs::metadata(path)?)?;
    // It may have been replaced since, and opening a FIFO without this flag waits for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    check(&file.metadata()?)?;
    Ok(file)
}

/// Reads a file; never waits.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`read`], for text.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn check(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(not_a_file(metadata.file_type())),
    }
}

/// The kind of the error that [`not_a_file`] makes.
pub const NOT_A_FILE: io::ErrorKind = io::ErrorKind::Unsupported;

/// The error that says what is there in place of a file.
pub fn not_a_file(found: FileType) -> io::Error {
    let problem = match found {
        it if it.is_dir() => return io::ErrorKind::IsADirectory.into(),
        it if it.is_fifo() => "it is a FIFO (a named pipe), not a file",
        it if it.is_socket() => "it is a socket, not a file",
        it if it.is_block_device() || it.is_char_device() => "it is a device, not a file",
        _ => "it is neither a file nor a folder",
    };
    io::Error::new(NOT_A_FILE, problem)
}

/// Whether a file counts as executable: whether its owner may execute it, as for git. The bits of
/// the group and of others depend on the umask of whoever checked the file out.
pub fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}
