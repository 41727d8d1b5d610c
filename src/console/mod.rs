//! Everything that is printed: data on standard output, talk on standard error. A closed standard
//! output (`pipe status | head -1`) is no error.
//!
//! A command builds a [`View`] of its result and hands it to [`Console::print`].

#[cfg(feature = "model")]
pub mod classified_view;
pub mod doctor_view;
pub mod explanation;
mod families;
mod live;
pub mod log_view;
pub mod plan_view;
pub mod remote_view;
mod run_view;
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
use style::{Palette, TextStyle, paint};
use talk::talk;
use view::View;

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Of standard output.
    out: Palette,
    /// Of standard error.
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

    /// Prints the result of a command as text or, if `as_json`, as JSON.
    pub fn print(&self, view: &impl View, as_json: bool) -> io::Result<()> {
        let style = TextStyle { palette: self.out, verbose: self.verbose };
        self.data(&if as_json { view.json() } else { view.text(&style) })
    }

    /// Prints text that needs no view.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        ignore_closed_output(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// Copies a stream of any length to standard output.
    pub fn stream(&self, from: &mut impl io::Read) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let copied = io::copy(from, &mut out).map(drop);
        ignore_closed_output(copied.and_then(|()| out.flush()))
    }

    /// Prints why the program ends, and what the user can do about it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        talk(&format!("{} {message}", paint(self.err.bad, "error:")));
        if let Some(hint) = hint {
            talk(&format!("{} {hint}", paint(self.err.dim, "hint:")));
        }
    }

    /// Prints an error message that has its own `error:` and `hint:` marks: the problems of a pipeline.
    pub fn problems(&self, text: &str) {
        talk(text);
    }

    pub fn warning(&self, message: &str) {
        talk(&format!("{} {message}", paint(self.err.warning, "warning:")));
    }

    /// Prints what is going on, unless `--quiet`.
    pub fn note(&self, message: &str) {
        if !self.quiet {
            talk(message);
        }
    }

    /// Prints what the user can do next, unless `--quiet`.
    pub fn hint(&self, message: &str) {
        self.note(&format!("{} {message}", paint(self.err.dim, "hint:")));
    }

    /// A progress bar for a transfer; `bytes` is the total known so far. It is shown on terminals only.
    pub fn transfer(&self, what: &'static str, bytes: u64) -> Progress {
        Progress::new(what, self.is_live().then_some(bytes))
    }

    /// A progress bar for reading `bytes` bytes, shown on terminals only and if that takes a while.
    pub fn progress(&self, what: &'static str, bytes: u64) -> Progress {
        const WORTH_A_BAR: u64 = 1 << 28;
        Progress::new(what, (self.is_live() && bytes >= WORTH_A_BAR).then_some(bytes))
    }

    /// A view that shows the events of a run.
    pub fn run_view(&self, json: bool) -> RunView {
        RunView::new(self.err, self.quiet, self.verbose, self.is_live(), json)
    }

    /// Whether standard error shows lines that are redrawn.
    fn is_live(&self) -> bool {
        io::stderr().is_terminal() && !style::is_dumb() && !self.quiet
    }
}

fn ignore_closed_output(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
