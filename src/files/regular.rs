//! Opening files to read them. Anybody may put a FIFO, a socket or a device where a file was, and
//! opening one of these waits for the other end, or does something to the device. So every file of
//! the user is opened here, and everything else is an error that says what it is.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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
pub const NOT_A_FILE: io::ErrorKind = io::ErrorKind::NotSeekable;

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
/// the group and of others depend on the umask of whoever checked the file out. Where every file is
/// executable, none counts.
pub fn is_executable(path: &Path, metadata: &Metadata) -> bool {
    has_execute_bit(metadata) && keeps_execute_bits(path, metadata)
}

pub fn has_execute_bit(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// Whether execute bits mean anything on the file system of a file. Most file systems that have none
/// show all files as executable.
pub fn keeps_execute_bits(path: &Path, metadata: &Metadata) -> bool {
    static KNOWN: Mutex<BTreeMap<u64, bool>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(keeps) = known().get(&metadata.dev()) {
        return *keeps;
    }
    let Ok(system) = rustix::fs::statfs(path) else { return true };
    let kind = system.f_type as u32;
    let keeps = !(WITHOUT_EXECUTE_BITS.contains(&kind) || kind == DRIVE_IN_WSL && is_wsl());
    known().insert(metadata.dev(), keeps);
    keeps
}

/// By the numbers in Linux's `magic.h`: FAT, exFAT, NTFS (three drivers), and network drives of
/// Windows (three versions).
const WITHOUT_EXECUTE_BITS: [u32; 8] =
    [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e, 0x6573_5546, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// 9p, as which Linux in Windows (WSL) shows the drives of Windows. Elsewhere it has execute bits.
const DRIVE_IN_WSL: u32 = 0x0102_1997;

fn is_wsl() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|it| it.contains("microsoft"))
}
