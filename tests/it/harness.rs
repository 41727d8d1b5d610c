//! A project in a temporary folder, and the real binary in it. Only this file knows how to call
//! `pipe` and how to read its lines of JSON.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A project with a `pipeline.yaml`.
pub struct Project {
    folder: TempDir,
}

/// A `pipe` process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running `pipe` process, whose lines of JSON are read one by one.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub seen: Vec<Value>,
}

impl Project {
    #[track_caller]
    pub fn new(pipeline: &str) -> Project {
        Project::new_in(TempDir::new().unwrap(), pipeline)
    }

    #[track_caller]
    pub fn new_in(folder: TempDir, pipeline: &str) -> Project {
        let project = Project { folder };
        project.write("pipeline.yaml", pipeline);
        project
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    #[track_caller]
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The stages that really ran since the last call, because they appended their names to
    /// `ran.log`. Sorted, because stages may run in parallel.
    #[track_caller]
    pub fn take_log(&self) -> String {
        let log = self.path("ran.log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let mut names: Vec<&str> = text.lines().collect();
        names.sort_unstable();
        names.join(" ")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_pipe"), arguments)
    }

    /// Any program in the project's folder.
    pub fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env_remove("PIPE_CACHE").stdin(Stdio::null());
        // Keeps out the settings of the user who runs the tests.
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command
    }

    #[track_caller]
    pub fn pipe(&self, arguments: &[&str]) -> Ended {
        self.pipe_with(arguments, &[])
    }

    #[track_caller]
    pub fn pipe_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let mut command = self.command(arguments);
        Ended::of(command.envs(environment.iter().copied()).output().unwrap())
    }

    /// Like [`Project::pipe`], with these bytes coming through a pipe.
    pub fn pipe_fed(&self, bytes: &[u8], arguments: &[&str]) -> Ended {
        let ((mut stdin, child), bytes) = (self.fed(arguments), bytes.to_owned());
        // The process may end before it has read everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ended::of(output)
    }

    /// Starts a `pipe` command that prints lines of JSON and reads what the caller writes.
    #[cfg(feature = "model")]
    pub fn converse(&self, arguments: &[&str]) -> (std::process::ChildStdin, Running) {
        let (stdin, mut child) = self.fed(arguments);
        let lines = BufReader::new(child.stdout.take().unwrap());
        (stdin, Running { child, lines, seen: Vec::new() })
    }

    fn fed(&self, arguments: &[&str]) -> (std::process::ChildStdin, Child) {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        (child.stdin.take().unwrap(), child)
    }

    /// Like [`Project::pipe`], with standard output going to an existing file.
    #[track_caller]
    pub fn pipe_into(&self, file: &str, arguments: &[&str]) -> Ended {
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        Ended::of(self.command(arguments).stdout(file).output().unwrap())
    }

    /// Like [`Project::pipe`], by a user to whom the permissions of files apply, as they do not to
    /// `root`.
    #[track_caller]
    pub fn pipe_as_anybody(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        // SAFETY: a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Others than `root` have no capability to drop.
                for one in 0..64_u64 {
                    let _ = libc::prctl(libc::PR_CAPBSET_DROP, one, 0, 0, 0);
                }
                Ok(())
            });
        }
        Ended::of(command.output().unwrap())
    }

    /// Like [`Project::pipe`], with limited address space.
    #[cfg(feature = "model")]
    #[track_caller]
    pub fn pipe_limited(&self, kibibytes: u64, arguments: &[&str]) -> Ended {
        let script = format!("ulimit -v {kibibytes} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_pipe")]).args(arguments);
        command.current_dir(self.folder.path()).env_remove("PIPE_CACHE").stdin(Stdio::null());
        Ended::of(command.output().unwrap())
    }

    /// Like [`Project::pipe`], in a session with a terminal, in whose foreground `pipe` is.
    #[track_caller]
    pub fn pipe_on_terminal(&self, arguments: &[&str]) -> Ended {
        let (_ours, terminal) = open_terminal();
        Ended::of(self.in_foreground(arguments, &terminal).output().unwrap())
    }

    /// Like [`Project::pipe_on_terminal`], for somebody who types a key whenever `prompt` appears. Returns
    /// what the terminal shows.
    #[track_caller]
    pub fn pipe_typed(
        &self,
        arguments: &[&str],
        prompt: &str,
        keys: &[u8],
    ) -> (Option<i32>, String) {
        let (ours, terminal) = open_terminal();
        let mut ours = File::from(ours);
        let mut command = self.in_foreground(arguments, &terminal);
        let copy = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let mut child = command.spawn().unwrap();
        // Ours is closed when nobody has the other end.
        drop((command, terminal));
        let (mut shown, mut keys, mut piece) = (Vec::new(), keys.iter(), [0; 4096]);
        let mut prompts = 0;
        while let Ok(count) = ours.read(&mut piece)
            && count > 0
        {
            shown.extend_from_slice(&piece[..count]);
            let now = String::from_utf8_lossy(&shown).matches(prompt).count();
            for key in keys.by_ref().take(now - prompts) {
                ours.write_all(&[*key]).unwrap();
            }
            prompts = now;
        }
        (child.wait().unwrap().code(), String::from_utf8_lossy(&shown).into_owned())
    }

    /// A command with this terminal as that of its session.
    fn in_foreground(&self, arguments: &[&str], terminal: &OwnedFd) -> Command {
        let mut command = self.command(arguments);
        let number = terminal.as_raw_fd();
        // SAFETY: plain system calls between `fork` and `exec`.
        unsafe {
            command.pre_exec(move || {
                let done = libc::setsid() >= 0 && libc::ioctl(number, libc::TIOCSCTTY, 0) == 0;
                if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        command
    }

    /// `pipe run --json` with these further arguments.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.pipe(&[&["run", "--json"], arguments].concat())
    }

    /// Runs, and checks the outcome of each stage by name: `"copy=hit count=ran"`.
    #[track_caller]
    pub fn expect_run(&self, arguments: &[&str], outcomes: &str) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.outcomes(), outcomes, "{}", ended.stderr);
        ended
    }

    /// Starts `pipe run --json`.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    #[track_caller]
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        self.spawn(&[&["run", "--json"], arguments].concat(), environment)
    }

    /// Starts any `pipe` command that prints lines of JSON.
    #[track_caller]
    pub fn start_any(&self, arguments: &[&str]) -> Running {
        self.spawn(arguments, &[])
    }

    #[track_caller]
    fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines, seen: Vec::new() }
    }

    /// Starts a `pipe` command with pipes for its outputs.
    #[cfg(feature = "serve")]
    #[track_caller]
    pub fn child(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Creates a named pipe in the project's folder. Opening it waits for the other end.
    #[track_caller]
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        path
    }

    /// All files of the store below `folder`, sorted.
    pub fn stored(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("cache").join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    /// Every file of the store with its bytes, except the files that any command may rewrite.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.stored("").into_iter();
        let files = files.filter(|path| !path.ends_with("index") && !path.ends_with("in-use"));
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// The files and folders directly in a folder of the store.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("cache").join(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.stdout.lines().map(line).collect()
    }

    /// The first event of this name about this stage.
    #[track_caller]
    pub fn about(&self, event: &str, stage: &str) -> Value {
        let events = self.events();
        let found = events.iter().find(|line| line["event"] == event && line["stage"] == stage);
        found.unwrap_or_else(|| panic!("no {event} of {stage} in\n{}", self.stdout)).clone()
    }

    #[track_caller]
    pub fn summary(&self) -> Value {
        let mut events = self.events();
        let last = events.pop().unwrap_or_else(|| panic!("no event; {}", self.stderr));
        assert_eq!(last["event"], "run_finished", "{}", self.stderr);
        last
    }

    #[track_caller]
    pub fn outcomes(&self) -> String {
        outcomes(&self.events())
    }

    #[track_caller]
    pub fn digests(&self) -> BTreeMap<String, Value> {
        let events = self.events().into_iter();
        let finished = events.filter(|line| line["event"] == "stage_finished");
        let name = |line: &Value| line["stage"].as_str().unwrap().to_owned();
        finished.map(|line| (name(&line), line["outputs"].clone())).collect()
    }

    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// Our end of a new terminal, and the end of the processes on it.
