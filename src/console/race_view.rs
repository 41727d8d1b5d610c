//! A race of the configurations of a sweep: after a round, and at its end.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::console::sweep_view;
use crate::console::view::{Page, View, json_line};
use crate::results::race::{Behind, Configuration, Ending, Race, Standing};
use crate::results::sweep::short_names;
use crate::results::sweep::table::{Table, json as table_json};
use crate::text::figures::{count, figure, seconds};
use crate::text::terminal::{printable, wrapped};
use crate::text::values::value_text;
use crate::text::variants::names;

/// The end of a race: the table of its sweep, and who is in the race.
pub struct RaceView<'a> {
    pub race: &'a Race,
    /// Those in the race come first.
    pub table: &'a Table,
}

impl View for RaceView<'_> {
    fn text(&self, page: &Page) -> String {
        let lines = [runs(self.race), self.behind(), self.ending()];
        let lines = lines.iter().filter(|line| !line.is_empty());
        let text = sweep_view::text(self.table, &page.palette) + "\n";
        lines.fold(text, |text, line| text + &wrapped(line, 0))
    }

    fn json(&self) -> String {
        table_json(self.table) + &json_line(&ended(self.race))
    }
}

impl RaceView<'_> {
    /// `#3`: the row of the table.
    fn number(&self, configuration: &Configuration) -> String {
        let place = self.table.rows.iter().position(|row| row.values == configuration.values);
        format!("#{}", place.map_or(0, |place| place + 1))
    }

    /// Who got no further runs, and why.
    fn behind(&self) -> String {
        let of = |it: &&Configuration| it.standing == Standing::Behind;
        let mut behind: Vec<&Configuration> = self.race.configurations.iter().filter(of).collect();
        behind.sort_by_key(|it| {
            (it.met, self.table.rows.iter().position(|row| row.values == it.values))
        });
        let groups = behind.chunk_by(|one, two| one.met == two.met);
        let part = |group: &[&Configuration]| {
            let numbers: Vec<String> = group.iter().map(|it| self.number(it)).collect();
            let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
            format!("{} after {}", names(&numbers), count(group[0].met, "meeting"))
        };
        let parts: Vec<String> = groups.map(part).collect();
        match parts.is_empty() {
            true => String::new(),
            false => format!("Behind the leader with 95 % confidence: {}.", parts.join("; ")),
        }
    }

    fn ending(&self) -> String {
        let race = self.race;
        let margin = figure(race.margin);
        let Some(ending) = race.ending() else {
            return "The race is not over: run it again to go on from here.".to_owned();
        };
        let Some(named) = race.named() else {
            return "Every configuration failed.".to_owned();
        };
        let (number, cost) = (self.number(named), seconds(named.seconds));
        let left = race.configurations.iter().filter(|it| it.is_racing()).count();
        match ending {
            Ending::AllFailed => String::new(),
            Ending::OneLeft => format!("{number} is ahead of all others. It takes {cost} a run."),
            Ending::WithinMargin => format!(
                "The {left} that are left differ by no more than {margin}, with 95 % confidence. The cheapest \
                 is {number}: it takes {cost} a run{}.",
                told(named)
            ),
            Ending::NotToldApart => format!(
                "The {left} that are left differ by no more than {margin} so far, and the meetings left would \
                 hardly tell them apart. The cheapest is {number}: it takes {cost} a run{}.",
                told(named)
            ),
            Ending::NoMeetingsLeft => format!(
                "There are no meetings left to tell {left} configurations apart. The cheapest of those within \
                 {margin} of the leader is {number}: it takes {cost} a run{}.",
                told(named)
            ),
        }
    }
}

/// How far a configuration is behind the leader.
fn told(configuration: &Configuration) -> String {
    match configuration.behind {
        None => ", and leads".to_owned(),
        Some(Behind { difference, interval: [_, high], .. })
            if difference == 0.0 && high == 0.0 =>
        {
            ", and predicts as the leader does".to_owned()
        }
        Some(Behind { difference, interval: [_, high], .. }) => format!(
            ", and is {} behind the leader, at most {} with 95 % confidence",
            figure(difference),
            figure(high)
        ),
    }
}

fn runs(race: &Race) -> String {
    let all = race.configurations.len() * race.meetings;
    let ran = race.runs();
    let saved = match all - ran {
        0 => String::new(),
        saved => format!("; {saved} were not needed"),
    };
    format!("The race took {ran} of {}{saved}.", count(all, "run"))
}

/// The end of a round, for people.
pub fn round(race: &Race) -> String {
    let left = race.configurations.iter().filter(|it| it.is_racing()).count();
    let now = |it: &&Configuration| it.standing == Standing::Behind && it.met == race.met;
    let dropped: Vec<String> =
        race.configurations.iter().filter(now).map(|it| label(race, it)).collect();
    let dropped = match dropped.is_empty() {
        true => String::new(),
        false => format!("; now behind: {}", dropped.join("; ")),
    };
    format!(
        "race: {} of {} over, {left} of {} left{dropped}",
        race.met,
        count(race.meetings, "meeting"),
        count(race.configurations.len(), "configuration")
    )
}

/// `learning_rate 1e-4, epochs 2`: the values that most configurations do not have.
fn label(race: &Race, configuration: &Configuration) -> String {
    let short = short_names(&race.keys);
    let part = |key: usize| {
        let value = &configuration.values[key];
        let same = race.configurations.iter().filter(|it| it.values[key] == *value).count();
        let text = value.as_ref().map_or("-".to_owned(), value_text);
        (2 * same <= race.configurations.len())
            .then(|| printable(&format!("{} {text}", short[key])))
    };
    let parts: Vec<String> = (0..race.keys.len()).filter_map(part).collect();
    if parts.is_empty() { "the usual values".to_owned() } else { parts.join(", ") }
}

/// The end of a round, for programs.
pub fn round_json(race: &Race) -> String {
    json_line(&json!({
        "event": "race_round",
        "meetings_over": race.met,
        "meetings": race.meetings,
        "standings": standings(race),
    }))
}

fn ended(race: &Race) -> Value {
    json!({
        "event": "race_finished",
        "ending": race.ending(),
        "metric": race.metric.as_ref().map(ToString::to_string),
        "margin": race.margin,
        "over": race.over,
        "meetings_over": race.met,
        "meetings": race.meetings,
        "runs": race.runs(),
        "runs_of_all": race.configurations.len() * race.meetings,
        "named": race.ending().and_then(|_| race.named()).map(|it| values(race, it)),
        "standings": standings(race),
    })
}

fn values(race: &Race, configuration: &Configuration) -> Map<String, Value> {
    let values = configuration.values.iter().map(|value| value.clone().unwrap_or_default());
    race.keys.iter().cloned().zip(values).collect()
}

fn standings(race: &Race) -> Vec<Value> {
    #[derive(Serialize)]
    struct Line<'a> {
        values: Map<String, Value>,
        standing: Standing,
        meetings: usize,
        mean: Option<f64>,
        behind: Option<&'a Behind>,
        seconds: f64,
    }
    let line = |it: &Configuration| {
        let line = Line {
            values: values(race, it),
            standing: it.standing,
            meetings: it.met,
            mean: it.mean,
            behind: it.behind.as_ref(),
            seconds: it.seconds,
        };
        serde_json::to_value(line).unwrap_or_default()
    };
    race.configurations.iter().map(line).collect()
}
