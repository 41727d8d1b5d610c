//! `pipe explain` as text: the decision about a stage, every difference in full, and the fields of
//! its key.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::console::plan_view::stage_json;
use crate::console::style::paint;
use crate::console::view::{Page, View};
use crate::pipeline::{Stage, input_and_entry};
use crate::plan::folder_change::FolderChange;
use crate::plan::reason::{Change, Reason, origin};
use crate::plan::sentence::sentence;
use crate::plan::{Decision, Frozen, PlannedStage};
use crate::run::continuation;
use crate::store::Store;
use crate::store::record::Record;
use crate::text::figures::{age, bytes, figures, grouped, seconds};
use crate::text::terminal::printable;
use crate::text::values::value_text;

/// Why a stage would run.
pub struct ExplanationView<'a> {
    pub planned: &'a PlannedStage,
    pub stage: &'a Stage,
    pub store: &'a Store,
}

impl View for ExplanationView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.planned, self.stage, self.store, page)
    }

    fn json(&self) -> String {
        stage_json(self.planned, self.stage)
    }
}

/// The number of entries of a set to show, at most.
const ENTRIES: usize = 8;

fn text(planned: &PlannedStage, stage: &Stage, store: &Store, page: &Page) -> String {
    let name = paint(page.palette.name, &stage.name);
    let mut text = String::new();
    match &planned.decision {
        Decision::Hit(record) => {
            let _ = match &planned.frozen {
                Some(frozen) => {
                    let differs = frozen.differs.as_ref();
                    let though = differs.map(|reason| format!(", though {}", headline(reason)));
                    writeln!(text, "{name} is frozen{}", though.unwrap_or_default())
                }
                None => writeln!(text, "{name} is up to date"),
            };
            if let Some(Frozen { differs: Some(reason) }) = &planned.frozen {
                describe_reason(&mut text, reason, store);
            }
            describe_record(&mut text, record);
        }
        Decision::Run { reason, .. } => {
            let _ = writeln!(text, "{name} will run: {}", headline(reason));
            describe_reason(&mut text, reason, store);
            if let Some(outlook) = continuation::outlook(stage, reason, store) {
                let _ = writeln!(text, "  {}", printable(&outlook));
            }
        }
        Decision::Wait(wait) => {
            let _ = writeln!(
                text,
                "{name} {}",
                match &wait.certain {
                    Some(_) => format!("will run {}", sentence(&planned.decision)),
                    None => sentence(&planned.decision),
                }
            );
            if let Some(reason) = &wait.certain {
                describe_reason(&mut text, reason, store);
            } else {
                text.push_str("  if they produce the same bytes as before, it will not run\n");
            }
        }
    }
    text.push_str("\nfields of its key\n");
    describe_stage(&mut text, stage, if page.verbose { usize::MAX } else { ENTRIES });
    text
}

fn headline(reason: &Reason) -> String {
    match reason {
        Reason::Changed { changes, .. } if changes.len() > 1 => {
            format!("{} things changed", changes.len())
        }
        other => other.to_string(),
    }
}

fn describe_reason(text: &mut String, reason: &Reason, store: &Store) {
    let Reason::Changed { changes, since, key } = reason else { return };
    let when = age(since);
    let took = store.record(*key).map(|record| format!(", took {}", seconds(record.seconds)));
    let took = took.unwrap_or_default();
    let _ = writeln!(text, "  compared with its run of {when} ago{took} (key {})", key.short());
    for change in changes {
        describe_change(text, change);
    }
}

/// Writes one difference in full, indented.
pub(super) fn describe_change(text: &mut String, change: &Change) {
    match change {
        Change::Command { from, to } => {
            text.push_str("  command\n");
            lines(text, "-", from);
            lines(text, "+", to);
        }
        Change::Input { name, files: Some(files), origin, .. } => {
            let origin = origin.as_ref().map(|origin| format!(" ({})", printable(origin)));
            let _ = writeln!(text, "  input `{name}` changed{}", origin.unwrap_or_default());
            describe_files(text, files);
        }
        Change::Input { from: Some(from), to: Some(to), .. } if from.digest != to.digest => {
            let (from, to) = (from.digest.short(), to.digest.short());
            let _ = writeln!(text, "  {change}: {from} → {to}");
        }
        other => {
            let _ = writeln!(text, "  {other}");
        }
    }
}

fn describe_files(text: &mut String, files: &FolderChange) {
    const SHOWN: usize = 12;
    let of = |sign, list: &[String]| -> Vec<String> {
        list.iter().map(|path| format!("    {sign} {}", printable(path))).collect()
    };
    let all = [of("~", &files.changed), of("+", &files.added), of("-", &files.removed)].concat();
    for line in all.iter().take(SHOWN) {
        let _ = writeln!(text, "{line}");
    }
    let rest = all.len().saturating_sub(SHOWN) + files.more;
    if rest > 0 {
        let _ = writeln!(text, "    … {} more", grouped(rest as u64));
    }
}

fn lines(text: &mut String, sign: &str, command: &str) {
    for line in command.lines() {
        let _ = writeln!(text, "    {sign} {}", printable(line));
    }
}

fn describe_record(text: &mut String, record: &Record) {
    let _ = writeln!(
        text,
        "  ran {} ago in {} on {} (key {})",
        age(&record.when),
        seconds(record.seconds),
        printable(&record.machine),
        record.key.short()
    );
    for (output, artifact) in &record.outputs {
        let (digest, size) = (artifact.content.digest.short(), bytes(artifact.bytes));
        let _ = writeln!(text, "  output {output}: {digest}, {size}");
    }
    if !record.metrics.is_empty() {
        let _ = writeln!(text, "  {}", figures(&record.metrics, 6));
    }
}

fn describe_stage(text: &mut String, stage: &Stage, entries_shown: usize) {
    match &stage.action {
        crate::pipeline::Action::Builtin { name, version } => {
            let _ = writeln!(text, "  built-in {name}, version {version}");
        }
        crate::pipeline::Action::Command { text: command } => {
            text.push_str("  command\n");
            lines(text, "$", command);
        }
    }
    let mut entries: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, input) in &stage.inputs {
        let (name, _) = input_and_entry(key);
        let count = entries.entry(name).or_default();
        *count += 1;
        if *count <= entries_shown {
            let _ = writeln!(text, "  input {key}: bytes of {}", printable(&origin(input)));
        }
    }
    for (name, count) in entries.into_iter().filter(|(_, count)| *count > entries_shown) {
        let more = count - entries_shown;
        let _ = writeln!(text, "  input {name}: {more} more entries (`-v` shows them)");
    }
    for (name, value) in &stage.params {
        let _ = writeln!(text, "  parameter {name}: {}", printable(&value_text(value)));
    }
    let outputs: Vec<&str> = stage.outputs.iter().map(|output| output.name.as_str()).collect();
    let _ = writeln!(text, "  outputs: {}", outputs.join(", "));
    for name in &stage.env {
        let _ = writeln!(text, "  environment: ${name}");
    }
    if let Some(salt) = &stage.salt {
        let _ = writeln!(text, "  salt: {}", printable(salt));
    }
}
