//! The page: the head with its security policy, the table of contents, and the sections.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::report::charts::Ids;
use crate::report::data::{Report, RunSummary};
use crate::report::html::{Html, Tag, tag};
use crate::report::live::watched::Watched;
use crate::report::sections::{
    Section,
    audit::audit,
    comparison::comparison,
    curves::curves,
    difference::difference,
    evaluation::evaluation,
    examples::{examples, furthest},
    live, notes, overview, paragraph, stages,
    training::training,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const LIVE_SCRIPT: &str = include_str!("live.js");

/// The whole HTML file. Equal reports give equal bytes.
pub fn page(report: &Report) -> String {
    let sections = sections(report, &mut Ids::default());
    let title = format!("{} · {}", overview::title(report), report.project);
    let contents = navigation().child(contents(&sections));
    let main = tag("main")
        .attr("id", "main")
        .child(tag("header").child(overview::header(report)))
        .children(parts(sections));
    let layout = tag("div").class("layout").child(contents).child(main);
    document(&title, &report.project, layout, false)
}

/// The report of a run that is under way, drawn.
#[derive(Debug, Default)]
pub struct LivePage {
    contents: String,
    report: String,
}

impl LivePage {
    /// What there is to report so far. The heading comes when the run is over.
    pub fn of(report: Option<&Report>, is_over: bool) -> LivePage {
        let Some(report) = report else { return LivePage::default() };
        let mut sections = sections(report, &mut Ids::default());
        // That there are no scores is known at the end.
        let has_scores = report.runs.iter().any(|run| !run.evaluations.is_empty());
        sections.retain(|section| is_over || has_scores || section.id != "scores");
        let contents = Html::from(contents(&sections)).into_text();
        let header = is_over.then(|| tag("header").child(overview::header(report)));
        let header = header.map(Html::from).unwrap_or_default();
        let report = [header].into_iter().chain(parts(sections)).collect::<Html>().into_text();
        LivePage { contents, report }
    }

    /// The parts of the page that change, as `live.js` takes them: what is going on, the curves of
    /// running stages, and the report with its table of contents.
    pub fn parts(&self, watched: &Watched) -> [String; 3] {
        let LivePage { contents, report } = self;
        let report = serde_json::json!({"contents": contents, "report": report}).to_string();
        let curves = live::curves(watched, &mut Ids::of('l')).into_text();
        [live::live(watched).into_text(), curves, report]
    }
}

/// The page of a run that is under way. Its script asks for the parts.
pub fn live_page(project: &str, watched: &Watched) -> String {
    let lost = "The connection is lost. If the run is still going on, the page will go on too.";
    let main = tag("main")
        .attr("id", "main")
        .child(paragraph("note", lost).attr("id", "lost").flag("hidden"))
        .child(tag("div").attr("id", "live").child(live::live(watched)))
        .child(tag("div").attr("id", "running"))
        .child(tag("div").attr("id", "report"));
    let contents = navigation().attr("id", "contents");
    let layout = tag("div").class("layout").child(contents).child(main);
    document(&format!("Run under way · {project}"), project, layout, true)
}

/// The page around its content. A live one asks the server that it came from.
fn document(title: &str, project: &str, layout: Tag, is_live: bool) -> String {
    let head = tag("head")
        .child(tag("meta").attr("charset", "utf-8"))
        .child(meta("http-equiv", "Content-Security-Policy", &policy(is_live)))
        .child(meta("name", "viewport", "width=device-width, initial-scale=1"))
        .child(meta("name", "color-scheme", "light dark"))
        .child(meta("name", "generator", &format!("pipe {}", env!("CARGO_PKG_VERSION"))))
        .child(tag("title").text(title))
        .child(tag("style").child(Html::literal(STYLE)));
    let bar = tag("div")
        .class("bar-top")
        .child(tag("a").class("skip").attr("href", "#main").text("Skip to the report"))
        .child(tag("p").class("brand").child(tag("b").text("pipe")).text(" report"))
        .child(tag("p").class("project").text(project))
        .child(
            tag("button").attr("type", "button").attr("id", "theme").flag("hidden").text("Theme"),
        );
    let tip = tag("div").attr("id", "tip").attr("role", "status").flag("hidden");
    let live_script = is_live.then_some(LIVE_SCRIPT);
    let scripts = [Some(SCRIPT), live_script].into_iter().flatten().map(Html::literal);
    let body =
        tag("body").child(bar).child(layout).child(tip).child(tag("script").children(scripts));
    let html = tag("html").attr("lang", "en").child(head).child(body);
    format!("<!doctype html>\n{}\n", Html::from(html).into_text())
}

fn navigation() -> Tag {
    tag("nav").class("contents").attr("aria-label", "Contents")
}

fn contents(sections: &[Section]) -> Tag {
    let entries = sections.iter().map(|section| {
        tag("li").child(tag("a").attr("href", format!("#{}", section.id)).text(&section.title))
    });
    tag("ul").children(entries)
}

fn parts(sections: Vec<Section>) -> impl Iterator<Item = Html> {
    sections.into_iter().map(|section| {
        tag("section")
            .attr("id", section.id)
            .attr("aria-labelledby", format!("{}-title", section.id))
            .child(tag("h2").attr("id", format!("{}-title", section.id)).text(section.title))
            .child(section.content)
            .into()
    })
}

/// The security policy: only the style and the scripts of this program run, and nothing is loaded but what
/// the page of a run under way asks for.
fn policy(is_live: bool) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let (script, connect) = match is_live {
        true => (format!("{SCRIPT}{LIVE_SCRIPT}"), "connect-src 'self'; "),
        false => (SCRIPT.to_owned(), ""),
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; {connect}base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(&script)
    )
}

