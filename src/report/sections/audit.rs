//! An audit: the labels, the surface features, and the examples to look at with their probabilities and
//! their neighbours.

use serde_json::Value;
use stages::data::issue::{Issue, Neighbour};

use crate::report::data::AuditSummary;
use crate::report::html::{Html, Tag, tag};
use crate::report::sections::{paragraph, scrolling};
use crate::text::figures::grouped;

/// Features that tell less than this of what there is to know are left out.
const LEAST_SHARE: f64 = 0.001;

/// The number of features in a table, at most.
const MOST_FEATURES: usize = 20;

pub fn audit(found: &AuditSummary) -> Html {
    let mut all = Html::from(paragraph("quiet", &head(&found.report)));
    all.push(classes(&found.report["labels"]));
    all.push(features("Features that give the label away", &found.report["label_artefacts"]));
    all.push(features("Features that tell training from test", &found.report["shifts"]));
    all.push(issues(found));
    all
}

fn head(report: &Value) -> String {
    let number = |value: &Value| grouped(value.as_u64().unwrap_or(0));
    let labels = &report["labels"];
    let rows = number(&report["rows"]);
    match labels.is_object() {
        true => format!(
            "{} of {} judged labels are suspicious, of {rows} rows; the model agrees with {} of them, and \
             confident learning estimates that {} are wrong. A weak model takes more right labels for wrong.",
            number(&labels["suspicious"]),
            number(&labels["judged"]),
            percent(&labels["accuracy"]),
            percent(&labels["noise"])
        ),
        false => format!("{rows} rows; no label was judged, since there are no predictions."),
    }
}

fn percent(value: &Value) -> String {
    format!("{:.1} %", 100.0 * value.as_f64().unwrap_or(0.0))
}

/// The labels with their noise, and the joint of given and true labels.
fn classes(labels: &Value) -> Html {
    const MOST: usize = 24;
    let names: Vec<&str> =
        labels["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() || names.len() > MOST {
        return Html::new();
    }
    let title = "Estimated rows by given and true label";
    let heads = ["rows", "suspicious", "wrong"].iter().chain(&names);
    let heads = heads.map(|name| tag("th").attr("scope", "col").class("number").text(name));
    let row = |(place, name): (usize, &&str)| {
        let class = &labels["classes"][place];
        let number =
            |value: &Value| tag("td").class("number").text(grouped(value.as_u64().unwrap_or(0)));
        let counts = labels["joint"][place].as_array().into_iter().flatten().map(number);
        tag("tr")
            .child(tag("th").attr("scope", "row").text(name))
            .child(number(&class["rows"]))
            .child(number(&class["suspicious"]))
            .child(tag("td").class("number").text(percent(&class["label_noise"])))
            .children(counts)
    };
    let corner = tag("td").text("given ↓ true →");
    let table = tag("table")
        .class("figures")
        .child(tag("thead").child(tag("tr").child(corner).children(heads)))
        .child(tag("tbody").children(names.iter().enumerate().map(row)));
    tag("div").class("card").child(tag("h4").text(title)).child(scrolling(title, table)).into()
}

