//! Prints lines on standard error.

use std::io::{self, Write};

/// Prints a line on standard error. If that is closed, there is no way to report it.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
