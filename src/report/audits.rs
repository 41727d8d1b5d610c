//! What the audits of a run found: their reports, and the worst of the examples to look at.

use stages::data::issue::Issue;

use crate::report::artifacts::Artifacts;
use crate::report::data::AuditSummary;

/// The number of examples to show, at most.
const MOST_ISSUES: usize = 60;

/// The length of a text in characters, at most.
const MOST_CHARACTERS: usize = 2_000;

/// The audits among the stages at `places`. The second value says what is left out.
pub fn audits(artifacts: &Artifacts, places: &[usize]) -> (Vec<AuditSummary>, Vec<String>) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for &place in places {
        if !artifacts.is_made_by(place, "audit") {
            continue;
        }
        let read = artifacts
            .json(place, "report")
            .and_then(|report| Ok((report, artifacts.json_lines::<Issue>(place, "issues")?)));
        match read {
            Ok((report, mut issues)) => {
                let all = issues.len() as u64;
                issues.truncate(MOST_ISSUES);
                issues.iter_mut().for_each(shorten);
                let stage = artifacts.stage(place).to_owned();
                found.push(AuditSummary { stage, report, issues, all_issues: all });
            }
            Err(problem) => {
                notes.push(format!("The audit of {} {problem}.", artifacts.stage(place)))
            }
        }
    }
    (found, notes)
}

fn shorten(issue: &mut Issue) {
    let texts = std::iter::once(&mut issue.text).chain(&mut issue.after);
    for text in texts.chain(issue.neighbours.iter_mut().map(|it| &mut it.text)) {
        if let Some((at, _)) = text.char_indices().nth(MOST_CHARACTERS) {
            text.truncate(at);
            text.push('…');
        }
    }
}
