//! The log of requests. A thread of its own prints it, so that a terminal or a pipe that is not read
//! holds no request up: lines are dropped then.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::threads;

/// How many lines may wait to be printed.
const LINES: usize = 1024;

/// How long the last lines may take, when the service ends.
const LAST: Duration = Duration::from_secs(1);

/// What is logged of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Nothing,
    /// Its method, route, status and time, but nothing of its texts.
    Requests,
    /// The texts as well.
    Texts,
}

/// Where lines are logged.
#[derive(Debug)]
pub struct Log {
    level: LogLevel,
    /// `None` after the last line.
    lines: SyncSender<Option<String>>,
}

/// The thread that prints.
pub struct LogThread {
    /// Nothing is sent on it; it closes when all lines are printed.
    ended: Receiver<()>,
}

impl Log {
    /// Starts the thread.
    pub fn start(level: LogLevel, console: Console) -> Result<(Log, LogThread), FileError> {
        let (lines, to_print) = sync_channel::<Option<String>>(LINES);
        let (end, ended) = channel();
        let print = move || {
            to_print.iter().map_while(|line| line).for_each(|line| console.logged(&line));
            drop(end);
        };
        threads::spawn(Path::new("the log"), print)?;
        Ok((Log { level, lines }, LogThread { ended }))
    }

    /// Logs a line if the level asks for such lines.
    pub fn add(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if level <= self.level {
            // A line that cannot be printed in time is dropped.
            let _ = self.lines.try_send(Some(line()));
        }
    }
}

impl LogThread {
    /// Waits until all lines are printed, but not for long.
    pub fn finish(self, log: &Log) {
        if log.lines.try_send(None).is_ok() {
            let _ = self.ended.recv_timeout(LAST);
        }
    }
}
