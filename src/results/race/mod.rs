//! A race: a sweep that stops what has lost. Its configurations meet on one fold or seed after the other.
//! After each round, a configuration that is behind the leader gets no further runs, and the race ends when
//! the rest cannot be told apart.
//!
//! ```text
//! rows of a sweep ─ Race::round ─→ run ─ Race::judge ─→ … ─ ending, named
//! ```
//!
//! All intervals of a race hold at once with 95 % confidence: each has the confidence 1 - 0.05 / (looks ·
//! comparisons), where every meeting after the first is a look, and every configuration but the leader a
//! comparison (Bonferroni; C. Jennison and B. Turnbull, "Group Sequential Methods", 2000, section 2 for the
//! looks). So with 95 % confidence the best configuration is still in the race. The first look is after two
//! meetings, since one training does not show how trainings scatter. The race ends early when those that are
//! left are near each other and will hardly be told apart. Races for models began with O. Maron
//! and A. Moore, "Hoeffding Races" (1993).

pub mod error;
mod evidence;
mod lineup;
mod rows;

use serde::Serialize;
use serde_json::Value;

use crate::pipeline::Pipeline;
use crate::results::race::error::RaceError;
use crate::results::race::evidence::behind;
use crate::results::race::lineup::{Lineup, line_up};
use crate::results::race::rows::{Ids, Scored, ScoringError, read};
use crate::results::row_metric::{NoPredictions, RowMetric};
use crate::results::sweep::Asked;
use crate::results::sweep::combine::SweepRow;
use crate::results::sweep::results::{Came, Finished};
use crate::store::Store;

pub use crate::results::race::evidence::Behind;

/// The probability that some interval of a race misses.
const ERROR: f64 = 0.05;

/// So many meetings at least before anybody is judged.
const FIRST_LOOK: usize = 2;

/// A race under way.
#[derive(Debug)]
pub struct Race {
    /// Differences up to this do not matter.
    pub margin: f64,
    /// The keys whose values are the meetings.
    pub over: Vec<String>,
    /// The keys of a configuration.
    pub keys: Vec<String>,
    pub configurations: Vec<Configuration>,
    /// How many meetings there are, and how many are over.
    pub meetings: usize,
    pub met: usize,
    /// `None` until it is known which figure the stage has.
    pub metric: Option<RowMetric>,
    /// The stage whose metric decides, if no metric was named.
    stage: Option<(String, &'static str)>,
    ids: Ids,
}

/// One configuration.
#[derive(Debug)]
pub struct Configuration {
    /// In the order of [`Race::keys`].
    pub values: Vec<Option<Value>>,
    pub standing: Standing,
    /// The meetings that it has taken part in.
    pub met: usize,
    /// The mean of the metric over them.
    pub mean: Option<f64>,
    /// At its last judgement; `None` for the leader.
    pub behind: Option<Behind>,
    /// The mean of the seconds that its stages took when they ran.
    pub seconds: f64,
    /// The row of the sweep at each meeting.
    rows: Vec<usize>,
    scored: Vec<Scored>,
    all_seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Racing,
    Leads,
    /// It is behind the leader, and gets no further runs.
    Behind,
    Failed,
}

/// Why a race is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    OneLeft,
    /// Those that are left differ by no more than the margin, for certain.
    WithinMargin,
    /// Those that are left differ by no more than the margin so far, and the meetings left would hardly
    /// tell them apart.
    NotToldApart,
    /// There are no further meetings.
    NoMeetingsLeft,
    AllFailed,
}

impl Race {
    /// The race of a sweep. `rows` refer to the combined `pipeline`.
    pub fn new(
        rows: &[SweepRow],
        asked: &Asked,
        pipeline: &Pipeline,
        margin: f64,
    ) -> Result<Race, RaceError> {
        if asked.ascending {
            return Err(RaceError::Ascending);
        }
        let Lineup { over, keys, meetings, configurations } = line_up(rows, asked)?;
        let new = |(values, rows)| Configuration {
            values,
            standing: Standing::Racing,
            met: 0,
            mean: None,
            behind: None,
            seconds: 0.0,
            rows,
            scored: Vec::new(),
            all_seconds: 0.0,
        };
        let configurations = configurations.into_iter().map(new).collect();
        let (metric, stage) = match &asked.metric {
            Some(metric) => {
                let other = |_| RaceError::OtherMetric { metric: metric.clone() };
                (Some(RowMetric::parse(metric).map_err(other)?), None)
            }
            None => (None, Some(deciding_stage(rows, pipeline)?)),
        };
        let ids = Ids::default();
        Ok(Race { margin, over, keys, configurations, meetings, met: 0, metric, stage, ids })
    }

