//! The results of `cache gc`, `cache du` and `cache verify`.

use std::fmt::Write;

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line};
use crate::files::digest::kind_name;
use crate::maintenance::check::{Checked, Finding};
use crate::maintenance::gc::Totals;
use crate::maintenance::gc::usage::Usage;
use crate::plan::reason::shown_path;
use crate::store::obstacles::Obstacle;
use crate::text::figures::{bytes, count};
use crate::text::terminal::{printable, table};

/// What `cache gc` removed, or would remove.
pub struct CollectionView<'a> {
    pub totals: &'a Totals,
    pub dry_run: bool,
}

impl View for CollectionView<'_> {
    fn text(&self, _: &Page) -> String {
        collection(self.totals, self.dry_run)
    }

    fn json(&self) -> String {
        json_line(self.totals)
    }
}

/// The disk usage of the store.
pub struct UsageView<'a> {
    pub usage: &'a Usage,
}

impl View for UsageView<'_> {
    fn text(&self, _: &Page) -> String {
        usage(self.usage)
    }

    fn json(&self) -> String {
        json_line(self.usage)
    }
}

/// What `cache verify` found.
pub struct CheckedView<'a> {
    pub checked: &'a Checked,
    pub repaired: bool,
}

impl View for CheckedView<'_> {
    fn text(&self, page: &Page) -> String {
        checked(self.checked, self.repaired, &page.palette)
    }

    fn json(&self) -> String {
        json_line(self.checked)
    }
}

fn collection(report: &Totals, dry_run: bool) -> String {
    let mut text = String::new();
    if report.removed_results > 0 {
        let (verb, stay) =
            if dry_run { ("would remove", "would stay") } else { ("removed", "stays") };
        let mut rows = vec![["stage", verb, "", stay, ""].map(str::to_owned).to_vec()];
        for (stage, share) in &report.stages {
            rows.push(vec![
                printable(stage),
                right(&count(share.removed_results, "result"), 12),
                right(&bytes(share.removed_bytes), 8),
                right(&count(share.kept_results, "result"), 12),
                right(&bytes(share.kept_bytes), 8),
            ]);
        }
        text.push_str(&table(rows));
    }
    if report.unnamed_bytes > 0 {
        let unnamed = bytes(report.unnamed_bytes);
        let _ = writeln!(text, "{unnamed} in objects that no record refers to");
    }
    if report.leftovers > 0 {
        let (files, size) = (report.leftovers, bytes(report.leftover_bytes));
        let _ = writeln!(
            text,
            "{size} in {} (logs, checkpoints and markers of removed results)",
            count(files, "leftover")
        );
    }
    let freed = report.removed_bytes + report.leftover_bytes;
    let stays = format!(
        "{} in {} {}",
        bytes(report.kept_bytes),
        count(report.kept_results, "result"),
        if dry_run { "would stay" } else { "stay" }
    );
    let _ = match (freed, report.leftovers + report.removed_results + report.removed_objects) {
        (_, 0) => writeln!(text, "nothing to remove; {stays}"),
        _ if dry_run => writeln!(text, "would free {}; {stays}", bytes(freed)),
        _ => writeln!(text, "freed {}; {stays}", bytes(freed)),
    };
    if report.over_bytes > 0 {
        let over = bytes(report.over_bytes);
        let _ =
            writeln!(text, "the results of the current pipeline alone exceed that size by {over}");
    }
    if report.quarantine_bytes > 0 {
        let size = bytes(report.quarantine_bytes);
        let _ = writeln!(text, "{size} are in quarantine (`--quarantine` removes them)");
    }
    text
}

fn usage(usage: &Usage) -> String {
    let mut rows = Vec::new();
    if !usage.outputs.is_empty() {
        let titles = ["artifact", " results", "   bytes", "  shared", "gc frees"];
        rows.push(titles.map(str::to_owned).to_vec());
    }
    for output in &usage.outputs {
        rows.push(vec![
            printable(&format!("{}:{}", output.stage, output.output)),
            right(&output.results.to_string(), 8),
            right(&bytes(output.bytes), 8),
            right(&bytes(output.shared_bytes), 8),
            right(&bytes(output.gc_frees_bytes), 8),
        ]);
    }
    let mut text = table(rows);
    let _ = writeln!(
        text,
        "{} in {} of {}; `pipe cache gc` would free {}",
        bytes(usage.object_bytes),
        count(usage.objects, "object"),
        count(usage.results, "result"),
        bytes(usage.gc_frees_bytes)
    );
    let besides: Vec<String> =
        usage.besides.iter().map(|(folder, size)| format!("{folder} {}", bytes(*size))).collect();
    if !besides.is_empty() {
        let _ = writeln!(text, "besides: {}", besides.join(", "));
    }
    text
}

fn checked(checked: &Checked, repaired: bool, palette: &Palette) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        let line = match finding {
            Finding::DamagedObject { content, problem } => {
                format!(
                    "object {} ({}): {problem}",
                    content.digest.short(),
                    kind_name(content.kind)
                )
            }
            Finding::DamagedRecord { file } => {
                let name = file.file_stem().unwrap_or_default().display().to_string();
                format!("record {}: damaged", &name[..name.len().min(10)])
            }
            Finding::DanglingRecord { stage, output, content, .. } => format!(
                "a result of {stage}: its output `{output}` ({}) is damaged or gone",
                content.digest.short()
            ),
            Finding::DamagedRun { id, .. } => format!("the log of run {id}: damaged"),
            Finding::Obstacle(Obstacle { path, problem }) => {
                format!("{}: {problem}", shown_path(path))
            }
        };
        let _ = writeln!(text, "{} {}", paint(palette.bad, "✗"), printable(&line));
    }
    let read = format!(
        "{}, {} and {}, {}",
        count(checked.objects, "object"),
        count(checked.records, "record"),
        count(checked.runs, "run"),
        bytes(checked.bytes)
    );
    let found = checked.findings.len();
    let _ = match found {
        0 => writeln!(text, "no damage: {read}"),
        _ if repaired => {
            writeln!(
                text,
                "repaired {}: the affected stages will run again",
                count(found, "finding")
            )
        }
        _ => writeln!(text, "{} in {read}", count(found, "finding")),
    };
    text
}

/// A hint on what to do next.
pub fn after(checked: &Checked, repaired: bool, quarantine: &std::path::Path) -> Option<String> {
    let is_moved =
        |finding: &Finding| matches!(finding, Finding::DamagedObject { .. } | Finding::Obstacle(_));
    let objects = checked.findings.iter().any(is_moved);
    match (checked.findings.is_empty(), repaired) {
        (true, _) => None,
        (false, false) => {
            Some("`pipe cache verify --repair` makes their stages run again".to_owned())
        }
        (false, true) => {
            objects.then(|| format!("damaged objects are in {}", shown_path(quarantine)))
        }
    }
}

fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}
