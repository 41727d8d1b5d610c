//! `pipe review`: shows the examples that `audit` found one by one, and writes what a person decides. On a
//! terminal a decision is one key; otherwise it is the first letter of a line of standard input.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use stages::data::issue::{Decision, Issue};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::linked::LinkedArtifact;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::review_view::IssueView;
use crate::pipeline::{Input, Pipeline};
use crate::results::review::{Review, Tally};
use crate::text::figures::count;

#[derive(Debug, Args)]
pub struct ReviewOptions {
    /// The stage that audits. Default: the only one that uses `audit`
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// The file of the decisions. Default: the one that the stage `clean` reads, or else
    /// `decisions.jsonl` beside the pipeline
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Show the examples that are decided, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print the examples to decide on as JSON lines, and ask for nothing
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &ReviewOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load_for_results(globals, &options.overrides.overrides())?;
    let stage = audit_stage(&project.pipeline, options.stage.as_deref())?;
    let name = format!("{stage}:issues");
    let (record, output) = project.find(&name, console)?;
    let (_, artifact) = record.output(output, &name)?;
    let issues = LinkedArtifact::new(artifact.content, "issues.jsonl", &project.store)?;
    let decisions = match &options.decisions {
        Some(file) => file.clone(),
        None => decisions_file(&project.pipeline, &stage),
    };
    let mut review = Review::open(issues.path(), &decisions)?;
    let open = |issue: &Issue| options.all || issue.decision.is_none();
    let places: Vec<usize> =
        (0..review.issues.len()).filter(|it| open(&review.issues[*it])).collect();
    if options.json {
        for (number, place) in places.iter().enumerate() {
            console.print(&view(&review, *place, number, places.len()), true)?;
        }
        return Ok(Exit::Done);
    }
    let before = review.tally();
    ask(&mut review, &places, console)?;
    tell(console, before, review.tally(), &decisions);
    Ok(Exit::Done)
}

fn view(review: &Review, place: usize, number: usize, of: usize) -> IssueView<'_> {
    IssueView { issue: &review.issues[place], number: number + 1, of, labels: &review.labels }
}

/// Shows one issue after the other until all are decided, or the person quits.
fn ask(review: &mut Review, places: &[usize], console: &Console) -> Result<(), Error> {
    let mut keys = Keys::open();
    let mut at = 0;
    while let Some(&place) = places.get(at) {
        console.print(&view(review, place, at, places.len()), false)?;
        let Some(key) = keys.next()? else { return Ok(()) };
        match answer(key, &review.issues[place], &review.labels) {
            Ok(Answer::Quit) => return Ok(()),
            Ok(Answer::Skip) => at += 1,
            Ok(Answer::Back) => at = at.saturating_sub(1),
            Ok(Answer::Decide(decision, to)) => {
                review.decide(place, Some(decision), to)?;
                at += 1;
            }
            // The example is shown again, because its keys may have scrolled away.
            Err(problem) => console.note(&problem),
        }
    }
    Ok(())
}

/// What a key means.
enum Answer {
    Decide(Decision, Option<String>),
    Skip,
    Back,
    Quit,
}

fn answer(key: char, issue: &Issue, labels: &[String]) -> Result<Answer, String> {
    let relabel = |label: &String| match issue.label.as_ref() == Some(label) {
        true => Ok(Answer::Decide(Decision::Keep, None)),
        false => Ok(Answer::Decide(Decision::Relabel, Some(label.clone()))),
    };
    match key.to_ascii_lowercase() {
        'k' => Ok(Answer::Decide(Decision::Keep, None)),
        'd' => Ok(Answer::Decide(Decision::Drop, None)),
        'r' => match &issue.suggested {
            Some(label) => relabel(label),
            None => Err("no label is suggested for this example".to_owned()),
        },
        's' | ' ' => Ok(Answer::Skip),
        'b' => Ok(Answer::Back),
        'q' | '\u{1b}' | '\u{4}' => Ok(Answer::Quit),
        digit @ '1'..='9' => {
            let place = digit as usize - '1' as usize;
            labels.get(place).ok_or_else(|| format!("there is no label {digit}")).and_then(relabel)
        }
        other => Err(format!("`{}` means nothing here", other.escape_debug())),
    }
}

/// Keys of a terminal, or the first letters of lines.
enum Keys {
    Terminal(::console::Term),
    Lines(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Keys {
    fn open() -> Keys {
        let terminal = ::console::Term::stderr();
        match std::io::stdin().is_terminal() && terminal.is_term() {
            true => Keys::Terminal(terminal),
            false => Keys::Lines(std::io::stdin().lock().lines()),
        }
    }

    /// The next key; `None` at the end of the input.
    fn next(&mut self) -> Result<Option<char>, Error> {
        match self {
            Keys::Terminal(terminal) => match terminal.read_key() {
                Ok(::console::Key::Char(key)) => Ok(Some(key)),
                Ok(::console::Key::Escape) => Ok(Some('q')),
                Ok(::console::Key::Backspace | ::console::Key::ArrowLeft) => Ok(Some('b')),
                Ok(::console::Key::ArrowRight) => Ok(Some('s')),
                Ok(_) => Ok(Some('?')),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(None),
                Err(error) => Err(Error::Input(error)),
            },
            Keys::Lines(lines) => loop {
                match lines.next() {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(Error::Input(error)),
                    Some(Ok(line)) => {
                        if let Some(key) = line.trim().chars().next() {
                            return Ok(Some(key));
                        }
                    }
                }
            },
        }
    }
}

fn tell(console: &Console, before: Tally, after: Tally, file: &std::path::Path) {
    let Tally { keep, drop, relabel, open } = after;
    console.note(&format!(
        "{} decided: {keep} to keep, {drop} to drop, {relabel} to relabel; {open} open",
        count(keep + drop + relabel, "example")
    ));
    if before != after {
        console.note(&format!("wrote {}; `pipe run` carries it out", file.display()));
    }
}

/// The stage that audits: the named one, or the only one.
fn audit_stage(pipeline: &Pipeline, named: Option<&str>) -> Result<String, Error> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let auditing = pipeline.stages.iter().filter(|stage| stage.action.builtin() == Some("audit"));
    let found: Vec<&str> = auditing.map(|stage| stage.name.as_str()).collect();
    match found[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Error::NoAudit),
        [first, ..] => {
            let (count, first) = (found.len(), first.to_owned());
            Err(Error::ManyVariants { name: "audit".to_owned(), count, first })
        }
    }
}

/// The file that `clean` reads the decisions from. With several such stages, the one that reads what the
/// audit read.
fn decisions_file(pipeline: &Pipeline, audit: &str) -> PathBuf {
    let audited = pipeline.stage(audit).and_then(|stage| stage.inputs.get("examples"));
    let cleaning = pipeline.stages.iter().filter(|stage| stage.action.builtin() == Some("clean"));
    let of = |stage: &crate::pipeline::Stage| match stage.inputs.get("decisions") {
        Some(Input::Path(path)) => Some(path.clone()),
        _ => None,
    };
    let mut found: Vec<_> = cleaning.filter_map(|stage| Some((stage, of(stage)?))).collect();
    found.sort_by_key(|(stage, _)| stage.inputs.get("examples") != audited);
    let found = found.into_iter().next().map(|(_, path)| path);
    found.unwrap_or_else(|| pipeline.root.join("decisions.jsonl"))
}