    /// The rows of the sweep that run next; `None` if the race is over.
    pub fn round(&self) -> Option<Vec<usize>> {
        if self.ending().is_some() {
            return None;
        }
        let meetings = self.met..self.next();
        let racing = self.configurations.iter().filter(|it| it.is_racing());
        Some(racing.flat_map(|it| it.rows[meetings.clone()].iter().copied()).collect())
    }

    /// How many meetings are over after the next round.
    fn next(&self) -> usize {
        if self.met == 0 { FIRST_LOOK } else { self.met + 1 }
    }

    /// Takes the results of a round, and judges. Returns `false` if the round was not finished, so that
    /// there is nothing to judge.
    pub fn judge(&mut self, finished: &[Finished], store: &Store) -> Result<bool, RaceError> {
        let meetings = self.met..self.next();
        let came = |configuration: &Configuration, kind: Came| {
            let rows = &configuration.rows[meetings.clone()];
            configuration.is_racing() && rows.iter().any(|row| finished[*row].came == kind)
        };
        if self.configurations.iter().any(|it| came(it, Came::Unfinished)) {
            return Ok(false);
        }
        for place in 0..self.configurations.len() {
            if came(&self.configurations[place], Came::Failed) {
                self.configurations[place].standing = Standing::Failed;
            }
            for meeting in meetings.clone() {
                let configuration = &self.configurations[place];
                if configuration.is_racing() {
                    let row = &finished[configuration.rows[meeting]];
                    let scored = self.scored(row, store)?;
                    self.configurations[place].take(scored, row.seconds);
                }
            }
        }
        self.met = meetings.end;
        self.check_rows()?;
        self.compare();
        Ok(true)
    }

    /// The predictions of a combination.
    fn scored(&mut self, row: &Finished, store: &Store) -> Result<Scored, RaceError> {
        let metric = match &self.metric {
            Some(metric) => metric.clone(),
            None => {
                let metric = self.usual_metric(row)?;
                self.metric.insert(metric).clone()
            }
        };
        let RowMetric { stage, input, figure } = &metric;
        let never = || RaceError::NoPredictions { stage: stage.clone(), input: input.clone() };
        let gone = || RaceError::Gone { stage: stage.clone(), input: input.clone() };
        let key = row.keys.get(stage).ok_or_else(never)?;
        let record = store.record(*key).ok_or_else(gone)?;
        let file = metric.predictions(&record, store).map_err(|problem| match problem {
            NoPredictions::Never => never(),
            NoPredictions::Gone => gone(),
        })?;
        let positive = record.fields.params.get("positive").and_then(Value::as_str);
        read(&file, figure, positive, &mut self.ids).map_err(|error| match error {
            ScoringError::File(error) => RaceError::Rows(error),
            ScoringError::NoFigure => RaceError::OtherMetric { metric: metric.to_string() },
        })
    }

    /// The figure that the deciding stage has.
    fn usual_metric(&self, row: &Finished) -> Result<RowMetric, RaceError> {
        let (stage, input) = self.stage.as_ref().ok_or(RaceError::NoStage)?;
        let figure = ["f1", "micro_f1", "macro_f1", "accuracy"]
            .into_iter()
            .find(|figure| row.metrics.contains_key(&format!("{stage}.{input}_{figure}")));
        let (stage, input) = (stage.clone(), (*input).to_owned());
        match figure {
            Some(figure) => Ok(RowMetric { stage, input, figure: figure.to_owned() }),
            None => Err(RaceError::NoPredictions { stage, input }),
        }
    }

    /// Only the same rows can be paired.
    fn check_rows(&self) -> Result<(), RaceError> {
        let mut racing = self.configurations.iter().filter(|it| it.is_racing());
        let Some(first) = racing.next() else { return Ok(()) };
        let examples = |it: &Configuration| -> Vec<Vec<usize>> {
            it.scored.iter().map(|scored| scored.examples.clone()).collect()
        };
        let expected = examples(first);
        match racing.all(|it| examples(it) == expected) {
            true => Ok(()),
            false => Err(RaceError::OtherRows),
        }
    }