#[track_caller]
fn open_terminal() -> (OwnedFd, OwnedFd) {
    let (mut terminal, mut ours) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: the two numbers are there to be written to, and the other pointers may be null.
    let opened = unsafe { libc::openpty(&mut ours, &mut terminal, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0);
    for end in [ours, terminal] {
        // SAFETY: a plain system call. Other tests start processes, which must not have them.
        unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: the descriptors are new and belong to nobody else.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(terminal)) }
}

fn outcomes(events: &[Value]) -> String {
    let finished = events.iter().filter(|line| line["event"] == "stage_finished");
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or("?").to_owned();
    let mut all: Vec<String> =
        finished.map(|line| format!("{}={}", text(line, "stage"), text(line, "outcome"))).collect();
    all.sort();
    all.join(" ")
}

impl Running {
    /// Reads up to an event of this name; false if the process ends before.
    #[track_caller]
    pub fn read_until(&mut self, event: &str) -> bool {
        while self.read_line() {
            if self.seen.last().is_some_and(|line| line["event"] == event) {
                return true;
            }
        }
        false
    }

    /// Reads one line; false at the end.
    #[track_caller]
    pub fn read_line(&mut self) -> bool {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap() == 0 {
            return false;
        }
        self.seen.push(serde_json::from_str(&line).unwrap());
        true
    }

    /// Reads one line of standard error.
    #[track_caller]
    pub fn read_message(&mut self) -> String {
        let messages = self.child.stderr.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while messages.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    #[cfg(feature = "model")]
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    pub fn end(mut self) -> Ended {
        while self.read_line() {}
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        let lines = self.seen.iter().map(|line| format!("{line}\n"));
        Ended { code: status.code(), signal: status.signal(), stdout: lines.collect(), stderr }
    }
}

/// Waits until a process writes to a named pipe, and returns everything it writes.
#[track_caller]
pub fn read_fifo(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Waits until a process reads a named pipe, and lets it continue.
#[track_caller]
pub fn open_gate(path: &Path) {
    fs::write(path, "go\n").unwrap();
}

/// The reading end of a named pipe. It shows when the last process that has the pipe open is gone.
pub struct Watch(File);

impl Watch {
    /// Opens the pipe without waiting for a writer.
    #[track_caller]
    pub fn new(path: &Path) -> Watch {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        Watch(File::options().read(true).custom_flags(nonblocking).open(path).unwrap())
    }

    /// Whether all processes that opened the pipe for writing are gone by now.
    #[track_caller]
    pub fn are_gone(mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    /// Waits until all processes that opened the pipe for writing are gone. At least one must have
    /// opened it.
    #[track_caller]
    pub fn wait(mut self) {
        rustix::fs::fcntl_setfl(&self.0, rustix::fs::OFlags::empty()).unwrap();
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    }
}
