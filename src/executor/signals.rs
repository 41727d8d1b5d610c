//! Which signals this process receives, and the programs that it starts: both inherit what the
//! program that started them blocks or ignores.

use std::io;

/// Receives every signal, whatever this program was started by. Nobody could interrupt it if SIGTERM
/// were blocked, and the kernel would keep the end of a stage to itself if SIGCHLD were ignored.
pub fn reset() {
    // SAFETY: a plain system call, which replaces no handler of ours.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
    // It fails for sets that do not exist only.
    let _ = unblock_all();
}

/// Blocks these signals in this process, its copies, and the programs that it starts. Returns them
/// as a set.
pub(super) fn block(signals: &[i32]) -> io::Result<libc::sigset_t> {
    mask(libc::SIG_BLOCK, signals)
}

/// Lets this process receive every signal again.
pub(super) fn unblock_all() -> io::Result<()> {
    mask(libc::SIG_SETMASK, &[]).map(drop)
}

/// Changes in this way, of `sigprocmask(2)`, which signals are blocked. Returns these as a set.
fn mask(how: i32, signals: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: plain system calls on a set that lives here.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        match libc::sigprocmask(how, &set, std::ptr::null_mut()) {
            0 => Ok(set),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