    /// Finds the leader, and those that are behind.
    fn compare(&mut self) {
        let racing: Vec<usize> = (0..self.configurations.len())
            .filter(|place| self.configurations[*place].is_racing())
            .collect();
        let mean = |place: &usize| self.configurations[*place].mean.unwrap_or(f64::NEG_INFINITY);
        let Some(leader) = racing
            .iter()
            .copied()
            .reduce(|best, place| if mean(&place) > mean(&best) { place } else { best })
        else {
            return;
        };
        let others: Vec<usize> = racing.into_iter().filter(|place| *place != leader).collect();
        let scored = |place: usize| &self.configurations[place].scored[..];
        let theirs: Vec<&[Scored]> = others.iter().map(|place| scored(*place)).collect();
        let found = behind(scored(leader), &theirs, self.ids.len(), self.tail());
        for (place, behind) in others.into_iter().zip(found) {
            let configuration = &mut self.configurations[place];
            configuration.behind = Some(behind);
            configuration.standing = match behind.interval[0] > 0.0 {
                true => Standing::Behind,
                false => Standing::Racing,
            };
        }
        let leader = &mut self.configurations[leader];
        (leader.standing, leader.behind) = (Standing::Leads, None);
    }

    /// The probability of either side of an interval.
    fn tail(&self) -> f64 {
        let looks = (self.meetings + 1 - FIRST_LOOK) as f64;
        ERROR / (2.0 * looks * (self.configurations.len() - 1) as f64)
    }

    /// Why the race is over, if it is.
    pub fn ending(&self) -> Option<Ending> {
        let mut racing = self.configurations.iter().filter(|it| it.is_racing());
        let reaches = |it: &Configuration| it.behind.map_or(0.0, |behind| behind.interval[1]);
        match racing.clone().count() {
            0 => Some(Ending::AllFailed),
            _ if self.met < FIRST_LOOK => None,
            1 => Some(Ending::OneLeft),
            _ if racing.clone().all(|it| reaches(it) <= self.margin) => Some(Ending::WithinMargin),
            _ if self.met == self.meetings => Some(Ending::NoMeetingsLeft),
            _ => racing.all(|it| self.is_hopeless(it)).then_some(Ending::NotToldApart),
        }
    }

    /// Whether a configuration is near the leader, and will hardly fall behind.
    fn is_hopeless(&self, configuration: &Configuration) -> bool {
        let share = self.met as f64 / self.meetings as f64;
        configuration.behind.is_none_or(|behind| {
            let is_near = behind.difference <= self.margin;
            is_near
                && (behind.interval[1] <= self.margin
                    || behind.chance_to_fall_behind(share) < ERROR)
        })
    }

    /// The cheapest configuration that is not more than the margin behind the leader.
    pub fn named(&self) -> Option<&Configuration> {
        let is_near = |it: &&Configuration| {
            it.is_racing() && it.behind.is_none_or(|it| it.difference <= self.margin)
        };
        let near = self.configurations.iter().filter(is_near);
        near.filter(|it| it.met > 0).min_by(|one, two| one.seconds.total_cmp(&two.seconds))
    }

    /// The configuration that has these values.
    pub fn of(&self, values: &[Option<Value>]) -> Option<&Configuration> {
        self.configurations.iter().find(|it| it.values == values)
    }

    /// How many combinations ran or were found in the cache.
    pub fn runs(&self) -> usize {
        self.configurations.iter().map(|it| it.met).sum()
    }
}

impl Configuration {
    pub fn is_racing(&self) -> bool {
        matches!(self.standing, Standing::Racing | Standing::Leads)
    }

    fn take(&mut self, scored: Scored, seconds: f64) {
        self.scored.push(scored);
        self.met += 1;
        self.all_seconds += seconds;
        let count = self.met as f64;
        self.mean = Some(self.scored.iter().map(|it| it.figure).sum::<f64>() / count);
        self.seconds = self.all_seconds / count;
    }
}

/// The last stage of the file that scores predictions, or else the last that makes them.
fn deciding_stage(
    rows: &[SweepRow],
    pipeline: &Pipeline,
) -> Result<(String, &'static str), RaceError> {
    let stages = rows.iter().flat_map(|row| &row.stages);
    let mut stages: Vec<_> = stages.map(|(name, place)| (*place, name)).collect();
    stages.sort_by_key(|(place, _)| std::cmp::Reverse(place.0));
    let find = |wanted: &dyn Fn(&str, &str) -> bool| {
        stages.iter().find_map(|(place, name)| {
            let stage = &pipeline[*place];
            let builtin = stage.action.builtin()?;
            let has = |input: &&str| stage.inputs.contains_key(*input) && wanted(builtin, input);
            ["valid", "test"].into_iter().find(has).map(|input| ((*name).clone(), input))
        })
    };
    let makes = |builtin: &str, input: &str| {
        let output = if input == "test" { "predictions" } else { "valid" };
        stages::predictions_of(builtin).contains(&output)
    };
    let scores = |builtin: &str, _: &str| builtin == "score";
    find(&scores).or_else(|| find(&makes)).ok_or(RaceError::NoStage)
}