fn features(title: &str, found: &Value) -> Html {
    let tells = |it: &&Value| {
        let (low, share) = (it["interval"][0].as_f64(), it["share"].as_f64());
        low.unwrap_or(0.0) > 0.0 && share.unwrap_or(0.0) >= LEAST_SHARE
    };
    let shown: Vec<&Value> =
        found.as_array().into_iter().flatten().filter(tells).take(MOST_FEATURES).collect();
    if shown.is_empty() {
        return Html::new();
    }
    let chance = format!("alone right (chance {})", percent(&shown[0]["by_chance"]));
    let heads = ["feature, and what removes it", "tells", "interval", &chance, "for instance"];
    let heads = heads.map(|name| tag("th").attr("scope", "col").text(name));
    let row = |it: &&Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let [low, high] = [percent(&it["interval"][0]), percent(&it["interval"][1])];
        let remedy = match it["seen"].as_bool() {
            Some(false) => "no stage reads it".to_owned(),
            _ => text(&it["remedy"]).replace('`', ""),
        };
        let name = tag("th").attr("scope", "row").text(text(&it["feature"]).replace('_', " "));
        let remedy = (!remedy.is_empty()).then(|| tag("span").class("quiet").text(remedy));
        let name = name.maybe(remedy.is_some().then(|| tag("br"))).maybe(remedy);
        tag("tr")
            .child(name)
            .child(tag("td").class("number").text(percent(&it["share"])))
            .child(tag("td").class("quiet").text(format!("{low} to {high}")))
            .child(tag("td").class("number").text(percent(&it["right"])))
            .child(tag("td").text(text(&it["example"])))
    };
    let table = tag("table")
        .class("figures")
        .child(tag("thead").child(tag("tr").children(heads)))
        .child(tag("tbody").children(shown.iter().map(row)));
    tag("div").class("card").child(tag("h4").text(title)).child(scrolling(title, table)).into()
}

/// The examples to look at; all but the first few are collapsed.
fn issues(found: &AuditSummary) -> Html {
    const OPEN: usize = 10;
    if found.issues.is_empty() {
        return paragraph("note", "No example has to be looked at.").into();
    }
    let words = format!(
        "{} examples to look at, the worst first; these are {}. `pipe review` asks for a decision on each.",
        grouped(found.all_issues),
        found.issues.len()
    );
    let mut all = Html::from(tag("h4").text("Examples"));
    all.push(paragraph("quiet", &words.replace('`', "")));
    let (open, folded) = found.issues.split_at(found.issues.len().min(OPEN));
    all.push(tag("ol").class("examples").children(open.iter().map(issue)));
    if !folded.is_empty() {
        let start = open.len() + 1;
        let list =
            tag("ol").class("examples").attr("start", start).children(folded.iter().map(issue));
        let summary = tag("summary").text(format!("{} more", folded.len()));
        all.push(tag("details").class("more").child(summary).child(list));
    }
    all
}

fn issue(issue: &Issue) -> Html {
    let problems: Vec<&str> = issue.problems.iter().map(|it| it.words()).collect();
    let mut head = tag("p")
        .class("said")
        .child(tag("span").class("quiet").text("given "))
        .child(tag("b").text(issue.label.as_deref().unwrap_or("none")));
    let mut order: Vec<(&String, &f64)> = issue.probabilities.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(a.1));
    for (label, probability) in order.iter().take(5) {
        let said = format!(" · {label} {probability:.3}");
        head = head.child(tag("span").class("number").text(said));
    }
    let head = head
        .child(tag("span").class("quiet").text(format!(" · {}", problems.join(", "))))
        .child(tag("code").class("id").text(&issue.id));
    let after = issue.after.as_ref().map(|turn| {
        let turn = tag("p").class("turn").attr("dir", "auto").text(turn);
        let label = "The last turn before the text";
        tag("div").class("context").attr("role", "group").attr("aria-label", label).child(turn)
    });
    let neighbours = (!issue.neighbours.is_empty()).then(|| {
        let summary = tag("summary").text("similar examples");
        let list = tag("ul").children(issue.neighbours.iter().map(neighbour));
        tag("details").class("more").child(summary).child(list)
    });
    tag("li")
        .child(head)
        .maybe(after)
        .child(tag("p").class("text").attr("dir", "auto").text(&issue.text))
        .maybe(neighbours)
        .into()
}

fn neighbour(neighbour: &Neighbour) -> Tag {
    let label = neighbour.label.as_deref().unwrap_or(&neighbour.part);
    let kind = if neighbour.near { "near-equal" } else { "similar words" };
    tag("li")
        .child(tag("b").text(label))
        .child(tag("span").class("quiet").text(format!(" {kind} {:.2} ", neighbour.similarity)))
        .child(tag("span").attr("dir", "auto").text(&neighbour.text))
}
