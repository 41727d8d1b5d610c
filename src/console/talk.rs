//! Lines on standard error.

use std::io::{self, Write};

/// A line to standard error. If nobody can be told, there is nobody to tell that.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