fn meta(kind: &'static str, name: &str, content: &str) -> Html {
    tag("meta").attr(kind, name).attr("content", content).into()
}

fn sections(report: &Report, ids: &mut Ids) -> Vec<Section> {
    let mut sections = Vec::new();
    let compared = report.comparison.as_ref().map(|compared| {
        let title = if compared.sweep { "Combinations" } else { "Comparison" };
        Section::new("comparison", title, comparison(ids, compared))
    });
    let drawn = curves(ids, &report.curves);
    let overlaid = (!drawn.is_empty()).then(|| Section::new("curves", "Curves", drawn));
    match &report.runs[..] {
        [run] => {
            sections.push(Section::new("summary", "Summary", summary(run)));
            sections.extend(compared);
            sections.extend(overlaid);
            sections.extend(of_run(run, ids));
        }
        runs => {
            sections.extend(compared);
            sections.extend(overlaid);
            if let Some(found) = &report.difference {
                sections.push(Section::new("difference", "Difference", difference(found)));
            }
            sections.push(Section::new(
                "runs",
                "Runs",
                runs.iter().map(|it| briefly(it, ids)).collect(),
            ));
        }
    }
    sections
}

fn summary(run: &RunSummary) -> Html {
    let mut all = overview::failures(run);
    all.push(overview::tiles(run));
    all.push(overview::facts(run));
    all.push(notes(&run.notes));
    all
}

/// The sections about one run.
fn of_run(run: &RunSummary, ids: &mut Ids) -> Vec<Section> {
    let mut graph = stages::drawing(ids, run);
    graph.push(stages::table(run));
    let mut sections = vec![Section::new("stages", "Stages", graph)];
    if !run.training.is_empty() {
        let of_stage = run.training.iter().map(|it| {
            [Html::from(tag("h3").text(&it.stage)), training(ids, it)].into_iter().collect::<Html>()
        });
        sections.push(Section::new("training", "Training", of_stage.collect()));
    }
    match run.evaluations.is_empty() {
        true => {
            let words = match run.notes.is_empty() {
                true => "No stage of this run made predictions of labelled examples.",
                false => "No predictions of labelled examples are left in the cache.",
            };
            let content = Html::from(paragraph("note", words));
            sections.push(Section::new("scores", "Scores", content));
        }
        false => {
            let mut scores = Html::new();
            let mut mistakes = Html::new();
            for found in &run.evaluations {
                let name = match &found.input {
                    Some(input) => format!("{input} ({})", found.artifact),
                    None => found.artifact.clone(),
                };
                scores.push(tag("h3").text(&name));
                scores.push(evaluation(ids, found));
                mistakes.push(tag("h3").text(&name));
                match found.decision.reliability.is_empty() && found.wrong.rows == 0 {
                    true => mistakes.push(notes(&found.notes)),
                    false
                        if found.other.as_ref().is_some_and(|other| other.task == "regression") =>
                    {
                        mistakes.push(furthest(&found.wrong));
                    }
                    false => mistakes.push(examples(&found.wrong, "wrong")),
                }
            }
            sections.push(Section::new("scores", "Scores", scores));
            sections.push(Section::new("mistakes", "Mistakes", mistakes));
        }
    }
    if !run.audits.is_empty() {
        let of_stage = run.audits.iter().map(|it| {
            [Html::from(tag("h3").text(&it.stage)), audit(it)].into_iter().collect::<Html>()
        });
        sections.push(Section::new("audit", "Audit", of_stage.collect()));
    }
    sections.push(Section::new("details", "Parameters and versions", stages::details(run)));
    sections
}

