//! Writes to the two streams: data to standard output, talk to standard error.

use std::io::{self, Write};

use crate::text::terminal::safe;

/// Prints bytes on standard output at once. `false` if its reader has closed its end, which is no
/// error.
pub fn say(bytes: &[u8]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    is_heard(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Whether what was written has a reader.
pub fn is_heard(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints a line on standard error, with the styles of this program if it has `styles`; see
/// [`safe`]. A failure to do so is ignored: there is nowhere to report it.
pub fn talk(line: &str, styles: bool) {
    let _ = writeln!(io::stderr().lock(), "{}", safe(line, styles));
}
