//! Starts a process without copying the engine's page tables: with ten thousand stages in memory,
//! `fork` takes longer than everything else about a short stage. As in `posix_spawn`, the new
//! process runs in the engine's memory until it becomes another program, while the thread that
//! started it is suspended. (`posix_spawn` itself cannot set a parent-death signal.)

use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, waitpid};

use super::guard::announcement;
use crate::executor::task::Task;

/// The file descriptors of a process's standard streams.
pub struct Streams<'a> {
    pub input: BorrowedFd<'a>,
    pub output: BorrowedFd<'a>,
    pub error: BorrowedFd<'a>,
}

/// Everything the new process reads. It is prepared in advance, because the new process must not
/// allocate.
struct Launch {
    program: CString,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    folder: CString,
    streams: [RawFd; 3],
    guard: RawFd,
    engine: libc::pid_t,
    ends_by_term: bool,
    /// Set by the new process if it fails to become the program.
    error: c_int,
}

/// Enough for a few system calls.
const STACK_BYTES: usize = 64 * 1024;

/// Starts a task in a process group of its own. The process dies with the thread that calls this,
/// and announces itself to the guard before it becomes the program.
pub fn spawn(task: &Task, streams: &Streams, guard: Option<BorrowedFd>) -> io::Result<Pid> {
    let program = c_string(task.program.as_os_str().to_owned())?;
    let arguments: io::Result<Vec<CString>> =
        task.arguments.iter().cloned().map(c_string).collect();
    let arguments = arguments?;
    let environment = environment(task)?;
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let mut launch = Launch {
        arguments: std::iter::once(program.as_ptr()).chain(pointers(&arguments)).collect(),
        environment: pointers(&environment),
        program,
        folder: c_string(absolute(&task.working_folder)?)?,
        streams: [streams.input.as_raw_fd(), streams.output.as_raw_fd(), streams.error.as_raw_fd()],
        guard: guard.map_or(-1, |guard| guard.as_raw_fd()),
        engine: getpid().as_raw_nonzero().get(),
        ends_by_term: task.ends_by_term,
        error: 0,
    };
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    // SAFETY: `clone` gets a stack of its own, whose top is aligned, and a function of the right
    // type. With `CLONE_VFORK` this thread continues only when the new process has become the
    // program or has ended, so `launch` and `stack` outlive their use there and nothing else touches
    // them. All signals are blocked in the meantime: a handler would run in the new process on our
    // memory.
    let process = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut before);
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let process = libc::clone(become_program, top, flags, (&raw mut launch).cast());
        let cloned = if process < 0 { Err(io::Error::last_os_error()) } else { Ok(process) };
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        cloned?
    };
    let process = Pid::from_raw(process).ok_or(io::ErrorKind::Other)?;
    // SAFETY: a plain read. It is volatile, since the compiler does not see the write.
    match unsafe { (&raw const launch.error).read_volatile() } {
        0 => Ok(process),
        error => {
            reap(process)?;
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// Waits for the end of a process, so that no zombie is left.
pub fn reap(process: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(Some(process), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The new process, until it becomes the program: only system calls; it allocates nothing and takes
/// no lock.
extern "C" fn become_program(launch: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one that `spawn` passes, and `spawn` is suspended.
    let launch = unsafe { &mut *launch.cast::<Launch>() };
    // SAFETY: these are plain system calls on descriptors and strings that `spawn` keeps alive.
    unsafe {
        if prepare(launch) {
            libc::execve(
                launch.program.as_ptr(),
                launch.arguments.as_ptr(),
                launch.environment.as_ptr(),
            );
        }
        (&raw mut launch.error).write_volatile(*libc::__errno_location());
        libc::_exit(127)
    }
}

/// Returns false if a call failed; the reason is in `errno`.
///
/// # Safety
///
/// Call it in the new process only: it changes that process's streams, signal handlers and folder.
unsafe fn prepare(launch: &Launch) -> bool {
    // SAFETY: the same as the caller's.
    unsafe {
        // The engine's handlers would run in the engine's memory, so they are reset. Ignored
        // signals stay ignored, as `nohup` requires, except SIGPIPE, which only Rust ignores.
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = std::mem::zeroed();
            // This fails for the two signals that the C library reserves for itself; they do not
            // matter.
            let known = libc::sigaction(signal, std::ptr::null(), &mut action) == 0;
            let handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
            if known && (handled || signal == libc::SIGPIPE) {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        let death = if launch.ends_by_term { libc::SIGTERM } else { libc::SIGKILL };
        if libc::setpgid(0, 0) != 0 || libc::prctl(libc::PR_SET_PDEATHSIG, death) != 0 {
            return false;
        }
        let message = announcement(libc::getpid(), launch.ends_by_term);
        if launch.guard >= 0
            && libc::write(launch.guard, message.as_ptr().cast(), message.len()) < 0
        {
            return false;
        }
        // If the engine died before the parent-death signal was set up, no signal would come.
        if libc::getppid() != launch.engine {
            *libc::__errno_location() = libc::EPIPE;
            return false;
        }
        for (from, to) in launch.streams.into_iter().zip(0..) {
            if libc::dup2(from, to) < 0 {
                return false;
            }
        }
        libc::chdir(launch.folder.as_ptr()) == 0
            && libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) == 0
    }
}

fn c_string(text: OsString) -> io::Result<CString> {
    let nul = |_| io::Error::new(io::ErrorKind::InvalidInput, "it contains a zero byte");
    CString::new(text.into_vec()).map_err(nul)
}

fn absolute(folder: &Path) -> io::Result<OsString> {
    Ok(std::path::absolute(folder)?.into_os_string())
}

/// `NAME=value` for each variable: the engine's own, overridden by the task's.
fn environment(task: &Task) -> io::Result<Vec<CString>> {
    let given = |name: &OsString| task.environment.iter().any(|(given, _)| given.as_str() == name);
    let own = std::env::vars_os().filter(|(name, _)| !given(name));
    let all = own.chain(task.environment.iter().map(|(name, value)| (name.into(), value.clone())));
    all.map(|(name, value)| {
        let mut text = name;
        text.push("=");
        text.push(value);
        c_string(text)
    })
    .collect()
}