/// One of several runs, collapsed.
fn briefly(run: &RunSummary, ids: &mut Ids) -> Html {
    let (words, class) = overview::state_words(run.state());
    let summary = tag("summary")
        .child(tag("span").class("stage").text(&run.id))
        .child(crate::report::sections::badge(words, class))
        .child(tag("span").class("quiet").text(format!("pipe {}", run.command.join(" "))));
    let mut content = summary_of(run);
    content.push(stages::drawing(ids, run));
    content.push(stages::table(run));
    tag("details").class("stage").child(summary).child(content).into()
}

fn summary_of(run: &RunSummary) -> Html {
    let mut all = overview::failures(run);
    all.push(overview::facts(run));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stages::data::issue::{Issue, Neighbour};

    use super::page;
    use crate::report::data::{AuditSummary, Report, RunSummary, StageSummary};
    use crate::run::event::Outcome;

    #[test]
    fn a_hostile_name_is_text_in_every_section() {
        let evil = "</style></title><script>alert(1)</script>\"'&";
        let stage = |outcome| StageSummary {
            name: evil.to_owned(),
            outcome,
            reason: Some(evil.to_owned()),
            message: Some(evil.to_owned()),
            hint: Some(evil.to_owned()),
            last_lines: vec![evil.to_owned()],
            seconds: 1.0,
            metrics: [(evil.to_owned(), 0.5)].into(),
            record: None,
        };
        let run = |id: &str| RunSummary {
            id: id.to_owned(),
            when: evil.to_owned(),
            seconds: 1.0,
            command: vec![evil.to_owned()],
            profile: Some(evil.to_owned()),
            set: vec![(evil.to_owned(), evil.to_owned())],
            interrupted: false,
            pipe: evil.to_owned(),
            git: Some(evil.to_owned()),
            stages: vec![stage(Outcome::Ran), stage(Outcome::Failed)],
            edges: vec![(0, 1)],
            training: Vec::new(),
            evaluations: Vec::new(),
            audits: vec![AuditSummary {
                stage: evil.to_owned(),
                report: json!({"labels": {"labels": [evil], "joint": [[evil]]}, "shifts": [
                    {"feature": evil, "example": evil, "share": 1, "interval": [1, 1]}]}),
                issues: vec![Issue {
                    id: evil.to_owned(),
                    text: evil.to_owned(),
                    after: Some(evil.to_owned()),
                    label: Some(evil.to_owned()),
                    probabilities: [(evil.to_owned(), 0.5)].into(),
                    neighbours: vec![Neighbour { text: evil.to_owned(), ..Neighbour::default() }],
                    ..Issue::default()
                }],
                all_issues: 1,
            }],
            notes: vec![evil.to_owned()],
        };
        for runs in [vec![run(evil)], vec![run(evil), run("other")]] {
            let report = Report {
                project: evil.to_owned(),
                runs,
                comparison: None,
                curves: Vec::new(),
                difference: None,
            };
            let text = page(&report);
            assert_eq!(text.matches("<script>").count(), 1);
            assert_eq!(text.matches("</style>").count(), 1);
            assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
        }
    }
}
