//! Everything about a process that its supervisor has to know to start it, as bytes that travel from
//! the engine to the guard.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::executor::task::Task;

/// The file descriptors of a process's standard streams.
pub struct Streams<'a> {
    pub input: BorrowedFd<'a>,
    pub output: BorrowedFd<'a>,
    pub error: BorrowedFd<'a>,
}

/// A process to start.
#[derive(Debug, PartialEq, Eq)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// `NAME` and value of all its variables.
    pub environment: Vec<(OsString, OsString)>,
    pub folder: PathBuf,
    /// If the engine dies, the process gets SIGTERM, and time to end.
    pub ends_by_term: bool,
}

impl Launch {
    /// The environment is the engine's own, overridden by the task's.
    pub fn of(task: &Task) -> io::Result<Launch> {
        let given =
            |name: &OsString| task.environment.iter().any(|(given, _)| given.as_str() == name);
        let own = std::env::vars_os().filter(|(name, _)| !given(name));
        let added = task.environment.iter().map(|(name, value)| (name.into(), value.clone()));
        Ok(Launch {
            program: task.program.clone(),
            arguments: task.arguments.clone(),
            environment: own.chain(added).collect(),
            folder: std::path::absolute(&task.working_folder)?,
            ends_by_term: task.ends_by_term,
        })
    }

    /// Each part, and a zero byte after it, which none of them may contain.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut add = |part: &OsStr| match part.as_bytes().contains(&0) {
            true => Err(io::Error::new(io::ErrorKind::InvalidInput, "it contains a zero byte")),
            false => {
                bytes.extend_from_slice(part.as_bytes());
                bytes.push(0);
                Ok(())
            }
        };
        add(OsStr::new(if self.ends_by_term { "term" } else { "kill" }))?;
        add(self.folder.as_os_str())?;
        add(self.program.as_os_str())?;
        add(OsStr::new(&self.arguments.len().to_string()))?;
        self.arguments.iter().try_for_each(|argument| add(argument))?;
        for (name, value) in &self.environment {
            add(name)?;
            add(value)?;
        }
        Ok(bytes)
    }

    /// Reads what [`Launch::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Launch> {
        let mut parts = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let mut next = || parts.next().map(|part| OsString::from_vec(part.to_vec()));
        let ends_by_term = next()? == "term";
        let (folder, program) = (next()?.into(), next()?.into());
        let count: usize = next()?.to_str()?.parse().ok()?;
        let arguments: Option<Vec<OsString>> = (0..count).map(|_| next()).collect();
        let mut environment = Vec::new();
        while let Some(name) = next() {
            environment.push((name, next()?));
        }
        Some(Launch { program, arguments: arguments?, environment, folder, ends_by_term })
    }
}

#[cfg(test)]
mod tests {
    use super::Launch;

    #[test]
    fn what_travels_arrives_as_it_was() {
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "".into(), "echo ü\n".into()],
            environment: vec![("A".into(), "".into()), ("B".into(), "x=y".into())],
            folder: "/tmp".into(),
            ends_by_term: true,
        };
        assert_eq!(Launch::from_bytes(&launch.to_bytes().unwrap()), Some(launch));
        let bare = Launch {
            program: "x".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: "/".into(),
            ends_by_term: false,
        };
        assert_eq!(Launch::from_bytes(&bare.to_bytes().unwrap()), Some(bare));
        assert_eq!(Launch::from_bytes(b""), None);
    }
}
