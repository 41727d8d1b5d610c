//! The top of the page of a run that is under way: the state of each stage and the end of the log.

use crate::report::charts::Ids;
use crate::report::data::Training;
use crate::report::html::{Html, tag};
use crate::report::live::watched::{StageState, Watched, WatchedStage};
use crate::report::sections::overview::code;
use crate::report::sections::training::training;
use crate::report::sections::{badge, outcome_words, paragraph, scrolling};
use crate::text::figures::{count, seconds};

/// Of more stages, only those that run or failed have a row.
const MOST_ROWS: usize = 40;

/// The states and the log.
pub fn live(watched: &Watched) -> Html {
    let mut all = Html::new();
    match &watched.summary {
        // The report has a heading.
        Some(_) => all.push(
            tag("p")
                .class("note")
                .text("The run is over, and this page no longer changes. ")
                .child(code("pipe report"))
                .text(" writes it to a file."),
        ),
        None => {
            all.push(
                tag("div")
                    .class("headline")
                    .child(tag("h1").text("Run under way"))
                    .child(badge("running", "running")),
            );
            all.push(paragraph("lead", &counted(watched)));
            all.push(states(watched));
        }
    }
    let lines: Vec<&str> = watched.lines.iter().map(String::as_str).collect();
    all.push(tag("h3").text("Log"));
    all.push(tag("pre").class("log").attr("tabindex", 0).text(lines.join("\n")));
    all
}

/// `2 of 6 stages are done, 1 is running`.
fn counted(watched: &Watched) -> String {
    let of = |is: fn(&StageState) -> bool| {
        watched.stages.iter().filter(|stage| is(&stage.state)).count()
    };
    let ended = of(|state| matches!(state, StageState::Ended { .. }));
    let running = of(|state| matches!(state, StageState::Running { .. }));
    format!("{ended} of {} ended, {running} running", count(watched.stages.len(), "stage"))
}

fn states(watched: &Watched) -> Html {
    let is_few = watched.stages.len() <= MOST_ROWS;
    let is_shown = |stage: &&WatchedStage| {
        use crate::run::event::Outcome::Failed;
        let is_busy = matches!(
            stage.state,
            StageState::Running { .. } | StageState::Ended { outcome: Failed, .. }
        );
        is_few || is_busy
    };
    let head = ["stage", "state", "time", ""].map(|name| tag("th").attr("scope", "col").text(name));
    let row = |stage: &WatchedStage| {
        let (words, class, time) = match stage.state {
            StageState::Waiting => ("waiting", "waiting", String::new()),
            StageState::Running { since } => {
                // Whole seconds, so that the page changes once a second.
                ("running", "running", seconds(since.elapsed().as_secs() as f64))
            }
            StageState::Ended { outcome, seconds: took } => {
                let (words, class) = outcome_words(outcome);
                (words, class, seconds(took))
            }
        };
        let share = stage.share.map(|share| {
            tag("progress")
                .attr("max", 1)
                .attr("value", format!("{share:.3}"))
                .attr("aria-label", "progress")
        });
        tag("tr")
            .child(tag("th").attr("scope", "row").text(&stage.name))
            .child(tag("td").child(badge(words, class)))
            .child(tag("td").class("number").text(time))
            .child(tag("td").class("words").maybe(share).text(&stage.words))
    };
    let rows = watched.stages.iter().filter(is_shown).map(row);
    let table = tag("table")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(rows));
    scrolling("States of the stages", table).into()
}

/// The curves of the stages that are running.
pub fn curves(watched: &Watched, ids: &mut Ids) -> Html {
    let running = watched.stages.iter().filter(|stage| {
        matches!(stage.state, StageState::Running { .. }) && !stage.history.is_empty()
    });
    let drawn = running.map(|stage| {
        let of = Training { stage: stage.name.clone(), rows: stage.history.clone() };
        [Html::from(tag("h3").text(&stage.name)), training(ids, &of)].into_iter().collect::<Html>()
    });
    drawn.collect()
}
