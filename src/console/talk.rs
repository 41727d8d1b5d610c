//! Prints lines on standard error.

use std::io::{self, Write};

/// Prints a line on standard error. A failure to do so is ignored: there is nowhere to report it.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
