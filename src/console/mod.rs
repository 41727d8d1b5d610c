//! Everything that is printed: data on standard output, messages on standard error. Each `_view`
//! file knows how to show one kind of data, and commands hand these views to [`Console::print`]. A
//! reader that has closed its end (`pipe status | head -1`) is not an error.

#[cfg(feature = "model")]
pub mod classified_view;
pub mod doctor_view;
pub mod explanation;
mod families;
pub mod gate_view;
mod live;
pub mod log_view;
pub mod plan_view;
pub mod race_view;
pub mod remote_view;
pub mod review_view;
pub mod run_view;
pub mod stages_page;
pub mod store_view;
mod style;
pub mod submit_view;
mod summary;
pub mod sweep_view;
mod talk;
pub mod verify_view;
pub mod view;
pub mod why_row_view;

use std::io::{self, IsTerminal, Write};

pub use live::Progress;
pub use run_view::RunView;
pub use style::When;
use style::{Palette, paint};
use talk::{is_heard, say, talk};
use view::{Page, View};

use crate::text::terminal::{safe, safe_json};

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// For standard output.
    out: Palette,
    /// For standard error.
    err: Palette,
    quiet: bool,
    verbose: bool,
}

impl Console {
    pub fn new(color: When, quiet: bool, verbose: bool) -> Console {
        let out = Palette::of(&io::stdout(), color);
        let err = Palette::of(&io::stderr(), color);
        Console { out, err, quiet, verbose }
    }

    /// Prints text for people on standard output.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.bytes(safe(text, self.out.is_colored()).as_bytes())
    }

    /// Prints JSON on standard output.
    pub fn json(&self, text: &str) -> io::Result<()> {
        self.bytes(safe_json(text).as_bytes())
    }

    /// Prints bytes on standard output, unchanged.
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        say(bytes).map(drop)
    }

    /// Copies a stream of any length to standard output.
    pub fn stream(&self, from: &mut impl io::Read) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let copied = io::copy(from, &mut out).map(drop);
        is_heard(copied.and_then(|()| out.flush())).map(drop)
    }

    /// Prints the help or the version that the command line asks for.
    pub fn help(&self, asked: &clap::Error) -> io::Result<()> {
        is_heard(asked.print().and_then(|()| io::stdout().flush())).map(drop)
    }

    /// Prints an error and what to do about it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.talk(&format!("{} {message}", paint(self.err.bad, "error:")));
        if let Some(hint) = hint {
            self.talk(&format!("{} {hint}", paint(self.err.dim, "hint:")));
        }
    }

    /// Prints a message that marks its own parts, such as the problems of a pipeline file.
    pub fn problems(&self, text: &str) {
        self.talk(text);
    }

    /// Prints a view on standard output, as text or as JSON.
    pub fn print(&self, view: &impl View, json: bool) -> io::Result<()> {
        self.print_part(view, json).map(drop)
    }

    /// Prints a part of a longer output; `false` if nobody reads it, so that the rest is not worth
    /// any work.
    pub fn print_part(&self, view: &impl View, json: bool) -> io::Result<bool> {
        let page = Page { palette: self.out, verbose: self.verbose };
        match json {
            true => say(safe_json(&view.json()).as_bytes()),
            false => say(safe(&view.text(&page), self.out.is_colored()).as_bytes()),
        }
    }

    /// Suggests what to do next.
    pub fn hint(&self, message: &str) {
        self.note(&format!("{} {message}", paint(self.err.dim, "hint:")));
    }

    /// Prints a warning.
    pub fn warning(&self, message: &str) {
        self.talk(&format!("{} {message}", paint(self.err.warning, "warning:")));
    }

    /// Prints a message, unless `--quiet` was given.
    pub fn note(&self, message: &str) {
        if !self.quiet {
            self.talk(message);
        }
    }

    /// Prints a line of a log that was asked for.
    pub fn logged(&self, line: &str) {
        self.talk(line);
    }

    fn talk(&self, line: &str) {
        talk(line, self.err.is_colored());
    }

    /// A progress bar for a network transfer of so many bytes, as far as known; on a terminal only.
    pub fn transfer(&self, what: &'static str, bytes: u64) -> Progress {
        let shown = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        Progress::new(what, shown.then_some(bytes))
    }

    /// A progress bar for work on so many bytes, if it takes a while; on a terminal only.
    pub fn progress(&self, what: &'static str, bytes: u64) -> Progress {
        const WORTH_A_BAR: u64 = 1 << 28;
        let shown = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        Progress::new(what, (shown && bytes >= WORTH_A_BAR).then_some(bytes))
    }

    /// A view that follows a run.
    pub fn run_view(&self, json: bool) -> RunView {
        let live = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        RunView::new(self.err, self.quiet, self.verbose, live, json)
    }
}
