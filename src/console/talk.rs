//! Writes to the two streams: data to standard output, talk to standard error.

use std::io::{self, Write};

/// Prints bytes on standard output at once. A reader that has closed its end is no error.
pub fn say(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    ignore_gone_reader(out.write_all(bytes).and_then(|()| out.flush()))
}

pub fn ignore_gone_reader(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a line on standard error. A failure to do so is ignored: there is nowhere to report it.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
