//! What `audit` reports: `audit.json` for programs, `audit.md` for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::artefacts::{Artefact, percent};
use super::confident::Findings;
use super::duplicates::TwinCounts;
use super::given::JudgedExamples;
use crate::data::issue::{Issue, Problem};

/// `audit.json`.
#[derive(Serialize)]
pub struct AuditReport {
    pub rows: u64,
    pub test_rows: u64,
    /// How many rows of `issues.jsonl` have each problem.
    pub issues: BTreeMap<Problem, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelReport>,
    pub twins: TwinCounts,
    /// Features that tell the label, the worst first.
    pub label_artefacts: Vec<Artefact>,
    /// Features that tell training and test examples apart, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<Artefact>,
}

/// What confident learning says about the labels.
#[derive(Serialize)]
pub struct LabelReport {
    /// The rows with a label and out-of-fold probabilities.
    pub judged: u64,
    /// The share of them whose out-of-fold prediction is the given label.
    pub accuracy: f64,
    pub suspicious: u64,
    /// The estimated share of wrong labels.
    pub noise: f64,
    pub labels: Vec<String>,
    /// The estimated number of rows by given label, then by true label.
    pub joint: Vec<Vec<i64>>,
    pub classes: Vec<ClassNoise>,
}

/// The noise of one class, as cleanlab's `rank_classes_by_label_quality`.
#[derive(Serialize)]
pub struct ClassNoise {
    pub label: String,
    pub rows: u64,
    /// The estimated share of the rows with this label whose true label is another one.
    pub label_noise: f64,
    /// The estimated share of the rows of this class that have another label.
    pub inverse_label_noise: f64,
    pub suspicious: u64,
}

impl LabelReport {
    pub fn of(found: &JudgedExamples, findings: &Findings) -> LabelReport {
        let (judged, joint) = (&found.judged, &findings.joint);
        let rows = judged.given.len();
        let right = (0..rows).filter(|row| {
            judged
                .likeliest_other(*row)
                .is_none_or(|other| judged.row(*row)[other] < judged.self_confidence(*row))
        });
        let share = |part: i64, whole: i64| part as f64 / whole.max(1) as f64;
        let classes = found.names.iter().enumerate().map(|(class, label)| {
            let given: i64 = joint[class].iter().sum();
            let truly: i64 = joint.iter().map(|row| row[class]).sum();
            let suspicious = judged.given.iter().zip(&findings.suspicious);
            ClassNoise {
                label: label.clone(),
                rows: judged.given.iter().filter(|given| **given == class).count() as u64,
                label_noise: share(given - joint[class][class], given),
                inverse_label_noise: share(truly - joint[class][class], truly),
                suspicious: suspicious.filter(|(given, is)| **given == class && **is).count()
                    as u64,
            }
        });
        let all: i64 = joint.iter().flatten().sum();
        let diagonal: i64 = (0..joint.len()).map(|class| joint[class][class]).sum();
        LabelReport {
            judged: rows as u64,
            accuracy: right.count() as f64 / rows.max(1) as f64,
            suspicious: findings.suspicious.iter().filter(|is| **is).count() as u64,
            noise: share(all - diagonal, all),
            labels: found.names.clone(),
            joint: joint.clone(),
            classes: classes.collect(),
        }
    }
}

impl AuditReport {
    /// The metrics of the stage.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let of = |problems: &[Problem]| -> f64 {
            problems.iter().filter_map(|it| self.issues.get(it)).sum::<u64>() as f64
        };
        let mut values = BTreeMap::from([
            ("rows".to_owned(), self.rows as f64),
            ("conflicts".to_owned(), of(&[Problem::Conflict, Problem::NearConflict])),
        ]);
        if let Some(labels) = &self.labels {
            values.insert("label_issues".to_owned(), labels.suspicious as f64);
            values.insert("label_noise".to_owned(), labels.noise);
        }
        if self.test_rows > 0 {
            values.insert("train_in_test".to_owned(), of(&[Problem::InTest, Problem::NearTest]));
        }
        for (name, artefacts) in
            [("label_artefact", &self.label_artefacts), ("shift", &self.shifts)]
        {
            if let Some(worst) = artefacts.iter().find(|it| it.seen) {
                values.insert(format!("worst_{name}"), worst.share);
            }
        }
        values
    }

    /// The report as Markdown.
    pub fn table(&self, issues: &[Issue]) -> String {
        let mut text = format!("# Audit of {} training rows", self.rows);
        if self.test_rows > 0 {
            let _ = write!(text, " and {} test rows", self.test_rows);
        }
        text.push_str("\n\n## Labels\n\n");
        match &self.labels {
            Some(labels) => labels.add_to(&mut text),
            None => text.push_str("Not judged: the input `predictions` is not wired.\n"),
        }
        add_worst(issues, &mut text);
        self.add_twins(&mut text);
        let title = "Surface features that give the label away";
        add_artefacts(title, &self.label_artefacts, &mut text);
        if self.test_rows > 0 {
            let title = "Surface features that set training and test rows apart";
            add_artefacts(title, &self.shifts, &mut text);
        }
        text
    }

    fn add_twins(&self, text: &mut String) {
        text.push_str("\n## Equal and near-equal texts\n\n");
        let twins = &self.twins;
        let mut rows = vec![
            ("training rows with an equal text that has another label", twins.conflicting),
            ("training rows with a near-equal text that has another label", twins.near_conflicting),
        ];
        if self.test_rows > 0 {
            rows.extend([
                ("test rows whose text is in training", twins.test_in_train),
                ("test rows with a near-equal text in training", twins.test_near_train),
                ("training rows whose text is in test", twins.train_in_test),
                ("training rows with a near-equal text in test", twins.train_near_test),
            ]);
        }
        text.push_str("| | rows |\n|---|---|\n");
        for (what, rows) in rows {
            let _ = writeln!(text, "| {what} | {rows} |");
        }
    }
}

