//! Parts of file names that nobody else uses. A process id alone is not enough: two containers
//! that share a disk often run the engine under the same one.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use crate::files::digest::Digest;

/// Sixteen random hexadecimal digits, different on each call.
pub fn random() -> String {
    // The standard library seeds each of these from the operating system.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// This machine's name, with `_` for all characters but ASCII letters and digits.
pub fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    name.chars().map(plain).collect()
}

/// Sixteen hexadecimal digits for the processes that see each other: those of one PID namespace,
/// which is of one container or of the machine itself, until the machine restarts. Only among
/// these does a process id name one process.
pub fn process_space() -> &'static str {
    static SPACE: OnceLock<String> = OnceLock::new();
    SPACE.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let text = format!("{} {boot} {}", host(), namespace.display());
        Digest::of_bytes(text.as_bytes()).to_string()[..16].to_owned()
    })
}