impl LabelReport {
    fn add_to(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "{} of {} labels are suspicious. The out-of-fold predictions agree with {} of the labels. From \
             them, confident learning estimates that {} of the labels are wrong: the weaker the model, \
             the more right labels it takes for wrong ones.\n",
            self.suspicious,
            self.judged,
            percent(self.accuracy),
            percent(self.noise)
        );
        text.push_str(
            "| label | rows | suspicious | wrong of those with it | missed of those of it |\n",
        );
        text.push_str("|---|---|---|---|---|\n");
        for class in &self.classes {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                cell(&class.label, 40),
                class.rows,
                class.suspicious,
                percent(class.label_noise),
                percent(class.inverse_label_noise)
            );
        }
        const MOST: usize = 12;
        if self.labels.len() <= MOST {
            let names = self.labels.iter().map(|name| format!(" {} |", cell(name, 24)));
            let _ = writeln!(text, "\nEstimated rows by given and true label:\n");
            let _ = writeln!(text, "| given ↓ true → |{}", names.collect::<String>());
            let _ = writeln!(text, "|---|{}", "---|".repeat(self.labels.len()));
            for (name, row) in self.labels.iter().zip(&self.joint) {
                let counts = row.iter().map(|count| format!(" {count} |")).collect::<String>();
                let _ = writeln!(text, "| {} |{counts}", cell(name, 24));
            }
        }
    }
}

/// The rows that most likely have a wrong label.
fn add_worst(issues: &[Issue], text: &mut String) {
    const MOST: usize = 25;
    let worst: Vec<&Issue> =
        issues.iter().filter(|it| it.problems.contains(&Problem::Label)).take(MOST).collect();
    if worst.is_empty() {
        return;
    }
    text.push_str("\nThe most suspicious rows (all are in `issues.jsonl`):\n\n");
    text.push_str("| id | given | suggested | p(given) | text |\n|---|---|---|---|---|\n");
    for issue in worst {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.3} | {} |",
            cell(&issue.id, 24),
            cell(issue.label.as_deref().unwrap_or_default(), 24),
            cell(issue.suggested.as_deref().unwrap_or_default(), 24),
            issue.self_confidence.unwrap_or_default(),
            cell(&issue.text, 100)
        );
    }
}

fn add_artefacts(title: &str, artefacts: &[Artefact], text: &mut String) {
    const MOST: usize = 15;
    let _ = writeln!(text, "\n## {title}\n");
    // Features whose interval reaches 0 may tell nothing.
    let shown: Vec<&Artefact> = artefacts
        .iter()
        .filter(|it| it.interval[0] > 0.0 && it.share >= 0.001)
        .take(MOST)
        .collect();
    if shown.is_empty() {
        text.push_str("None tells more than chance.\n");
        return;
    }
    text.push_str(
        "| feature | tells | interval | alone it is right in | for instance | remedy |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    for it in shown {
        let remedy = match (&it.remedy, it.seen) {
            (Some(remedy), _) => remedy.as_str(),
            (None, true) => "none",
            (None, false) => "not needed: no stage reads it",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} to {} | {} ({} by chance) | {} | {} |",
            it.feature.replace('_', " "),
            percent(it.share),
            percent(it.interval[0]),
            percent(it.interval[1]),
            percent(it.right),
            percent(it.by_chance),
            cell(&it.example, 80),
            cell(remedy, 60)
        );
    }
}

/// A text for a cell of Markdown: on one line, cut, without what would end the cell.
fn cell(text: &str, most: usize) -> String {
    let mut shown: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(most)
        .collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown.replace('\\', "\\\\").replace('|', "\\|").replace('<', "\\<")
}
